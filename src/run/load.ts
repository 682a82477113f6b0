// What a read has brought, ready to be judged and applied; two ways lead there, first-load.ts and staged-load.ts.
import { driftMessages } from '../core/drift.ts'
import { compareNames, quoteNames } from '../core/layout.ts'
import type { PlanCounts } from '../core/plan.ts'
import type { Reject } from '../core/source-record.ts'
import type { TaskMessage } from '../core/task.ts'
import { accountId } from '../store/account-id.ts'
import type { Connection, Queryable } from '../store/database.ts'
import { addRejects, updateRun } from '../store/runs.ts'
import type { Collecting, TakeRejects } from './collect.ts'
import type { Job } from './job.ts'
import type { SystemRead } from './system-messages.ts'

/** A plan that can be applied. */
export interface Load {
  readonly counts: PlanCounts
  /** Records of the file, and comment lines and empty records among them. */
  readonly records: number
  readonly ignored: number
  /** What the read has to say: columns, conflicts. */
  readonly messages: readonly TaskMessage[]
  /** Whether this is a first load: its creations are not listed in account_change. */
  readonly baseline: boolean
  /**
   * Does everything in one transaction: locks the source, checks that the plan still holds, writes, lets `finish` write
   * the end of the run, commits. `stale` when accounts moved since the plan was made; nothing was written then.
   */
  apply(removals: boolean, finish: Finish): Promise<'applied' | 'stale'>
  /** Forgets what was collected. Called at the end of every attempt. */
  discard(): Promise<void>
}

/** Writes the end of the run; called in the apply transaction after the accounts. */
export type Finish = (
  tx: Connection,
  outcome: { readonly accounts: number; readonly changed: boolean },
) => Promise<void>

/** An attempt that must be made anew, because something was lost under way. Nothing was changed. */
export class AttemptError extends Error {}

/** Another worker has the task; this one must not write any more. */
export class LeaseLostError extends Error {}

/** Somebody wants the run to stop. Nothing was changed. */
export class CancelledError extends Error {
  readonly by: string
  constructor(by: string) {
    super(`cancelled by ${by}`)
    this.by = by
  }
}

/** Writes the rejects of a pass as they come, numbered in the order of the file. */
export function rejectTaker(q: Queryable, job: Job): TakeRejects & { count(): number } {
  let count = 0
  const take = async (rejects: readonly Reject[]): Promise<void> => {
    const first = count + 1
    count += rejects.length
    const written = await addRejects(
      q,
      job.lease,
      first,
      rejects.map((reject) => ({
        ...reject,
        accountId:
          reject.nativeIdentity === null
            ? null
            : accountId(job.source.id, reject.key ?? reject.nativeIdentity),
      })),
    )
    if (written < rejects.length) throw new LeaseLostError('another worker has the task')
  }
  return Object.assign(take, { count: () => count })
}

/**
 * Waits for the end of the read and writes it into the ledger; null for an upload. Until here nobody knows whether the read
 * is whole. The spool holds what was read: another number of records in it means that it was damaged in between.
 */
export async function finishRead(
  job: Job,
  pass: { readonly records: number },
): Promise<SystemRead | null> {
  if (job.system === null) return null
  const read = await job.system.ended
  const { mode, proof, records, bytes, sha256, columns } = read
  await updateRun(job.services.db, job.lease, {
    read: { mode, proof, records, bytes, sha256, columns },
  })
  if (pass.records === records) return read
  throw new AttemptError(`${records} records were read, but the spool has ${pass.records}`)
}

/** What the columns of the file have to say (contract.md section 8.8). */
export function columnMessages(job: Job, read: SystemRead | null): TaskMessage[] {
  const { undelivered, extra } = job.layout
  const messages: TaskMessage[] = []
  if (undelivered.length > 0) {
    messages.push({
      type: 'WARN',
      key: `The ${job.system === null ? 'file has no column for' : 'system does not deliver'} ${quoteNames(undelivered)}; accounts keep their former values of these attributes.`,
    })
  }
  if (extra.length > 0) {
    messages.push({
      type: 'WARN',
      key: `${job.system === null ? 'The columns' : 'Delivered, but'} ${quoteNames(extra)} are no attributes of the schema and were ignored.`,
    })
  }
  messages.push(...driftMessages(job.drift))
  const shortened = read?.shortened ?? []
  if (shortened.length > 0) {
    messages.push({
      type: 'WARN',
      key: `The system gave several values of ${quoteNames(shortened)}, which the schema has as single-valued; the first was kept.`,
    })
  }
  return messages
}

/**
 * Says that rows of the same account differ where only one value can be kept. It tells the attributes and no count of
 * accounts: rows are merged where they stand together and again in staging, and neither place knows of the other's.
 */
export function conflictMessages(names: Iterable<string>): TaskMessage[] {
  const quoted = [...new Set(names)].toSorted(compareNames).map((name) => `"${name}"`)
  if (quoted.length === 0) return []
  return [
    {
      type: 'WARN',
      key: `Rows of the same account differ in single-valued attributes (${quoted.join(', ')}); the first value was kept.`,
    },
  ]
}

/** Rejects the later rows of accounts that stand twice, with their raw text out of the file. */
export async function rejectRows(
  job: Job,
  collecting: Collecting,
  takeRejects: TakeRejects,
  rows: readonly {
    readonly position: number
    readonly nativeIdentity: string
    readonly key: string | null
    readonly code: 'duplicate' | 'collision'
    readonly reason: string
  }[],
): Promise<void> {
  const batch = 20_000
  for (let at = 0; at < rows.length; at += batch) {
    const part = rows.slice(at, at + batch)
    const picked = await collecting.pick(part.map((row) => row.position))
    const raw = new Map(picked.map((record) => [record.position, record.raw]))
    await takeRejects(
      part.map((row) => ({ ...row, raw: raw.get(row.position) ?? '', trusted: true })),
    )
  }
  job.signal.throwIfAborted()
}
