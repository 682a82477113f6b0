// kill -9 at every step of an upload and its run: after a restart on the same folder everything is as before it or as after it.
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Step } from '../../src/run/job.ts'
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
  removeData,
  type ServerClient,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts'

/** Where the process is killed, in the order of a run. */
type Point = 'headers' | 'uploading' | Step | 'answered'
const points: readonly (readonly [id: string, point: Point])[] = [
  ['K1', 'headers'],
  ['K2', 'uploading'],
  ['K3', 'stored'],
  ['K4', 'submitted'],
  ['K5', 'answered'],
  ['K6', 'claimed'],
  ['K7', 'staging'],
  ['K8', 'staged'],
  ['K9', 'planned'],
  ['K10', 'applied'],
  ['K11, K12', 'committed'],
  ['K13', 'cleaning'],
]
/** Without a task, because the client never got to the end of its call. */
const before: readonly Point[] = ['headers', 'uploading', 'stored']

const none: Model = new Map()
const first = model(0, 3000, 'first')
// Of 3,000: 1,200 change, 300 go, 500 come.
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

describe.each([
  ['a first load', {}, 'first', points],
  ['a reload by bucket sums', {}, 'reload', points],
  // Before a run reads and after it commits, the ways are one.
  ['a first load the plain way', { MUSTER_LOAD_SHORTCUTS: 'none' }, 'first', points.slice(6, 10)],
  ['a reload the plain way', { MUSTER_LOAD_SHORTCUTS: 'none' }, 'reload', points.slice(6, 10)],
] as const)('%s that is killed', (_name, env, kind, killedAt) => {
  let dataDir = ''
  let server: ServerProcess
  let client: ServerClient
  let source = ''
  let stored: Model = none
  let sources = 0

  const start = async (): Promise<void> => {
    server = await startServer({ build, dataDir, env })
    client = await connectTo(server.url)
  }
  const newSource = async (): Promise<void> => {
    sources += 1
    source = await client.createSource(`Source ${sources}`)
    stored = none
  }

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'muster-kill-'))
    await start()
    await newSource()
    if (kind === 'reload') {
      await client.ended(await client.upload(source, csvOf(first)))
      stored = first
    }
  })
  afterAll(async () => {
    await server?.end('SIGTERM')
    await removeData(dataDir)
  })

  it.each(killedAt)('at %s (%s) has its effect once or not at all', async (_id, point) => {
    if (kind === 'first') await newSource()
    const wanted = stored === first ? second : first
    const change = difference(stored, wanted)
    const csv = csvOf(wanted)
    const answered = await killAt(server, client, source, csv, point)
    expect((await server.ended).signal).toBe('SIGKILL')
    const restarted = performance.now()
    await start()
    const tasks = await tasksOf(dataDir, source)
    if (before.includes(point)) {
      expect(tasks.open).toEqual([])
      await withEmbedded(dataDir, (db) => expectAccounts(db, source, stored))
    } else if (answered !== null) expect(tasks.last).toBe(answered)
    // The client did not get its answer, or does not trust it, and sends the same again.
    const again = await client.upload(source, csv)
    const run = await client.ended(before.includes(point) ? again : tasks.last)
    expect(performance.now() - restarted).toBeLessThan(60_000)
    expect(run).toMatchObject({ completionStatus: 'SUCCESS', attributes: change })
    const retried = await client.ended(again)
    if (retried.id !== run.id && retried.completionStatus !== 'ERROR') {
      expect(retried.attributes).toMatchObject({ created: 0, updated: 0, deleted: 0 })
    }
    const rerun = await client.ended(await client.upload(source, csv))
    expect(rerun).toMatchObject({
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

/** Uploads so that the server dies at this point; gives the task if the client came to know it. */
async function killAt(
  server: ServerProcess,
  client: ServerClient,
  source: string,
  csv: string,
  point: Point,
): Promise<string | null> {
  switch (point) {
    case 'headers':
      await sendPart(client, source, csv, 0)
      await server.end('SIGKILL')
      return null
    case 'uploading':
      await sendPart(client, source, csv, csv.length / 2)
      await server.end('SIGKILL')
      return null
    case 'answered': {
      const task = await client.upload(source, csv)
      await server.end('SIGKILL')
      return task
    }
    default:
      server.at(point, 'kill')
      return client.upload(source, csv).catch(() => null)
  }
}

/** Sends the head of an upload and a part of its file, and leaves it at that. */
async function sendPart(
  client: ServerClient,
  source: string,
  csv: string,
  characters: number,
): Promise<void> {
  const { hostname, port, pathname } = new URL(client.uploadUrl(source))
  const socket = connect(Number(port), hostname)
  // The server dies with the connection open.
  socket.on('error', () => undefined)
  const head = `--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n`
  const total = head.length + csv.length + '\r\n--b--\r\n'.length
  socket.write(
    `POST ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: ${client.authorization}\r\n` +
      `Content-Type: multipart/form-data; boundary=b\r\nContent-Length: ${total}\r\n\r\n`,
  )
  if (characters > 0) socket.write(head + csv.slice(0, characters))
  await sleep(150)
}

async function tasksOf(
  dataDir: string,
  source: string,
): Promise<{ readonly open: readonly string[]; readonly last: string }> {
  return withEmbedded(dataDir, async (db) => {
    const { rows } = await db.query<{ id: string; open: boolean }>(
      `select replace(id::text, '-', '') as id, completed_at is null as open from task
       where replace(source_id::text, '-', '') = $1 order by number desc`,
      [source],
    )
    return {
      open: rows.filter((row) => row.open).map((row) => row.id),
      last: rows[0]?.id ?? '',
    }
  })
}
