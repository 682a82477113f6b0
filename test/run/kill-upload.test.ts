// Clients that go away in the middle of an upload: a list that did not arrive whole is never applied.
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  csvOf,
  difference,
  expectAccounts,
  expectSound,
  model,
  type Model,
  spoolFiles,
  spoolOf,
  storedAccounts,
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

/** How the connection ends: reset, closed in the usual way, or half closed while the answer is awaited. */
type Parting = 'reset' | 'close' | 'half close'

const accounts = model(0, 2000, 'kept')
let build = ''
let dataDir = ''
let server: ServerProcess
let client: ServerClient
let source = ''
let stored: Model = accounts
let sent = 0

beforeAll(async () => {
  build = await buildServer()
  dataDir = await mkdtemp(join(tmpdir(), 'muster-kill-'))
  server = await startServer({ build, dataDir })
  client = await connectTo(server.url)
  source = await client.createSource('Uploads')
  await client.ended(await client.upload(source, csvOf(accounts)))
})
afterAll(async () => {
  await server?.end('SIGTERM')
  await removeData(dataDir)
  await rm(build, { recursive: true, force: true })
})

describe.each([
  ['with a length', false],
  ['in chunks', true],
] as const)('an upload %s', (_name, chunked) => {
  it.each<readonly [number, Parting]>([
    [0.1, 'reset'],
    [0.1, 'close'],
    [0.5, 'reset'],
    [0.5, 'close'],
    [0.5, 'half close'],
    [0.999, 'reset'],
    [0.999, 'close'],
    [0.999, 'half close'],
  ])('whose client goes away after %f of the file (%s) leaves nothing', async (part, parting) => {
    const before = await taskCount()
    await partialUpload(nextFile().csv, part, parting, chunked)
    await sleep(150)
    await expect.poll(() => spoolFiles(spoolOf(dataDir)), { timeout: 5_000 }).toEqual([])
    expect(await taskCount()).toBe(before)
    await withEmbedded(dataDir, (db) => expectAccounts(db, source, stored))
  })

  it.each<Parting>(['reset', 'close', 'half close'])(
    'whose client goes away after the last byte (%s) is applied whole or not at all',
    async (parting) => {
      const file = nextFile()
      const before = await taskCount()
      await partialUpload(file.csv, 1, parting, chunked)
      await sleep(300)
      const made = (await taskCount()) - before
      await expect.poll(openTasks, { timeout: 20_000 }).toBe(0)
      const now = await withEmbedded(dataDir, (db) => storedAccounts(db, source))
      const wanted = made === 1 ? file.wanted : stored
      expect(difference(wanted, now)).toEqual({ created: 0, updated: 0, deleted: 0 })
      stored = now
      // Sent again, it has its effect, or had it.
      const again = await client.ended(await client.upload(source, file.csv))
      expect(again.completionStatus).toBe('SUCCESS')
      stored = file.wanted
      await withEmbedded(dataDir, async (db) => {
        await expectAccounts(db, source, stored)
        await expectSound(db, [spoolOf(dataDir)])
      })
    },
  )
})

/** A file that changes every account and drops some. */
function nextFile(): { readonly csv: string; readonly wanted: Model } {
  sent += 1
  const wanted = model(sent, 1900 + sent, `file ${sent}`)
  return { csv: csvOf(wanted), wanted }
}

async function partialUpload(
  csv: string,
  part: number,
  parting: Parting,
  chunked: boolean,
): Promise<void> {
  const { hostname, port, pathname } = new URL(client.uploadUrl(source))
  const socket = connect(Number(port), hostname)
  socket.on('error', () => undefined)
  socket.resume()
  const closed = new Promise((resolve) => socket.once('close', resolve))
  const head = `--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n`
  const body = `${head}${csv}\r\n--b--\r\n`
  // The parts of the file, or all of the form.
  const cut = part === 1 ? body : body.slice(0, head.length + Math.floor(csv.length * part))
  const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`
  const request =
    `POST ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: ${client.authorization}\r\n` +
    `Content-Type: multipart/form-data; boundary=b\r\n${framing}\r\n\r\n`
  const end = part === 1 ? '0\r\n\r\n' : ''
  const payload = chunked ? `${cut.length.toString(16)}\r\n${cut}\r\n${end}` : cut
  await new Promise((resolve) => {
    socket.write(request + payload, resolve)
  })
  // A reset throws away what the kernel has not delivered; the bytes shall have arrived.
  if (part < 1) await sleep(50)
  if (parting === 'reset') socket.resetAndDestroy()
  else if (parting === 'close') socket.destroy()
  else socket.end()
  await closed
}

async function taskCount(): Promise<number> {
  return withEmbedded(dataDir, async (db) => (await db.query('select from task')).rowCount)
}

async function openTasks(): Promise<number> {
  return withEmbedded(
    dataDir,
    async (db) => (await db.query('select from task where completed_at is null')).rowCount,
  )
}
