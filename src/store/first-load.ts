// The table of a first load: made, filled and keyed in one transaction, then attached as a partition.
import type { Queryable } from './database.ts'
import { accountRange, partitionName, quoteName, stagingName } from './names.ts'

/**
 * Makes the table. Rows name the run by a default, which saves a column of the COPY. Without a key: COPY of a million
 * rows into a table that has its key took 7.9 s, building it afterwards takes 0.7 s (2026-11-22).
 */
export async function createFirstLoad(
  tx: Queryable,
  sourceId: string,
  runNumber: number,
): Promise<void> {
  const table = quoteName(partitionName(sourceId))
  await tx.query(`create table ${table} (like account including defaults including comments)`)
  // Checked while rows come in, so that attaching need not read the table again (0.05 s instead of 0.2 s a million).
  const { low, high } = accountRange(sourceId)
  await tx.query(
    `alter table ${table} add constraint in_range check (id >= '${low}' and id < '${high}')`,
  )
  await tx.query(`alter table ${table} alter column opened_run set default ${BigInt(runNumber)}`)
}

/** Builds the primary key; false when an account stands twice, and the transaction goes on as before. */
export async function addPrimaryKey(tx: Queryable, partition: string): Promise<boolean> {
  await tx.query('savepoint keyed')
  try {
    await tx.query(`set local maintenance_work_mem = '256MB'`)
    await tx.query(`alter table ${quoteName(partition)} add primary key (id)`)
    await tx.query(`alter table ${quoteName(partition)} alter column opened_run drop default`)
    await tx.query('release savepoint keyed')
    return true
  } catch (error) {
    if (!isUniqueViolation(error)) throw error
    await tx.query('rollback to savepoint keyed')
    return false
  }
}

function isUniqueViolation(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '23505'
}

/** The accounts that stand more than once, with their key hashes; null when there are more than `limit`. */
export async function findDuplicateIds(
  tx: Queryable,
  partition: string,
  limit: number,
): Promise<readonly { readonly keyHash: number }[] | null> {
  const { rows } = await tx.query<{ key_hash: number }>(
    `select key_hash from ${quoteName(partition)} group by id, key_hash having count(*) > 1 limit $1`,
    [limit + 1],
  )
  return rows.length > limit ? null : rows.map((row) => ({ keyHash: row.key_hash }))
}

/** Puts what staging made of the accounts that stand more than once in the place of their rows; gives by how many rows less. */
export async function replaceDuplicates(
  tx: Queryable,
  partition: string,
  runNumber: number,
): Promise<number> {
  const table = quoteName(partition)
  const staging = quoteName(stagingName(runNumber))
  const removed = await tx.query(
    `delete from ${table} t using ${staging} s
     where t.id = s.id and s.id in (select id from ${table} group by id having count(*) > 1)`,
  )
  const inserted = await tx.query(
    `insert into ${table} (id, fingerprint, key_hash, native_identity, name, attributes, stable_key, disabled, locked)
     select s.id, s.fingerprint, s.key_hash, s.native_identity, s.name, s.attributes, s.stable_key, s.disabled, s.locked
     from ${staging} s where not exists (select from ${table} t where t.id = s.id)`,
  )
  return removed.rowCount - inserted.rowCount
}

/** Drops the check that attaching has taken the place of. */
export async function dropRangeCheck(tx: Queryable, sourceId: string): Promise<void> {
  await tx.query(
    `alter table ${quoteName(partitionName(sourceId))} drop constraint if exists in_range`,
  )
}

/** Gathers the statistics of a partition, which a first load has none of. */
export async function analyzeAccounts(q: Queryable, partition: string): Promise<void> {
  await q.query(`analyze ${quoteName(partition)}`)
}
