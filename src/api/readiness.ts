// Whether this process can serve: each check by its name, asked a few times a second at most however many ask.
import { performance } from 'node:perf_hooks'

/** One line of the answer of /health/ready. */
export interface HealthCheck {
  readonly name: string
  readonly status: 'UP' | 'DOWN'
  readonly detail?: string
}

/** A thing to look at. It gives what is wrong, or null; it may throw, and then it is DOWN with `broken`. */
export interface Check {
  readonly name: string
  /** What the page says when the look itself fails; the page is open to everybody, the cause is for the log. */
  readonly broken: string
  readonly look: () => Promise<string | null>
}

/** Answers whether the process is ready. */
export interface Readiness {
  check(): Promise<readonly HealthCheck[]>
  /** Whether the look of this check began more than five seconds ago and has not come back. */
  isStuck(name: string): boolean
}

/** A look that takes longer than this is no help to a request. */
const patienceMs = 2_000
/** The page is open to everybody, so the number of looks must not follow the number of those who ask. */
const freshMs = 250
const stuckMs = 5_000

/**
 * Watches the given checks. A check that hangs is DOWN after two seconds; it is not asked again before it has come back,
 * so that a database that swallows statements does not collect them.
 */
export function watchReadiness(
  checks: readonly Check[],
  onChange: (check: HealthCheck) => void,
): Readiness {
  const begun = new Map<string, number>()
  const asks = checks.map((check) => onceAtATime(check, begun))
  const last = new Map<string, HealthCheck['status']>()
  let fresh: { readonly at: number; readonly found: Promise<readonly HealthCheck[]> } | null = null
  const ask = async (): Promise<readonly HealthCheck[]> => {
    const found = await Promise.all(asks.map((one) => one()))
    for (const check of found) {
      if ((last.get(check.name) ?? 'UP') !== check.status) onChange(check)
      last.set(check.name, check.status)
    }
    return found
  }
  return {
    check: () => {
      const now = performance.now()
      if (fresh === null || now - fresh.at > freshMs) fresh = { at: now, found: ask() }
      return fresh.found
    },
    isStuck: (name) => performance.now() - (begun.get(name) ?? Infinity) > stuckMs,
  }
}

/** `begun` tells since when a look is under way. */
function onceAtATime(check: Check, begun: Map<string, number>): () => Promise<HealthCheck> {
  let underWay: Promise<string | null> | null = null
  return async () => {
    if (underWay === null) {
      begun.set(check.name, performance.now())
      underWay = check
        .look()
        .catch(() => check.broken)
        .finally(() => {
          underWay = null
          begun.delete(check.name)
        })
    }
    // Whoever asks after the two seconds is told at once.
    const waitedMs = performance.now() - (begun.get(check.name) ?? performance.now())
    const restMs = Math.max(0, patienceMs - waitedMs)
    const detail = await within(underWay, restMs, `${check.broken.replace(/\.$/, '')} in time.`)
    return detail === null
      ? { name: check.name, status: 'UP' }
      : { name: check.name, status: 'DOWN', detail }
  }
}

async function within(
  work: Promise<string | null>,
  ms: number,
  late: string,
): Promise<string | null> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(late), ms)
  })
  try {
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}
