// Deletes a source: its accounts become history, its secrets are forgotten, and a task tells it.
import { randomUUID } from 'node:crypto'
import type { Caller } from '../core/access.ts'
import { RequestError } from '../core/errors.ts'
import { toWireId } from '../core/id.ts'
import type { Task } from '../core/task.ts'
import { recordAudit } from '../store/audit.ts'
import type { Connection, Database } from '../store/database.ts'
import { dropPartition, removeAllAccounts } from '../store/remove-accounts.ts'
import { createRun, giveFeedNumber } from '../store/runs.ts'
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
} from '../store/tasks.ts'
import { cancellable } from './cancellable.ts'
import { LeaseLostError } from './load.ts'

/** More accounts than this are removed by a worker after the answer; fewer before it. */
const accountsInRequest = 10_000

/**
 * Deletes a source in one transaction: whoever reads meanwhile sees it whole, and after a crash it is there whole or not
 * at all. A small source is gone when this answers; for a large one the task that is given is queued. Throws `conflict`
 * while a run of the source is open, and `not_found` when the source is gone; the caller's right was checked before.
 */
export async function removeSource(
  db: Database,
  sourceId: string,
  caller: Caller,
  trackingId: string,
): Promise<Task> {
  const taskId = toWireId(randomUUID())
  const small = await db.transaction(async (tx) => {
    // No run of the source is submitted between the look at its open tasks and the end of this.
    await lockSubmits(tx, sourceId)
    const open = await findOpenTask(tx, sourceId)
    if (open !== null) {
      throw new RequestError('conflict', `The task ${open.id} of this source has not ended.`, {
        hint: 'Wait for its end, or cancel it by a PATCH of /task-status/{id}, and delete again.',
      })
    }
    const source = await getSourceForUpdate(tx, sourceId)
    if (source === null) throw new RequestError('not_found', 'There is no source with this id.')
    const task = await createTask(tx, {
      id: taskId,
      type: 'ACCOUNT_DELETION',
      sourceId,
      sourceName: source.name,
      launcher: caller.identityName,
      launcherId: caller.identityId,
      clientId: caller.clientId,
      submitKey: null,
      attributes: { appId: sourceId },
      progress: null,
    })
    // The row of the ledger dates the end of the accounts, for history and for the feed.
    await createRun(tx, {
      taskId,
      number: task.number,
      sourceId,
      node: anyNode,
      spoolFile: null,
      spoolBytes: null,
      spoolSha256: null,
      fileName: null,
      fields: {},
    })
    await recordAudit(tx, {
      action: 'SOURCE_DELETED',
      outcome: 'success',
      caller,
      targetType: 'SOURCE',
      targetId: sourceId,
      targetName: source.name,
      trackingId,
      detail: `Its ${source.accounts} accounts are removed by task ${taskId}.`,
    })
    if (source.accounts > accountsInRequest) return false
    await removeNow(tx, task, null)
    return true
  })
  if (small) await dropPartition(db, sourceId)
  const task = await getTask(db, taskId)
  if (task === null) throw new Error('The task of a deletion was gone after its commit.')
  return task
}

/** Runs a queued deletion; an error leaves the source as it was. */
export async function runRemoval(
  db: Database,
  claimed: { readonly task: Task; readonly lease: Lease },
  signal: AbortSignal,
): Promise<void> {
  const { task, lease } = claimed
  const sourceId = task.sourceId ?? ''
  await cancellable(db, signal, async (connection) => {
    await connection.query('begin')
    try {
      await getSourceForUpdate(connection, sourceId)
      if (!(await holdsLease(connection, lease))) throw new LeaseLostError()
      await removeNow(connection, task, lease.fence)
      if (!(await holdsLease(connection, lease))) throw new LeaseLostError()
      await connection.query('commit')
    } catch (error) {
      await connection.query('rollback').catch(() => undefined)
      throw error
    }
  })
  await dropPartition(db, sourceId)
}

async function removeNow(tx: Connection, task: Task, fence: number | null): Promise<void> {
  const sourceId = task.sourceId ?? ''
  await deleteSourceSecrets(tx, sourceId)
  await markSourceDeleted(tx, sourceId)
  const deleted = await removeAllAccounts(tx, sourceId, task.number)
  await giveFeedNumber(tx, task.id)
  const ended = await endTask(tx, task.id, fence, {
    state: 'completed',
    completionStatus: 'SUCCESS',
    messages: [],
    attributes: { total: deleted, deleted },
  })
  if (!ended) throw new LeaseLostError()
}
