// A real SCIM 2.0 server that we did not write (scimmy, scimmy-routers, express) on loopback, with users and groups in memory.
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type Request } from 'express'
import { SCIMMY, SCIMMYRouters } from 'scimmy-routers'

const badge = 'urn:ietf:params:scim:schemas:extension:badge:2.0:User'
const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'

/** A user as it is stored. */
export interface StoredUser {
  readonly id: string
  userName: string
  title?: string
  active?: boolean
  groups?: { value: string; display: string }[]
  meta: { created: string; lastModified: string }
  [name: string]: unknown
}

/** A group as it is stored. */
export interface StoredGroup {
  readonly id: string
  displayName: string
  members: { value: string; type: string; display?: string }[]
  meta: { created: string; lastModified: string }
}

/** What the server knows; tests change it. */
export interface ScimStore {
  readonly users: StoredUser[]
  readonly groups: StoredGroup[]
}

/** How a server is started. */
export interface ScimServerOptions {
  readonly store: ScimStore
  readonly authentication?: 'none' | 'bearer' | 'basic' | 'oauth2'
  /** How long tokens of its token endpoint live; default 3600. */
  readonly tokenSeconds?: number
  /** Whether the token endpoint wants the secret in the form. */
  readonly secretInForm?: boolean
  /** The largest page that it gives. */
  readonly largestPage?: number
  /**
   * Express 5 builds `request.query` anew whenever it is asked for, so that scimmy-routers 1.3 loses the numbers that it
   * writes there: startIndex and count have no effect, and every page is the first. True leaves it so.
   */
  readonly losesPages?: boolean
}

/** A started server. */
export interface ScimServer {
  readonly url: string
  readonly tokenUrl: string
  /** Paths with their queries, as they came. */
  readonly requests: string[]
  /** How many tokens were given out. */
  readonly tokens: number
  /** Makes all tokens worthless that were given out. */
  revoke(): void
  close(): Promise<void>
}

/** The credentials that a server accepts. */
export const credentials = {
  token: 'a-token-that-nobody-may-see',
  user: 'aggregation',
  password: 'p:ä"ss-that-nobody-may-see',
  clientId: 'client one',
  clientSecret: 'secret&of+the=client-that-nobody-may-see',
} as const

declareOnce()

/** Users `u0`, `u1`, … with a group for every ten of them and one for all. */
export function makeStore(users: number, changedAt = '2026-01-01T00:00:00.000Z'): ScimStore {
  const meta = { created: changedAt, lastModified: changedAt }
  const store: ScimStore = { users: [], groups: [] }
  const all: StoredGroup = { id: 'g-all', displayName: 'All', members: [], meta: { ...meta } }
  for (let index = 0; index < users; index += 1) {
    const id = `u${index}`
    const team = `g${index % 10}`
    store.users.push({
      id,
      externalId: `ext-${index}`,
      userName: `user${index}@example.com`,
      displayName: `User ${index}`,
      name: { givenName: `Given${index}`, familyName: `Family${index}` },
      title: index % 3 === 0 ? 'Clerk' : 'Engineer',
      active: index % 7 !== 6,
      emails: [
        { value: `home${index}@example.com`, type: 'home' },
        { value: `user${index}@example.com`, type: 'work', primary: true },
      ],
      groups: [
        { value: team, display: `Team ${index % 10}` },
        { value: 'g-all', display: 'All' },
      ],
      [enterprise]: { employeeNumber: String(1000 + index), manager: { value: 'u0' } },
      [badge]: { number: index, issued: '2026-01-01T00:00:00.000Z', lost: false },
      meta: { ...meta },
    })
    all.members.push({ value: id, type: 'User' })
  }
  for (let team = 0; team < 10; team += 1) {
    const members = store.users
      .filter((_, index) => index % 10 === team)
      .map(({ id }) => ({ value: id, type: 'User' }))
    store.groups.push({ id: `g${team}`, displayName: `Team ${team}`, members, meta: { ...meta } })
  }
  store.groups.push(all)
  return store
}

/** Starts a server on a loopback port. */
export async function startScimServer(options: ScimServerOptions): Promise<ScimServer> {
  const { authentication = 'none' } = options
  const tokens = new Map<string, number>()
  const requests: string[] = []
  let issued = 0
  const app = express()
  app.use((request, _response, next) => {
    requests.push(request.originalUrl)
    if (options.losesPages !== true) keepNumbers(request, options.largestPage)
    next()
  })
  app.post('/token', express.urlencoded({ extended: false }), (request, response) => {
    if (!knowsClient(request, options.secretInForm === true)) {
      // Some servers repeat what they were sent.
      const sent = `${request.headers.authorization} ${JSON.stringify(request.body)}`
      response.status(401).json({ error: 'invalid_client', error_description: `not: ${sent}` })
      return
    }
    issued += 1
    const token = `token-${issued}-that-nobody-may-see`
    const seconds = options.tokenSeconds ?? 3600
    tokens.set(token, Date.now() + seconds * 1000)
    response.json({ access_token: token, token_type: 'Bearer', expires_in: seconds })
  })
  app.use(
    '/scim/v2',
    new SCIMMYRouters({
      type: authentication === 'basic' ? 'basic' : 'bearer',
      handler: (request) => judge(request, authentication, tokens),
      context: () => options.store,
    }),
  )
  const server = createServer(app)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url: `${base}/scim/v2`,
    tokenUrl: `${base}/token`,
    requests,
    get tokens() {
      return issued
    },
    revoke: () => {
      tokens.clear()
    },
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

/** What scimmy-routers means to do: see `losesPages`. */
function keepNumbers(request: Request, largestPage: number | undefined): void {
  const query: Record<string, unknown> = { ...request.query }
  for (const name of ['startIndex', 'count']) {
    if (typeof query[name] === 'string') query[name] = Number(query[name])
  }
  if (largestPage !== undefined && typeof query['count'] === 'number') {
    query['count'] = Math.min(query['count'], largestPage)
  }
  Object.defineProperty(request, 'query', { value: query })
}

function knowsClient(request: Request, secretInForm: boolean): boolean {
  const form = (request.body ?? {}) as Record<string, string>
  if (form['grant_type'] !== 'client_credentials') return false
  if (secretInForm) {
    return (
      form['client_id'] === credentials.clientId &&
      form['client_secret'] === credentials.clientSecret
    )
  }
  const pair = [credentials.clientId, credentials.clientSecret].map(encodeURIComponent).join(':')
  return request.headers.authorization === `Basic ${Buffer.from(pair).toString('base64')}`
}

function judge(
  request: IncomingMessage,
  authentication: string,
  tokens: ReadonlyMap<string, number>,
): string {
  const given = request.headers.authorization ?? ''
  const { user, password, token } = credentials
  const accepted = {
    none: () => true,
    bearer: () => given === `Bearer ${token}`,
    basic: () => given === `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
    oauth2: () => (tokens.get(given.replace(/^Bearer /, '')) ?? 0) > Date.now(),
  }[authentication]
  if (accepted?.() === true) return 'nobody'
  throw new Error(`The credentials "${given}" are not accepted.`)
}

/** Resources of scimmy belong to the process, so every server has the same; its store comes with the request. */
function declareOnce(): void {
  const { Attribute, SchemaDefinition } = SCIMMY.Types
  const definition = new SchemaDefinition('Badge', badge, 'The badge of a user', [
    new Attribute('integer', 'number'),
    new Attribute('dateTime', 'issued'),
    new Attribute('boolean', 'lost'),
    new Attribute('string', 'doors', { multiValued: true }),
  ])
  const { User, Group } = SCIMMY.Resources
  SCIMMY.Schemas.User.definition.extend(definition, false)
  SCIMMY.Resources.declare(
    User.extend(SCIMMY.Schemas.EnterpriseUser, false).egress((resource, store) =>
      find(resource, (store as ScimStore).users),
    ),
  )
  SCIMMY.Resources.declare(
    Group.egress((resource, store) => find(resource, (store as ScimStore).groups)),
  )
}

interface Asked {
  readonly id?: string
  readonly filter?: { match(items: object[]): object[] }
}

function find<T extends { readonly id: string }>(asked: Asked, items: readonly T[]): T[] {
  const all = [...items]
  if (asked.id === undefined) return (asked.filter?.match(all) ?? all) as T[]
  const found = all.filter(({ id }) => id === asked.id)
  if (found.length === 0) throw new SCIMMY.Types.Error(404, '', `Resource ${asked.id} not found`)
  return found
}
