// What the database tells of its own state and of the queue, for readiness and metrics. Every statement here is short.
import type { Queryable } from './database.ts'

/** Whether the database can serve. */
export interface DatabaseState {
  /** A standby, or a server that was told to take no writes. */
  readonly readOnly: boolean
  /** The number of the newest migration of the schema; 0 when it has none. */
  readonly schemaVersion: number
}

/** Asks for the state. Throws when the database does not answer. */
export async function readDatabaseState(q: Queryable): Promise<DatabaseState> {
  const { rows } = await q.query<{ read_only: boolean; version: number }>(
    `select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean as read_only,
            coalesce((select max(number) from migration), 0)::int as version`,
  )
  return { readOnly: rows[0]?.read_only ?? false, schemaVersion: rows[0]?.version ?? 0 }
}

/** Tasks that have not ended, of all processes. */
export interface QueueState {
  readonly queued: number
  readonly running: number
  readonly held: number
  /** How long the oldest queued task waits, in seconds; 0 when none does. */
  readonly oldestSeconds: number
}

/** Counts the open tasks by the index that holds only these. */
export async function readQueueState(q: Queryable): Promise<QueueState> {
  const { rows } = await q.query<{
    queued: number
    running: number
    held: number
    oldest: number
  }>(
    `select (count(*) filter (where state = 'queued'))::int as queued,
            (count(*) filter (where state not in ('queued', 'held')))::int as running,
            (count(*) filter (where state = 'held'))::int as held,
            coalesce(extract(epoch from clock_timestamp() - min(created_at) filter (where state = 'queued')), 0)::float8
              as oldest
     from task where completed_at is null`,
  )
  const [row] = rows
  return {
    queued: row?.queued ?? 0,
    running: row?.running ?? 0,
    held: row?.held ?? 0,
    oldestSeconds: row?.oldest ?? 0,
  }
}
