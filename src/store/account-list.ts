// Reads accounts: one by its id, or a page of a filtered and sorted list; fast at a million of them where an index serves.
import { requiredConditions } from '../core/filter.ts'
import type { Filter } from '../core/filter.ts'
import { fromWireId, toWireId } from '../core/id.ts'
import type { Sorter } from '../core/sorter.ts'
import {
  accountFields,
  accountSorters,
  accountTables,
  needsSources,
  sortersNeedSources,
  sortersNeedSourceTable,
  sourceTable,
  wireIds,
} from './account-fields.ts'
import { inSources } from './account-ranges.ts'
import { keptCount, listAccountSources } from './account-sources.ts'
import type { AccountSource } from './account-sources.ts'
import type { Connection, Database, Queryable } from './database.ts'
import { filterToSql, orderToSql, parameter } from './filter-sql.ts'
import type { Parameters } from './filter-sql.ts'
import { readList } from './list-timeout.ts'

/** An account as it is kept, with its link and its instants. */
export interface AccountRecord {
  readonly id: string
  readonly nativeIdentity: string
  readonly name: string | null
  /** Canonical JSON, exactly as stored: its integers may be larger than JavaScript's. */
  readonly attributes: string
  readonly disabled: boolean
  readonly locked: boolean
  readonly identity: { readonly id: string; readonly name: string | null } | null
  readonly manuallyCorrelated: boolean
  readonly created: string | null
  readonly modified: string | null
}

/** Which accounts; `sourceIds` are the sources that the caller is confined to, null means all. */
export interface AccountQuery {
  readonly filter: Filter | null
  readonly sorters: readonly Sorter[]
  readonly limit: number
  readonly offset: number
  readonly sourceIds: readonly string[] | null
}

const narrower =
  'Add sourceId eq "…" to the filter, ask for id, nativeIdentity or identityId, or leave the sorters out.'

interface AccountRow {
  id: string
  native_identity: string
  name: string | null
  attributes: string
  disabled: boolean
  locked: boolean
  identity_id: string | null
  identity_name: string | null
  match: string | null
  created_at: Date | null
  modified_at: Date | null
}

const columns = `a.id, a.native_identity, a.name, a.attributes, a.disabled, a.locked, l.identity_id,
  i.name as identity_name, l.match, created.applied_at as created_at, opened.applied_at as modified_at`

/** The account with this id, or null. */
export async function getAccount(q: Queryable, id: string): Promise<AccountRecord | null> {
  const { rows } = await q.query<AccountRow>(
    `select ${columns} from ${accountTables} where a.id = $1::uuid`,
    [fromWireId(id)],
  )
  const [row] = rows
  return row === undefined ? null : rowToAccount(row)
}

/** A page of accounts and, where it is asked for, how many there are in all. Without sorters in the order of their ids. */
export async function listAccounts(
  db: Database,
  query: AccountQuery,
  withTotal: boolean,
): Promise<{ readonly accounts: readonly AccountRecord[]; readonly total: number | null }> {
  return readList(db, narrower, async (tx) => {
    const accounts = await readPage(tx, query)
    return { accounts, total: withTotal ? await countAccounts(tx, query) : null }
  })
}

/** The statement of a page, for the page itself and for tests that look at its plan. */
export async function accountPageStatement(
  q: Queryable,
  query: AccountQuery,
): Promise<{ readonly text: string; readonly values: readonly unknown[] }> {
  const parameters: Parameters = { values: [] }
  const { sorters } = query
  const sources = await sourcesOf(q, query, sortersNeedSources(sorters))
  const where = conditions(query, sources, parameters)
  const tables = sortersNeedSourceTable(sorters) ? accountTables + sourceTable : accountTables
  const order = orderToSql(sorters, accountSorters(sorters, sources, parameters), 'a.id')
  const limit = parameter(parameters, query.limit, 'integer')
  const offset = parameter(parameters, query.offset, 'integer')
  // The ids of the page are found first, in an index where one serves. Then each row is looked up by its id: "offset 0"
  // keeps the planner from joining all accounts and all links by hash, which it prefers for tables of middling size.
  return {
    text: `select detail.*
      from (select id, row_number() over () as place from (
          select a.id from ${tables} where ${where} order by ${order} limit ${limit} offset ${offset}
        ) found) page
        cross join lateral (select ${columns} from ${accountTables} where a.id = page.id offset 0) detail
      order by page.place`,
    values: parameters.values,
  }
}

async function readPage(tx: Connection, query: AccountQuery): Promise<AccountRecord[]> {
  const { text, values } = await accountPageStatement(tx, query)
  const { rows } = await tx.query<AccountRow>(text, values)
  return rows.map(rowToAccount)
}

async function countAccounts(tx: Connection, query: AccountQuery): Promise<number> {
  const { filter, sourceIds } = query
  if (filter === null) return keptCount(tx, sourceIds)
  const named = namedSources(filter)
  if (named !== null && (filter.kind === 'compare' || filter.kind === 'list')) {
    return keptCount(tx, confined(named, sourceIds))
  }
  const parameters: Parameters = { values: [] }
  const where = conditions(query, await sourcesOf(tx, query, false), parameters)
  const { rows } = await tx.query<{ count: number }>(
    `select count(*) as count from ${accountTables} where ${where}`,
    parameters.values,
  )
  return rows[0]?.count ?? 0
}

/** The sources that filter or sorters need to know; none where they do not. */
async function sourcesOf(
  q: Queryable,
  { filter, sourceIds }: AccountQuery,
  needed: boolean,
): Promise<readonly AccountSource[]> {
  if (!needed && (filter === null || !needsSources(filter))) return []
  const named = filter === null ? null : namedSources(filter)
  return listAccountSources(q, named === null ? sourceIds : confined(named, sourceIds))
}

function conditions(
  { filter, sourceIds }: AccountQuery,
  sources: readonly AccountSource[],
  parameters: Parameters,
): string {
  const parts = ['true']
  if (sourceIds !== null) parts.push(inSources(sourceIds, parameters))
  if (filter !== null) parts.push(filterToSql(filter, accountFields(sources), parameters))
  return parts.join(' and ')
}

/** The sources that every account of a filter is in, because the filter says so; null when it names none. */
function namedSources(filter: Filter): readonly string[] | null {
  for (const condition of requiredConditions(filter)) {
    if (condition.field !== 'sourceId') continue
    if (condition.op === 'eq' || condition.op === 'in') return wireIds(condition)
  }
  return null
}

function confined(ids: readonly string[], sourceIds: readonly string[] | null): readonly string[] {
  return sourceIds === null ? ids : ids.filter((id) => sourceIds.includes(id))
}

function rowToAccount(row: AccountRow): AccountRecord {
  return {
    id: toWireId(row.id),
    nativeIdentity: row.native_identity,
    name: row.name,
    attributes: row.attributes,
    disabled: row.disabled,
    locked: row.locked,
    identity:
      row.identity_id === null ? null : { id: toWireId(row.identity_id), name: row.identity_name },
    manuallyCorrelated: row.match === 'manual',
    created: row.created_at?.toISOString() ?? null,
    modified: row.modified_at?.toISOString() ?? null,
  }
}
