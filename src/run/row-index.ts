// Where the rows of a file begin, kept while a comparison reads it, so that only the rows of dirty buckets are read again.

/** More rows than this are not kept: the file is then read a second time from end to end, in the same memory. */
export const maximumIndexedRows = 1_500_000
const maximumUnreadable = 10_000
const chunkRows = 1 << 16

/** The rows of a file in their order: 16 bytes a row. */
export interface RowIndex {
  /** Notes a row; false when there are too many, and the index is of no use. */
  add(offset: number, line: number, keyHash: number, readable: boolean): boolean
  /** The places of the rows whose key hash is wanted, or whose key cannot be read, in the order of the file. */
  find(isWanted: (keyHash: number) => boolean): Iterable<RowPlace>
}

/** Where a row begins: its offset in the file, and its line. */
export interface RowPlace {
  readonly offset: number
  readonly line: number
}

interface Chunk {
  readonly offsets: Float64Array
  readonly lines: Int32Array
  readonly keyHashes: Int32Array
}

/** Makes an empty index. */
export function createRowIndex(): RowIndex {
  const chunks: Chunk[] = []
  const unreadable = new Set<number>()
  let rows = 0
  return {
    add: (offset, line, keyHash, readable) => {
      if (rows >= maximumIndexedRows || unreadable.size > maximumUnreadable) return false
      const at = rows & (chunkRows - 1)
      if (at === 0) {
        chunks.push({
          offsets: new Float64Array(chunkRows),
          lines: new Int32Array(chunkRows),
          keyHashes: new Int32Array(chunkRows),
        })
      }
      const chunk = chunks[chunks.length - 1]
      if (chunk === undefined) return false
      chunk.offsets[at] = offset
      chunk.lines[at] = line
      chunk.keyHashes[at] = keyHash
      if (!readable) unreadable.add(rows)
      rows += 1
      return true
    },
    find: function* (isWanted) {
      for (let row = 0; row < rows; row += 1) {
        const chunk = chunks[row >>> 16]
        const at = row & (chunkRows - 1)
        if (chunk === undefined) return
        if (!isWanted(chunk.keyHashes[at] ?? 0) && !unreadable.has(row)) continue
        yield { offset: chunk.offsets[at] ?? 0, line: chunk.lines[at] ?? 0 }
      }
    },
  }
}
