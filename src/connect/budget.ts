// A budget of requests per second: whoever asks waits for its turn, so that a system is not asked faster than it likes.
import { abortReason, wait } from './wait.ts'

/** One budget is shared by all requests of a reader. */
export interface Budget {
  /** Resolves when one more request may be sent, in the order of asking; rejects when the signal is aborted. */
  take(signal: AbortSignal): Promise<void>
}

/** What tests give instead of time. */
interface Clock {
  readonly now: () => number
  readonly sleep: (milliseconds: number, signal: AbortSignal) => Promise<void>
}

/** A budget of that many requests per second, evenly spread; null: no limit. */
export function openBudget(
  requestsPerSecond: number | null,
  clock: Clock = { now: () => performance.now(), sleep: wait },
): Budget {
  const gapMs = requestsPerSecond === null ? 0 : 1000 / requestsPerSecond
  let next = Number.NEGATIVE_INFINITY
  return {
    take: async (signal) => {
      if (signal.aborted) throw abortReason(signal)
      if (gapMs === 0) return
      // Turns are handed out before the wait: what asks at the same time gets different ones.
      const now = clock.now()
      const turn = Math.max(now, next)
      next = turn + gapMs
      if (turn > now) await clock.sleep(turn - now, signal)
    },
  }
}
