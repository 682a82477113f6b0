// Puts the API together: server, tokens, docs, health and the routes it is given.
import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { recordAudit } from '../store/audit.ts'
import type { AuditEntry } from '../store/audit.ts'
import { getClient, touchClient } from '../store/clients.ts'
import type { Database } from '../store/database.ts'
import type { SigningKeys } from '../store/signing-keys.ts'
import { auditRoutes } from './audit.ts'
import { openAuth } from './auth.ts'
import { clientRoutes } from './clients.ts'
import { RetryLater } from './errors.ts'
import { countGuesses } from './guesses.ts'
import type { PageParts } from './health.ts'
import type { Logger } from './logging.ts'
import { registerPages } from './management.ts'
import { registerOauth } from './oauth.ts'
import { registerDocs } from './openapi.ts'
import { personalTokenRoutes } from './personal-tokens.ts'
import type { Route } from './route.ts'
import { createServer } from './server.ts'
import type { ServerSettings } from './server.ts'
import { registerRoutes } from './versions.ts'
import type { Gate } from './versions.ts'
import type { ApiWatch } from './watch.ts'

export interface ApiSettings extends ServerSettings {
  /** Requests that a client may make in ten seconds to one version of the API; 0 means any number. */
  readonly rateLimit: number
  /** The name of the tenant in tokens. */
  readonly org: string
}

export interface ApiParts {
  readonly db: Database
  readonly keys: SigningKeys
  readonly deploymentId: string
  readonly settings: ApiSettings
  readonly log: Logger
  /** The version of Muster, for the document. */
  readonly version: string
  readonly baseUrl: () => string
  /** What health and metrics tell; null where another port serves them. */
  readonly pages: Pick<PageParts, 'readiness' | 'metrics'> | null
  /** True while the database swallows statements. */
  readonly isStuck: () => boolean
  readonly watch: ApiWatch
  /** All routes but those of clients and audit, which are part of this. */
  readonly routes: readonly Route[]
}

/** The API before it listens. */
export interface Api {
  readonly app: FastifyInstance
  /** True after `drain`. */
  readonly isDraining: () => boolean
  /** From now on readiness says no and every answer ends its connection. */
  drain(): void
}

const rateWindowMs = 10_000
/** Refused tokens of a known client that are written to the audit in a minute; a poller may have an old one all day. */
const mostRefusalsAudited = 10

/** Builds the API; the caller makes it listen and closes it. */
export async function assembleApi(parts: ApiParts): Promise<Api> {
  const { db, log } = parts
  let draining = false
  const isDraining = () => draining
  const audit = (entry: AuditEntry) => recordAudit(db, entry)
  // A refusal is sent whether or not it could be written down.
  const auditQuietly = (entry: AuditEntry) =>
    void audit(entry).catch((error: unknown) =>
      log.error({ err: error, trackingId: entry.trackingId }, 'a refusal is missing in the audit'),
    )
  const refusals = countGuesses(mostRefusalsAudited, 60_000, () => performance.now())
  const auth = openAuth({
    deploymentId: parts.deploymentId,
    org: parts.settings.org,
    keys: parts.keys,
    findClient: (id) => getClient(db, id),
    onRefused: (clientId, reason, request) => {
      if (refusals.waitSeconds(clientId) > 0) return
      refusals.wrong(clientId)
      auditQuietly({ ...denied(request, reason), caller: null, clientId })
    },
  })
  const app = await createServer({
    settings: parts.settings,
    log,
    isDraining,
    isStuck: parts.isStuck,
    watch: parts.watch,
    onDenied: (call, reason, request) =>
      auditQuietly({ ...denied(request, reason), caller: call.caller }),
  })
  const own = [
    ...clientRoutes({ db, forgetClient: auth.forget }),
    ...personalTokenRoutes({ db, forgetClient: auth.forget }),
    ...auditRoutes({ db }),
  ]
  const routes = [...own, ...parts.routes]
  await registerDocs(app, parts.version, routes)
  if (parts.pages !== null) {
    const stage = () => (draining ? 'draining' : 'started')
    registerPages(app, { ...parts.pages, stage })
  }
  await registerOauth(app, {
    auth,
    findClient: (id) => getClient(db, id),
    noteUse: (id) => touchClient(db, id),
    audit,
    baseUrl: parts.baseUrl,
  })
  const admit = await openAdmission(app, parts.settings.rateLimit)
  await registerRoutes(app, routes, { authenticate: auth.authenticate, admit })
  return { app, isDraining, drain: () => void (draining = true) }
}

function denied(request: FastifyRequest, reason: string): Omit<AuditEntry, 'caller'> {
  const { served } = request.routeOptions.config
  const params: unknown = request.params
  const id: unknown = params !== null && typeof params === 'object' ? Object.values(params)[0] : ''
  return {
    action: 'ACCESS_DENIED',
    outcome: 'denied',
    targetType: 'OPERATION',
    ...(served === undefined ? {} : { targetName: served.route.operationId }),
    ...(typeof id === 'string' && id !== '' ? { targetId: id } : {}),
    trackingId: request.id,
    detail: reason,
  }
}

/**
 * The rate limit counts in this process: behind a balancer each instance allows the full number. It counts a client,
 * not an address, and each version of the API by itself, as ISC does.
 */
async function openAdmission(app: FastifyInstance, most: number): Promise<Gate['admit']> {
  if (most === 0) return async () => undefined
  await app.register(rateLimit, { global: false })
  const count = app.createRateLimit({
    max: most,
    timeWindow: rateWindowMs,
    keyGenerator: (request) =>
      `${request.call?.caller.clientId ?? ''} ${request.call?.version ?? ''}`,
  })
  return async (request) => {
    const outcome = await count(request)
    if (outcome.isAllowed || !outcome.isExceeded) return
    throw new RetryLater('too_many_requests', 'This client calls too often.', outcome.ttl / 1000)
  }
}
