// The connector of PostgreSQL against a real server: values, safety, delta, and what happens when things go wrong.
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgresqlConnector } from '../../src/connect/postgresql.ts'
import type { Reader } from '../../src/connect/reader.ts'
import type { Settings } from '../../src/core/setting.ts'
import { type PostgresServer, startPostgres } from './postgres-server.ts'
import { readerSuite } from '../connect/reader-suite.ts'
import {
  asks,
  copyAll,
  cursorAfter,
  drain,
  failureOf,
  openReader,
  readAll,
  valuesOf,
  wants,
} from './sql-reading.ts'

let server: PostgresServer

beforeAll(async () => {
  server = await startPostgres()
  await server.run('create table precious as select 1 as id; grant all on precious to reader')
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

describe('columns', () => {
  test('are found by their native name and without regard to case, and others are told', async () => {
    const reader = await open({ query: 'select 1 as EmployeeId, 2 as "Login", 3 as other' })
    const wanted = [
      ...wants('employeeId', 'missing'),
      ...wants('name').map((attribute) => ({ ...attribute, nativeName: 'Login' })),
    ]
    const { records, end } = await readAll(reader, asks(wanted))
    expect(records).toEqual([{ identity: '1', values: ['1', null, '2'] }])
    expect(end.undelivered).toEqual(['missing'])
    expect(end.extra).toEqual(['other'])
  })

  test('of identity, key and flags are taken from where the settings say', async () => {
    const reader = await open({
      query: `select 'a' as id, 'k' as uuid, 'YES' as off, 0 as stopped union all select 'b', 'l', null, 1`,
      indexColumn: 'id',
      keyColumn: 'uuid',
      disabledColumn: 'off',
      lockedColumn: 'stopped',
    })
    const request = asks(wants('name', 'uuid'), { identityAttribute: 'account' })
    const { records } = await readAll(reader, request)
    expect(records).toEqual([
      { identity: 'a', key: 'k', disabled: true, locked: false, values: [null, 'k'] },
      { identity: 'b', key: 'l', disabled: false, locked: true, values: [null, 'l'] },
    ])
    const { rows } = await copyAll(reader, request)
    expect(rows).toEqual([
      { '#key': 'k', '#identity': 'a', '#flags': 'd', uuid: 'k' },
      { '#key': 'l', '#identity': 'b', '#flags': 'l', uuid: 'l' },
    ])
  })

  test('that identify nothing, stand twice or are not there are errors that name them', async () => {
    const failures = [
      [
        { query: 'select 1 as number' },
        'no_identity_column',
        /"id".*columns of the query are number/s,
      ],
      [{ query: 'select 1 as id, 2 as id' }, 'column_twice', /"id"/],
      [{ query: 'select 1 as id', indexColumn: 'other' }, 'bad_setting', /"other"/],
      [{ query: 'select 1 as id', keyColumn: 'other' }, 'bad_setting', /"other"/],
      [{ query: 'select other from pg_class' }, 'query_refused', /column "other" does not exist/],
      [{ table: 'nowhere' }, 'query_refused', /relation "nowhere" does not exist/],
    ] as const
    for (const [given, code, words] of failures) {
      const failure = await failureOf(async () => readAll(await open(given), asks(wants('id'))))
      expect([given, failure.code, failure.temporary]).toEqual([given, code, false])
      expect(`${failure.message} ${failure.hint}`).toMatch(words)
    }
  })

  test('are discovered with their types, and so are those of the entitlements', async () => {
    const reader = await open({
      query: everything,
      indexColumn: 'id',
      entitlementQuery: `select 'g' as name, 1 as members`,
    })
    const [account, group] = await reader.discover(new AbortController().signal)
    expect(account).toMatchObject({
      name: 'account',
      identityAttribute: 'id',
      displayAttribute: 'name',
    })
    const types = account?.attributes.map(({ name, type, isMulti }) => [
      name,
      `${type}${isMulti ? '[]' : ''}`,
    ])
    expect(Object.fromEntries(types ?? [])).toMatchObject({
      id: 'INT',
      name: 'STRING',
      yes: 'BOOLEAN',
      long: 'LONG',
      digits: 'STRING',
      day: 'DATE',
      instant: 'DATE',
      list: 'STRING[]',
      numbers: 'INT[]',
      flags: 'BOOLEAN[]',
      json_list: 'STRING[]',
    })
    expect(group).toMatchObject({ name: 'group', identityAttribute: 'name' })
  })

  test('of a table are read by its name, in quotes where it needs them', async () => {
    await server.run(
      'create schema "Odd ""one"""; create table "Odd ""one"""."user.table" as select 7 as id',
    )
    const reader = await open({ table: '"Odd ""one"""."user.table"' })
    expect((await readAll(reader, asks(wants('id')))).records).toHaveLength(1)
    await server.run('create table public.plain as select 8 as id')
    const plain = await open({ table: 'PUBLIC.Plain' })
    expect((await readAll(plain, asks(wants('id')))).records[0]?.identity).toBe('8')
  })
})

describe('a query', () => {
  const asked = asks(wants('id'))
  const whole = [
    async (reader: Reader) => readAll(reader, asked),
    async (reader: Reader) => copyAll(reader, asked),
    async (reader: Reader) => reader.check(asked.signal),
  ] as const

  test('that is more or other than one SELECT is refused before it runs', async () => {
    const refused = [
      'select id from precious; delete from precious',
      'select id from precious) q; delete from precious; select * from (select 1 as id',
      'select id from precious) q; commit; delete from precious --',
      'commit; delete from precious',
      'delete from precious returning id',
      'with gone as (delete from precious returning id) select id from gone',
      'insert into precious values (2) returning id',
      'select id into copied from precious',
      `copy precious to program 'touch /tmp/muster-was-here'`,
      `select id from precious) q) to program 'touch /tmp/muster-was-here' --`,
      `select id from precious) q) to '/tmp/muster-was-here'; select (1`,
      'drop table precious',
      'truncate precious',
      'select id from precious /* and',
      `select id from precious where 'a`,
      'select id from precious -- and',
      'vacuum',
      'lock table precious',
      'set transaction read write',
      'this is no query',
    ]
    for (const query of refused.filter((text) => !text.endsWith('-- and'))) {
      for (const work of whole) {
        const failure = await failureOf(async () => work(await open({ query })))
        expect([query, failure.code, failure.temporary]).toEqual([query, 'query_refused', false])
      }
    }
    // A comment at the end is none of these.
    const good = await open({ query: 'select id from precious -- and' })
    expect((await readAll(good, asked)).records).toHaveLength(1)
    expect((await server.run('select count(*)::int as rows from precious')).rows).toEqual([
      { rows: 1 },
    ])
  })

  test('that changes something by a function is refused by the transaction', async () => {
    await server.run(`create sequence counted; grant all on counted to reader;
      create function change() returns int language sql as 'delete from precious returning 1';
      create function unlock() returns int language sql as $$
        select set_config('transaction_read_only', 'off', false); delete from precious returning 1 $$`)
    const changing = [
      'select change() as id',
      'select unlock() as id',
      `select nextval('counted') as id`,
      'select id from precious for update',
      `select lo_create(4711)::int as id`,
      `select set_config('transaction_read_only', 'off', false) as id`,
    ]
    for (const query of changing) {
      for (const work of whole.slice(0, 2)) {
        const failure = await failureOf(async () => work(await open({ query })))
        // What a setting may be is a matter of data to PostgreSQL, and its message is kept back.
        const code =
          query.includes('set_config') || query.includes('unlock')
            ? 'query_failed'
            : 'query_refused'
        expect([query, failure.code, failure.temporary]).toEqual([query, code, false])
      }
    }
    expect((await server.run('select count(*)::int as rows from precious')).rows).toEqual([
      { rows: 1 },
    ])
    expect((await server.run('select is_called from counted')).rows).toEqual([{ is_called: false }])
  })

  test('that the login may not read is refused by its rights', async () => {
    for (const query of [
      `select pg_read_file('/etc/passwd') as id`,
      `select lo_export(1, '/tmp/muster-was-here')::int as id`,
      `select id from denied`,
    ]) {
      await server.run('create table if not exists denied as select 1 as id')
      await server.run('revoke pg_read_all_data from reader')
      const failure = await failureOf(async () => readAll(await open({ query }), asked))
      await server.run('grant pg_read_all_data to reader')
      expect([query, failure.code]).toEqual([query, 'permission_denied'])
    }
  })

  test('that does not come to its end is ended by the server', async () => {
    for (const query of [
      'select pg_sleep(3600)::text as id',
      `select a.n::text as id from generate_series(1, 100000) a(n), generate_series(1, 100000) b(m) where a.n + b.m < 0`,
      'select n as id from generate_series(1, 1000000000) n',
      'select a.n as id from generate_series(1, 100000) a(n), generate_series(1, 10000) b(m)',
      `with recursive r(id) as (select 1 union all select id + 1 from r) select max(id) as id from r`,
    ]) {
      for (const work of whole.slice(0, 2)) {
        const began = performance.now()
        const failure = await failureOf(async () =>
          work(await open({ query, statementTimeoutSeconds: 1 })),
        )
        expect([query, failure.code, failure.temporary]).toEqual([query, 'query_timeout', true])
        expect(performance.now() - began).toBeLessThan(5_000)
      }
    }
  })

  test('that fails on a row tells the reason without the value', async () => {
    const query = `select (case when n < 5 then '1' else 'secret-value' end)::int as id from generate_series(1, 9) n`
    for (const work of whole.slice(0, 2)) {
      const failure = await failureOf(async () => work(await open({ query })))
      expect(failure).toMatchObject({ code: 'query_failed', temporary: false })
      expect(`${failure.message}${failure.hint}${failure.stack}`).not.toContain('secret-value')
      expect(failure.message).toContain('22P02')
    }
  })

  test('sees one snapshot, whatever is committed meanwhile', async () => {
    await server.run(
      'create table moving as select n as id, 0 as value from generate_series(1, 5000) n',
    )
    const reader = await open({ query: 'select * from moving', pageSize: 100 })
    const pages = reader.read(asks(wants('id', 'value')))
    await pages.next()
    await server.run('update moving set value = 1; delete from moving where id > 4000')
    const { records } = await drain(pages)
    expect(records).toHaveLength(4_900)
    expect(records.every(({ values }) => values[1] === '0')).toBe(true)
  })

  test('ends with the mark of its snapshot, so that the next delta begins before what came meanwhile', async () => {
    await server.run(
      'create table marked as select n as id, n % 10 as mark from generate_series(1, 5000) n',
    )
    const reader = await open({ table: 'marked', watermarkColumn: 'mark', pageSize: 100 })
    const request = asks(wants('id'))
    const pages = reader.read(request)
    await pages.next()
    await server.run(`insert into marked select n, 100 from generate_series(5001, 5100) n`)
    const { end } = await drain(pages)
    const delta = await readAll(reader, { ...request, cursor: cursorAfter(end) })
    expect(delta.records.filter(({ identity }) => Number(identity) > 5000)).toHaveLength(100)
    expect(delta.end.cursor).toEqual({ watermark: '100' })
    expect(end.cursor).toEqual({ watermark: '9' })
  })

  test('shows signs of life while the server works', async () => {
    const reader = await open({ query: 'select pg_sleep(1.5)::text as id', silenceSeconds: 1 })
    let empty = 0
    for await (const page of reader.read(asked)) if (page.records.length === 0) empty += 1
    expect(empty).toBeGreaterThan(1)
  })
})

describe('a delta', () => {
  const wanted = wants('id', 'name')
  const given = {
    query: 'select * from changing',
    watermarkColumn: 'changed',
    tombstoneQuery: 'select id from gone where at >= :watermark::timestamptz',
  }

  test('gives what changed since, and what is gone', async () => {
    await server.run(`create table changing (id text primary key, name text, changed timestamptz not null default clock_timestamp());
      create table gone (id text, at timestamptz not null default clock_timestamp());
      insert into changing (id, name) select 'p' || n, 'name' from generate_series(1, 10) n`)
    const reader = await open(given)
    const full = await copyAll(reader, asks(wanted))
    expect(full.rows).toHaveLength(10)
    const cursor = cursorAfter(full.end)
    expect(await readAll(reader, asks(wanted))).toMatchObject({ end: { cursor } })

    await server.run(`update changing set name = 'new', changed = clock_timestamp() where id = 'p1';
      delete from changing where id in ('p2', 'p3'); insert into gone (id) values ('p2'), ('p3');
      insert into changing (id, name) values ('p3', 'back')`)
    const delta = await readAll(reader, asks(wanted, { cursor }))
    expect(delta.end.mode).toBe('delta')
    expect(delta.end.proof).not.toBeNull()
    // What was the last before is read again; the tombstone of one that came back stands before it.
    const alive = delta.records
      .filter(({ deleted }) => deleted !== true)
      .map(({ identity }) => identity)
    expect(alive.toSorted()).toEqual(['p1', 'p10', 'p3'])
    expect(delta.records.slice(0, 2).map(({ identity, deleted }) => [identity, deleted])).toEqual([
      ['p2', true],
      ['p3', true],
    ])
    const next = await readAll(reader, asks(wanted, { cursor: cursorAfter(delta.end) }))
    expect(next.records.map(({ identity }) => identity)).toEqual(['p3'])
  })

  test('loses nothing of a mark that is finer than JavaScript can tell', async () => {
    await server.run(
      `create table fine (id int, at numeric(40, 20)); insert into fine values (1, 12345678901234567890.00000000000000000001)`,
    )
    const reader = await open({ table: 'fine', watermarkColumn: 'at' })
    const first = await readAll(reader, asks(wants('id')))
    await server.run(
      'insert into fine values (2, 12345678901234567890.00000000000000000000), (3, 12345678901234567890.00000000000000000002)',
    )
    const { records } = await readAll(reader, asks(wants('id'), { cursor: cursorAfter(first.end) }))
    expect(records.map(({ identity }) => identity)).toEqual(['1', '3'])
  })

  test('of an empty table keeps its mark', async () => {
    await server.run(
      'create table emptied (id int, at timestamptz default now()); insert into emptied values (1)',
    )
    const reader = await open({ table: 'emptied', watermarkColumn: 'at' })
    const first = await readAll(reader, asks(wants('id')))
    await server.run('delete from emptied')
    const { records, end } = await readAll(
      reader,
      asks(wants('id'), { cursor: cursorAfter(first.end) }),
    )
    expect(records).toEqual([])
    expect(end.cursor).toEqual(first.end.cursor)
    expect((await readAll(reader, asks(wants('id')))).end.cursor).toBeNull()
  })

  test('gives all rows of an account of which one changed, where rows are merged', async () => {
    await server.run(`create table memberships (id int, groups text, changed int);
      insert into memberships values (1, 'a', 1), (1, 'b', 1), (2, 'a', 2), (2, 'c', 1)`)
    const reader = await open({ table: 'memberships', watermarkColumn: 'changed', mergeRows: true })
    const first = await readAll(reader, asks(wants('id', 'groups[]')))
    expect(first.records).toHaveLength(4)
    const { records } = await readAll(
      reader,
      asks(wants('id', 'groups[]'), { cursor: cursorAfter(first.end) }),
    )
    expect(records.map(({ values }) => values)).toEqual([
      ['2', ['a']],
      ['2', ['c']],
    ])
    const one = await reader.readOne?.('1', asks(wants('id', 'groups[]')))
    expect(one?.values).toEqual(['1', ['a', 'b']])
  })
})

describe('when things go wrong', () => {
  const asked = asks(wants('id'))

  test('a wrong login, database, server or certificate is told from the others', async () => {
    const at = `127.0.0.1:${server.port}`
    const failures = [
      [{ password: 'wrong-password' }, 'credentials_refused', false],
      [{ password: undefined }, 'credentials_refused', false],
      [{ url: `postgres://nobody@${at}/hr` }, 'credentials_refused', false],
      [{ url: `postgres://reader@${at}/nowhere` }, 'database_unknown', false],
      [{ url: 'postgres://reader@127.0.0.1:1/hr' }, 'connect_failed', true],
      [{ tls: 'require' }, 'certificate_refused', false],
      [
        { tls: 'require', tlsCa: server.certificate, tlsServerName: 'other.example' },
        'certificate_refused',
        false,
      ],
      [{ tls: 'require', tlsCa: 'no certificate' }, 'bad_setting', false],
    ] as const
    for (const [given, code, temporary] of failures) {
      const failure = await failureOf(async () =>
        (await open({ query: 'select 1 as id', ...given })).check(asked.signal),
      )
      expect([given, failure.code, failure.temporary]).toEqual([given, code, temporary])
      expect(failure.hint.length).toBeGreaterThan(20)
      expect(`${failure.message}${failure.hint}${failure.stack}`).not.toContain('wrong-password')
    }
  })

  test('TLS with a certificate that is trusted works', async () => {
    const reader = await open({
      query: 'select ssl::text as id from pg_stat_ssl where pid = pg_backend_pid()',
      tls: 'require',
      tlsCa: server.certificate,
      tlsServerName: 'localhost',
    })
    expect((await readAll(reader, asked)).records[0]?.identity).toBe('true')
    expect((await copyAll(reader, asked)).rows).toEqual([{ id: 'true' }])
    expect(await reader.check(asked.signal)).toMatchObject({
      tls: true,
      superuser: false,
      database: 'hr',
    })
  })

  test('settings that cannot be used are refused before anything is opened', async () => {
    const wrong: readonly [Settings, RegExp][] = [
      [{ url: 'postgres://reader:secret@db.example.com/hr' }, /url holds a password/],
      [{ url: 'mysql://reader@db.example.com/hr' }, /url does not begin with postgres/],
      [{ url: 'postgres://db.example.com/hr' }, /url names no user/],
      [{ url: 'postgres://reader@db.example.com' }, /url names no database/],
      [{ url: 'postgres://reader@db.example.com/hr?sslmode=disable' }, /url has parameters/],
      [{ url: 'postgres://reader@db.example.com/%E0%A4%A' }, /percent/],
      [{ table: 'a; drop table b' }, /table is not the name/],
      [{ table: 'people', query: 'select 1' }, /table is set together/],
      [{}, /query is missing/],
      [{ query: ' ; ' }, /query is empty/],
      [{ query: 'select 1', statementTimeoutSeconds: 0 }, /statementTimeoutSeconds/],
      [{ query: 'select 1', tombstoneQuery: 'select 1' }, /tombstoneQuery is set without/],
      [{ query: 'select 1', tls: 'prefer' }, /tls is "prefer"/],
    ]
    for (const [given, words] of wrong) {
      const failure = await failureOf(() => open(given))
      expect([given, failure.code]).toEqual([given, 'bad_setting'])
      expect(failure.message).toMatch(words)
      expect(failure.message).not.toContain('secret')
    }
  })

  test('what is no database, or none that answers, is an error and not a wait without end', async () => {
    const answers: readonly (readonly [string | Buffer | null, Settings, string, boolean])[] = [
      [null, { timeoutSeconds: 1 }, 'connection_lost', true],
      ['HTTP/1.1 400 Bad Request\r\n\r\n', { timeoutSeconds: 1 }, 'connection_lost', true],
      ['\u0000'.repeat(1000), { timeoutSeconds: 1 }, 'connection_lost', true],
      // What PostgreSQL says where TLS is off.
      ['N', { tls: 'require', tlsServerName: 'localhost' }, 'tls_unavailable', false],
    ]
    for (const [answer, given, code, temporary] of answers) {
      const sockets = new Set<Socket>()
      const other = createServer((socket) => {
        sockets.add(socket)
        socket.on('error', () => undefined)
        socket.once('data', () => answer !== null && socket.write(answer))
      })
      await new Promise<void>((resolve) => void other.listen(0, '127.0.0.1', resolve))
      const { port } = other.address() as AddressInfo
      try {
        const url = `postgres://reader@127.0.0.1:${port}/hr`
        const failure = await failureOf(async () =>
          (await open({ query: 'select 1 as id', url, ...given })).check(asked.signal),
        )
        expect([answer, failure.code, failure.temporary]).toEqual([answer, code, temporary])
      } finally {
        for (const socket of sockets) socket.destroy()
        other.close()
      }
    }
  })

  test('a connection that is ended in the middle of a read is an error that passes', async () => {
    const query = `select n as id, repeat('x', 1000) as text from generate_series(1, 200000) n`
    const request = asks(wants('id', 'text'))
    const cut = (): Promise<unknown> =>
      server.run(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'muster'`,
      )
    const read = await failureOf(async () => {
      const reader = await open({ query, pageSize: 500 })
      const pages = reader.read(request)
      for (let page = 0; page < 4; page += 1) await pages.next()
      await cut()
      await drain(pages)
    })
    expect(read).toMatchObject({ code: 'connection_lost', temporary: true })
    const copy = await failureOf(async () => {
      const reader = await open({ query })
      let blocks = 0
      await reader.copy?.(request, async () => {
        blocks += 1
        if (blocks === 3) await cut()
      })
    })
    expect(copy).toMatchObject({ code: 'connection_lost', temporary: true })
  })

  test('an error of the one who writes ends the copy', async () => {
    const reader = await open({
      query: `select repeat('x', 1000) || n as id from generate_series(1, 50000) n`,
    })
    const failure = await reader
      .copy?.(asked, async () => {
        throw new Error('the disk is full')
      })
      .catch((error: unknown) => error)
    expect(String(failure)).toContain('the disk is full')
  })

  test('nothing is left on the server when a read is given up', async () => {
    const stop = new AbortController()
    const reader = await open({ query: 'select pg_sleep(3600)::text as id' })
    const reading = failureOf(() => readAll(reader, { ...asked, signal: stop.signal }))
    setTimeout(() => stop.abort(new Error('stopped by the test')), 300)
    expect((await reading).message).toBe('stopped by the test')
    await expect
      .poll(
        async () =>
          (
            await server.run(
              `select count(*)::int as n from pg_stat_activity where application_name = 'muster'`,
            )
          ).rows,
        { timeout: 15_000, interval: 250 },
      )
      .toEqual([{ n: 0 }])
  })

  test('the server waits for a consumer that is slow', async () => {
    const query = `select n as id, repeat('x', 500) as text from generate_series(1, 200000) n`
    const request = asks(wants('id', 'text'))
    const waits = async (): Promise<boolean> => {
      const { rows } = await server.run(
        `select wait_event from pg_stat_activity where application_name = 'muster' and state = 'active'`,
      )
      return rows[0]?.['wait_event'] === 'ClientWrite'
    }
    // Who reads on lets the server go on now and then.
    const waitsForGood = async (): Promise<void> => {
      await expect.poll(waits, { timeout: 10_000, interval: 20 }).toBe(true)
      await new Promise((resolve) => setTimeout(resolve, 500))
      for (let look = 0; look < 20; look += 1) {
        expect(await waits()).toBe(true)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
    const reader = await open({ query })
    let blocks = 0
    const end = await reader.copy?.(request, async () => {
      blocks += 1
      if (blocks === 2) await waitsForGood()
    })
    expect(end?.records).toBe(200_000)
  })

  test('memory stays flat however many rows there are', async () => {
    const query = `select n as id, repeat('x', 500) as text from generate_series(1, 200000) n`
    const request = asks(wants('id', 'text'))
    const reader = await open({ query })
    const before = process.memoryUsage().rss
    let most = 0
    const look = (): void => {
      most = Math.max(most, process.memoryUsage().rss - before)
    }
    let bytes = 0
    // A consumer that is slower than the server.
    const end = await reader.copy?.(request, async (block) => {
      bytes += block.length
      look()
      await new Promise((resolve) => setTimeout(resolve, 2))
    })
    expect(end?.records).toBe(200_000)
    expect(bytes).toBeGreaterThan(100_000_000)
    let records = 0
    for await (const page of reader.read(request)) {
      records += page.records.length
      look()
    }
    expect(records).toBe(200_000)
    expect(most).toBeLessThan(150_000_000)
  })
})

readerSuite('postgresql', async () => {
  const own = await startPostgres()
  await own.run(`create table people (id int primary key, name text, email text, groups text[], off boolean, changed bigint);
    insert into people select n, 'Name ' || n, case when n % 3 = 0 then null else 'user' || n || '@corp.example' end,
      case when n % 2 = 0 then array['staff', 'g' || n] end, n % 5 = 0, n from generate_series(1, 25) n;
    create table gone (id int, changed bigint);
    create table groups as select 'g' || n as id, 'Group ' || n as name from generate_series(1, 12) n`)
  const given = {
    url: `postgres://reader@127.0.0.1:${own.port}/hr`,
    password: own.password,
    table: 'people',
    pageSize: 5,
    indexColumn: 'id',
    watermarkColumn: 'changed',
    tombstoneQuery: 'select id from gone where changed > :watermark',
    entitlementQuery: 'select * from groups',
  }
  const attributes = wants('id', 'name', 'email', 'groups[]')
  const openWith = (more: Settings): Promise<Reader> =>
    openReader(postgresqlConnector, { ...given, ...more })
  const groups = wants('id', 'name')
  return {
    open: () => openWith({}),
    attributes,
    identityAttribute: 'id',
    pageSize: 5,
    accounts: Array.from({ length: 25 }, (_, at) => {
      const n = at + 1
      const email = n % 3 === 0 ? null : `user${n}@corp.example`
      return {
        identity: String(n),
        values: [String(n), `Name ${n}`, email, n % 2 === 0 ? ['staff', `g${n}`] : null],
      }
    }),
    facts: ['version', 'database', 'user', 'columns'],
    faults: [
      {
        name: 'a wrong password',
        open: () => openWith({ password: 'wrong-1' }),
        code: 'credentials_refused',
        secrets: ['wrong-1'],
      },
    ],
    delta: 'overlap',
    change: async () => {
      await own.run(`update people set name = 'Other', changed = 100 where id in (3, 4);
        insert into people values (26, 'New', null, null, false, 101);
        delete from people where id = 7; insert into gone values (7, 102)`)
      return { changed: ['3', '4', '26'], removed: ['7'] }
    },
    entitlements: {
      objectType: 'group',
      attributes: groups,
      identityAttribute: 'id',
      records: Array.from({ length: 12 }, (_, at) => ({
        identity: `g${at + 1}`,
        values: [`g${at + 1}`, `Group ${at + 1}`],
      })),
    },
    missingIdentity: 'nobody',
    copy: true,
    openConnections: async () => {
      const { rows } = await own.run(
        `select count(*)::int as n from pg_stat_activity where application_name = 'muster'`,
      )
      return Number(rows[0]?.['n'])
    },
    close: () => own.stop(),
  }
})
