// Serves each route under every version prefix that has it, and lets nobody in before token, level and scope are checked.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { denial } from '../core/access.ts'
import type { Caller } from '../core/access.ts'
import { RequestError } from '../core/errors.ts'
import { WrongMethod } from './errors.ts'
import type { Call, Route, Version } from './route.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route and the version that it is served under; the OpenAPI document is made of these. */
    served?: { readonly route: Route; readonly version: Version }
  }
}

/** Who may come in: `authenticate` throws `unauthorized`, `admit` throws when the client calls too often. */
export interface Gate {
  readonly authenticate: (request: FastifyRequest) => Promise<Caller>
  readonly admit: (request: FastifyRequest, caller: Caller, version: Version) => Promise<void>
}

/** Methods that a path may be asked with and that answer 405 where it lacks them. HEAD comes with GET. */
const everyMethod = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

/** The path of a route under one version: `/beta/sources/:id`, `/sources/v1/:id`, `/muster/v1/…`. */
export function versionedPath(version: Version, path: string): string {
  if (version === 'muster') return `/muster/v1${path}`
  if (version !== 'v1') return `/${version}${path}`
  const [, service = '', ...rest] = path.split('/')
  return ['', service, 'v1', ...rest].join('/')
}

/** Registers all routes under all their versions, and 405 for the methods that a path does not have. */
export async function registerRoutes(
  app: FastifyInstance,
  routes: readonly Route[],
  gate: Gate,
): Promise<void> {
  const parsed = routes.filter((route) => route.streams !== true)
  const streamed = routes.filter((route) => route.streams === true)
  const methods = new Map<string, Set<string>>()
  for (const route of parsed) serve(app, route, gate, methods)
  await app.register(async (scope) => {
    // The bodies of these are read by their own code, whatever their media type is.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null))
    for (const route of streamed) serve(scope, route, gate, methods)
  })
  refuseOtherMethods(app, methods)
}

/** Registers 405 for every method that a path lacks; `methods` tells what each path has. */
export function refuseOtherMethods(
  app: FastifyInstance,
  methods: ReadonlyMap<string, ReadonlySet<string>>,
): void {
  for (const [url, known] of methods) {
    const present = known.has('GET') ? new Set([...known, 'HEAD']) : known
    const missing = everyMethod.filter((method) => !present.has(method))
    app.route({
      method: missing,
      url,
      schema: { hide: true },
      // Thrown before the body is looked at, or an unknown media type would answer first.
      onRequest: async (request) => {
        throw new WrongMethod(request.method, [...present])
      },
      handler: async () => undefined,
    })
  }
}

function serve(
  scope: FastifyInstance,
  route: Route,
  gate: Gate,
  methods: Map<string, Set<string>>,
): void {
  for (const version of route.versions) {
    const url = versionedPath(version, route.path)
    const known = methods.get(url) ?? new Set<string>()
    methods.set(url, known.add(route.method))
    scope.route({
      method: route.method,
      url,
      // The document is made from `served`; here stands only what is checked.
      schema: {
        ...(route.query === undefined ? {} : { querystring: route.query }),
        ...(route.body === undefined || route.streams === true ? {} : { body: route.body }),
      },
      config: { served: { route, version }, streams: route.streams === true },
      onRequest: async (request, reply) => {
        announceDeprecation(route, version, reply)
        await enter(request, route, version, gate)
      },
      preParsing: async (request) => refuseMediaType(route, request),
      handler: (request, reply) => respond(route, request, reply),
    })
  }
}

async function enter(
  request: FastifyRequest,
  route: Route,
  version: Version,
  gate: Gate,
): Promise<void> {
  const caller = await gate.authenticate(request)
  request.call = { version, caller, trackingId: request.id }
  await gate.admit(request, caller, version)
  const reason = denial(caller, route.levels, route.scopes)
  if (reason !== null) throw new RequestError('forbidden', reason)
}

async function respond(
  route: Route,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  reply.code(route.status)
  const body = await route.handle(request, reply, callOf(request))
  if (reply.sent || body === reply) return reply
  // Returned from here, undefined would leave the request unanswered; a route without a body means exactly that.
  return reply.send(body)
}

/** The call of a request that has entered. */
function callOf(request: FastifyRequest): Call {
  if (request.call === null) throw new Error('A handler ran before its caller was known.')
  return request.call
}

function announceDeprecation(route: Route, version: Version, reply: FastifyReply): void {
  if (route.deprecatedIn?.includes(version) === true) reply.header('X-Deprecated', 'true')
}

/** 415 for a media type that the route does not name; a body without a type and a route that streams pass. */
function refuseMediaType(route: Route, request: FastifyRequest): undefined {
  if (route.streams === true || route.consumes === undefined) return undefined
  const given = request.headers['content-type']
  if (given === undefined) return undefined
  const [type = ''] = given.split(';', 1)
  if (route.consumes.includes(type.trim().toLowerCase())) return undefined
  throw new RequestError(
    'unsupported_media_type',
    `The content type "${type.trim().slice(0, 100)}" is not taken here, only ${route.consumes.join(', ')}.`,
  )
}
