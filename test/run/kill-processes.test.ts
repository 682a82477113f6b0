// Several processes and signals: two servers on one database, a second one on the same folder, and being asked to stop.
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { emptyDatabase, type TestDatabase } from '../support/database.ts'
import {
  csvOf,
  difference,
  expectAccounts,
  expectSound,
  model,
  type Model,
  spoolOf,
  withEmbedded,
} from '../support/kill-checks.ts'
import {
  buildServer,
  connectTo,
  databaseUrl,
  embeddedServer,
  gone,
  removeData,
  type ServerClient,
  type ServerOptions,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts'

const first = model(0, 3000, 'first')
const second = new Map([
  ...model(0, 1200, 'second'),
  ...model(1200, 2700, 'first'),
  ...model(5000, 5500, 'second'),
])
const leaseSeconds = 3

let build = ''
beforeAll(async () => {
  build = await buildServer()
})
afterAll(() => rm(build, { recursive: true, force: true }))

const undo: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
})

async function dataFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-kill-'))
  undo.push(() => removeData(folder))
  return folder
}

async function start(dataDir: string, env: ServerOptions['env'] = {}): Promise<ServerProcess> {
  const server = await startServer({ build, dataDir, env })
  undo.push(async () => {
    server.go()
    await server.end('SIGKILL')
  })
  return server
}

describe('two servers on one database', () => {
  let database: TestDatabase
  let env: NodeJS.ProcessEnv

  const open = async (): Promise<void> => {
    database = await emptyDatabase()
    undo.push(() => database.drop())
    env = {
      DATABASE_URL: databaseUrl(database.settings),
      MUSTER_KEY: generateMasterKey(),
      MUSTER_LEASE_SECONDS: String(leaseSeconds),
    }
  }
  const load = async (client: ServerClient, source: string, accounts: Model): Promise<void> => {
    const run = await client.ended(await client.upload(source, csvOf(accounts)))
    expect(run.completionStatus).toBe('SUCCESS')
  }

  it('start at once on an empty one, and run one load of a source at a time', async () => {
    await open()
    const folders = [await dataFolder(), await dataFolder()]
    const servers = await Promise.all(folders.map((folder) => start(folder, env)))
    const clients = await Promise.all(servers.map((server) => connectTo(server.url)))
    const [one, two] = clients
    if (one === undefined || two === undefined) throw new Error('two were started')
    const busy = await one.createSource('Busy')
    const queued = await one.createSource('Queued')
    const settings = await fetch(`${servers[0]?.url}/muster/v1/sources/${queued}/settings`, {
      method: 'PUT',
      headers: { authorization: one.authorization, 'content-type': 'application/json' },
      body: JSON.stringify({ whenBusy: 'queue' }),
    })
    expect(settings.status).toBe(200)
    const files = Array.from({ length: 10 }, (_, index) => model(0, 300 + index, `file ${index}`))
    const sent = files.flatMap((file, index) => {
      const client = index % 2 === 0 ? one : two
      return [busy, queued].map((source) => client.upload(source, csvOf(file)))
    })
    const runs = await Promise.all((await Promise.all(sent)).map((task) => two.ended(task)))
    const ofQueued = runs.filter((_, index) => index % 2 === 1)
    expect(ofQueued.map((run) => run.completionStatus)).toEqual(files.map(() => 'SUCCESS'))
    const ofBusy = runs.filter((_, index) => index % 2 === 0)
    expect(ofBusy.some((run) => run.completionStatus === 'SUCCESS')).toBe(true)
    for (const run of ofBusy) expect(['SUCCESS', 'ERROR']).toContain(run.completionStatus)
    // No two runs of a source overlapped.
    const { rows } = await database.db.query(
      `select a.number, b.number from task a join task b on a.source_id = b.source_id and a.number < b.number
         join run on run.task_id = a.id join run other on other.task_id = b.id
       where a.launched_at < b.completed_at and b.launched_at < a.completed_at`,
    )
    expect(rows).toEqual([])
    await expectSound(database.db, folders.map(spoolOf))
  })

  it('leave the run of one that dies to its restart, within the patience for its host', async () => {
    await open()
    const [folder, otherFolder] = [await dataFolder(), await dataFolder()]
    const dying = await start(folder, env)
    const other = await start(otherFolder, env)
    const client = await connectTo(dying.url)
    const source = await client.createSource('Ours')
    await load(client, source, first)
    dying.at('staging', 'kill')
    const task = await client.upload(source, csvOf(second)).catch(() => '')
    await dying.ended
    const watcher = await connectTo(other.url)
    // Longer than the lease: the other server may not collect what lies on a host that is gone.
    await sleep((leaseSeconds + 2) * 1000)
    expect((await watcher.task(task)).completed).toBeNull()
    await start(folder, env)
    expect(await watcher.ended(task, 20_000)).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: difference(first, second),
    })
    await expectAccounts(database.db, source, second)
    await expectSound(database.db, [folder, otherFolder].map(spoolOf))
  })

  it('end the run of a host that does not come back with TEMPERROR', async () => {
    await open()
    const [folder, otherFolder] = [await dataFolder(), await dataFolder()]
    const dying = await start(folder, env)
    const other = await start(otherFolder, env)
    const client = await connectTo(dying.url)
    const source = await client.createSource('Ours')
    await load(client, source, first)
    dying.at('staging', 'kill')
    const task = await client.upload(source, csvOf(second)).catch(() => '')
    await dying.ended
    const died = performance.now()
    const watcher = await connectTo(other.url)
    // The patience is a minute; it is shortened here by making the host look as if it were gone for longer.
    await sleep((leaseSeconds + 1) * 1000)
    await database.db.query(`update node set seen_at = seen_at - interval '1 minute'
      where id in (select node from run where replace(task_id::text, '-', '') = '${task}')`)
    await database.db.query(`update task set created_at = created_at - interval '1 minute'`)
    const run = await watcher.ended(task, 30_000)
    expect(performance.now() - died).toBeLessThan(60_000)
    expect(run.completionStatus).toBe('TEMPERROR')
    expect(run.messages[0]?.key).toContain('host that holds the uploaded file is gone')
    await expectAccounts(database.db, source, first)
    // The source is free again, also for the other server.
    await load(watcher, source, second)
    await start(folder, env)
    await expectAccounts(database.db, source, second)
    await expectSound(database.db, [folder, otherFolder].map(spoolOf))
  })

  it('take over from each other within a minute where they share the spool', async () => {
    await open()
    const shared = await dataFolder()
    const sharing = { ...env, MUSTER_SPOOL_DIR: spoolOf(shared), MUSTER_SPOOL_SHARED: 'true' }
    const dying = await start(await dataFolder(), { ...sharing, MUSTER_CONCURRENT_RUNS: '1' })
    const client = await connectTo(dying.url)
    const source = await client.createSource('Shared')
    await load(client, source, first)
    dying.at('applied', 'kill')
    const task = await client.upload(source, csvOf(second)).catch(() => '')
    await dying.ended
    const died = performance.now()
    const other = await start(await dataFolder(), sharing)
    const watcher = await connectTo(other.url)
    const id = task === '' ? await watcher.upload(source, csvOf(second)) : task
    expect(await watcher.ended(id)).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: difference(first, second),
    })
    expect(performance.now() - died).toBeLessThan(60_000)
    await expectAccounts(database.db, source, second)
    await expectSound(database.db, [spoolOf(shared)])
  })

  it('keep a worker that was asleep from writing after another took its run', async () => {
    await open()
    const shared = await dataFolder()
    const sharing = { ...env, MUSTER_SPOOL_DIR: spoolOf(shared), MUSTER_SPOOL_SHARED: 'true' }
    const sleepy = await start(await dataFolder(), sharing)
    const client = await connectTo(sleepy.url)
    const source = await client.createSource('Slept on')
    await load(client, source, first)
    for (const [step, from, to] of [
      ['claimed', first, second],
      ['planned', second, first],
      ['staging', first, second],
    ] as const) {
      sleepy.at(step, 'hold')
      const task = await client.upload(source, csvOf(to))
      await sleepy.held()
      process.kill(sleepy.pid, 'SIGSTOP')
      const other = await start(await dataFolder(), sharing)
      const watcher = await connectTo(other.url)
      try {
        // The other one stands in the middle of the run when the first wakes up.
        other.at('planned', 'hold')
        await other.held()
      } finally {
        process.kill(sleepy.pid, 'SIGCONT')
        sleepy.go()
      }
      await sleep(1_500)
      other.go()
      const run = await watcher.ended(task)
      expect(run).toMatchObject({ completionStatus: 'SUCCESS', attributes: difference(from, to) })
      await expectAccounts(database.db, source, to)
      await expectSound(database.db, [spoolOf(shared)])
      const { rows } = await database.db.query<{ attempt: number }>(
        `select attempt from task where replace(id::text, '-', '') = $1`,
        [task],
      )
      // The one that lost its lease cost the new holder nothing.
      expect(rows).toEqual([{ attempt: 2 }])
      await other.end('SIGTERM')
    }
  })
})

describe('a second server on the same data folder', () => {
  it('is refused with the pid of the first, which goes on', async () => {
    const dataDir = await dataFolder()
    const server = await start(dataDir)
    await expect(startServer({ build, dataDir })).rejects.toThrow(String(server.pid))
    const client = await connectTo(server.url)
    const source = await client.createSource('Kept')
    expect((await client.ended(await client.upload(source, csvOf(first)))).completionStatus).toBe(
      'SUCCESS',
    )
    expect((await readdir(dataDir)).filter((name) => name.startsWith('muster.lock'))).toHaveLength(
      1,
    )
    await server.end('SIGTERM')
  })

  it('is refused as well where only the spool is in that folder', async () => {
    const database = await emptyDatabase()
    undo.push(() => database.drop())
    const dataDir = await dataFolder()
    const env = { DATABASE_URL: databaseUrl(database.settings), MUSTER_KEY: generateMasterKey() }
    const server = await start(dataDir, env)
    await expect(startServer({ build, dataDir, env })).rejects.toThrow(String(server.pid))
    await expect(startServer({ build, dataDir, env })).rejects.toThrow('MUSTER_SPOOL_SHARED')
  })
})

describe('being asked to stop', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'ends with 0 and leaves no process after %s when idle',
    async (signal) => {
      const dataDir = await dataFolder()
      const server = await start(dataDir)
      const postgres = await embeddedServer(dataDir)
      expect(await server.end(signal)).toEqual({ code: 0, signal: null })
      expect(await gone(postgres?.pid ?? 0)).toBe(true)
    },
  )

  it.each(['staging', 'planned', 'applied'] as const)(
    'leaves a run that is at "%s" to the next start, or finishes it',
    async (step) => {
      const dataDir = await dataFolder()
      const server = await start(dataDir)
      const client = await connectTo(server.url)
      const source = await client.createSource('Stopped')
      await client.ended(await client.upload(source, csvOf(first)))
      server.at(step, 'hold')
      const task = await client.upload(source, csvOf(second))
      await server.held()
      const postgres = await embeddedServer(dataDir)
      const ended = server.end('SIGTERM')
      await expect
        .poll(() =>
          fetch(`${server.url}/health/ready`).then(
            (answer) => answer.status,
            () => 0,
          ),
        )
        .not.toBe(200)
      server.go()
      expect(await ended).toEqual({ code: 0, signal: null })
      expect(await gone(postgres?.pid ?? 0)).toBe(true)
      const next = await start(dataDir)
      const watcher = await connectTo(next.url)
      expect(await watcher.ended(task)).toMatchObject({
        completionStatus: 'SUCCESS',
        attributes: difference(first, second),
      })
      await withEmbedded(dataDir, async (db) => {
        await expectAccounts(db, source, second)
        await expectSound(db, [spoolOf(dataDir)])
      })
      await next.end('SIGTERM')
    },
  )

  it('any number of times costs a run none of its attempts', async () => {
    const dataDir = await dataFolder()
    let server = await start(dataDir)
    const client = await connectTo(server.url)
    const source = await client.createSource('Stopped often')
    server.at('staging', 'hold')
    const task = await client.upload(source, csvOf(first))
    for (let stops = 0; stops < 4; stops += 1) {
      await server.held()
      const ended = server.end('SIGTERM')
      await sleep(100)
      server.go()
      expect(await ended).toEqual({ code: 0, signal: null })
      server = await start(dataDir, { HOLD_AT: 'staging' })
    }
    await server.held()
    server.go()
    const watcher = await connectTo(server.url)
    expect((await watcher.ended(task)).completionStatus).toBe('SUCCESS')
    await server.end('SIGTERM')
  })

  it('lets an upload that is under way finish, and resumes its run at the next start', async () => {
    const dataDir = await dataFolder()
    const server = await start(dataDir)
    const client = await connectTo(server.url)
    const source = await client.createSource('Uploaded')
    server.at('stored', 'hold')
    const upload = client.upload(source, csvOf(first))
    await server.held()
    const ended = server.end('SIGTERM')
    await sleep(300)
    server.go()
    const task = await upload
    expect(await ended).toEqual({ code: 0, signal: null })
    const next = await start(dataDir)
    const watcher = await connectTo(next.url)
    expect((await watcher.ended(task)).attributes).toMatchObject({ created: 3000 })
    await withEmbedded(dataDir, (db) => expectSound(db, [spoolOf(dataDir)]))
    await next.end('SIGTERM')
  })

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)(
    'does not wait after the second %s, and takes PostgreSQL with it',
    async (signal, code) => {
      const dataDir = await dataFolder()
      const server = await start(dataDir)
      const client = await connectTo(server.url)
      const source = await client.createSource('Cut off')
      server.at('planned', 'hold')
      const task = await client.upload(source, csvOf(first))
      await server.held()
      const postgres = await embeddedServer(dataDir)
      process.kill(server.pid, signal)
      await sleep(300)
      expect(server.isRunning()).toBe(true)
      expect(await server.end(signal)).toEqual({ code, signal: null })
      expect(await gone(postgres?.pid ?? 0)).toBe(true)
      const next = await start(dataDir)
      const watcher = await connectTo(next.url)
      expect((await watcher.ended(task)).attributes).toMatchObject({ created: 3000 })
      await next.end('SIGTERM')
    },
  )
})
