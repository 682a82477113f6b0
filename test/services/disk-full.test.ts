// A disk that fills up, on a small file system of its own: the task says so, the server stays up, and all goes on when there
// is space again. It needs root, which alone may mount.
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  csvOf,
  expectAccounts,
  expectSound,
  model,
  spoolFiles,
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

const mayMount = process.platform === 'linux' && process.getuid?.() === 0
const megabyte = 2 ** 20

let build: string
const undo: (() => Promise<void> | void)[] = []

beforeAll(async () => {
  if (mayMount) build = await buildServer()
})
afterAll(async () => {
  if (mayMount) await rm(build, { recursive: true, force: true })
})
afterEach(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
})

describe.runIf(mayMount)('a full disk', () => {
  it('of the spool refuses the upload with 507, leaves nothing, and takes the next one', async () => {
    const spoolDir = await smallDisk(24)
    const dataDir = await folder()
    const server = await start(dataDir, { MUSTER_SPOOL_DIR: spoolDir })
    const client = await connectTo(server.url)
    const source = await client.createSource('Large')
    const large = csvOf(model(0, 120_000, 'a'))
    expect(large.length).toBeGreaterThan(24 * megabyte)
    const answer = await send(client, source, large)
    expect(answer.status).toBe(507)
    expect(await answer.text()).toContain('disk of the spool folder is full')
    expect(await spoolFiles(spoolDir)).toEqual([])
    const small = model(0, 2000, 'a')
    const task = await client.ended(await client.upload(source, csvOf(small)))
    expect(task.completionStatus).toBe('SUCCESS')
    await withEmbedded(dataDir, (db) => expectAccounts(db, source, small))
  })

  it('of the database ends the run with an error that names it, and the next run has its effect', async () => {
    const { server, client, source, dataDir, spoolDir, first } = await loaded()
    const ballast = await fill(dataDir, 8)
    const second = model(1000, 60_000, 'b')
    const task = await client.ended(await client.upload(source, csvOf(second)))
    expect(task.completionStatus).toBe('TEMPERROR')
    expect(task.attributes['errorCode']).toBe('disk_full')
    expect(task.messages.map((message) => message.key).join()).toContain('disk')
    expect((await fetch(`${server.url}/health/live`)).status).toBe(200)
    await withEmbedded(dataDir, (db) => expectAccounts(db, source, first))
    await rm(ballast)
    const again = await client.ended(await client.upload(source, csvOf(second)))
    expect(again.completionStatus).toBe('SUCCESS')
    await withEmbedded(dataDir, async (db) => {
      await expectAccounts(db, source, second)
      await expectSound(db, [spoolDir])
    })
  })

  it('that fills up before the apply costs at most this run, and all goes on when there is space', async () => {
    const { server, client, source, dataDir, spoolDir, first } = await loaded()
    server.at('planned', 'hold')
    const second = model(1000, 40_000, 'b')
    const id = await client.upload(source, csvOf(second))
    await server.held()
    const ballast = await fill(dataDir, 0)
    server.go()
    // Long enough for the statements of the apply to meet the full disk.
    await sleep(3000)
    expect(server.isRunning()).toBe(true)
    expect((await fetch(`${server.url}/health/live`)).status).toBe(200)
    await rm(ballast)
    const task = await client.ended(id, 90_000)
    const applied = task.completionStatus === 'SUCCESS'
    expect(['SUCCESS', 'TEMPERROR']).toContain(task.completionStatus)
    await withEmbedded(dataDir, (db) => expectAccounts(db, source, applied ? second : first))
    const third = model(0, 30_000, 'c')
    const next = await client.ended(await client.upload(source, csvOf(third)))
    expect(next.completionStatus).toBe('SUCCESS')
    await withEmbedded(dataDir, async (db) => {
      await expectAccounts(db, source, third)
      await expectSound(db, [spoolDir])
    })
  })
})

describe.runIf(mayMount)('a disk that cannot be written', () => {
  it.each(['MUSTER_DATA_DIR', 'MUSTER_SPOOL_DIR'])(
    'refuses the start where %s lies on it, says so, and leaves nothing running',
    async (name) => {
      const disk = await smallDisk(8, 'ro')
      const dataDir = name === 'MUSTER_DATA_DIR' ? disk : await folder()
      const env = name === 'MUSTER_SPOOL_DIR' ? { [name]: disk } : {}
      await expect(startServer({ build, dataDir, env })).rejects.toThrow(disk)
      await expect(startServer({ build, dataDir, env })).rejects.toThrow(/read-only/i)
      expect(await embeddedServer(dataDir)).toBeNull()
    },
  )
})

/** A server whose database lies on a small disk and whose spool does not, with one load behind it. */
async function loaded() {
  const disk = await smallDisk(256)
  const dataDir = join(disk, 'data')
  const spoolDir = join(await folder(), 'spool')
  const server = await start(dataDir, { MUSTER_SPOOL_DIR: spoolDir })
  const client = await connectTo(server.url)
  const source = await client.createSource('Source')
  const first = model(0, 5000, 'a')
  const task = await client.ended(await client.upload(source, csvOf(first)))
  expect(task.completionStatus).toBe('SUCCESS')
  return { server, client, source, dataDir, spoolDir, first }
}

async function start(dataDir: string, env: NodeJS.ProcessEnv): Promise<ServerProcess> {
  const server = await startServer({ build, dataDir, env: { MUSTER_RATE_LIMIT: '0', ...env } })
  undo.push(async () => {
    await server.end('SIGTERM')
    await removeData(dataDir)
  })
  return server
}

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'muster-full-'))
  undo.push(() => rm(path, { recursive: true, force: true }))
  return path
}

/** A file system of so many megabytes. */
async function smallDisk(megabytes: number, mode = 'rw'): Promise<string> {
  const path = await folder()
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=755,${mode}`, 'tmpfs', path])
  undo.push(() => void execFileSync('umount', ['--lazy', path]))
  return path
}

/** Takes the space of a disk but for so many megabytes; gives the file to remove. */
async function fill(dataDir: string, leaveMegabytes: number): Promise<string> {
  const path = join(dataDir, 'ballast')
  const { bavail, bsize } = await statfs(dataDir)
  await writeFile(path, Buffer.alloc(Math.max(0, bavail * bsize - leaveMegabytes * megabyte)))
  return path
}

function send(client: ServerClient, source: string, csv: string): Promise<Response> {
  const form = new FormData()
  form.append('file', new Blob([csv]), 'accounts.csv')
  return fetch(client.uploadUrl(source), {
    method: 'POST',
    headers: { authorization: client.authorization },
    body: form,
  })
}
