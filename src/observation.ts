// What this process shows of itself: metrics, readiness, traces, and the port that serves them. It belongs to the composition.
import {
  checkDatabase,
  checkDisk,
  checkSpool,
  checkWorker,
  databaseCheckName,
} from './api/checks.ts'
import { freeBytes } from './api/checks.ts'
import type { PageParts } from './api/health.ts'
import type { Logger } from './api/logging.ts'
import { openManagement } from './api/management.ts'
import { watchReadiness } from './api/readiness.ts'
import type { Readiness } from './api/readiness.ts'
import type { ApiWatch } from './api/watch.ts'
import { ConfigError } from './config.ts'
import type { Config } from './config.ts'
import { openMetrics } from './metrics.ts'
import type { RunWatch } from './run/watch.ts'
import { wantedSignals } from './signals.ts'
import type { Spool } from './run/spool.ts'
import { openDatabase } from './store/database.ts'
import type { Database } from './store/database.ts'
import { readQueueState } from './store/vitals.ts'

/** What is looked at once the parts are there. */
export interface Observed {
  readonly db: Database
  /** The schema that this process has migrated to. */
  readonly schemaVersion: number
  readonly spool: Spool
  /** Folders on the disks that matter, by the name that they are shown under. */
  readonly folders: Readonly<Record<string, string>>
  /** Milliseconds since the worker last looked at the queue. */
  readonly sinceTurnMs: () => number
}

/** The eyes on one process. */
export interface Observation {
  readonly api: ApiWatch
  readonly run: RunWatch
  /** What the port of the API serves; null when the management port does. */
  readonly pages: Pick<PageParts, 'readiness' | 'metrics'> | null
  /** Where the management port listens; null when there is none. */
  readonly managementUrl: string | null
  /** True while the database has swallowed a statement for more than five seconds. */
  isStuck(): boolean
  connectionLost(): void
  databaseRestarted(): void
  /** Begins to look; gives the end of looking. */
  look(observed: Observed): () => Promise<void>
  /** From now on the start is over; `isDraining` tells when the end has begun. */
  started(isDraining: () => boolean): void
  /** Closes the management port and sends what is left of traces. */
  close(): Promise<void>
}

/** How often the checks are made when nobody asks, so that a database that hangs is known before a caller waits for it. */
const rhythmMs = 2_000

/** Opens metrics, traces where the environment wants them, and the management port where the settings do. */
export async function openObservation(
  config: Pick<Config, 'management' | 'spoolDir' | 'minFreeBytes'>,
  log: Logger,
  version: string,
): Promise<Observation> {
  const metrics = openMetrics(version, true)
  const signals = wantedSignals(process.env)
  const telemetry =
    signals.traces || signals.metrics
      ? (await import('./telemetry.ts')).startTelemetry(signals, metrics, version, log)
      : null
  let readiness: Readiness | null = null
  let isDraining: (() => boolean) | null = null
  const pages = { readiness: () => readiness, metrics: () => metrics.read() }
  const stage = (): 'starting' | 'started' | 'draining' => {
    if (isDraining === null) return 'starting'
    return isDraining() ? 'draining' : 'started'
  }
  const management =
    config.management === undefined ? null : await serve({ ...pages, stage }, config.management)
  const look: Observation['look'] = (observed) => {
    const { db, spool, folders } = observed
    // A pool of its own: where all connections of the other are busy, the database still answers.
    const own = openDatabase(db.settings, () => undefined, 2)
    readiness = watchReadiness(
      [
        checkDatabase(own, observed.schemaVersion),
        checkSpool(config.spoolDir),
        checkDisk(folders, config.minFreeBytes),
        checkWorker(observed.sinceTurnMs),
      ],
      ({ name, status, detail }) =>
        status === 'UP'
          ? log.info({ check: name }, 'a check of readiness is good again')
          : log.warn({ check: name, detail }, 'a check of readiness fails'),
    )
    metrics.connect({
      queue: () => readQueueState(own),
      pool: () => db.usage(),
      spool: () => spool.usage(),
      freeBytes: () => freeBytes(folders),
    })
    const timer = setInterval(() => void readiness?.check(), rhythmMs)
    return async () => {
      clearInterval(timer)
      await own.close()
    }
  }
  return {
    api: telemetry === null ? metrics.api : bothCalls(metrics.api, telemetry.api),
    run: telemetry === null ? metrics.run : bothRuns(metrics.run, telemetry.run),
    pages: management === null ? pages : null,
    managementUrl: management?.url ?? null,
    isStuck: () => readiness?.isStuck(databaseCheckName) ?? false,
    connectionLost: () => metrics.connectionLost(),
    databaseRestarted: () => metrics.databaseRestarted(),
    look,
    started: (given) => (isDraining = given),
    close: async () => {
      await management?.close()
      await telemetry?.close()
    },
  }
}

function bothCalls(one: ApiWatch, other: ApiWatch): ApiWatch {
  return {
    begin: (request) => {
      const ends = [one.begin(request), other.begin(request)]
      return (status, seconds) => {
        for (const end of ends) end(status, seconds)
      }
    },
    upload: (result, bytes) => {
      one.upload(result, bytes)
      other.upload(result, bytes)
    },
    submitted: (trackingId, taskId) => {
      one.submitted(trackingId, taskId)
      other.submitted(trackingId, taskId)
    },
  }
}

function bothRuns(one: RunWatch, other: RunWatch): RunWatch {
  return {
    begin: (attempt) => {
      const both = [one.begin(attempt), other.begin(attempt)]
      return {
        phase: (name) => both.forEach((watch) => watch.phase(name)),
        applied: (status, counts) => both.forEach((watch) => watch.applied(status, counts)),
        end: (result, status) => both.forEach((watch) => watch.end(result, status)),
      }
    },
    lost: (type, status) => {
      one.lost(type, status)
      other.lost(type, status)
    },
  }
}

async function serve(
  parts: PageParts,
  place: { readonly host: string; readonly port: number },
): ReturnType<typeof openManagement> {
  try {
    return await openManagement(parts, place)
  } catch (error) {
    const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
    const reason = code === 'EADDRINUSE' ? 'another program listens there' : String(code ?? error)
    throw new ConfigError(
      `Muster cannot listen on ${place.host}, port ${place.port}, for health and metrics: ${reason}.`,
      'Set MUSTER_MANAGEMENT_PORT to another port (0 takes any free one), or MUSTER_MANAGEMENT_HOST to an address of this machine.',
      error,
    )
  }
}
