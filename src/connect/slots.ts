// A number of places for work that goes on at the same time; who finds none waits in line.
import { abortReason } from './wait.ts'

/** So many places. */
export interface Slots {
  /** Waits for a place and gives what frees it. */
  take(signal: AbortSignal | undefined): Promise<() => void>
}

/** Opens that many places. */
export function openSlots(count: number): Slots {
  let free = count
  const waiting: (() => void)[] = []
  const release = (): void => {
    const next = waiting.shift()
    if (next === undefined) free += 1
    else next()
  }
  const once = (): (() => void) => {
    let released = false
    return () => {
      if (!released) release()
      released = true
    }
  }
  return {
    take: (signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) return reject(abortReason(signal))
        if (free > 0) {
          free -= 1
          return resolve(once())
        }
        const turn = (): void => {
          signal?.removeEventListener('abort', stop)
          resolve(once())
        }
        const stop = (): void => {
          waiting.splice(waiting.indexOf(turn), 1)
          if (signal !== undefined) reject(abortReason(signal))
        }
        waiting.push(turn)
        signal?.addEventListener('abort', stop, { once: true })
      }),
  }
}
