// One postmaster: started and waited for, stopped, and what an earlier one left behind cleared away.
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { clientOptions, type ConnectionSettings } from './database.ts'
import { complaint, serverEnvironment } from './embedded-cluster.ts'
import type { Binaries } from './embedded-files.ts'
import type { ServerLog } from './embedded-log.ts'
import type { Place } from './embedded-place.ts'
import { isAlive, isServerIn, sendSignal, serversIn, waitGone } from './process-table.ts'
import { StoreError, systemCode } from './store-error.ts'

/** A postmaster that we started. `exited` says how it ended; it never rejects. */
export interface Server {
  readonly pid: number
  readonly exited: Promise<string>
}

interface Launch {
  readonly place: Place
  readonly binaries: Binaries
  readonly arguments: readonly string[]
  readonly settings: ConnectionSettings
  readonly serverLog: ServerLog
  /** Called every ten seconds while the server repeats its log after a crash, which may take minutes. */
  readonly onWait: (waitedSeconds: number) => void
}

const recoveryLimitMs = 10 * 60_000
const immediateLimitMs = 5_000

/** Starts a postmaster and waits until it takes connections (0.04 s; longer after a crash). */
export async function launchServer(launch: Launch): Promise<Server> {
  await launch.serverLog.mark()
  const child = startProcess(launch)
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(complaint(error)))
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${String(code)}`))
  })
  const { pid } = child
  if (pid === undefined) throw await didNotStart(launch, await exited)
  const server: Server = { pid, exited }
  try {
    await waitReady(launch, server)
    await greet(launch.settings)
    return server
  } catch (error) {
    await stopServer(launch, server.pid, immediateLimitMs)
    throw error
  }
}

/**
 * Ends a postmaster and waits until it is really gone: a fast shutdown (clients are disconnected, everything is written),
 * after `limitMs` an immediate one (safe: the next start repeats the log), and at last by force.
 */
export async function stopServer(
  where: { readonly place: Place; readonly binaries: Binaries },
  pid: number,
  limitMs: number,
): Promise<void> {
  const { place, binaries } = where
  if (process.platform === 'win32') {
    // Windows has no signals; pg_ctl speaks to the postmaster in its own way.
    const stop = ['stop', '-D', place.cluster, '-m', 'fast', '-w']
    await promisify(execFile)(binaries.pgCtl, stop, { env: serverEnvironment() })
    return
  }
  sendSignal(pid, 'SIGINT')
  if (await waitGone(pid, limitMs)) return
  sendSignal(pid, 'SIGQUIT')
  if (await waitGone(pid, immediateLimitMs)) return
  sendSignal(pid, 'SIGKILL')
  await waitGone(pid, immediateLimitMs)
  await endBackends(place)
}

/**
 * Clears what an earlier server left on this cluster: a postmaster that outlived a killed Muster is stopped, backends that
 * outlived a killed postmaster are ended, and a postmaster.pid whose pid is a zombie's or somebody else's by now is removed
 * (the server would take it for a running server and refuse). Call it with the folder lock held.
 */
export async function clearLeftovers(
  where: { readonly place: Place; readonly binaries: Binaries },
  onOrphan: (pid: number) => void,
  limitMs: number,
): Promise<void> {
  const { place } = where
  const left = await readPidFile(place.cluster)
  if (
    left !== undefined &&
    (await isAlive(left.pid)) &&
    (await isServerIn(left.pid, place.cluster))
  ) {
    onOrphan(left.pid)
    await stopServer(where, left.pid, limitMs)
  }
  await endBackends(place)
  if (process.platform === 'win32') return
  // PostgreSQL asks with signal 0 whether the pid of the file lives, and a zombie or a stranger answers that it does.
  const stale = await readPidFile(place.cluster)
  if (stale !== undefined && !(await isServerIn(stale.pid, place.cluster))) {
    await rm(join(place.cluster, 'postmaster.pid'), { force: true })
  }
}

function startProcess(launch: Launch): ChildProcess {
  const { descriptor } = launch.serverLog
  // A process group of its own, or Ctrl-C in the terminal would stop the server before Muster has drained.
  return spawn(launch.binaries.postgres, launch.arguments, {
    cwd: launch.place.home,
    detached: process.platform !== 'win32',
    windowsHide: true,
    env: serverEnvironment(),
    stdio: ['ignore', descriptor, descriptor],
    ...launch.place.spawnAs,
  })
}

// The last line of postmaster.pid turns to "ready"; pg_ctl waits in the same way. Reading a file is cheap enough for 5 ms.
async function waitReady(launch: Launch, server: Server): Promise<void> {
  const started = performance.now()
  let ended: string | undefined
  void server.exited.then((how) => (ended = how))
  let reportMs = 10_000
  for (;;) {
    const file = await readPidFile(launch.place.cluster)
    if (file?.pid === server.pid && file.isReady) return
    if (ended !== undefined) throw await didNotStart(launch, ended)
    const waitedMs = performance.now() - started
    if (waitedMs > recoveryLimitMs) throw await didNotStart(launch, 'not ready after 10 minutes')
    if (waitedMs > reportMs) {
      launch.onWait(Math.round(waitedMs / 1000))
      reportMs += 10_000
    }
    await sleep(5)
  }
}

// "Ready" is the server's word; one statement proves that this process reaches it through the socket.
async function greet(settings: ConnectionSettings): Promise<void> {
  const client = new pg.Client(clientOptions(settings))
  try {
    await client.connect()
    await client.query('select 1')
  } finally {
    await client.end()
  }
}

async function didNotStart(launch: Launch, how: string): Promise<StoreError> {
  const said = await launch.serverLog.tail()
  const reason = said === '' ? '' : ` It said: ${said}`
  return new StoreError(
    'server_did_not_start',
    `The embedded PostgreSQL of ${launch.place.cluster} did not start (${how}).${reason}`,
    { hint: `The log is ${launch.serverLog.path}. Nothing was changed by this attempt.` },
  )
}

async function readPidFile(
  cluster: string,
): Promise<{ readonly pid: number; readonly isReady: boolean } | undefined> {
  try {
    const lines = (await readFile(join(cluster, 'postmaster.pid'), 'utf8')).split('\n')
    const pid = Number(lines[0])
    if (!Number.isInteger(pid) || pid <= 0) return undefined
    return { pid, isReady: lines[7]?.trim() === 'ready' }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

// A backend that computes does not notice at once that its postmaster died, and while it lives no new one starts.
async function endBackends(place: Place): Promise<void> {
  for (const signal of ['SIGQUIT', 'SIGKILL'] as const) {
    const left = await serversIn(place.cluster)
    for (const pid of left) sendSignal(pid, signal)
    for (const pid of left) await waitGone(pid, immediateLimitMs)
  }
}
