// muster backup and muster restore in processes of their own, beside a server, killed, and against what its API says.
import { type ChildProcess, spawn } from 'node:child_process'
import {
  chmod,
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { checkout } from '../support/build.ts'
import { csvOf, model, withEmbedded } from '../support/kill-checks.ts'
import {
  buildServer,
  connectTo,
  embeddedServer,
  removeData,
  type ServerClient,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts'

let build = ''
beforeAll(async () => {
  build = await buildServer()
  await cp(join(checkout, 'bin'), join(build, 'bin'), { recursive: true })
})
afterAll(() => rm(build, { recursive: true, force: true }))

const undo: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
})

/** A folder whose data folders the user of the database can enter. */
async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-keep-'))
  await chmod(folder, 0o711)
  undo.push(() => rm(folder, { recursive: true, force: true }))
  return folder
}

function spawnMuster(dataDir: string, ...args: string[]): ChildProcess {
  return spawn(process.execPath, [join(build, 'bin', 'muster.js'), ...args], {
    env: { PATH: process.env['PATH'], MUSTER_DATA_DIR: dataDir },
    cwd: build,
    stdio: 'pipe',
  })
}

interface Outcome {
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: Buffer
  readonly stderr: string
}

function outcome(child: ChildProcess): Promise<Outcome> {
  const stdout: Buffer[] = []
  let stderr = ''
  child.stdout?.on('data', (piece: Buffer) => stdout.push(piece))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  return new Promise((resolve) => {
    child.on('close', (code, signal) =>
      resolve({ code, signal, stdout: Buffer.concat(stdout), stderr }),
    )
  })
}

const muster = (dataDir: string, ...args: string[]): Promise<Outcome> =>
  outcome(spawnMuster(dataDir, ...args))

async function start(dataDir: string): Promise<ServerProcess> {
  const server = await startServer({ build, dataDir })
  undo.push(async () => {
    await server.end('SIGTERM')
    await removeData(dataDir)
  })
  return server
}

const first = model(0, 300, 'first')
const second = model(20, 310, 'second')

/** A server with a source that was loaded twice, and its id. */
async function filled(
  dataDir: string,
): Promise<{ server: ServerProcess; client: ServerClient; source: string }> {
  const server = await start(dataDir)
  const client = await connectTo(server.url)
  const source = await client.createSource('HR', {
    connectorAttributes: { password: 'canary-of-the-backup' },
  })
  for (const accounts of [first, second]) {
    await client.ended(await client.upload(source, csvOf(accounts)))
  }
  return { server, client, source }
}

async function get(client: ServerClient, path: string): Promise<unknown> {
  const answer = await client.call('GET', path)
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`)
  return answer.json()
}

/** What the API says of everything. */
async function exported(client: ServerClient, url: string): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {}
  const paths = [
    '/sources',
    '/accounts?sorters=id&limit=250',
    '/accounts?sorters=id&limit=250&offset=250',
  ]
  const tasks = (await get(client, '/task-status?limit=250')) as { readonly id: string }[]
  const sources = (await get(client, '/sources')) as { readonly id: string }[]
  paths.push('/task-status?limit=250', ...tasks.map(({ id }) => `/task-status/${id}`))
  paths.push(...sources.map(({ id }) => `/sources/${id}/schemas`))
  for (const path of paths) found[path] = await get(client, path)
  const own = [
    '/audit?limit=250',
    '/clients',
    ...sources.map(({ id }) => `/sources/${id}/settings`),
  ]
  for (const { id } of tasks)
    own.push(`/runs/${id}`, `/runs/${id}/changes?limit=250`, `/runs/${id}/rejects`)
  for (const path of own) {
    const answer = await fetch(`${url}/muster/v1${path}`, {
      headers: { authorization: client.authorization },
    })
    found[path] = await answer.json()
  }
  return found
}

/** Without what changes by looking at it: a client that logs in is used. */
function settled(found: Record<string, unknown>): unknown {
  return JSON.parse(JSON.stringify(found), (name, value: unknown) =>
    name === 'lastUsed' ? null : value,
  ) as unknown
}

describe('muster backup', () => {
  it('beside a running server writes a file that makes another one with the same answers', async () => {
    const folder = await newFolder()
    const dataDir = join(folder, 'data')
    const { server, client, source } = await filled(dataDir)
    const before = await exported(client, server.url)
    const file = join(folder, 'muster.backup')
    const made = await muster(dataDir, 'backup', file, '--json')
    expect(made).toMatchObject({ code: 0, stderr: '' })
    const bytes = await readFile(file)
    expect(JSON.parse(made.stdout.toString())).toMatchObject({ file, bytes: bytes.length })
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    expect(made.stdout.toString() + bytes.toString('latin1')).not.toContain('canary-of-the-backup')
    expect(await exported(client, server.url)).toEqual(before)

    const target = join(folder, 'second')
    const lost = await muster(target, 'restore', file)
    expect(lost).toMatchObject({ code: 1, stderr: expect.stringContaining('Copy the file "key"') })
    await mkdir(target, { recursive: true, mode: 0o711 })
    await copyFile(join(dataDir, 'key'), join(target, 'key'))
    expect(await muster(target, 'restore', file, '-q')).toMatchObject({ code: 0 })
    const restored = await start(target)
    // The token of before is good here too: its signing key came along.
    const there = { ...client, call: callOf(restored.url, client.authorization) }
    expect(settled(await exported(there, restored.url))).toEqual(settled(before))
    const again = await connectTo(restored.url)
    const task = await again.ended(await again.upload(source, csvOf(second)))
    expect(task.attributes).toMatchObject({ created: 0, updated: 0, deleted: 0, total: 290 })
    const full = await muster(target, 'restore', file)
    expect(full).toMatchObject({ code: 1, stderr: expect.stringContaining('is in use by process') })
  }, 240_000)

  it('takes one of a server that is off, to standard output too, and leaves the folder free', async () => {
    const folder = await newFolder()
    const dataDir = join(folder, 'data')
    const { server } = await filled(dataDir)
    await server.end('SIGTERM')
    const made = await muster(dataDir, 'backup', '-')
    expect(made.code).toBe(0)
    expect(made.stdout.subarray(0, 15).toString()).toBe('MUSTER BACKUP 1')
    const checking = spawnMuster(dataDir, 'restore', '-', '--check', '--json')
    checking.stdin?.end(made.stdout)
    const checked = await outcome(checking)
    // What a listing shows helps nobody to guess a key.
    expect(checked.stdout.toString()).not.toMatch(/ciphertext|wrapped/i)
    const { sections } = JSON.parse(checked.stdout.toString()) as {
      sections: { name: string; rows: number }[]
    }
    expect(sections.find(({ name }) => /^account_[0-9a-f]{12}$/.test(name))?.rows).toBe(290)
    const refused = await muster(dataDir, 'restore', join(build, 'package.json'))
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no backup of Muster'),
    })
    const full = spawnMuster(dataDir, 'restore', '-')
    full.stdin?.end(made.stdout)
    expect(await outcome(full)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('1 sources and 290 accounts'),
    })
    await start(dataDir)
  }, 240_000)

  it('killed or interrupted leaves no file under the name, and replaces none without being told', async () => {
    const folder = await newFolder()
    const dataDir = join(folder, 'data')
    await filled(dataDir)
    const file = join(folder, 'muster.backup')
    await withEmbedded(dataDir, async (db) => {
      await db.transaction(async (tx) => {
        // It waits for its turn, its file already open.
        await tx.query('lock table run in access exclusive mode')
        const child = spawnMuster(dataDir, 'backup', file)
        const ended = outcome(child)
        while (!(await readdir(folder)).some((name) => name.includes('.partial-'))) await sleep(20)
        child.kill('SIGKILL')
        expect(await ended).toMatchObject({ signal: 'SIGKILL' })
      })
    })
    expect(await readdir(folder)).not.toContain('muster.backup')
    expect(await muster(dataDir, 'backup', file)).toMatchObject({ code: 0 })
    const kept = await readFile(file)
    expect(await muster(dataDir, 'backup', file)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('exists'),
    })
    expect(await readFile(file)).toEqual(kept)
    expect(await muster(dataDir, 'backup', file, '--force')).toMatchObject({ code: 0 })
    expect(await readFile(file)).not.toEqual(kept)
  }, 240_000)

  it('says where it looked when there is nothing', async () => {
    const folder = await newFolder()
    const nothing = await muster(join(folder, 'none'), 'backup', '-')
    expect(nothing).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`no database of Muster in ${join(folder, 'none')}`),
    })
    expect(await readdir(folder)).toEqual([])
  })
})

describe('muster restore', () => {
  it('interrupted or killed halfway leaves an empty database, which another one fills', async () => {
    const folder = await newFolder()
    const dataDir = join(folder, 'data')
    await filled(dataDir)
    const file = join(folder, 'muster.backup')
    await muster(dataDir, 'backup', file)
    const target = join(folder, 'target')
    await mkdir(target, { mode: 0o711 })
    await copyFile(join(dataDir, 'key'), join(target, 'key'))
    undo.push(() => removeData(target))
    const bytes = await readFile(file)
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      const child = spawnMuster(target, 'restore', '-')
      const ended = outcome(child)
      child.stdin?.write(bytes.subarray(0, bytes.length - 2_000))
      await until(async () => copying(target))
      child.kill(signal)
      const how = await ended
      if (signal === 'SIGINT') {
        expect(how).toMatchObject({ code: 130, stderr: expect.stringContaining('Stopped.') })
        expect(await embeddedServer(target)).toBeNull()
      } else {
        expect(how).toMatchObject({ signal })
      }
    }
    expect(await muster(target, 'restore', file)).toMatchObject({ code: 0 })
    const server = await start(target)
    const client = await connectTo(server.url)
    const answer = await client.call('GET', '/accounts?limit=1&count=true')
    expect(answer.headers.get('x-total-count')).toBe('290')
  }, 240_000)

  it('checks a file before it makes anything, and names the section that is damaged', async () => {
    const folder = await newFolder()
    const dataDir = join(folder, 'data')
    await filled(dataDir)
    const made = await muster(dataDir, 'backup', '-')
    const bad = join(folder, 'bad.backup')
    const at = made.stdout.indexOf('"name":"account_history"') + 400
    made.stdout.writeUInt8(made.stdout.readUInt8(at) ^ 4, at)
    await writeFile(bad, made.stdout)
    const target = join(folder, 'target')
    await mkdir(target, { mode: 0o711 })
    await copyFile(join(dataDir, 'key'), join(target, 'key'))
    const refused = await muster(target, 'restore', bad)
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('damaged in the section account_history'),
    })
    expect(await readdir(target)).toEqual(['key'])
  }, 240_000)
})

async function copying(dataDir: string): Promise<boolean> {
  if ((await embeddedServer(dataDir)) === null) return false
  return withEmbedded(dataDir, async (db) => {
    const { rows } = await db.query<{ found: boolean }>(
      `select exists (select from pg_stat_activity where query ~* '^copy ') as found`,
    )
    return rows[0]?.found === true
  }).catch(() => false)
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('it did not come to that')
    await sleep(50)
  }
}

function callOf(url: string, authorization: string): ServerClient['call'] {
  return (method, path) => fetch(`${url}/v2025${path}`, { method, headers: { authorization } })
}
