// The logins of the SCIM reader at a real server: bearer, basic, and OAuth client credentials with tokens that run out.
import { afterEach, describe, expect, it } from 'vitest'
import { drain, errorOf, logged, openReader, requestFor } from './scim-drain.ts'
import {
  credentials,
  makeStore,
  type ScimServer,
  type ScimServerOptions,
  startScimServer,
} from './scim-server.ts'

const started: ScimServer[] = []
afterEach(async () => {
  for (const server of started.splice(0)) await server.close()
})

async function start(given: Partial<ScimServerOptions> = {}): Promise<ScimServer> {
  const server = await startScimServer({ store: makeStore(25), ...given })
  started.push(server)
  return server
}

describe('a login', () => {
  const { token, user, password, clientId, clientSecret } = credentials

  it.each([
    ['bearer', { token }],
    ['basic', { user, password }],
  ] as const)('is shown (%s)', async (authentication, keys) => {
    const server = await start({ authentication })
    const reader = openReader({ url: server.url, authentication, ...keys })
    expect((await drain(reader.read(requestFor()))).records).toHaveLength(25)
  })

  it.each([
    ['none', {}],
    ['bearer', { token: 'another-token' }],
    ['basic', { user, password: 'another-password' }],
  ])('that is not accepted ends the read (%s)', async (authentication, keys) => {
    const server = await start({ authentication: 'bearer' })
    const reader = openReader({ url: server.url, authentication, ...keys })
    const error = await errorOf(drain(reader.read(requestFor())))
    expect(error).toMatchObject({ code: 'credentials_refused', temporary: false })
    // This server repeats the header.
    for (const secret of Object.values(keys)) {
      if (secret !== user) expect(error.message).not.toContain(secret)
    }
    expect(error.message).not.toContain(Buffer.from(`${user}:another-password`).toString('base64'))
    expect(server.requests).toHaveLength(1)
  })

  it.each([false, true])(
    'by OAuth fetches one token for the whole read (secret in the form: %s)',
    async (secretInForm) => {
      const server = await start({ authentication: 'oauth2', secretInForm })
      const login = { authentication: 'oauth2', clientId, clientSecret, tokenUrl: server.tokenUrl }
      const reader = openReader({ url: server.url, pageSize: 5, ...login })
      expect((await drain(reader.read(requestFor()))).records).toHaveLength(25)
      expect(server.tokens).toBe(1)
    },
  )

  it('by OAuth gets another token when the server takes it away in the middle', async () => {
    const server = await start({ authentication: 'oauth2' })
    const login = { authentication: 'oauth2', clientId, clientSecret, tokenUrl: server.tokenUrl }
    const reader = openReader({ url: server.url, pageSize: 5, ...login })
    const pages = reader.read(requestFor())
    const first = await pages.next()
    expect(first.done).toBe(false)
    server.revoke()
    const rest = await drain(pages)
    expect(rest.records).toHaveLength(20)
    expect(server.tokens).toBe(2)
  })

  it('by OAuth gets another token before the old one runs out', async () => {
    const server = await start({ authentication: 'oauth2', tokenSeconds: 1 })
    const login = { authentication: 'oauth2', clientId, clientSecret, tokenUrl: server.tokenUrl }
    const reader = openReader({ url: server.url, pageSize: 5, requestsPerSecond: 5, ...login })
    expect((await drain(reader.read(requestFor()))).records).toHaveLength(25)
    expect(server.tokens).toBeGreaterThan(1)
    expect(server.requests.filter((path) => path.includes('/Users'))).toHaveLength(5)
  })

  it('by OAuth with a token that is never accepted ends the read', async () => {
    const server = await start({ authentication: 'oauth2', tokenSeconds: 0 })
    const login = { authentication: 'oauth2', clientId, clientSecret, tokenUrl: server.tokenUrl }
    const reader = openReader({ url: server.url, ...login })
    const error = await errorOf(drain(reader.read(requestFor())))
    expect(error).toMatchObject({ code: 'credentials_refused', temporary: false })
    expect(error.message).not.toContain('nobody-may-see')
    expect(server.tokens).toBe(2)
  })

  it.each([
    ['a wrong secret', { clientSecret: 'another-secret' }, 'token_refused', /answered 401/],
    ['a token endpoint that is none', { tokenUrl: '/nowhere' }, 'token_refused', /answered 404/],
  ])('by OAuth with %s ends the read', async (_, wrong, code, message) => {
    const server = await start({ authentication: 'oauth2' })
    const login = { authentication: 'oauth2', clientId, clientSecret, tokenUrl: server.tokenUrl }
    const given = { ...login, ...wrong }
    const tokenUrl = new URL(given.tokenUrl, server.url).href
    const reader = openReader({ url: server.url, ...given, tokenUrl })
    const error = await errorOf(drain(reader.read(requestFor())))
    expect(error).toMatchObject({ code, temporary: false })
    expect(error.message).toMatch(message)
    expect(error.message).not.toMatch(/nobody-may-see|another-secret/)
    const pair = `${encodeURIComponent(clientId)}:another-secret`
    expect(error.message).not.toContain(Buffer.from(pair).toString('base64'))
    expect(error.hint).toContain('tokenUrl')
  })

  it('leaves no secret in the log', async () => {
    expect(logged.join('\n')).not.toMatch(/nobody-may-see|another-/)
  })
})
