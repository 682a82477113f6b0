// Tasks and their leases: the table that is the queue, and what task-status shows.
import { fromWireId, toWireId } from '../core/id.ts'
import type { CompletionStatus, Task, TaskMessage, TaskState, TaskType } from '../core/task.ts'
import { isTerminal } from '../core/task.ts'
import type { Database, Queryable, Row } from './database.ts'

/** The columns that `rowToTask` reads, of the table `task` under its own name. */
export const taskColumns = `task.id, task.number, task.type, task.state, task.source_id, task.source_name, task.launcher,
  task.launcher_id, task.client_id, task.completion_status, task.messages, task.attributes, task.progress,
  task.percent_complete, task.attempt, task.cancel_by, task.created_at, task.launched_at, task.completed_at, task.modified_at`

/** A row of `task` as a Task. */
export function rowToTask(row: Row): Task {
  const instant = (value: unknown): string | null =>
    value instanceof Date ? value.toISOString() : null
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null)
  const sourceId = text(row['source_id'])
  return {
    id: toWireId(String(row['id'])),
    number: Number(row['number']),
    type: row['type'] as TaskType,
    state: row['state'] as TaskState,
    sourceId: sourceId === null ? null : toWireId(sourceId),
    sourceName: text(row['source_name']),
    launcher: String(row['launcher']),
    launcherId: text(row['launcher_id']),
    clientId: text(row['client_id']),
    completionStatus: row['completion_status'] as CompletionStatus | null,
    messages: row['messages'] as readonly TaskMessage[],
    attributes: row['attributes'] as Record<string, unknown>,
    progress: text(row['progress']),
    percentComplete: Number(row['percent_complete']),
    attempt: Number(row['attempt']),
    cancelBy: text(row['cancel_by']),
    created: instant(row['created_at']) ?? '',
    launched: instant(row['launched_at']),
    completed: instant(row['completed_at']),
    modified: instant(row['modified_at']) ?? '',
  }
}

/** A task to be made. With `ended` it is born completed: a run that was refused because the source is busy. */
export interface NewTask {
  readonly id: string
  readonly type: TaskType
  readonly sourceId: string | null
  readonly sourceName: string | null
  readonly launcher: string
  readonly launcherId: string | null
  readonly clientId: string | null
  readonly submitKey: string | null
  readonly attributes: Readonly<Record<string, unknown>>
  readonly progress: string | null
  readonly ended?: {
    readonly state: TaskState
    readonly completionStatus: CompletionStatus
    readonly messages: readonly TaskMessage[]
  }
}

/** Makes a task. Throws a unique violation when an open task has the same submit key. */
export async function createTask(q: Queryable, task: NewTask): Promise<Task> {
  const { ended } = task
  const { rows } = await q.query(
    `insert into task (id, type, state, source_id, source_name, launcher, launcher_id, client_id, submit_key,
       attributes, progress, completion_status, messages, percent_complete, completed_at)
     values ($1::uuid, $2, $3, $4::uuid, $5, $6, $7, $8, $9, $10::jsonb, $11, $12, $13::jsonb,
       case when $12::text is null then 0 else 100 end, case when $12::text is null then null else clock_timestamp() end)
     returning ${taskColumns}`,
    [
      fromWireId(task.id),
      task.type,
      ended?.state ?? 'queued',
      task.sourceId === null ? null : fromWireId(task.sourceId),
      task.sourceName,
      task.launcher,
      task.launcherId,
      task.clientId,
      task.submitKey,
      JSON.stringify(task.attributes),
      task.progress,
      ended?.completionStatus ?? null,
      JSON.stringify(ended?.messages ?? []),
    ],
  )
  return only(rows)
}

/** The task with this id (32 hex digits), or null. */
export async function getTask(q: Queryable, id: string): Promise<Task | null> {
  const { rows } = await q.query(`select ${taskColumns} from task where id = $1::uuid`, [
    fromWireId(id),
  ])
  return rows[0] === undefined ? null : rowToTask(rows[0])
}

/** The open task with this submit key, or null. */
export async function findSubmitted(q: Queryable, submitKey: string): Promise<Task | null> {
  const { rows } = await q.query(
    `select ${taskColumns} from task where submit_key = $1 and completed_at is null`,
    [submitKey],
  )
  return rows[0] === undefined ? null : rowToTask(rows[0])
}

/** The oldest open task of a source, or null. */
export async function findOpenTask(q: Queryable, sourceId: string): Promise<Task | null> {
  const { rows } = await q.query(
    `select ${taskColumns} from task where source_id = $1::uuid and completed_at is null
     order by number limit 1`,
    [fromWireId(sourceId)],
  )
  return rows[0] === undefined ? null : rowToTask(rows[0])
}

/** Makes submits for one source take turns until the transaction ends; the row of the source stays free for the apply. */
export async function lockSubmits(tx: Queryable, sourceId: string): Promise<void> {
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 1))', [sourceId])
}

/** Who holds a task. `fence` grows with each attempt; a holder with an older one may not write. */
export interface Lease {
  readonly taskId: string
  readonly holder: string
  readonly fence: number
}

/** The node of runs that need no spool file: whoever has a hand free takes them. */
export const anyNode = '*'

/** An attempt to run a task beyond this number ends it. */
export const maximumAttempts = 3

/**
 * Takes the next task that may run: queued with no other run of its source under way, or left by a worker whose lease
 * ran out. Only runs whose spool file lies on one of `nodes`. Null when there is nothing to do.
 */
export async function claimTask(
  db: Database,
  holder: string,
  nodes: readonly string[],
  leaseSeconds: number,
): Promise<{ readonly task: Task; readonly lease: Lease } | null> {
  for (;;) {
    const claimed = await tryClaim(db, holder, nodes, leaseSeconds)
    if (claimed !== 'taken') return claimed
  }
}

/** One attempt to claim; `taken` when another worker was quicker with the task that was found. */
async function tryClaim(
  db: Database,
  holder: string,
  nodes: readonly string[],
  leaseSeconds: number,
): Promise<{ readonly task: Task; readonly lease: Lease } | 'taken' | null> {
  return db.transaction(async (tx) => {
    const found = await tx.query<{ id: string }>(
      `select task.id
       from task join run on run.task_id = task.id left join lease on lease.task_id = task.id
       where task.completed_at is null and task.state <> 'held' and run.node = any($1::text[]) and task.attempt - task.given_up < $2
         and (lease.task_id is null or lease.expires_at < clock_timestamp())
         and (task.state <> 'queued' or not exists (
           select from task other where other.source_id = task.source_id and other.id <> task.id
             and (other.state in ('collecting', 'planned', 'held', 'applying')
               or (other.state = 'queued' and other.number < task.number))))
       order by task.number limit 1 for update of task skip locked`,
      [[...nodes, anyNode], maximumAttempts],
    )
    const id = found.rows[0]?.id
    if (id === undefined) return null
    // The statement above looked for the lease before it had the lock: a worker that committed its claim in between is
    // seen only by a statement that begins now. Both would run the task otherwise, and the later ends the earlier.
    const { rowCount: held } = await tx.query(
      'select from lease where task_id = $1::uuid and expires_at >= clock_timestamp()',
      [id],
    )
    if (held > 0) return 'taken'
    const { rows } = await tx.query(
      `update task set state = 'collecting', attempt = attempt + 1, progress = 'Collecting',
         launched_at = coalesce(launched_at, clock_timestamp()), modified_at = clock_timestamp()
       where id = $1::uuid returning ${taskColumns}`,
      [id],
    )
    const task = only(rows)
    await tx.query(
      `insert into lease (task_id, holder, fence, expires_at)
       values ($1::uuid, $2, $3, clock_timestamp() + make_interval(secs => $4))
       on conflict (task_id) do update
         set holder = excluded.holder, fence = excluded.fence, expires_at = excluded.expires_at`,
      [id, holder, task.attempt, leaseSeconds],
    )
    return { task, lease: { taskId: task.id, holder, fence: task.attempt } }
  })
}

/** Prolongs a lease in database time. `lost`: another worker has the task; `cancelBy`: somebody wants it to stop. */
export async function renewLease(
  q: Queryable,
  lease: Lease,
  leaseSeconds: number,
): Promise<{ readonly lost: boolean; readonly cancelBy: string | null }> {
  const { rows } = await q.query<{ cancel_by: string | null }>(
    `update lease set expires_at = clock_timestamp() + make_interval(secs => $4)
     from task where task.id = lease.task_id and lease.task_id = $1::uuid and holder = $2 and fence = $3
     returning task.cancel_by`,
    [fromWireId(lease.taskId), lease.holder, lease.fence, leaseSeconds],
  )
  const row = rows[0]
  return row === undefined
    ? { lost: true, cancelBy: null }
    : { lost: false, cancelBy: row.cancel_by }
}

/** Whether this lease is still the one that counts; asked inside the apply transaction, which does not lock it. */
export async function holdsLease(q: Queryable, lease: Lease): Promise<boolean> {
  const { rowCount } = await q.query(
    'select from lease where task_id = $1::uuid and holder = $2 and fence = $3',
    [fromWireId(lease.taskId), lease.holder, lease.fence],
  )
  return rowCount === 1
}

/** Lets a task go, so that it can be taken again at once. */
export async function releaseLease(q: Queryable, lease: Lease): Promise<void> {
  await q.query('delete from lease where task_id = $1::uuid and holder = $2 and fence = $3', [
    fromWireId(lease.taskId),
    lease.holder,
    lease.fence,
  ])
}

/** Lets a task go because the server stops: the attempt does not count as one that failed. */
export async function giveUpAttempt(q: Queryable, lease: Lease): Promise<void> {
  await q.query(
    `update task set given_up = given_up + 1, modified_at = clock_timestamp()
     where id = $1::uuid and attempt = $2 and completed_at is null`,
    [fromWireId(lease.taskId), lease.fence],
  )
}

/** Who holds leases that have not run out, on runs of this spool folder and on those that any node may run. */
export async function listHolders(q: Queryable, node: string): Promise<readonly string[]> {
  const { rows } = await q.query<{ holder: string }>(
    `select distinct lease.holder from lease join run on run.task_id = lease.task_id
     where run.node in ($1, '*') and lease.expires_at >= clock_timestamp()`,
    [node],
  )
  return rows.map((row) => row.holder)
}

/** Ends the leases of a process that is no more, so that its runs are resumed at once. */
export async function expireLeases(q: Queryable, holder: string): Promise<void> {
  await q.query(
    `update lease set expires_at = clock_timestamp() - interval '1 second' where holder = $1`,
    [holder],
  )
}

/** What may change while a task runs. */
export interface TaskChange {
  readonly state?: TaskState
  readonly progress?: string
  readonly percentComplete?: number
  readonly attributes?: Readonly<Record<string, unknown>>
}

/** Writes the state or the progress of a task; nothing happens when the attempt is not the current one any more. */
export async function updateTask(q: Queryable, lease: Lease, change: TaskChange): Promise<void> {
  await q.query(
    `update task set state = coalesce($3, state), progress = coalesce($4, progress),
       percent_complete = coalesce($5::integer, percent_complete),
       attributes = attributes || coalesce($6::jsonb, '{}'), modified_at = clock_timestamp()
     where id = $1::uuid and attempt = $2 and completed_at is null`,
    [
      fromWireId(lease.taskId),
      lease.fence,
      change.state ?? null,
      change.progress ?? null,
      change.percentComplete ?? null,
      change.attributes === undefined ? null : JSON.stringify(change.attributes),
    ],
  )
}

/** How a task ends. */
export interface TaskEnd {
  readonly state: TaskState
  readonly completionStatus: CompletionStatus
  readonly messages: readonly TaskMessage[]
  readonly attributes: Readonly<Record<string, unknown>>
}

/** Ends a task for good. False when it had ended before, or when another attempt has it. */
export async function endTask(
  q: Queryable,
  taskId: string,
  fence: number | null,
  end: TaskEnd,
): Promise<boolean> {
  if (!isTerminal(end.state)) throw new Error(`${end.state} is not an end`)
  const { rowCount } = await q.query(
    `update task set state = $3, completion_status = $4, messages = $5::jsonb, attributes = attributes || $6::jsonb,
       progress = null, percent_complete = 100, completed_at = clock_timestamp(), modified_at = clock_timestamp(),
       launched_at = coalesce(launched_at, clock_timestamp())
     where id = $1::uuid and completed_at is null and ($2::integer is null or attempt = $2)`,
    [
      fromWireId(taskId),
      fence,
      end.state,
      end.completionStatus,
      JSON.stringify(end.messages),
      JSON.stringify(end.attributes),
    ],
  )
  return rowCount === 1
}

/** Deletes the leases of tasks that have ended, which a killed process left. */
export async function dropEndedLeases(q: Queryable): Promise<void> {
  await q.query(
    'delete from lease using task where task.id = lease.task_id and task.completed_at is not null',
  )
}

/**
 * Asks for a task to be cancelled. One that nobody has taken, or that is held, ends at once; one that runs is stopped
 * by its worker within seconds. Null when there is no such task; a task that has ended is given as it is.
 */
export async function requestCancel(db: Database, id: string, by: string): Promise<Task | null> {
  await db.transaction(async (tx) => {
    const { rows } = await tx.query<{ state: TaskState }>(
      `update task set cancel_by = coalesce(cancel_by, $2), modified_at = clock_timestamp()
       where id = $1::uuid and completed_at is null returning state`,
      [fromWireId(id), by],
    )
    const state = rows[0]?.state
    if (state === 'queued' || state === 'held') {
      await endTask(tx, id, null, cancelledBy(by))
    }
  })
  return getTask(db, id)
}

/** The end of a task that somebody cancelled. */
export function cancelledBy(by: string): TaskEnd {
  return {
    state: 'cancelled',
    completionStatus: 'TERMINATED',
    messages: [{ type: 'WARN', key: `Cancelled by ${by}; nothing was changed.` }],
    attributes: {},
  }
}

/** Says that a process serves this spool folder. */
export async function keepNodeAlive(q: Queryable, node: string): Promise<void> {
  await q.query(
    `insert into node (id) values ($1) on conflict (id) do update set seen_at = clock_timestamp()`,
    [node],
  )
}

/** A run that nobody can bring to its end any more. */
export interface LostRun {
  readonly id: string
  readonly type: TaskType
  readonly sourceId: string | null
  readonly sourceName: string | null
  readonly reason: 'node' | 'attempts'
}

/** Open runs whose spool folder nobody has served for `graceSeconds`, or whose attempts are used up. */
export async function findLostRuns(
  q: Queryable,
  graceSeconds: number,
): Promise<readonly LostRun[]> {
  const { rows } = await q.query<Row & { gone: boolean }>(
    `select ${taskColumns},
       node.id is null or node.seen_at < clock_timestamp() - make_interval(secs => $1) as gone
     from task join run on run.task_id = task.id
       left join node on node.id = run.node left join lease on lease.task_id = task.id
     where task.completed_at is null and task.state <> 'held'
       and (lease.task_id is null or lease.expires_at < clock_timestamp())
       and (task.attempt - task.given_up >= $2
         or (run.node <> '*' and task.created_at < clock_timestamp() - make_interval(secs => $1)
           and (node.id is null or node.seen_at < clock_timestamp() - make_interval(secs => $1))))`,
    [graceSeconds, maximumAttempts],
  )
  return rows.map((row) => {
    const { id, type, sourceId, sourceName } = rowToTask(row)
    return { id, type, sourceId, sourceName, reason: row.gone ? 'node' : 'attempts' }
  })
}

function only(rows: readonly Row[]): Task {
  const row = rows[0]
  if (row === undefined) throw new Error('a statement that returns the task returned none')
  return rowToTask(row)
}
