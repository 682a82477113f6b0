// Waits that end at once when nobody waits for the outcome any more.

/** Resolves after that time; rejects with the reason of the signal as soon as it is aborted. Leaves no timer behind. */
export function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer)
      reject(abortReason(signal))
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop)
      resolve()
    }, milliseconds)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}

/** Why a signal was aborted, always as an error. */
export function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error
    ? signal.reason
    : new Error('The wait was ended from outside.', { cause: signal.reason })
}

/**
 * The outcome of a promise that cannot be stopped, unless the time or the signal ends the wait before: `late` says with
 * which error the time does. What the promise comes to after that is dropped.
 */
export async function within<T>(
  promise: Promise<T>,
  milliseconds: number,
  signal: AbortSignal | undefined,
  late: () => Error,
): Promise<T> {
  const over = new AbortController()
  const stop = (): void => over.abort(signal === undefined ? late() : abortReason(signal))
  const timer = setTimeout(() => over.abort(late()), milliseconds)
  signal?.addEventListener('abort', stop, { once: true })
  try {
    if (signal?.aborted === true) stop()
    return await Promise.race([promise, aborted(over.signal)])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (): void => reject(abortReason(signal))
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}
