// Clients that hold connections by sending next to nothing, and clients that are merely slow. The limits are seconds
// here and a minute or two in earnest; what is tested is which connections end, and that nobody else notices.
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadAccountsRoutes } from '../../src/api/load-accounts.ts'
import { defaultPace } from '../../src/api/request-body.ts'
import { sourceRoutes } from '../../src/api/sources.ts'
import { openSpool } from '../../src/run/spool.ts'
import type { Spool } from '../../src/run/spool.ts'
import { generateMasterKey, parseMasterKey } from '../../src/store/sealed.ts'
import { makeCaller, serveRoutes } from '../support/call-routes.ts'
import { startApi } from './api-server.ts'
import type { TestApi } from './api-server.ts'
import { parse } from './raw-http.ts'
import type { RawAnswer } from './raw-http.ts'

let api: TestApi
let folder: string
let spool: Spool
let bearer: string
let source: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-slow-'))
  spool = await openSpool({ dir: folder, shared: false })
  const masterKey = parseMasterKey(generateMasterKey())
  const services = { masterKey, descriptions: [], wake: () => undefined }
  api = await startApi({
    routes: (db) => [
      ...sourceRoutes({ db, ...services }),
      ...loadAccountsRoutes({
        db,
        spool,
        wake: () => undefined,
        descriptions: [],
        maxUploadBytes: 2 ** 30,
        // 4 KiB in 1.6 s: the same kind of rule as in earnest.
        pace: { windowMs: 1_600, bytes: 4_096 },
      }),
    ],
    settings: { patience: { headersMs: 1_000, checkMs: 100, parsedBodyMs: 1_500 } },
  })
  bearer = `Bearer ${await api.token()}`
  const made = await fetch(`${api.url}/v2025/sources?provisionAsCsv=true`, {
    method: 'POST',
    headers: { authorization: bearer, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'Slow', owner: null, connector: 'delimited-file' }),
  })
  expect(made.status).toBe(201)
  source = ((await made.json()) as { id: string }).id
})
afterAll(async () => {
  await api?.close()
  await rm(folder, { recursive: true, force: true })
})

interface Dripper {
  /** What came back until the server ended the connection. */
  readonly ended: Promise<RawAnswer>
}

/** Opens a connection, sends `head`, and then `piece` again and again until the server has enough. */
function drip(head: string, piece: string, everyMs: number): Dripper {
  const socket = connect(api.port, '127.0.0.1')
  const ended = new Promise<RawAnswer>((resolve) => {
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
    })
    // A reset is one of the ways in which the server ends a connection.
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(parse(text)))
  })
  socket.write(head)
  const timer = setInterval(() => writeTo(socket, piece), everyMs)
  void ended.then(() => clearInterval(timer))
  return { ended }
}

function writeTo(socket: Socket, piece: string): void {
  if (socket.writable) socket.write(piece)
}

const uploadHead = (length: number): string =>
  `POST /v2025/sources/${source}/load-accounts HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer}\r\n` +
  `Content-Type: multipart/form-data; boundary=B\r\nContent-Length: ${length}\r\n\r\n` +
  '--B\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'

const spooled = async (): Promise<string[]> =>
  (await readdir(folder)).filter((name) => name.startsWith('upload-'))

async function others(): Promise<number[]> {
  const calls = ['/v2025/sources', '/health/live', `/v2025/sources/${source}`].map((path) =>
    fetch(`${api.url}${path}`, { headers: { authorization: bearer } }),
  )
  return Promise.all(calls.map(async (call) => (await call).status))
}

describe('many connections that drip', () => {
  it('headers are closed with 408, and others are answered meanwhile', async () => {
    const head = 'GET /v2025/sources HTTP/1.1\r\nHost: x\r\nX-Slow: '
    const slow = Array.from({ length: 200 }, () => drip(head, 'a', 100))
    expect(await others()).toEqual([200, 200, 200])
    const answers = await Promise.all(slow.map(({ ended }) => ended))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([408]))
  })

  it('an upload end with 400 that says why, leave nothing, and hold nobody up', async () => {
    const slow = Array.from({ length: 200 }, () => drip(uploadHead(1_000_000), 'a', 200))
    expect(await others()).toEqual([200, 200, 200])
    const steady = steadyUpload(1_000_000)
    const answers = await Promise.all(slow.map(({ ended }) => ended))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([400]))
    expect(answers[0]?.body).toContain('stalled')
    // At 200 KB/s it took three times the window, and was cut by nothing.
    expect((await steady).status).toBe(202)
    expect(await spooled()).toHaveLength(1)
    const { rows } = await api.db.query('select from task')
    expect(rows).toHaveLength(1)
  })

  it('a body that is parsed in memory are closed', async () => {
    const head = `POST /v2025/sources HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer}\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n`
    const slow = Array.from({ length: 50 }, () => drip(head, ' ', 100))
    const answers = await Promise.all(slow.map(({ ended }) => ended))
    for (const { text } of answers) expect(text).not.toContain('HTTP/1.1 2')
  })

  /** Sends `bytes` of a file at 200 KB/s. */
  async function steadyUpload(bytes: number): Promise<RawAnswer> {
    const head = uploadHead(0)
    const tail = '\r\n--B--\r\n'
    const opening = head.slice(head.indexOf('--B'))
    const socket = connect(api.port, '127.0.0.1')
    const answer = new Promise<RawAnswer>((resolve, reject) => {
      let text = ''
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1')
        resolve(parse(text))
      })
      socket.on('error', reject)
    })
    const length = opening.length + bytes + tail.length
    socket.write(head.replace('Content-Length: 0', `Content-Length: ${length}`))
    const line = `${'id,name'.padEnd(99, 'x')}\n`
    for (let sent = 0; sent < bytes; sent += 20_000) {
      socket.write(line.repeat(200))
      await pause(100)
    }
    socket.write(tail)
    const given = await answer
    socket.destroy()
    return given
  }
})

describe('a short body that does not come', () => {
  it.each(['Basic nonsense', 'good'])(
    'holds no connection after its answer (Authorization: %s)',
    async (authorization) => {
      const value = authorization === 'good' ? bearer : authorization
      const head = `POST /v2025/sources HTTP/1.1\r\nHost: x\r\nAuthorization: ${value}\r\nContent-Type: text/plain\r\nContent-Length: 60000\r\n\r\n`
      const answer = await drip(head, '', 60_000).ended
      expect(answer.status).toBe(authorization === 'good' ? 415 : 401)
    },
  )
})

describe('an upload that stops in the middle', () => {
  it('is ended, and nothing of it is left', async () => {
    const before = await spooled()
    const { ended } = drip(uploadHead(50_000) + 'a,b\n'.repeat(5_000), '', 10_000)
    const answer = await ended
    expect(answer.status).toBe(400)
    expect(answer.body).toContain('stalled')
    await expect.poll(spooled).toEqual(before)
  })
})

describe('the limits in earnest', () => {
  it('close late headers within a minute, and never cut an upload of 200 KB/s by its length', async () => {
    const usual = await serveRoutes([], await makeCaller(api.db, 'ORG_ADMIN'))
    const { server } = usual.app
    // Node looks for late ones every so often, so both times count.
    expect(server.headersTimeout).toBeLessThanOrEqual(55_000)
    expect(server.requestTimeout).toBe(0)
    expect(server.timeout).toBe(0)
    const perSecond = (defaultPace.bytes * 1_000) / defaultPace.windowMs
    expect(perSecond).toBeLessThan(1_000)
    expect(defaultPace.windowMs).toBeLessThanOrEqual(120_000)
    await usual.close()
  })
})
