// kill -9 of PostgreSQL under a run: Muster stays up, the run comes to its right end, and nothing is removed wrongly.
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Step } from '../../src/run/job.ts'
import type { ConnectionSettings } from '../../src/store/database.ts'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { testDatabase } from '../support/database.ts'
import {
  csvOf,
  difference,
  expectAccounts,
  expectSound,
  model,
  type Model,
  spoolOf,
  withDatabase,
  withEmbedded,
} from '../support/kill-checks.ts'
import {
  buildServer,
  connectTo,
  embeddedServer,
  removeData,
  type ServerClient,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts'

const first = model(0, 3000, 'first')
const second = new Map([
  ...model(0, 1200, 'second'),
  ...model(1200, 2700, 'first'),
  ...model(5000, 5500, 'second'),
])

let build = ''
beforeAll(async () => {
  build = await buildServer()
})
afterAll(() => rm(build, { recursive: true, force: true }))

/** Ends parts of the database server of a data folder. */
type Blow = 'the postmaster' | 'one backend' | 'every connection'

/** Ready several times in a row: a server that is dying may still answer once. */
async function comesBack(server: ServerProcess): Promise<void> {
  let times = 0
  const look = async (): Promise<number> => {
    times = (await ready(server)) === 200 ? times + 1 : 0
    return times
  }
  await expect.poll(look, { timeout: 10_000, interval: 50 }).toBeGreaterThan(5)
}

async function strike(dataDir: string, blow: Blow): Promise<void> {
  const server = await embeddedServer(dataDir)
  if (server === null) throw new Error('no database runs')
  if (blow === 'the postmaster') {
    process.kill(server.pid, 'SIGKILL')
    return
  }
  const pids = await withDatabase(server.settings, async (db) => {
    const { rows } = await db.query<{ pid: number }>(
      blow === 'one backend'
        ? `select pid from pg_stat_activity where application_name = 'muster' and pid <> pg_backend_pid()
           order by backend_start limit 1`
        : `select pg_terminate_backend(pid), pid from pg_stat_activity
           where application_name = 'muster' and pid <> pg_backend_pid()`,
    )
    return rows.map((row) => row.pid)
  })
  expect(pids.length).toBeGreaterThan(0)
  // The server takes the death of one backend for damaged memory, and starts all others anew.
  if (blow === 'one backend') process.kill(pids[0] ?? 0, 'SIGKILL')
}

const blows: readonly (readonly [Blow, Step])[] = [
  ['the postmaster', 'staging'],
  ['the postmaster', 'planned'],
  ['the postmaster', 'applied'],
  ['the postmaster', 'staged'],
  ['the postmaster', 'committed'],
  ['one backend', 'staging'],
  ['one backend', 'planned'],
  ['one backend', 'applied'],
  ['every connection', 'staging'],
  ['every connection', 'planned'],
  ['every connection', 'applied'],
]

describe.each([
  ['by bucket sums', {}, blows],
  // The two ways differ in what is staged, not in how connections fail.
  ['the plain way', { MUSTER_LOAD_SHORTCUTS: 'none' }, blows.slice(0, 3)],
] as const)('a reload %s', (_name, env, strikes) => {
  let dataDir = ''
  let server: ServerProcess
  let client: ServerClient
  let source = ''
  let stored: Model = first

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'muster-kill-'))
    server = await startServer({ build, dataDir, env })
    client = await connectTo(server.url)
    source = await client.createSource('Reloads')
    await client.ended(await client.upload(source, csvOf(first)))
  })
  afterAll(async () => {
    await server?.end('SIGTERM')
    await removeData(dataDir)
  })

  it.each(strikes)('survives the death of %s at "%s"', async (blow, step) => {
    const wanted = stored === first ? second : first
    server.at(step, 'hold')
    const task = await client.upload(source, csvOf(wanted))
    await server.held()
    await strike(dataDir, blow)
    expect((await fetch(`${server.url}/health/live`)).status).toBe(200)
    server.go()
    // Well before the lease of the failed attempt would run out by itself.
    const run = await client.ended(task, 14_000)
    expect(run).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: difference(stored, wanted),
    })
    stored = wanted
    await comesBack(server)
    expect(server.isRunning()).toBe(true)
    if (step !== 'committed') expect(server.log()).toMatch(/"message":"[^"]+".*The attempt failed/)
    await withEmbedded(dataDir, async (db) => {
      await expectAccounts(db, source, wanted)
      await expectSound(db, [spoolOf(dataDir)])
    })
    expect(server.log()).not.toMatch(/unhandled|uncaught/i)
  })

  // A crash of one machine of a cluster empties its part of unlogged tables and leaves our connection open.
  it.each<readonly [string, Step]>([
    ['staging', 'staged'],
    ['staging', 'planned'],
    ['plan', 'planned'],
    ['dirty', 'staged'],
  ])('stages anew when rows of the table "%s" are gone at "%s"', async (table, step) => {
    const wanted = stored === first ? second : first
    server.at(step, 'hold')
    const task = await client.upload(source, csvOf(wanted))
    await server.held()
    await withEmbedded(dataDir, async (db) => {
      const { rows } = await db.query<{ relname: string }>(
        `select relname from pg_class where relkind = 'r' and relname like $1 || '\\_%'`,
        [table],
      )
      for (const { relname } of rows) await db.query(`delete from ${relname}`)
    })
    server.go()
    expect(await client.ended(task)).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: difference(stored, wanted),
    })
    stored = wanted
    await withEmbedded(dataDir, async (db) => {
      await expectAccounts(db, source, wanted)
      await expectSound(db, [spoolOf(dataDir)])
    })
  })

  it('survives the death of the postmaster in the middle of a first load', async () => {
    const other = await client.createSource('First loads')
    server.at('staging', 'hold', 2)
    const task = await client.upload(other, csvOf(first))
    await server.held()
    await strike(dataDir, 'the postmaster')
    server.go()
    expect(await client.ended(task)).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 3000, updated: 0, deleted: 0 },
    })
    await withEmbedded(dataDir, async (db) => {
      await expectAccounts(db, other, first)
      await expectSound(db, [spoolOf(dataDir)])
    })
  })
})

describe('a database that is away for a while', () => {
  const outageMs = process.env['MUSTER_SOAK'] === '1' ? 60_000 : 4_000

  it('makes the API say so, and the run goes on when it is back', async () => {
    const database = await testDatabase()
    const line = await openLine(database.settings)
    const dataDir = await mkdtemp(join(tmpdir(), 'muster-kill-'))
    const server = await startServer({
      build,
      dataDir,
      env: { DATABASE_URL: line.url, MUSTER_KEY: generateMasterKey() },
    })
    try {
      const client = await connectTo(server.url)
      const source = await client.createSource('Far away')
      await client.ended(await client.upload(source, csvOf(first)))
      for (const step of ['staging', 'applied'] as const) {
        const [from, to] = step === 'staging' ? [first, second] : [second, first]
        server.at(step, 'hold')
        const task = await client.upload(source, csvOf(to))
        await server.held()
        line.cut()
        server.go()
        await expect.poll(() => ready(server), { timeout: 10_000 }).toBe(503)
        const refused = await client.call('GET', '/sources')
        expect(refused.status).toBe(503)
        expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
        const deadline = performance.now() + outageMs
        while (performance.now() < deadline) {
          expect((await fetch(`${server.url}/health/live`)).status).toBe(200)
          await sleep(200)
        }
        line.mend()
        const run = await client.ended(task, 30_000)
        expect(run).toMatchObject({
          completionStatus: 'SUCCESS',
          attributes: difference(from, to),
        })
        await expectAccounts(database.db, source, to)
        await expectSound(database.db, [spoolOf(dataDir)])
      }
      await comesBack(server)
      expect(server.log()).not.toMatch(/unhandled|uncaught/i)
    } finally {
      line.mend()
      server.go()
      await server.end('SIGTERM')
      await line.close()
      await database.drop()
      await removeData(dataDir)
    }
  }, 180_000)
})

/** A line to a database that can be cut: connections are reset and new ones are refused. */
async function openLine(settings: ConnectionSettings) {
  const target =
    settings.connectionString === undefined ? undefined : new URL(settings.connectionString)
  const { host = 'localhost', port = 5432 } = settings
  const place =
    target === undefined
      ? host.startsWith('/')
        ? { path: `${host}/.s.PGSQL.${port}` }
        : { host, port }
      : { host: target.hostname, port: Number(target.port || 5432) }
  const open = new Set<Socket>()
  const take = (near: Socket): void => {
    const far = connect(place)
    open.add(near)
    near.once('close', () => open.delete(near))
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('error', () => undefined)
      one.once('close', () => other.destroy())
      one.pipe(other)
    }
  }
  let cut = false
  const listener: Server = createServer((near) => (cut ? near.destroy() : take(near)))
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const url = new URL(target?.href ?? `postgres://127.0.0.1/${settings.database ?? ''}`)
  if (target === undefined) url.username = settings.user ?? ''
  if (target === undefined) url.password = settings.password ?? ''
  url.host = `127.0.0.1:${(listener.address() as AddressInfo).port}`
  return {
    url: url.href,
    cut: (): void => {
      cut = true
      for (const socket of open) socket.resetAndDestroy()
    },
    mend: (): void => {
      cut = false
    },
    close: () => new Promise((resolve) => listener.close(resolve)),
  }
}

async function ready(server: ServerProcess): Promise<number> {
  return (await fetch(`${server.url}/health/ready`)).status
}
