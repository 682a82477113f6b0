// Retries and budgets of requests: waits, caps, what the system asks for, and the end by a signal.
import { describe, expect, it } from 'vitest'
import { openBudget } from '../../src/connect/budget.ts'
import { readRetryAfter, retry } from '../../src/connect/retry.ts'
import { RunError } from '../../src/core/errors.ts'

const never = new AbortController().signal

function busy(retryAfterMs?: number): Error {
  const error = new RunError('busy', 'The server is busy.', { hint: 'Wait.', temporary: true })
  return retryAfterMs === undefined ? error : Object.assign(error, { retryAfterMs })
}

/** Fails that often, and notes the waits between. */
async function waitsOf(
  failures: readonly Error[],
  given: Partial<Parameters<typeof retry>[1]> = {},
): Promise<{ readonly waits: readonly number[]; readonly attempts: number }> {
  const waits: number[] = []
  const attempts = await retry(
    async (attempt) => {
      const failure = failures[attempt - 1]
      if (failure !== undefined) throw failure
      return attempt
    },
    {
      signal: never,
      random: () => 1,
      sleep: async (milliseconds) => {
        waits.push(milliseconds)
      },
      ...given,
    },
  )
  return { waits, attempts }
}

describe('retry', () => {
  it('doubles the longest wait up to its cap', async () => {
    const failures = [busy(), busy(), busy(), busy()]
    const { waits, attempts } = await waitsOf(failures, { baseMs: 500, capMs: 1500 })
    expect(waits).toEqual([500, 1000, 1500, 1500])
    expect(attempts).toBe(5)
  })

  it('waits for anything between nothing and the limit', async () => {
    const chances = [0, 0.5, 0.25]
    const { waits } = await waitsOf([busy(), busy(), busy()], {
      random: () => chances.shift() ?? 1,
    })
    expect(waits).toEqual([0, 500, 500])
  })

  it('waits as long as the system asks, up to a cap', async () => {
    const { waits } = await waitsOf([busy(0), busy(7000), busy(1e12), busy(Number.NaN)])
    expect(waits).toEqual([0, 7000, 120_000, 4000])
  })

  it('throws the last error when all attempts have failed', async () => {
    let attempts = 0
    const outcome = retry(
      async () => {
        attempts += 1
        throw new RunError('busy', `Attempt ${attempts} failed.`, { hint: '', temporary: true })
      },
      { signal: never, attempts: 3, sleep: async () => {} },
    )
    await expect(outcome).rejects.toThrow('Attempt 3 failed.')
    expect(attempts).toBe(3)
  })

  it('does not repeat what no later attempt makes better', async () => {
    for (const error of [new RunError('bad', 'Wrong password.', { hint: '' }), new Error('bug')]) {
      let attempts = 0
      const outcome = retry(
        async () => {
          attempts += 1
          throw error
        },
        { signal: never, sleep: async () => {} },
      )
      await expect(outcome).rejects.toBe(error)
      expect(attempts).toBe(1)
    }
  })

  it('ends a wait at once when the signal is aborted', async () => {
    const abort = new AbortController()
    const began = performance.now()
    const outcome = retry(
      async () => {
        setTimeout(() => abort.abort(new Error('nobody waits')), 20)
        throw busy(60_000)
      },
      { signal: abort.signal },
    )
    await expect(outcome).rejects.toThrow('nobody waits')
    expect(performance.now() - began).toBeLessThan(5000)
  })

  it('begins nothing when the signal was aborted before', async () => {
    let begun = false
    const outcome = retry(
      async () => {
        begun = true
      },
      { signal: AbortSignal.abort(new Error('nobody waits')) },
    )
    await expect(outcome).rejects.toThrow('nobody waits')
    expect(begun).toBe(false)
  })
})

describe('readRetryAfter', () => {
  it('reads seconds and dates, and nothing else', () => {
    const now = (): number => Date.parse('Sun, 22 Nov 2026 10:00:00 GMT')
    expect(readRetryAfter('3', now)).toBe(3000)
    expect(readRetryAfter('Sun, 22 Nov 2026 10:00:09 GMT', now)).toBe(9000)
    expect(readRetryAfter('Sun, 22 Nov 2026 09:00:00 GMT', now)).toBe(0)
    for (const nothing of [undefined, '', '-1', '1e3', 'soon', 'never again']) {
      expect(readRetryAfter(nothing, now)).toBeNull()
    }
  })
})

describe('openBudget', () => {
  it('spreads requests evenly, also those that ask at the same time', async () => {
    let now = 0
    const waits: number[] = []
    const budget = openBudget(4, {
      now: () => now,
      sleep: async (milliseconds) => {
        waits.push(milliseconds)
      },
    })
    await Promise.all([budget.take(never), budget.take(never), budget.take(never)])
    expect(waits).toEqual([250, 500])
    now = 10_000
    await budget.take(never)
    expect(waits).toHaveLength(2)
  })

  it('lets everything through when there is no limit', async () => {
    const budget = openBudget(null)
    await Promise.all(Array.from({ length: 1000 }, () => budget.take(never)))
  })

  it('ends the wait when the signal is aborted', async () => {
    const budget = openBudget(0.001)
    const abort = new AbortController()
    await budget.take(abort.signal)
    const waiting = budget.take(abort.signal)
    abort.abort(new Error('nobody waits'))
    await expect(waiting).rejects.toThrow('nobody waits')
  })
})
