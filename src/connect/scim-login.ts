// The Authorization header of each request; with OAuth 2.0 the token behind it, fetched anew when it runs out.
import { RunError } from '../core/errors.ts'
import type { Outbound, OutboundTls } from './outbound.ts'
import { readRetryAfter } from './retry.ts'
import { readErrorBody } from './scim-body.ts'
import { errorOfAnswer, ScimRefused } from './scim-errors.ts'
import { isJsonObject, lookUp, parseJson } from './scim-json.ts'
import type { ScimAuthentication } from './scim-settings.ts'

/** The login of a reader. */
export interface ScimLogin {
  /** The value of `Authorization`; null: none. */
  header(signal: AbortSignal): Promise<string | null>
  /** After a 401: whether another header than the refused one can be had. */
  renew(refused: string | null): boolean
  /** Texts that must never be shown. */
  secrets(): readonly string[]
}

type OAuth = Extract<ScimAuthentication, { kind: 'oauth2' }>

/** How requests for tokens are sent. */
export interface TokenRequests {
  readonly outbound: Outbound
  readonly tls: OutboundTls | null
  readonly silenceMs: number
}

/** A token is not used in its last seconds: it may run out on the way. */
const tokenReserveMs = 10_000

export function openLogin(given: ScimAuthentication, requests: TokenRequests): ScimLogin {
  switch (given.kind) {
    case 'none':
      return fixedLogin(null, [])
    case 'bearer':
      return fixedLogin(`Bearer ${given.token}`, [given.token])
    case 'basic': {
      const pair = base64(`${given.user}:${given.password}`)
      return fixedLogin(`Basic ${pair}`, [given.password, pair])
    }
    case 'oauth2':
      return openOAuth(given, requests)
  }
}

function fixedLogin(header: string | null, secrets: readonly string[]): ScimLogin {
  return {
    header: () => Promise.resolve(header),
    renew: () => false,
    // A mask in place of every "a" of a message would tell more than it hides.
    secrets: () => secrets.filter((secret) => secret.length > 3),
  }
}

interface Token {
  readonly header: string
  readonly usableUntilMs: number
}

function openOAuth(given: OAuth, requests: TokenRequests): ScimLogin {
  let token: Token | null = null
  const known = [given.clientSecret, clientPair(given)]
  return {
    header: async (signal) => {
      if (token !== null && performance.now() < token.usableUntilMs) return token.header
      token = await fetchToken(given, requests, known, signal)
      known.splice(2, known.length, token.header.slice('Bearer '.length))
      return token.header
    },
    renew: (refused) => {
      if (token?.header === refused) token = null
      return true
    },
    secrets: () => known.filter((secret) => secret.length > 3),
  }
}

/** Sends the client's secret in the header first, and in the form to a server that wants it there (RFC 6749, section 2.3.1). */
async function fetchToken(
  given: OAuth,
  requests: TokenRequests,
  secrets: readonly string[],
  signal: AbortSignal,
): Promise<Token> {
  const form = new URLSearchParams({ grant_type: 'client_credentials' })
  if (given.scope !== null) form.set('scope', given.scope)
  try {
    const headers = { authorization: `Basic ${clientPair(given)}` }
    return await requestToken(given, requests, secrets, { headers, form, signal })
  } catch (error) {
    if (!(error instanceof ScimRefused) || (error.status !== 400 && error.status !== 401)) {
      throw error
    }
    form.set('client_id', given.clientId)
    form.set('client_secret', given.clientSecret)
    return requestToken(given, requests, secrets, { headers: {}, form, signal })
  }
}

interface TokenRequest {
  readonly headers: Readonly<Record<string, string>>
  readonly form: URLSearchParams
  readonly signal: AbortSignal
}

async function requestToken(
  given: OAuth,
  { outbound, tls, silenceMs }: TokenRequests,
  secrets: readonly string[],
  { headers, form, signal }: TokenRequest,
): Promise<Token> {
  const askedAt = performance.now()
  const answer = await outbound.request({
    url: given.tokenUrl,
    method: 'POST',
    headers: {
      accept: 'application/json',
      'content-type': 'application/x-www-form-urlencoded',
      ...headers,
    },
    body: form.toString(),
    silenceMs,
    limitBytes: 1_048_576,
    signal,
    ...(tls === null ? {} : { tls }),
  })
  if (answer.status !== 200) {
    const body = await readErrorBody(answer, 65_536)
    const place = `POST ${new URL(given.tokenUrl).origin}${new URL(given.tokenUrl).pathname}`
    const retryAfterMs = readRetryAfter(answer.headers['retry-after'])
    const error = errorOfAnswer({ place, status: answer.status, body, retryAfterMs, secrets })
    if (!(error instanceof ScimRefused)) throw error
    throw new ScimRefused(
      'token_refused',
      error.message,
      'Check connectorAttributes.clientId, clientSecret, scope and tokenUrl.',
      error,
    )
  }
  return readToken(parseJson(await answer.text()), askedAt)
}

function readToken(body: unknown, askedAt: number): Token {
  const token = isJsonObject(body) ? lookUp(body, 'access_token') : null
  if (!isJsonObject(body) || typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw new RunError('token_refused', 'The token endpoint answered without an access token.', {
      hint: 'Check connectorAttributes.tokenUrl: it has to be the token endpoint of OAuth 2.0.',
    })
  }
  const seconds = Number(lookUp(body, 'expires_in') ?? Number.NaN)
  const lifeMs = Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : Number.POSITIVE_INFINITY
  // A token that lives for less than twice the reserve is used for half of its life.
  const usableMs = Math.max(lifeMs - tokenReserveMs, lifeMs / 2)
  return { header: `Bearer ${token}`, usableUntilMs: askedAt + usableMs }
}

/** OAuth encodes both parts before they are joined (RFC 6749, section 2.3.1). */
function clientPair({ clientId, clientSecret }: OAuth): string {
  return base64(`${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`)
}

function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64')
}
