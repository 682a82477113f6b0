// Reads a spooled file as records: blocks from the disk, turned into UTF-8 and checked, through the scanner.
import { isUtf8 } from 'node:buffer'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { TextDecoder } from 'node:util'
import { type Dialect } from '../core/dialect.ts'
import { RunError } from '../core/errors.ts'
import { detectNewline, LF, RecordScanner, type Scan } from './delimited-scanner.ts'

// 1 MiB: blocks from 256 KiB to 4 MiB are scanned equally fast (2026-11-22), so the size only decides about memory.
const blockBytes = 1 << 20
/** A record longer than this is an error: it is nearly always a quote that was never closed. */
export const maximumRecordBytes = 16 << 20

/** The records of a file, one after the other. */
export interface RecordReader {
  readonly scanner: RecordScanner
  /** As `RecordScanner.next`, but reads on by itself: `more` means the end of the file. */
  next(): Scan
  /** Where the record that the scanner stands on begins in the file; null in a file that is turned into UTF-8. */
  recordOffset(): number | null
  /** Goes to the record that begins there, on that line; `next` then moves onto it. */
  seek(offset: number, line: number): void
  /** How many bytes of the file have been read. */
  bytesRead(): number
  /** The length of the file. */
  readonly bytes: number
  close(): void
}

/**
 * Opens a file in a dialect. `blockSize` is for tests, which cut blocks down to one byte. `awaitMore` is asked where a file
 * that is still being written ends: true when it should be read on.
 */
export function openRecords(
  path: string,
  dialect: Dialect,
  blockSize = blockBytes,
  awaitMore: () => boolean = () => false,
): RecordReader {
  const file = openSync(path, 'r')
  try {
    return readRecords(file, dialect, blockSize, awaitMore)
  } catch (error) {
    closeSync(file)
    throw error
  }
}

function readRecords(
  file: number,
  dialect: Dialect,
  blockSize: number,
  awaitMore: () => boolean,
): RecordReader {
  const bytes = fstatSync(file).size
  // A file without a header is a spool that we wrote, in our own form.
  const blocks = dialect.header
    ? openBlocks(file, dialect.encoding, blockSize)
    : plainBlocks(file, 0, blockSize, awaitMore)
  let buffer: Buffer = Buffer.allocUnsafe(Math.max(2 * blockSize, 64))
  let checked = 0
  const code = (character: string | null): number => character?.charCodeAt(0) ?? -1
  const first = blocks.read(buffer, 0)
  // The line ending is judged on the first block; with tiny blocks (tests) on the first 64 KiB.
  let end = first
  let final = first === 0
  while (!final && end < Math.min(blockBytes / 16, bytes)) {
    if (buffer.length - end < blockSize) buffer = grow(buffer)
    const more = blocks.read(buffer, end)
    final = more === 0
    end += more
  }
  const quote = code(dialect.quote)
  const scanner = new RecordScanner({
    delimiter: code(dialect.delimiter),
    quote,
    comment: code(dialect.comment),
    newline: end === 0 || !dialect.header ? LF : detectNewline(buffer, end, quote),
  })
  const check = (from: number, to: number): void => {
    if (!blocks.transcoded) checkUtf8(buffer, from, to, blocks.offset() - (end - from))
  }
  checked = final ? end : characterEnd(buffer, end)
  check(0, checked)
  scanner.fill(buffer, 0, end, final)

  const refill = (): void => {
    const start = scanner.position
    const kept = end - start
    if (kept > maximumRecordBytes) {
      throw new RunError(
        'record_too_long',
        `The record that begins on line ${scanner.line} is longer than ${maximumRecordBytes} bytes.`,
        { hint: 'Look for a quote that is not closed on that line.' },
      )
    }
    if (start > 0) buffer.copyWithin(0, start, end)
    checked -= start
    end = kept
    if (buffer.length - end < blockSize) buffer = grow(buffer)
    const more = blocks.read(buffer, end)
    const from = checked
    end += more
    final = more === 0
    checked = final ? end : characterEnd(buffer, end)
    check(from, checked)
    scanner.fill(buffer, 0, end, final)
  }

  const seek = (offset: number, line: number): void => {
    const start = blocks.offset() - end
    if (offset >= start && offset < start + end) {
      scanner.position = offset - start
    } else {
      blocks.seek(offset)
      end = blocks.read(buffer, 0)
      final = end === 0
      checked = final ? end : characterEnd(buffer, end)
      check(0, checked)
      scanner.fill(buffer, 0, end, final)
    }
    scanner.line = line
  }

  return {
    scanner,
    bytes,
    recordOffset: () => (blocks.transcoded ? null : blocks.offset() - end + scanner.recordStart),
    seek,
    bytesRead: () => blocks.bytesRead(),
    close: () => closeSync(file),
    next: () => {
      for (;;) {
        const scan = scanner.next()
        if (scan === 'unclosed') {
          throw new RunError(
            'unclosed_quote',
            `The quote that opens on line ${scanner.openQuoteLine} is never closed.`,
            { hint: 'Close it, or double the quotes within the cell; then send the file again.' },
          )
        }
        if (scan !== 'more' || final) return scan
        refill()
      }
    },
  }
}

function grow(buffer: Buffer): Buffer {
  const larger = Buffer.allocUnsafe(buffer.length * 2)
  buffer.copy(larger)
  return larger
}

/** The end of the last whole UTF-8 character before `end`. */
function characterEnd(bytes: Buffer, end: number): number {
  for (let back = 1; back <= 3 && back <= end; back += 1) {
    const byte = bytes[end - back] ?? 0
    if (byte < 0x80) return end
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
      return length > back ? end - back : end
    }
  }
  return end
}

/** Throws with the offset of the first byte that is not UTF-8. `base` is the offset of `from` in the file. */
function checkUtf8(bytes: Buffer, from: number, to: number, base: number): void {
  if (from >= to || isUtf8(bytes.subarray(from, to))) return
  let good = from
  let bad = to
  while (bad - good > 1) {
    const middle = (good + bad) >> 1
    // A cut within a character is no error: only what ends with a whole character is judged.
    if (isUtf8(bytes.subarray(from, Math.max(from, characterEnd(bytes, middle))))) good = middle
    else bad = middle
  }
  // `good` may stand within the character, behind the byte that begins it.
  const start = Math.max(from, characterEnd(bytes, good))
  throw invalidBytes('UTF-8', base + (start - from))
}

function invalidBytes(encoding: string, offset: number): RunError {
  return new RunError(
    'invalid_bytes',
    `The file is not ${encoding}: the bytes at offset ${offset} are no character.`,
    { hint: 'Save the file as UTF-8, or name its encoding in connectorAttributes.fileEncoding.' },
  )
}

interface Blocks {
  /** Whether the bytes were turned from another encoding, and so are UTF-8 for sure. */
  readonly transcoded: boolean
  /** Reads at most one block to `at`; 0 at the end. */
  read(into: Buffer, at: number): number
  bytesRead(): number
  /** Goes on reading there; only for bytes that are not transcoded. */
  seek(offset: number): void
  /** The offset in the file of the end of what `read` gave. */
  offset(): number
}

function openBlocks(file: number, encoding: string | null, blockSize: number): Blocks {
  const mark = Buffer.alloc(3)
  const marked = readSync(file, mark, 0, 3, 0)
  if (marked >= 2 && mark[0] === 0xff && mark[1] === 0xfe) {
    return decodedBlocks(file, 'utf-16le', 2, blockSize)
  }
  if (marked >= 2 && mark[0] === 0xfe && mark[1] === 0xff) {
    return decodedBlocks(file, 'utf-16be', 2, blockSize)
  }
  if (marked === 3 && mark[0] === 0xef && mark[1] === 0xbb && mark[2] === 0xbf) {
    return plainBlocks(file, 3, blockSize)
  }
  const label = encoding?.trim().toLowerCase()
  if (label === undefined || label === '' || label === 'utf-8' || label === 'utf8') {
    return plainBlocks(file, 0, blockSize)
  }
  return decodedBlocks(file, label, 0, blockSize)
}

function plainBlocks(
  file: number,
  start: number,
  blockSize: number,
  awaitMore: () => boolean = () => false,
): Blocks {
  let offset = start
  return {
    transcoded: false,
    read: (into, at) => {
      for (;;) {
        const count = readSync(file, into, at, Math.min(blockSize, into.length - at), offset)
        offset += count
        if (count > 0 || !awaitMore()) return count
      }
    },
    bytesRead: () => offset,
    seek: (to) => {
      offset = to
    },
    offset: () => offset,
  }
}

function decodedBlocks(file: number, label: string, start: number, blockSize: number): Blocks {
  const decoder = newDecoder(label)
  const raw = Buffer.allocUnsafe(Math.max(1, blockSize >> 2))
  let offset = start
  let waiting: Buffer = Buffer.alloc(0)
  let ended = false
  const decode = (): void => {
    const count = readSync(file, raw, 0, raw.length, offset)
    ended = count === 0
    try {
      waiting = Buffer.from(decoder.decode(raw.subarray(0, count), { stream: !ended }), 'utf8')
    } catch (cause) {
      const bad = findInvalidBytes(file, label, start, offset, count)
      const problem = invalidBytes(decoder.encoding, bad)
      throw new RunError(problem.code, problem.message, { hint: problem.hint, cause })
    }
    offset += count
  }
  return {
    transcoded: true,
    read: (into, at) => {
      while (waiting.length === 0 && !ended) decode()
      const count = waiting.copy(into, at)
      waiting = waiting.subarray(count)
      return count
    },
    bytesRead: () => offset,
    seek: () => {
      throw new Error('a decoded file has no offsets to go to')
    },
    offset: () => offset,
  }
}

/**
 * Where the bytes begin that no decoder takes: somewhere in `count` bytes at `offset`, or a little before. A decoder
 * does not tell, so all is decoded again, the last part byte by byte; this happens once in a file, when it has failed.
 */
function findInvalidBytes(
  file: number,
  label: string,
  start: number,
  offset: number,
  count: number,
): number {
  const decoder = newDecoder(label)
  // A character of the block before may go on in this one; none is longer than a few bytes.
  const from = Math.max(start, offset - 64)
  const block = Buffer.allocUnsafe(1 << 16)
  for (let at = start; at < from;) {
    const read = readSync(file, block, 0, Math.min(block.length, from - at), at)
    if (read === 0) break
    decoder.decode(block.subarray(0, read), { stream: true })
    at += read
  }
  const rest = Buffer.alloc(offset + count - from)
  const length = readSync(file, rest, 0, rest.length, from)
  let good = 0
  try {
    for (let at = 0; at < length; at += 1) {
      // A byte that completes a character gives it out.
      if (decoder.decode(rest.subarray(at, at + 1), { stream: true }) !== '') good = at + 1
    }
  } catch {
    // This is the error that was met before; what counts is how far it went.
  }
  return from + good
}

function newDecoder(label: string): TextDecoder {
  try {
    return new TextDecoder(label, { fatal: true, ignoreBOM: true })
  } catch (cause) {
    throw new RunError(
      'bad_setting',
      `The setting connectorAttributes.fileEncoding names an encoding that is not known: ${label}.`,
      { hint: 'Write a label of the WHATWG Encoding Standard, for example windows-1252.', cause },
    )
  }
}
