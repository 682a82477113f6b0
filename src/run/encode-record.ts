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
import { cellCountReason, type Reject, type RejectCode, typeReason } from '../core/source-record.ts'
import { expectation, isBlank } from '../core/value.ts'
import type { AccountRow, RowWriter } from '../store/row-writer.ts'
import { blankCell, encodeCell, rawRecord } from './encode-cell.ts'

/** What rows are hashed with. `row` is seeded with header, schema, settings and reader version; `key` is not. */
export interface RowKeys {
  readonly row: HashKey
  readonly key: HashKey
}

/** Encodes the records that a scanner stands on into a writer. */
export interface RecordEncoder {
  /** Writes the record as a row, or says why it is a reject. */
  encode(): Reject | null
  /** The bytes of the identity of the record, or null when it cannot be read; they are overwritten with the record. */
  identity(): Buffer | null
  /** Takes the row that was encoded last out of the writer again. */
  takeBack(): AccountRow & { readonly fingerprint: readonly [low: number, high: number] }
  /** Hashes the identity; false when it cannot be read. */
  hashKeyCell(): boolean
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
  /** `"name":` in UTF-8. */
  readonly key: Buffer
}

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
    key: Buffer.from(`${JSON.stringify(field.name)}:`),
  }))
  // Quotes, comma, brackets and the digits of a number that is written otherwise than it was read.
  const fixedBytes = 256 + fields.reduce((sum, field) => sum + field.key.length + 8, 0)
  const columns = layout.header.length
  const { identityColumn, displayColumn } = layout
  const keyOut = new Int32Array(2)
  const rowHash = new Int32Array(2)
  let viewed: Buffer | null = null
  let view: DataView = new DataView(new ArrayBuffer(0))
  // Where the parts of the row that was encoded last lie in the writer.
  const last = { start: 0, identityAt: 0, nameAt: 0, attributesAt: 0, end: 0, position: 0 }

  const look = (): void => {
    if (viewed === scanner.bytes) return
    viewed = scanner.bytes
    view = new DataView(viewed.buffer, viewed.byteOffset, viewed.length)
  }

  const identity = (): Buffer | null =>
    scanner.malformed || scanner.cells !== columns || blankCell(scanner, identityColumn)
      ? null
      : cellBytes(scanner, identityColumn)

  const hashKeyCell = (): boolean => {
    if (scanner.malformed || scanner.cells !== columns) return false
    if (blankCell(scanner, identityColumn)) return false
    if (scanner.cellForm[identityColumn] === quotedDoubled) {
      const bytes = cellBytes(scanner, identityColumn)
      halfSip(new DataView(bytes.buffer, bytes.byteOffset), 0, bytes.length, keys.key, keyOut)
      return true
    }
    look()
    const start = scanner.cellStart[identityColumn] ?? 0
    halfSip(view, start, (scanner.cellEnd[identityColumn] ?? 0) - start, keys.key, keyOut)
    return true
  }

  const hashRow = (): void => {
    look()
    const { recordStart, recordEnd } = scanner
    halfSip(view, recordStart, recordEnd - recordStart, keys.row, rowHash)
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
      trusted: trusted && readable !== null,
    }
  }

  const refuseField = (field: EncodedField, outcome: 'nul' | 'type'): Reject =>
    outcome === 'nul'
      ? refuse('nul', `The column "${field.name}" holds a NUL character.`, true)
      : refuse(
          'type',
          typeReason(field.name, cellText(scanner, field.column), expectation(field.type)),
          true,
        )

  const encodeAttributes = (): Reject | null => {
    const { bytes } = writer
    let separator = 0x7b // The brace stands where later fields have their comma.
    for (const field of fields) {
      if (blankCell(scanner, field.column)) continue
      bytes[writer.at] = separator
      separator = 0x2c
      let { at } = writer
      const { key } = field
      for (let index = 0; index < key.length; index += 1) bytes[(at += 1)] = key[index] ?? 0
      writer.at = at + 1
      const outcome = encodeCell(scanner, field, writer)
      if (outcome !== 'good') return refuseField(field, outcome)
    }
    if (separator === 0x7b) {
      bytes[writer.at] = 0x7b
      writer.at += 1
    }
    bytes[writer.at] = 0x7d
    writer.at += 1
    return null
  }

  const encodeRow = (key: Buffer): Reject | null => {
    writer.begin()
    writer.putInt32(16)
    writer.bytes.set(prefix, writer.at)
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
    last.identityAt = writer.at + 4
    writer.putBytes(key)
    last.nameAt = writer.at + 4
    writer.putBytes(
      displayColumn < 0 || displayColumn === identityColumn || blankCell(scanner, displayColumn)
        ? key
        : cellBytes(scanner, displayColumn),
    )
    const lengthAt = writer.at
    writer.at += 4
    last.attributesAt = writer.at
    const reject = encodeAttributes()
    if (reject !== null) return reject
    last.end = writer.at
    writer.view.setInt32(lengthAt, last.end - last.attributesAt)
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
    const key = identity()
    if (key === null) {
      return refuse('blank_identity', `The column "${layout.identityAttribute}" is blank.`, false)
    }
    // JSON makes six bytes of one at most; identity and name are written once more as they are.
    writer.reserve(fixedBytes + 8 * (scanner.recordEnd - scanner.recordStart))
    const start = writer.at
    const reject = encodeRow(key)
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
      position: last.position,
    }
  }

  return {
    encode,
    identity,
    takeBack,
    hashKeyCell,
    keyHash: () => keyOut[0] ?? 0,
    hashRow,
    rowHash,
  }
}
