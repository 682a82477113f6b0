// A first load: the rows are copied straight into the table that becomes the source's partition of `account`.
import type { PlanCounts } from '../core/plan.ts'
import { attachPartition, lockSource } from '../store/apply.ts'
import { nameBackend } from '../store/backends.ts'
import {
  addPrimaryKey,
  createFirstLoad,
  dropRangeCheck,
  findDuplicateIds,
  replaceDuplicates,
} from '../store/first-load.ts'
import { updateRun } from '../store/runs.ts'
import { copyRows, createStaging, dropRunTables } from '../store/staging.ts'
import { holdsLease } from '../store/tasks.ts'
import type { Collecting } from './collect.ts'
import type { Job } from './job.ts'
import {
  AttemptError,
  columnMessages,
  conflictMessages,
  type Finish,
  finishRead,
  LeaseLostError,
  type Load,
  rejectTaker,
} from './load.ts'
import type { Phases } from './phases.ts'
import { type Resolved, resolveDuplicates } from './resolve-duplicates.ts'

/** More accounts than this that stand twice go through staging instead: their keys would fill the memory. */
const maximumDuplicates = 100_000

/**
 * Collects in one open transaction. Null when the file is not fit for this way (no rows, or too many accounts that
 * stand twice); nothing is left then.
 */
export async function loadFirst(
  job: Job,
  collecting: Collecting,
  phases: Phases,
): Promise<Load | null> {
  const { connection, run, services } = job
  await connection.query('begin')
  try {
    await createFirstLoad(connection, job.source.id, run.number)
    const takeRejects = rejectTaker(services.db, job)
    const shape = { staged: false, stateful: job.stateful }
    const copy = copyRows(connection, job.partition, shape)
    const pass = await collecting.stage('all', shape, copy, takeRejects, true)
    const read = await finishRead(job, pass)
    await services.onStep('staged')
    phases.begin('Planning', pass.records)
    const keyed = pass.staged > 0 ? await buildKey(job, collecting, takeRejects) : null
    if (keyed === null) {
      await connection.query('rollback')
      return null
    }
    const accounts = pass.staged - keyed.surplus
    await updateRun(services.db, job.lease, {
      stagedRows: accounts,
      baseVersion: job.before.accountsVersion,
    })
    const counts: PlanCounts = {
      before: 0,
      created: accounts,
      updated: 0,
      removed: 0,
      unchanged: 0,
    }
    return {
      counts,
      records: pass.records,
      ignored: pass.ignored,
      messages: [
        ...columnMessages(job, read),
        ...conflictMessages([...pass.conflicts.names, ...keyed.conflicts]),
      ],
      baseline: true,
      apply: (_removals, finish) => apply(job, accounts, finish),
      discard: async () => {
        await connection.query('rollback')
        await dropRunTables(services.db, run.number)
      },
    }
  } catch (error) {
    await connection.query('rollback').catch(() => undefined)
    throw error
  }
}

/**
 * Builds the primary key. It fails when an account stands twice; those accounts alone then go through staging, where
 * they are merged or rejected. `surplus`: by how many rows that made the table smaller.
 */
async function buildKey(
  job: Job,
  collecting: Collecting,
  takeRejects: ReturnType<typeof rejectTaker>,
): Promise<Resolved | null> {
  const { connection, partition, services, run } = job
  if (await addPrimaryKey(connection, partition)) {
    return { surplus: 0, conflicts: new Set() }
  }
  const duplicates = await findDuplicateIds(connection, partition, maximumDuplicates)
  if (duplicates === null) return null
  // Staged on a connection of its own, because this one holds the open first load.
  const second = await services.db.connect()
  try {
    await nameBackend(second, run.number)
    const staging = await createStaging(second, run.number)
    const shape = { staged: true, stateful: job.stateful }
    const keyHashes = [...new Set(duplicates.map((duplicate) => duplicate.keyHash))]
    // Their rejects have been taken by the pass over all rows.
    await collecting.stage(
      { keyHashes },
      shape,
      copyRows(second, staging, shape),
      async () => undefined,
      true,
    )
    const { conflicts } = await resolveDuplicates(
      { ...job, connection: second },
      collecting,
      takeRejects,
    )
    const surplus = await replaceDuplicates(connection, partition, run.number)
    if (!(await addPrimaryKey(connection, partition))) {
      throw new Error('accounts stand twice after their rows were merged')
    }
    return { surplus, conflicts }
  } finally {
    // Closed, because it has the name of the run.
    second.release(true)
  }
}

async function apply(job: Job, accounts: number, finish: Finish): Promise<'applied' | 'stale'> {
  const { connection, source } = job
  const locked = await lockSource(connection, source.id)
  if (locked === null) throw new AttemptError('the source was deleted')
  if (!(await holdsLease(connection, job.lease))) throw new LeaseLostError()
  if (locked.accountsVersion !== job.before.accountsVersion) return 'stale'
  await attachPartition(connection, source.id)
  await dropRangeCheck(connection, source.id)
  await job.services.onStep('applied')
  if (!(await holdsLease(connection, job.lease))) throw new LeaseLostError()
  await finish(connection, { accounts, changed: true })
  await connection.query('commit')
  return 'applied'
}
