// Collects what a driver gives piece by piece into blocks, and makes the server wait while one is written.

/** What a connection can do to make its server wait. */
export interface Flow {
  pause(): void
  resume(): void
}

/** Takes pieces in their order. */
export interface Blocks {
  add(piece: Uint8Array): void
  /** Passes on what is left; resolves when everything is written, and rejects as `write` did. */
  end(): Promise<void>
}

// Rows come one by one; single writes of them would cost more than all the rest.
const blockBytes = 1 << 20

/** Passes pieces on in blocks of a mebibyte, a larger piece as it is. `onFailure` is told at once when a write fails. */
export function collectBlocks(
  flow: Flow,
  write: (bytes: Uint8Array) => Promise<void>,
  onFailure: (error: unknown) => void,
): Blocks {
  let block = Buffer.allocUnsafe(blockBytes)
  let filled = 0
  let pending = 0
  let written = Promise.resolve()
  const pass = (bytes: Uint8Array): void => {
    pending += 1
    flow.pause()
    written = written
      .then(() => write(bytes))
      .then(() => {
        pending -= 1
        if (pending === 0) flow.resume()
      })
    written.catch(onFailure)
  }
  const flush = (): void => {
    if (filled > 0) pass(block.subarray(0, filled))
    block = Buffer.allocUnsafe(blockBytes)
    filled = 0
  }
  return {
    add: (piece) => {
      if (filled + piece.length > blockBytes) flush()
      if (piece.length > blockBytes) return pass(piece)
      block.set(piece, filled)
      filled += piece.length
    },
    end: () => {
      flush()
      return written
    },
  }
}
