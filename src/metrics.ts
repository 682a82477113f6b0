// The metrics of this process for Prometheus: counted as things happen, or looked up when they are asked for.
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'
import { unwatchedApi } from './api/watch.ts'
import type { ApiWatch } from './api/watch.ts'
import type { CompletionStatus, TaskType } from './core/task.ts'
import { metricDefinitions } from './metric-definitions.ts'
import type { MetricDefinition, MetricName, MetricOf } from './metric-definitions.ts'
import type { RunWatch } from './run/watch.ts'
import type { QueueState } from './store/vitals.ts'

type Labels = Readonly<Record<string, string>>
type Values = readonly (readonly [labels: Labels, value: number])[]

/** What is looked up when metrics are asked for. Each may fail or hang: its metrics are missing then. */
export interface MetricSources {
  readonly queue: () => Promise<QueueState>
  readonly pool: () => { readonly total: number; readonly idle: number; readonly waiting: number }
  readonly spool: () => Promise<{ readonly files: number; readonly bytes: number }>
  /** The folders whose disks are watched, by the value of their label. */
  readonly freeBytes: () => Promise<Readonly<Record<string, number>>>
}

/** The metrics of one process. */
export interface Metrics {
  readonly api: ApiWatch
  readonly run: RunWatch
  connectionLost(): void
  databaseRestarted(): void
  /** Says where to look things up; until then there is nothing of it. */
  connect(sources: MetricSources): void
  /** All metrics as text, made anew at most once a second. */
  read(): Promise<{ readonly type: string; readonly text: string }>
  /** The values of a counter or a gauge now, for those who send metrics by themselves. */
  values(name: MetricOf<'counter' | 'gauge'>): Promise<Values>
  /** Is told of every measurement of a histogram from now on. */
  onMeasured(listener: (name: MetricOf<'histogram'>, labels: Labels, seconds: number) => void): void
}

const patienceMs = 1_000
const freshMs = 1_000
/** Methods that may be a value of a label; a client may invent any other. */
const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
/** Gauges of the library whose names end as those of counters do. The same by type, without the sum, stay. */
const misnamed = [
  'nodejs_active_resources_total',
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
]
const phases = new Set(['reading', 'collecting', 'planning', 'applying'])

/** Opens the metrics. With `processMetrics` those of the process and of Node are among them. */
export function openMetrics(version: string, processMetrics: boolean): Metrics {
  const registry = new Registry()
  if (processMetrics) collectDefaultMetrics({ register: registry })
  for (const name of misnamed) registry.removeSingleMetric(name)
  let sources: MetricSources | null = null
  const instruments = makeInstruments(registry, (name) => lookUp(name, sources))
  const { counter, gauge, histogram } = instruments
  const listeners: Parameters<Metrics['onMeasured']>[0][] = []
  const measure = (name: MetricOf<'histogram'>, labels: Labels, seconds: number): void => {
    histogram(name).observe(labels, seconds)
    for (const listener of listeners) listener(name, labels, seconds)
  }
  gauge('muster_build_info').set({ version, node: process.versions.node }, 1)
  gauge('muster_active_runs').set(0)
  let page: { readonly at: number; readonly text: Promise<string> } | null = null
  return {
    api: watchCalls(instruments, measure),
    run: watchRuns(instruments, measure),
    connectionLost: () => counter('muster_database_connection_errors_total').inc(),
    databaseRestarted: () => counter('muster_embedded_database_restarts_total').inc(),
    connect: (given) => (sources = shareLooks(given)),
    read: async () => {
      const now = performance.now()
      if (page === null || now - page.at > freshMs) page = { at: now, text: registry.metrics() }
      return { type: registry.contentType, text: await page.text }
    },
    values: async (name) => {
      const found = await registry.getSingleMetric(name)?.get()
      return (found?.values ?? []).map(({ labels, value }) => [textual(labels), value])
    },
    onMeasured: (listener) => void listeners.push(listener),
  }
}

type Measure = (name: MetricOf<'histogram'>, labels: Labels, seconds: number) => void

interface Instruments {
  readonly counter: (name: MetricOf<'counter'>) => Counter
  readonly gauge: (name: MetricOf<'gauge'>) => Gauge
  readonly histogram: (name: MetricOf<'histogram'>) => Histogram
}

function makeInstruments(
  registry: Registry,
  look: (name: MetricName) => Promise<Values> | null,
): Instruments {
  const counters = new Map<string, Counter>()
  const gauges = new Map<string, Gauge>()
  const histograms = new Map<string, Histogram>()
  for (const [name, definition] of Object.entries<MetricDefinition>(metricDefinitions)) {
    const { help, labels, buckets = [] } = definition
    const common = { name, help, labelNames: [...labels], registers: [registry] }
    if (definition.kind === 'counter') counters.set(name, new Counter(common))
    else if (definition.kind === 'histogram')
      histograms.set(name, new Histogram({ ...common, buckets: [...buckets] }))
    else {
      const gauge: Gauge = new Gauge({
        ...common,
        collect: () => refill(gauge, labels.length > 0, look(name as MetricName)),
      })
      gauges.set(name, gauge)
    }
  }
  return {
    counter: (name) => known(counters, name),
    gauge: (name) => known(gauges, name),
    histogram: (name) => known(histograms, name),
  }
}

function known<T>(instruments: ReadonlyMap<string, T>, name: string): T {
  const found = instruments.get(name)
  if (found === undefined) throw new Error(`there is no metric ${name}`)
  return found
}

/** A gauge that is looked up has no value where the look fails: an old one would hide the fault. */
async function refill(
  gauge: Gauge,
  isLabelled: boolean,
  look: Promise<Values> | null,
): Promise<void> {
  if (look === null) return
  const values = await look.catch((): Values => [])
  if (isLabelled) gauge.reset()
  else gauge.remove()
  for (const [labels, value] of values) gauge.set(labels, value)
}

/** The values of a gauge that is looked up; null for those that are counted here. */
function lookUp(name: MetricName, sources: MetricSources | null): Promise<Values> | null {
  const from = looks[name]
  if (from === undefined) return null
  return sources === null ? Promise.resolve([]) : from(sources)
}

const looks: Partial<Record<MetricName, (sources: MetricSources) => Promise<Values>>> = {
  muster_tasks: async ({ queue }) => {
    const { queued, running, held } = await queue()
    return labelled('state', { queued, running, held })
  },
  muster_queue_oldest_task_age_seconds: async ({ queue }) => [[{}, (await queue()).oldestSeconds]],
  muster_database_up: async ({ queue }) => [
    [
      {},
      await queue().then(
        () => 1,
        () => 0,
      ),
    ],
  ],
  muster_database_connections: async ({ pool }) => {
    const { total, idle } = pool()
    return labelled('state', { used: total - idle, idle })
  },
  muster_database_waiting_requests: async ({ pool }) => [[{}, pool().waiting]],
  muster_spool_files: async ({ spool }) => [[{}, (await spool()).files]],
  muster_spool_bytes: async ({ spool }) => [[{}, (await spool()).bytes]],
  muster_disk_free_bytes: async ({ freeBytes }) => labelled('folder', await freeBytes()),
}

function labelled(label: string, values: Readonly<Record<string, number>>): Values {
  return Object.entries(values).map(([name, value]) => [{ [label]: name }, value])
}

/** One look serves all metrics that are made of it, and one that hangs is not begun a second time. */
function shareLooks(sources: MetricSources): MetricSources {
  return {
    queue: share(sources.queue),
    pool: sources.pool,
    spool: share(sources.spool),
    freeBytes: share(sources.freeBytes),
  }
}

function share<T>(look: () => Promise<T>): () => Promise<T> {
  let fresh: { readonly at: number; readonly found: Promise<T> } | null = null
  let underWay = false
  return async () => {
    const now = performance.now()
    if (fresh === null || (!underWay && now - fresh.at > freshMs / 2)) {
      underWay = true
      const found = look().finally(() => (underWay = false))
      found.catch(() => undefined)
      fresh = { at: now, found }
    }
    return inTime(fresh.found)
  }
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('the look took too long')), patienceMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

function watchCalls({ counter, gauge }: Instruments, measure: Measure): ApiWatch {
  return {
    ...unwatchedApi,
    begin: (request) => {
      const method = methods.has(request.method) ? request.method : '_OTHER'
      const active = gauge('http_server_active_requests')
      active.inc({ http_request_method: method })
      return (status, seconds) => {
        active.dec({ http_request_method: method })
        measure(
          'http_server_request_duration_seconds',
          {
            http_request_method: method,
            http_route: request.route ?? 'unmatched',
            http_response_status_code: status === null ? 'aborted' : String(status),
          },
          seconds,
        )
      }
    },
    upload: (result, bytes) => {
      counter('muster_uploads_total').inc({ result })
      counter('muster_upload_bytes_total').inc(bytes)
    },
  }
}

function watchRuns({ counter, gauge }: Instruments, measure: Measure): RunWatch {
  const ended = (kind: string, status: CompletionStatus): void =>
    counter('muster_runs_total').inc({ kind, outcome: status.toLowerCase() })
  return {
    begin: ({ type }) => {
      const kind = kindOf(type)
      const began = performance.now()
      let phase: { readonly name: string; readonly at: number } | null = null
      const closePhase = (now: number): void => {
        if (phase === null) return
        const name = phases.has(phase.name) ? phase.name : 'other'
        measure('muster_run_phase_duration_seconds', { phase: name }, (now - phase.at) / 1000)
        phase = null
      }
      gauge('muster_active_runs').inc()
      return {
        phase: (name) => {
          const now = performance.now()
          closePhase(now)
          phase = { name: name.toLowerCase(), at: now }
        },
        applied: (_status, counts) => {
          counter('muster_rows_read_total').inc(counts.read)
          counter('muster_rows_rejected_total').inc(counts.rejected)
          for (const change of ['created', 'updated', 'removed'] as const) {
            counter('muster_accounts_changed_total').inc({ change }, counts[change])
          }
        },
        end: (result, status) => {
          const now = performance.now()
          closePhase(now)
          gauge('muster_active_runs').dec()
          counter('muster_run_attempts_total').inc({ result })
          if (status === null) return
          ended(kind, status)
          measure('muster_run_duration_seconds', { kind }, (now - began) / 1000)
        },
      }
    },
    lost: (type, status) => ended(kindOf(type), status),
  }
}

/** CLOUD_ACCOUNT_AGGREGATION → cloud_account_aggregation. */
function kindOf(type: TaskType): string {
  return type.toLowerCase()
}

function textual(labels: Readonly<Record<string, unknown>>): Labels {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]))
}
