// The byte path of a record against core/source-record.ts: the same accounts, the same rejects, in rows that PostgreSQL reads.
import { hash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RecordScanner } from '../../src/connect/delimited-scanner.ts'
import { readDialect } from '../../src/core/dialect.ts'
import { halfSip, hashKey } from '../../src/core/fingerprint.ts'
import { type Layout, planLayout } from '../../src/core/layout.ts'
import { attribute, attributeTypes } from '../../src/core/schema.ts'
import { normalise, type Reject } from '../../src/core/source-record.ts'
import { createEncoder } from '../../src/run/encode-record.ts'
import { createMerger } from '../../src/run/merge-adjacent.ts'
import { RowWriter } from '../../src/store/row-writer.ts'

const keys = {
  row: hashKey(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)),
  key: hashKey(Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1)),
}
const prefix = Uint8Array.of(0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff)

interface DecodedRow {
  readonly id: string
  readonly fingerprint: bigint | null
  readonly keyHash: number
  readonly nativeIdentity: string
  readonly name: string
  readonly attributes: string
  readonly position: number | null
}

/** Reads binary COPY data as PostgreSQL does: signature, rows with counted fields, trailer, and nothing behind it. */
function decodeCopy(bytes: Buffer, withPosition: boolean): DecodedRow[] {
  expect(bytes.subarray(0, 11).toString('latin1')).toBe('PGCOPY\n\xff\r\n\0')
  expect(bytes.readInt32BE(11)).toBe(0)
  expect(bytes.readInt32BE(15)).toBe(0)
  let at = 19
  const rows: DecodedRow[] = []
  const field = (): Buffer | null => {
    const length = bytes.readInt32BE(at)
    at += 4
    if (length < 0) return null
    at += length
    return bytes.subarray(at - length, at)
  }
  const given = (): Buffer => field() ?? Buffer.alloc(0)
  const text = (): string => {
    const value = given()
    const decoded = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value)
    return decoded
  }
  for (;;) {
    const fields = bytes.readInt16BE(at)
    at += 2
    if (fields === -1) break
    expect(fields).toBe(withPosition ? 7 : 6)
    rows.push({
      id: given().toString('hex'),
      fingerprint: field()?.readBigInt64BE() ?? null,
      keyHash: given().readInt32BE(),
      nativeIdentity: text(),
      name: text(),
      attributes: text(),
      position: withPosition ? Number(given().readBigInt64BE()) : null,
    })
  }
  expect(at).toBe(bytes.length)
  return rows
}

interface Encoded {
  readonly rows: DecodedRow[]
  readonly rejects: Reject[]
  readonly staged: number
}

/** Runs the byte path over a text; a chunk of few bytes makes rows wrap between buffers. */
function encodeText(
  text: string,
  layout: Layout,
  options: { chunk?: number; withPosition?: boolean; merge?: boolean; quote?: number } = {},
): Encoded {
  const { chunk = 4096, withPosition = true, merge = false } = options
  const scanner = new RecordScanner({
    delimiter: 44,
    quote: options.quote ?? 34,
    comment: -1,
    newline: 10,
  })
  const parts: Buffer[] = []
  const writer = new RowWriter(chunk, { staged: withPosition, stateful: false }, (full, length) => {
    parts.push(Buffer.from(full.subarray(0, length)))
    // A buffer that was handed on is overwritten: nothing may point into it any more.
    full.fill(0xee)
    return Buffer.alloc(chunk)
  })
  const encoder = createEncoder(scanner, layout, prefix, keys, writer)
  const merger = merge ? createMerger(encoder, writer, layout.displayAttribute) : null
  const bytes = Buffer.from(text)
  scanner.fill(bytes, 0, bytes.length, true)
  const rejects: Reject[] = []
  for (let scan = scanner.next(); scan !== 'more'; scan = scanner.next()) {
    if (scan !== 'record') continue
    const reject = (merger ?? encoder).encode()
    if (reject !== null) rejects.push(reject)
  }
  merger?.finish()
  const staged = writer.rows
  writer.finish()
  return { rows: decodeCopy(Buffer.concat(parts), withPosition), rejects, staged }
}

function quote(cell: string): string {
  return `"${cell.replaceAll('"', '""')}"`
}

function hashOf(bytes: Buffer, key: (typeof keys)['row']): [number, number] {
  const out = new Int32Array(2)
  halfSip(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length, key, out)
  return [out[0] ?? 0, out[1] ?? 0]
}

const unit = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('a', 'b', 'Z', '0', '7', ' ', '-', '/') },
  {
    weight: 4,
    arbitrary: fc.constantFrom('"', '\\', '\t', '\n', '\r', ',', '\b', '\f', '\u0001', '\u001f'),
  },
  { weight: 2, arbitrary: fc.constantFrom('é', '€', '😀', '\u2028', '\u007f', '\ufeff', '\ufffd') },
  { weight: 1, arbitrary: fc.constant('\0') },
)
const cellArbitrary = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit, maxLength: 12 }) },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      '',
      ' ',
      '\t ',
      '0',
      '-0',
      '007',
      '+5',
      '-12',
      ' 42 ',
      '999999999',
      '1000000000',
      '2147483647',
      '2147483648',
      '-2147483648',
      '9223372036854775807',
      '9223372036854775808',
      '-',
      '1e3',
      '１',
      'true',
      'No',
      'YES',
      '1',
      'on',
      '2026-11-22',
      '2026-02-29',
      '2024-02-29',
      '2026-13-01',
      '2026-11-22T10:00:00Z',
      '22.11.2026',
      '11/22/2026',
      '20261122',
      '0000-01-01',
    ),
  },
  { weight: 1, arbitrary: fc.nat({ max: 9000 }).map((length) => '"ä\n'.repeat(length / 3)) },
)
const nameArbitrary = fc.constantFrom(
  'id',
  'name',
  '__proto__',
  'constructor',
  'é "q"',
  'b',
  'B2',
  'x'.repeat(300),
  'a\\b',
  'tab\t',
)

const tableArbitrary = fc
  .record({
    columns: fc.uniqueArray(nameArbitrary, { minLength: 1, maxLength: 7 }),
    types: fc.array(fc.constantFrom(...attributeTypes), { minLength: 8, maxLength: 8 }),
    multi: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
    identity: fc.nat({ max: 6 }),
    display: fc.option(fc.nat({ max: 6 })),
  })
  .chain((given) => {
    const row = fc.record({
      cells: fc.array(cellArbitrary, {
        minLength: given.columns.length,
        maxLength: given.columns.length,
      }),
      surplus: fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, fc.constantFrom(-1, 1)),
      plain: fc.boolean(),
    })
    return fc.record({ given: fc.constant(given), rows: fc.array(row, { maxLength: 8 }) })
  })
  .map(({ given, rows }) => {
    const { columns } = given
    const identity = columns[given.identity % columns.length] ?? ''
    const display = given.display === null ? null : (columns[given.display % columns.length] ?? '')
    const schema = {
      attributes: columns.map((name, index) =>
        attribute(name, {
          type: given.types[index] ?? 'STRING',
          isMulti: (given.multi[index] ?? false) && name !== identity,
        }),
      ),
      identityAttribute: identity,
      displayAttribute: display,
    }
    const cells = rows.map((row) =>
      row.surplus === 0
        ? row.cells
        : row.surplus > 0
          ? [...row.cells, 'surplus']
          : row.cells.length > 1
            ? row.cells.slice(1)
            : row.cells,
    )
    // A cell stands without quotes where it can.
    const text = cells.map((row, index) =>
      row
        .map((cell) =>
          rows[index]?.plain === true && !/[",\n\r]/.test(cell) && (cell !== '' || row.length > 1)
            ? cell
            : quote(cell),
        )
        .join(','),
    )
    return { layout: planLayout(columns, schema, readDialect({})), cells, text }
  })

describe('the byte path of a record', () => {
  it('makes of random records of random schemas what normalise makes of them', () => {
    fc.assert(
      fc.property(
        tableArbitrary,
        fc.constantFrom(64, 300, 5000, 262144),
        fc.boolean(),
        ({ layout, cells, text }, chunk, withPosition) => {
          const encoded = encodeText(`${text.join('\n')}\n`, layout, { chunk, withPosition })
          let line = 1
          const rows: DecodedRow[] = []
          const rejects: Reject[] = []
          for (const [index, record] of cells.entries()) {
            const raw = text[index] ?? ''
            const lawful = normalise({ cells: record, position: line }, layout)
            if ('code' in lawful) {
              rejects.push({ ...lawful, position: line, raw: raw.replaceAll('\0', '\u2400') })
            } else {
              const [low, high] = hashOf(Buffer.from(raw), keys.row)
              rows.push({
                ...lawful,
                id:
                  Buffer.from(prefix).toString('hex') +
                  hash('sha256', lawful.nativeIdentity).slice(0, 20),
                fingerprint: (BigInt(high) << 32n) | BigInt.asUintN(32, BigInt(low)),
                keyHash: hashOf(Buffer.from(lawful.nativeIdentity), keys.key)[0],
                position: withPosition ? line : null,
              })
            }
            line += 1 + (raw.match(/\n/g)?.length ?? 0)
          }
          expect(encoded.rejects).toEqual(rejects)
          expect(encoded.rows).toEqual(rows)
          expect(encoded.staged).toBe(rows.length)
        },
      ),
      { numRuns: 400 },
    )
  })

  it('gives a quoted and an unquoted key the same hash and the same id', () => {
    const layout = layoutOf(['id', 'name'])
    const { rows } = encodeText('k1,a\n"k1",b\n', layout)
    expect(rows[0]?.keyHash).toBe(rows[1]?.keyHash)
    expect(rows[0]?.id).toBe(rows[1]?.id)
    expect(rows[0]?.fingerprint).not.toBe(rows[1]?.fingerprint)
  })

  it('takes a cell of a million characters that all need six bytes in JSON', () => {
    const cell = '\u0001'.repeat(1_000_000)
    const { rows } = encodeText(`k,${cell}\nl,b\n`, layoutOf(['id', 'name']), { chunk: 4096 })
    expect(rows.map((row) => row.nativeIdentity)).toEqual(['k', 'l'])
    expect(JSON.parse(rows[0]?.attributes ?? '')).toEqual({ id: 'k', name: cell })
  })

  it('undoes quotes that are digits before it takes a cell for a number', () => {
    const layout = layoutOf(['id', 'level'], [], ['level'])
    const { rows } = encodeText('k,151151\n', layout, { quote: 0x31 })
    expect(rows[0]?.attributes).toBe('{"id":"k","level":515}')
  })

  it('keeps a column named __proto__ as a plain key', () => {
    const { rows } = encodeText('k,evil\n', layoutOf(['id', '__proto__']))
    expect(rows[0]?.attributes).toBe('{"__proto__":"evil","id":"k"}')
  })

  it('cuts the raw text of a reject at 64 KiB and says so by an ellipsis', () => {
    const { rejects } = encodeText(`k,${'x'.repeat(100_000)},y\n`, layoutOf(['id', 'name']))
    expect(rejects).toHaveLength(1)
    expect(rejects[0]?.code).toBe('cell_count')
    expect(rejects[0]?.raw).toHaveLength(65_537)
    expect(rejects[0]?.raw.endsWith('x…')).toBe(true)
  })

  it('rejects text after a closing quote, and trusts neither its cells nor its identity', () => {
    const { rejects, rows } = encodeText('"k"x,a\nl,b\n', layoutOf(['id', 'name']))
    expect(rejects).toEqual([
      {
        position: 1,
        code: 'quote',
        reason: 'Text follows a closing quote within a cell.',
        raw: '"k"x,a',
        nativeIdentity: 'k',
        trusted: false,
      },
    ])
    expect(rows.map((row) => row.nativeIdentity)).toEqual(['l'])
  })
})

describe('merging rows that stand next to each other', () => {
  const layout = layoutOf(['id', 'name', 'groups'])

  it('unites lists, keeps the first non-blank value and adds up the fingerprints', () => {
    const lines = ['k,,y', 'k,Ann,x', '"k",,y', 'l,Bob,']
    const { rows, rejects } = encodeText(`${lines.join('\n')}\n`, layout, {
      merge: true,
      chunk: 64,
    })
    expect(rejects).toEqual([])
    expect(
      rows.map(({ nativeIdentity, name, attributes, position }) => ({
        nativeIdentity,
        name,
        attributes,
        position,
      })),
    ).toEqual([
      {
        nativeIdentity: 'k',
        name: 'Ann',
        attributes: '{"groups":["x","y"],"id":"k","name":"Ann"}',
        position: 1,
      },
      { nativeIdentity: 'l', name: 'Bob', attributes: '{"id":"l","name":"Bob"}', position: 4 },
    ])
    const words = lines.slice(0, 3).map((line) => hashOf(Buffer.from(line), keys.row))
    const sum = (index: 0 | 1): number =>
      words.reduce((total, pair) => (total + pair[index]) | 0, 0)
    expect(rows[0]?.fingerprint).toBe((BigInt(sum(1)) << 32n) | BigInt.asUintN(32, BigInt(sum(0))))
  })

  it('has no fingerprint where the order of the rows decides, because sums do not see it', () => {
    const { rows } = encodeText('k,Ann,x\nk,Bob,y\n', layout, { merge: true })
    expect(rows[0]).toMatchObject({ name: 'Ann', fingerprint: null })
    expect(rows[0]?.attributes).toBe('{"groups":["x","y"],"id":"k","name":"Ann"}')
  })

  it('keeps the first name also when it is the same as the identity', () => {
    const { rows } = encodeText('k,k,x\nk,Bob,y\n', layout, { merge: true })
    expect(rows[0]).toMatchObject({ name: 'k', fingerprint: null })
    expect(rows[0]?.attributes).toContain('"name":"k"')
  })

  it('has no fingerprint where only the display name depends on the order', () => {
    const multi = layoutOf(['id', 'name'], ['name'])
    const { rows } = encodeText('k,Ann\nk,Bob\n', multi, { merge: true })
    expect(rows[0]).toMatchObject({
      name: 'Ann',
      fingerprint: null,
      attributes: '{"id":"k","name":["Ann","Bob"]}',
    })
    const levels = layoutOf(['id', 'name'], [], ['name'])
    expect(encodeText('k,7\nk,07\n', levels, { merge: true }).rows[0]).toMatchObject({
      name: '7',
      fingerprint: null,
    })
  })

  it('goes on after a reject of the same account, and closes the account at any other record', () => {
    const { rows, rejects } = encodeText('k,Ann,x\nk,\0,y\nk,,z\nl,,\nk,,w\n', layout, {
      merge: true,
    })
    expect(rejects.map((reject) => [reject.position, reject.code])).toEqual([[2, 'nul']])
    expect(rows.map((row) => [row.position, row.attributes])).toEqual([
      [1, '{"groups":["x","z"],"id":"k","name":"Ann"}'],
      [4, '{"id":"l"}'],
      [5, '{"groups":["w"],"id":"k"}'],
    ])
  })
})

function layoutOf(
  columns: readonly string[],
  multi: readonly string[] = ['groups'],
  integers: readonly string[] = [],
): Layout {
  const attributes = columns.map((name) =>
    attribute(name, {
      isMulti: multi.includes(name),
      type: integers.includes(name) ? 'INT' : 'STRING',
    }),
  )
  return planLayout(
    columns,
    { attributes, identityAttribute: 'id', displayAttribute: 'name' },
    readDialect({ mergeRows: true }),
  )
}
