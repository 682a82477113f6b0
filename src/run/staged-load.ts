// A load through staging: stage the rows (all, or those of dirty buckets), diff them set-wise, apply the difference.
import { bucketCount } from '../core/buckets.ts'
import type { PlanCounts } from '../core/plan.ts'
import type { TaskMessage } from '../core/task.ts'
import { applyPlan, lockSource } from '../store/apply.ts'
import {
  buildPlan,
  countPlanned,
  dropRemovals,
  type PlanInput,
  type PlannedChanges,
  type PlannedRead,
  takeCollisions,
  useIndexes,
} from '../store/plans.ts'
import { updateRun } from '../store/runs.ts'
import {
  analyzeStaging,
  copyRows,
  countDeleted,
  countDirtyBuckets,
  countStaged,
  createDirtyBuckets,
  createStaging,
  dropRunTables,
  indexStaging,
} from '../store/staging.ts'
import { holdsLease } from '../store/tasks.ts'
import type { Collecting } from './collect.ts'
import type { Job } from './job.ts'
import {
  AttemptError,
  columnMessages,
  conflictMessages,
  finishRead,
  LeaseLostError,
  type Load,
  rejectRows,
  rejectTaker,
} from './load.ts'
import type { Phases } from './phases.ts'
import { keepUndelivered, resolveDuplicates } from './resolve-duplicates.ts'
import type { StagePass } from './thread-messages.ts'

/** With more rows than this share of the accounts, joins over whole tables are cheaper than going by index. */
const fewShare = 0.1

/** What was staged. */
interface Staged {
  readonly pass: StagePass
  /** How many rows staging must hold: told by what went in and what was merged, not by looking. */
  readonly rows: number
  readonly compared:
    | (NonNullable<PlanInput['compared']> & { readonly stored: number; readonly buckets: number })
    | null
  readonly messages: readonly TaskMessage[]
}

/** Collects through staging and makes the plan. `byBuckets`: only what sums of fingerprints show as changed. */
export async function loadStaged(
  job: Job,
  collecting: Collecting,
  phases: Phases,
  byBuckets: boolean,
): Promise<Load> {
  const { connection, run, services } = job
  const staging = await createStaging(connection, run.number)
  const takeRejects = rejectTaker(services.db, job)
  const compared = byBuckets ? await compare(job, collecting) : null
  const shape = { staged: true, stateful: job.stateful }
  const copy = copyRows(connection, staging, shape)
  const pass = await collecting.stage(
    compared === null ? 'all' : 'buckets',
    shape,
    copy,
    takeRejects,
  )
  const read = await finishRead(job, pass)
  phases.begin('Planning', pass.records)
  const merged = await resolveDuplicates(job, collecting, takeRejects)
  await keepUndelivered(job)
  const conflicts = conflictMessages([...pass.conflicts.names, ...merged.conflicts])
  const rows = pass.staged - merged.surplus
  const staged: Staged = {
    pass,
    rows,
    compared,
    messages: [...columnMessages(job, read), ...conflicts],
  }
  // Recorded before the plan: a crash of the server empties staging, and missing rows must never read as removals.
  await updateRun(connection, job.lease, {
    stagedRows: rows,
    baseVersion: job.before.accountsVersion,
  })
  await services.onStep('staged')
  return plan(job, collecting, staged, takeRejects)
}

async function compare(job: Job, collecting: Collecting): Promise<NonNullable<Staged['compared']>> {
  const count = bucketCount(job.before.accounts)
  const outcome = await collecting.compare(job.partition, count)
  await createDirtyBuckets(job.connection, job.run.number, outcome.dirty)
  const { dirty, dirtyStored, stored } = outcome
  return { mask: count - 1, dirtyStored, stored, buckets: dirty.length }
}

async function plan(
  job: Job,
  collecting: Collecting,
  staged: Staged,
  takeRejects: ReturnType<typeof rejectTaker>,
): Promise<Load> {
  const { connection, run } = job
  const few = staged.compared !== null && staged.rows < job.before.accounts * fewShare
  if (few) await indexStaging(connection, run.number)
  await analyzeStaging(connection, run.number)
  let stagedRows = staged.rows
  let changes = await diffStaged(job, staged, stagedRows, few)
  if (changes.collisions > 0) {
    stagedRows -= await rejectCollisions(job, collecting, takeRejects)
    await updateRun(connection, job.lease, { stagedRows })
    changes = await diffStaged(job, staged, stagedRows, few)
  }
  const { compared } = staged
  const clean = compared === null ? 0 : compared.stored - compared.dirtyStored
  const counts: PlanCounts = {
    before: job.before.accounts,
    created: changes.created,
    updated: changes.updated,
    removed: changes.removed,
    unchanged: clean + changes.matched - changes.updated,
  }
  const planRows = changes.created + changes.updated + changes.refreshed + changes.removed
  const planned = { stagedRows, planRows, changes, few }
  return {
    counts,
    records: staged.pass.records,
    ignored: staged.pass.ignored,
    messages: staged.messages,
    baseline: false,
    apply: (removals, finish) => apply(job, planned, removals, finish),
    discard: () => dropRunTables(job.services.db, run.number),
  }
}

/** Makes the plan table in one transaction, so that its settings end with it. */
async function diffStaged(
  job: Job,
  staged: Staged,
  stagedRows: number,
  few: boolean,
): Promise<PlannedRead> {
  const { connection, run } = job
  await connection.query('begin')
  try {
    checkRows('staged', stagedRows, await countStaged(connection, run.number))
    if (staged.compared !== null) {
      const { buckets } = staged.compared
      checkRows('kept as dirty', buckets, await countDirtyBuckets(connection, run.number))
    }
    const changes = await buildPlan(connection, {
      runId: job.task.id,
      runNumber: run.number,
      range: job.range,
      compared: staged.compared,
      absence: !job.delta,
      stagedRows,
      deletedRows: job.stateful ? await countDeleted(connection, run.number) : 0,
      few,
    })
    await connection.query('commit')
    return changes
  } catch (error) {
    await connection.query('rollback').catch(() => undefined)
    throw error
  }
}

/** Unlogged tables are empty after a crash of the server: accounts of rows that are gone would look removed, or be missed. */
function checkRows(
  kind: 'staged' | 'kept as dirty' | 'planned',
  expected: number,
  found: number,
): void {
  if (found === expected) return
  throw new AttemptError(`${expected} rows were ${kind}, but now there are ${found}`)
}

/** Rejects staged rows that have the id of another account; gives their number. */
async function rejectCollisions(
  job: Job,
  collecting: Collecting,
  takeRejects: ReturnType<typeof rejectTaker>,
): Promise<number> {
  const collisions = await takeCollisions(job.connection, job.run.number)
  const reason = 'The identity has the account id of another account of this source.'
  await rejectRows(
    job,
    collecting,
    takeRejects,
    collisions.map((row) => ({
      position: row.position,
      nativeIdentity: row.native_identity,
      key: row.stable_key,
      code: 'collision' as const,
      reason,
    })),
  )
  return collisions.length
}

interface Planned {
  readonly stagedRows: number
  readonly planRows: number
  readonly changes: PlannedChanges
  /** Whether few accounts are concerned, so that indexes are the way to them. */
  readonly few: boolean
}

async function apply(
  job: Job,
  planned: Planned,
  removals: boolean,
  finish: Parameters<Load['apply']>[1],
): Promise<'applied' | 'stale'> {
  const { connection, source, run } = job
  await connection.query('begin')
  try {
    const locked = await lockSource(connection, source.id)
    if (locked === null) throw new AttemptError('the source was deleted')
    if (!(await holdsLease(connection, job.lease))) throw new LeaseLostError()
    if (locked.accountsVersion !== job.before.accountsVersion) {
      await connection.query('rollback')
      return 'stale'
    }
    checkRows('staged', planned.stagedRows, await countStaged(connection, run.number))
    checkRows('planned', planned.planRows, await countPlanned(connection, run.number))
    if (!removals) await dropRemovals(connection, run.number)
    if (planned.few) await useIndexes(connection)
    const changes = removals ? planned.changes : { ...planned.changes, removed: 0 }
    await applyPlan(connection, source.id, run.number, changes)
    await job.services.onStep('applied')
    if (!(await holdsLease(connection, job.lease))) throw new LeaseLostError()
    await finish(connection, {
      accounts: locked.accounts + changes.created - changes.removed,
      changed: changes.created + changes.updated + changes.refreshed + changes.removed > 0,
    })
    await connection.query('commit')
    return 'applied'
  } catch (error) {
    await connection.query('rollback').catch(() => undefined)
    throw error
  }
}
