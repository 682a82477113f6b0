// The ledger: one row for each aggregation, what it read, what it did, and its rejects.
import type { ColumnDrift } from '../core/drift.ts'
import { fromWireId, toWireId } from '../core/id.ts'
import type { Reject } from '../core/source-record.ts'
import type { Database, Queryable, Row } from './database.ts'
import type { Lease } from './tasks.ts'

/** A phase of a run with its instants (ISO-8601) and the rows it handled. */
export interface Phase {
  readonly name: string
  readonly started: string
  readonly ended: string
  readonly rows: number
}

/** What was read of the system of a direct source. */
export interface RunRead {
  readonly mode: 'full' | 'delta'
  /** What proved that nothing was missing. */
  readonly proof: string
  readonly records: number
  readonly bytes: number
  /** 64 lower-case hex digits. */
  readonly sha256: string
  readonly columns: readonly string[]
}

/** A run as it is kept. */
export interface Run {
  readonly id: string
  readonly number: number
  readonly sourceId: string
  readonly node: string
  readonly spoolFile: string | null
  readonly spoolBytes: number | null
  readonly spoolSha256: string | null
  readonly fileName: string | null
  readonly fields: Readonly<Record<string, string>>
  readonly phases: readonly Phase[]
  readonly counters: Readonly<Record<string, unknown>>
  readonly verdict: Readonly<Record<string, unknown>> | null
  readonly baseline: boolean
  /** What was read of a system; null for an upload. */
  readonly read: RunRead | null
  readonly feedNumber: number | null
  readonly applied: string | null
  /** How its columns differ from the schema and from the run before; null until it collects, and for removals. */
  readonly drift: ColumnDrift | null
}

const runColumns = `run.task_id, run.number, run.source_id, run.node, run.spool_file, run.spool_bytes,
  encode(run.spool_sha256, 'hex') as sha256, run.file_name, run.fields, run.phases, run.counters, run.verdict,
  run.baseline, run.read, run.feed_number, run.applied_at, run.settings -> 'drift' as drift`

function rowToRun(row: Row): Run {
  const applied = row['applied_at']
  return {
    id: toWireId(String(row['task_id'])),
    number: Number(row['number']),
    sourceId: toWireId(String(row['source_id'])),
    node: String(row['node']),
    spoolFile: row['spool_file'] as string | null,
    spoolBytes: row['spool_bytes'] as number | null,
    spoolSha256: row['sha256'] as string | null,
    fileName: row['file_name'] as string | null,
    fields: row['fields'] as Record<string, string>,
    phases: row['phases'] as readonly Phase[],
    counters: row['counters'] as Record<string, unknown>,
    verdict: row['verdict'] as Record<string, unknown> | null,
    baseline: row['baseline'] === true,
    read: row['read'] as RunRead | null,
    feedNumber: row['feed_number'] as number | null,
    applied: applied instanceof Date ? applied.toISOString() : null,
    drift: row['drift'] as ColumnDrift | null,
  }
}

/** What a run is made of when it is submitted. */
export interface NewRun {
  readonly taskId: string
  readonly number: number
  readonly sourceId: string
  readonly node: string
  readonly spoolFile: string | null
  readonly spoolBytes: number | null
  readonly spoolSha256: string | null
  readonly fileName: string | null
  readonly fields: Readonly<Record<string, string>>
}

/** Writes the run of a task that was just made. */
export async function createRun(q: Queryable, run: NewRun): Promise<void> {
  await q.query(
    `insert into run (task_id, number, source_id, node, spool_file, spool_bytes, spool_sha256, file_name, fields)
     values ($1::uuid, $2, $3::uuid, $4, $5, $6, decode($7, 'hex'), $8, $9::jsonb)`,
    [
      fromWireId(run.taskId),
      run.number,
      fromWireId(run.sourceId),
      run.node,
      run.spoolFile,
      run.spoolBytes,
      run.spoolSha256,
      run.fileName,
      JSON.stringify(run.fields),
    ],
  )
}

/** The run with this id (32 hex digits), or null. */
export async function getRun(q: Queryable, id: string): Promise<Run | null> {
  const { rows } = await q.query(`select ${runColumns} from run where task_id = $1::uuid`, [
    fromWireId(id),
  ])
  return rows[0] === undefined ? null : rowToRun(rows[0])
}

/** The id of the run of this number; null when it is gone. */
export async function getRunId(q: Queryable, number: number): Promise<string | null> {
  const { rows } = await q.query<{ task_id: string }>(
    'select task_id from run where number = $1::bigint',
    [number],
  )
  const [row] = rows
  return row === undefined ? null : toWireId(row.task_id)
}

/** The columns of the last run of a source before this one that had an effect, and its id; null when there is none. */
export async function getColumnsBefore(
  q: Queryable,
  run: Pick<Run, 'sourceId' | 'number'>,
): Promise<{ readonly run: string; readonly columns: readonly string[] } | null> {
  const { rows } = await q.query<{ task_id: string; columns: readonly string[] }>(
    `select task_id, settings -> 'columns' as columns from run
     where source_id = $1::uuid and number < $2::bigint and applied_at is not null and settings ? 'columns'
     order by number desc limit 1`,
    [fromWireId(run.sourceId), run.number],
  )
  const [row] = rows
  return row === undefined ? null : { run: toWireId(row.task_id), columns: row.columns }
}

/** What is written into the ledger while a run goes on. Keys that are not given stay as they are. */
export interface RunChange {
  readonly settings?: unknown
  readonly phases?: readonly Phase[]
  readonly counters?: object
  readonly verdict?: unknown
  readonly stagedRows?: number
  readonly baseVersion?: number
  readonly baseline?: boolean
  readonly read?: RunRead
}

/** Writes into the ledger; nothing happens when the attempt is not the current one any more. */
export async function updateRun(q: Queryable, lease: Lease, change: RunChange): Promise<void> {
  const json = (value: unknown): string | null =>
    value === undefined ? null : JSON.stringify(value)
  await q.query(
    `update run set settings = coalesce($2::jsonb, settings), phases = coalesce($3::jsonb, phases),
       counters = coalesce($4::jsonb, counters), verdict = coalesce($5::jsonb, verdict),
       staged_rows = coalesce($6::bigint, staged_rows), base_version = coalesce($7::bigint, base_version),
       baseline = coalesce($8::boolean, baseline), read = coalesce($10::jsonb, read)
     where task_id = $1::uuid and exists (select from task where id = $1::uuid and attempt = $9)`,
    [
      fromWireId(lease.taskId),
      json(change.settings),
      json(change.phases),
      json(change.counters),
      json(change.verdict),
      change.stagedRows ?? null,
      change.baseVersion ?? null,
      change.baseline ?? null,
      lease.fence,
      json(change.read),
    ],
  )
}

/**
 * Gives the run its place in the order of commits, and its instant. The last statement but the end of the task: the
 * lock on the counter is held until commit, so a reader that has seen a number has seen all before it.
 */
export async function giveFeedNumber(tx: Queryable, id: string): Promise<number> {
  const { rows } = await tx.query<{ value: number }>(
    'update feed_counter set value = value + 1 returning value',
  )
  const value = rows[0]?.value ?? 0
  await tx.query(
    'update run set feed_number = $2, applied_at = clock_timestamp() where task_id = $1::uuid',
    [fromWireId(id), value],
  )
  return value
}

/**
 * Adds rejects of a run and gives their number: none when the attempt is not the current one any more. `accountId` (32
 * hex digits) is that of the identity, if it is readable.
 */
export async function addRejects(
  q: Queryable,
  attempt: { readonly taskId: string; readonly fence: number },
  firstNumber: number,
  rejects: readonly (Reject & { readonly accountId: string | null })[],
): Promise<number> {
  const { rowCount } = await q.query(
    `insert into reject (task_id, number, position, code, reason, raw, account_id, native_identity, trusted)
     select $1::uuid, $2::integer + ordinality::integer - 1, given.position, given.code, given.reason, given.raw,
       given.account_id, given.native_identity, given.trusted
     from unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::text[], $9::boolean[])
       with ordinality as given (position, code, reason, raw, account_id, native_identity, trusted, ordinality)
     where exists (select from lease where task_id = $1::uuid and fence = $10::integer)`,
    [
      fromWireId(attempt.taskId),
      firstNumber,
      rejects.map((reject) => reject.position),
      rejects.map((reject) => reject.code),
      rejects.map((reject) => reject.reason),
      rejects.map((reject) => reject.raw),
      rejects.map((reject) => (reject.accountId === null ? null : fromWireId(reject.accountId))),
      rejects.map((reject) => reject.nativeIdentity),
      rejects.map((reject) => reject.trusted),
      attempt.fence,
    ],
  )
  return rowCount
}

/** Forgets the rejects of an attempt that is made anew. */
export async function clearRejects(q: Queryable, runId: string): Promise<void> {
  await q.query('delete from reject where task_id = $1::uuid', [fromWireId(runId)])
}

/** How many rejects there are, how many of them cannot be trusted, and the first ones. */
export async function summariseRejects(
  q: Queryable,
  runId: string,
  examples: number,
): Promise<{
  readonly total: number
  readonly untrusted: number
  readonly first: readonly { readonly position: number; readonly reason: string }[]
}> {
  const counted = await q.query<{ total: number; untrusted: number }>(
    `select count(*) as total, count(*) filter (where not trusted) as untrusted
     from reject where task_id = $1::uuid`,
    [fromWireId(runId)],
  )
  const first = await q.query<{ position: number; reason: string }>(
    'select position, reason from reject where task_id = $1::uuid order by position, number limit $2',
    [fromWireId(runId), examples],
  )
  return {
    total: counted.rows[0]?.total ?? 0,
    untrusted: counted.rows[0]?.untrusted ?? 0,
    first: first.rows,
  }
}

/** A page of the rejects of a run in the order of the file. */
export async function listRejects(
  q: Queryable,
  runId: string,
  limit: number,
  offset: number,
): Promise<{ readonly total: number; readonly rejects: readonly Omit<Reject, 'trusted'>[] }> {
  const counted = await q.query<{ total: number }>(
    'select count(*) as total from reject where task_id = $1::uuid',
    [fromWireId(runId)],
  )
  const { rows } = await q.query(
    `select position, code, reason, raw, native_identity from reject where task_id = $1::uuid
     order by position, number limit $2 offset $3`,
    [fromWireId(runId), limit, offset],
  )
  return {
    total: counted.rows[0]?.total ?? 0,
    rejects: rows.map((row) => ({
      position: Number(row['position']),
      code: row['code'] as Reject['code'],
      reason: String(row['reason']),
      raw: String(row['raw']),
      nativeIdentity: row['native_identity'] as string | null,
    })),
  }
}

/** The names of spool files of this node that open runs still need. */
export async function listSpoolFiles(db: Database, node: string): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ spool_file: string }>(
    `select run.spool_file from run join task on task.id = run.task_id
     where run.node = $1 and run.spool_file is not null and task.completed_at is null`,
    [node],
  )
  return new Set(rows.map((row) => row.spool_file))
}

/** The names of spool files of this node whose runs have ended; the runs forget them. */
export async function takeEndedSpoolFiles(q: Queryable, node: string): Promise<readonly string[]> {
  const { rows } = await q.query<{ spool_file: string }>(
    `with ended as (
       select run.task_id, run.spool_file from run join task on task.id = run.task_id
       where run.node = $1 and run.spool_file is not null and task.completed_at is not null)
     update run set spool_file = null from ended where ended.task_id = run.task_id
     returning ended.spool_file`,
    [node],
  )
  return rows.map((row) => row.spool_file)
}
