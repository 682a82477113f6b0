// A bounded hand-over between a parser that pushes chunks and a writer that pulls them.

/** Chunks in the order they were pushed; `full` is the back-pressure of the pushing side. */
export interface ChunkQueue {
  push(chunk: Uint8Array): void
  /** No more chunks will come. */
  end(): void
  /** The chunks are not to be trusted: the pulling side gets this error instead of an end. */
  fail(error: unknown): void
  /** Resolves when there is room again; undefined while there is. */
  full(): Promise<void> | undefined
  readonly chunks: AsyncIterable<Uint8Array>
}

/**
 * A queue that asks for a pause above `limitBytes`. A Node stream would do the same, but its iterator joins what it
 * has buffered into one copy, and the parser's own pause can be lost at the border of two chunks.
 */
export function chunkQueue(limitBytes: number): ChunkQueue {
  let waiting: Uint8Array[] = []
  let bytes = 0
  let ended = false
  let failure: { readonly error: unknown } | null = null
  let wake = (): void => {}
  let room = (): void => {}

  // A function, because the compiler takes a check of `failure` to hold across a pause.
  const check = (): void => {
    if (failure !== null) throw failure.error
  }

  async function* pull(): AsyncGenerator<Uint8Array> {
    for (;;) {
      check()
      const batch = waiting
      waiting = []
      for (const chunk of batch) {
        check()
        yield chunk
        bytes -= chunk.length
        if (bytes < limitBytes) room()
      }
      if (waiting.length > 0) continue
      check()
      if (ended) return
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }

  return {
    push: (chunk) => {
      waiting.push(chunk)
      bytes += chunk.length
      wake()
    },
    end: () => {
      ended = true
      wake()
    },
    fail: (error) => {
      failure ??= { error }
      wake()
      room()
    },
    full: () =>
      bytes < limitBytes || failure !== null
        ? undefined
        : new Promise((resolve) => {
            room = resolve
          }),
    chunks: { [Symbol.asyncIterator]: pull },
  }
}
