// A SCIM server that misbehaves: each way by its name, and well without one.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Certificate } from '../support/certificates.ts'

/** A started server. */
export interface HostileScim {
  readonly url: string
  /** Paths with their queries, as they came. */
  readonly requests: string[]
  /** What it does from now on, and with how many users. */
  behave(misbehaviour: Misbehaviour | null, users?: number): void
  /** What its configuration says of pages from now on; null: it has no configuration. */
  says(pagination: object | null): void
  /** How many bytes of endless bodies it has written. */
  readonly written: number
  close(): Promise<void>
}

/** One request for users, and what is known of the server. */
interface Turn {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly query: URLSearchParams
  /** How many requests for users there were, this one included. */
  readonly count: number
  readonly users: number
  readonly wrote: (bytes: number) => void
}

const type = 'application/scim+json'

function send(response: ServerResponse, status: number, body: unknown, headers = {}): void {
  response.writeHead(status, { 'content-type': type, ...headers })
  response.end(typeof body === 'string' ? body : JSON.stringify(body))
}

function user(index: number): object {
  const lastModified = '2026-01-01T00:00:00Z'
  return { id: `u${index}`, userName: `user${index}`, active: true, meta: { lastModified } }
}

function range(from: number, to: number): object[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, index) => user(from + index))
}

/** A right page. `changes` makes it wrong. */
function page({ response, query, users }: Turn, changes: object = {}): void {
  const from = Number(query.get('startIndex') ?? 1) - 1
  const to = Math.min(users, from + Number(query.get('count') ?? 100))
  const Resources = range(from, to)
  send(response, 200, {
    totalResults: users,
    itemsPerPage: Resources.length,
    Resources,
    ...changes,
  })
}

/** A right page by cursor, whose cursors are indexes. */
function cursorPage({ response, query, users }: Turn, changes: object = {}): void {
  const from = Number((query.get('cursor') ?? '').replace(/^c/, '') || 0)
  const to = Math.min(users, from + Number(query.get('count') ?? 100))
  const next = to < users ? { nextCursor: `c${to}` } : {}
  send(response, 200, { Resources: range(from, to), ...next, ...changes })
}

function refuse(status: number, headers = {}): (turn: Turn) => void {
  return ({ response }) => {
    send(response, status, { status: String(status), detail: 'not now' }, headers)
  }
}

/** A right page but for the second request. */
function onSecond(other: (turn: Turn) => void): (turn: Turn) => void {
  return (turn) => (turn.count === 2 ? other(turn) : page(turn))
}

const html = '<!doctype html><title>Log in</title><form><input name="password"></form>'

/** Writes for ever, as fast as it is read. */
function flood(
  { response, wrote }: Turn,
  begin: string,
  part: string,
  headers = {},
  status = 200,
): void {
  response.writeHead(status, { 'content-type': type, ...headers })
  response.write(begin)
  const bytes = Buffer.from(part.repeat(Math.ceil(65_536 / part.length)))
  const more = (): void => {
    while (!response.destroyed && response.write(bytes)) wrote(bytes.length)
    wrote(bytes.length)
  }
  response.on('drain', more)
  more()
}

const misbehaviours = {
  diesOnPage3: (turn: Turn) => {
    if (turn.count < 3) page(turn)
    else turn.request.socket.destroy()
  },
  breaksOffOnPage2: onSecond(({ response }) => {
    response.writeHead(200, { 'content-type': type, 'content-length': '5000' })
    response.write('{"totalResults":25,"Resources":[')
    setTimeout(() => response.destroy(), 20)
  }),
  announcesAndSendsNone: (turn: Turn) => page(turn, { totalResults: 1000, Resources: [] }),
  announcesWithoutResources: (turn: Turn) =>
    page(turn, { totalResults: 1000, Resources: undefined }),
  nothingPerPage: (turn: Turn) =>
    turn.count === 1 ? page(turn) : page(turn, { itemsPerPage: 0, Resources: [] }),
  samePageForEver: (turn: Turn) => page(turn, { totalResults: 1_000_000, Resources: range(0, 10) }),
  repeatsAnId: (turn: Turn) => {
    if (turn.count === 1) page(turn)
    else page(turn, { Resources: [user(3), ...range(11, 20)] })
  },
  announcesTooMuch: (turn: Turn) => page(turn, { totalResults: 1e12 }),
  endlessPages: (turn: Turn) => {
    const from = (turn.count - 1) * 10
    page(turn, { totalResults: 1_000_000, Resources: range(from, from + 10) })
  },
  noTotal: (turn: Turn) => page(turn, { totalResults: undefined }),
  badTotal: (turn: Turn) => page(turn, { totalResults: 'many' }),
  announcesItsPage: (turn: Turn) => {
    // Its pages have no more than seven, whatever is asked for.
    const from = Number(turn.query.get('startIndex')) - 1
    const Resources = range(from, Math.min(from + 7, turn.users))
    page(turn, { totalResults: Resources.length, Resources })
  },
  growsAfterItsPage: (turn: Turn) =>
    page({ ...turn, users: turn.users + (turn.count > 1 ? 1 : 0) }),
  repeatsBeyondTheEnd: (turn: Turn) => {
    const start = Number(turn.query.get('startIndex'))
    page(turn, start > turn.users ? { Resources: range(0, 10) } : {})
  },
  refusesBeyondTheEnd: (turn: Turn) => {
    if (Number(turn.query.get('startIndex')) > turn.users) refuse(400)(turn)
    else page(turn)
  },
  sendsMore: (turn: Turn) => page(turn, { totalResults: 5 }),
  html: ({ response }: Turn) => send(response, 200, html, { 'content-type': 'text/html' }),
  htmlAsJson: ({ response }: Turn) => send(response, 200, html),
  htmlOnPage2: onSecond(({ response }) =>
    send(response, 200, html, { 'content-type': 'text/html' }),
  ),
  cutJson: ({ response }: Turn) => send(response, 200, '{"totalResults":1,"Resources":[{"id"'),
  notUtf8: ({ response }: Turn) => {
    response.writeHead(200, { 'content-type': type })
    response.end(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))
  },
  otherJson: ({ response }: Turn) => send(response, 200, { users: [] }),
  bareList: ({ response }: Turn) => send(response, 200, []),
  noIds: (turn: Turn) => page(turn, { Resources: [{ userName: 'x' }] }),
  noContent: ({ response }: Turn) => send(response, 204, ''),
  redirectElsewhere: ({ response }: Turn) =>
    send(response, 302, '', { location: 'https://login.example.com/' }),
  redirectToLogin: ({ response }: Turn) => send(response, 302, '', { location: '/login' }),
  growsOnce: (turn: Turn) => {
    // The first pass sees one user less.
    page({ ...turn, users: turn.count === 1 ? turn.users - 1 : turn.users })
  },
  losesOne: (turn: Turn) => {
    // The first page of the first pass has a user that is gone by the next page.
    if (turn.count > 1) page(turn)
    else page(turn, { totalResults: turn.users + 1, Resources: [user(999), ...range(0, 4)] })
  },
  growsAlways: (turn: Turn) => page({ ...turn, users: turn.users + turn.count }),
  failsOnce: onSecond(refuse(500)),
  failsAlways: refuse(500),
  failsFromPage2: (turn: Turn) => (turn.count === 1 ? page(turn) : refuse(500)(turn)),
  busySeconds: onSecond(refuse(429, { 'retry-after': '1' })),
  busyDate: onSecond((turn) => {
    // Whole seconds: this is between one and two from now.
    const at = new Date(Date.now() + 2000).toUTCString()
    refuse(503, { 'retry-after': at })(turn)
  }),
  busyWithoutTime: onSecond(refuse(429)),
  busyForLong: onSecond(refuse(429, { 'retry-after': '86400' })),
  busyAlways: refuse(429, { 'retry-after': '0' }),
  refusesLogin: refuse(401),
  refusesLoginOnPage2: onSecond(refuse(401)),
  refusesAccess: refuse(403),
  knowsNoUsers: refuse(404),
  refusesFilter: (turn: Turn) => {
    if (!turn.query.has('filter')) page(turn)
    else send(turn.response, 400, { scimType: 'invalidFilter', detail: 'no such filter' })
  },
  ignoresFilter: (turn: Turn) => page(turn),
  repeatsCredentials: ({ request, response }: Turn) =>
    send(response, 400, {
      detail: `you sent ${request.headers.authorization}\n${'x'.repeat(999)}`,
    }),
  giant: (turn: Turn) =>
    flood(turn, '{"totalResults":9,"Resources":[', `${JSON.stringify(user(1))},`),
  giantByItsHeader: (turn: Turn) =>
    flood(turn, '{"totalResults":9,"Resources":[', '{},', { 'content-length': '5000000000' }),
  giantText: (turn: Turn) => flood(turn, '{"totalResults":9,"x":"', 'x'),
  giantRefusal: (turn: Turn) => flood(turn, '{"detail":"', 'x', {}, 400),
  deep: (turn: Turn) => flood(turn, '{"totalResults":9,"x":', '['),
  manyValues: (turn: Turn) => flood(turn, '{"totalResults":9,"x":[[]', ',[]'),
  silent: () => undefined,
  silentInTheBody: ({ response }: Turn) => {
    response.writeHead(200, { 'content-type': type })
    response.write('{"totalResults":9')
  },
  cursors: (turn: Turn) => cursorPage(turn),
  cursorsWithTotal: (turn: Turn) => cursorPage(turn, { totalResults: turn.users }),
  cursorsWithWrongTotal: (turn: Turn) => cursorPage(turn, { totalResults: turn.users + 1 }),
  repeatsCursor: (turn: Turn) => {
    const from = (turn.count - 1) * 10
    cursorPage(turn, { Resources: range(from, from + 10), nextCursor: `c${turn.count % 2}` })
  },
  emptyCursorPages: (turn: Turn) =>
    cursorPage(turn, { Resources: [], nextCursor: `c${turn.count}` }),
  someEmptyCursorPages: (turn: Turn) => {
    if (turn.count % 2 === 1) cursorPage(turn)
    else cursorPage(turn, { Resources: [], nextCursor: `c0${turn.query.get('cursor')?.slice(1)}` })
  },
  cursorExpires: (turn: Turn) => {
    if (turn.count === 1) cursorPage(turn)
    else send(turn.response, 400, { scimType: 'expiredCursor', detail: 'too late' })
  },
} satisfies Record<string, (turn: Turn) => void>

/** The ways to misbehave (a few of them are only unusual). */
export type Misbehaviour = keyof typeof misbehaviours

/** Starts a server on a loopback port; with a certificate it has TLS. */
export async function startHostileScim(certificate?: Certificate): Promise<HostileScim> {
  const requests: string[] = []
  let act: (turn: Turn) => void = page
  let users = 25
  let pagination: object | null = { cursor: false, index: true }
  let count = 0
  let written = 0
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    requests.push(request.url ?? '')
    const url = new URL(request.url ?? '', 'http://localhost')
    response.on('error', () => undefined)
    if (url.pathname === '/scim/Users') {
      count += 1
      const wrote = (bytes: number): void => {
        written += bytes
      }
      act({ request, response, query: url.searchParams, count, users, wrote })
    } else if (url.pathname === '/login') {
      send(response, 200, html, { 'content-type': 'text/html' })
    } else if (url.pathname === '/scim/ServiceProviderConfig' && pagination !== null) {
      send(response, 200, { filter: { supported: true, maxResults: 1000 }, pagination })
    } else {
      send(response, 404, { detail: 'not here' })
    }
  }
  const server =
    certificate === undefined ? createServer(answer) : createTlsServer(certificate, answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `${certificate === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}/scim`,
    requests,
    behave: (misbehaviour, number = 25) => {
      act = misbehaviour === null ? page : misbehaviours[misbehaviour]
      users = number
      count = 0
      written = 0
      requests.length = 0
    },
    says: (given) => {
      pagination = given
    },
    get written() {
      return written
    },
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
