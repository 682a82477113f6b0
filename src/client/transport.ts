// Sends requests: token, retries where they are safe, Retry-After, and errors in one shape.
import { ConnectionError, readApiError, readRedirect, ReadOnlyError } from './api-error.ts'
import { backoffMs, capped, retryAfterMs, sleep } from './retry.ts'
import type { Patience } from './retry.ts'
import type { TokenSource } from './token.ts'

/** One call. */
export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** With its version prefix and query. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** Makes the body anew for each attempt; null says that it cannot be made twice. */
  readonly body?: BodyMaker
  readonly signal?: AbortSignal
  /** Uploads take as long as they take; everything else ends after this. */
  readonly timeoutMs?: number | null
  /** Doing it twice is doing it once, though its method does not say so. */
  readonly repeatSafe?: boolean
  /** It asks and changes nothing, though its method does not say so. */
  readonly asksOnly?: boolean
  /** The last answer is given whatever its status is, and the caller reads it. */
  readonly anyStatus?: boolean
}

/** A body, and whether it can be made a second time. */
export interface BodyMaker {
  readonly repeatable: boolean
  make(): RequestInit['body']
}

export type Fetch = (url: string, init: RequestInit) => Promise<Response>

/** Sends calls to one server. */
export interface Transport {
  send(call: Call): Promise<Response>
}

/**
 * Makes a transport. Errors are `ApiError`, `ConnectionError`, `ReadOnlyError`, or the reason of the caller's signal.
 */
export function openTransport(options: {
  readonly baseUrl: string
  readonly fetch: Fetch
  readonly tokens: TokenSource
  readonly patience: Patience
  readonly readOnly: boolean
}): Transport {
  const { baseUrl, tokens, patience, readOnly } = options
  return {
    send: async (call) => {
      const name = `${call.method} ${call.path.split('?', 1)[0]}`
      if (readOnly && call.method !== 'GET' && call.asksOnly !== true) throw new ReadOnlyError(name)
      const repeatable = call.body === undefined || call.body.repeatable
      let renewed = false
      for (let attempt = 1; ; attempt += 1) {
        const last = attempt >= patience.attempts || !repeatable
        const token = await tokens.get(call.signal)
        const { response, error } = await attemptCall(options.fetch, baseUrl, call, token, patience)
        if (response === null) {
          call.signal?.throwIfAborted()
          // What took too long once would take too long again.
          const late = error instanceof Error && error.name === 'TimeoutError'
          if (last || late || !isRepeatSafe(call)) throw new ConnectionError(name, error)
          await sleep(backoffMs(attempt), call.signal)
          continue
        }
        if (response.ok) return response
        const redirect = readRedirect(name, `${baseUrl}${call.path}`, response)
        if (redirect !== null) {
          await response.body?.cancel()
          throw redirect
        }
        if (response.status === 401 && !renewed && repeatable && tokens.discard(token)) {
          renewed = true
          await response.body?.cancel()
          continue
        }
        const wait = last ? null : waitAfterAnswer(call, response, attempt, patience)
        if (wait === null) {
          if (call.anyStatus === true) return response
          throw await readApiError(name, response)
        }
        await response.body?.cancel()
        patience.onWait?.(wait, response.status)
        await sleep(wait, call.signal)
      }
    },
  }
}

async function attemptCall(
  fetch: Fetch,
  baseUrl: string,
  call: Call,
  token: string,
  patience: Patience,
): Promise<{ readonly response: Response | null; readonly error: unknown }> {
  const timeoutMs = call.timeoutMs === undefined ? patience.callTimeoutMs : call.timeoutMs
  const signals = [
    ...(call.signal === undefined ? [] : [call.signal]),
    ...(timeoutMs === null ? [] : [AbortSignal.timeout(timeoutMs)]),
  ]
  const init: RequestInit & { duplex?: 'half' } = {
    method: call.method,
    headers: {
      accept: 'application/json',
      authorization: `Bearer ${token}`,
      // ISC wants this for endpoints that it calls experimental, and does not mind it elsewhere.
      'x-sailpoint-experimental': 'true',
      ...call.headers,
    },
    // A redirect would take the token to another host; it is read and reported.
    redirect: 'manual',
    ...(signals.length > 0 && { signal: AbortSignal.any(signals) }),
  }
  const body = call.body?.make()
  if (body !== undefined) {
    init.body = body
    // Required by the standard for a body that is a stream.
    if (body instanceof ReadableStream) init.duplex = 'half'
  }
  try {
    return { response: await fetch(`${baseUrl}${call.path}`, init), error: null }
  } catch (error) {
    return { response: null, error }
  }
}

/** How long to wait before trying again after this answer; null when it is not to be tried again. */
function waitAfterAnswer(
  call: Call,
  response: Response,
  attempt: number,
  patience: Patience,
): number | null {
  const asked = retryAfterMs(response.headers.get('retry-after'))
  if (response.status === 429) return capped(asked ?? backoffMs(attempt), patience)
  // 503 with a time says that nothing was done; without one it may have been.
  if (response.status === 503 && (asked !== null || isRepeatSafe(call))) {
    return capped(asked ?? backoffMs(attempt), patience)
  }
  if ((response.status === 502 || response.status === 504) && isRepeatSafe(call)) {
    return backoffMs(attempt)
  }
  return null
}

/**
 * Whether a call may be sent again when nobody knows what became of it. A PUT or DELETE may not, whatever the standard says
 * of them: what another one wrote meanwhile would be written over, and what is deleted already is answered 404.
 */
function isRepeatSafe({ method, repeatSafe = false, asksOnly = false }: Call): boolean {
  return repeatSafe || asksOnly || method === 'GET'
}
