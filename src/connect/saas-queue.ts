// A queue of bytes that takes everything at once: what the reader has not worked off yet waits in memory, then in a file.
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'

/** More than this waits in a file. */
const memoryLimit = 4 << 20
const readSize = 1 << 20
/** So long the socket goes before the consumer. */
const sliceMs = 50

/**
 * The same bytes, read from their source as fast as it sends, however slowly they are consumed. The official runner cuts
 * an answer that its reader does not take at once (docs/guides/saas-connectors.md), so nobody may make it wait.
 * Whoever stops early closes the source, or the last read from it stays open.
 */
export async function* readAhead(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const queue = openQueue()
  const iterator = source[Symbol.asyncIterator]()
  let stopped = false
  const pump = async (): Promise<void> => {
    try {
      for (;;) {
        const next = await iterator.next()
        if (next.done === true || stopped) break
        await queue.put(next.value)
      }
      queue.end(null)
    } catch (error) {
      queue.end(error instanceof Error ? error : new Error(String(error)))
    }
  }
  const pumping = pump()
  try {
    for (;;) {
      const chunk = await queue.take()
      if (chunk === null) return
      await letThrough(queue)
      yield chunk
    }
  } finally {
    stopped = true
    void iterator.return?.()?.catch(() => undefined)
    void pumping.then(() => queue.close())
  }
}

/** Leaves the thread to the socket as long as bytes come without a pause: to parse them can wait, to read them cannot. */
async function letThrough(queue: Queue): Promise<void> {
  const until = performance.now() + sliceMs
  for (let seen = -1; queue.puts() !== seen && performance.now() < until;) {
    seen = queue.puts()
    await setImmediate()
  }
}

interface Queue {
  /** How often something was put. */
  puts(): number
  put(chunk: Uint8Array): Promise<void>
  /** No more comes; an error is thrown by `take` after what was put before it. */
  end(error: Error | null): void
  /** The next bytes; null at the end. */
  take(): Promise<Uint8Array | null>
  close(): Promise<void>
}

function openQueue(): Queue {
  const memory: Uint8Array[] = []
  let memoryBytes = 0
  let spill: Spill | null = null
  let ended = false
  let failure: Error | null = null
  let puts = 0
  let wake: (() => void) | null = null
  const notify = (): void => {
    wake?.()
    wake = null
  }
  return {
    puts: () => puts,
    put: async (chunk) => {
      puts += 1
      if (memoryBytes < memoryLimit && (spill === null || spill.waiting() === 0)) {
        memory.push(chunk)
        memoryBytes += chunk.length
      } else {
        spill ??= await openSpill()
        await spill.write(chunk)
      }
      notify()
    },
    end: (error) => {
      ended = true
      failure = error
      notify()
    },
    take: async () => {
      for (;;) {
        const chunk = memory.shift()
        if (chunk !== undefined) {
          memoryBytes -= chunk.length
          return chunk
        }
        if (spill !== null && spill.waiting() > 0) return spill.read()
        if (ended) {
          if (failure !== null) throw failure
          return null
        }
        await new Promise<void>((resolve) => (wake = resolve))
      }
    },
    close: async () => {
      await spill?.close()
    },
  }
}

interface Spill {
  write(chunk: Uint8Array): Promise<void>
  read(): Promise<Uint8Array>
  /** Bytes that were written and not yet read. */
  waiting(): number
  close(): Promise<void>
}

async function openSpill(): Promise<Spill> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-answer-'))
  let file: FileHandle
  try {
    file = await open(join(folder, 'answer'), 'wx+', 0o600)
  } finally {
    // The file has no name from here on: whatever ends this process, nothing of the answer stays on the disk.
    if (process.platform !== 'win32') await rm(folder, { recursive: true, force: true })
  }
  let written = 0
  let taken = 0
  return {
    write: async (chunk) => {
      await file.write(chunk, 0, chunk.length, written)
      written += chunk.length
    },
    read: async () => {
      const size = Math.min(readSize, written - taken)
      const { buffer, bytesRead } = await file.read(Buffer.alloc(size), 0, size, taken)
      if (bytesRead === 0) throw new Error('The waiting part of the answer is gone.')
      taken += bytesRead
      return buffer.subarray(0, bytesRead)
    },
    waiting: () => written - taken,
    close: async () => {
      await file.close()
      if (process.platform === 'win32') await rm(folder, { recursive: true, force: true })
    },
  }
}
