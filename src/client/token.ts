// Access tokens: obtained once for all calls that wait, renewed before they expire.
import { ConnectionError, readApiError, readRedirect } from './api-error.ts'
import { backoffMs, capped, retryAfterMs, sleep } from './retry.ts'
import type { Patience } from './retry.ts'

/** Where tokens come from. */
export interface TokenSource {
  /** A token that is good for a while. Throws the reason of the signal when that comes first. */
  get(signal?: AbortSignal): Promise<string>
  /** The server refused this token; the next `get` asks for a new one. False when there is none to be had. */
  discard(token: string): boolean
}

/** A token that was obtained elsewhere. */
export function fixedToken(token: string): TokenSource {
  return { get: async () => token, discard: () => false }
}

/** A token is renewed when less than a tenth of its life, at most a minute, is left. */
const marginMs = 60_000
const request = 'POST /oauth/token'

interface CredentialOptions {
  readonly baseUrl: string
  readonly clientId: string
  readonly clientSecret: string
  readonly send: (url: string, init: RequestInit) => Promise<Response>
  readonly patience: Patience
}

/** Obtains tokens by client credentials. Errors are `ApiError` and `ConnectionError`. */
export function credentialTokens(options: CredentialOptions): TokenSource {
  let token: { readonly text: string; readonly renewAt: number } | null = null
  let asking: Promise<string> | null = null

  const ask = async (): Promise<string> => {
    const response = await requestToken(options)
    const answer = (await response.json()) as { access_token?: unknown; expires_in?: unknown }
    if (typeof answer.access_token !== 'string' || answer.access_token === '') {
      throw new Error('The token endpoint answered without an access_token.')
    }
    const lifeMs = (typeof answer.expires_in === 'number' ? answer.expires_in : 300) * 1000
    const renewAt = Date.now() + lifeMs - Math.min(marginMs, lifeMs / 10)
    token = { text: answer.access_token, renewAt }
    return answer.access_token
  }

  return {
    get: async (signal) => {
      if (token !== null && Date.now() < token.renewAt) return token.text
      asking ??= ask().finally(() => {
        asking = null
      })
      return unlessAborted(asking, signal)
    },
    discard: (text) => {
      if (token?.text === text) token = null
      return true
    },
  }
}

async function requestToken(options: CredentialOptions): Promise<Response> {
  const { baseUrl, clientId, clientSecret, send, patience } = options
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: clientId,
    client_secret: clientSecret,
  }).toString()
  for (let attempt = 1; ; attempt += 1) {
    let response: Response
    try {
      response = await send(`${baseUrl}/oauth/token`, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          accept: 'application/json',
        },
        body,
        // The body holds the secret, and a redirect would take it to another host; it is read and reported.
        redirect: 'manual',
        signal: AbortSignal.timeout(patience.callTimeoutMs),
      })
    } catch (error) {
      throw new ConnectionError(request, error)
    }
    if (response.ok) return response
    const redirect = readRedirect(request, `${baseUrl}/oauth/token`, response)
    if (redirect !== null) {
      await response.body?.cancel()
      throw redirect
    }
    const wait = attempt >= patience.attempts ? null : waitAfter(response, attempt, patience)
    if (wait === null) throw await readApiError(request, response)
    await response.body?.cancel()
    patience.onWait?.(wait, response.status)
    await sleep(wait)
  }
}

/** Nothing is done by asking for a token, so that every passing refusal may be followed by another try. */
function waitAfter({ status, headers }: Response, attempt: number, patience: Patience) {
  if (status !== 429 && status !== 502 && status !== 503 && status !== 504) return null
  return capped(retryAfterMs(headers.get('retry-after')) ?? backoffMs(attempt), patience)
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      reject(signal.reason instanceof Error ? signal.reason : new Error('The call was aborted.'))
    }
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}
