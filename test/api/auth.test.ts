// Who gets in: tokens that are good, tokens that only look good, levels, scopes, revoked clients.
import { generateKeyPair, exportJWK, exportSPKI, SignJWT } from 'jose'
import type { JWTPayload } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeClient, startApi, tokenOf } from './api-server.ts'
import type { TestApi } from './api-server.ts'
import { sendRaw } from './raw-http.ts'
import { sampleRoutes } from './sample-routes.ts'

let api: TestApi
let good: string

beforeAll(async () => {
  api = await startApi({ routes: sampleRoutes })
  good = await api.token()
})
afterAll(() => api.close())

function get(authorization: string | undefined, path = '/beta/sources'): Promise<Response> {
  return fetch(
    `${api.url}${path}`,
    authorization === undefined ? {} : { headers: { authorization } },
  )
}

const now = (): number => Math.floor(Date.now() / 1000)

function claims(changes: JWTPayload = {}): JWTPayload {
  return {
    iss: `urn:muster:${api.deploymentId}`,
    aud: 'urn:muster:api',
    sub: 'someone',
    jti: 'one',
    client_id: api.clientId,
    iat: now(),
    nbf: now(),
    exp: now() + 600,
    ...changes,
  }
}

/** A token that is signed with our own key, whatever it claims. */
function signed(payload: JWTPayload, header: Record<string, unknown> = {}): Promise<string> {
  const { kid, privateKey } = api.keys.current
  return new SignJWT(payload)
    .setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid, ...header })
    .sign(privateKey)
}

async function expectRefused(token: string): Promise<string> {
  const response = await get(`Bearer ${token}`)
  expect(response.status).toBe(401)
  expect(response.headers.get('www-authenticate')).toContain('Bearer')
  const body = (await response.json()) as { error: string }
  expect(Object.keys(body)).toEqual(['error'])
  return body.error
}

describe('a token', () => {
  it('is taken whatever the case of the scheme and with spaces around it', async () => {
    for (const value of [`Bearer ${good}`, `bearer ${good}`, `BEARER   ${good}  `]) {
      const response = await get(value)
      expect(response.status).toBe(200)
    }
    const own = await get(`Bearer ${await signed(claims())}`)
    expect(own.status).toBe(200)
  })

  it('is needed, in one header, and not in the query', async () => {
    const none = await get(undefined)
    expect(none.status).toBe(401)
    const query = await get(undefined, `/beta/sources?access_token=${good}`)
    expect(query.status).toBe(401)
    const twice = await sendRaw(
      api.port,
      `GET /beta/sources HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${good}\r\nAuthorization: Bearer ${good}\r\nConnection: close\r\n\r\n`,
    )
    expect(twice.status).toBe(401)
    for (const value of [good, `Basic ${good}`, 'Bearer', 'Bearer a.b', `Bearer ${good} x`]) {
      const response = await get(value)
      expect(response.status, value.slice(0, 12)).toBe(401)
    }
  })
})

describe('a token is refused', () => {
  it.each(['none', 'None', 'nOnE', 'HS256', 'RS256', 'ES384'])(
    'for the algorithm %s',
    async (alg) => {
      const encode = (value: object): string =>
        Buffer.from(JSON.stringify(value)).toString('base64url')
      const head = encode({ alg, typ: 'JWT', kid: api.keys.current.kid })
      await expectRefused(`${head}.${encode(claims())}.AA`)
    },
  )

  it('when our public key is used as the secret of an HMAC', async () => {
    const { rows } = await api.db.query<{ public_jwk: object }>(
      'select public_jwk from signing_key',
    )
    const pair = await generateKeyPair('ES256', { extractable: true })
    for (const secret of [JSON.stringify(rows[0]?.public_jwk), await exportSPKI(pair.publicKey)]) {
      const token = await new SignJWT(claims())
        .setProtectedHeader({ alg: 'HS256', typ: 'JWT', kid: api.keys.current.kid })
        .sign(new TextEncoder().encode(secret))
      await expectRefused(token)
    }
  })

  it('when a stranger signed it, also if it brings its own key', async () => {
    const pair = await generateKeyPair('ES256', { extractable: true })
    const jwk = await exportJWK(pair.publicKey)
    const own = { alg: 'ES256', typ: 'JWT', kid: api.keys.current.kid }
    for (const header of [own, { ...own, jwk }, { ...own, jku: `${api.url}/docs/json` }]) {
      const token = await new SignJWT(claims()).setProtectedHeader(header).sign(pair.privateKey)
      await expectRefused(token)
    }
    for (const name of ['jku', 'x5u', 'jwk', 'x5c']) {
      expect(await expectRefused(await signed(claims(), { [name]: jwk }))).toContain(name)
    }
  })

  it.each([
    ['a path', '../../dev/null'],
    ['SQL', "' or 1=1 --"],
    ['a long text', 'k'.repeat(5_000)],
    ['a number', 7],
    ['nothing', undefined],
  ])('when its kid is %s', async (_name, kid) => {
    await expectRefused(await signed(claims(), { kid }))
  })

  it.each([
    ['expired a second ago', { exp: now() - 1 }],
    ['not good yet', { nbf: now() + 300 }],
    ['issued in the future', { iat: now() + 300 }],
    ['without exp', { exp: undefined }],
    ['without client', { client_id: undefined }],
    ['with exp as text', { exp: String(now() + 600) }],
    ['with exp as fraction', { exp: now() + 600.5 }],
    ['with exp without measure', { exp: 1e300 }],
    ['of another audience', { aud: 'urn:muster:console' }],
    ['of another deployment', { iss: 'urn:muster:other' }],
    ['of a client that is not there', { client_id: 'ghost' }],
  ])('that is %s', async (_name, changes) => {
    await expectRefused(await signed(claims(changes as JWTPayload)))
  })

  it('of another typ', async () => {
    await expectRefused(await signed(claims(), { typ: 'id+jwt' }))
  })

  it('that is broken or far too long', async () => {
    await expectRefused(`${good.slice(0, -4)}AAAA`)
    await expectRefused(`x.${'y'.repeat(12_000)}.z`)
    expect(await expectRefused(await signed(claims({ exp: now() - 100 })))).toBe(
      'JWT validation failed: JWT is expired',
    )
  })
})

describe('level and scope', () => {
  it('decide before the body is read', async () => {
    const client = await makeClient(api, { name: 'Desk', level: 'HELPDESK' })
    const response = await fetch(`${api.url}/beta/sources`, {
      method: 'POST',
      headers: { authorization: `Bearer ${client.token}`, 'content-type': 'text/nonsense' },
      body: '{',
    })
    expect(response.status).toBe(403)
    const body = (await response.json()) as { detailCode: string; messages: { text: string }[] }
    expect(body.detailCode).toBe('403 Forbidden')
    expect(body.messages[0]?.text).toContain('HELPDESK')
  })

  it('any one of the scopes opens a route, another none', async () => {
    const reader = await makeClient(api, {
      name: 'Reader',
      level: 'SOURCE_ADMIN',
      scopes: ['idn:sources:read'],
    })
    const read = await get(`Bearer ${reader.token}`)
    expect(read.status).toBe(200)
    const write = await fetch(`${api.url}/beta/sources`, {
      method: 'POST',
      headers: { authorization: `Bearer ${reader.token}`, 'content-type': 'application/json' },
      body: '{"name":"x"}',
    })
    expect(write.status).toBe(403)
  })
})

describe('clients', () => {
  const admin = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`${api.url}/muster/v1/clients${path}`, {
      ...init,
      headers: { authorization: `Bearer ${good}`, 'content-type': 'application/json' },
    })
  const make = (body: unknown): Promise<Response> =>
    admin('', { method: 'POST', body: JSON.stringify(body) })

  it('are made with a secret that is shown once, and listed without it', async () => {
    const response = await make({ name: 'Robot', level: 'SOURCE_ADMIN', identityName: 'Robo Tic' })
    expect(response.status).toBe(201)
    const made = (await response.json()) as Record<string, unknown>
    expect(made).toMatchObject({
      name: 'Robot',
      level: 'SOURCE_ADMIN',
      scopes: ['sp:scopes:all'],
      sourceIds: null,
      identity: { type: 'IDENTITY', name: 'Robo Tic' },
      revoked: null,
    })
    const list = await admin('?count=true')
    const listed = (await list.json()) as Record<string, unknown>[]
    expect(Number(list.headers.get('x-total-count'))).toBe(listed.length)
    expect(JSON.stringify(listed)).not.toContain(made['secret'])
    expect(listed.find((one) => one['id'] === made['id'])).toMatchObject({ name: 'Robot' })
    const page = await admin('?limit=1&offset=1')
    expect(await page.json()).toHaveLength(1)
  })

  it.each([
    ['an unknown level', { name: 'x', level: 'GOD' }],
    ['no name', { level: 'HELPDESK' }],
    ['an unknown field', { name: 'x', level: 'HELPDESK', secret: 'mine' }],
    ['an unknown source', { name: 'x', level: 'SOURCE_SUBADMIN', sourceIds: ['a'.repeat(32)] }],
    ['a source id that is none', { name: 'x', level: 'SOURCE_SUBADMIN', sourceIds: ["'; drop"] }],
    ['a subadmin without sources', { name: 'x', level: 'SOURCE_SUBADMIN' }],
    ['an admin with sources', { name: 'x', level: 'ORG_ADMIN', sourceIds: ['a'.repeat(32)] }],
    ['a scope with spaces', { name: 'x', level: 'HELPDESK', scopes: ['a b'] }],
    ['a name with NUL', { name: 'x\0', level: 'HELPDESK' }],
  ])('with %s are 400', async (_name, body) => {
    const response = await make(body)
    expect(response.status).toBe(400)
  })

  it('of a subadmin are confined to their source', async () => {
    const id = 'c0ffee00-0000-4000-8000-000000000001'
    await api.db.query(
      `insert into source (id, name, name_key, type, connector, connection_type, status, since)
       values ($1::uuid, 'HR', 'hr', 'DelimitedFile', 'delimited-file-angularsc', 'file', 'x', now())`,
      [id],
    )
    const wire = id.replaceAll('-', '')
    const client = await makeClient(api, {
      name: 'Sub',
      level: 'SOURCE_SUBADMIN',
      sourceIds: [wire, id],
    })
    const response = await get(`Bearer ${client.token}`)
    const body = (await response.json()) as { caller: { sourceIds: string[] } }
    expect(body.caller.sourceIds).toEqual([wire])
  })

  it('lose their tokens at once when they are revoked', async () => {
    const client = await makeClient(api, { name: 'Gone', level: 'SOURCE_ADMIN' })
    const before = await get(`Bearer ${client.token}`)
    expect(before.status).toBe(200)
    const revoked = await admin(`/${client.id}`, { method: 'DELETE' })
    expect(revoked.status).toBe(204)
    const after = await get(`Bearer ${client.token}`)
    expect(after.status).toBe(401)
    expect(await tokenOf(api.url, client.id, client.secret)).toBeUndefined()
    const again = await admin(`/${client.id}`, { method: 'DELETE' })
    expect(again.status).toBe(204)
  })

  it('cannot revoke themselves, and an unknown one is 404', async () => {
    const self = await admin(`/${api.clientId}`, { method: 'DELETE' })
    expect(self.status).toBe(409)
    const ghost = await admin('/ghost', { method: 'DELETE' })
    expect(ghost.status).toBe(404)
  })

  it('are for an ORG_ADMIN, who hands out no scope beyond its own', async () => {
    const lower = await makeClient(api, { name: 'Lower', level: 'SOURCE_ADMIN' })
    const refused = await fetch(`${api.url}/muster/v1/clients`, {
      headers: { authorization: `Bearer ${lower.token}` },
    })
    expect(refused.status).toBe(403)
    const narrow = await makeClient(api, {
      name: 'Narrow',
      level: 'ORG_ADMIN',
      scopes: ['sp:all-personal-access-tokens:manage', 'idn:sources:read'],
    })
    const wide = await fetch(`${api.url}/muster/v1/clients`, {
      method: 'POST',
      headers: { authorization: `Bearer ${narrow.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'Wide', level: 'ORG_ADMIN' }),
    })
    expect(wide.status).toBe(403)
    const equal = await fetch(`${api.url}/muster/v1/clients`, {
      method: 'POST',
      headers: { authorization: `Bearer ${narrow.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'Equal', level: 'ORG_ADMIN', scopes: ['idn:sources:read'] }),
    })
    expect(equal.status).toBe(201)
  })
})
