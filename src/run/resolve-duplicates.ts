// Accounts that stand in staging more than once: their rows are merged, or the later ones are rejected (contract.md section 8.9).
import { mergeAttributes, readAttributes, writeAttributes } from '../core/attributes.ts'
import type { TaskMessage } from '../core/task.ts'
import type { Connection } from '../store/database.ts'
import {
  eachDuplicateRow,
  eachKnownRow,
  hasDuplicates,
  replaceStaged,
  type StagedRow,
  takeDuplicates,
} from '../store/staging.ts'
import type { Collecting, TakeRejects } from './collect.ts'
import type { Job } from './job.ts'
import { conflictMessages, rejectRows } from './load.ts'

/** Leaves every account in staging once; says what it had to decide. */
export async function resolveDuplicates(
  job: Job,
  collecting: Collecting,
  takeRejects: TakeRejects,
): Promise<TaskMessage[]> {
  const { connection, run } = job
  if (!(await hasDuplicates(connection, run.number))) return []
  if (job.layout.mergeRows) return mergeApart(connection, run.number)
  const duplicates = await takeDuplicates(connection, run.number)
  await rejectRows(
    job,
    collecting,
    takeRejects,
    duplicates.map((row) => ({
      position: row.position,
      nativeIdentity: row.native_identity,
      ...(row.native_identity === row.first_identity
        ? {
            code: 'duplicate' as const,
            reason: `The record on line ${row.first} has the same "${job.layout.identityAttribute}", and rows are not merged (mergeRows is off).`,
          }
        : {
            code: 'collision' as const,
            reason: `The identity has the same account id as that of line ${row.first}.`,
          }),
    })),
  )
  return []
}

/** Merges rows that stand apart in the file, page by page. */
async function mergeApart(connection: Connection, runNumber: number): Promise<TaskMessage[]> {
  const conflicts = { accounts: 0, names: new Set<string>() }
  let open: StagedRow | null = null
  let conflicted = false
  await connection.query('begin')
  try {
    let done: StagedRow[] = []
    await eachDuplicateRow(connection, runNumber, async (rows) => {
      for (const row of rows) {
        if (open === null || open.id !== row.id) {
          if (open !== null) done.push(open)
          open = row
          conflicted = false
          continue
        }
        const merged = mergeStaged(open, row)
        if (merged.conflicts.length > 0 && !conflicted) conflicts.accounts += 1
        conflicted ||= merged.conflicts.length > 0
        for (const name of merged.conflicts) conflicts.names.add(name)
        open = merged.row
      }
      await replaceStaged(connection, runNumber, done)
      done = []
    })
    if (open !== null) await replaceStaged(connection, runNumber, [open])
    await connection.query('commit')
  } catch (error) {
    await connection.query('rollback').catch(() => undefined)
    throw error
  }
  return conflictMessages({ accounts: conflicts.accounts, names: [...conflicts.names] })
}

function mergeStaged(
  first: StagedRow,
  later: StagedRow,
): { readonly row: StagedRow; readonly conflicts: readonly string[] } {
  const merged = mergeAttributes(readAttributes(first.attributes), readAttributes(later.attributes))
  const summable =
    merged.conflicts.length === 0 && first.fingerprint !== null && later.fingerprint !== null
  return {
    conflicts: merged.conflicts,
    row: {
      ...first,
      name: first.name === first.nativeIdentity ? later.name : first.name,
      attributes: writeAttributes(merged.attributes),
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
  await connection.query('begin')
  try {
    await eachKnownRow(connection, run.number, job.range, async (rows) => {
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
    })
    await connection.query('commit')
  } catch (error) {
    await connection.query('rollback').catch(() => undefined)
    throw error
  }
}
