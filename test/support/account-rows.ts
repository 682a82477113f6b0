// Writes accounts straight into the tables, as runs would have left them.
import { accountId } from '../../src/store/account-id.ts'
import type { Database } from '../../src/store/database.ts'
import { accountRange, partitionName, quoteName } from '../../src/store/names.ts'

export interface AccountRow {
  readonly nativeIdentity: string
  readonly name?: string | null
  /** Canonical JSON. */
  readonly attributes?: string
  readonly openedRun?: number
  readonly createdRun?: number | null
  readonly identityId?: string
  readonly match?: 'matched' | 'manual'
}

/** Adds accounts to a source, makes its partition where it is missing, keeps its count, and gives their wire ids. */
export async function insertAccounts(
  db: Database,
  sourceId: string,
  accounts: readonly AccountRow[],
): Promise<string[]> {
  const table = quoteName(partitionName(sourceId))
  const { low, high } = accountRange(sourceId)
  await db.query(`create table if not exists ${table} (like account including all)`)
  const attached = await db.query('select 1 from pg_inherits where inhrelid = $1::regclass', [
    table,
  ])
  if (attached.rowCount === 0) {
    await db.query(
      `alter table account attach partition ${table} for values from ('${low}') to ('${high}')`,
    )
  }
  const ids = accounts.map((account) => accountId(sourceId, account.nativeIdentity))
  await db.query(
    `insert into account (id, opened_run, created_run, key_hash, native_identity, name, attributes)
     select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::int[], $5::text[], $6::text[], $7::text[])`,
    [
      ids,
      accounts.map((account) => account.openedRun ?? 1),
      accounts.map((account) => account.createdRun ?? null),
      accounts.map(() => 0),
      accounts.map((account) => account.nativeIdentity),
      accounts.map((account) =>
        account.name === undefined ? account.nativeIdentity : account.name,
      ),
      accounts.map((account) => account.attributes ?? '{}'),
    ],
  )
  for (const [index, account] of accounts.entries()) {
    if (account.identityId === undefined) continue
    await db.query(
      `insert into account_link (account_id, identity_id, match, opened_run)
       values ($1::uuid, $2::uuid, $3::text, 1)`,
      [ids[index], account.identityId, account.match ?? 'matched'],
    )
  }
  await db.query(
    `update source set accounts = accounts + $2::bigint, accounts_version = accounts_version + 1
     where id = $1::uuid`,
    [sourceId, accounts.length],
  )
  return ids
}

/** Adds a task and its applied run, and gives its number. */
export async function insertRun(
  db: Database,
  sourceId: string,
  appliedAt: string,
): Promise<number> {
  const { rows } = await db.query<{ number: number }>(
    `with made as (
       insert into task (id, type, state, source_id, launcher, completion_status, completed_at)
       values (gen_random_uuid(), 'CLOUD_ACCOUNT_AGGREGATION', 'completed', $1::uuid, 'x', 'SUCCESS', now())
       returning id, number)
     insert into run (task_id, number, source_id, node, applied_at)
     select id, number, $1::uuid, 'n', $2::timestamptz from made returning number`,
    [sourceId, appliedAt],
  )
  return rows[0]?.number ?? 0
}
