import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Configuration, SourcesBetaApi, SourcesV2024Api } from 'sailpoint-api-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { aggregationReturns, busyMessage } from '../../src/core/task.ts'
import type { LoadAccountsTask } from '../../src/client/index.ts'
import {
  buildServer,
  clientId,
  clientSecret,
  connectTo,
  removeData,
  startServer,
} from '../support/server-process.ts'
import type { ServerClient, ServerProcess } from '../support/server-process.ts'

const maxUploadBytes = 3_000_000
const csv = 'id,name\n1,Ada\n2,Grace\n'
const multipart = { 'content-type': 'multipart/form-data; boundary=B' }
const filePart = (content: string): string =>
  `--B\r\nContent-Disposition: form-data; name="file"; filename="hr.csv"\r\n\r\n${content}\r\n`
const flagPart = (value: string): string =>
  `--B\r\nContent-Disposition: form-data; name="disableOptimization"\r\n\r\n${value}\r\n`

let folder = ''
let dataDir = ''
let build = ''
let server: ServerProcess
let client: ServerClient
let delimited = ''
let direct = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-load-'))
  dataDir = join(folder, 'data')
  build = await buildServer()
  server = await startServer({
    build,
    dataDir,
    env: { MUSTER_MAX_UPLOAD_BYTES: String(maxUploadBytes) },
  })
  client = await connectTo(server.url)
  delimited = await client.createSource('Delimited')
  const made = await client.call('POST', '/sources', {
    name: 'Direct',
    owner: null,
    connector: 'okta',
  })
  direct = ((await made.json()) as { id: string }).id
}, 120_000)
afterAll(async () => {
  await server.end('SIGTERM')
  await removeData(dataDir)
  await rm(folder, { recursive: true, force: true })
  await rm(build, { recursive: true, force: true })
})

/** What lies in the spool folder besides uploads: whose it is, and who has it. */
const spoolMarks = ['node-id', 'muster.lock']
const spooled = async (): Promise<string[]> =>
  (await readdir(join(dataDir, 'spool'))).filter((name) => !spoolMarks.includes(name))

interface Answer {
  readonly status: number
  readonly body: LoadAccountsTask & {
    readonly messages?: readonly { readonly text: string }[]
    readonly errorName?: string
    readonly errorMessage?: string
  }
  readonly text: string
  readonly headers: Headers
}

async function load(
  source: string,
  body: string | FormData | undefined,
  headers: Record<string, string> = {},
  prefix = '/v2025/sources',
): Promise<Answer> {
  const response = await fetch(`${server.url}${prefix}/${source}/load-accounts`, {
    method: 'POST',
    headers: { authorization: client.authorization, ...headers },
    ...(body !== undefined && { body }),
  })
  const text = await response.text()
  const parsed = JSON.parse(text) as Answer['body']
  return { status: response.status, body: parsed, text, headers: response.headers }
}

const reason = ({ body }: Answer): string => body.messages?.[1]?.text ?? ''

function formOf(content: string): FormData {
  const form = new FormData()
  form.append('file', new Blob([content]), 'hr.csv')
  return form
}

/** Sends a head and the beginning of a body, and gives the answer that comes without the rest. */
function sendPart(
  path: string,
  headers: string[],
  body: string,
  authorization = client.authorization,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    let answer = ''
    socket.setTimeout(8_000, () => socket.destroy(new Error(`no answer in time: ${answer}`)))
    socket.on('data', (chunk) => (answer += chunk.toString()))
    socket.on('end', () => resolve(answer))
    socket.on('error', reject)
    socket.write(
      [
        `POST ${path} HTTP/1.1`,
        'Host: x',
        `Authorization: ${authorization}`,
        ...headers,
        '',
        body,
      ].join('\r\n'),
    )
  })
}

describe('load-accounts', () => {
  it('answers 202 with the task in its own shape and the 28 returns, and the accounts are there', async () => {
    const { status, body } = await load(delimited, formOf(csv))
    expect(status).toBe(202)
    expect(body).toEqual({
      success: true,
      task: {
        id: expect.stringMatching(/^[0-9a-f]{32}$/),
        type: 'QUARTZ',
        name: 'Cloud Account Aggregation',
        description: 'Aggregates from the specified application.',
        launcher: 'Muster Administrator',
        created: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        launched: null,
        completed: null,
        completionStatus: null,
        parentName: null,
        messages: [],
        progress: expect.any(String),
        attributes: { appId: delimited, optimizedAggregation: 'enabled' },
        returns: aggregationReturns.map(([attributeName, displayLabel]) => ({
          displayLabel,
          attributeName,
        })),
      },
    })
    expect(body.task.returns).toHaveLength(28)
    const ended = await client.ended(body.task.id)
    expect(ended).toMatchObject({ completionStatus: 'WARNING', attributes: { created: 2 } })
    await expect.poll(spooled).toEqual([])
  })

  it('is served under every prefix but v3', async () => {
    for (const prefix of ['/beta/sources', '/v2024/sources', '/v2026/sources', '/sources/v1']) {
      const { status, body } = await load(delimited, formOf(csv), {}, prefix)
      expect([prefix, status]).toEqual([prefix, 202])
      await client.ended(body.task.id)
    }
    expect((await load(delimited, formOf(csv), {}, '/v3/sources')).status).toBe(404)
  })

  it('takes the flag in any case and refuses other texts', async () => {
    for (const [value, optimized] of [
      ['TRUE', 'disabled'],
      ['false', 'enabled'],
      ['', 'enabled'],
    ] as const) {
      const { body } = await load(delimited, `${flagPart(value)}${filePart(csv)}--B--`, multipart)
      expect(body.task.attributes['optimizedAggregation']).toBe(optimized)
      await client.ended(body.task.id)
    }
    const wrong = await load(delimited, `${filePart(csv)}${flagPart('maybe')}--B--`, multipart)
    expect(wrong.status).toBe(400)
    expect(reason(wrong)).toContain('"true" or "false", not "maybe"')
    await expect.poll(spooled).toEqual([])
  })

  it('takes a part without a file name and more than a mebibyte of it', async () => {
    const rows = Array.from({ length: 50_000 }, (_, at) => `${at},Name ${at} of a rather long list`)
    const content = `id,name\n${rows.join('\n')}\n`
    expect(content.length).toBeGreaterThan(1.5 * 1024 * 1024)
    const source = await client.createSource('Long')
    const part = `--B\r\nContent-Disposition: form-data; name="file"\r\n\r\n${content}\r\n--B--\r\n`
    const { body } = await load(source, part, multipart)
    expect((await client.ended(body.task.id)).attributes).toMatchObject({ created: 50_000 })
  })

  it('works through the official SDK, which needs a File or a Blob', async () => {
    const configuration = new Configuration({
      baseurl: server.url,
      tokenUrl: `${server.url}/oauth/token`,
      clientId,
      clientSecret,
    })
    configuration.experimental = true
    const file = new File([csv], 'hr.csv')
    const beta = await new SourcesBetaApi(configuration).importAccounts({
      sourceId: delimited,
      file,
      disableOptimization: 'true',
    })
    expect(beta.status).toBe(202)
    expect(beta.data.task?.attributes).toMatchObject({ optimizedAggregation: 'disabled' })
    await client.ended(beta.data.task?.id ?? '')
    const api = new SourcesV2024Api(configuration)
    const v2024 = await api.importAccounts({ id: delimited, xSailPointExperimental: 'true', file })
    await client.ended(v2024.data.task?.id ?? '')
    const empty: unknown = await api
      .importAccounts({ id: delimited, xSailPointExperimental: 'true' })
      .catch((error: unknown) => error)
    expect(empty).toMatchObject({ name: 'AxiosError', response: { status: 400 } })
  })
})

/** A token of a SOURCE_SUBADMIN who has the direct source and no other. */
async function confinedToken(): Promise<string> {
  const json = { 'content-type': 'application/json', authorization: client.authorization }
  const made = await fetch(`${server.url}/muster/v1/clients`, {
    method: 'POST',
    headers: json,
    body: JSON.stringify({ name: 'Confined', level: 'SOURCE_SUBADMIN', sourceIds: [direct] }),
  })
  const { id, secret } = (await made.json()) as { id: string; secret: string }
  const query = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: id,
    client_secret: secret,
  })
  const answer = await fetch(`${server.url}/oauth/token?${query.toString()}`, { method: 'POST' })
  const { access_token: token } = (await answer.json()) as { access_token: string }
  return `Bearer ${token}`
}

describe('what can be known without the body', () => {
  const endless = ['Content-Type: multipart/form-data; boundary=B', 'Content-Length: 2500000']
  const path = (source: string): string => `/v2025/sources/${source}/load-accounts`

  it('is answered before the body: an unknown source, no token, a source of others', async () => {
    const unknown = await sendPart(path('0'.repeat(32)), endless, filePart('x'))
    expect(unknown).toMatch(/^HTTP\/1.1 404 /)
    expect(unknown.toLowerCase()).toContain('connection: close')
    const anonymous = await sendPart(path(delimited), endless, filePart('x'), 'Bearer none')
    expect(anonymous).toMatch(/^HTTP\/1.1 401 /)
    const confined = await confinedToken()
    const foreign = await sendPart(path(delimited), endless, filePart('x'), confined)
    expect(foreign).toMatch(/^HTTP\/1.1 403 /)
    const own = await fetch(`${server.url}${path(direct)}`, {
      method: 'POST',
      headers: { authorization: confined },
    })
    expect(own.status).toBe(202)
  }, 20_000)

  it('is answered before the body: a length above the limit', async () => {
    const length = `Content-Length: ${maxUploadBytes * 10}`
    const answer = await sendPart(path(delimited), [endless[0] ?? '', length], filePart('x'))
    expect(answer).toMatch(/^HTTP\/1.1 413 /)
    expect(answer.toLowerCase()).toContain('connection: close')
    expect(answer).toContain(`${maxUploadBytes} bytes`)
    expect(await spooled()).toEqual([])
  })

  it('is 404 for ids that are none', async () => {
    for (const id of ['x', 'a'.repeat(31), '%00', "1' or 'a'='a"]) {
      expect((await load(encodeURIComponent(id), formOf(csv))).status).toBe(404)
    }
  })
})

describe('a body above the limit', () => {
  it('is cut when it does not say how long it is, and nothing is left', async () => {
    const body = Buffer.from(`${filePart('x'.repeat(maxUploadBytes + 1))}--B--`)
    const answer = await new Promise<{ status: number; closed: boolean }>((resolve, reject) => {
      const sent = httpRequest(
        `${server.url}/v2025/sources/${delimited}/load-accounts`,
        { method: 'POST', headers: { authorization: client.authorization, ...multipart } },
        (response) => {
          response.resume()
          const closed = response.headers.connection === 'close'
          response.on('end', () => resolve({ status: response.statusCode ?? 0, closed }))
        },
      )
      sent.on('error', reject)
      for (let at = 0; at < body.length; at += 100_000) sent.write(body.subarray(at, at + 100_000))
      sent.end()
    })
    expect(answer).toEqual({ status: 413, closed: true })
    expect(await spooled()).toEqual([])
  })

  it('is taken at the limit', async () => {
    const content = `id,name\n1,${'x'.repeat(maxUploadBytes - 10)}`
    expect(content).toHaveLength(maxUploadBytes)
    const { status, body } = await load(delimited, formOf(content))
    expect(status).toBe(202)
    await client.ended(body.task.id)
  })
})

describe('a source and what it takes', () => {
  it('needs a file when it is delimited, in whatever way none is sent', async () => {
    const ways: [string | undefined, Record<string, string>][] = [
      ['--B--\r\n', multipart],
      [`${flagPart('true')}--B--`, multipart],
      [undefined, { 'content-type': 'multipart/form-data' }],
      [undefined, {}],
      ['disableOptimization=true', { 'content-type': 'application/x-www-form-urlencoded' }],
      ['{"disableOptimization":true}', { 'content-type': 'application/json' }],
    ]
    for (const [body, headers] of ways) {
      const answer = await load(delimited, body, headers)
      expect([body, answer.status]).toEqual([body, 400])
      expect(reason(answer)).toContain('"file"')
    }
  })

  it('takes no file when it is direct', async () => {
    const answer = await load(direct, formOf(csv))
    expect(answer.status).toBe(400)
    expect(reason(answer)).toContain('does not take a file')
    expect(await spooled()).toEqual([])
  })

  it('takes a form, an urlencoded body, JSON or nothing when it is direct', async () => {
    const urlencoded = { 'content-type': 'application/x-www-form-urlencoded' }
    const json = { 'content-type': 'application/json' }
    const ways: [string | undefined, Record<string, string>, string][] = [
      ['--B--\r\n', multipart, 'enabled'],
      [`${flagPart('true')}--B`, multipart, 'disabled'],
      [undefined, { 'content-type': 'multipart/form-data' }, 'enabled'],
      [undefined, {}, 'enabled'],
      ['disableOptimization=TRUE', urlencoded, 'disabled'],
      ['', urlencoded, 'enabled'],
      ['{"disableOptimization":true}', json, 'disabled'],
      ['{"disableOptimization":"false"}', json, 'enabled'],
      ['', json, 'enabled'],
    ]
    for (const [body, headers, optimized] of ways) {
      const answer = await load(direct, body, headers)
      expect([body, answer.status]).toEqual([body, 202])
      expect(answer.body.task.attributes['optimizedAggregation']).toBe(optimized)
      // No reader of this kind is installed; the task says so.
      expect(await client.ended(answer.body.task.id)).toMatchObject({
        completionStatus: 'ERROR',
        messages: [{ key: expect.stringContaining('okta') }],
      })
    }
  })

  it('refuses JSON that is none, or that is no object', async () => {
    for (const body of [
      '{',
      '[]',
      '"x"',
      '{"disableOptimization":{}}',
      '{"disableOptimization":"x"}',
    ]) {
      const answer = await load(direct, body, { 'content-type': 'application/json' })
      expect([body, answer.status]).toEqual([body, 400])
    }
  })

  it('refuses other media types and content encodings by name', async () => {
    for (const type of ['text/csv', 'application/xml', 'multipart/mixed; boundary=B']) {
      const answer = await load(delimited, csv, { 'content-type': type })
      expect(answer.status).toBe(415)
      expect(reason(answer)).toContain(type.split(';', 1)[0])
    }
    const zipped = await load(delimited, csv, { ...multipart, 'content-encoding': 'gzip' })
    expect(zipped.status).toBe(415)
    expect(reason(zipped)).toContain('gzip')
  })
})

describe('a form that is wrong', () => {
  it('is 400 in the shape of the contract and leaves nothing', async () => {
    const bodies = [
      filePart(csv),
      `${filePart(csv)}${filePart(csv)}--B--`,
      `${filePart('[object Object]')}--B--`,
      csv,
    ]
    for (const body of bodies) {
      const answer = await load(delimited, body, multipart)
      expect(answer.status).toBe(400)
      expect(answer.body).toMatchObject({
        detailCode: '400.1 Bad request content',
        trackingId: expect.stringMatching(/^[0-9a-f]{32}$/),
        causes: [],
      })
    }
    const boundless = await load(delimited, filePart(csv), {
      'content-type': 'multipart/form-data',
    })
    expect(boundless.status).toBe(400)
    expect(reason(boundless)).toContain('boundary')
    expect(await spooled()).toEqual([])
  })

  it('of a client that goes away at any point leaves nothing and starts nothing', async () => {
    const before = await taskCount()
    const body = Buffer.from(`${filePart('x'.repeat(500_000))}--B--`)
    for (const share of [0.1, 0.5, 0.999]) {
      const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
      socket.on('error', () => {})
      socket.write(
        `POST /v2025/sources/${delimited}/load-accounts HTTP/1.1\r\nHost: x\r\nAuthorization: ${client.authorization}\r\n` +
          `Content-Type: multipart/form-data; boundary=B\r\nContent-Length: ${body.length}\r\n\r\n`,
      )
      socket.write(body.subarray(0, Math.floor(body.length * share)))
      await pause(150)
      socket.destroy()
    }
    await expect.poll(spooled).toEqual([])
    expect(await taskCount()).toBe(before)
  })
})

async function taskCount(): Promise<number> {
  const response = await client.call('GET', '/task-status?limit=0&count=true')
  return Number(response.headers.get('x-total-count'))
}

describe('a busy source', () => {
  it('answers 202 with a failed task, 409 when asked to be strict, and the same task to a retry', async () => {
    const source = await client.createSource('Busy')
    server.at('staging', 'hold')
    const first = await load(source, formOf(csv))
    await server.held()

    const retry = await load(source, formOf(csv))
    expect(retry.body.task.id).toBe(first.body.task.id)
    const other = await load(source, formOf('id,name\n3,Alan\n'))
    expect(other.status).toBe(202)
    expect(other.body).toMatchObject({
      success: true,
      task: {
        completionStatus: 'ERROR',
        completed: expect.any(String),
        messages: [
          {
            type: 'ERROR',
            error: true,
            warning: false,
            key: busyMessage,
            localizedText: busyMessage,
          },
        ],
      },
    })
    const strict = await load(source, formOf('id,name\n4,Edsger\n'), {
      prefer: 'respond-async, handling=strict',
    })
    expect(strict.status).toBe(409)
    expect(strict.body.errorName).toBe('ConflictException')
    expect(strict.body.errorMessage).toContain(first.body.task.id)
    // Only the file of the run that goes on is kept.
    expect(await spooled()).toHaveLength(1)

    server.go()
    expect(await client.ended(first.body.task.id)).toMatchObject({ attributes: { created: 2 } })
    await expect.poll(spooled).toEqual([])
  })
})
