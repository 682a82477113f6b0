// Counts wrong secrets, so that guessing stops early and only the client that is guessed at waits.

export interface Guesses {
  /** Seconds until another try is taken; 0 when it is taken now. */
  waitSeconds(key: string): number
  /** Notes a wrong try. */
  wrong(key: string): void
  /** Forgets the wrong tries of a key that was right. */
  right(key: string): void
}

/** What is remembered at most; beyond it the oldest is forgotten. */
const mostKeys = 10_000

/** Allows `most` wrong tries of a key within `windowMs`. `now` is a clock in milliseconds. */
export function countGuesses(most: number, windowMs: number, now: () => number): Guesses {
  const counts = new Map<string, { wrong: number; since: number }>()
  const current = (key: string) => {
    const count = counts.get(key)
    if (count === undefined) return undefined
    if (now() - count.since < windowMs) return count
    counts.delete(key)
    return undefined
  }
  return {
    waitSeconds(key) {
      const count = current(key)
      if (count === undefined || count.wrong < most) return 0
      return Math.max(1, Math.ceil((count.since + windowMs - now()) / 1000))
    },
    wrong(key) {
      const count = current(key)
      if (count !== undefined) {
        count.wrong += 1
        return
      }
      counts.set(key, { wrong: 1, since: now() })
      if (counts.size <= mostKeys) return
      const [oldest] = counts.keys()
      if (oldest !== undefined) counts.delete(oldest)
    },
    right(key) {
      counts.delete(key)
    },
  }
}
