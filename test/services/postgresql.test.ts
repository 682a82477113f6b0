// The connector of PostgreSQL against a real server: values, safety, delta, and what happens when things go wrong.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgresqlConnector } from '../../src/connect/postgresql.ts'
import type { Reader } from '../../src/connect/reader.ts'
import type { Settings } from '../../src/core/setting.ts'
import { type PostgresServer, startPostgres } from './postgres-server.ts'
import { asks, copyAll, cursorAfter, openReader, readAll, valuesOf, wants } from './sql-reading.ts'

let server: PostgresServer

beforeAll(async () => {
  server = await startPostgres()
})

afterAll(async () => {
  await server.stop()
})

function settings(given: Settings): Settings {
  return {
    url: `postgres://reader@127.0.0.1:${server.port}/hr`,
    password: server.password,
    ...given,
  }
}

function open(given: Settings): Promise<Reader> {
  return openReader(postgresqlConnector, settings(given))
}

const everything = `
  select 1 as id, 'Zoë "Z" O''Neil, 北京 😀' as name, e'two\\nlines\\r\\nand\\ttab' as text, '' as empty, null::text as nothing,
    true as yes, false as no, 12345678901234567890.50::numeric as digits, 9007199254740993::int8 as long, 0.1::float8 as float,
    timestamp '2026-11-22 10:30:00.5' as local_time, timestamptz '2026-11-22 10:30:00-05' as instant, date '2026-11-22' as day,
    '\\xdeadbeef00'::bytea as bytes, array['a','b,"c"',null,''] as list, array[]::text[] as empty_list, null::int[] as no_list,
    array[1,2] as numbers, array[true,false] as flags, array[timestamptz '2026-11-22 10:30:00-05'] as instants,
    '["x", 1, null, true]'::json as json_list, '{"a":1}'::jsonb as json_object, '"s"'::jsonb as json_text, 'null'::jsonb as json_null,
    'padded'::char(10) as padded, 'single' as single, array['\\xff00'::bytea] as blobs, '\\.' as dot
  union all select 2, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
    null, null, null, null, null, null, null, null, null, null, null`

const singles = wants(
  'id',
  'name',
  'text',
  'empty',
  'nothing',
  'yes',
  'no',
  'digits',
  'long',
  'float',
  'local_time',
  'instant',
  'day',
  'bytes',
  'padded',
  'dot',
)
const multis = wants(
  'list[]',
  'empty_list[]',
  'no_list[]',
  'numbers[]',
  'flags[]',
  'instants[]',
  'json_list[]',
  'json_object[]',
  'json_text[]',
  'json_null[]',
  'single[]',
  'day[]',
  'blobs[]',
  'bytes[]',
)

const firstSingles = {
  id: '1',
  name: 'Zoë "Z" O\'Neil, 北京 😀',
  text: 'two\nlines\r\nand\ttab',
  empty: '',
  nothing: null,
  yes: 'true',
  no: 'false',
  digits: '12345678901234567890.50',
  long: '9007199254740993',
  float: '0.1',
  local_time: '2026-11-22T10:30:00.5',
  instant: '2026-11-22T15:30:00Z',
  day: '2026-11-22',
  bytes: '3q2+7wA=',
  padded: 'padded',
  dot: '\\.',
}
const firstMultis = {
  list: ['a', 'b,"c"', ''],
  empty_list: [],
  no_list: null,
  numbers: ['1', '2'],
  flags: ['true', 'false'],
  instants: ['2026-11-22T15:30:00Z'],
  json_list: ['x', '1', 'true'],
  json_object: ['{"a": 1}'],
  json_text: ['s'],
  json_null: null,
  single: ['single'],
  day: ['2026-11-22'],
  blobs: ['/wA='],
  bytes: ['3q2+7wA='],
}

describe('values', () => {
  test('come as their texts, whatever the server is set to', async () => {
    const reader = await open({ query: everything })
    const { records, end } = await readAll(reader, asks(singles))
    const [first, second] = valuesOf(records, singles)
    expect(first).toEqual(firstSingles)
    expect(Object.values(second ?? {}).slice(1)).toEqual(singles.slice(1).map(() => null))
    expect(records.map(({ identity }) => identity)).toEqual(['1', '2'])
    expect(end).toMatchObject({ mode: 'full', proof: expect.any(String), cursor: null })
  })

  test('of lists come as lists, and a single value of a list as a list of one', async () => {
    const reader = await open({ query: everything })
    const wanted = [...wants('id'), ...multis]
    const { records } = await readAll(reader, asks(wanted))
    expect(valuesOf(records, wanted)[0]).toEqual({ id: '1', ...firstMultis })
    expect(records[1]?.values.slice(1)).toEqual(multis.map(() => null))
  })

  test('are the same in a copy', async () => {
    const reader = await open({ query: everything })
    const { rows, end } = await copyAll(reader, asks(singles))
    expect(end.records).toBe(2)
    expect(end.expected).toBe(2)
    expect(rows[0]).toEqual({ ...firstSingles, nothing: '' })
    const wanted = [...wants('id'), ...multis]
    const lists = await copyAll(reader, asks(wanted))
    const [first] = lists.rows
    for (const [name, value] of Object.entries(firstMultis)) {
      expect([name, first?.[name] === '' ? null : JSON.parse(first?.[name] ?? '')]).toEqual([
        name,
        value,
      ])
    }
  })

  test('of a single column that is null still make a row', async () => {
    const reader = await open({ query: `select null::text as id union all select 'a'` })
    const blocks: Uint8Array[] = []
    const end = await reader.copy?.(asks(wants('id')), async (bytes) => void blocks.push(bytes))
    expect(end?.records).toBe(2)
    expect(Buffer.concat(blocks).toString()).toBe('""\na\n')
  })
})

export { cursorAfter }
