// Asks the system of a source, in a thread of its own: a connector that loops, leaks or throws harms nobody else.
import { Worker } from 'node:worker_threads'
import type { CopyStart } from '../connect/reader.ts'
import type { OutboundPolicy } from '../connect/outbound.ts'
import { RunError } from '../core/errors.ts'
import { readInteger } from '../core/setting.ts'
import type { Source } from '../core/source.ts'
import type { Queryable } from '../store/database.ts'
import type { MasterKey } from '../store/sealed.ts'
import { openSettings } from '../store/source-secrets.ts'
import {
  beatMs,
  beatWord,
  bytesWord,
  endedBadly,
  endedWell,
  endWord,
  growthWord,
  recordsWord,
  sharedBytes,
  stopWord,
  type SystemAnswer,
  type SystemAsk,
  type SystemInput,
  type SystemMessage,
} from './system-messages.ts'

/** What talking to systems needs of the process. */
export interface SystemServices {
  readonly masterKey: MasterKey
  readonly outbound: OutboundPolicy
  /** Modules of other connectors (MUSTER_CONNECTORS). */
  readonly packages: readonly string[]
  /** The folder that bundles of SaaS connectors lie in. */
  readonly bundleRoot: string
  /** A longer read ends with an error. */
  readonly maxReadBytes: number
  readonly log: (level: 'info' | 'warn', message: string) => void
}

/** How a question goes on. */
export interface Underway {
  readonly answer: Promise<SystemAnswer>
  /** The columns of a file that is taken on while it is written; null when there is an answer before. */
  readonly began: Promise<CopyStart | null>
  /** Tells who reads that file how far it is, see system-messages.ts. */
  readonly shared: SharedArrayBuffer
  progress(): { readonly rows: number; readonly bytes: number }
}

/** How long a connector has to put its things away before its thread is ended. */
const farewellMs = 2000

/** Where the thread's code lies: compiled, also when this file runs from its source under the test runner. */
function threadUrl(): URL {
  const here = import.meta.url
  return new URL(
    here.endsWith('.ts') ? '../../dist/run/system-thread.js' : './system-thread.js',
    here,
  )
}

/** Starts a question. The answer rejects with a `RunError`, or with the reason of the signal when that is aborted. */
export async function askSystem(
  q: Queryable,
  services: SystemServices,
  source: Source,
  ask: SystemAsk,
  signal: AbortSignal,
): Promise<Underway> {
  const settings = await openSettings(q, services.masterKey, source)
  signal.throwIfAborted()
  const shared = new SharedArrayBuffer(sharedBytes)
  const words = new Int32Array(shared)
  const progress = new Float64Array(shared)
  const input: SystemInput = {
    connector: source.connector,
    packages: services.packages,
    settings: { ...settings, bundleRoot: services.bundleRoot },
    outbound: services.outbound,
    ask,
    shared,
  }
  const worker = new Worker(threadUrl(), {
    workerData: input,
    // A page of 64 MiB and what a driver makes of it; records go to a file, none is kept.
    resourceLimits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 16 },
    env: {},
    execArgv: [],
  })
  const silenceMs = readInteger(settings, 'silenceSeconds', 180, 1, 86_400) * 1000
  let begin: (start: CopyStart | null) => void = () => undefined
  const began = new Promise<CopyStart | null>((resolve) => (begin = resolve))
  const answer = takeAnswer(worker, words, { signal, silenceMs, log: services.log, begin })
  const end = (how: number): void => {
    begin(null)
    Atomics.store(words, endWord, how)
    Atomics.notify(words, growthWord)
  }
  answer.then(
    () => end(endedWell),
    () => end(endedBadly),
  )
  return {
    answer,
    began,
    shared,
    progress: () => ({ rows: progress[recordsWord] ?? 0, bytes: progress[bytesWord] ?? 0 }),
  }
}

async function takeAnswer(
  worker: Worker,
  words: Int32Array,
  options: {
    readonly signal: AbortSignal
    readonly silenceMs: number
    readonly log: SystemServices['log']
    readonly begin: (start: CopyStart) => void
  },
): Promise<SystemAnswer> {
  const { signal, silenceMs, log } = options
  let farewell: NodeJS.Timeout | undefined
  let watch: NodeJS.Timeout | undefined
  const stop = (): void => {
    Atomics.store(words, stopWord, 1)
    worker.postMessage('stop')
    // A connector in a loop does not hear it.
    farewell = setTimeout(() => void worker.terminate(), farewellMs)
  }
  const answered = new Promise<SystemAnswer>((resolve, reject) => {
    worker.on('message', (message: SystemMessage) => {
      if (message.kind === 'log') log(message.level, message.message)
      else if (message.kind === 'began') options.begin(message.start)
      else if (message.kind === 'answer') resolve(message.answer)
      else reject(failure(message))
    })
    worker.on('error', (error) => reject(crash(error)))
    worker.on('exit', () => reject(crash(new Error('the thread of the connector ended'))))
    watch = watchBeat(words, silenceMs, () => {
      reject(
        new RunError('silent', `The connector did nothing for ${silenceMs / 1000} seconds.`, {
          hint: 'It hangs in a loop of its own: tell its makers. A longer silenceSeconds gives it more time.',
        }),
      )
    })
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await answered
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
    clearTimeout(farewell)
    clearInterval(watch)
    await worker.terminate()
  }
}

/** Calls `onSilence` when the thread has been in one piece of code for so long. */
function watchBeat(words: Int32Array, silenceMs: number, onSilence: () => void): NodeJS.Timeout {
  let beat = -1
  let since = performance.now()
  return setInterval(() => {
    const now = Atomics.load(words, beatWord)
    if (now !== beat) {
      beat = now
      since = performance.now()
    } else if (performance.now() - since > silenceMs + 2 * beatMs) onSilence()
  }, beatMs)
}

function failure(message: Extract<SystemMessage, { kind: 'failed' }>): Error {
  const { code, hint, temporary } = message
  if (code !== null) return new RunError(code, message.message, { hint, temporary })
  const cause = new Error(message.message)
  if (message.stack !== undefined) cause.stack = message.stack
  return crash(cause)
}

/** The connector itself is at fault: its own words go to the log only, because nobody knows what they hold. */
function crash(cause: Error): RunError {
  const outOfMemory = Reflect.get(cause, 'code') === 'ERR_WORKER_OUT_OF_MEMORY'
  return new RunError(
    'connector_failed',
    outOfMemory
      ? 'The connector needed more than its 256 MB of memory.'
      : 'The connector failed for a reason of its own.',
    {
      hint: outOfMemory
        ? 'Set a smaller pageSize, or leave out attributes with large values.'
        : 'Look in the log of the server; if the fault is in a package of others, tell its makers.',
      cause,
    },
  )
}
