// One cell as a canonical JSON value, written byte by byte; and the raw text of a record for its reject.
import {
  cellBytes,
  cellText,
  quotedDoubled,
  type RecordScanner,
} from '../connect/delimited-scanner.ts'
import type { AttributeType } from '../core/schema.ts'
import { writeList } from '../core/attributes.ts'
import { canonicalJson, canonicalList } from '../core/value.ts'
import type { RowWriter } from '../store/row-writer.ts'

/** A raw record is kept with its reject up to this length. */
const maximumRawBytes = 64 << 10

const space = 0x20
const tab = 0x09
const quotationMark = 0x22
const backslash = 0x5c
const zero = 0x30
const nine = 0x39
const minus = 0x2d

/** Whether a cell holds nothing but spaces and tabs, as `isBlank` says of a text. */
export function blankCell(scanner: RecordScanner, column: number): boolean {
  const { bytes } = scanner
  const end = scanner.cellEnd[column] ?? 0
  for (let at = scanner.cellStart[column] ?? 0; at < end; at += 1) {
    const byte = bytes[at]
    if (byte !== space && byte !== tab) return false
  }
  return true
}

/**
 * Writes the value of a cell that is not blank as JSON. `type`: it is not of its type; `nul`: it holds a NUL. After
 * those two the caller takes the writer back to the start of the row.
 */
export function encodeCell(
  scanner: RecordScanner,
  field: { readonly column: number; readonly type: AttributeType; readonly multi: boolean },
  writer: RowWriter,
): 'good' | 'type' | 'nul' {
  const { column } = field
  if (field.multi) {
    writer.bytes[writer.at] = 0x5b
    writer.at += 1
  }
  let outcome: 'good' | 'type' | 'nul' = 'good'
  if (field.type === 'STRING') {
    outcome = encodeText(scanner, column, writer)
  } else if (field.type === 'DATE' && isIsoDay(scanner, column)) {
    outcome = encodeText(scanner, column, writer)
  } else if ((field.type === 'INT' || field.type === 'LONG') && isShortNumber(scanner, column)) {
    copyBytes(scanner, column, writer)
  } else {
    const text = cellText(scanner, column)
    const json = canonicalJson(text, field.type)
    if (json === null) outcome = text.includes('\0') ? 'nul' : 'type'
    else writer.at += writer.bytes.write(json, writer.at)
  }
  if (field.multi) {
    writer.bytes[writer.at] = 0x5d
    writer.at += 1
  }
  return outcome
}

/**
 * Writes a JSON list of texts as a canonical list; `empty` when it holds nothing but blank texts. A list of one or more
 * becomes longer only by escapes, which the room of a row allows for.
 */
export function encodeList(
  scanner: RecordScanner,
  field: { readonly column: number; readonly type: AttributeType },
  writer: RowWriter,
): 'good' | 'type' | 'nul' | 'empty' {
  const list = canonicalList(cellText(scanner, field.column), field.type)
  if ('wrong' in list) return list.wrong
  if (list.values.length === 0) return 'empty'
  writer.at += writer.bytes.write(writeList(list.values), writer.at)
  return 'good'
}

function encodeText(scanner: RecordScanner, column: number, writer: RowWriter): 'good' | 'nul' {
  if (scanner.cellForm[column] === quotedDoubled) {
    const undone = cellBytes(scanner, column)
    const view = new DataView(undone.buffer, undone.byteOffset, undone.length)
    return encodeBytes(undone, view, 0, undone.length, writer)
  }
  const start = scanner.cellStart[column] ?? 0
  return encodeBytes(scanner.bytes, scanner.view, start, scanner.cellEnd[column] ?? 0, writer)
}

/**
 * Copies bytes as a JSON string. Four at a time while none of them needs an escape: `hit` has a high bit set where a byte
 * is a control character, a quotation mark or a backslash.
 */
function encodeBytes(
  from: Buffer,
  view: DataView,
  start: number,
  end: number,
  writer: RowWriter,
): 'good' | 'nul' {
  const { bytes: to, view: toView } = writer
  let { at } = writer
  to[at] = quotationMark
  at += 1
  let index = start
  while (index < end) {
    if (index + 4 <= end) {
      const word = view.getInt32(index, true)
      const x = word ^ 0x22222222
      const y = word ^ 0x5c5c5c5c
      const hit =
        (((word - 0x20202020) & ~word) | ((x - 0x01010101) & ~x) | ((y - 0x01010101) & ~y)) &
        0x80808080
      if (hit === 0) {
        toView.setInt32(at, word, true)
        at += 4
        index += 4
        continue
      }
    }
    const byte = from[index] ?? 0
    index += 1
    if (byte >= space && byte !== quotationMark && byte !== backslash) {
      to[at] = byte
      at += 1
    } else if (byte === 0) {
      return 'nul'
    } else {
      at = escapeByte(to, at, byte)
    }
  }
  to[at] = quotationMark
  writer.at = at + 1
  return 'good'
}

const shortEscapes = new Map([
  [0x08, 0x62],
  [0x09, 0x74],
  [0x0a, 0x6e],
  [0x0c, 0x66],
  [0x0d, 0x72],
  [quotationMark, quotationMark],
  [backslash, backslash],
])

/** Escapes a byte as JSON.stringify does: the short form where there is one, otherwise six bytes. */
function escapeByte(to: Buffer, at: number, byte: number): number {
  const short = shortEscapes.get(byte)
  to[at] = backslash
  if (short !== undefined) {
    to[at + 1] = short
    return at + 2
  }
  to.write(`u${byte.toString(16).padStart(4, '0')}`, at + 1, 'latin1')
  return at + 6
}

/** Whether a cell is 1 to 9 digits without a leading zero, which are canonical as they stand. */
function isShortNumber(scanner: RecordScanner, column: number): boolean {
  // A digit may be the quote character; then the bytes are not what the cell says.
  if (scanner.cellForm[column] === quotedDoubled) return false
  const { bytes } = scanner
  let at = scanner.cellStart[column] ?? 0
  const end = scanner.cellEnd[column] ?? 0
  if (bytes[at] === minus && bytes[at + 1] !== zero) at += 1
  const digits = end - at
  if (digits < 1 || digits > 9 || (bytes[at] === zero && digits > 1)) return false
  for (; at < end; at += 1) {
    const byte = bytes[at] ?? 0
    if (byte < zero || byte > nine) return false
  }
  return true
}

/** Whether a cell is YYYY-MM-DD with a day that every month has; other dates take the way over a text. */
function isIsoDay(scanner: RecordScanner, column: number): boolean {
  const { bytes } = scanner
  const start = scanner.cellStart[column] ?? 0
  if ((scanner.cellEnd[column] ?? 0) - start !== 10) return false
  if (scanner.cellForm[column] === quotedDoubled) return false
  for (let index = 0; index < 10; index += 1) {
    const byte = bytes[start + index] ?? 0
    const good = index === 4 || index === 7 ? byte === minus : byte >= zero && byte <= nine
    if (!good) return false
  }
  const two = (at: number): number => ((bytes[at] ?? 0) - zero) * 10 + (bytes[at + 1] ?? 0) - zero
  const month = two(start + 5)
  const day = two(start + 8)
  return month >= 1 && month <= 12 && day >= 1 && day <= 28
}

function copyBytes(scanner: RecordScanner, column: number, writer: RowWriter): void {
  const end = scanner.cellEnd[column] ?? 0
  for (let at = scanner.cellStart[column] ?? 0; at < end; at += 1) {
    writer.bytes[writer.at] = scanner.bytes[at] ?? 0
    writer.at += 1
  }
}

/** The record as it was read, for its reject: NUL made visible, cut at 64 KiB. */
export function rawRecord(scanner: RecordScanner): string {
  const { recordStart, recordEnd } = scanner
  const end = Math.min(recordEnd, recordStart + maximumRawBytes)
  const text = scanner.bytes.toString('utf8', recordStart, end).replaceAll('\0', '\u2400')
  return end < recordEnd ? `${text}…` : text
}
