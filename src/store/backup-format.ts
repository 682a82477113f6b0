// The file of a backup: a line that names it, then frames, each with its length and checksum, so that damage is found where it is.
import { createHash, type Hash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import { crc32, createGunzip } from 'node:zlib'
import { StoreError, systemCode } from './store-error.ts'

/** What a backup says of itself before its sections. Nothing in it is secret. */
export interface BackupHeader {
  /** The version of the format; this program reads `formatVersion` only. */
  readonly format: number
  /** The version of Muster that took it. */
  readonly muster: string
  /** The version of the server that it was taken from. */
  readonly postgresql: string
  /** The id of the deployment; null where none was drawn yet. */
  readonly deployment: string | null
  /** The instant of the snapshot, ISO-8601. */
  readonly taken: string
  /** The files of sql/ that the schema was made by, in order. */
  readonly schema: readonly MigrationMark[]
  /** The sealed record that tells whether a master key is the right one, as base64; null where there are no secrets. */
  readonly keyCheck: { readonly wrappedKey: string; readonly ciphertext: string } | null
  /** The identity columns with the last number that each has given. */
  readonly sequences: readonly SequenceMark[]
  /** The names of the sections, in their order. */
  readonly sections: readonly string[]
}

/** A migration as the database remembers it. */
export interface MigrationMark {
  readonly number: number
  readonly name: string
  readonly sha256: string
}

/** Where the numbers of a column go on. */
export interface SequenceMark {
  readonly table: string
  readonly column: string
  readonly last: number
}

/** What a section is: the rows of one table. `parent` is the table that it is a partition of. */
export interface SectionStart {
  readonly name: string
  readonly parent: string | null
  readonly columns: readonly string[]
}

/** What a section held: `bytes` and `sha256` are of its rows before they were compressed. */
export interface SectionEnd {
  readonly rows: number
  readonly bytes: number
  readonly sha256: string
}

/** A section that was read to its end. */
export interface SectionSum extends SectionEnd {
  readonly name: string
}

/** The version of the format that is written and read. */
export const formatVersion = 1
/** The first line of the file. */
export const firstLine = `MUSTER BACKUP ${formatVersion}\n`

/** What a frame is: the header, the start, data and end of a section, or the end of the file. */
type FrameKind = 'H' | 'S' | 'D' | 'E' | 'Z'

const prefixBytes = 9
/** No frame is longer; a length that was changed is found out without reading the rest of the disk into memory. */
const longestFrame = 16 * 2 ** 20

/** A frame: one byte that says what it is, the length, a CRC over both and the content, and the content. */
export function frame(kind: FrameKind, content: Uint8Array): Buffer {
  const prefix = Buffer.alloc(prefixBytes)
  prefix.write(kind, 0, 'latin1')
  prefix.writeUInt32BE(content.length, 1)
  prefix.writeUInt32BE(crc32(content, crc32(prefix.subarray(0, 5))), 5)
  return Buffer.concat([prefix, content])
}

/** A frame whose content is JSON. */
export function jsonFrame(kind: FrameKind, value: object): Buffer {
  return frame(kind, Buffer.from(JSON.stringify(value)))
}

/** A section as it is read. */
export interface OpenSection {
  readonly start: SectionStart
  /** The rows, as COPY takes them. Ends when they are proven to be those that were written; throws otherwise. */
  rows(): AsyncGenerator<Buffer>
  /** What it held; known when `rows` has ended. */
  end(): SectionEnd
}

/** A backup that is read from its begin to its end. */
export interface BackupReader {
  readonly header: BackupHeader
  /** Bytes of the file that were read so far. */
  position(): number
  /** The next section, after the one before was read to its end; null at the proven end of the file. */
  next(): Promise<OpenSection | null>
}

/** Reads the header. Throws `backup_unknown` for a file that is no backup, `backup_damaged` for one that was changed or cut. */
export async function openBackup(source: AsyncIterable<Uint8Array>): Promise<BackupReader> {
  const bytes = takeBytes(source)
  await checkFirstLine(bytes)
  const header = parse<BackupHeader>(await takeFrame(bytes, 'its header', 'H'), 'its header')
  const sums: SectionSum[] = []
  let place = 'the section after its header'
  return {
    header,
    position: () => bytes.position(),
    next: async () => {
      const before = bytes.digest()
      const found = await takeFrame(bytes, place, 'S', 'Z')
      if (found.kind === 'Z') {
        checkEnd(parse<FileEnd>(found, 'its end'), before, sums, header)
        if (await bytes.hasMore()) throw damaged('after its end', 'something follows it')
        return null
      }
      const start = parse<SectionStart>(found, place)
      place = `the section ${start.name}`
      return openSection(bytes, start, (end) => {
        sums.push({ name: start.name, ...end })
        place = `what follows the section ${start.name}`
      })
    },
  }
}

/** What the last frame says: every section, and the digest of all bytes before it. */
export interface FileEnd {
  readonly sections: readonly SectionSum[]
  readonly sha256: string
}

function openSection(
  bytes: ByteReader,
  start: SectionStart,
  onEnd: (end: SectionEnd) => void,
): OpenSection {
  const place = `the section ${start.name}`
  let told: SectionEnd | undefined
  const packed = async function* (): AsyncGenerator<Buffer> {
    for (;;) {
      const { kind, content } = await takeFrame(bytes, place, 'D', 'E')
      if (kind === 'E') {
        told = parse<SectionEnd>({ content }, place)
        return
      }
      yield content
    }
  }
  const rows = async function* (): AsyncGenerator<Buffer> {
    const gunzip = createGunzip({ chunkSize: 64 * 1024 })
    const filled = pipeline(packed, gunzip)
    // What is wrong comes out of the loop below; here it would be a rejection that nobody waits for.
    filled.catch(() => undefined)
    const hash = createHash('sha256')
    let length = 0
    try {
      for await (const chunk of gunzip as AsyncIterable<Buffer>) {
        hash.update(chunk)
        length += chunk.length
        yield chunk
      }
      await filled
    } catch (error) {
      // A disk that cannot be read, or a wish to stop, says nothing of the file.
      const isUnpacking = systemCode(error)?.startsWith('Z_') === true
      if (error instanceof StoreError || !isUnpacking) throw error
      throw damaged(place, 'its rows cannot be unpacked', error)
    }
    if (told === undefined || told.bytes !== length || told.sha256 !== hash.digest('hex')) {
      throw damaged(place, 'its rows are not those that were written')
    }
    onEnd(told)
  }
  return {
    start,
    rows,
    end: () => {
      if (told === undefined) throw new Error('the section was not read to its end')
      return told
    },
  }
}

function checkEnd(
  end: FileEnd,
  before: string,
  sums: readonly SectionSum[],
  header: BackupHeader,
): void {
  const names = sums.map((sum) => sum.name)
  const missing = header.sections.find((name) => !names.includes(name))
  if (missing !== undefined) throw damaged(`the section ${missing}`, 'it is missing')
  if (end.sha256 !== before || JSON.stringify(end.sections) !== JSON.stringify(sums)) {
    throw damaged('its end', 'the digest of the whole file is another one')
  }
}

async function checkFirstLine(bytes: ByteReader): Promise<void> {
  const found = await bytes.upTo(firstLine.length)
  const line = found.toString('latin1')
  if (line === firstLine) return
  const other = /^MUSTER BACKUP (\d+)\n/.exec(line)?.[1]
  throw new StoreError(
    'backup_unknown',
    other === undefined
      ? 'This is no backup of Muster: it does not begin like one.'
      : `This backup has the format ${other}, and this program reads format ${formatVersion}.`,
    {
      hint:
        other === undefined
          ? 'Name a file that "muster backup" wrote. It is compressed already and needs no unpacking.'
          : 'Restore it with the version of Muster that wrote it, or a later one.',
    },
  )
}

interface Frame {
  readonly kind: string
  readonly content: Buffer
}

async function takeFrame(bytes: ByteReader, place: string, ...kinds: FrameKind[]): Promise<Frame> {
  const prefix = await bytes.take(prefixBytes, place)
  const kind = prefix.toString('latin1', 0, 1)
  const length = prefix.readUInt32BE(1)
  const known = kinds.some((wanted) => wanted === kind)
  if (!known || length > longestFrame) throw damaged(place, 'it is not as it was written')
  const content = await bytes.take(length, place)
  if (crc32(content, crc32(prefix.subarray(0, 5))) !== prefix.readUInt32BE(5)) {
    throw damaged(place, 'its checksum is wrong')
  }
  return { kind, content }
}

function parse<T>(found: Pick<Frame, 'content'>, place: string): T {
  try {
    return JSON.parse(found.content.toString('utf8')) as T
  } catch (error) {
    throw damaged(place, 'it cannot be read', error)
  }
}

function damaged(place: string, reason: string, cause?: unknown): StoreError {
  return new StoreError('backup_damaged', `The backup is damaged in ${place}: ${reason}.`, {
    hint: 'Take another copy of the file, or an older backup; this one cannot be restored.',
    ...(cause === undefined ? {} : { cause }),
  })
}

/** Bytes that come in any pieces, taken in the pieces that are needed. */
interface ByteReader {
  take(length: number, place: string): Promise<Buffer>
  /** The next bytes, fewer than `length` only where the file ends. */
  upTo(length: number): Promise<Buffer>
  hasMore(): Promise<boolean>
  position(): number
  /** The sha256 of everything that was taken so far. */
  digest(): string
}

function takeBytes(source: AsyncIterable<Uint8Array>): ByteReader {
  const pieces = source[Symbol.asyncIterator]()
  const hash: Hash = createHash('sha256')
  let waiting: Buffer[] = []
  let size = 0
  let position = 0
  const fill = async (length: number): Promise<void> => {
    while (size < length) {
      const next = await pieces.next()
      if (next.done === true) return
      const { value } = next
      waiting.push(Buffer.from(value.buffer, value.byteOffset, value.length))
      size += value.length
    }
  }
  const upTo = async (length: number): Promise<Buffer> => {
    await fill(length)
    const all = waiting.length === 1 ? (waiting[0] ?? Buffer.alloc(0)) : Buffer.concat(waiting)
    const taken = all.subarray(0, length)
    const rest = all.subarray(taken.length)
    waiting = rest.length === 0 ? [] : [rest]
    size = rest.length
    position += taken.length
    hash.update(taken)
    return taken
  }
  return {
    upTo,
    take: async (length, place) => {
      const taken = await upTo(length)
      if (taken.length < length) throw damaged(place, 'the file ends there')
      return taken
    },
    hasMore: async () => {
      await fill(1)
      return size > 0
    },
    position: () => position,
    digest: () => hash.copy().digest('hex'),
  }
}
