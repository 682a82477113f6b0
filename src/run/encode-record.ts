// Turns the cells of a delimited record into a row for COPY without making strings: the hot path of a load.
// What it accepts and writes is that of core/source-record.ts `normalise`; a property test holds the two equal.
import { hash } from 'node:crypto'
import {
  cellBytes,
  cellText,
  quotedDoubled,
  type RecordScanner,
} from '../connect/delimited-scanner.ts'
import { halfSip, type HashKey } from '../core/fingerprint.ts'
import type { Layout } from '../core/layout.ts'
import {
  cellCountReason,
  readFlags,
  type Reject,
  type RejectCode,
  typeReason,
} from '../core/source-record.ts'
import { canonicalList, expectation, isBlank } from '../core/value.ts'
import type { AccountRow, RecordState, RowWriter } from '../store/row-writer.ts'
import { blankCell, encodeCell, encodeList, rawRecord } from './encode-cell.ts'

/** What rows are hashed with. `row` is seeded with header, schema, settings and reader version; `key` is not. */
export interface RowKeys {
  readonly row: HashKey
  readonly key: HashKey
}

/** Encodes the records that a scanner stands on into a writer. */
export interface RecordEncoder {
  /** Writes the record as a row, or says why it is a reject. */
  encode(): Reject | null
  /** The bytes of the key of the record, or null when it cannot be read; they are overwritten with the record. */
  key(): Buffer | null
  /** Whether the system says that the account is gone. */
  isDeleted(): boolean
  /** Takes the row that was encoded last out of the writer again. */
  takeBack(): AccountRow & { readonly fingerprint: readonly [low: number, high: number] }
  /** Hashes the key; false when it cannot be read. */
  hashKeyCell(): boolean
  /** The same for a record without quotes of which only the bounds are known; the number of its cells is not checked. */
  hashPlainKey(): boolean
  keyHash(): number
  /** Hashes the raw record into `rowHash`: low and high word. */
  hashRow(): void
  readonly rowHash: Int32Array
}

interface EncodedField {
  readonly name: string
  readonly column: number
  readonly type: Layout['fields'][number]['type']
  readonly multi: boolean
  /** `,"name":` in UTF-8, as words of four bytes; the last one may be longer than `keyBytes`. */
  readonly key: Int32Array
  readonly keyBytes: number
}

/** Identities up to this length are copied into buffers that are kept, one for each length. */
const maximumKeptKey = 256

/** Makes the encoder for one pass over one file. `prefix` is the 6 bytes that the source's account ids begin with. */
export function createEncoder(
  scanner: RecordScanner,
  layout: Layout,
  prefix: Uint8Array,
  keys: RowKeys,
  writer: RowWriter,
): RecordEncoder {
  const fields: EncodedField[] = layout.fields.map((field) => ({
    ...field,
    ...keyWords(field.name),
  }))
  // Quotes, brackets and the digits of a number that is written otherwise than it was read.
  const fixedBytes = 256 + fields.reduce((sum, field) => sum + field.keyBytes + 16, 0)
  const columns = layout.header.length
  const { identityColumn, displayColumn, flagsColumn, jsonLists } = layout
  const keyColumn = layout.keyColumn < 0 ? identityColumn : layout.keyColumn
  const { stateful } = writer.shape
  const keyOut = new Int32Array(2)
  const rowHash = new Int32Array(2)
  const keptKeys: Buffer[] = []
  // Where the parts of the row that was encoded last lie in the writer.
  const last = { start: 0, identityAt: 0, nameAt: 0, attributesAt: 0, end: 0, position: 0 }
  let state: RecordState = noState

  const isReadable = (): boolean =>
    !scanner.malformed && scanner.cells === columns && !blankCell(scanner, keyColumn)

  /** The key. A new Buffer for every row would cost as much as the hash of it. */
  const readKey = (): Buffer => {
    const start = scanner.cellStart[keyColumn] ?? 0
    const length = (scanner.cellEnd[keyColumn] ?? 0) - start
    if (length > maximumKeptKey || scanner.cellForm[keyColumn] === quotedDoubled) {
      return cellBytes(scanner, keyColumn)
    }
    const key = (keptKeys[length] ??= Buffer.allocUnsafeSlow(length))
    const { bytes } = scanner
    for (let index = 0; index < length; index += 1) key[index] = bytes[start + index] ?? 0
    return key
  }

  const readableKey = (): Buffer | null => (isReadable() ? readKey() : null)

  const readState = (): RecordState =>
    flagsColumn < 0 || blankCell(scanner, flagsColumn)
      ? noState
      : readFlags(cellText(scanner, flagsColumn))

  const hashKeyCell = (): boolean => {
    if (!isReadable()) return false
    if (scanner.cellForm[keyColumn] === quotedDoubled) {
      const bytes = cellBytes(scanner, keyColumn)
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
      halfSip(view, 0, bytes.length, keys.key, keyOut)
      return true
    }
    const start = scanner.cellStart[keyColumn] ?? 0
    const length = (scanner.cellEnd[keyColumn] ?? 0) - start
    halfSip(scanner.view, start, length, keys.key, keyOut)
    return true
  }

  const hashPlainKey = (): boolean => {
    const { bytes, recordEnd, rules } = scanner
    let start = scanner.recordStart
    for (let column = 0; column < keyColumn; column += 1) {
      while (start < recordEnd && bytes[start] !== rules.delimiter) start += 1
      if (start >= recordEnd) return false
      start += 1
    }
    let end = start
    let blank = true
    while (end < recordEnd && bytes[end] !== rules.delimiter) {
      if (bytes[end] !== 0x20 && bytes[end] !== 0x09) blank = false
      end += 1
    }
    if (blank) return false
    halfSip(scanner.view, start, end - start, keys.key, keyOut)
    return true
  }

  const hashRow = (): void => {
    const { recordStart, recordEnd } = scanner
    halfSip(scanner.view, recordStart, recordEnd - recordStart, keys.row, rowHash)
  }

  const refuse = (code: RejectCode, reason: string, trusted: boolean): Reject => {
    const text = scanner.cells > identityColumn ? cellText(scanner, identityColumn) : ''
    const readable = isBlank(text) || text.includes('\0') ? null : text
    return {
      position: scanner.recordLine,
      code,
      reason,
      raw: rawRecord(scanner),
      nativeIdentity: readable,
      ...(layout.keyColumn < 0 || readable === null
        ? {}
        : { key: scanner.cells > keyColumn ? cellText(scanner, keyColumn) : null }),
      trusted: trusted && readable !== null,
    }
  }

  const refuseField = (field: EncodedField, outcome: 'nul' | 'type'): Reject =>
    outcome === 'nul'
      ? refuse('nul', `The column "${field.name}" holds a NUL character.`, true)
      : refuse('type', typeReason(field.name, wrongText(field), expectation(field.type)), true)

  /** The text that is no value of its type: of a list that element. */
  const wrongText = (field: EncodedField): string => {
    const text = cellText(scanner, field.column)
    if (!jsonLists || !field.multi) return text
    const list = canonicalList(text, field.type)
    return 'wrong' in list ? list.text : text
  }

  const encodeAttributes = (): Reject | null => {
    const { bytes, view } = writer
    const start = writer.at
    for (const field of fields) {
      if (blankCell(scanner, field.column)) continue
      const { key } = field
      const { at } = writer
      for (let index = 0; index < key.length; index += 1) {
        view.setInt32(at + 4 * index, key[index] ?? 0, true)
      }
      writer.at = at + field.keyBytes
      const outcome =
        jsonLists && field.multi
          ? encodeList(scanner, field, writer)
          : encodeCell(scanner, field, writer)
      if (outcome === 'empty') writer.at = at
      else if (outcome !== 'good') return refuseField(field, outcome)
    }
    // The comma before the first name makes place for the brace.
    bytes[start] = 0x7b
    if (writer.at === start) writer.at += 1
    bytes[writer.at] = 0x7d
    writer.at += 1
    return null
  }

  const putName = (identity: Buffer): void => {
    if (
      displayColumn < 0 ||
      displayColumn === identityColumn ||
      blankCell(scanner, displayColumn)
    ) {
      writer.putBytes(identity)
    } else if (scanner.cellForm[displayColumn] === quotedDoubled) {
      writer.putBytes(cellBytes(scanner, displayColumn))
    } else {
      const start = scanner.cellStart[displayColumn] ?? 0
      writer.putSlice(scanner.view, start, scanner.cellEnd[displayColumn] ?? 0)
    }
  }

  const encodeRow = (key: Buffer): Reject | null => {
    writer.begin()
    writer.putInt32(16)
    for (let index = 0; index < 6; index += 1) writer.bytes[writer.at + index] = prefix[index] ?? 0
    // As a latin1 string: the form of crypto.hash that costs least (2026-11-22, a million short keys: 0.6 s as
    // 'latin1', 0.9 s as 'hex', 1.6 s as 'buffer').
    const digest = hash('sha256', key, 'binary')
    for (let index = 0; index < 10; index += 1) {
      writer.bytes[writer.at + 6 + index] = digest.charCodeAt(index)
    }
    writer.at += 16
    hashRow()
    writer.putInt32(8)
    writer.putInt32(rowHash[1] ?? 0)
    writer.putInt32(rowHash[0] ?? 0)
    hashKeyCell()
    writer.putInt32(4)
    writer.putInt32(keyOut[0] ?? 0)
    const identity = keyColumn === identityColumn ? key : cellBytes(scanner, identityColumn)
    last.identityAt = writer.at + 4
    writer.putBytes(identity)
    last.nameAt = writer.at + 4
    putName(identity)
    const lengthAt = writer.at
    writer.at += 4
    last.attributesAt = writer.at
    const reject = encodeAttributes()
    if (reject !== null) return reject
    last.end = writer.at
    writer.view.setInt32(lengthAt, last.end - last.attributesAt)
    if (stateful) {
      state = readState()
      writer.putState(layout.keyColumn < 0 ? null : key, state)
    }
    writer.end(scanner.recordLine)
    return null
  }

  const encode = (): Reject | null => {
    if (scanner.malformed) {
      return refuse('quote', 'Text follows a closing quote within a cell.', false)
    }
    if (scanner.cells !== columns) {
      return refuse('cell_count', cellCountReason(scanner.cells, columns), false)
    }
    const found = readableKey()
    if (found === null || (keyColumn !== identityColumn && blankCell(scanner, identityColumn))) {
      return refuse('blank_identity', `The column "${layout.identityAttribute}" is blank.`, false)
    }
    // Of a file the identity is a field and looked at there.
    if (jsonLists && cellBytes(scanner, identityColumn).includes(0)) {
      return refuse('nul', `The identity of the record holds a NUL character.`, false)
    }
    // JSON makes six bytes of one at most; identity, name and key are written once more as they are.
    writer.reserve(fixedBytes + 9 * (scanner.recordEnd - scanner.recordStart))
    const start = writer.at
    const reject = encodeRow(found)
    if (reject !== null) {
      writer.at = start
      return reject
    }
    last.start = start
    last.position = scanner.recordLine
    return null
  }

  const takeBack = (): ReturnType<RecordEncoder['takeBack']> => {
    const { bytes } = writer
    const { start, identityAt, nameAt, attributesAt, end } = last
    writer.at = start
    writer.rows -= 1
    return {
      id: Buffer.from(bytes.subarray(start + 6, start + 22)),
      fingerprint: [rowHash[0] ?? 0, rowHash[1] ?? 0],
      keyHash: keyOut[0] ?? 0,
      nativeIdentity: bytes.toString('utf8', identityAt, nameAt - 4),
      name: bytes.toString('utf8', nameAt, attributesAt - 4),
      attributes: bytes.toString('utf8', attributesAt, end),
      stableKey: layout.keyColumn < 0 ? null : cellText(scanner, keyColumn),
      state,
      position: last.position,
    }
  }

  return {
    encode,
    key: readableKey,
    isDeleted: () => flagsColumn >= 0 && isReadable() && readState().deleted,
    takeBack,
    hashKeyCell,
    hashPlainKey,
    keyHash: () => keyOut[0] ?? 0,
    hashRow,
    rowHash,
  }
}

const noState: RecordState = { disabled: false, locked: false, deleted: false }

/** `,"name":` as words. */
function keyWords(name: string): Pick<EncodedField, 'key' | 'keyBytes'> {
  const bytes = Buffer.from(`,${JSON.stringify(name)}:`)
  const padded = Buffer.alloc(Math.ceil(bytes.length / 4) * 4)
  bytes.copy(padded)
  const key = Int32Array.from({ length: padded.length / 4 }, (_, index) =>
    padded.readInt32LE(4 * index),
  )
  return { key, keyBytes: bytes.length }
}
