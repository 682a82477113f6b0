// Tries a request again when a later attempt may do better: waits that grow, with full jitter and a cap.
import { abortReason, wait } from './wait.ts'

/** How often and how long; `random` and `sleep` are given by tests. */
export interface RetryOptions {
  /** Ends the waits at once. */
  readonly signal: AbortSignal
  /** How often the work is begun at most; default 5. */
  readonly attempts?: number
  /** The longest wait before the second attempt; it doubles with each further one. Default 500 ms. */
  readonly baseMs?: number
  /** No wait that we choose is longer. Default 30 s. */
  readonly capMs?: number
  /** No wait that the system asks for (`retryAfterMs` of its error) is longer. Default 2 min. */
  readonly retryAfterCapMs?: number
  readonly log?: (level: 'info' | 'warn', message: string) => void
  readonly random?: () => number
  readonly sleep?: (milliseconds: number, signal: AbortSignal) => Promise<void>
}

/**
 * The outcome of `work`, which is begun again after an error with `temporary: true`. An error may carry `retryAfterMs`,
 * the wait that the system asked for. Any other error, the last one, and an abort of the signal are thrown.
 */
export async function retry<T>(
  work: (attempt: number) => Promise<T>,
  options: RetryOptions,
): Promise<T> {
  const { signal, attempts = 5, log, sleep = wait } = options
  for (let attempt = 1; ; attempt += 1) {
    if (signal.aborted) throw abortReason(signal)
    try {
      return await work(attempt)
    } catch (error) {
      // What breaks because of the abort is no reason of its own.
      if (signal.aborted) throw abortReason(signal)
      if (attempt >= attempts || !isTemporary(error)) throw error
      const waitMs = chooseWait(error, attempt, options)
      const reason = error instanceof Error ? error.message : 'an error'
      log?.(
        'info',
        `Attempt ${attempt} of ${attempts}: ${reason} The next follows in ${waitMs} ms.`,
      )
      await sleep(waitMs, signal)
    }
  }
}

/**
 * Full jitter: anything between nothing and the limit. Many clients that were turned away together must not come back
 * together.
 */
function chooseWait(error: unknown, attempt: number, options: RetryOptions): number {
  const { baseMs = 500, capMs = 30_000, retryAfterCapMs = 120_000, random = Math.random } = options
  const asked = retryAfterOf(error)
  if (asked !== null) return Math.min(asked, retryAfterCapMs)
  return Math.round(random() * Math.min(capMs, baseMs * 2 ** (attempt - 1)))
}

function isTemporary(error: unknown): boolean {
  return typeof error === 'object' && error !== null && Reflect.get(error, 'temporary') === true
}

function retryAfterOf(error: unknown): number | null {
  if (typeof error !== 'object' || error === null) return null
  const asked: unknown = Reflect.get(error, 'retryAfterMs')
  return typeof asked === 'number' && asked >= 0 && Number.isFinite(asked) ? asked : null
}

/** The wait that a `Retry-After` header asks for, in seconds or as a date; null when it is absent or says nothing. */
export function readRetryAfter(
  header: string | undefined,
  now: () => number = Date.now,
): number | null {
  const text = header?.trim() ?? ''
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * 1000
  // Date.parse takes nearly anything ("-1" is a year); a date of HTTP begins with its weekday.
  const at = /^[A-Z][a-z]{2,8},? /.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(at) ? null : Math.max(0, at - now())
}
