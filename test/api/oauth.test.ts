// Tokens as real clients ask for them.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeClient, startApi } from './api-server.ts'
import type { TestApi } from './api-server.ts'
import { sendRaw } from './raw-http.ts'

let api: TestApi

beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.close())

interface TokenBody {
  access_token: string
  token_type: string
  expires_in: number
  scope: string
  org: string
  pod: string
  tenant_id: string
  identity_id: string
  user_name: string
  jti: string
  error?: string
  error_description?: string
}

async function ask(path: string, init: RequestInit): Promise<[Response, TokenBody]> {
  const response = await fetch(`${api.url}${path}`, { method: 'POST', ...init })
  return [response, (await response.json()) as TokenBody]
}

const grant = 'grant_type=client_credentials'

function multipart(lines: readonly string[]): RequestInit {
  return {
    headers: { 'content-type': 'multipart/form-data; boundary="bound"' },
    body: lines.join('\r\n'),
  }
}

describe('a token', () => {
  it('is given for parameters in the query, as the Java utility sends them', async () => {
    const query = `${grant}&client_id=${api.clientId}&client_secret=${api.clientSecret}`
    const [response, body] = await ask(`/oauth/token?${query}`, {})
    expect(response.status).toBe(200)
    expect(body.token_type).toBe('bearer')
    expect(body.expires_in).toBeGreaterThan(60)
    expect(body.scope).toBe('sp:scopes:all')
    expect(response.headers.get('cache-control')).toBe('no-store')
  })

  it('is given for a grant in the query and credentials in the body, as the CLI sends them', async () => {
    const [response] = await ask(`/oauth/token?${grant}`, {
      body: new URLSearchParams({ client_id: api.clientId, client_secret: api.clientSecret }),
    })
    expect(response.status).toBe(200)
  })

  it('is given for a multipart body, as the TypeScript SDK sends it', async () => {
    const form = new FormData()
    form.append('grant_type', 'client_credentials')
    form.append('client_id', api.clientId)
    form.append('client_secret', api.clientSecret)
    const [response] = await ask('/oauth/token', { body: form })
    expect(response.status).toBe(200)
  })

  it('is given for a multipart body that lacks its last delimiter', async () => {
    const part = (name: string, value: string) => [
      '--bound',
      `Content-Disposition: form-data; name="${name}"`,
      '',
      value,
    ]
    const [response] = await ask(
      '/oauth/token',
      multipart([
        ...part('grant_type', 'client_credentials'),
        ...part('client_id', api.clientId),
        ...part('client_secret', api.clientSecret),
        '--bound',
      ]),
    )
    expect(response.status).toBe(200)
  })

  it('is given for a JSON body and for HTTP Basic', async () => {
    const [json] = await ask('/oauth/token', {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        grant_type: 'client_credentials',
        client_id: api.clientId,
        client_secret: api.clientSecret,
      }),
    })
    expect(json.status).toBe(200)
    const basic = Buffer.from(`${api.clientId}:${api.clientSecret}`).toString('base64')
    const [withBasic] = await ask(`/oauth/token/?${grant}`, {
      headers: { authorization: `Basic ${basic}` },
    })
    expect(withBasic.status).toBe(200)
  })

  it('is a JWT with the claims that clients read', async () => {
    const [, body] = await ask('/oauth/token', {
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: api.clientId,
        client_secret: api.clientSecret,
      }),
    })
    const [header, payload] = body.access_token
      .split('.')
      .slice(0, 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as object)
    expect(header).toMatchObject({ alg: 'ES256', typ: 'JWT' })
    expect(payload).toMatchObject({
      tenant_id: api.deploymentId,
      org: body.org,
      pod: body.pod,
      identity_id: body.identity_id,
      user_name: 'Muster Administrator',
      authorities: ['ORG_ADMIN'],
      client_id: api.clientId,
      scope: ['sp:scopes:all'],
      jti: body.jti,
    })
    expect(body.identity_id).toMatch(/^[0-9a-f]{32}$/)
  })
})

describe('a token is refused', () => {
  it('for a wrong secret and for an unknown client in the same words', async () => {
    const wrong = await ask('/oauth/token', {
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: api.clientId,
        client_secret: 'not the secret',
      }),
    })
    const unknown = await ask('/oauth/token', {
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: 'nobody\0',
        client_secret: 'not the secret',
      }),
    })
    for (const [response, body] of [wrong, unknown]) {
      expect(response.status).toBe(401)
      expect(body.error).toBe('invalid_client')
    }
    expect(wrong[1].error_description).toBe(unknown[1].error_description)
  })

  it('for another grant, no grant, and a parameter that is given twice differently', async () => {
    const [other, otherBody] = await ask('/oauth/token?grant_type=password', {})
    expect([other.status, otherBody.error]).toEqual([400, 'unsupported_grant_type'])
    const [none, noneBody] = await ask('/oauth/token', {})
    expect([none.status, noneBody.error]).toEqual([400, 'invalid_request'])
    const [twice, twiceBody] = await ask(`/oauth/token?${grant}&client_id=a&client_id=b`, {})
    expect([twice.status, twiceBody.error]).toEqual([400, 'invalid_request'])
  })

  it('for a body that is too large, malformed JSON, or multipart without a boundary', async () => {
    const [large] = await ask('/oauth/token', { body: 'x'.repeat(70_000) })
    expect(large.status).toBe(413)
    const [json] = await ask('/oauth/token', {
      headers: { 'content-type': 'application/json' },
      body: '{',
    })
    expect(json.status).toBe(400)
    const [bare] = await ask('/oauth/token', {
      headers: { 'content-type': 'multipart/form-data' },
      body: 'x',
    })
    expect(bare.status).toBe(400)
  })

  it('with 429 after ten wrong secrets, also when they come at once, and other clients go on', async () => {
    const victim = await makeClient(api, { name: 'Victim', level: 'HELPDESK' })
    const guess = () =>
      fetch(`${api.url}/oauth/token?${grant}&client_id=${victim.id}&client_secret=wrong`, {
        method: 'POST',
      })
    const statuses = await Promise.all(
      Array.from({ length: 60 }, async () => {
        const response = await guess()
        return response.status
      }),
    )
    expect(statuses.filter((status) => status === 401)).toHaveLength(10)
    expect(statuses.filter((status) => status === 429)).toHaveLength(50)
    const refused = await guess()
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    expect(await refused.json()).toEqual({ message: ' Rate Limit Exceeded ' })
    expect(await api.token()).toMatch(/\./)
  })
})

it('a rightful client may ask for many tokens at once', async () => {
  const client = await makeClient(api, { name: 'Busy', level: 'HELPDESK' })
  const query = `${grant}&client_id=${client.id}&client_secret=${client.secret}`
  const statuses = await Promise.all(
    Array.from({ length: 40 }, async () => {
      const response = await fetch(`${api.url}/oauth/token?${query}`, { method: 'POST' })
      return response.status
    }),
  )
  expect(new Set(statuses)).toEqual(new Set([200]))
})

it('the secret of a query appears neither in the log nor in an error body', async () => {
  const canary = 'canary-secret-4711'
  const [, body] = await ask(
    `/oauth/token?${grant}&client_id=${api.clientId}&client_secret=${canary}`,
    {},
  )
  expect(JSON.stringify(body)).not.toContain(canary)
  await expect.poll(() => api.log()).toContain('client_secret=[redacted]')
  expect(api.log()).not.toContain(canary)
  expect(api.log()).not.toContain(api.clientSecret)
})

it('the secret is kept as a salted hash only', async () => {
  const { rows } = await api.db.query<{ row: string }>('select client::text as row from client')
  expect(JSON.stringify(rows)).not.toContain(api.clientSecret)
  expect(JSON.stringify(rows)).not.toContain(Buffer.from(api.clientSecret).toString('hex'))
})

/** What /oauth/info says to a request with these headers. */
async function info(server: TestApi, headers: readonly string[]): Promise<unknown> {
  const lines = ['GET /oauth/info HTTP/1.1', ...headers, 'Connection: close', '', '']
  const answer = await sendRaw(server.port, lines.join('\r\n'), 10_000)
  expect(answer.status).toBe(200)
  return JSON.parse(answer.body)
}

it('info tells where the token endpoint is, whatever the Host header says, and no secret', async () => {
  for (const headers of [
    ['Host: evil.test'],
    ['Host: evil.test', 'X-Forwarded-Host: evil.test', 'X-Forwarded-For: 10.0.0.1'],
  ]) {
    expect(await info(api, headers)).toEqual({
      tenantId: api.deploymentId,
      tenantName: 'muster',
      authorizeEndpoint: 'http://muster.test/oauth/authorize',
      tokenEndpoint: 'http://muster.test/oauth/token',
      cloudDomainUrl: 'http://muster.test',
      logoutUrl: 'http://muster.test/logout',
      pod: 'local',
    })
  }
})

it('info tells the address that a trusted proxy is reached by', async () => {
  const proxied = await startApi({ settings: { trustProxy: ['127.0.0.1'] } })
  try {
    const forwarded = ['X-Forwarded-For: 10.0.0.1', 'X-Forwarded-Proto: https']
    for (const [headers, tokenEndpoint] of [
      [
        ['Host: 127.0.0.1', 'X-Forwarded-Host: muster.example.com', ...forwarded],
        'https://muster.example.com/oauth/token',
      ],
      // A proxy that keeps the Host of the client names it there.
      [
        ['Host: muster.example.com:8443', ...forwarded],
        'https://muster.example.com:8443/oauth/token',
      ],
      [['Host: evil.test'], 'http://muster.test/oauth/token'],
      [
        ['Host: x', 'X-Forwarded-Host: evil.test/path', ...forwarded],
        'http://muster.test/oauth/token',
      ],
    ] as const) {
      expect(await info(proxied, headers)).toMatchObject({ tokenEndpoint })
    }
  } finally {
    await proxied.close()
  }
})

it('another method on the token endpoint is 405', async () => {
  const response = await fetch(`${api.url}/oauth/token`)
  expect(response.status).toBe(405)
  expect(response.headers.get('allow')).toBe('POST')
})
