// Access tokens: obtained once for all calls that wait, renewed before they expire.
import { readApiError } from './api-error.ts'

/** Where tokens come from. */
export interface TokenSource {
  /** A token that is good for a while. */
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

/** Obtains tokens by client credentials. */
export function credentialTokens(options: {
  readonly baseUrl: string
  readonly clientId: string
  readonly clientSecret: string
  readonly send: (url: string, init: RequestInit) => Promise<Response>
}): TokenSource {
  let token: { readonly text: string; readonly renewAt: number } | null = null
  let asking: Promise<string> | null = null

  const ask = async (): Promise<string> => {
    const url = `${options.baseUrl}/oauth/token`
    const response = await options.send(url, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: options.clientId,
        client_secret: options.clientSecret,
      }).toString(),
    })
    if (!response.ok) throw await readApiError('POST /oauth/token', response)
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
    get: async () => {
      if (token !== null && Date.now() < token.renewAt) return token.text
      asking ??= ask().finally(() => {
        asking = null
      })
      return asking
    },
    discard: (text) => {
      if (token?.text === text) token = null
      return true
    },
  }
}
