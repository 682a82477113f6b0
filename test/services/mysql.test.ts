// The connector of MySQL and MariaDB against a real MariaDB: values, safety, delta, and what happens when things go wrong.
import { readdirSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mysqlConnector } from '../../src/connect/mysql.ts'
import type { Reader } from '../../src/connect/reader.ts'
import type { Settings } from '../../src/core/setting.ts'
import { type MariadbServer, mariadbMissing, startMariadb } from './mariadb-server.ts'
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

let server: MariadbServer

beforeAll(async () => {
  if (mariadbMissing !== null) throw new Error(mariadbMissing)
  server = await startMariadb()
  await server.run(
    `create table valued (id int primary key, name varchar(100), text text, empty varchar(10), nothing varchar(10),
       yes boolean, no bit(1), digits decimal(30,2), long_number bigint, big_number int unsigned, single_float double,
       local_time datetime(3), instant timestamp null, day date, bytes varbinary(10), latin varchar(20) character set latin1,
       list json, other json, clock time, guid uuid, address inet6, greek varchar(10) character set greek, bits bit(9))`,
  )
  await server.run(`set time_zone = '+00:00'`)
  await server.run(
    String.raw`insert into valued values
       (1, 'Zoë "Z" O''Neil, 北京 😀', 'two\nlines\r\nand\ttab \\', '', null, true, b'0', 1234567890123456789.50,
        9007199254740993, 4294967295, 0.1, '2026-11-22 10:30:00.5', '2026-11-22 15:30:00', '2026-11-22', x'deadbeef00', 'Zoë',
        '["a","b,\\"c\\"",1,null,true]', '{"a": 1}', '10:30:00', '5bd1c0e6-7a30-11ee-b962-0242ac120002', '::1', 'αβγ', b'100000001'),
       (2, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)`,
  )
  await server.run('create table precious (id int primary key)')
  await server.run('insert into precious values (1)')
  await server.run('create sequence counted')
  await server.run(
    'create function change_it() returns int begin delete from precious; return 1; end',
  )
  await server.run(
    'create function unlock_it() returns int begin set session tx_read_only = 0; delete from precious; return 1; end',
  )
  await server.run('create procedure changing() delete from precious')
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
  'guid',
  'address',
  'greek',
  'bits',
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
  guid: '5bd1c0e6-7a30-11ee-b962-0242ac120002',
  address: '::1',
  greek: 'αβγ',
  bits: '257',
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

describe('columns', () => {
  test('are found by their native name and without regard to case, and others are told', async () => {
    const reader = await open({ query: 'select 1 as EmployeeId, 2 as `Login`, 3 as other' })
    const wanted = [
      ...wants('employeeid', 'missing'),
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
        { query: 'select 1 as badge' },
        'no_identity_column',
        /"id".*columns of the query are badge/s,
      ],
      [{ query: 'select 1 as id, 2 as id' }, 'column_twice', /"id"/],
      [{ query: 'select 1 as id', indexColumn: 'other' }, 'bad_setting', /"other"/],
      [{ query: 'select absent from valued' }, 'query_refused', /Unknown column 'absent'/],
      [{ table: 'nowhere' }, 'permission_denied|query_refused', /nowhere/],
    ] as const
    for (const [given, code, words] of failures) {
      const failure = await failureOf(async () => readAll(await open(given), asks(wants('id'))))
      expect(code.split('|')).toContain(failure.code)
      expect(failure.temporary).toBe(false)
      expect(`${failure.message} ${failure.hint}`).toMatch(words)
    }
  })

  test('are discovered with their types', async () => {
    const reader = await open({ table: 'valued', indexColumn: 'ID' })
    const [account] = await reader.discover(new AbortController().signal)
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
      no: 'BOOLEAN',
      digits: 'STRING',
      long_number: 'LONG',
      big_number: 'LONG',
      local_time: 'DATE',
      instant: 'DATE',
      day: 'DATE',
      bytes: 'STRING',
      list: 'STRING[]',
    })
  })

  test('of a table are read by its name, in quotes where it needs them', async () => {
    await server.run('create table `user.odd ``one``` (id int)')
    await server.run('insert into `user.odd ``one``` values (7)')
    for (const table of ['`user.odd ``one```', 'hr.`user.odd ``one```', 'hr."user.odd `one`"']) {
      const { records } = await readAll(await open({ table }), asks(wants('id')))
      expect(records.map(({ identity }) => identity)).toEqual(['7'])
    }
  })
})

describe('a query', () => {
  const asked = asks(wants('id'))
  const whole = [
    async (reader: Reader) => readAll(reader, asked),
    async (reader: Reader) => copyAll(reader, asked),
    async (reader: Reader) => reader.check(asked.signal),
  ] as const
  /** A login that may do all, so that only the connector stands between it and the data. */
  const asOwner = (given: Settings): Promise<Reader> =>
    open({ url: `mysql://owner@127.0.0.1:${server.port}/hr`, ...given })
  const rows = (): Promise<unknown> => server.run('select count(*) as n from precious')

  test('that is more or other than one SELECT is refused before it runs', async () => {
    const file = `${server.folder}/written`
    const refused = [
      'select id from precious; delete from precious',
      'select id from precious) q; delete from precious; select * from (select 1 as id',
      'select id from precious) q; commit; delete from precious -- ',
      'commit; delete from precious',
      'delete from precious returning id',
      'insert into precious values (2) returning id',
      'replace into precious values (2)',
      `select id from precious into outfile '${file}'`,
      `select id into outfile '${file}' from precious`,
      `select id from precious into dumpfile '${file}'`,
      `select id from precious) q into outfile '${file}' -- `,
      `select id from precious) q into outfile '${file}' union (select 1`,
      `select id from precious) q limit 1 into outfile '${file}' union all (select 1`,
      `select id from precious) a, (select id from precious into outfile '${file}'`,
      `select id from precious) q where id in (select 1 into outfile '${file}'`,
      'select id from precious into @found',
      `load data infile '/etc/passwd' into table precious`,
      'drop table precious',
      'call changing()',
      'select id from precious /* and',
      `select id from precious where 'a`,
      'this is no query',
    ]
    for (const query of refused) {
      for (const work of whole) {
        const failure = await failureOf(async () => work(await asOwner({ query })))
        expect([query, failure.code, failure.temporary]).toEqual([query, 'query_refused', false])
      }
    }
    expect(readdirSync(server.folder)).toEqual([])
    for (const query of [
      'select id from precious -- and',
      'select id from precious # and',
      'select id from precious;',
    ]) {
      expect((await readAll(await asOwner({ query }), asked)).records).toHaveLength(1)
    }
    expect(await rows()).toEqual([{ n: 1 }])
  })

  test('that changes something by a function is refused by the transaction', async () => {
    for (const query of [
      'select change_it() as id',
      'select next value for counted as id',
      'select unlock_it() as id',
    ]) {
      for (const work of whole.slice(0, 2)) {
        const failure = await failureOf(async () => work(await asOwner({ query })))
        expect([query, failure.temporary]).toEqual([query, false])
        expect(['query_refused', 'query_failed']).toContain(failure.code)
      }
    }
    expect(await rows()).toEqual([{ n: 1 }])
  })

  test('that the login may not read is refused by its rights', async () => {
    const failure = await failureOf(async () =>
      readAll(await open({ query: 'select user as id from mysql.user' }), asked),
    )
    expect(failure.code).toBe('permission_denied')
    // A file that the login may not read is null to MariaDB.
    const files = await open({ query: `select load_file('/etc/passwd') as id` })
    expect((await readAll(files, asked)).records).toEqual([{ identity: '', values: [null] }])
  })

  test('that does not come to its end is ended by the server', async () => {
    for (const query of [
      'select sleep(3600) as id',
      'select a.seq as id from seq_1_to_1000000 a, seq_1_to_1000000 b where a.seq + b.seq < 0',
      'select a.seq as id from seq_1_to_100000 a, seq_1_to_10000 b',
      'select benchmark(100000000000, sha2(1, 512)) as id',
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

  test('with a question mark in it is not taken for one with parameters', async () => {
    const reader = await open({
      query: `select '?' as id, 5 as changed, '??' as name -- really?`,
      watermarkColumn: 'changed',
    })
    const wanted = wants('id', 'name')
    const { records, end } = await readAll(reader, asks(wanted))
    expect(records[0]?.values).toEqual(['?', '??'])
    expect(
      (await readAll(reader, asks(wanted, { cursor: cursorAfter(end) }))).records,
    ).toHaveLength(1)
  })

  test('sees one snapshot, whatever is committed meanwhile', async () => {
    await server.run('create table moving (id int primary key, value int)')
    await server.run('insert into moving select seq, 0 from seq_1_to_20000')
    const reader = await open({ query: 'select * from moving', pageSize: 100 })
    const pages = reader.read(asks(wants('id', 'value')))
    await pages.next()
    await server.run('update moving set value = 1')
    await server.run('delete from moving where id > 4000')
    const { records } = await drain(pages)
    expect(records).toHaveLength(19_900)
    expect(records.every(({ values }) => values[1] === '0')).toBe(true)
  })

  test('ends with the mark of its snapshot, so that the next delta begins before what came meanwhile', async () => {
    await server.run('create table marked (id int primary key, mark int)')
    await server.run('insert into marked select seq, seq % 10 from seq_1_to_20000')
    const reader = await open({ table: 'marked', watermarkColumn: 'mark', pageSize: 100 })
    const request = asks(wants('id'))
    const pages = reader.read(request)
    await pages.next()
    await server.run(`insert into marked select seq, 100 from seq_20001_to_20100`)
    const { end } = await drain(pages)
    const delta = await readAll(reader, { ...request, cursor: cursorAfter(end) })
    expect(delta.records.filter(({ identity }) => Number(identity) > 20000)).toHaveLength(100)
    expect(delta.end.cursor).toEqual({ watermark: '100' })
    expect(end.cursor).toEqual({ watermark: '9' })
  })

  test('shows signs of life while the server works', async () => {
    const reader = await open({ query: 'select sleep(1.5) as id', silenceSeconds: 1 })
    let empty = 0
    for await (const page of reader.read(asked)) if (page.records.length === 0) empty += 1
    expect(empty).toBeGreaterThan(1)
  })

  test('may make long lists, which are not cut off', async () => {
    const reader = await open({
      query: 'select 1 as id, json_arrayagg(seq) as numbers from seq_1_to_300000',
    })
    const { records } = await readAll(reader, asks(wants('id', 'numbers[]')))
    expect(records[0]?.values[1]).toHaveLength(300_000)
  })
})

describe('when things go wrong', () => {
  const asked = asks(wants('id'))

  test('a wrong login, database, server or certificate is told from the others', async () => {
    const at = `127.0.0.1:${server.port}`
    const failures = [
      [{ password: 'wrong-password' }, 'credentials_refused', false],
      [{ password: undefined }, 'credentials_refused', false],
      [{ url: `mysql://nobody@${at}/hr` }, 'credentials_refused', false],
      [{ url: `mysql://owner@${at}/nowhere` }, 'database_unknown', false],
      [{ url: `mysql://reader@${at}/nowhere` }, 'permission_denied', false],
      [{ url: 'mysql://reader@127.0.0.1:1/hr' }, 'connect_failed', true],
      [{ tls: 'require' }, 'bad_setting', false],
      [{ tls: 'require', tlsServerName: 'localhost' }, 'certificate_refused', false],
      [
        { tls: 'require', tlsCa: server.certificate, tlsServerName: 'other.example' },
        'certificate_refused',
        false,
      ],
      [
        { tls: 'require', tlsCa: 'no PEM', tlsServerName: 'localhost' },
        'certificate_refused',
        false,
      ],
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
      query: `select variable_value as id from information_schema.session_status where variable_name = 'Ssl_version'`,
      tls: 'require',
      tlsCa: server.certificate,
      tlsServerName: 'localhost',
    })
    expect((await readAll(reader, asked)).records[0]?.identity).toMatch(/^TLSv1\.[23]$/)
    expect((await copyAll(reader, asked)).rows).toHaveLength(1)
    expect(await reader.check(asked.signal)).toMatchObject({ tls: true, database: 'hr' })
  })

  test('what is no database, or none that answers, is an error and not a wait without end', async () => {
    const greeting = Buffer.from(
      '4a0000000a352e352e3500' +
        '01000000' +
        '6162636465666768' +
        '00' +
        'fff7' +
        '21' +
        '0200' +
        '0f80' +
        '15' +
        '00'.repeat(10) +
        '6162636465666768696a6b6c' +
        '00' +
        '6d7973716c5f6e61746976655f70617373776f726400',
      'hex',
    )
    greeting.writeUIntLE(greeting.length - 4, 0, 3)
    const answers: readonly (readonly [string | Buffer | null, Settings, string, boolean])[] = [
      [null, { timeoutSeconds: 1 }, 'connection_lost', true],
      ['HTTP/1.1 400 Bad Request\r\n\r\n', { timeoutSeconds: 1 }, 'connection_lost', true],
      ['\u0000'.repeat(1000), { timeoutSeconds: 1 }, 'connection_lost', true],
      // The greeting of a server without TLS.
      [greeting, { tls: 'require', tlsServerName: 'localhost' }, 'tls_unavailable', false],
    ]
    for (const [answer, given, code, temporary] of answers) {
      const sockets = new Set<Socket>()
      const other = createServer((socket) => {
        sockets.add(socket)
        socket.on('error', () => undefined)
        if (answer !== null) socket.write(answer)
      })
      await new Promise<void>((resolve) => void other.listen(0, '127.0.0.1', resolve))
      const { port } = other.address() as AddressInfo
      try {
        const url = `mysql://reader@127.0.0.1:${port}/hr`
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
    const query = `select seq as id, repeat('x', 1000) as text from seq_1_to_200000`
    const request = asks(wants('id', 'text'))
    const cut = async (): Promise<void> => {
      const found = await server.run(
        `select id from information_schema.processlist where user = 'reader'`,
      )
      for (const { id } of found as readonly { id: number }[]) await server.run(`kill ${id}`)
    }
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
      query: `select concat(repeat('x', 1000), seq) as id from seq_1_to_50000`,
    })
    const failure = await reader
      .copy?.(asked, async () => {
        throw new Error('the disk is full')
      })
      .catch((error: unknown) => error)
    expect(String(failure)).toContain('the disk is full')
  })

  test('the server waits for a consumer that is slow', async () => {
    const query = `select seq as id, repeat('x', 500) as text from seq_1_to_200000`
    const request = asks(wants('id', 'text'))
    const waits = async (): Promise<boolean> => {
      const found = await server.run(
        `select state from information_schema.processlist where user = 'reader'`,
      )
      return /writing to net/i.test((found as readonly { state: string }[])[0]?.state ?? '')
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
    const pages = reader.read(request)
    await pages.next()
    await waitsForGood()
    expect((await drain(pages)).records.length).toBeGreaterThan(190_000)
  })

  test('memory stays flat however many rows there are', async () => {
    const query = `select seq as id, repeat('x', 500) as text from seq_1_to_200000`
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

readerSuite('mysql', async () => {
  const own = await startMariadb()
  await own.run(
    `create table people (id int primary key, name text, email varchar(100), \`groups\` json, off boolean, changed bigint)`,
  )
  await own.run(
    `insert into people select seq, concat('Name ', seq), if(seq % 3 = 0, null, concat('user', seq, '@corp.example')),
       if(seq % 2 = 0, json_array('staff', concat('g', seq)), null), seq % 5 = 0, seq from seq_1_to_25`,
  )
  await own.run('create table gone (id varchar(10), changed bigint)')
  await own.run(
    `create table teams as select concat('g', seq) as id, concat('Group ', seq) as name from seq_1_to_12`,
  )
  const given = {
    url: `mysql://reader@127.0.0.1:${own.port}/hr`,
    password: own.password,
    table: 'people',
    pageSize: 5,
    indexColumn: 'id',
    watermarkColumn: 'changed',
    tombstoneQuery: 'select id from gone where changed > :watermark and :watermark is not null',
    entitlementQuery: 'select * from teams',
  }
  const attributes = wants('id', 'name', 'email', 'groups[]')
  const openWith = (more: Settings): Promise<Reader> =>
    openReader(mysqlConnector, { ...given, ...more })
  return {
    open: () => openWith({}),
    attributes,
    identityAttribute: 'id',
    pageSize: 5,
    accounts: Array.from({ length: 25 }, (_, at) => {
      const n = at + 1
      const email = n % 3 === 0 ? null : `user${n}@corp.example`
      const groups = n % 2 === 0 ? ['staff', `g${n}`] : null
      return { identity: String(n), values: [String(n), `Name ${n}`, email, groups] }
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
      await own.run(`update people set name = 'Other', changed = 100 where id in (3, 4)`)
      await own.run(`insert into people values (26, 'New', null, null, false, 101)`)
      await own.run('delete from people where id = 7')
      await own.run(`insert into gone values ('7', 102)`)
      return { changed: ['3', '4', '26'], removed: ['7'] }
    },
    entitlements: {
      objectType: 'group',
      attributes: wants('id', 'name'),
      identityAttribute: 'id',
      records: Array.from({ length: 12 }, (_, at) => ({
        identity: `g${at + 1}`,
        values: [`g${at + 1}`, `Group ${at + 1}`],
      })),
    },
    missingIdentity: 'nobody',
    copy: false,
    openConnections: async () => {
      const found = await own.run(
        `select count(*) as n from information_schema.processlist where user = 'reader'`,
      )
      return Number((found as readonly { n: number }[])[0]?.n)
    },
    close: () => own.stop(),
  }
})
