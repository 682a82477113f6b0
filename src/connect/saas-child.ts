// The child process of a bundle: without our environment, with limits, and ended together with everything it started.
import { type ChildProcess, spawn } from 'node:child_process'
import { open, readFile } from 'node:fs/promises'
import { PassThrough, type Readable } from 'node:stream'
import { RunError } from '../core/errors.ts'
import { limitError, silenceError } from './saas-errors.ts'
import type { BundleCopy } from './saas-folder.ts'
import { abortReason, within } from './wait.ts'

/** What a child is started with. */
export interface ChildLimits {
  readonly memoryMb: number
  readonly silenceMs: number
  /** Counts what the connector prints; more than the limit ends it. */
  readonly printLimitBytes: number
}

/** How a child ended by itself. */
export interface ChildExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** How many bytes it printed. */
  readonly printed: number
  /** Whether V8 said that its heap was full. */
  readonly heapFull: boolean
}

interface Prints {
  readonly bytes: number
  readonly heapFull: boolean
}

/** Nobody's user, and not that of the embedded database (65534), whose processes and files it could reach otherwise. */
const userId = 65_533
const memoryCheckMs = 200
/** Of 64 KiB each at most. */
const chunksAhead = 32
/** A loop that outlives Muster itself ends here. */
const cpuLimitSeconds = 7200

/** Starts the runner, sends the request, yields what it answers, and gives its end. Kills it in every other case. */
export async function* runChild(
  copy: BundleCopy,
  request: string,
  limits: ChildLimits,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, ChildExit> {
  if (signal.aborted) throw abortReason(signal)
  const { child, exited } = await start(copy, limits)
  // Set by a watch that ends the child; it then takes the place of what the end looks like.
  let reason: Error | null = null
  const end = (error: Error): void => {
    reason ??= error
    killGroup(child)
  }
  const stopWatching = watch(child, limits, end)
  const aborted = (): void => end(abortReason(signal))
  signal.addEventListener('abort', aborted, { once: true })
  const prints = countPrints(child, limits, end)
  try {
    child.stdin?.on('error', () => {})
    child.stdin?.write(`${request}\n`)
    const answer = bounded(child.stdio[3] as Readable)[Symbol.asyncIterator]()
    for (;;) {
      const next: IteratorResult<Uint8Array> = await within(
        answer.next(),
        limits.silenceMs,
        signal,
        () => silenceError(limits.silenceMs),
      )
      if (next.done === true) break
      yield next.value
    }
    const { code, signal: by } = await within(exited, limits.silenceMs, signal, () =>
      silenceError(limits.silenceMs),
    )
    if (reason !== null) throw reason as Error
    const { bytes, heapFull } = prints()
    return { code, signal: by, printed: bytes, heapFull }
  } catch (error) {
    throw reason ?? error
  } finally {
    signal.removeEventListener('abort', aborted)
    stopWatching()
    killGroup(child)
    await exited
  }
}

/** A bounded number of chunks ahead, so that the child and we do not wait for each other after every one. */
function bounded(source: Readable): Readable {
  const ahead = new PassThrough({ objectMode: true, highWaterMark: chunksAhead })
  source.on('error', (error) => ahead.destroy(error))
  return source.pipe(ahead)
}

interface Started {
  readonly child: ChildProcess
  readonly exited: Promise<Omit<ChildExit, 'printed' | 'heapFull'>>
}

async function start(copy: BundleCopy, limits: ChildLimits): Promise<Started> {
  const asRoot = process.getuid?.() === 0
  // The folder of Node may be closed to other users (/root/.nvm); an open descriptor of it is not.
  const node = asRoot && process.platform === 'linux' ? await open(process.execPath, 'r') : null
  try {
    const command = node === null ? process.execPath : '/proc/self/fd/4'
    const [file, arguments_] = limited(command, nodeArguments(copy, limits))
    const child = spawn(file, arguments_, {
      cwd: copy.folder,
      // Neither our keys nor anything else of ours; a proxy or a locale of the operator is not the connector's either.
      env: {},
      detached: process.platform !== 'win32',
      windowsHide: true,
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', ...(node === null ? [] : [node.fd])],
      ...(asRoot ? { uid: userId, gid: userId } : {}),
    })
    // Listened for at once: the closing of the descriptor below gives a short life time enough to end.
    const exited = exitOf(child)
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', (cause) => reject(notStarted(cause)))
    })
    return { child, exited }
  } finally {
    await node?.close()
  }
}

function notStarted(cause: Error): RunError {
  const code = String(Reflect.get(cause, 'code') ?? cause.message)
  return new RunError('connector_not_started', `The bundle cannot be started (${code}).`, {
    hint: 'Look whether the system has memory and processes left, and whether everybody may enter the folder for temporary files (TMPDIR).',
    temporary: true,
    cause,
  })
}

/**
 * The limits of the system besides those of Node: CPU time, no file may grow, no core file. Where setpriv can do it
 * (util-linux), the child ends with the thread that started it, whatever becomes of that thread.
 */
const limitingScript = `
ulimit -c 0; ulimit -f 0; ulimit -t ${cpuLimitSeconds}
if setpriv --pdeathsig KILL true 2>/dev/null; then exec setpriv --pdeathsig KILL "$0" "$@"; fi
exec "$0" "$@"
`

function limited(command: string, given: readonly string[]): [string, readonly string[]] {
  if (process.platform === 'win32') return [command, given]
  return ['/bin/sh', ['-c', limitingScript, command, ...given]]
}

function nodeArguments(copy: BundleCopy, limits: ChildLimits): readonly string[] {
  return [
    ...permissionFlags(process.versions.node),
    `--allow-fs-read=${copy.folder}/*`,
    `--allow-fs-read=${copy.runner}`,
    // The heap is not all that counts; the rest of the limit is for buffers and Node itself.
    `--max-old-space-size=${Math.floor(limits.memoryMb * 0.75)}`,
    '--no-warnings',
    '--no-deprecation',
    copy.runner,
    copy.file,
  ]
}

/** The permission model lost its "experimental" in 22.13 and 23.5, and refuses the network too from 25 on. */
export function permissionFlags(version: string): readonly string[] {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const settled = major >= 24 || (major === 23 && minor >= 5) || (major === 22 && minor >= 13)
  if (!settled) return ['--experimental-permission']
  return major >= 25 ? ['--permission', '--allow-net'] : ['--permission']
}

function exitOf(child: ChildProcess): Promise<Omit<ChildExit, 'printed' | 'heapFull'>> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
}

/** Ends the child and whatever is in its process group. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    if (process.platform === 'win32') child.kill('SIGKILL')
    else process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It ended in this moment.
  }
}

/** Drops what the connector prints (it may hold secrets and accounts) and counts it. */
function countPrints(
  child: ChildProcess,
  limits: ChildLimits,
  end: (error: Error) => void,
): () => Prints {
  let bytes = 0
  let heapFull = false
  const count = (chunk: Uint8Array): void => {
    bytes += chunk.length
    if (bytes <= limits.printLimitBytes) return
    end(
      limitError(
        `printed more than ${limits.printLimitBytes >> 20} MB`,
        'Make it log less: what it prints is not kept.',
      ),
    )
  }
  child.stdout?.on('data', count)
  child.stderr?.on('data', (chunk: Buffer) => {
    count(chunk)
    heapFull ||= chunk.includes('heap out of memory')
  })
  child.stdout?.on('error', () => {})
  child.stderr?.on('error', () => {})
  return () => ({ bytes, heapFull })
}

/** Looks at the memory of the child; only Linux shows it as a file. */
function watch(child: ChildProcess, limits: ChildLimits, end: (error: Error) => void): () => void {
  if (process.platform !== 'linux') return () => {}
  const check = async (): Promise<void> => {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '')
    const kilobytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0)
    if (kilobytes > limits.memoryMb * 1024) end(memoryError(limits))
  }
  const timer = setInterval(() => void check(), memoryCheckMs)
  return () => clearInterval(timer)
}

/** The error of a connector that wants more memory than it may have. */
export function memoryError(limits: Pick<ChildLimits, 'memoryMb'>): RunError {
  return limitError(
    `needed more than ${limits.memoryMb} MB of memory`,
    'Raise connectorAttributes.memoryMb, or make the connector send accounts as they come.',
  )
}
