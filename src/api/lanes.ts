// Work in single file: what is done under one key is done one after the other, and a long queue is refused.
import { RetryLater } from './errors.ts'

export interface Lanes {
  /** Runs `work` when all earlier work of this key is done; throws RetryLater when too much waits for it. */
  run<T>(key: string, work: () => Promise<T>): Promise<T>
}

/** Lanes in which at most `mostWaiting` pieces of work stand. */
export function openLanes(mostWaiting: number): Lanes {
  const lanes = new Map<string, { last: Promise<unknown>; length: number }>()
  return {
    async run(key, work) {
      const lane = lanes.get(key) ?? { last: Promise.resolve(), length: 0 }
      if (lane.length >= mostWaiting) {
        throw new RetryLater('too_many_requests', 'Too many token requests wait already.', 1)
      }
      lanes.set(key, lane)
      lane.length += 1
      const mine = lane.last.then(work)
      // The next one comes whether this one succeeds or not.
      lane.last = mine.catch(() => undefined)
      try {
        return await mine
      } finally {
        lane.length -= 1
        if (lane.length === 0) lanes.delete(key)
      }
    },
  }
}
