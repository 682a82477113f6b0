// When to try again, and how long to wait before that.

/** How often and how long to try again. */
export interface Patience {
  readonly attempts: number
  /** The longest wait that a server may ask for; beyond it the refusal is reported. */
  readonly maxWaitMs: number
  /** How long an answer may take, uploads apart. */
  readonly callTimeoutMs: number
  /** Told before each wait for a server that was too busy. */
  readonly onWait?: (waitMs: number, status: number) => void
}

export const defaultPatience: Patience = {
  attempts: 5,
  maxWaitMs: 60_000,
  callTimeoutMs: 60_000,
}

/** `Retry-After` in its two forms, seconds or a date; null when it is absent or neither. */
export function retryAfterMs(header: string | null, now = Date.now()): number | null {
  if (header === null) return null
  if (/^\s*\d+(?:\.\d+)?\s*$/.test(header)) return Number(header) * 1000
  const date = Date.parse(header)
  return Number.isNaN(date) ? null : Math.max(0, date - now)
}

/** A wait with up to a quarter more at random; null when it is longer than the patience. */
export function capped(waitMs: number, patience: Patience): number | null {
  return waitMs > patience.maxWaitMs ? null : waitMs + Math.random() * Math.min(1000, waitMs / 4)
}

/** 0.25 s, 0.5 s, 1 s, … with up to as much again at random, so that many clients do not come back at once. */
export function backoffMs(attempt: number): number {
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
