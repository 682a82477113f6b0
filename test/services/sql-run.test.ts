// Whole runs over a real PostgreSQL that fails in all its ways: nothing is changed, and the next run works.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  buildServer,
  connectTo,
  removeData,
  type ServerClient,
  type ServerProcess,
  startServer,
  type TaskView,
} from '../support/server-process.ts'
import { type PostgresServer, startPostgres } from './postgres-server.ts'

const people = 20_000
let database: PostgresServer
let build: string
let folder: string
let muster: ServerProcess
let client: ServerClient
let source: string

const whole = `select id, 'user' || id as name, changed from person`

beforeAll(async () => {
  database = await startPostgres()
  await database.run(`create table person (id int primary key, changed int not null);
    create table gone (id int, at int);
    insert into person select n, 1 from generate_series(1, ${people}) n`)
  build = await buildServer()
  folder = await mkdtemp(join(tmpdir(), 'muster-sql-run-'))
  muster = await startServer({
    build,
    dataDir: join(folder, 'data'),
    env: { MUSTER_ALLOW_PRIVATE_ADDRESSES: 'true' },
  })
  client = await connectTo(muster.url)
  source = await createSource()
}, 120_000)

afterAll(async () => {
  await muster.end('SIGTERM')
  await removeData(join(folder, 'data'))
  await rm(folder, { recursive: true, force: true })
  await rm(build, { recursive: true, force: true })
  await database.stop()
})

async function answer<T>(response: Response): Promise<T> {
  const text = await response.text()
  if (!response.ok) throw new Error(`answered ${response.status}: ${text}`)
  return JSON.parse(text) as T
}

async function createSource(): Promise<string> {
  const made = await answer<{ id: string }>(
    await client.call('POST', '/sources', {
      name: 'People',
      owner: null,
      connector: 'postgresql',
      deleteThreshold: 100,
      connectorAttributes: {
        url: `postgres://reader@127.0.0.1:${database.port}/hr`,
        password: database.password,
        query: whole,
        watermarkColumn: 'changed',
        tombstoneQuery: 'select id from gone where at >= :watermark',
        statementTimeoutSeconds: 2,
      },
    }),
  )
  const schemas = await answer<readonly { id: string; name: string }[]>(
    await client.call('GET', `/sources/${made.id}/schemas`),
  )
  const schema = schemas.find(({ name }) => name === 'account')
  await answer(
    await client.call('PUT', `/sources/${made.id}/schemas/${schema?.id}`, {
      ...schema,
      attributes: ['id', 'name'].map((name) => ({ name, type: 'STRING' })),
    }),
  )
  return made.id
}

async function setting(name: string, value: unknown): Promise<void> {
  const body = [{ op: 'add', path: `/connectorAttributes/${name}`, value }]
  const response = await fetch(`${muster.url}/v2025/sources/${source}`, {
    method: 'PATCH',
    headers: {
      authorization: client.authorization,
      'content-type': 'application/json-patch+json',
    },
    body: JSON.stringify(body),
  })
  await answer(response)
}

async function run(mode: 'full' | 'delta' = 'full'): Promise<TaskView> {
  const response = await fetch(client.uploadUrl(source), {
    method: 'POST',
    headers: { authorization: client.authorization },
    body: new URLSearchParams({ mode }),
  })
  const { task } = await answer<{ task: { id: string } }>(response)
  return client.ended(task.id)
}

async function accounts(): Promise<number> {
  const filters = encodeURIComponent(`sourceId eq "${source}"`)
  const response = await client.call('GET', `/accounts?limit=1&count=true&filters=${filters}`)
  return Number(response.headers.get('x-total-count'))
}

describe('runs of an SQL source', () => {
  test('that fail change nothing, and the next one works', async () => {
    expect(await run()).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: people },
    })
    const cut = `select id, 'user' || id as name, changed from person where id < 15000
      or pg_terminate_backend(pg_backend_pid())`
    const failing: readonly (readonly [string, string, string])[] = [
      [cut, 'TEMPERROR', 'connection'],
      [`${whole} where pg_sleep(0.01) is not null`, 'TEMPERROR', 'timeout'],
      [`${whole}; delete from person`, 'ERROR', 'refuse'],
      ['delete from person returning id, 1 as changed', 'ERROR', 'refuse'],
      ['select id from nowhere', 'ERROR', 'nowhere'],
      [`select id as badge, changed from person`, 'ERROR', 'badge'],
      [`select id, (1 / (id - 15000))::text as name, changed from person`, 'ERROR', '22012'],
      [`${whole} where false`, 'ERROR', ''],
      [`${whole} union all select 7, 'again', 1`, 'ERROR', ''],
    ]
    for (const [query, status, words] of failing) {
      await setting('query', query)
      const task = await run()
      expect([query, task.completionStatus]).toEqual([query, status])
      expect(task.messages.map(({ key }) => key).join('\n')).toContain(words)
      expect(await accounts()).toBe(people)
    }
    await setting('password', 'wrong')
    expect(await run()).toMatchObject({ completionStatus: 'ERROR' })
    await setting('password', database.password)
    await setting('query', whole)
    expect(await run()).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 0, deleted: 0 },
    })
    expect((await database.run('select count(*)::int as n from person')).rows).toEqual([
      { n: people },
    ])
  }, 240_000)

  test('move the mark of the delta only when they are applied', async () => {
    await database.run(`update person set changed = 2 where id = 1; delete from person where id in (2, 3);
      insert into gone values (2, 2), (3, 2)`)
    const first = await run('full')
    expect(first).toMatchObject({ completionStatus: 'SUCCESS' })
    await database.run(`update person set changed = 3 where id = 4; delete from person where id = 5;
      insert into gone values (5, 3)`)
    await database.run('alter table gone rename to away')
    expect(await run('delta')).toMatchObject({ completionStatus: 'ERROR' })
    expect(await accounts()).toBe(people - 2)
    await database.run('alter table away rename to gone')
    const delta = await run('delta')
    expect(delta).toMatchObject({ completionStatus: 'SUCCESS', attributes: { deleted: 1 } })
    expect(await accounts()).toBe(people - 3)
    // The same mark again, where nothing else is known: nothing changes.
    const again = await run('delta')
    expect(again).toMatchObject({ completionStatus: 'SUCCESS', attributes: { deleted: 0 } })
    expect(await accounts()).toBe(people - 3)
  }, 120_000)
})
