// Sends requests: token, retries where they are safe, Retry-After, and errors in one shape.
import { ConnectionError, readApiError } from './api-error.ts'
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
}

/** A body, and whether it can be made a second time. */
export interface BodyMaker {
  readonly repeatable: boolean
  make(): RequestInit['body']
}

/** How often and how long to try again. */
export interface Patience {
  readonly attempts: number
  /** The longest wait that a server may ask for; beyond it the refusal is reported. */
  readonly maxWaitMs: number
}

export type Fetch = (url: string, init: RequestInit) => Promise<Response>

/** Sends calls to one server. */
export interface Transport {
  send(call: Call): Promise<Response>
}

export const defaultPatience: Patience = { attempts: 5, maxWaitMs: 60_000 }
const callTimeoutMs = 60_000

/** Makes a transport. Errors are `ApiError`, `ConnectionError`, or the reason of the caller's signal. */
export function openTransport(options: {
  readonly baseUrl: string
  readonly fetch: Fetch
  readonly tokens: TokenSource
  readonly patience: Patience
}): Transport {
  const { baseUrl, tokens, patience } = options
  return {
    send: async (call) => {
      const name = `${call.method} ${call.path.split('?', 1)[0]}`
      const repeatable = call.body === undefined || call.body.repeatable
      let renewed = false
      for (let attempt = 1; ; attempt += 1) {
        const last = attempt >= patience.attempts || !repeatable
        const token = await tokens.get(call.signal)
        const { response, error } = await attemptCall(options.fetch, baseUrl, call, token)
        if (response === null) {
          call.signal?.throwIfAborted()
          if (last || !isIdempotent(call)) throw new ConnectionError(name, error)
          await sleep(backoffMs(attempt), call.signal)
          continue
        }
        if (response.ok) return response
        if (response.status === 401 && !renewed && repeatable && tokens.discard(token)) {
          renewed = true
          await response.body?.cancel()
          continue
        }
        const wait = last ? null : waitAfterAnswer(call, response, attempt, patience)
        if (wait === null) throw await readApiError(name, response)
        await response.body?.cancel()
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
): Promise<{ readonly response: Response | null; readonly error: unknown }> {
  const timeoutMs = call.timeoutMs === undefined ? callTimeoutMs : call.timeoutMs
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
    // A redirect would take the token to another host.
    redirect: 'error',
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
  // 503 with a time says that nothing was done; without one only a repeatable method is safe.
  if (response.status === 503 && (asked !== null || isIdempotent(call))) {
    return capped(asked ?? backoffMs(attempt), patience)
  }
  if ((response.status === 502 || response.status === 504) && isIdempotent(call)) {
    return backoffMs(attempt)
  }
  return null
}

function capped(waitMs: number, patience: Patience): number | null {
  return waitMs > patience.maxWaitMs ? null : waitMs + Math.random() * Math.min(1000, waitMs / 4)
}

/** `Retry-After` in its two forms, seconds or a date; null when it is absent or neither. */
export function retryAfterMs(header: string | null, now = Date.now()): number | null {
  if (header === null) return null
  if (/^\s*\d+(?:\.\d+)?\s*$/.test(header)) return Number(header) * 1000
  const date = Date.parse(header)
  return Number.isNaN(date) ? null : Math.max(0, date - now)
}

function isIdempotent(call: Call): boolean {
  return call.method === 'GET' || call.method === 'PUT' || call.method === 'DELETE'
}

/** 0.25 s, 0.5 s, 1 s, … with up to as much again at random, so that many clients do not come back at once. */
function backoffMs(attempt: number): number {
  const base = Math.min(250 * 2 ** (attempt - 1), 8_000)
  return base + Math.random() * base
}

/** Waits; rejects with the reason of the signal when it is aborted meanwhile. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer)
      reject(signal?.reason instanceof Error ? signal.reason : new Error('The wait was aborted.'))
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    if (signal?.aborted === true) stop()
    else signal?.addEventListener('abort', stop, { once: true })
  })
}
