// The effect of a run: history, accounts, removals, all in the caller's transaction under the lock of the source.
import { fromWireId } from '../core/id.ts'
import type { Connection, Queryable } from './database.ts'
import { accountRange, partitionName, planName, quoteName, stagingName } from './names.ts'
import type { PlannedChanges } from './plans.ts'

/** What the lock of a source shows. */
export interface LockedSource {
  readonly accounts: number
  readonly accountsVersion: number
}

/** Locks the row of a source until the transaction ends; null when the source is deleted. Every writer of accounts calls it. */
export async function lockSource(tx: Queryable, sourceId: string): Promise<LockedSource | null> {
  const { rows } = await tx.query<{ accounts: number; accounts_version: number }>(
    `select accounts, accounts_version from source
     where id = $1::uuid and deleted_at is null for no key update`,
    [fromWireId(sourceId)],
  )
  const row = rows[0]
  return row === undefined
    ? null
    : { accounts: row.accounts, accountsVersion: row.accounts_version }
}

/** Makes the partition of a source where it is missing; called under its lock. */
async function ensurePartition(tx: Queryable, sourceId: string): Promise<void> {
  const name = quoteName(partitionName(sourceId))
  const { rows } = await tx.query<{ found: boolean }>(
    'select to_regclass($1) is not null as found',
    [name],
  )
  if (rows[0]?.found === true) return
  await tx.query(`create table ${name} (like account including all)`)
  await attachPartition(tx, sourceId)
}

/** Attaches a filled table as the partition of a source. Reading goes on meanwhile. */
export async function attachPartition(tx: Queryable, sourceId: string): Promise<void> {
  const { low, high } = accountRange(sourceId)
  const table = quoteName(partitionName(sourceId))
  await tx.query(
    `alter table account attach partition ${table} for values from ('${low}') to ('${high}')`,
  )
  // The comments of the columns came with the table; this one does not.
  await tx.query(`comment on table ${table} is 'The accounts of one source.'`)
}

/** Applies the plan of a run: what was judged is what is written. */
export async function applyPlan(
  tx: Connection,
  sourceId: string,
  runNumber: number,
  changes: PlannedChanges,
): Promise<void> {
  const plan = quoteName(planName(runNumber))
  const staging = quoteName(stagingName(runNumber))
  const { low, high } = accountRange(sourceId)
  await ensurePartition(tx, sourceId)
  await tx.query(`analyze ${plan}`)
  if (changes.updated + changes.removed > 0) {
    await tx.query(
      `insert into account_history (id, opened_run, closed_run, removed, created_run, disabled, locked,
         native_identity, name, stable_key, attributes)
       select a.id, a.opened_run, $3::bigint, p.kind = 'removed', a.created_run, a.disabled, a.locked,
         a.native_identity, a.name, a.stable_key, a.attributes
       from ${plan} p join account a on a.id = p.account_id
       where p.kind in ('updated', 'removed') and a.id >= $1::uuid and a.id < $2::uuid`,
      [low, high, runNumber],
    )
  }
  if (changes.updated > 0) {
    await tx.query(
      `update account a set name = s.name, attributes = s.attributes, fingerprint = s.fingerprint,
         native_identity = s.native_identity, stable_key = s.stable_key, disabled = s.disabled, locked = s.locked,
         created_run = coalesce(a.created_run, a.opened_run), opened_run = $3::bigint
       from ${plan} p join ${staging} s on s.id = p.account_id
       where p.kind = 'updated' and a.id = p.account_id and a.id >= $1::uuid and a.id < $2::uuid`,
      [low, high, runNumber],
    )
  }
  if (changes.refreshed > 0) {
    await tx.query(
      `update account a set fingerprint = s.fingerprint
       from ${plan} p join ${staging} s on s.id = p.account_id
       where p.kind = 'refreshed' and a.id = p.account_id and a.id >= $1::uuid and a.id < $2::uuid`,
      [low, high],
    )
  }
  if (changes.removed > 0) {
    await tx.query(
      `delete from account a using ${plan} p
       where p.kind = 'removed' and a.id = p.account_id and a.id >= $1::uuid and a.id < $2::uuid`,
      [low, high],
    )
  }
  if (changes.created > 0) {
    await tx.query(
      `insert into account (id, fingerprint, opened_run, key_hash, native_identity, name, attributes,
         stable_key, disabled, locked)
       select s.id, s.fingerprint, $1::bigint, s.key_hash, s.native_identity, s.name, s.attributes,
         s.stable_key, s.disabled, s.locked
       from ${plan} p join ${staging} s on s.id = p.account_id
       where p.kind = 'created' order by s.id`,
      [runNumber],
    )
  }
  await tx.query(
    `insert into account_change (run_number, account_id, kind)
     select $1::bigint, account_id, kind from ${plan} where kind in ('created', 'updated', 'removed')`,
    [runNumber],
  )
}

/** Writes what a source is after a run: its counts, what its fingerprints were seeded with, and that it is healthy. */
export async function recordLoad(
  tx: Queryable,
  sourceId: string,
  load: { readonly accounts: number; readonly changed: boolean; readonly seed: Uint8Array },
): Promise<void> {
  await tx.query(
    `update source set accounts = $2, accounts_version = accounts_version + case when $3 then 1 else 0 end,
       loaded_seed = $4, status = 'SOURCE_STATE_HEALTHY', healthy = true,
       since = case when status = 'SOURCE_STATE_HEALTHY' then since else clock_timestamp() end
     where id = $1::uuid`,
    [fromWireId(sourceId), load.accounts, load.changed, Buffer.from(load.seed)],
  )
}

/** Marks a source whose file could not be imported, or whose system could not be read. */
export async function recordFailedLoad(q: Queryable, sourceId: string): Promise<void> {
  await q.query(
    `update source set status = failed.status, healthy = false, since = clock_timestamp()
     from (select id, case when connection_type = 'file' then 'SOURCE_STATE_ERROR_ACCOUNT_FILE_IMPORT'
       else 'SOURCE_STATE_ERROR_SOURCE' end as status from source) failed
     where source.id = $1::uuid and failed.id = source.id and deleted_at is null
       and source.status <> failed.status`,
    [fromWireId(sourceId)],
  )
}

/** What a run starts from: the counts of the source and what its fingerprints were seeded with. */
export async function readLoadState(
  q: Queryable,
  sourceId: string,
): Promise<{ accounts: number; accountsVersion: number; seed: Buffer | null } | null> {
  const { rows } = await q.query<{
    accounts: number
    accounts_version: number
    loaded_seed: Buffer | null
  }>(
    `select accounts, accounts_version, loaded_seed from source
     where id = $1::uuid and deleted_at is null`,
    [fromWireId(sourceId)],
  )
  const row = rows[0]
  return row === undefined
    ? null
    : { accounts: row.accounts, accountsVersion: row.accounts_version, seed: row.loaded_seed }
}
