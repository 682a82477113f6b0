// What a run changed: queries over account_change and the versions of accounts.
import { toWireId } from '../core/id.ts'
import type { ChangeKind } from '../core/plan.ts'
import type { Queryable } from './database.ts'
import { accountRange } from './names.ts'
import type { Run } from './runs.ts'

/** One account that a run changed; `before` and `after` are its attributes as canonical JSON. */
export interface Change {
  readonly kind: ChangeKind
  readonly accountId: string
  readonly nativeIdentity: string
  readonly before: string | null
  readonly after: string | null
  /** What the system said besides attributes; null where there is no account. */
  readonly stateBefore: AccountState | null
  readonly stateAfter: AccountState | null
}

/** What a system says of an account besides its attributes. */
export interface AccountState {
  readonly nativeIdentity: string
  readonly disabled: boolean
  readonly locked: boolean
}

interface ChangeRow {
  readonly kind: ChangeKind
  readonly id: string
  readonly native_identity: string
  readonly before: string | null
  readonly after: string | null
  readonly state_before: AccountState | null
  readonly state_after: AccountState | null
}

const state = (row: string): string =>
  `case when ${row}.id is not null then jsonb_build_object('nativeIdentity', ${row}.native_identity,
    'disabled', ${row}.disabled, 'locked', ${row}.locked) end`

/** A page of the changes of an applied run, by account id. `kind` null means all. */
export async function listChanges(
  q: Queryable,
  run: Run,
  kind: ChangeKind | null,
  limit: number,
  offset: number,
): Promise<readonly Change[]> {
  if (run.applied === null || limit === 0) return []
  const rows = run.baseline
    ? kind === null || kind === 'created'
      ? await listBaseline(q, run, limit, offset)
      : []
    : await listRecorded(q, run, kind, limit, offset)
  return rows.map((row) => ({
    kind: row.kind,
    accountId: toWireId(row.id),
    nativeIdentity: row.native_identity,
    before: row.before,
    after: row.after,
    stateBefore: row.state_before,
    stateAfter: row.state_after,
  }))
}

/** A first load created every row that it opened, whether the row is current or superseded by now. */
async function listBaseline(
  q: Queryable,
  run: Run,
  limit: number,
  offset: number,
): Promise<readonly ChangeRow[]> {
  const { low, high } = accountRange(run.sourceId)
  const { rows } = await q.query<ChangeRow>(
    `select 'created' as kind, id, native_identity, null as before, attributes as after,
       null as state_before, ${state('opened')} as state_after
     from (
       select id, native_identity, disabled, locked, attributes from account
       where id >= $1::uuid and id < $2::uuid and opened_run = $3::bigint
       union all
       select id, native_identity, disabled, locked, attributes from account_history
       where opened_run = $3::bigint
     ) as opened order by id limit $4 offset $5`,
    [low, high, run.number, limit, offset],
  )
  return rows
}

async function listRecorded(
  q: Queryable,
  run: Run,
  kind: ChangeKind | null,
  limit: number,
  offset: number,
): Promise<readonly ChangeRow[]> {
  const { rows } = await q.query<ChangeRow>(
    `with page as (
       select account_id, kind from account_change
       where run_number = $1::bigint and ($2::text is null or kind = $2::text)
       order by account_id limit $3 offset $4)
     select page.kind, page.account_id as id,
       coalesce(current.native_identity, later.native_identity, former.native_identity) as native_identity,
       former.attributes as before, coalesce(current.attributes, later.attributes) as after,
       ${state('former')} as state_before, coalesce(${state('current')}, ${state('later')}) as state_after
     from page
       left join account current on current.id = page.account_id and current.opened_run = $1::bigint
       left join account_history later on later.id = page.account_id and later.opened_run = $1::bigint
       left join lateral (
         select id, native_identity, disabled, locked, attributes from account_history h
         where h.id = page.account_id and h.closed_run = $1::bigint and page.kind <> 'created') former on true
     order by page.account_id`,
    [run.number, kind, limit, offset],
  )
  return rows
}

/** How many changes of a kind a run made; all kinds for null. */
export async function countChanges(
  q: Queryable,
  run: Run,
  kind: ChangeKind | null,
): Promise<number> {
  if (run.applied === null) return 0
  if (run.baseline) {
    return kind === null || kind === 'created' ? Number(run.counters['created'] ?? 0) : 0
  }
  const { rows } = await q.query<{ changes: number }>(
    `select count(*) as changes from account_change
     where run_number = $1::bigint and ($2::text is null or kind = $2::text)`,
    [run.number, kind],
  )
  return rows[0]?.changes ?? 0
}
