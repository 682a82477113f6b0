// Removes accounts set-wise, into history, inside the caller's transaction.
import { fromWireId } from '../core/id.ts'
import type { Database, Queryable } from './database.ts'
import { accountRange, type IdRange, partitionName, quoteName } from './names.ts'

/**
 * Moves every account and link of a range of ids into history, closed by the run `runNumber`, and gives the number of
 * accounts. The caller holds the lock of the source. The rows are deleted and the table stays: truncating or dropping it
 * here would need a lock on all of `account`, for which every reader of any source would wait until this commits.
 */
export async function removeAccountsIn(
  tx: Queryable,
  { low, high }: IdRange,
  runNumber: number,
): Promise<number> {
  const values = [low, high, runNumber]
  const { rowCount } = await tx.query(
    `insert into account_history (id, opened_run, closed_run, removed, created_run, disabled, locked,
       native_identity, name, stable_key, attributes)
     select id, opened_run, $3::bigint, true, created_run, disabled, locked, native_identity, name, stable_key,
       attributes
     from account where id >= $1::uuid and id < $2::uuid`,
    values,
  )
  await tx.query(
    `insert into account_change (run_number, account_id, kind)
     select $3::bigint, id, 'removed' from account where id >= $1::uuid and id < $2::uuid`,
    values,
  )
  await tx.query('delete from account where id >= $1::uuid and id < $2::uuid', [low, high])
  await tx.query(
    `insert into account_link_history (account_id, identity_id, match, opened_run, closed_run)
     select account_id, identity_id, match, opened_run, $3::bigint
     from account_link where account_id >= $1::uuid and account_id < $2::uuid`,
    values,
  )
  await tx.query(
    'delete from account_link where account_id >= $1::uuid and account_id < $2::uuid',
    [low, high],
  )
  return rowCount
}

/**
 * Writes what a source is after accounts were removed from it: how many are left, and that plans made before are stale.
 * Once it is empty nothing is known of fingerprints any more.
 */
export async function recordRemoval(
  tx: Queryable,
  sourceId: string,
  removed: number,
): Promise<void> {
  await tx.query(
    `update source set accounts = accounts - $2::bigint, accounts_version = accounts_version + 1,
       loaded_seed = case when accounts > $2::bigint then loaded_seed end
     where id = $1::uuid`,
    [fromWireId(sourceId), removed],
  )
}

/**
 * Drops the table of a source without accounts, so that its space is free and the next load is a first one. It waits only
 * this long for its turn, because readers of all sources wait behind it; where it does not get one, the empty table stays
 * and harms nobody. False when it stayed.
 */
export async function dropEmptyPartition(db: Database, sourceId: string): Promise<boolean> {
  const table = quoteName(partitionName(sourceId))
  const { low, high } = accountRange(sourceId)
  try {
    return await db.transaction(async (tx) => {
      await tx.query(`set local lock_timeout = '200ms'`)
      // Under the lock that every writer of accounts takes first: a run may have filled the table since.
      await tx.query('select from source where id = $1::uuid for no key update', [
        fromWireId(sourceId),
      ])
      const { rows } = await tx.query<{ filled: boolean }>(
        'select exists (select from account where id >= $1::uuid and id < $2::uuid) as filled',
        [low, high],
      )
      if (rows[0]?.filled !== false) return false
      await tx.query(`drop table if exists ${table}`)
      return true
    })
  } catch (error) {
    // 55P03: no lock in time. 40P01: another transaction waited for us.
    const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
    if (code === '55P03' || code === '40P01') return false
    throw error
  }
}

/** Deleted sources whose table could not be dropped at once. */
export async function listDeletedWithPartition(q: Queryable): Promise<readonly string[]> {
  const { rows } = await q.query<{ id: string }>(
    `select replace(id::text, '-', '') as id from source
     where deleted_at is not null
       and to_regclass('account_' || encode(substring(uuid_send(id) from 1 for 6), 'hex')) is not null`,
  )
  return rows.map((row) => row.id)
}
