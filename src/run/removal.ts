// Removals that people ask for: a source, all accounts of a source, or one account. The accounts become history, and a task tells it.
import { randomUUID } from 'node:crypto'
import type { Caller } from '../core/access.ts'
import { RequestError } from '../core/errors.ts'
import { toWireId } from '../core/id.ts'
import type { Source } from '../core/source.ts'
import type { Task } from '../core/task.ts'
import { recordAudit } from '../store/audit.ts'
import type { Connection, Database } from '../store/database.ts'
import { accountRange, type IdRange, singleRange } from '../store/names.ts'
import { deleteReadState } from '../store/read-states.ts'
import { dropEmptyPartition, recordRemoval, removeAccountsIn } from '../store/remove-accounts.ts'
import { createRun, getRun, giveFeedNumber } from '../store/runs.ts'
import { deleteSourceSecrets } from '../store/source-secrets.ts'
import { getSourceForUpdate, markSourceDeleted } from '../store/sources.ts'
import {
  anyNode,
  createTask,
  endTask,
  findOpenTask,
  getTask,
  holdsLease,
  type Lease,
  lockSubmits,
  updateTask,
} from '../store/tasks.ts'
import { cancellable } from './cancellable.ts'
import type { RunServices } from './job.ts'
import { LeaseLostError } from './load.ts'

/** More accounts than this are removed by a worker after the answer; fewer before it. */
const accountsInRequest = 10_000

/** What is removed. `account` is the wire id of one account. */
type Removal =
  | { readonly of: 'source' }
  | { readonly of: 'accounts' }
  | { readonly of: 'account'; readonly account: string }

/** Who removes. */
export interface RemovalCall {
  readonly caller: Caller
  readonly trackingId: string
  /** What is removed as it was, for the audit; without secrets. */
  readonly before?: unknown
}

/**
 * Deletes a source in one transaction: whoever reads meanwhile sees it whole, and after a crash it is there whole or not
 * at all. A small source is gone when this answers; for a large one the task that is given is queued. Throws `conflict`
 * while a run of the source is open, and `not_found` when the source is gone; the caller's right was checked before.
 */
export function removeSource(db: Database, sourceId: string, call: RemovalCall): Promise<Task> {
  return remove(db, sourceId, { of: 'source' }, call)
}

/**
 * Removes all accounts of a source as `removeSource` does, and keeps the source: the next run reads everything and makes
 * them anew. No guard applies, because this is what somebody wants.
 */
export function removeAccounts(db: Database, sourceId: string, call: RemovalCall): Promise<Task> {
  return remove(db, sourceId, { of: 'accounts' }, call)
}

/** Removes one account before it answers; a run that shows it makes it anew. Throws `not_found` when it is gone. */
export function removeAccount(
  db: Database,
  sourceId: string,
  account: string,
  call: RemovalCall,
): Promise<Task> {
  return remove(db, sourceId, { of: 'account', account }, call)
}

async function remove(
  db: Database,
  sourceId: string,
  removal: Removal,
  call: RemovalCall,
): Promise<Task> {
  const taskId = toWireId(randomUUID())
  const done = await db.transaction(async (tx) => {
    // No run of the source is submitted between the look at its open tasks and the end of this.
    await lockSubmits(tx, sourceId)
    await checkIdle(tx, sourceId)
    const source = await getSourceForUpdate(tx, sourceId)
    if (source === null) throw new RequestError('not_found', 'There is no source with this id.')
    const task = await createRemovalTask(tx, taskId, source, removal, call.caller)
    await recordAudit(tx, { ...auditOf(source, removal, taskId), outcome: 'success', ...call })
    if (removal.of !== 'account' && source.accounts > accountsInRequest) return false
    await removeNow(tx, task, removal, null)
    return true
  })
  if (done && removal.of !== 'account') await dropEmptyPartition(db, sourceId)
  const task = await getTask(db, taskId)
  if (task === null) throw new Error('The task of a removal was gone after its commit.')
  return task
}

async function checkIdle(tx: Connection, sourceId: string): Promise<void> {
  const open = await findOpenTask(tx, sourceId)
  if (open === null) return
  throw new RequestError('conflict', `The task ${open.id} of this source has not ended.`, {
    hint: 'Wait for its end, or cancel it by a PATCH of /task-status/{id}, and ask again.',
  })
}

/** The task, and the row of the ledger that dates the end of the accounts, for history and for the feed. */
async function createRemovalTask(
  tx: Connection,
  taskId: string,
  source: Source,
  removal: Removal,
  caller: Caller,
): Promise<Task> {
  const task = await createTask(tx, {
    id: taskId,
    type: 'ACCOUNT_DELETION',
    sourceId: source.id,
    sourceName: source.name,
    launcher: caller.identityName,
    launcherId: caller.identityId,
    clientId: caller.clientId,
    submitKey: null,
    attributes: { appId: source.id },
    progress: null,
  })
  await createRun(tx, {
    taskId,
    number: task.number,
    sourceId: source.id,
    node: anyNode,
    spoolFile: null,
    spoolBytes: null,
    spoolSha256: null,
    fileName: null,
    // Without a word about it the source goes too: so did the tasks that were queued before there was a choice.
    fields: removal.of === 'source' ? {} : { keepSource: 'true' },
  })
  return task
}

function auditOf(
  source: Source,
  removal: Removal,
  taskId: string,
): {
  readonly action: string
  readonly targetType: string
  readonly targetId: string
  readonly targetName?: string
  readonly detail: string
} {
  if (removal.of === 'account') {
    const detail = `The account of the source ${source.id} is removed by task ${taskId}.`
    return { action: 'ACCOUNT_REMOVED', targetType: 'ACCOUNT', targetId: removal.account, detail }
  }
  return {
    action: removal.of === 'source' ? 'SOURCE_DELETED' : 'SOURCE_ACCOUNTS_REMOVED',
    targetType: 'SOURCE',
    targetId: source.id,
    targetName: source.name,
    detail: `Its ${source.accounts} accounts are removed by task ${taskId}.`,
  }
}

/** Runs a queued removal; an error leaves source and accounts as they were. */
export async function runRemoval(
  { db, onStep }: Pick<RunServices, 'db' | 'onStep'>,
  claimed: { readonly task: Task; readonly lease: Lease },
  signal: AbortSignal,
): Promise<void> {
  const { task, lease } = claimed
  const sourceId = task.sourceId ?? ''
  await onStep('claimed')
  await updateTask(db, lease, { state: 'applying', progress: 'Removing accounts' })
  await cancellable(db, signal, async (connection) => {
    await connection.query('begin')
    try {
      await getSourceForUpdate(connection, sourceId)
      if (!(await holdsLease(connection, lease))) throw new LeaseLostError()
      const run = await getRun(connection, task.id)
      const of = run?.fields['keepSource'] === 'true' ? 'accounts' : 'source'
      await removeNow(connection, task, { of }, lease.fence)
      await onStep('applied')
      if (!(await holdsLease(connection, lease))) throw new LeaseLostError()
      await connection.query('commit')
    } catch (error) {
      await connection.query('rollback').catch(() => undefined)
      throw error
    }
  })
  await onStep('committed')
  await dropEmptyPartition(db, sourceId)
}

async function removeNow(
  tx: Connection,
  task: Task,
  removal: Removal,
  fence: number | null,
): Promise<void> {
  const sourceId = task.sourceId ?? ''
  const range: IdRange =
    removal.of === 'account' ? singleRange(removal.account) : accountRange(sourceId)
  const deleted = await removeAccountsIn(tx, range, task.number)
  if (removal.of === 'account' && deleted === 0) {
    throw new RequestError('not_found', 'There is no account with this id.')
  }
  if (removal.of === 'source') {
    await deleteSourceSecrets(tx, sourceId)
    await markSourceDeleted(tx, sourceId)
  } else {
    await recordRemoval(tx, sourceId, deleted)
  }
  // What the system says has changed since then would not bring back what is removed here.
  await deleteReadState(tx, sourceId)
  await giveFeedNumber(tx, task.id)
  const ended = await endTask(tx, task.id, fence, {
    state: 'completed',
    completionStatus: 'SUCCESS',
    messages: [],
    attributes: { total: deleted, deleted },
  })
  if (!ended) throw new LeaseLostError()
}
