// Serves routes under all their prefixes by the real server, with a gate that takes the caller from the test.
import pino from 'pino'
import type { FastifyInstance, InjectOptions } from 'fastify'
import type { Caller } from '../../src/core/access.ts'
import type { Route } from '../../src/api/route.ts'
import { createServer } from '../../src/api/server.ts'
import { registerRoutes } from '../../src/api/versions.ts'
import { unwatchedApi } from '../../src/api/watch.ts'
import type { Queryable } from '../../src/store/database.ts'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
  /** The body as JSON.parse gives it; what it holds is for the test to know. */
  readonly body: ReturnType<typeof JSON.parse>
}

export interface RouteServer {
  /** Calls as `caller`, by default the one that `serveRoutes` was given. */
  call(
    method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    url: string,
    body?: unknown,
    options?: { readonly caller?: Caller; readonly type?: string },
  ): Promise<Answer>
  readonly app: FastifyInstance
  close(): Promise<void>
}

/** Starts the routes; nothing listens, calls are injected. */
export async function serveRoutes(routes: readonly Route[], admin: Caller): Promise<RouteServer> {
  const app = await createServer({
    settings: { tls: undefined, trustProxy: false },
    log: pino({ level: 'silent' }),
    onDenied: () => undefined,
    isDraining: () => false,
    isStuck: () => false,
    watch: unwatchedApi,
  })
  let current = admin
  await registerRoutes(app, routes, {
    authenticate: async () => current,
    admit: async () => undefined,
  })
  return {
    app,
    call: async (method, url, body, options = {}) => {
      current = options.caller ?? admin
      const request: InjectOptions = { method, url }
      if (body !== undefined) {
        request.payload = JSON.stringify(body)
        request.headers = { 'content-type': options.type ?? 'application/json' }
      }
      const response = await app.inject(request)
      const isJson = String(response.headers['content-type'] ?? '').includes('json')
      return {
        status: response.statusCode,
        headers: response.headers,
        text: response.body,
        body: isJson && response.body !== '' ? response.json() : null,
      }
    },
    close: () => app.close(),
  }
}

/** Adds an identity and gives a caller of this level that acts as it. */
export async function makeCaller(
  q: Queryable,
  level: Caller['level'],
  sourceIds: readonly string[] | null = null,
): Promise<Caller> {
  const { rows } = await q.query<{ id: string }>(
    `insert into identity (id, name, alias) values (gen_random_uuid(), $1::text, $1::text)
     returning replace(id::text, '-', '') as id`,
    [`${level} of the test`],
  )
  const identityId = rows[0]?.id ?? ''
  return {
    clientId: `client-${identityId.slice(0, 8)}`,
    clientName: 'a test',
    identityId,
    identityName: `${level} of the test`,
    level,
    scopes: ['sp:scopes:all'],
    sourceIds,
  }
}
