// Submitting an aggregation: a retry of an open one, a second on a busy source, or a new task (contract.md section 8.2).
import { createHash, randomUUID } from 'node:crypto'
import type { Caller } from '../core/access.ts'
import { toWireId } from '../core/id.ts'
import type { Source } from '../core/source.ts'
import { busyMessage, type Task } from '../core/task.ts'
import { recordAudit } from '../store/audit.ts'
import type { Connection, Database } from '../store/database.ts'
import { createRun } from '../store/runs.ts'
import {
  anyNode,
  createTask,
  findOpenTask,
  findSubmitted,
  lockSubmits,
  type NewTask,
} from '../store/tasks.ts'
import type { SpooledFile } from './spool.ts'

/** Who wants which source aggregated, with what. */
export interface Submit {
  readonly caller: Caller
  readonly source: Source
  /** The form fields as they came. */
  readonly fields: Readonly<Record<string, string>>
  readonly optimized: boolean
  /** Whether the caller wants a conflict answered as one (`Prefer: handling=strict`). */
  readonly strict: boolean
  /** The tracking id of the request, for the audit. */
  readonly trackingId?: string
  /** The spool folder that holds the file. */
  readonly node: string
  readonly file: SpooledFile | null
}

/**
 * accepted: a new task; retry: the open task of the same submit; busy: a task that has ended with ERROR because another
 * run is open; conflict: the open task, to be answered with 409.
 */
export interface Submitted {
  readonly kind: 'accepted' | 'retry' | 'busy' | 'conflict'
  readonly task: Task
}

/** Submits. Two submits for one source take turns, so that exactly one of them finds it free. */
export async function submitAggregation(db: Database, submit: Submit): Promise<Submitted> {
  const key = submitKey(submit)
  return db.transaction(async (tx) => {
    await lockSubmits(tx, submit.source.id)
    const same = await findSubmitted(tx, key)
    if (same !== null) return { kind: 'retry', task: same }
    const open = await findOpenTask(tx, submit.source.id)
    if (open === null) return { kind: 'accepted', task: await accept(tx, submit, key) }
    const { whenBusy } = submit.source.settings
    if (whenBusy === 'queue') return { kind: 'accepted', task: await accept(tx, submit, key) }
    if (submit.strict || whenBusy === 'conflict') return { kind: 'conflict', task: open }
    return { kind: 'busy', task: await createTask(tx, busyTask(submit)) }
  })
}

async function accept(tx: Connection, submit: Submit, key: string): Promise<Task> {
  const task = await createTask(tx, { ...newTask(submit), submitKey: key })
  await createRun(tx, {
    taskId: task.id,
    number: task.number,
    sourceId: submit.source.id,
    // Any node may talk to a system; a file lies on one.
    node: submit.file === null ? anyNode : submit.node,
    spoolFile: submit.file?.name ?? null,
    spoolBytes: submit.file?.bytes ?? null,
    spoolSha256: submit.file?.sha256 ?? null,
    fileName: submit.file?.fileName ?? null,
    fields: { ...submit.fields, disableOptimization: String(!submit.optimized) },
  })
  await recordAudit(tx, {
    action: 'SOURCE_ACCOUNT_AGGREGATION_STARTED',
    outcome: 'success',
    caller: submit.caller,
    targetType: 'SOURCE',
    targetId: submit.source.id,
    targetName: submit.source.name,
    ...(submit.trackingId === undefined ? {} : { trackingId: submit.trackingId }),
    after: { task: task.id, file: submit.file?.sha256 ?? null },
  })
  return task
}

function newTask(submit: Submit): Omit<NewTask, 'submitKey'> {
  return {
    id: toWireId(randomUUID()),
    type: 'CLOUD_ACCOUNT_AGGREGATION',
    sourceId: submit.source.id,
    sourceName: submit.source.name,
    launcher: submit.caller.identityName,
    launcherId: submit.caller.identityId,
    clientId: submit.caller.clientId,
    attributes: {
      appId: submit.source.id,
      optimizedAggregation: submit.optimized ? 'enabled' : 'disabled',
    },
    progress: 'Initializing...',
  }
}

function busyTask(submit: Submit): NewTask {
  return {
    ...newTask(submit),
    submitKey: null,
    progress: null,
    ended: {
      state: 'failed',
      completionStatus: 'ERROR',
      messages: [{ type: 'ERROR', key: busyMessage }],
    },
  }
}

/** The same client, source, fields and file give the same key. */
function submitKey(submit: Submit): string {
  const fields = Object.entries(submit.fields).toSorted(([a], [b]) => (a < b ? -1 : 1))
  const parts = [submit.caller.clientId, submit.source.id, fields, submit.file?.sha256 ?? null]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}
