// kill -9 at every step of the run of a direct source, full and delta: the accounts and the cursor move together or not at all.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Step } from '../../src/run/job.ts'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { emptyDatabase } from '../support/database.ts'
import {
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
  removeData,
  type ServerClient,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts'

const connectors = fileURLToPath(new URL('../support/model-connector.mjs', import.meta.url))
const points: readonly Step[] = [
  'submitted',
  'claimed',
  'reading',
  'staging',
  'staged',
  'planned',
  'applied',
  'committed',
]
/** Where the ways part; before and after they are one. */
const fewer: readonly Step[] = ['reading', 'staged', 'applied', 'committed']
const first = model(0, 2500, 'first')
const second = new Map([
  ...model(0, 1000, 'second'),
  ...model(1000, 2300, 'first'),
  ...model(5000, 5400, 'second'),
])

let build = ''
let folder = ''
let path = ''
beforeAll(async () => {
  build = await buildServer()
  folder = await mkdtemp(join(tmpdir(), 'muster-model-'))
  path = join(folder, 'model.json')
})
afterAll(async () => {
  await rm(build, { recursive: true, force: true })
  await rm(folder, { recursive: true, force: true })
})

/** The system holds `after`; what differs from `before` has the newer revision. */
async function write(revision: number, before: Model, after: Model): Promise<void> {
  const accounts = Object.fromEntries(
    [...after].map(([id, location]) => [
      id,
      [location, before.get(id) === location ? revision - 1 : revision],
    ]),
  )
  const lost = [...before.keys()].filter((id) => !after.has(id))
  const gone = Object.fromEntries(lost.map((id) => [id, revision]))
  await writeFile(path, JSON.stringify({ revision, accounts, gone }))
}

async function load(client: ServerClient, source: string, mode: string): Promise<string> {
  const response = await fetch(client.uploadUrl(source), {
    method: 'POST',
    headers: { authorization: client.authorization },
    body: new URLSearchParams({ mode }),
  })
  if (response.status !== 202) throw new Error(`${response.status} ${await response.text()}`)
  return ((await response.json()) as { task: { id: string } }).task.id
}

async function createSource(client: ServerClient, name: string, delayMs = 0): Promise<string> {
  const response = await client.call('POST', '/sources', {
    name,
    owner: null,
    connector: 'model',
    deleteThreshold: 100,
    connectorAttributes: { path, delayMs },
  })
  const text = await response.text()
  if (response.status !== 201) throw new Error(`${response.status} ${text}`)
  return (JSON.parse(text) as { id: string }).id
}

describe.each([
  ['the first read', 'full', true, fewer],
  ['a full read', 'full', false, fewer],
  ['a read of changes', 'delta', false, points],
] as const)('%s that is killed', (_name, mode, fresh, killedAt) => {
  let dataDir = ''
  let server: ServerProcess
  let client: ServerClient
  let source = ''
  let revision = 1
  let stored: Model = new Map()

  const start = async (): Promise<void> => {
    server = await startServer({ build, dataDir, env: { MUSTER_CONNECTORS: connectors } })
    client = await connectTo(server.url)
  }
  const state = async (): Promise<unknown> =>
    withEmbedded(dataDir, async (db) => {
      const { rows } = await db.query<{ revision: number }>(
        `select (cursor ->> 'revision')::int as revision from read_state
         where replace(source_id::text, '-', '') = $1`,
        [source],
      )
      return rows[0]?.revision ?? null
    })

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'muster-kill-'))
    await start()
    source = await createSource(client, 'Source 0')
    if (fresh) return
    await write(revision, new Map(), first)
    await client.ended(await load(client, source, 'full'))
    stored = first
  })
  afterAll(async () => {
    await server?.end('SIGTERM')
    await removeData(dataDir)
  })

  it.each(killedAt)('at %s has its effect once, and the cursor with it', async (point) => {
    if (fresh) {
      source = await createSource(client, `Source of ${point}`)
      stored = new Map()
    }
    const wanted = stored === first ? second : first
    const change = difference(stored, wanted)
    const known = fresh ? null : revision
    revision += 1
    await write(revision, stored, wanted)
    server.at(point, 'kill')
    await load(client, source, mode).catch(() => null)
    expect((await server.ended).signal).toBe('SIGKILL')
    await start()
    if (point === 'committed') expect(await state()).toBe(revision)
    else expect([known, revision]).toContain(await state())
    const task = await withEmbedded(dataDir, async (db) => {
      const { rows } = await db.query<{ id: string }>(
        `select replace(id::text, '-', '') as id from task order by number desc limit 1`,
      )
      return rows[0]?.id ?? ''
    })
    const run = await client.ended(task)
    expect(run).toMatchObject({ completionStatus: 'SUCCESS', attributes: change })
    expect(await state()).toBe(revision)
    const again = await client.ended(await load(client, source, mode))
    expect(again).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 0, updated: 0, deleted: 0 },
    })
    stored = wanted
    await withEmbedded(dataDir, async (db) => {
      await expectAccounts(db, source, wanted)
      await expectSound(db, [spoolOf(dataDir)])
    })
  })
})

describe('two servers on one database, without a shared folder', () => {
  it('take over the read of one that stands still within 60 seconds', async () => {
    const database = await emptyDatabase()
    const folders: string[] = []
    const servers: ServerProcess[] = []
    try {
      const env = {
        DATABASE_URL: databaseUrl(database.settings),
        MUSTER_KEY: generateMasterKey(),
        MUSTER_LEASE_SECONDS: '3',
        MUSTER_CONNECTORS: connectors,
      }
      await write(1, new Map(), first)
      for (let index = 0; index < 2; index += 1) {
        const dataDir = await mkdtemp(join(tmpdir(), 'muster-kill-'))
        folders.push(dataDir)
        const server = await startServer({ build, dataDir, env })
        servers.push(server)
        // Whichever of them begins is stopped in the middle of its read; the other goes on when its turn comes.
        server.at('reading', 'hold')
      }
      const [one, two] = servers
      if (one === undefined || two === undefined) throw new Error('two were started')
      const clients = await Promise.all(servers.map((server) => connectTo(server.url)))
      const source = await createSource(clients[0] ?? (await connectTo(one.url)), 'Moved', 200)
      const began = performance.now()
      const task = await load(clients[0] ?? (await connectTo(one.url)), source, 'full')
      const holder = await Promise.race([one.held().then(() => 0), two.held().then(() => 1)])
      const [stopped, other] = holder === 0 ? [one, two] : [two, one]
      process.kill(stopped.pid, 'SIGSTOP')
      try {
        await other.held()
        other.go()
        const watcher = clients[1 - holder]
        if (watcher === undefined) throw new Error('two clients were made')
        expect(await watcher.ended(task)).toMatchObject({
          completionStatus: 'SUCCESS',
          attributes: { created: 2500 },
        })
        expect(performance.now() - began).toBeLessThan(60_000)
      } finally {
        process.kill(stopped.pid, 'SIGCONT')
        stopped.go()
      }
      await expectAccounts(database.db, source, first)
      await expectSound(database.db, folders.map(spoolOf))
    } finally {
      for (const server of servers) await server.end('SIGTERM')
      for (const dataDir of folders) await removeData(dataDir)
      await database.drop()
    }
  })
})
