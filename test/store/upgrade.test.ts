// Databases of every schema that was released, restored, brought up to date and read through the API of today.
import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { restore } from '../../src/restore.ts'
import { sourceSecretId } from '../../src/store/source-secrets.ts'
import { getSecret, parseMasterKey } from '../../src/store/sealed.ts'
import { emptyDatabase, type TestDatabase } from '../support/database.ts'
import {
  buildServer,
  databaseUrl,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts'

/** What test/support/make-upgrade.mjs wrote. */
interface Fixture {
  readonly key: string
  readonly administrator: { readonly id: string; readonly secret: string }
  readonly scanner: { readonly id: string; readonly secret: string }
  readonly sources: { readonly hr: string; readonly busy: string; readonly stopped: string }
  /** The run that the old version was killed in. */
  readonly open: string
  /** The file that `HR` was loaded from last. */
  readonly reload: string
  /** What the API of the old version said, by path. */
  readonly answers: Readonly<Record<string, unknown>>
}

const folder = join(import.meta.dirname, 'upgrades')
const versions = ['0001', '0002']

let build = ''
beforeAll(async () => {
  build = await buildServer()
})
afterAll(() => rm(build, { recursive: true, force: true }))

const undo: (() => Promise<unknown>)[] = []

interface Upgraded {
  readonly fixture: Fixture
  readonly database: TestDatabase
  readonly migrated: readonly string[]
  readonly server: ServerProcess
}

async function upgrade(version: string): Promise<Upgraded> {
  const fixture = JSON.parse(
    gunzipSync(readFileSync(join(folder, `${version}.json.gz`))).toString(),
  ) as Fixture
  const database = await emptyDatabase()
  undo.push(() => database.drop())
  const dataDir = await mkdtemp(join(tmpdir(), 'muster-upgraded-'))
  undo.push(() => rm(dataDir, { recursive: true, force: true }))
  const env = {
    MUSTER_DATA_DIR: dataDir,
    MUSTER_KEY: fixture.key,
    DATABASE_URL: databaseUrl(database.settings),
    MUSTER_CLIENT_ID: fixture.administrator.id,
    MUSTER_CLIENT_SECRET: fixture.administrator.secret,
  }
  const file = join(folder, `${version}.backup`)
  const { migrated } = await restore(readConfig(env), { file, withoutSecrets: false })
  const server = await startServer({ build, dataDir, env })
  undo.push(() => server.end('SIGTERM'))
  return { fixture, database, migrated, server }
}

async function login(
  server: ServerProcess,
  { id, secret }: { readonly id: string; readonly secret: string },
): Promise<string> {
  const answer = await fetch(`${server.url}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: id,
      client_secret: secret,
    }),
  })
  const { access_token: token } = (await answer.json()) as { access_token: string }
  return token
}

async function read(server: ServerProcess, token: string, path: string): Promise<unknown> {
  const answer = await fetch(server.url + path, { headers: { authorization: `Bearer ${token}` } })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}

describe.each(versions)('a database of schema %s', (version) => {
  let upgraded: Upgraded
  beforeAll(async () => {
    upgraded = await upgrade(version)
  })
  afterAll(async () => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
  })

  it('is brought up to date, and the API says of it what the old version said', async () => {
    const { fixture, migrated, server, database } = upgraded
    const files = (await readdir(join(import.meta.dirname, '..', '..', 'sql'))).toSorted()
    expect(migrated).toEqual(files.slice(Number(version)))
    const token = await login(server, fixture.administrator)
    const paths = Object.keys(fixture.answers)
    expect(paths.length).toBeGreaterThan(15)
    for (const path of paths) {
      const now = thingsIn(path, await read(server, token, path))
      for (const [id, before] of thingsIn(path, fixture.answers[path])) {
        expect(now.get(id), `${path} ${String(id)}`).toMatchObject(before)
      }
    }
    const settings = paths.find((path) => path.endsWith('/settings')) ?? ''
    expect(await read(server, token, settings)).toEqual({ whenBusy: 'queue', readMode: 'full' })
    const key = parseMasterKey(fixture.key)
    const secret = await getSecret(database.db, key, sourceSecretId(fixture.sources.hr, 'password'))
    expect(secret).toBe('canary-of-the-upgrade')
  })

  it('lets its clients log in, and finds nothing to change in the file that was loaded last', async () => {
    const { fixture, server } = upgraded
    expect(await login(server, fixture.scanner)).toEqual(expect.any(String))
    const token = await login(server, fixture.administrator)
    const form = new FormData()
    form.append('file', new Blob([fixture.reload]), 'accounts.csv')
    const answer = await fetch(`${server.url}/v2025/sources/${fixture.sources.hr}/load-accounts`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: form,
    })
    const { task } = (await answer.json()) as { task: { id: string } }
    const ended = await waitFor(server, token, task.id)
    expect(ended).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 0, updated: 0, deleted: 0, total: 20 },
    })
  })

  it('ends the run that the old version was killed in', async () => {
    const { fixture, server } = upgraded
    const token = await login(server, fixture.administrator)
    const ended = await waitFor(server, token, fixture.open)
    expect(ended).toMatchObject({
      completionStatus: 'TEMPERROR',
      messages: [{ key: expect.stringContaining('Send the file again') }],
    })
  })
})

/** The fields that are data and no matter of taste: what the API adds or leaves out since is not what is looked at here. */
const fields = {
  source: ['id', 'name', 'type', 'connector', 'deleteThreshold', 'created'],
  schemas: ['id', 'name', 'nativeObjectType', 'identityAttribute', 'displayAttribute'],
  settings: ['whenBusy', 'readMode'],
  accounts: ['id', 'name', 'nativeIdentity', 'sourceId', 'attributes', 'created', 'modified'],
  tasks: ['id', 'completionStatus', 'launcher', 'created', 'completed', 'messages', 'attributes'],
  audit: ['number', 'at', 'action', 'outcome', 'actor', 'target', 'before', 'after'],
  clients: ['id', 'name', 'level', 'scopes', 'sourceIds', 'created'],
  run: ['id', 'state', 'sourceId', 'fileName', 'sha256', 'counters', 'verdict', 'feedNumber'],
  changes: ['kind', 'accountId', 'nativeIdentity', 'before', 'after'],
  rejects: ['position', 'code', 'reason', 'raw', 'nativeIdentity'],
}

function kindOf(path: string): keyof typeof fields {
  for (const kind of ['schemas', 'settings', 'audit', 'clients', 'changes', 'rejects'] as const) {
    if (path.includes(`/${kind}`)) return kind
  }
  if (path.includes('/runs/')) return 'run'
  if (path.includes('/task-status')) return 'tasks'
  return path.includes('/accounts') ? 'accounts' : 'source'
}

type Item = Readonly<Record<string, unknown>>

/** The things of an answer by what names them, each with its fields; those that are null in the old answer are left out. */
function thingsIn(path: string, answer: unknown): Map<unknown, Item> {
  const kind = kindOf(path)
  const items = (Array.isArray(answer) ? answer : [answer]) as Item[]
  return new Map(
    items.map((item) => [
      item['number'] ?? item['accountId'] ?? item['position'] ?? item['id'] ?? kind,
      Object.fromEntries(
        fields[kind].flatMap((name) => {
          const value = item[name]
          return value === undefined || value === null ? [] : [[name, value]]
        }),
      ),
    ]),
  )
}

async function waitFor(server: ServerProcess, token: string, task: string): Promise<unknown> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const found = (await read(server, token, `/v2025/task-status/${task}`)) as Item
    if (typeof found['completionStatus'] === 'string') return found
    if (performance.now() > deadline) throw new Error(`the task ${task} did not end`)
    await sleep(100)
  }
}
