// The main thread's side of collecting: starts the thread that reads, feeds what it encodes to PostgreSQL, and keeps count.
import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { MessageChannel, Worker } from 'node:worker_threads'
import { RunError } from '../core/errors.ts'
import type { Reject } from '../core/source-record.ts'
import type { RowShape } from '../store/row-writer.ts'
import {
  type Answer,
  bytesWord,
  chunkBytes,
  type Command,
  type ComparePass,
  type PickedRecord,
  type RowFilter,
  rowsWord,
  sharedBytes,
  type StagePass,
  stopWord,
  type ThreadInput,
  underwayWord,
} from './thread-messages.ts'

/** Takes the rejects of a pass, in the order of the file. */
export type TakeRejects = (rejects: readonly Reject[]) => Promise<void>

/** A file that is being collected. One call at a time. */
export interface Collecting {
  /** Sums up the file against the stored accounts of a partition; the next `stage('buckets')` knows the outcome. */
  compare(table: string, buckets: number): Promise<ComparePass>
  /** Reads the file once and writes the chosen rows to a COPY stream of rows of this shape, which is ended. */
  stage(
    filter: RowFilter,
    shape: RowShape,
    copy: Writable,
    takeRejects: TakeRejects,
    skipDeleted?: boolean,
  ): Promise<StagePass>
  /** The raw records that begin on these lines. */
  pick(positions: readonly number[]): Promise<readonly PickedRecord[]>
  /** What the current pass has read. */
  progress(): { readonly rows: number; readonly bytes: number }
  close(): Promise<void>
}

/** Where the thread's code lies: compiled, also when this file runs from its source under the test runner. */
function threadUrl(): URL {
  const here = import.meta.url
  return new URL(
    here.endsWith('.ts') ? '../../dist/run/collect-thread.js' : './collect-thread.js',
    here,
  )
}

/**
 * Starts the thread. Aborting `signal` fails the call that is under way with its reason. `onRows` is called after each
 * buffer of rows that was written, and waited for.
 */
export function startCollecting(
  input: Omit<ThreadInput, 'shared'>,
  signal: AbortSignal,
  onRows: () => void | Promise<void> = () => undefined,
): Collecting {
  const shared = new SharedArrayBuffer(sharedBytes)
  const words = new Int32Array(shared)
  const progress = new Float64Array(shared)
  const { port1: returns, port2 } = new MessageChannel()
  const worker = new Worker(threadUrl(), {
    workerData: { input: { ...input, shared }, returns: port2 },
    transferList: [port2],
    // The thread keeps no row: this holds the code, the sums of 2^22 buckets are outside the heap.
    resourceLimits: { maxOldGenerationSizeMb: 96, maxYoungGenerationSizeMb: 8 },
    // Nothing of our environment is needed to read a file.
    env: {},
    execArgv: [],
  })
  let died: Error | null = null
  worker.on('error', (error) => {
    died = error
  })
  worker.on('exit', () => {
    died ??= new Error('the collecting thread ended')
  })
  const stop = (): void => {
    Atomics.store(words, stopWord, 1)
    Atomics.notify(words, underwayWord)
  }
  signal.addEventListener('abort', stop)

  /** Sends a command and takes answers until `isLast` accepts one; `take` answers are worked off in order. */
  const ask = (
    command: Command,
    take: (answer: Answer) => Promise<void>,
  ): Promise<Exclude<Answer, { kind: 'failed' | 'rows' | 'rejects' }>> =>
    new Promise((resolve, reject) => {
      let chain: Promise<void> = Promise.resolve()
      let failed: unknown = null
      const finish = (settle: () => void): void => {
        worker.off('message', onMessage)
        worker.off('error', onDeath)
        worker.off('exit', onDeath)
        settle()
      }
      const onDeath = (): void => {
        finish(() =>
          reject(signal.aborted ? reason(signal) : (died ?? new Error('the thread ended'))),
        )
      }
      const onMessage = (answer: Answer): void => {
        switch (answer.kind) {
          case 'rows':
          case 'rejects':
            chain = chain
              .then(() => (failed === null ? take(answer) : undefined))
              .catch((error: unknown) => {
                // The thread is stopped; its last answer then ends the call with this error.
                failed ??= error
                stop()
              })
              .finally(() => {
                Atomics.sub(words, underwayWord, 1)
                Atomics.notify(words, underwayWord)
              })
            return
          case 'failed':
            void chain.then(() => finish(() => reject(failed ?? failure(answer, signal))))
            return
          case 'staged':
          case 'compared':
          case 'picked':
            void chain.then(() =>
              finish(() => (failed === null ? resolve(answer) : reject(failed))),
            )
        }
      }
      if (died !== null || signal.aborted) {
        reject(signal.aborted ? reason(signal) : died)
        return
      }
      worker.on('message', onMessage)
      worker.on('error', onDeath)
      worker.on('exit', onDeath)
      worker.postMessage(command)
    })

  const writeRows = async (
    copy: ReturnType<typeof openCopy>,
    answer: Extract<Answer, { kind: 'rows' }>,
  ): Promise<void> => {
    await copy.write(Buffer.from(answer.buffer, 0, answer.length))
    await onRows()
    // A small last buffer may still wait in the socket; full ones were drained, and go back to the thread.
    if (answer.buffer.byteLength === chunkBytes && answer.length > chunkBytes / 2) {
      returns.postMessage(answer.buffer, [answer.buffer])
    }
  }

  return {
    compare: async (table, buckets) => {
      const answer = await ask({ command: 'compare', table, buckets }, async () => undefined)
      if (answer.kind !== 'compared') throw new Error(`unexpected answer ${answer.kind}`)
      return answer.pass
    },
    stage: async (filter, shape, stream, takeRejects, skipDeleted = false) => {
      const copy = openCopy(stream)
      try {
        const command = { command: 'stage', filter, shape, skipDeleted } as const
        const answer = await ask(command, async (data) => {
          if (data.kind === 'rows') await writeRows(copy, data)
          else if (data.kind === 'rejects') await takeRejects(data.rejects)
        })
        if (answer.kind !== 'staged') throw new Error(`unexpected answer ${answer.kind}`)
        await copy.end()
        return answer.pass
      } catch (error) {
        await copy.abandon()
        throw error
      }
    },
    pick: async (positions) => {
      const answer = await ask({ command: 'pick', positions }, async () => undefined)
      if (answer.kind !== 'picked') throw new Error(`unexpected answer ${answer.kind}`)
      return answer.records
    },
    progress: () => ({ rows: progress[rowsWord] ?? 0, bytes: progress[bytesWord] ?? 0 }),
    close: async () => {
      signal.removeEventListener('abort', stop)
      stop()
      returns.close()
      await worker.terminate()
    },
  }
}

function reason(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('stopped')
}

/** The error of a thread as one of this thread. */
function failure(answer: Extract<Answer, { kind: 'failed' }>, signal: AbortSignal): Error {
  if (answer.code === 'stopped') return reason(signal)
  if (answer.code !== null) {
    return new RunError(answer.code, answer.message, {
      hint: answer.hint,
      temporary: answer.temporary,
    })
  }
  const error = new Error(answer.message)
  if (answer.stack !== undefined) error.stack = answer.stack
  return error
}

/** A COPY stream as calls that end, also when the server or the connection fails while they wait. */
function openCopy(copy: Writable) {
  let failed: Error | null = null
  // pg-copy-streams emits an error of the server without ending the stream: calls under way would wait for ever.
  copy.on('error', (error) => {
    failed ??= error
  })
  const settle = (start: (done: (error?: Error | null) => void) => void): Promise<void> =>
    new Promise((resolve, reject) => {
      if (failed !== null) {
        reject(failed)
        return
      }
      copy.once('error', reject)
      start((error) => {
        copy.off('error', reject)
        if (error) reject(error)
        else resolve()
      })
    })
  return {
    write: (bytes: Buffer) => settle((done) => copy.write(bytes, done)),
    end: () => settle((done) => copy.end(done)),
    /** Fails the COPY and waits for the server's answer, so that the connection can be used again. */
    abandon: async (): Promise<void> => {
      if (failed !== null || copy.destroyed) return
      const closed = once(copy, 'close').catch(() => undefined)
      copy.destroy()
      await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 2000).unref())])
    },
  }
}
