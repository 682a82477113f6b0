// Takes tasks from the queue and runs them: claims, keeps the lease alive, stops what is cancelled, ends what fails.
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { RunError } from '../core/errors.ts'
import type { CompletionStatus, Task, TaskMessage } from '../core/task.ts'
import { recordFailedLoad } from '../store/apply.ts'
import { recordAudit } from '../store/audit.ts'
import { dropEmptyPartition, listDeletedWithPartition } from '../store/remove-accounts.ts'
import type { Database } from '../store/database.ts'
import { listSpoolFiles, takeEndedSpoolFiles } from '../store/runs.ts'
import { dropOrphanTables } from '../store/staging.ts'
import {
  cancelledBy,
  claimTask,
  dropEndedLeases,
  endTask,
  expireLeases,
  findLostRuns,
  giveUpAttempt,
  keepNodeAlive,
  listHolders,
  type Lease,
  maximumAttempts,
  releaseLease,
  renewLease,
  type TaskEnd,
  updateTask,
} from '../store/tasks.ts'
import { aggregate, type Progress } from './aggregate.ts'
import { runRemoval } from './removal.ts'
import type { RunServices } from './job.ts'
import { type AttemptResult, type AttemptWatch, type RunWatch, unwatchedRuns } from './watch.ts'
import { CancelledError, LeaseLostError } from './load.ts'

/** What a worker needs. */
export interface WorkerOptions extends RunServices {
  /** How long a lease lasts without being renewed, at most 30. */
  readonly leaseSeconds: number
  /** Runs of different sources at a time. */
  readonly concurrency: number
  readonly log: (
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Readonly<Record<string, unknown>>,
  ) => void
  /** Told of every attempt; nobody is unless given. */
  readonly watch?: RunWatch
}

/** A running worker. */
export interface AggregationWorker {
  /** Looks at the queue at once instead of at the next turn. */
  wake(): void
  /** Milliseconds since it last came round to the queue, whether the database answered or not. */
  sinceTurnMs(): number
  /** Takes nothing more, stops what runs (another worker or a restart resumes it), and gives up the leases. */
  stop(): Promise<void>
}

const pollMs = 1000
const sweepMs = 10_000
/** How long a stop waits for an apply transaction that has begun. */
const applyGraceMs = 8000
/** An upload that no task names is removed after this; its submit may still be under way before. */
const orphanFileMs = 10 * 60_000

class StoppedError extends Error {}

/** The workers of this process: a former process may have had its id, in a container always. */
const ours = new Set<string>()

/** Starts to work off the queue. */
export function startWorker(options: WorkerOptions): AggregationWorker {
  const { db, spool, log } = options
  const holder = `${hostname()}/${process.pid}/${randomBytes(4).toString('hex')}`
  ours.add(holder)
  const running = new Set<Promise<void>>()
  const stopping = new AbortController()
  let wakeUp: () => void = () => undefined
  let awake = false
  let turnedAt = performance.now()

  const pause = async (): Promise<void> => {
    if (!awake && !stopping.signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pollMs)
        wakeUp = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    awake = false
  }
  const wake = (): void => {
    awake = true
    wakeUp()
  }

  const takeNext = async (): Promise<boolean> => {
    if (running.size >= options.concurrency) return false
    const claimed = await claimTask(db, holder, [spool.node], options.leaseSeconds)
    if (claimed === null) return false
    const attempt = runAttempt(options, claimed, stopping.signal)
    running.add(attempt)
    void attempt.finally(() => {
      running.delete(attempt)
      wake()
    })
    return true
  }

  const loop = async (): Promise<void> => {
    let expired = false
    let swept = 0
    while (!stopping.signal.aborted) {
      turnedAt = performance.now()
      try {
        // The database may come later than we do: the first turn that reaches it frees what our former process held.
        if (!expired) await expireDead(db, spool.node)
        expired = true
        if (Date.now() - swept >= sweepMs) {
          await sweep(options)
          swept = Date.now()
        }
        while (!stopping.signal.aborted && (await takeNext())) {
          // Taken one after the other until the queue is empty or all hands are busy.
        }
      } catch (error) {
        log('warn', 'The queue cannot be read; trying again.', { error })
      }
      await pause()
    }
  }
  const finished = loop()

  return {
    wake,
    sinceTurnMs: () => performance.now() - turnedAt,
    stop: async () => {
      stopping.abort(new StoppedError('the server stops'))
      wake()
      await finished
      await Promise.allSettled(running)
      ours.delete(holder)
    },
  }
}

/** Frees what processes of this host held that are no more; several may serve one spool folder on one database. */
async function expireDead(db: Database, node: string): Promise<void> {
  for (const holder of await listHolders(db, node)) {
    const [host, pid] = holder.split('/')
    if (host !== hostname() || ours.has(holder)) continue
    if (Number(pid) === process.pid || !isAlive(Number(pid))) await expireLeases(db, holder)
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // It lives, but belongs to another user.
    return error instanceof Error && Reflect.get(error, 'code') === 'EPERM'
  }
}

/** Runs one attempt and brings the task to its end, or lets it go for the next attempt. */
async function runAttempt(
  options: WorkerOptions,
  claimed: { readonly task: Task; readonly lease: Lease },
  stopping: AbortSignal,
): Promise<void> {
  const { log } = options
  const { task, lease } = claimed
  const fields = { task: task.id, source: task.sourceId, attempt: lease.fence }
  const abort = new AbortController()
  const progress: Progress = {
    // A removal reads nothing: all of it is effect.
    phase: task.type === 'ACCOUNT_DELETION' ? 'Applying' : 'Collecting',
    totalBytes: 0,
    read: () => ({ rows: 0, bytes: 0 }),
  }
  let grace: NodeJS.Timeout | undefined
  // An effect that is under way is let finish; whatever comes before it is made anew by the next start.
  const onStop = (): void => {
    const stop = (): void => abort.abort(stopping.reason)
    if (progress.phase === 'Applying') grace = setTimeout(stop, applyGraceMs)
    else stop()
  }
  stopping.addEventListener('abort', onStop)
  const beat = keepLease(options, lease, abort, progress)
  const watch = watchAttempt(options.watch ?? unwatchedRuns, task, lease)
  log('info', 'The run begins.', fields)
  try {
    if (task.type === 'ACCOUNT_DELETION') await runRemoval(options, claimed, abort.signal)
    else await aggregate(options, claimed, abort.signal, progress, watch)
    log('info', 'The run has ended.', fields)
    watch.end('ended', watch.status ?? 'SUCCESS')
  } catch (error) {
    const { result, status } = await settle(options, claimed, error)
    watch.end(result, status)
  } finally {
    stopping.removeEventListener('abort', onStop)
    clearInterval(beat)
    clearTimeout(grace)
    await letGo(options, lease, stopping)
    await cleanUp(options).catch((error: unknown) => {
      log('warn', 'Cleaning up failed; the next sweep does it.', { error })
    })
  }
}

/** Listens to an attempt and remembers the status of its effect. */
function watchAttempt(
  watch: RunWatch,
  task: Task,
  lease: Lease,
): AttemptWatch & { readonly status: CompletionStatus | null } {
  const { id: taskId, type, sourceId } = task
  const attempt = watch.begin({ taskId, type, sourceId, attempt: lease.fence })
  let status: CompletionStatus | null = null
  return {
    ...attempt,
    applied: (given, counts) => {
      status = given
      attempt.applied(given, counts)
    },
    get status() {
      return status
    },
  }
}

/** Releases the lease. After the database was away it is tried again: else the next attempt waits until it runs out. */
async function letGo(options: WorkerOptions, lease: Lease, stopping: AbortSignal): Promise<void> {
  const deadline = performance.now() + options.leaseSeconds * 1000
  for (;;) {
    try {
      await releaseLease(options.db, lease)
      return
    } catch {
      if (stopping.aborted || performance.now() > deadline) return
    }
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

/** Renews the lease, shows progress, and stops the attempt when the lease is lost or somebody cancels. */
function keepLease(
  options: WorkerOptions,
  lease: Lease,
  abort: AbortController,
  progress: Progress,
): NodeJS.Timeout {
  const { db, leaseSeconds } = options
  const started = performance.now()
  let busy = false
  let percent = 0
  const show = async (): Promise<void> => {
    const { phase } = progress
    if (phase === 'Applying') return
    const { rows, bytes } = progress.read()
    const rate = Math.round((rows * 1000) / Math.max(1, performance.now() - started))
    // A second pass reads the file again; what is shown never goes back.
    const share = progress.totalBytes > 0 ? bytes / progress.totalBytes : 0
    percent = Math.max(percent, phase === 'Planning' ? 85 : Math.round(80 * Math.min(1, share)))
    const counted = `${rows.toLocaleString('en')} rows read, ${rate.toLocaleString('en')} rows/s`
    await updateTask(db, lease, {
      progress: phase === 'Planning' ? phase : `${phase}: ${counted}`,
      percentComplete: percent,
      attributes: { rowsRead: rows, rowsPerSecond: rate, phase },
    })
  }
  const beat = async (): Promise<void> => {
    const { lost, cancelBy } = await renewLease(db, lease, leaseSeconds)
    if (lost) abort.abort(new LeaseLostError('another worker has the task'))
    else if (cancelBy !== null) abort.abort(new CancelledError(cancelBy))
    else await show()
  }
  return setInterval(() => {
    if (busy) return
    busy = true
    // A beat that fails is no reason to stop: the lease lasts several of them, and the apply checks it.
    beat()
      .catch(() => undefined)
      .finally(() => (busy = false))
  }, 500)
}

/** Decides what an error means: the end of the task, or another attempt. */
async function settle(
  options: WorkerOptions,
  claimed: { readonly task: Task; readonly lease: Lease },
  error: unknown,
): Promise<{ readonly result: AttemptResult; readonly status: CompletionStatus | null }> {
  const { log } = options
  const { task, lease } = claimed
  const fields = { task: task.id, source: task.sourceId, attempt: lease.fence }
  if (error instanceof StoppedError) {
    log('info', 'The attempt stops with the server; the next start resumes the run.', fields)
    await giveUpAttempt(options.db, lease).catch(() => undefined)
    return { result: 'stopped', status: null }
  }
  if (error instanceof LeaseLostError) {
    log('warn', 'The attempt stops: another worker has the task.', fields)
    return { result: 'lease_lost', status: null }
  }
  const end = endOf(error, lease.fence)
  if (end === null) {
    log('warn', 'The attempt failed; the run is tried again.', { ...fields, error })
    await new Promise((resolve) => setTimeout(resolve, 500 * lease.fence))
    return { result: 'retried', status: null }
  }
  log(end.state === 'cancelled' ? 'info' : 'error', 'The run has ended without an effect.', {
    ...fields,
    status: end.completionStatus,
    error,
  })
  try {
    await endWithoutEffect(options, task, lease.fence, end)
    return { result: 'ended', status: end.completionStatus }
  } catch (cause) {
    // The lease runs out, and the next attempt comes to the same end.
    log('error', 'The end of the run could not be written.', { ...fields, error: cause })
    return { result: 'retried', status: null }
  }
}

/** How an error ends a task; null when another attempt may do better. */
function endOf(error: unknown, attempt: number): TaskEnd | null {
  if (error instanceof CancelledError) return cancelledBy(error.by)
  const known = asRunError(error)
  if (known === null && attempt < maximumAttempts) return null
  const text =
    known === null
      ? `The run failed ${attempt} times for a reason of the server; its log has the details.`
      : `${known.message} ${known.hint}`
  const messages: TaskMessage[] = [{ type: 'ERROR', key: text }]
  const temporary = known === null || known.temporary
  return {
    state: known?.code === 'refused' ? 'refused' : 'failed',
    completionStatus: temporary ? 'TEMPERROR' : 'ERROR',
    messages,
    attributes: { errorCode: known?.code ?? 'server' },
  }
}

function asRunError(error: unknown): RunError | null {
  if (error instanceof RunError) return error
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  if (code === '53100' || code === 'ENOSPC') {
    return new RunError('disk_full', 'The disk of the database is full.', {
      hint: 'Free space and send the file again; nothing was changed.',
      temporary: true,
      cause: error,
    })
  }
  return null
}

async function endWithoutEffect(
  options: WorkerOptions,
  task: Pick<Task, 'id' | 'type' | 'sourceId' | 'sourceName'>,
  fence: number | null,
  end: TaskEnd,
): Promise<void> {
  await options.db.transaction(async (tx) => {
    if (!(await endTask(tx, task.id, fence, end))) return
    const aggregation = task.type === 'CLOUD_ACCOUNT_AGGREGATION'
    const cancelled = end.state === 'cancelled'
    if (task.sourceId !== null && aggregation && !cancelled) {
      await recordFailedLoad(tx, task.sourceId)
    }
    const subject = aggregation ? 'SOURCE_ACCOUNT_AGGREGATION' : 'SOURCE_ACCOUNT_DELETION'
    await recordAudit(tx, {
      action: `${subject}_${cancelled ? 'TERMINATED' : 'FAILED'}`,
      outcome: 'failed',
      caller: null,
      targetType: 'SOURCE',
      ...(task.sourceId === null ? {} : { targetId: task.sourceId }),
      ...(task.sourceName === null ? {} : { targetName: task.sourceName }),
      after: { task: task.id, status: end.completionStatus },
    })
  })
}

/** Says that this spool folder is served, ends what nobody can resume, and removes what the dead left. */
async function sweep(options: WorkerOptions): Promise<void> {
  const { db, spool, log } = options
  await keepNodeAlive(db, spool.node)
  for (const lost of await findLostRuns(db, Math.max(60, 2 * options.leaseSeconds))) {
    const reason =
      lost.reason === 'node'
        ? 'The host that holds the uploaded file is gone. Send the file again.'
        : `The run was tried ${maximumAttempts} times and the server ended each time. Look in its log, then send the file again.`
    const end: TaskEnd = {
      state: 'failed',
      completionStatus: 'TEMPERROR',
      messages: [{ type: 'ERROR', key: reason }],
      attributes: { errorCode: lost.reason },
    }
    await endWithoutEffect(options, lost, null, end)
    options.watch?.lost(lost.type, end.completionStatus)
    log('warn', 'A lost run was ended.', { task: lost.id, reason: lost.reason })
  }
  await dropEndedLeases(db)
  for (const sourceId of await listDeletedWithPartition(db)) await dropEmptyPartition(db, sourceId)
  await cleanUp(options)
}

/** Removes tables and spool files that no open task needs. */
async function cleanUp(options: WorkerOptions): Promise<void> {
  const { db, spool } = options
  await dropOrphanTables(db)
  const ended = await takeEndedSpoolFiles(db, spool.node)
  if (ended.length > 0) await options.onStep('cleaning')
  for (const name of ended) await spool.remove(name)
  await spool.sweep(await listSpoolFiles(db, spool.node), orphanFileMs)
}
