// Traces and metrics by OpenTelemetry. Loaded only where an OTEL_ variable switches it on: it opens sockets, and takes its time to load.
import {
  diag,
  DiagLogLevel,
  metrics as meters,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import type { Attributes, Span, SpanContext } from '@opentelemetry/api'
import { NodeSDK, resources } from '@opentelemetry/sdk-node'
import type { Logger } from './api/logging.ts'
import type { ApiWatch } from './api/watch.ts'
import { metricDefinitions } from './metric-definitions.ts'
import type { MetricDefinition, MetricName, MetricOf } from './metric-definitions.ts'
import type { Metrics } from './metrics.ts'
import type { AttemptWatch, RunWatch } from './run/watch.ts'
import type { Signals } from './signals.ts'

/** Sends what it is told. */
export interface Telemetry {
  readonly api: ApiWatch
  readonly run: RunWatch
  /** Sends what is left, for five seconds at most. */
  close(): Promise<void>
}

/** A receiver that is down keeps nobody from stopping. */
const graceMs = 5_000
/** A complaint about the receiver is logged once in this time. */
const complaintMs = 60_000
/** Tasks whose submitting call is remembered until they run. */
const mostRemembered = 1_000
const longestPath = 500

/** Starts to send. Everything but what is sent is configured by the OTEL_ variables. */
export function startTelemetry(
  signals: Signals,
  metrics: Metrics,
  version: string,
  log: Logger,
): Telemetry {
  const sdk = new NodeSDK({
    resource: resources
      .defaultResource()
      .merge(
        resources.resourceFromAttributes({ 'service.name': 'muster', 'service.version': version }),
      ),
    // Not the detector of the process: it sends the command line and the user.
    resourceDetectors: [resources.hostDetector, resources.envDetector],
    instrumentations: [],
    logRecordProcessors: [],
    ...(signals.traces ? {} : { spanProcessors: [] }),
    ...(signals.metrics ? {} : { metricReaders: [] }),
  })
  // After the SDK, which would write to standard output between the lines of the log.
  diag.setLogger(complaints(log), {
    logLevel: DiagLogLevel.WARN,
    suppressOverrideMessage: true,
  })
  sdk.start()
  if (signals.metrics) sendMetrics(metrics, version)
  const submitted = new Map<string, SpanContext>()
  return {
    api: traceCalls(version, submitted),
    run: traceRuns(version, submitted),
    close: async () => {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, graceMs)
      })
      await Promise.race([sdk.shutdown().catch(() => undefined), late])
      clearTimeout(timer)
    },
  }
}

function complaints(log: Logger): Parameters<typeof diag.setLogger>[0] {
  let told = -Infinity
  const complain = (message: string): void => {
    const now = performance.now()
    if (now - told < complaintMs) return
    told = now
    log.warn({ reason: message.slice(0, 300) }, 'telemetry cannot be sent')
  }
  const ignore = (): void => undefined
  return { error: complain, warn: complain, info: ignore, debug: ignore, verbose: ignore }
}

function traceCalls(version: string, submitted: Map<string, SpanContext>): ApiWatch {
  const tracer = trace.getTracer('muster', version)
  const active = new Map<string, SpanContext>()
  return {
    begin: ({ trackingId, method, route, path, headers }) => {
      const span = tracer.startSpan(
        route === null ? method : `${method} ${route}`,
        {
          kind: SpanKind.SERVER,
          attributes: {
            'http.request.method': method,
            ...(route === null ? {} : { 'http.route': route }),
            // Without the query: it may hold a client secret, or values of accounts in a filter.
            'url.path': path.slice(0, longestPath),
            'muster.tracking_id': trackingId,
          },
        },
        propagation.extract(ROOT_CONTEXT, headers),
      )
      active.set(trackingId, span.spanContext())
      return (status) => {
        active.delete(trackingId)
        if (status !== null) span.setAttribute('http.response.status_code', status)
        if (status === null || status >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
        span.end()
      }
    },
    upload: () => undefined,
    submitted: (trackingId, taskId) => {
      const context = active.get(trackingId)
      if (context === undefined) return
      submitted.set(taskId, context)
      const [oldest] = submitted.keys()
      if (submitted.size > mostRemembered && oldest !== undefined) submitted.delete(oldest)
    },
  }
}

/** A run is a trace of its own with a link to the call that submitted it, where this process took that call. */
function traceRuns(version: string, submitted: Map<string, SpanContext>): RunWatch {
  const tracer = trace.getTracer('muster', version)
  return {
    begin: ({ taskId, type, sourceId, attempt }) => {
      const context = submitted.get(taskId)
      const span = tracer.startSpan(
        `run ${type.toLowerCase()}`,
        {
          kind: SpanKind.CONSUMER,
          attributes: {
            'muster.task.id': taskId,
            'muster.task.attempt': attempt,
            ...(sourceId === null ? {} : { 'muster.source.id': sourceId }),
          },
          links: context === undefined ? [] : [{ context }],
        },
        ROOT_CONTEXT,
      )
      return traceAttempt(span, version, () => submitted.delete(taskId))
    },
    lost: () => undefined,
  }
}

function traceAttempt(span: Span, version: string, forget: () => void): AttemptWatch {
  const tracer = trace.getTracer('muster', version)
  const inside = trace.setSpan(ROOT_CONTEXT, span)
  let phase: Span | null = null
  return {
    phase: (name) => {
      phase?.end()
      phase = tracer.startSpan(name.toLowerCase(), {}, inside)
    },
    applied: (_status, counts) => {
      const told = Object.entries(counts).map(([name, count]) => [`muster.run.${name}`, count])
      span.setAttributes(Object.fromEntries(told) as Attributes)
    },
    end: (result, status) => {
      phase?.end()
      span.setAttribute('muster.run.result', result)
      if (status !== null) {
        span.setAttribute('muster.run.outcome', status.toLowerCase())
        forget()
      }
      if (status === 'ERROR' || status === 'TEMPERROR' || result === 'retried') {
        span.setStatus({ code: SpanStatusCode.ERROR })
      }
      span.end()
    },
  }
}

/** Sends the metrics of /metrics under names with dots; Prometheus makes the same names of them again. */
function sendMetrics(metrics: Metrics, version: string): void {
  const meter = meters.getMeter('muster', version)
  const histograms = new Map<string, ReturnType<typeof meter.createHistogram>>()
  const known = Object.entries<MetricDefinition>(metricDefinitions)
  for (const [name, { kind, help, buckets }] of known) {
    const options = { description: help, ...unitOf(name) }
    const sent = telemetryName(name as MetricName)
    if (kind === 'histogram') {
      const advice = { explicitBucketBoundaries: [...(buckets ?? [])] }
      histograms.set(name, meter.createHistogram(sent, { ...options, advice }))
      continue
    }
    const instrument =
      kind === 'counter'
        ? meter.createObservableCounter(sent, options)
        : meter.createObservableGauge(sent, options)
    instrument.addCallback(async (result) => {
      const values = await metrics.values(name as MetricOf<'counter' | 'gauge'>)
      for (const [labels, value] of values) result.observe(value, attributesOf(labels))
    })
  }
  metrics.onMeasured((name, labels, seconds) =>
    histograms.get(name)?.record(seconds, attributesOf(labels)),
  )
}

function unitOf(name: string): { readonly unit?: string } {
  if (/_seconds(?:_total)?$/.test(name)) return { unit: 's' }
  return /_bytes(?:_total)?$/.test(name) ? { unit: 'By' } : {}
}

/** muster_run_duration_seconds → muster.run.duration: unit and `_total` are said otherwise there. */
export function telemetryName(name: MetricName): string {
  if (name === 'http_server_active_requests') return 'http.server.active_requests'
  return name
    .replace(/_total$/, '')
    .replace(/_(?:seconds|bytes)$/, '')
    .replaceAll('_', '.')
}

/** The labels of calls have names of their own by the conventions of OpenTelemetry. */
function attributesOf(labels: Readonly<Record<string, string>>): Attributes {
  return Object.fromEntries(
    Object.entries(labels).map(([name, value]) => {
      if (name === 'http_response_status_code') {
        return ['http.response.status_code', /^\d+$/.test(value) ? Number(value) : value]
      }
      return [name.startsWith('http_') ? name.replaceAll('_', '.') : name, value]
    }),
  )
}
