// The connector of MySQL and MariaDB against a real MariaDB: values, safety, delta, and what happens when things go wrong.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mysqlConnector } from '../../src/connect/mysql.ts'
import type { Reader } from '../../src/connect/reader.ts'
import type { Settings } from '../../src/core/setting.ts'
import { type MariadbServer, mariadbMissing, startMariadb } from './mariadb-server.ts'
import { asks, copyAll, openReader, readAll, valuesOf, wants } from './sql-reading.ts'

let server: MariadbServer

beforeAll(async () => {
  if (mariadbMissing !== null) throw new Error(mariadbMissing)
  server = await startMariadb()
  await server.run(
    `create table valued (id int primary key, name varchar(100), text text, empty varchar(10), nothing varchar(10),
       yes boolean, no bit(1), digits decimal(30,2), long_number bigint, big_number int unsigned, single_float double,
       local_time datetime(3), instant timestamp null, day date, bytes varbinary(10), latin varchar(20) character set latin1,
       list json, other json, clock time)`,
  )
  await server.run(`set time_zone = '+00:00'`)
  await server.run(
    String.raw`insert into valued values
       (1, 'Zoë "Z" O''Neil, 北京 😀', 'two\nlines\r\nand\ttab \\', '', null, true, b'0', 1234567890123456789.50,
        9007199254740993, 4294967295, 0.1, '2026-11-22 10:30:00.5', '2026-11-22 15:30:00', '2026-11-22', x'deadbeef00', 'Zoë',
        '["a","b,\\"c\\"",1,null,true]', '{"a": 1}', '10:30:00'),
       (2, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)`,
  )
})

afterAll(async () => {
  await server.stop()
})

function open(given: Settings): Promise<Reader> {
  return openReader(mysqlConnector, {
    url: `mysql://reader@127.0.0.1:${server.port}/hr`,
    password: server.password,
    ...given,
  })
}

const singles = wants(
  'id',
  'name',
  'text',
  'empty',
  'nothing',
  'yes',
  'no',
  'digits',
  'long_number',
  'big_number',
  'single_float',
  'local_time',
  'instant',
  'day',
  'bytes',
  'latin',
  'clock',
)
const multis = wants('list[]', 'other[]', 'name[]', 'day[]', 'nothing[]')
const firstSingles = {
  id: '1',
  name: 'Zoë "Z" O\'Neil, 北京 😀',
  text: 'two\nlines\r\nand\ttab \\',
  empty: '',
  nothing: null,
  yes: 'true',
  no: 'false',
  digits: '1234567890123456789.50',
  long_number: '9007199254740993',
  big_number: '4294967295',
  single_float: '0.1',
  local_time: '2026-11-22T10:30:00.500',
  instant: '2026-11-22T15:30:00Z',
  day: '2026-11-22',
  bytes: '3q2+7wA=',
  latin: 'Zoë',
  clock: '10:30:00',
}
const firstMultis = {
  list: ['a', 'b,"c"', '1', 'true'],
  other: ['{"a": 1}'],
  name: ['Zoë "Z" O\'Neil, 北京 😀'],
  day: ['2026-11-22'],
  nothing: null,
}

describe('values', () => {
  test('come as their texts, whatever the server is set to', async () => {
    const reader = await open({ query: 'select * from valued order by id' })
    const { records, end } = await readAll(reader, asks(singles))
    const [first, second] = valuesOf(records, singles)
    expect(first).toEqual(firstSingles)
    expect(Object.values(second ?? {}).slice(1)).toEqual(singles.slice(1).map(() => null))
    expect(end).toMatchObject({ mode: 'full', proof: expect.any(String), cursor: null })
  })

  test('of lists come as lists, and a single value of a list as a list of one', async () => {
    const reader = await open({ table: 'valued' })
    const wanted = [...wants('id'), ...multis]
    const { records } = await readAll(reader, asks(wanted))
    expect(valuesOf(records, wanted)[0]).toEqual({ id: '1', ...firstMultis })
    expect(records[1]?.values.slice(1)).toEqual(multis.map(() => null))
  })

  test('are the same in a copy', async () => {
    const reader = await open({ table: 'valued' })
    const { rows, end } = await copyAll(reader, asks(singles))
    expect(end.records).toBe(2)
    expect(end.expected).toBe(2)
    expect(rows[0]).toEqual({ ...firstSingles, nothing: '' })
    expect(Object.values(rows[1] ?? {}).slice(1)).toEqual(singles.slice(1).map(() => ''))
    const lists = await copyAll(reader, asks([...wants('id'), ...multis]))
    expect(JSON.parse(lists.rows[0]?.['list'] ?? '')).toEqual(['a', 'b,"c"', 1, null, true])
    expect(JSON.parse(lists.rows[0]?.['name'] ?? '')).toEqual(firstMultis.name)
    expect(lists.rows[0]?.['nothing']).toBe('')
  })

  test('of a single column that is null still make a row', async () => {
    const reader = await open({ query: `select null as id union all select 'a'` })
    const blocks: Uint8Array[] = []
    const end = await reader.copy?.(asks(wants('id')), async (bytes) => void blocks.push(bytes))
    expect(end?.records).toBe(2)
    expect(Buffer.concat(blocks).toString()).toBe('""\n"a"\n')
  })
})
