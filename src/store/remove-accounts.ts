// Removes all accounts of a source: set-wise, into history, inside the caller's transaction.
import type { Database, Queryable } from './database.ts'
import { accountRange, partitionName, quoteName } from './names.ts'

/**
 * Moves every account and link of a source into history, closed by the run `runNumber`, and gives the number of accounts.
 * The caller holds the lock of the source. The rows are deleted and the table stays: truncating or dropping it here
 * would need a lock on all of `account`, for which every reader of any source would wait until this commits.
 */
export async function removeAllAccounts(
  tx: Queryable,
  sourceId: string,
  runNumber: number,
): Promise<number> {
  const { low, high } = accountRange(sourceId)
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
 * Drops the table of a deleted source. It waits only this long for its turn, because readers of all sources wait behind
 * it; where it does not get one, the empty table stays and harms nobody. False when it stayed.
 */
export async function dropPartition(db: Database, sourceId: string): Promise<boolean> {
  try {
    await db.transaction(async (tx) => {
      await tx.query(`set local lock_timeout = '200ms'`)
      await tx.query(`drop table if exists ${quoteName(partitionName(sourceId))}`)
    })
    return true
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
