// Accounts that stand in staging more than once: their rows are merged, or the later ones are rejected (contract.md section 8.9).
import { readAttributes, writeAttributes } from '../core/attributes.ts'
import { RunError } from '../core/errors.ts'
import { mergeRecords } from '../core/source-record.ts'
import type { Connection } from '../store/database.ts'
import {
  dropEarlierRows,
  dropLaterRows,
  eachDuplicateRow,
  eachKnownRow,
  eachLaterRow,
  findRepeated,
  hasDuplicates,
  replaceStaged,
  type StagedRow,
} from '../store/staging.ts'
import type { Collecting, TakeRejects } from './collect.ts'
import type { Job } from './job.ts'
import { rejectRows } from './load.ts'

/** What became of accounts that stood in staging more than once. `surplus`: by how many rows staging is smaller now. */
export interface Resolved {
  readonly surplus: number
  /** Single-valued attributes in which rows of one account differ. */
  readonly conflicts: ReadonlySet<string>
}

/** Leaves every account in staging once. */
export async function resolveDuplicates(
  job: Job,
  collecting: Collecting,
  takeRejects: TakeRejects,
): Promise<Resolved> {
  if (!(await hasDuplicates(job.connection, job.run.number))) {
    return { surplus: 0, conflicts: new Set() }
  }
  return inTransaction(job.connection, async () => {
    if (job.layout.mergeRows) return mergeApart(job)
    if (job.delta) {
      const surplus = await dropEarlierRows(job.connection, job.run.number)
      return { surplus, conflicts: new Set() }
    }
    return job.system === null ? rejectLater(job, collecting, takeRejects) : refuseRepeated(job)
  })
}

/** The attempt has one connection, which a cursor needs inside of a transaction. */
async function inTransaction<T>(connection: Connection, work: () => Promise<T>): Promise<T> {
  await connection.query('begin')
  try {
    const result = await work()
    await connection.query('commit')
    return result
  } catch (error) {
    await connection.query('rollback').catch(() => undefined)
    throw error
  }
}

/**
 * A system that gives a record twice has moved its pages while they were read: it may have left out another one as well,
 * and what is missing cannot be told from what is gone.
 */
async function refuseRepeated(job: Job): Promise<never> {
  const { first, count } = await findRepeated(job.connection, job.run.number)
  throw new RunError(
    'repeated_record',
    `${count} ${count === 1 ? 'record was' : 'records were'} delivered more than once, "${first}" for one: the read cannot be complete.`,
    {
      hint: 'Read again while the system is quiet. If it happens again, the identity attribute is not unique there, or rows of one account are to be merged (mergeColumns).',
    },
  )
}

/** Rejects the later rows of accounts, page by page: all rows of a large file may stand twice. */
async function rejectLater(
  job: Job,
  collecting: Collecting,
  takeRejects: TakeRejects,
): Promise<Resolved> {
  const { connection, run } = job
  await eachLaterRow(connection, run.number, (rows) =>
    rejectRows(
      job,
      collecting,
      takeRejects,
      rows.map((row) => ({
        position: row.position,
        nativeIdentity: row.nativeIdentity,
        key: row.stableKey,
        ...((row.stableKey ?? row.nativeIdentity) === row.firstKey
          ? {
              code: 'duplicate' as const,
              reason: `The record on line ${row.first} has the same "${job.layout.identityAttribute}", and rows are not merged (mergeRows is off).`,
            }
          : {
              code: 'collision' as const,
              reason: `The identity has the same account id as that of line ${row.first}.`,
            }),
      })),
    ),
  )
  return { surplus: await dropLaterRows(connection, run.number), conflicts: new Set() }
}

/** Merges rows that stand apart in the file, page by page. */
async function mergeApart(job: Job): Promise<Resolved> {
  const { connection, run } = job
  const conflicts = new Set<string>()
  let open: StagedRow | null = null
  let surplus = 0
  let done: StagedRow[] = []
  await eachDuplicateRow(connection, run.number, async (rows) => {
    for (const row of rows) {
      if (open === null || open.id !== row.id) {
        if (open !== null) done.push(open)
        open = row
        continue
      }
      const merged = mergeStaged(open, row, job.layout.displayAttribute)
      for (const name of merged.conflicts) conflicts.add(name)
      open = merged.row
      surplus += 1
    }
    await replaceStaged(connection, run.number, done)
    done = []
  })
  if (open !== null) await replaceStaged(connection, run.number, [open])
  return { surplus, conflicts }
}

function mergeStaged(
  first: StagedRow,
  later: StagedRow,
  displayAttribute: string | null,
): { readonly row: StagedRow; readonly conflicts: readonly string[] } {
  const merged = mergeRecords(first, later, displayAttribute)
  const summable = !merged.ordered && first.fingerprint !== null && later.fingerprint !== null
  return {
    conflicts: merged.conflicts,
    row: {
      ...first,
      name: merged.name,
      attributes: merged.attributes,
      fingerprint: summable ? addFingerprints(first.fingerprint, later.fingerprint) : null,
    },
  }
}

/** Adds the two words of fingerprints, each by itself, as the sums of buckets do. */
function addFingerprints(a: string | null, b: string | null): string {
  const [x, y] = [BigInt.asUintN(64, BigInt(a ?? 0)), BigInt.asUintN(64, BigInt(b ?? 0))]
  const low = BigInt.asUintN(32, x + y)
  const high = BigInt.asUintN(32, (x >> 32n) + (y >> 32n))
  return BigInt.asIntN(64, (high << 32n) | low).toString()
}

/** Gives staged rows the stored values of attributes that the file has no column for (contract.md section 8.8). */
export async function keepUndelivered(job: Job): Promise<void> {
  const { connection, run, layout } = job
  if (layout.undelivered.length === 0 || job.before.accounts === 0) return
  const nameIsMissing = layout.displayColumn < 0
  await inTransaction(connection, () =>
    eachKnownRow(connection, run.number, job.range, async (rows) => {
      const amended: StagedRow[] = []
      for (const { staged, storedName, storedAttributes } of rows) {
        const stored = readAttributes(storedAttributes)
        const kept = layout.undelivered.filter((name) => stored.has(name))
        const name = nameIsMissing && storedName !== null ? storedName : staged.name
        if (kept.length === 0 && name === staged.name) continue
        const attributes = readAttributes(staged.attributes)
        for (const attribute of kept) attributes.set(attribute, stored.get(attribute) ?? 'null')
        amended.push({ ...staged, name, attributes: writeAttributes(attributes) })
      }
      if (amended.length > 0) await replaceStaged(connection, run.number, amended)
    }),
  )
}
