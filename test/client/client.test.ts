import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createReadStream, openAsBlob } from 'node:fs'
import { tmpdir } from 'node:os'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readForm } from '../../src/api/multipart.ts'
import {
  ApiError,
  ConnectionError,
  createClient,
  ReadOnlyError,
  WaitTimeout,
} from '../../src/client/index.ts'
import type { Client, ClientOptions, UploadContent } from '../../src/client/index.ts'
import { openSpool } from '../../src/run/spool.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

let server: Server
let baseUrl = ''
/** What the server does for each path; tests put their own in. */
let answers: Record<string, Answer> = {}
let seen: { method: string; url: string; authorization: string | undefined; body: string }[] = []
let tokens = 0
let tokenSeconds = 3600

const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Answer =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(JSON.stringify(body))
  }

/** Gives one answer after the other, the last one for ever. */
const inTurn = (...list: Answer[]): Answer => {
  let turn = 0
  return (request, response) => {
    const answer = list[Math.min(turn, list.length - 1)]
    turn += 1
    return answer?.(request, response)
  }
}

async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = request.url ?? ''
  const path = url.split('?', 1)[0] ?? ''
  const { method = '' } = request
  const answer = answers[`${method} ${path}`]
  if (path === '/oauth/token' && answer === undefined) {
    tokens += 1
    return json(200, { access_token: `token-${tokens}`, expires_in: tokenSeconds })(
      request,
      response,
    )
  }
  if (path.endsWith('/load-accounts')) return answer?.(request, response)
  let body = ''
  for await (const chunk of request) body += String(chunk)
  seen.push({ method, url, authorization: request.headers.authorization, body })
  return (answer ?? json(404, { messages: [] }))(request, response)
}

beforeEach(async () => {
  answers = {}
  seen = []
  tokens = 0
  tokenSeconds = 3600
  server = createServer((request, response) => {
    respond(request, response).catch((error: unknown) => response.destroy(new Error(String(error))))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

const client = (options: Partial<ClientOptions> = {}): Client =>
  createClient({ baseUrl, clientId: 'id', clientSecret: 'a secret', ...options })

describe('the client', () => {
  it('obtains one token for all calls that need it at once', async () => {
    answers['GET /v2025/sources'] = json(200, [{ id: '1' }], { 'x-total-count': '7' })
    const api = client()
    const pages = await Promise.all([1, 2, 3].map(() => api.sources.list({ count: true })))
    expect(pages[0]).toEqual({ items: [{ id: '1' }], total: 7 })
    expect(tokens).toBe(1)
    expect(seen.every(({ authorization }) => authorization === 'Bearer token-1')).toBe(true)
  })

  it('renews a token before it expires', async () => {
    answers['GET /v2025/sources'] = json(200, [])
    tokenSeconds = 0.2
    const api = client()
    await api.sources.list()
    await new Promise((resolve) => {
      setTimeout(resolve, 200)
    })
    await api.sources.list()
    expect(seen.map(({ authorization }) => authorization)).toEqual([
      'Bearer token-1',
      'Bearer token-2',
    ])
  })

  it('asks for another token when one is refused, once', async () => {
    answers['GET /v2025/sources'] = inTurn(json(401, { error: 'revoked' }), json(200, []))
    await client().sources.list()
    expect(tokens).toBe(2)
    answers['GET /v2025/sources'] = json(401, { error: 'JWT validation failed' })
    await expect(client().sources.list()).rejects.toMatchObject({
      name: 'ApiError',
      status: 401,
      text: 'JWT validation failed',
    })
  })

  it('does not ask for a token when it was given one', async () => {
    answers['GET /v2025/sources'] = json(401, { error: 'expired' })
    const api = createClient({ baseUrl, accessToken: 'mine' })
    await expect(api.sources.list()).rejects.toMatchObject({ status: 401 })
    expect(seen).toMatchObject([{ authorization: 'Bearer mine' }])
    expect(tokens).toBe(0)
  })

  it('says why it got no token', async () => {
    answers['POST /oauth/token'] = json(401, {
      error: 'invalid_client',
      error_description: 'Unknown client or wrong secret.',
    })
    await expect(client().sources.list()).rejects.toMatchObject({
      status: 401,
      text: 'Unknown client or wrong secret.',
    })
  })

  it('waits as long as Retry-After says, and reports a wait that is too long', async () => {
    answers['GET /v2025/sources'] = inTurn(
      json(429, { message: ' Rate Limit Exceeded ' }, { 'retry-after': '1' }),
      json(200, []),
    )
    const begin = performance.now()
    await client().sources.list()
    expect(performance.now() - begin).toBeGreaterThanOrEqual(990)
    answers['GET /v2025/sources'] = json(
      429,
      { message: ' Rate Limit Exceeded ' },
      { 'retry-after': '3600' },
    )
    await expect(client().sources.list()).rejects.toMatchObject({
      status: 429,
      text: 'Rate Limit Exceeded',
    })
  })

  it('repeats a POST only where the server says that nothing was done', async () => {
    const body = { name: 'HR', connector: 'x' }
    answers['POST /v2025/sources'] = inTurn(
      json(503, {}, { 'retry-after': '0' }),
      json(201, { id: '1', name: 'HR' }),
    )
    await expect(client().sources.create(body)).resolves.toMatchObject({ id: '1' })
    answers['POST /v2025/sources'] = json(503, {})
    seen = []
    await expect(client().sources.create(body)).rejects.toMatchObject({ status: 503 })
    expect(seen).toHaveLength(1)
  })

  it('sends no change again of which nobody knows what became', async () => {
    const breaks: Answer = (request) => void request.socket.destroy()
    for (const method of ['PUT', 'PATCH', 'DELETE', 'POST'] as const) {
      for (const answer of [breaks, json(502, {}), json(503, {}), json(504, {})]) {
        // Done before the connection broke, so that a second try would be told that there is nothing.
        answers[`${method} /v2025/sources/1`] = inTurn(answer, json(404, {}))
        seen = []
        const call = client().request({ method, path: '/v2025/sources/1' })
        if (answer === breaks) await expect(call).rejects.toBeInstanceOf(ConnectionError)
        else expect((await call).status).toBeGreaterThanOrEqual(502)
        expect([method, seen.length]).toEqual([method, 1])
      }
    }
    answers['DELETE /v2025/sources/1/schemas/2'] = inTurn(breaks, json(404, {}))
    await expect(client().schemas.delete('1', '2')).rejects.toBeInstanceOf(ConnectionError)
  })

  it('sends a change again where the server says that nothing was done', async () => {
    for (const method of ['PUT', 'PATCH', 'DELETE', 'POST'] as const) {
      answers[`${method} /v2025/sources/1`] = inTurn(
        json(429, {}, { 'retry-after': '0' }),
        json(503, {}, { 'retry-after': '0' }),
        json(200, {}),
      )
      expect((await client().request({ method, path: '/v2025/sources/1' })).status).toBe(200)
    }
  })

  it('repeats a GET whose connection broke', async () => {
    answers['GET /v2025/sources'] = inTurn(
      (request) => void request.socket.destroy(),
      json(200, []),
    )
    await expect(client().sources.list()).resolves.toMatchObject({ items: [] })
    answers['GET /v2025/sources'] = (request) => void request.socket.destroy()
    await expect(client({ patience: { attempts: 2 } }).sources.list()).rejects.toBeInstanceOf(
      ConnectionError,
    )
  })

  it('tells what a server said in each of the shapes of the contract', async () => {
    const shapes: [unknown, string][] = [
      [
        {
          detailCode: '400.1 Bad request content',
          trackingId: 'e'.repeat(32),
          messages: [
            { locale: 'und', localeOrigin: 'REQUEST', text: 'und' },
            { locale: 'en-US', localeOrigin: 'DEFAULT', text: 'The name is missing.' },
          ],
          causes: [],
        },
        'The name is missing.',
      ],
      [{ errorName: 'ConflictException', errorMessage: 'Busy.', trackingId: 'x' }, 'Busy.'],
      [{ message: 'Off.' }, 'Off.'],
      [[], 'Conflict'],
    ]
    for (const [body, text] of shapes) {
      answers['GET /v2025/sources/1'] = json(409, body)
      await expect(client().sources.get('1')).rejects.toMatchObject({ status: 409, text })
    }
    answers['GET /v2025/sources/1'] = (_request, response) => {
      response.writeHead(404, { 'content-type': 'text/html', 'slpt-request-id': 'abc' })
      response.end('<html><body><h1>No   such page</h1></body></html>')
    }
    const error: unknown = await client()
      .sources.get('1')
      .catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(ApiError)
    expect(error).toMatchObject({ text: 'No such page', trackingId: 'abc' })
  })

  it('speaks every version, the per-service form too', async () => {
    answers['GET /beta/task-status/7'] = json(200, { id: 'beta' })
    answers['GET /task-status/v1/7'] = json(200, { id: 'v1' })
    expect(await client({ version: 'beta' }).tasks.get('7')).toEqual({ id: 'beta' })
    expect(await client({ version: 'v1' }).tasks.get('7')).toEqual({ id: 'v1' })
  })

  it('keeps ids inside their place in the path', async () => {
    answers['GET /v2025/sources/a%2F..%2Fb%3Fx'] = json(200, { id: 'odd' })
    expect(await client().sources.get('a/../b?x')).toEqual({ id: 'odd' })
    for (const id of ['', '.', '..']) {
      await expect(async () => client().sources.get(id)).rejects.toMatchObject({ status: 404 })
    }
  })

  it('follows no redirect with its token or secret, and says at once where it leads', async () => {
    const leads =
      (location: string): Answer =>
      (_request, response) =>
        void response.writeHead(308, { location }).end()
    answers['GET /v2025/sources'] = leads('https://acme.example/v2025/sources?token=x')
    await expect(client().sources.list()).rejects.toMatchObject({
      name: 'ApiError',
      status: 308,
      text: 'the server redirects to https://acme.example/v2025/sources, which is not followed, because the credentials would go with it. Is its URL https://acme.example?',
    })
    answers['GET /v2025/sources'] = leads('/elsewhere')
    await expect(client().request({ method: 'GET', path: '/v2025/sources' })).rejects.toMatchObject(
      {
        text: expect.stringContaining(`redirects to ${baseUrl}/elsewhere, `),
      },
    )
    expect(seen.map(({ url }) => url)).toEqual(['/v2025/sources', '/v2025/sources'])
    answers['POST /oauth/token'] = leads('https://acme.example/oauth/token')
    await expect(client().sources.list()).rejects.toMatchObject({
      text: expect.stringMatching(/redirects to https:.* Is its URL https:\/\/acme\.example\?$/),
    })
    expect(seen.at(-1)?.url).toBe('/oauth/token')
  })

  it('reads all accounts page after page', async () => {
    answers['GET /v2025/accounts'] = inTurn(
      json(200, [{ id: 'a' }, { id: 'b' }]),
      json(200, [{ id: 'c' }]),
    )
    const ids: string[] = []
    for await (const { id } of client().accounts.all({ limit: 2, filters: 'sourceId eq "1"' }))
      ids.push(id)
    expect(ids).toEqual(['a', 'b', 'c'])
    expect(seen.map(({ url }) => new URL(url, baseUrl).searchParams.get('offset'))).toEqual([
      '0',
      '2',
    ])
  })

  it('cancels a task by a JSON Patch', async () => {
    answers['PATCH /v2025/task-status/7'] = json(200, { id: '7' })
    await client().tasks.cancel('7')
    expect(JSON.parse(seen[0]?.body ?? '')).toMatchObject([
      { op: 'replace', path: '/completionStatus', value: 'TERMINATED' },
      { op: 'replace', path: '/completed' },
    ])
  })

  it('waits for a token too when the server is too busy for one, and says so', async () => {
    answers['POST /oauth/token'] = inTurn(
      json(429, { message: ' Rate Limit Exceeded ' }, { 'retry-after': '0' }),
      json(503, {}, { 'retry-after': '0' }),
      json(200, { access_token: 'late', expires_in: 60 }),
    )
    answers['GET /v2025/sources'] = json(200, [])
    const waits: number[] = []
    await client({ patience: { onWait: (_ms, status) => waits.push(status) } }).sources.list()
    expect(waits).toEqual([429, 503])
    expect(seen.at(-1)?.authorization).toBe('Bearer late')
  })

  it('says that no token endpoint answers', async () => {
    answers['POST /oauth/token'] = (request) => void request.socket.destroy()
    await expect(client().sources.list()).rejects.toBeInstanceOf(ConnectionError)
  })

  it('gives up an answer that takes too long, and does not ask for it again', async () => {
    answers['GET /v2025/sources'] = () => undefined
    await expect(
      client({ patience: { callTimeoutMs: 200 } }).sources.list(),
    ).rejects.toBeInstanceOf(ConnectionError)
    expect(seen).toHaveLength(1)
  })

  it('that only reads sends nothing that changes something, and asks what it likes', async () => {
    const reader = client({ readOnly: true })
    answers['POST /v2025/sources/1/connector/check-connection'] = json(200, { status: 'SUCCESS' })
    await reader.probes.checkConnection('1')
    await reader.request({ method: 'POST', path: '/v2025/sources/1/connector/check-connection' })
    expect(seen).toHaveLength(2)
    const changes: (() => Promise<unknown>)[] = [
      () => reader.sources.delete('1'),
      () => reader.sources.create({ name: 'HR', connector: 'x' }),
      () => reader.loadAccounts('1'),
      () => reader.tasks.cancel('7'),
      () => reader.request({ method: 'PATCH', path: '/v2025/sources/1' }),
      () => reader.request({ method: 'POST', path: '/v2025/sources/1/load-accounts#/discover' }),
      () => reader.request({ method: 'POST', path: '/v2025/sources/1/load-accounts?x=/discover' }),
    ]
    for (const change of changes) await expect(change()).rejects.toBeInstanceOf(ReadOnlyError)
    expect(seen).toHaveLength(2)
  })

  it('sends any call as it is and gives the answer whatever it is', async () => {
    answers['DELETE /v2025/none'] = json(404, { detailCode: '404 Not found' })
    const answer = await client().request({ method: 'DELETE', path: '/v2025/none?x=1' })
    expect([answer.status, await answer.json()]).toEqual([404, { detailCode: '404 Not found' }])
    expect(seen.at(-1)?.url).toBe('/v2025/none?x=1')
  })

  it('refuses to be made without credentials', () => {
    expect(() => createClient({ baseUrl })).toThrow('accessToken')
  })
})

describe('an upload', () => {
  const content = `id,name\r\n${'1,Ada\r\n'.repeat(100_000)}`
  let dir = ''
  let received: { fields: Record<string, string>; fileName: string | null; text: string | null }
  let length: string | undefined
  let prefer: string | undefined

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'muster-client-'))
    const spool = await openSpool({ dir: join(dir, 'spool'), shared: false })
    answers['POST /v2025/sources/1/load-accounts'] = async (request, response) => {
      length = request.headers['content-length']
      prefer = request.headers['prefer']?.toString()
      const form = await readForm(request, { fileParts: ['file'], limitBytes: 1e9, spool })
      received = {
        fields: Object.fromEntries(form.fields),
        fileName: form.file?.fileName ?? null,
        text: form.file === null ? null : await readFile(spool.path(form.file.name), 'utf8'),
      }
      return json(202, { success: true, task: { id: '7' } })(request, response)
    }
    await writeFile(join(dir, 'hr.csv'), content)
  })
  afterEach(() => rm(dir, { recursive: true, force: true }))

  const kinds: [string, () => Promise<UploadContent>][] = [
    ['a Blob', async () => openAsBlob(join(dir, 'hr.csv'))],
    ['a stream of Node', async () => createReadStream(join(dir, 'hr.csv'))],
    ['a web stream', async () => new Blob([content]).stream()],
  ]
  for (const [kind, open] of kinds) {
    it(`of ${kind} arrives whole and tells how far it is`, async () => {
      const steps: [number, number | null][] = []
      const task = await client().loadAccounts('1', {
        file: { content: await open(), name: 'h"r.csv', bytes: content.length },
        disableOptimization: true,
        strict: true,
        onProgress: (sent, total) => steps.push([sent, total]),
      })
      expect(task.task.id).toBe('7')
      expect(received).toEqual({
        fields: { disableOptimization: 'true' },
        fileName: 'h%22r.csv',
        text: content,
      })
      expect(prefer).toBe('handling=strict')
      expect(Number(length)).toBeGreaterThan(content.length)
      expect(steps[0]).toEqual([0, content.length])
      expect(steps.at(-1)).toEqual([content.length, content.length])
    })
  }

  it('of unknown length is sent in chunks', async () => {
    const content2 = new Blob(['id\n1\n']).stream()
    await client().loadAccounts('1', { file: { content: content2, name: 'x' } })
    expect(received.text).toBe('id\n1\n')
    expect(length).toBeUndefined()
  })

  it('without a file is a form all the same', async () => {
    await client().loadAccounts('1')
    expect(received).toEqual({ fields: {}, fileName: null, text: null })
    await client().loadAccounts('1', { disableOptimization: false })
    expect(received.fields).toEqual({ disableOptimization: 'false' })
  })

  it('of a Blob is repeated with a new token, of a stream it cannot be', async () => {
    const load = answers['POST /v2025/sources/1/load-accounts']
    const refuse: Answer = async (request, response) => {
      request.resume()
      return json(401, { error: 'expired' })(request, response)
    }
    answers['POST /v2025/sources/1/load-accounts'] = inTurn(refuse, load ?? refuse)
    await client().loadAccounts('1', { file: { content: new Blob(['id\n']), name: 'x' } })
    expect(received.text).toBe('id\n')
    answers['POST /v2025/sources/1/load-accounts'] = inTurn(refuse, load ?? refuse)
    const stream = new Blob(['id\n']).stream()
    await expect(
      client().loadAccounts('1', { file: { content: stream, name: 'x' } }),
    ).rejects.toMatchObject({ status: 401 })
  })

  it('of a function is begun again after a broken connection, a busy server and an old token', async () => {
    const load = answers['POST /v2025/sources/1/load-accounts']
    const busy: Answer = (request, response) => {
      request.resume()
      return json(503, {})(request, response)
    }
    const refuse: Answer = (request, response) => {
      request.resume()
      return json(401, { error: 'expired' })(request, response)
    }
    answers['POST /v2025/sources/1/load-accounts'] = inTurn(
      (request) => void request.socket.destroy(),
      busy,
      refuse,
      load ?? busy,
    )
    const open = (): UploadContent => createReadStream(join(dir, 'hr.csv'))
    await client().loadAccounts('1', {
      file: { content: open, name: 'hr.csv', bytes: content.length },
    })
    expect(received.text).toBe(content)
  })

  it('ends when it is aborted', async () => {
    const stop = new AbortController()
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        yield new Uint8Array(65_536)
        await nextTurn()
        if (!stop.signal.aborted) stop.abort(new Error('enough'))
      }
    }
    answers['POST /v2025/sources/1/load-accounts'] = (request) => void request.resume()
    await expect(
      client().loadAccounts('1', { file: { content: endless(), name: 'x' }, signal: stop.signal }),
    ).rejects.toThrow('enough')
  })
})

describe('waiting for a task', () => {
  const path = 'GET /v2025/task-status/7'
  const running = json(200, { id: '7', completionStatus: null })
  const done = json(200, { id: '7', completionStatus: 'SUCCESS' })

  it('ends with the task and shows every step', async () => {
    answers[path] = inTurn(running, running, done)
    const shown: unknown[] = []
    const task = await client().waitForTask('7', {
      onProgress: ({ completionStatus }) => shown.push(completionStatus),
    })
    expect(task.completionStatus).toBe('SUCCESS')
    expect(shown).toEqual([null, null, 'SUCCESS'])
  })

  it('outlives a server that restarts', async () => {
    answers[path] = inTurn(json(503, {}), (request) => void request.socket.destroy(), running, done)
    const api = client({ patience: { attempts: 1 } })
    await expect(api.waitForTask('7')).resolves.toMatchObject({ completionStatus: 'SUCCESS' })
  })

  it('gives up after its time, and at once when the task is not there', async () => {
    answers[path] = running
    const error: unknown = await client()
      .waitForTask('7', { timeoutMs: 300 })
      .catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(WaitTimeout)
    expect(error).toMatchObject({ taskId: '7', lastStatus: { id: '7' } })
    await expect(client().waitForTask('8')).rejects.toMatchObject({ status: 404 })
  })

  it('ends when it is aborted', async () => {
    answers[path] = running
    const wait = client().waitForTask('7', { signal: AbortSignal.timeout(150) })
    await expect(wait).rejects.toMatchObject({ name: 'TimeoutError' })
  })
})
