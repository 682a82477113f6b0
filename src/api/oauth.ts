// POST /oauth/token and GET /oauth/info: how clients get a token (contract.md section 2.13).
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { AuditEntry } from '../store/audit.ts'
import type { StoredClient } from '../store/clients.ts'
import { pod, secondsLeft } from './auth.ts'
import type { Auth } from './auth.ts'
import { verifySecret } from './client-secret.ts'
import { RetryLater } from './errors.ts'
import { countGuesses } from './guesses.ts'
import { openLanes } from './lanes.ts'
import { readParameters } from './token-parameters.ts'
import { refuseOtherMethods } from './versions.ts'

export interface TokenParts {
  readonly auth: Auth
  readonly findClient: (id: string) => Promise<StoredClient | null>
  /** Notes that the client obtained a token. */
  readonly noteUse: (id: string) => Promise<void>
  readonly audit: (entry: AuditEntry) => Promise<void>
  /** The URL that this server listens at, without a slash at the end; a trusted proxy knows better. */
  readonly baseUrl: () => string
}

/** An error of RFC 6749 section 5.2. */
interface Refusal {
  readonly status: 400 | 401
  readonly error: string
  readonly description: string
}

const mostBodyBytes = 64 * 1024
const longestClientId = 128
const guessWindowMs = 60_000
/** Wrong secrets for one client from one address, and from all addresses, within a minute. */
const mostGuesses = { fromOneAddress: 10, fromAll: 100 } as const
/** Logins of unknown clients that are written to the audit in a minute; strangers must not be able to fill it. */
const mostUnknownAudited = 60

const unknownClient: Refusal = {
  status: 401,
  error: 'invalid_client',
  description: 'The client id or the client secret is not right.',
}

const tokenDocument = {
  operationId: 'createToken',
  summary: 'Gives an access token for client credentials',
  description: 'The parameters may also come in the query, as multipart, as JSON or by HTTP Basic.',
  tags: ['Tokens'],
  security: [],
  consumes: ['application/x-www-form-urlencoded'],
  body: Type.Object({
    grant_type: Type.Literal('client_credentials'),
    client_id: Type.String(),
    client_secret: Type.String(),
  }),
  response: {
    200: Type.Object(
      {
        access_token: Type.String(),
        token_type: Type.String(),
        expires_in: Type.Integer(),
        scope: Type.String(),
        tenant_id: Type.String(),
        pod: Type.String(),
        org: Type.String(),
        identity_id: Type.String(),
        user_name: Type.String(),
        jti: Type.String(),
      },
      { description: 'A token.' },
    ),
    401: Type.Object(
      { error: Type.String(), error_description: Type.String() },
      { description: 'The client id or the client secret is not right.' },
    ),
  },
}

const infoDocument = {
  operationId: 'getDeployment',
  summary: 'Tells which deployment this is and where it gives tokens',
  tags: ['Tokens'],
  security: [],
  response: {
    200: Type.Object(
      {
        tenantId: Type.String(),
        tenantName: Type.String(),
        authorizeEndpoint: Type.String({
          description: 'Nothing answers there: nobody logs in here.',
        }),
        tokenEndpoint: Type.String(),
        cloudDomainUrl: Type.String(),
        logoutUrl: Type.String({ description: 'Nothing answers there either.' }),
        pod: Type.String(),
      },
      { description: 'The deployment.' },
    ),
  },
}

/** Registers the two endpoints. */
export async function registerOauth(app: FastifyInstance, parts: TokenParts): Promise<void> {
  const login = openLogin(parts)
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser(
      '*',
      { parseAs: 'buffer', bodyLimit: mostBodyBytes },
      (_request, body, done) => done(null, body),
    )
    scope.post('/oauth/token', { config: { document: tokenDocument } }, async (request, reply) => {
      const parameters = await readParameters(request)
      if ('error' in parameters) return refuse(reply, { status: 400, ...parameters })
      const refusal = checkGrant(parameters.values)
      if (refusal !== null) return refuse(reply, refusal)
      const outcome = await login(parameters.values, request)
      if ('error' in outcome) {
        if (parameters.basic) reply.header('www-authenticate', 'Basic realm="muster"')
        return refuse(reply, outcome)
      }
      return reply.header('pragma', 'no-cache').send(await grant(parts, outcome))
    })
  })
  app.get('/oauth/info', { config: { document: infoDocument } }, (request, reply) =>
    reply.send(describeDeployment(parts, proxiedAddress(request) ?? parts.baseUrl())),
  )
  refuseOtherMethods(
    app,
    new Map([
      ['/oauth/token', new Set(['POST'])],
      ['/oauth/info', new Set(['GET'])],
    ]),
  )
}

function checkGrant(values: ReadonlyMap<string, string>): Refusal | null {
  const type = values.get('grant_type')
  if (type === undefined || type === '') {
    return { status: 400, error: 'invalid_request', description: 'The grant_type is missing.' }
  }
  if (type === 'client_credentials') return null
  return {
    status: 400,
    error: 'unsupported_grant_type',
    description: 'The grant_type must be client_credentials.',
  }
}

type Login = (
  values: ReadonlyMap<string, string>,
  request: FastifyRequest,
) => Promise<StoredClient | Refusal>

/**
 * Checks a secret. The tries of one client stand in line, so that a thousand guesses at once are counted one by one
 * while a rightful client may ask in parallel; all unknown clients share one line.
 */
function openLogin(parts: TokenParts): Login {
  const here = countGuesses(mostGuesses.fromOneAddress, guessWindowMs, () => performance.now())
  const anywhere = countGuesses(mostGuesses.fromAll, guessWindowMs, () => performance.now())
  const unknown = countGuesses(mostUnknownAudited, guessWindowMs, () => performance.now())
  const lanes = openLanes(200)

  return async (values, request) => {
    const id = values.get('client_id') ?? ''
    const secret = values.get('client_secret') ?? ''
    if (id === '' || secret === '') {
      return { ...unknownClient, description: 'The client_id or the client_secret is missing.' }
    }
    const client = id.length <= longestClientId ? await findSafely(parts, id) : null
    const place = `${request.ip} ${id.slice(0, longestClientId)}`
    return lanes.run(client === null ? 'unknown' : `client ${client.id}`, async () => {
      const wait = Math.max(
        here.waitSeconds(place),
        (client && anywhere.waitSeconds(client.id)) || 0,
      )
      if (wait > 0) {
        throw new RetryLater('too_many_requests', 'Too many wrong secrets for this client.', wait)
      }
      const right = await verifySecret(secret, client?.secret ?? null)
      if (right && client !== null && client.revoked === null && secondsLeft(client) > 0) {
        here.right(place)
        await noteLogin(parts, client, request)
        return client
      }
      here.wrong(place)
      if (client !== null) anywhere.wrong(client.id)
      else if (unknown.waitSeconds('') > 0) return unknownClient
      else unknown.wrong('')
      await noteFailure(parts, id, client, request)
      return unknownClient
    })
  }
}

/** A client id with a NUL names no client; the database would refuse it as text. */
async function findSafely(parts: TokenParts, id: string): Promise<StoredClient | null> {
  return id.includes('\0') ? null : parts.findClient(id)
}

async function noteLogin(
  parts: TokenParts,
  client: StoredClient,
  request: FastifyRequest,
): Promise<void> {
  await parts.noteUse(client.id)
  await parts.audit({
    action: 'CLIENT_LOGIN',
    outcome: 'success',
    caller: null,
    clientId: client.id,
    targetType: 'CLIENT',
    targetId: client.id,
    targetName: client.name,
    trackingId: request.id,
  })
}

async function noteFailure(
  parts: TokenParts,
  id: string,
  client: StoredClient | null,
  request: FastifyRequest,
): Promise<void> {
  const reason = whyRefused(client)
  await parts.audit({
    action: 'CLIENT_LOGIN',
    outcome: 'failed',
    caller: null,
    clientId: id.slice(0, longestClientId),
    targetType: 'CLIENT',
    targetId: id.slice(0, longestClientId),
    ...(client === null ? {} : { targetName: client.name }),
    trackingId: request.id,
    detail: `The login was refused: ${reason}.`,
  })
}

function whyRefused(client: StoredClient | null): string {
  if (client === null) return 'no such client'
  if (client.revoked !== null) return 'revoked client'
  return secondsLeft(client) > 0 ? 'wrong secret' : 'expired client'
}

async function grant(parts: TokenParts, client: StoredClient): Promise<Record<string, unknown>> {
  const { token, jti, seconds } = await parts.auth.issue(client)
  return {
    access_token: token,
    token_type: 'bearer',
    expires_in: seconds,
    scope: client.scopes.join(' '),
    tenant_id: parts.auth.deploymentId,
    internal: false,
    pod,
    org: parts.auth.org,
    identity_id: client.identityId,
    user_id: client.identityId,
    user_name: client.identityName,
    strong_auth: true,
    strong_auth_supported: true,
    client_id: client.id,
    jti,
  }
}

/**
 * The address that the client called as a trusted proxy tells it; null without one. Whatever else a request says of its
 * host is the word of a stranger, who would have others sent to it.
 */
function proxiedAddress(request: FastifyRequest): string | null {
  // The addresses that are believed: more than that of the socket only when the socket is of a trusted proxy.
  if ((request.ips?.length ?? 0) < 2) return null
  const { host, protocol } = request
  return /^(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i.test(host)
    ? `${protocol === 'https' ? 'https' : 'http'}://${host}`
    : null
}

function describeDeployment(parts: TokenParts, base: string): Record<string, string> {
  return {
    tenantId: parts.auth.deploymentId,
    tenantName: parts.auth.org,
    authorizeEndpoint: `${base}/oauth/authorize`,
    tokenEndpoint: `${base}/oauth/token`,
    cloudDomainUrl: base,
    logoutUrl: `${base}/logout`,
    pod,
  }
}

function refuse(reply: FastifyReply, refusal: Refusal): FastifyReply {
  return reply
    .code(refusal.status)
    .send({ error: refusal.error, error_description: refusal.description })
}
