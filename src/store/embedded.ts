// The embedded PostgreSQL from start to stop: one folder, one lock, one server that is started again when it dies.
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ConnectionSettings } from './database.ts'
import {
  checkVersion,
  createCluster,
  type Endpoint,
  readPassword,
  serverArguments,
  serverRole,
} from './embedded-cluster.ts'
import { type Binaries, prepareBinaries } from './embedded-files.ts'
import { openLog, type ServerLog } from './embedded-log.ts'
import {
  ownCluster,
  type Place,
  placeCluster,
  removeSocketFolder,
  socketFolder,
  socketPort,
} from './embedded-place.ts'
import { clearLeftovers, launchServer, type Server, stopServer } from './embedded-server.ts'
import { lockFolder } from './folder-lock.ts'
import { onFolder } from './folder-rights.ts'
import { sendSignal } from './process-table.ts'

/** Where messages of the embedded server go. */
export type EmbeddedLog = (
  level: 'info' | 'warn' | 'error',
  message: string,
  fields?: object,
) => void

/** What `startEmbedded` needs to know. */
export interface EmbeddedOptions {
  /** Muster's data folder; the cluster is its folder `postgres`. It is made when it does not exist. */
  readonly dataDir: string
  readonly log: EmbeddedLog
  /** Called each time the server ended by itself. Every open connection is broken then; a new server is on its way. */
  readonly onCrash?: () => void
  /** Where cluster and programs go when root starts us and the server's user cannot enter the usual folders. */
  readonly elsewhere?: string
  /** The folder `native` of another package than the installed one. */
  readonly native?: string
}

/** A running embedded server. */
export interface Embedded {
  readonly settings: ConnectionSettings
  /** The folder that the cluster lies in, on the disk that it fills. */
  readonly home: string
  /** The postmaster; undefined while a dead one is being replaced and after `stop`. */
  pid(): number | undefined
  /** Ends the server and gives the folder free; may be called more than once. */
  stop(): Promise<void>
}

interface Prepared {
  readonly place: Place
  readonly binaries: Binaries
  readonly arguments: readonly string[]
  readonly settings: ConnectionSettings
  readonly serverLog: ServerLog
  readonly onWait: (waitedSeconds: number) => void
}

const defaultElsewhere = '/var/lib/muster'
// A fast shutdown writes every changed page, at worst 1 GB. Orchestrators kill after 30 s, so stop asks less nicely before.
const stopLimitMs = 20_000
const firstRestartMs = 100
const longestRestartMs = 30_000
const stableMs = 60_000

/**
 * Starts the embedded PostgreSQL of a data folder: takes the folder's lock, stops a server that a killed Muster left
 * behind, makes the cluster on the first start, and keeps a server running until `stop`. Throws a StoreError that names
 * the folder and the way out; then nothing is left running and the lock is free.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const elsewhere = options.elsewhere ?? defaultElsewhere
  const place = await placeCluster(options.dataDir, elsewhere)
  const lock = await onFolder(place.home, () =>
    lockFolder(place.home, {
      onWatch: (holder) =>
        options.log('info', `The data folder was held by ${holder}; looking whether it still is`),
    }),
  )
  // Whatever was opened is closed in the opposite order, on a failed start as on stop.
  const undo: (() => Promise<void>)[] = [() => lock.release()]
  const unwind = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) {
      // A step that fails keeps no later one from its turn; above all the lock has to come off.
      await step().catch((error: unknown) =>
        options.log('error', 'The embedded database did not stop cleanly', { error }),
      )
    }
  }
  try {
    const prepared = await prepare(place, options, undo)
    const supervised = await supervise(prepared, options)
    undo.push(() => supervised.end())
    let stopped: Promise<void> | undefined
    return {
      settings: prepared.settings,
      home: place.home,
      pid: () => supervised.pid(),
      stop: () => (stopped ??= unwind()),
    }
  } catch (error) {
    await unwind()
    throw error
  }
}

async function prepare(
  place: Place,
  options: EmbeddedOptions,
  undo: (() => Promise<void>)[],
): Promise<Prepared> {
  const { log } = options
  const binaries = await prepareBinaries({
    user: place.user,
    copyFolder: place.copyFolder,
    onCopy: (from, to) => log('info', 'Copying the PostgreSQL programs', { from, to }),
    ...(options.native === undefined ? {} : { native: options.native }),
  })
  const started = performance.now()
  if (await createCluster(place, binaries)) {
    const tookMs = Math.round(performance.now() - started)
    log('info', 'Made the embedded database', { folder: place.cluster, tookMs })
  }
  await checkVersion(place)
  await ownCluster(place)
  const reportOrphan = (pid: number): void =>
    log('warn', `Stopping the database server ${pid} that an earlier Muster left running`, { pid })
  await clearLeftovers({ place, binaries }, reportOrphan, stopLimitMs)
  const endpoint = await chooseEndpoint(place)
  if (endpoint.kind === 'socket') undo.push(() => removeSocketFolder(endpoint.folder))
  const serverLog = await openLog(place, (error) =>
    log('warn', 'The log of the embedded database could not be shortened', { error }),
  )
  undo.push(() => serverLog.close())
  return {
    place,
    binaries,
    arguments: await serverArguments(place, endpoint),
    settings: settingsOf(endpoint),
    serverLog,
    onWait: (waitedSeconds) =>
      log('info', 'The embedded database is recovering from a crash', { waitedSeconds }),
  }
}

interface Supervised {
  pid(): number | undefined
  end(): Promise<void>
}

async function supervise(prepared: Prepared, options: EmbeddedOptions): Promise<Supervised> {
  let server: Server | undefined
  let replacing: Promise<void> | undefined
  const ending = new AbortController()
  // Without this a process.exit somewhere would leave a server behind until the next start.
  const onExit = (): void => {
    if (server !== undefined) sendSignal(server.pid, 'SIGINT')
  }
  const watch = (started: Server, delayMs: number): void => {
    server = started
    const since = performance.now()
    void started.exited.then((how) => {
      server = undefined
      if (ending.signal.aborted) return
      options.log('error', `The embedded database ended by itself (${how}); starting it again`)
      options.onCrash?.()
      const wasStable = performance.now() - since > stableMs
      replacing = replace(wasStable ? firstRestartMs : delayMs)
    })
  }
  const replace = async (delayMs: number): Promise<void> => {
    let waitMs = delayMs
    while (!ending.signal.aborted) {
      await sleep(waitMs, undefined, { signal: ending.signal }).catch(() => undefined)
      if (ending.signal.aborted) return
      waitMs = Math.min(waitMs * 2, longestRestartMs)
      try {
        await clearLeftovers(prepared, () => undefined, stopLimitMs)
        watch(await launchServer(prepared), waitMs)
        options.log('info', 'The embedded database runs again', { pid: server?.pid })
        return
      } catch (error) {
        options.log('error', 'The embedded database did not start again', { error, waitMs })
      }
    }
  }
  watch(await launchFirst(prepared, options), firstRestartMs)
  process.on('exit', onExit)
  return {
    pid: () => server?.pid,
    end: async () => {
      ending.abort()
      await replacing
      if (server !== undefined) await stopServer(prepared, server.pid, stopLimitMs)
      process.off('exit', onExit)
    },
  }
}

/**
 * A server that a killed Muster had just started may write its pid file only after we looked for one. Then our start meets
 * it and fails; it is stopped like any other that was left, and the start is tried again.
 */
async function launchFirst(prepared: Prepared, options: EmbeddedOptions): Promise<Server> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await launchServer(prepared)
    } catch (error) {
      let wasMet = error instanceof Error && error.message.includes('"postmaster.pid"')
      await clearLeftovers(
        prepared,
        (pid) => {
          wasMet = true
          options.log('warn', `Stopping the database server ${pid} that came up late`, { pid })
        },
        stopLimitMs,
      )
      if (!wasMet || attempt === 3) throw error
      await sleep(firstRestartMs)
    }
  }
}

async function chooseEndpoint(place: Place): Promise<Endpoint> {
  if (place.user !== undefined) return { kind: 'socket', folder: await socketFolder(place) }
  return { kind: 'loopback', port: await freePort(), password: await readPassword(place) }
}

function settingsOf(endpoint: Endpoint): ConnectionSettings {
  const common = { user: serverRole, database: 'postgres' }
  return endpoint.kind === 'socket'
    ? { ...common, host: endpoint.folder, port: socketPort }
    : { ...common, host: '127.0.0.1', port: endpoint.port, password: endpoint.password }
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => {
        if (typeof address === 'object' && address !== null) resolve(address.port)
        else reject(new Error('the system gave no port'))
      })
    })
  })
}
