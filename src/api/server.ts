// The HTTP server: framing, tracking ids, errors, logs. What is served is registered on it by others.
import { createServer as createHttpServer, maxHeaderSize } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { RequestListener, Server, ServerOptions } from 'node:http'
import type { Socket } from 'node:net'
import type { SecureContextOptions } from 'node:tls'
import helmet from '@fastify/helmet'
import { LogController, fastify } from 'fastify'
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { RequestError } from '../core/errors.ts'
import { answerError, newTrackingId, parsedBodyLimit, recognise } from './errors.ts'
import { continueWhenRead, endUnreadBody, limitParsedBody } from './framing.ts'
import { redactUrl } from './logging.ts'
import type { Logger } from './logging.ts'
import type { Call } from './route.ts'
import type { ApiWatch } from './watch.ts'
import { compileValidator } from './validation.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; null until the token is verified, and always null where no token is needed. */
    call: Call | null
  }
  interface FastifyContextConfig {
    /** True when the route reads `request.raw` itself. */
    streams?: boolean
    /** True for health: answered while draining. */
    always?: boolean
  }
}

export interface ServerSettings {
  /** A certificate that was checked, with its key; undefined serves plain HTTP. */
  readonly tls: SecureContextOptions | undefined
  /** Whose X-Forwarded-For and its kin are believed: nobody's, everybody's, of so many hops, of these addresses. */
  readonly trustProxy: boolean | number | readonly string[]
  /** How long a client may take; the usual minute unless set. */
  readonly patience?: Patience
}

/** Milliseconds within which headers, and bodies that are parsed in memory, have to be there. */
export interface Patience {
  readonly headersMs: number
  /** How often late headers are looked for. */
  readonly checkMs: number
  readonly parsedBodyMs: number
}

/** Told of every refused call by a known caller, for the audit. */
type DenialListener = (call: Call, reason: string, request: FastifyRequest) => void

export interface ServerParts {
  readonly settings: ServerSettings
  readonly log: Logger
  readonly onDenied: DenialListener
  /** True from the first signal to stop until the end. */
  readonly isDraining: () => boolean
  /** True while the database swallows statements: calls are refused then, or they would wait for as long as it does. */
  readonly isStuck: () => boolean
  readonly watch: ApiWatch
}

/** The names of the response headers that carry the tracking id; the first is what ISC sends. */
const trackingHeaders = ['SLPT-Request-ID', 'X-Request-Id'] as const

// Headers must be there within a minute: the limit plus the interval in which Node looks for late ones.
// A body that is parsed is at most 4 MiB; one that takes longer than a minute holds a connection for nothing.
const usualPatience: Patience = { headersMs: 50_000, checkMs: 5_000, parsedBodyMs: 60_000 }
// Longer than the minute that load balancers keep an idle connection, or they send a request into one that just closed.
const keepAliveMs = 72_000

/** Builds the server; it listens to nothing yet. */
export async function createServer(parts: ServerParts): Promise<FastifyInstance> {
  const loggerInstance: FastifyBaseLogger = parts.log
  const app = fastify({
    loggerInstance,
    logController: new LogController({
      disableRequestLogging: true,
      requestIdLogLabel: 'trackingId',
    }),
    requestIdHeader: false,
    genReqId: newTrackingId,
    trustProxy: proxies(parts.settings.trustProxy),
    bodyLimit: parsedBodyLimit,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    exposeHeadRoutes: true,
    routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, maxParamLength: 500 },
    serverFactory: (listener) => makeServer(parts.settings, listener),
    rewriteUrl: (request) => originForm(request.url ?? '/'),
    frameworkErrors: (error, request, reply) => {
      setTracking(request, reply)
      sendError(parts, error, request, reply)
    },
    clientErrorHandler: (error, socket) => refuseFraming(parts.log, error, socket),
  })
  app.decorateRequest('call', null)
  app.setValidatorCompiler(compileValidator)
  // Fastify's serializer writes null as "" and drops keys that a schema does not name. The schemas document only.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data))
  readJsonBodies(app)
  await app.register(helmet, helmetOptions(parts.settings.tls !== undefined))
  addHooks(app, parts)
  app.setErrorHandler((error, request, reply) => sendError(parts, error, request, reply))
  app.setNotFoundHandler((request, reply) => {
    const error = new RequestError('not_found', 'There is nothing at this path.', {
      hint: 'Check the path and its version prefix; /docs lists them.',
    })
    sendError(parts, error, request, reply)
  })
  return app
}

function proxies(
  trusted: ServerSettings['trustProxy'],
): boolean | string[] | ((address: string, hop: number) => boolean) {
  if (typeof trusted === 'boolean') return trusted
  if (typeof trusted === 'number') return (_address, hop) => hop < trusted
  return [...trusted]
}

function makeServer({ tls, patience }: ServerSettings, listener: RequestListener): Server {
  const { headersMs, checkMs } = patience ?? usualPatience
  const http: ServerOptions = {
    headersTimeout: headersMs,
    // A rightful upload may take hours; its own reader watches its rate.
    requestTimeout: 0,
    connectionsCheckingInterval: checkMs,
    keepAliveTimeout: keepAliveMs,
  }
  const server =
    tls === undefined
      ? createHttpServer(http, listener)
      : createHttpsServer({ ...http, ...tls }, listener)
  continueWhenRead(server)
  return server
}

/** `GET http://host/path` → `/path`: the form that a client sends to a proxy is the same request. */
function originForm(url: string): string {
  const absolute = /^https?:\/\/[^/?]*/i.exec(url)
  if (absolute === null) return url
  const rest = url.slice(absolute[0].length)
  return rest.startsWith('/') ? rest : `/${rest}`
}

function readJsonBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  // Keys named __proto__ or constructor.prototype are refused: 400, nothing changed.
  const parse = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser(
    /^application\/([\w.-]+\+)?json(;|$)/,
    { parseAs: 'string' },
    (request, body, done) => {
      // SDKs name JSON as the type of a body that they do not send.
      if (body === '') return done(null)
      return parse(request, String(body), (error, value) => {
        if (error === null) return done(null, value)
        return done(
          new RequestError('bad_request', 'The body is not valid JSON.', {
            hint: 'Send one JSON value, without keys named __proto__ or constructor.',
            cause: error,
          }),
        )
      })
    },
  )
}

function helmetOptions(tls: boolean): object {
  return {
    global: true,
    // Nothing here is a page but /docs, which sets its own policy.
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
    frameguard: { action: 'deny' },
    referrerPolicy: { policy: 'no-referrer' },
    strictTransportSecurity: tls ? { maxAge: 31_536_000 } : false,
  }
}

function addHooks(app: FastifyInstance, parts: ServerParts): void {
  app.addHook('onRequest', async (request, reply) => {
    setTracking(request, reply)
    watchCall(parts.watch, request, reply)
    if (hasDotSegment(request.url)) {
      throw new RequestError('bad_request', 'The path holds the segment "." or "..".')
    }
    if (request.routeOptions.config.always === true) return
    if (parts.isDraining()) {
      throw new RequestError('unavailable', 'This server is stopping.', {
        hint: 'Send the request again: another server or the next start answers it.',
      })
    }
    if (parts.isStuck()) {
      throw new RequestError('unavailable', 'The database does not answer.')
    }
  })
  const { parsedBodyMs } = parts.settings.patience ?? usualPatience
  app.addHook('preParsing', async (request) => {
    if (request.routeOptions.config.streams !== true) limitParsedBody(request, parsedBodyMs)
  })
  app.addHook('onSend', async (request, reply, payload) => {
    endUnreadBody(request, reply)
    if (parts.isDraining()) reply.header('connection', 'close')
    // Answers hold accounts and tokens; nothing between us and the client may keep them.
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
    return payload
  })
  app.addHook('onResponse', async (request, reply) => {
    request.log.info(
      {
        method: request.method,
        url: redactUrl(request.url),
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
        client: request.call?.caller.clientId ?? null,
        address: request.ip,
      },
      'request',
    )
  })
}

/** Health and metrics are asked for all day and would drown what they tell of. */
function watchCall(watch: ApiWatch, request: FastifyRequest, reply: FastifyReply): void {
  if (request.routeOptions.config.always === true) return
  const { method, id: trackingId, headers } = request
  const [path = ''] = request.url.split('?', 1)
  const end = watch.begin({
    trackingId,
    method,
    route: request.routeOptions.url ?? null,
    // As in the log: a segment that is no plain word may be the name of an account.
    path: redactUrl(path),
    headers,
  })
  // It comes also when the client goes in the middle, which `onResponse` does not.
  reply.raw.once('close', () =>
    end(reply.raw.writableFinished ? reply.statusCode : null, reply.elapsedTime / 1000),
  )
}

function setTracking(request: FastifyRequest, reply: FastifyReply): void {
  for (const header of trackingHeaders) reply.header(header, request.id)
}

/** Browsers resolve `..` before they send; a path that still holds it, in whatever spelling, was made by hand. */
function hasDotSegment(url: string): boolean {
  const [path = ''] = url.split('?', 1)
  if (!path.includes('.') && !/%2e/i.test(path)) return false
  return path.split('/').some((segment) => /^(\.|%2e){1,2}$/i.test(segment))
}

function sendError(
  parts: ServerParts,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const known = recognise(error)
  const answer = answerError(known, request.id)
  if (answer.fault) {
    request.log.error({ err: known.cause ?? error, code: known.code }, known.message)
  }
  if (known.code === 'forbidden' && request.call !== null) {
    parts.onDenied(request.call, known.message, request)
  }
  void reply
    .code(answer.status)
    .headers(answer.headers)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(answer.body))
}

/** A request that is no HTTP: two lengths, a bare line feed, headers that never end. The connection ends with it. */
function refuseFraming(
  log: Logger,
  error: Error & { code?: string; rawPacket?: unknown },
  socket: Socket,
): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const trackingId = newTrackingId()
  const [status, reason] = isLongLine(error)
    ? ([400, 'The request line is too long'] as const)
    : framingStatus(error.code)
  log.info({ trackingId, status, code: error.code }, 'request that is not HTTP')
  const { body } = answerError(
    new RequestError('bad_request', `The request is not valid HTTP: ${reason}.`, {
      hint: 'Send one Content-Length or chunked framing, and request line and headers of at most 16 KiB: use a shorter filter.',
    }),
    trackingId,
  )
  const text = JSON.stringify(body)
  socket.end(
    [
      `HTTP/1.1 ${status} ${reason}`,
      'Content-Type: application/json; charset=utf-8',
      `Content-Length: ${Buffer.byteLength(text)}`,
      ...trackingHeaders.map((header) => `${header}: ${trackingId}`),
      'Connection: close',
      '',
      text,
    ].join('\r\n'),
  )
}

/** Too long a path is the client's filter, not its headers; every wrong filter gets 400. */
function isLongLine({ code, rawPacket }: Error & { code?: string; rawPacket?: unknown }): boolean {
  if (code !== 'HPE_HEADER_OVERFLOW' || !Buffer.isBuffer(rawPacket)) return false
  // Where the request came in several packets, this one may begin anywhere.
  const begins = /^[A-Z]{3,7} /.test(rawPacket.subarray(0, 8).toString('latin1'))
  const end = rawPacket.indexOf('\n')
  return begins && (end < 0 || end > maxHeaderSize)
}

function framingStatus(code: string | undefined): [number, string] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return [431, 'Request Header Fields Too Large']
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [408, 'Request Timeout']
    default:
      return [400, 'Bad Request']
  }
}
