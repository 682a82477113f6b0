// Deletes a source: its accounts become history, its secrets are forgotten, and a task tells it.
import { randomUUID } from 'node:crypto'
import type { Caller } from '../core/access.ts'
import { RequestError } from '../core/errors.ts'
import { toWireId } from '../core/id.ts'
import type { Task } from '../core/task.ts'
import { recordAudit } from '../store/audit.ts'
import type { Database } from '../store/database.ts'
import { dropPartition, removeAllAccounts } from '../store/remove-accounts.ts'
import { createRun, giveFeedNumber } from '../store/runs.ts'
import { deleteSourceSecrets } from '../store/source-secrets.ts'
import { getSourceForUpdate, markSourceDeleted } from '../store/sources.ts'
import { createTask, endTask, findOpenTask, getTask, lockSubmits } from '../store/tasks.ts'

/**
 * Deletes a source in one transaction: whoever reads meanwhile sees it whole, and after a crash it is there whole or not
 * at all. So the task that is given has ended with SUCCESS. Throws `conflict` while a run of the source is open, and
 * `not_found` when the source is gone; the caller's right to it was checked before.
 */
export async function removeSource(
  db: Database,
  sourceId: string,
  caller: Caller,
  trackingId: string,
): Promise<Task> {
  const taskId = toWireId(randomUUID())
  await db.transaction(async (tx) => {
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
      node: '',
      spoolFile: null,
      spoolBytes: null,
      spoolSha256: null,
      fileName: null,
      fields: {},
    })
    await deleteSourceSecrets(tx, sourceId)
    await markSourceDeleted(tx, sourceId)
    await recordAudit(tx, {
      action: 'SOURCE_DELETED',
      outcome: 'success',
      caller,
      targetType: 'SOURCE',
      targetId: sourceId,
      targetName: source.name,
      trackingId,
      detail: `Its ${source.accounts} accounts were removed by task ${taskId}.`,
    })
    const deleted = await removeAllAccounts(tx, sourceId, task.number)
    await giveFeedNumber(tx, taskId)
    await endTask(tx, taskId, null, {
      state: 'completed',
      completionStatus: 'SUCCESS',
      messages: [],
      attributes: { total: deleted, deleted },
    })
  })
  await dropPartition(db, sourceId)
  const task = await getTask(db, taskId)
  if (task === null) throw new Error('The task of a deletion was gone after its commit.')
  return task
}
