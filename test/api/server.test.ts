// What the server does around every route: framing, errors, logs, headers.
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startApi } from './api-server.ts'
import type { TestApi } from './api-server.ts'
import { parse, sendRaw } from './raw-http.ts'
import { received, sampleRoutes } from './sample-routes.ts'

let api: TestApi
let bearer: string

beforeAll(async () => {
  api = await startApi({ routes: sampleRoutes })
  bearer = `Bearer ${await api.token()}`
})
afterAll(() => api.close())

interface ErrorDto {
  detailCode: string
  trackingId: string
  messages: { locale: string; localeOrigin: string; text: string }[]
  causes: unknown[]
}

function call(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${api.url}${path}`, {
    ...init,
    headers: { authorization: bearer, ...(init.headers as Record<string, string>) },
  })
}

function post(path: string, body: string, type = 'application/json'): Promise<Response> {
  return call(path, { method: 'POST', body, headers: { 'content-type': type } })
}

async function errorOf(response: Response): Promise<ErrorDto> {
  return (await response.json()) as ErrorDto
}

describe('an error', () => {
  it('has two messages, and the tracking id of its header and of the log', async () => {
    const response = await call('/v2025/nothing-here')
    expect(response.status).toBe(404)
    const body = await errorOf(response)
    expect(body.detailCode).toBe('404 Not found')
    expect(body.messages.map((one) => [one.locale, one.localeOrigin])).toEqual([
      ['und', 'REQUEST'],
      ['en-US', 'DEFAULT'],
    ])
    expect(body.messages[0]?.text).toBe(body.messages[1]?.text)
    expect(body.causes).toEqual([])
    expect(body.trackingId).toMatch(/^[0-9a-f]{32}$/)
    expect(response.headers.get('slpt-request-id')).toBe(body.trackingId)
    expect(response.headers.get('x-request-id')).toBe(body.trackingId)
    await expect.poll(() => api.log()).toContain(body.trackingId)
  })

  it('of a wrong query names the value', async () => {
    for (const limit of ['x', '', '5.5', '-1', '251', '1&limit=2']) {
      const response = await call(`/v3/sources?limit=${limit}`)
      expect(response.status, limit).toBe(400)
      const body = await errorOf(response)
      expect(body.messages[0]?.text).toContain('query.limit')
    }
  })

  it('of a wrong body names the value and never converts it', async () => {
    const wrong = await post('/beta/sources', '{"name":"x","size":"10"}')
    expect(wrong.status).toBe(400)
    const wrongBody = await errorOf(wrong)
    expect(wrongBody.messages[0]?.text).toContain('body.size must be integer')
    const choice = await post('/beta/sources', '{"name":"x","kind":"c"}')
    const choiceBody = await errorOf(choice)
    expect(choiceBody.messages[0]?.text).toContain('body.kind must be one of a, b')
    const missing = await post('/beta/sources', '{}')
    expect(missing.status).toBe(400)
    const nothing = await post('/beta/sources', '')
    expect(nothing.status).toBe(400)
    const kept = await post('/beta/sources', '{"name":"x","note":null,"other":[1]}')
    expect(kept.status).toBe(201)
    expect(await kept.json()).toEqual({ name: 'x', note: null, other: [1] })
  })

  it('of a body that is no JSON, holds __proto__ or is too large is 400 or 413', async () => {
    const polluting = ['"__proto__":{"x":1}', '"constructor":{"prototype":{"x":1}}']
    // All else of them is right, so that only the key can be what is refused.
    const bodies = polluting.map((key) => `{"name":"x",${key}}`)
    for (const body of ['{', 'ÿ', ...bodies]) {
      const response = await post('/beta/sources', body)
      expect(response.status, body).toBe(400)
    }
    const large = await post('/beta/sources', JSON.stringify({ name: 'x'.repeat(5_000_000) }))
    expect(large.status).toBe(413)
    const body = await errorOf(large)
    expect(body.detailCode).toBe('413 Payload too large')
  })

  it('of a media type that is not taken is 415', async () => {
    const text = await post('/beta/sources', 'name=x', 'text/plain')
    expect(text.status).toBe(415)
    const patch = await call('/beta/sources/1', {
      method: 'PATCH',
      body: '[]',
      headers: { 'content-type': 'application/json' },
    })
    expect(patch.status).toBe(415)
    const body = await errorOf(patch)
    expect(body.messages[0]?.text).toContain('application/json-patch+json')
  })

  it('of another method is 405 and names those there are', async () => {
    const response = await call('/v2024/sources', { method: 'DELETE' })
    expect(response.status).toBe(405)
    expect(response.headers.get('allow')).toBe('GET, POST, HEAD')
    expect(await response.json()).toMatchObject({
      errorName: 'NotSupportedException',
      trackingId: response.headers.get('x-request-id'),
    })
  })

  it('of a conflict has the shape of the contract', async () => {
    const response = await call('/muster/v1/faults/conflict')
    expect(response.status).toBe(409)
    expect(await response.json()).toMatchObject({
      errorName: 'ConflictException',
      errorMessage: expect.stringContaining('Something else is going on.') as string,
    })
  })

  it('that nobody expected tells the client nothing and the log everything', async () => {
    const response = await call('/muster/v1/faults/other')
    expect(response.status).toBe(500)
    const text = await response.text()
    expect(text).toContain('500.0 Internal Fault')
    expect(text).not.toContain('secret detail')
    expect(text).not.toContain('.ts')
    await expect.poll(() => api.log()).toContain('the secret detail of a fault')
  })

  it('of a character that the database does not store is 400', async () => {
    const response = await call('/muster/v1/faults/nul')
    expect(response.status).toBe(400)
  })
})

describe('a path', () => {
  it('may end in a slash, repeat slashes, and write spaces as + or %20', async () => {
    for (const path of ['/beta/sources/', '//beta//sources', '/beta/sources/?count=true']) {
      const response = await call(path)
      expect(response.status, path).toBe(200)
    }
    for (const space of ['+', '%20']) {
      const response = await call(`/beta/sources?filters=name${space}eq${space}%22a%2Bb%22`)
      const body = (await response.json()) as { query: { filters: string } }
      expect(body.query.filters).toBe('name eq "a+b"')
    }
  })

  it('with dot segments or a broken escape is 400', async () => {
    for (const path of ['/beta/sources/%2e%2e/x', '/beta/../sources', '/beta/sources/%zz']) {
      const answer = await sendRaw(
        api.port,
        `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer}\r\nConnection: close\r\n\r\n`,
      )
      expect(answer.status, path).toBe(400)
      expect(answer.body).toContain('trackingId')
    }
  })

  it('may come in absolute form', async () => {
    const answer = await sendRaw(
      api.port,
      `GET http://elsewhere.example/beta/sources HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer}\r\nConnection: close\r\n\r\n`,
    )
    expect(answer.status).toBe(200)
  })

  it('is answered for HEAD without a body', async () => {
    const response = await call('/beta/sources', { method: 'HEAD' })
    expect(response.status).toBe(200)
    expect(await response.text()).toBe('')
  })
})

describe('odd framing', () => {
  const head = 'POST /beta/sources HTTP/1.1\r\nHost: x\r\n'

  it.each([
    ['two lengths', `${head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`],
    [
      'length and chunks',
      `${head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ['a bare line feed', 'GET /beta/sources HTTP/1.1\nHost: x\n\n'],
    ['no host', 'GET /beta/sources HTTP/1.1\r\n\r\n'],
    ['no HTTP at all', 'hello\r\n\r\n'],
    ['a bad chunk', `${head}Authorization: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`],
  ])('with %s is refused and the connection ends', async (_name, bytes) => {
    const answer = await sendRaw(api.port, bytes, 2_000)
    expect([400, 401]).toContain(answer.status)
    expect(answer.text).not.toContain('HTTP/1.1 200')
  })

  it('with headers of 20 KiB is 431 in the shape of an error', async () => {
    const answer = await sendRaw(
      api.port,
      `GET /beta/sources HTTP/1.1\r\nHost: x\r\nX-Long: ${'a'.repeat(20_000)}\r\n\r\n`,
    )
    expect(answer.status).toBe(431)
    expect(JSON.parse(answer.body)).toHaveProperty('trackingId')
  })

  it('with a request line of more than 16 KiB is 400 and names the filter', async () => {
    for (const length of [17_000, 1_000_000]) {
      const answer = await sendRaw(
        api.port,
        `GET /beta/sources?filters=${'('.repeat(length)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      )
      expect(answer.status).toBe(400)
      expect(JSON.parse(answer.body)).toMatchObject({
        detailCode: '400.1 Bad request content',
        messages: [{ text: expect.stringContaining('use a shorter filter') }, {}],
      })
    }
  })

  it('refused by its token answers Expect before the body, which is then not sent', async () => {
    const request =
      'POST /beta/sources/1/load-accounts HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n'
    const refused = await sendRaw(api.port, `${request}Content-Length: 100000000\r\n\r\n`, 3_000)
    expect(refused.text.startsWith('HTTP/1.1 401')).toBe(true)
    expect(refused.headers['connection']).toBe('close')
    const unread = await sendRaw(
      api.port,
      `${request.replace('/1/', '/refused/')}Authorization: ${bearer}\r\nContent-Length: 100000000\r\n\r\n`,
      3_000,
    )
    expect(unread.text.startsWith('HTTP/1.1 413')).toBe(true)
    const taken = await sendRaw(
      api.port,
      `${request}Authorization: ${bearer}\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello`,
    )
    expect(taken.text.startsWith('HTTP/1.1 100')).toBe(true)
    expect(taken.text).toContain('HTTP/1.1 202')
  })
})

describe('a large body that is refused', () => {
  it.each(['401', '413'])('lets the client read the %s while it still sends', async (expected) => {
    const answer = await uploadUntilEnd(expected === '401' ? '1' : 'refused', expected === '413')
    expect(answer.text.slice(0, 12)).toBe(`HTTP/1.1 ${expected}`)
    expect(answer.headers['connection']).toBe('close')
    expect(JSON.parse(answer.body)).toBeTypeOf('object')
  })

  // A client that sends 64 MiB without looking, then reads: a reset would take the answer away from it.
  function uploadUntilEnd(id: string, withToken: boolean): Promise<ReturnType<typeof parse>> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port: api.port, host: '127.0.0.1', allowHalfOpen: true })
      const block = Buffer.alloc(1 << 20, 'x')
      let sent = 0
      let text = ''
      const send = (): void => {
        while (sent < 64) {
          sent += 1
          if (!socket.write(block)) {
            socket.once('drain', send)
            return
          }
        }
        socket.on('data', (chunk) => {
          text += chunk.toString()
        })
      }
      socket.on('error', reject)
      socket.on('end', () => {
        socket.destroy()
        resolve(parse(text))
      })
      socket.write(
        `POST /beta/sources/${id}/load-accounts HTTP/1.1\r\nHost: x\r\n` +
          (withToken ? `Authorization: ${bearer}\r\n` : '') +
          `Content-Type: text/csv\r\nContent-Length: ${64 << 20}\r\n\r\n`,
      )
      send()
    })
  }
})

it('a streamed body is not read by anybody before its route', async () => {
  received.length = 0
  const response = await call('/sources/v1/7/load-accounts', {
    method: 'POST',
    body: 'a'.repeat(6_000_000),
    headers: { 'content-type': 'multipart/form-data' },
  })
  expect(response.status).toBe(202)
  expect(received).toEqual([6_000_000])
})

it('answers may not be kept by anybody and name no software', async () => {
  const response = await call('/beta/sources')
  expect(response.headers.get('cache-control')).toBe('no-store')
  expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
  expect(response.headers.get('x-content-type-options')).toBe('nosniff')
  expect(response.headers.get('x-powered-by')).toBeNull()
})

it('the log has one line a request, without filters, tokens or line breaks of strangers', async () => {
  await call(`/beta/sources?filters=${encodeURIComponent('name eq "canary@example.test"')}`)
  await fetch(`${api.url}/beta/sources?access_token=canary-token&%0A%7B%22level%22:1`)
  await expect.poll(() => api.log()).toContain('access_token=[redacted]')
  const log = api.log()
  expect(log).toContain('filters=[redacted]')
  expect(log).not.toContain('canary')
  expect(log).not.toContain(bearer.slice(7))
  for (const line of log.trim().split('\n')) expect(() => void JSON.parse(line)).not.toThrow()
})
