// Every metric of our own: name, kind, labels and what it says. docs/reference/metrics.md lists the same; a test keeps them equal.

/** A metric. Names end in a base unit and, for counters, `_total`; labels take few values, never an id or a name. */
export interface MetricDefinition {
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly string[]
  /** Upper limits of the buckets of a histogram. */
  readonly buckets?: readonly number[]
}

const requestSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60]
/** From an identical reload of a small file to a load of tens of millions of rows. */
const runSeconds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600]

/** All of them, by name. */
export const metricDefinitions = {
  http_server_request_duration_seconds: {
    kind: 'histogram',
    help: 'How long calls took, from their head to the end of the answer.',
    labels: ['http_request_method', 'http_route', 'http_response_status_code'],
    buckets: requestSeconds,
  },
  http_server_active_requests: {
    kind: 'gauge',
    help: 'Calls that are under way.',
    labels: ['http_request_method'],
  },
  muster_uploads_total: {
    kind: 'counter',
    help: 'Calls of load-accounts by what became of them: accepted, retry, busy, conflict, or the code of the error.',
    labels: ['result'],
  },
  muster_upload_bytes_total: {
    kind: 'counter',
    help: 'Bytes of the files that uploads have stored.',
    labels: [],
  },
  muster_runs_total: {
    kind: 'counter',
    help: 'Tasks that the worker of this process brought to their end, by kind and completion status; small removals are made by the call itself and not counted.',
    labels: ['kind', 'outcome'],
  },
  muster_run_attempts_total: {
    kind: 'counter',
    help: 'Attempts of this process: ended, retried, stopped with the server, or lost to another worker (lease_lost).',
    labels: ['result'],
  },
  muster_run_duration_seconds: {
    kind: 'histogram',
    help: 'How long attempts took that brought their task to its end.',
    labels: ['kind'],
    buckets: runSeconds,
  },
  muster_run_phase_duration_seconds: {
    kind: 'histogram',
    help: 'How long the phases of attempts took.',
    labels: ['phase'],
    buckets: runSeconds,
  },
  muster_active_runs: {
    kind: 'gauge',
    help: 'Attempts that this process works on.',
    labels: [],
  },
  muster_rows_read_total: {
    kind: 'counter',
    help: 'Records that completed runs have read.',
    labels: [],
  },
  muster_rows_rejected_total: {
    kind: 'counter',
    help: 'Records that completed runs have rejected.',
    labels: [],
  },
  muster_accounts_changed_total: {
    kind: 'counter',
    help: 'Accounts that completed aggregations have created, updated or removed.',
    labels: ['change'],
  },
  muster_tasks: {
    kind: 'gauge',
    help: 'Open tasks in the database, of all processes: queued, running or held.',
    labels: ['state'],
  },
  muster_queue_oldest_task_age_seconds: {
    kind: 'gauge',
    help: 'How long the oldest queued task waits; 0 when none does.',
    labels: [],
  },
  muster_database_up: {
    kind: 'gauge',
    help: '1 when the database answered within a second, else 0; the metrics that are read from it are missing then.',
    labels: [],
  },
  muster_database_connections: {
    kind: 'gauge',
    help: 'Connections of the pool of this process: used or idle.',
    labels: ['state'],
  },
  muster_database_waiting_requests: {
    kind: 'gauge',
    help: 'Statements that wait for a connection of the pool.',
    labels: [],
  },
  muster_database_connection_errors_total: {
    kind: 'counter',
    help: 'Connections of the pool that broke.',
    labels: [],
  },
  muster_embedded_database_restarts_total: {
    kind: 'counter',
    help: 'How often the embedded database ended by itself.',
    labels: [],
  },
  muster_spool_files: {
    kind: 'gauge',
    help: 'Files in the spool folder.',
    labels: [],
  },
  muster_spool_bytes: {
    kind: 'gauge',
    help: 'Bytes of the files in the spool folder.',
    labels: [],
  },
  muster_disk_free_bytes: {
    kind: 'gauge',
    help: 'Free space on the disk of the spool folder and, with the embedded database, of its folder.',
    labels: ['folder'],
  },
  muster_build_info: {
    kind: 'gauge',
    help: 'Always 1; the labels tell the versions of Muster and of Node.',
    labels: ['version', 'node'],
  },
} as const satisfies Readonly<Record<string, MetricDefinition>>

/** The name of a metric of our own. */
export type MetricName = keyof typeof metricDefinitions

/** The names of those of one kind. */
export type MetricOf<K extends MetricDefinition['kind']> = {
  [N in MetricName]: (typeof metricDefinitions)[N]['kind'] extends K ? N : never
}[MetricName]
