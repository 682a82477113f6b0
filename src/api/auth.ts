// Access tokens: ES256 JWTs that are signed here and verified on every call (contract.md section 2.13).
import { createHash, randomUUID } from 'node:crypto'
import type { webcrypto } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { SignJWT, decodeProtectedHeader, errors, jwtVerify } from 'jose'
import type { JWTPayload } from 'jose'
import type { Caller } from '../core/access.ts'
import { RequestError } from '../core/errors.ts'
import { toWireId } from '../core/id.ts'
import { clientCaller } from '../store/clients.ts'
import type { Client } from '../store/clients.ts'
import type { SigningKeys } from '../store/signing-keys.ts'

/** How far the clocks of two instances may be apart; a token is never accepted after its own `exp`. */
const skewSeconds = 30
const longestToken = 8_192
const audience = 'urn:muster:api'
/** Headers by which a token would bring its own key or ask for more than we know. */
const foreignHeaders = ['jku', 'jwk', 'x5u', 'x5c', 'crit', 'b64', 'zip']
// A verified signature stays verified; what is remembered is the digest, never the token.
const mostRemembered = 5_000
/** A client that another instance revoked is refused after this time at the latest. */
const clientCacheMs = 2_000

/** The claim `pod`; clients show it and nothing depends on it. */
export const pod = 'local'

interface IssuedToken {
  readonly token: string
  readonly jti: string
  /** How long it is good. */
  readonly seconds: number
}

export interface Auth {
  readonly deploymentId: string
  readonly org: string
  readonly issue: (client: Client) => Promise<IssuedToken>
  /** The caller of a request by its bearer token; throws `unauthorized`. */
  readonly authenticate: (request: FastifyRequest) => Promise<Caller>
  /** Forgets what is remembered of a client, so that its revocation counts at once. */
  readonly forget: (clientId: string) => void
}

export interface AuthParts {
  readonly deploymentId: string
  /** The name of the tenant in tokens. */
  readonly org: string
  readonly keys: SigningKeys
  /** The client, or null; asked at most every two seconds for each client. */
  readonly findClient: (id: string) => Promise<Client | null>
  /** Told when a token that we signed is refused: the client is known, the caller is not let in. */
  readonly onRefused: (clientId: string, reason: string, request: FastifyRequest) => void
}

interface Verified {
  readonly clientId: string
  readonly expires: number
}

/** Signs and verifies the tokens of one deployment. */
export function openAuth(parts: AuthParts): Auth {
  const issuer = `urn:muster:${parts.deploymentId}`
  const remembered = new Map<string, Verified>()
  const clients = new Map<
    string,
    { readonly client: Promise<Client | null>; readonly at: number }
  >()

  const findClient = async (id: string): Promise<Client | null> => {
    const cached = clients.get(id)
    if (cached !== undefined && performance.now() - cached.at < clientCacheMs) return cached.client
    // The promise is kept, so that a hundred calls at once ask the database once.
    const client = parts.findClient(id)
    clients.set(id, { client, at: performance.now() })
    try {
      return await client
    } catch (error) {
      clients.delete(id)
      throw error
    }
  }

  const verify = async (token: string, request: FastifyRequest): Promise<Verified> => {
    const digest = createHash('sha256').update(token).digest('base64')
    const known = remembered.get(digest)
    if (known !== undefined && known.expires > nowSeconds()) return known
    const verified = await verifyToken(token, parts, issuer, request)
    remembered.set(digest, verified)
    if (remembered.size > mostRemembered) {
      const [oldest] = remembered.keys()
      if (oldest !== undefined) remembered.delete(oldest)
    }
    return verified
  }

  return {
    deploymentId: parts.deploymentId,
    org: parts.org,
    issue: (client) => sign(client, parts, issuer),
    forget: (clientId) => void clients.delete(clientId),
    authenticate: async (request) => {
      const { clientId } = await verify(bearerToken(request), request)
      const client = await findClient(clientId)
      if (client === null || client.revoked !== null) {
        parts.onRefused(clientId, 'The client of the token is revoked.', request)
        throw unauthorized('the client of the token is revoked')
      }
      if (secondsLeft(client) <= 0) {
        parts.onRefused(clientId, 'The client of the token is expired.', request)
        throw unauthorized('the client of the token is expired')
      }
      return clientCaller(client)
    },
  }
}

/** For how many seconds an access token of a client may be good from now on; 0 or less when the client is expired. */
export function secondsLeft(client: Client): number {
  if (client.expires === null) return client.tokenSeconds
  return Math.min(client.tokenSeconds, Math.floor((Date.parse(client.expires) - Date.now()) / 1000))
}

async function sign(client: Client, parts: AuthParts, issuer: string): Promise<IssuedToken> {
  const jti = toWireId(randomUUID())
  const now = nowSeconds()
  const seconds = secondsLeft(client)
  const { kid, privateKey } = parts.keys.current
  const token = await new SignJWT({
    tenant_id: parts.deploymentId,
    internal: false,
    pod,
    org: parts.org,
    identity_id: client.identityId,
    user_name: client.identityName,
    user_id: client.identityId,
    strong_auth: true,
    strong_auth_supported: true,
    authorities: [client.level],
    client_id: client.id,
    scope: client.scopes,
  })
    .setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(client.identityId)
    .setJti(jti)
    .setIssuedAt(now)
    .setNotBefore(now)
    .setExpirationTime(now + seconds)
    .sign(privateKey)
  return { token, jti, seconds }
}

/** The token of the one Authorization header. A token in the query is not looked for: URLs end up in logs. */
function bearerToken(request: FastifyRequest): string {
  const headers = request.raw.rawHeaders.filter(
    (name, index) => index % 2 === 0 && name.toLowerCase() === 'authorization',
  )
  if (headers.length > 1) throw unauthorized('there is more than one Authorization header')
  const value = request.headers.authorization
  if (value === undefined) throw unauthorized('there is no bearer token')
  const match = /^bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+) *$/i.exec(value)
  const token = match?.[1]
  if (token === undefined) throw unauthorized('the Authorization header is not "Bearer <token>"')
  if (token.length > longestToken) throw unauthorized('the token is too long')
  return token
}

async function verifyToken(
  token: string,
  parts: AuthParts,
  issuer: string,
  request: FastifyRequest,
): Promise<Verified> {
  const key = await keyOf(token, parts.keys)
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: ['ES256'],
      issuer,
      audience,
      typ: 'JWT',
      clockTolerance: skewSeconds,
      requiredClaims: ['exp', 'iat', 'nbf', 'jti', 'sub', 'client_id'],
    })
    return checkClaims(payload)
  } catch (error) {
    const reason = reasonOf(error)
    if (error instanceof errors.JWTExpired || error instanceof errors.JWTClaimValidationFailed) {
      // The signature is checked before the claims, so the client that it names is real.
      const clientId = error.payload['client_id']
      if (typeof clientId === 'string') parts.onRefused(clientId, `${reason}.`, request)
    }
    throw unauthorized(reason, error)
  }
}

/** The key that the token names, looked up among ours only; nothing in the token is fetched or opened. */
async function keyOf(token: string, keys: SigningKeys): Promise<webcrypto.CryptoKey> {
  let header
  try {
    header = decodeProtectedHeader(token)
  } catch (error) {
    throw unauthorized('the token is not a JWT', error)
  }
  const foreign = foreignHeaders.find((name) => Object.hasOwn(header, name))
  if (foreign !== undefined) throw unauthorized(`the token holds the header ${foreign}`)
  if (header.alg !== 'ES256') throw unauthorized('the token is not signed with ES256')
  const { kid } = header
  const key = typeof kid === 'string' && kid.length <= 64 ? await keys.find(kid) : null
  if (key === null) throw unauthorized('the token is not signed by this deployment')
  return key
}

function checkClaims(payload: JWTPayload): Verified {
  const { exp, iat, nbf } = payload
  const clientId = payload['client_id']
  for (const instant of [exp, iat, nbf]) {
    if (!Number.isSafeInteger(instant)) throw new RangeError('an instant is not a whole number')
  }
  if (exp === undefined || exp <= nowSeconds()) throw new RangeError('JWT is expired')
  if (iat === undefined || iat > nowSeconds() + skewSeconds) {
    throw new RangeError('JWT is issued in the future')
  }
  if (typeof clientId !== 'string') throw new RangeError('the token names no client')
  return { clientId, expires: exp }
}

function reasonOf(error: unknown): string {
  if (error instanceof RangeError) return error.message
  if (error instanceof errors.JWTExpired) return 'JWT is expired'
  if (error instanceof errors.JWTClaimValidationFailed) {
    return `the claim ${error.claim} is not as it should be`
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'the signature is not right'
  return 'the token is malformed'
}

function unauthorized(reason: string, cause?: unknown): RequestError {
  return new RequestError('unauthorized', `JWT validation failed: ${reason}`, { cause })
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000)
}
