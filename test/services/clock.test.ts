// Clocks that are wrong: two servers on one database, one of which believes that it is an hour earlier or later.
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { arch, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { emptyDatabase, type TestDatabase } from '../support/database.ts'
import { csvOf, expectAccounts, expectSound, model, spoolOf } from '../support/kill-checks.ts'
import {
  buildServer,
  connectTo,
  databaseUrl,
  removeData,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts'

const triple = arch() === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'
const library = `/usr/lib/${triple}/faketime/libfaketime.so.1`
const leaseSeconds = 3

let build = ''
let database: TestDatabase
const undo: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  build = await buildServer()
})
afterAll(() => rm(build, { recursive: true, force: true }))
afterEach(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
})

describe.runIf(existsSync(library))('a server whose clock is wrong', () => {
  it.each(['+1h', '-1h'])(
    '(%s) takes no run from one that works on it, and takes it over when that one is dead',
    async (shift) => {
      const { start, spool } = await open()
      const right = await start({})
      const client = await connectTo(right.url)
      const source = await client.createSource('Source')
      right.at('staging', 'hold')
      const wanted = model(0, 3000, 'a')
      const id = await client.upload(source, csvOf(wanted))
      await right.held()
      const wrong = await start({ LD_PRELOAD: library, FAKETIME: shift, DONT_FAKE_MONOTONIC: '1' })
      const watcher = await connectTo(wrong.url)
      const date = (await watcher.call('GET', '/sources')).headers.get('date') ?? ''
      expect(Math.abs(Date.parse(date) - Date.now())).toBeGreaterThan(59 * 60_000)
      await sleep(3 * leaseSeconds * 1000)
      const holder = await database.db.query<{ attempt: number }>('select attempt from task')
      expect(holder.rows).toEqual([{ attempt: 1 }])
      await right.end('SIGKILL')
      expect(await watcher.ended(id)).toMatchObject({ completionStatus: 'SUCCESS' })
      await expectAccounts(database.db, source, wanted)
      await expectSound(database.db, [spool])
    },
  )
})

/** A database, a spool folder, and a way to start servers that share both. */
async function open() {
  database = await emptyDatabase()
  undo.push(() => database.drop())
  const shared = await folder()
  const env = {
    DATABASE_URL: databaseUrl(database.settings),
    MUSTER_KEY: generateMasterKey(),
    MUSTER_LEASE_SECONDS: String(leaseSeconds),
    MUSTER_SPOOL_DIR: spoolOf(shared),
    MUSTER_SPOOL_SHARED: 'true',
    MUSTER_RATE_LIMIT: '0',
  }
  const start = async (more: NodeJS.ProcessEnv): Promise<ServerProcess> => {
    const server = await startServer({ build, dataDir: await folder(), env: { ...env, ...more } })
    undo.push(() => server.end('SIGKILL'))
    return server
  }
  return { start, spool: spoolOf(shared) }
}

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'muster-clock-'))
  undo.push(() => removeData(path))
  return path
}
