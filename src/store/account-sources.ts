// What lists of accounts need of the sources: their id ranges, what is shown of them with each account, their kept counts.
import { delimitedConnector } from '../core/source.ts'
import { fromWireId, toWireId } from '../core/id.ts'
import type { Queryable } from './database.ts'

/** A source as its accounts show it. */
export interface AccountSource {
  readonly id: string
  readonly name: string
  readonly owner: { readonly id: string; readonly name: string | null } | null
  readonly authoritative: boolean
  readonly connectionType: string
  readonly features: readonly string[]
  /** Whether account ids are made of the native identity; otherwise of another attribute that the connector names. */
  readonly keyedByNativeIdentity: boolean
  /** The entitlement attributes of the account schema. */
  readonly entitlementAttributes: readonly string[]
}

interface Row {
  id: string
  name: string
  owner_id: string | null
  owner_name: string | null
  authoritative: boolean
  connection_type: string
  connector: string
  features: string[]
  entitlement_attributes: string[]
}

const select = `select s.id, s.name, s.owner_id, o.name as owner_name, s.authoritative, s.connection_type, s.connector,
    s.features, array(
      select definition ->> 'name' from jsonb_array_elements(c.attributes) definition
      where definition -> 'isEntitlement' = 'true'::jsonb) as entitlement_attributes
  from source s left join identity o on o.id = s.owner_id
    left join source_schema c on c.source_id = s.id and c.name = 'account'
  where s.deleted_at is null`

/** The sources of these ids; null means all. */
export async function listAccountSources(
  q: Queryable,
  ids: readonly string[] | null,
): Promise<AccountSource[]> {
  const { rows } = await q.query<Row>(
    `${select} and ($1::uuid[] is null or s.id = any($1::uuid[])) order by s.id`,
    [ids === null ? null : ids.map(fromWireId)],
  )
  return rows.map(rowToSource)
}

/** The sources of accounts, by the first 12 digits of the account ids. */
export async function findAccountSources(
  q: Queryable,
  accountIds: readonly string[],
): Promise<ReadonlyMap<string, AccountSource>> {
  const prefixes = [...new Set(accountIds.map((id) => id.slice(0, 12)))]
  if (prefixes.length === 0) return new Map()
  const { rows } = await q.query<Row>(
    `${select} and substring(uuid_send(s.id) from 1 for 6) = any($1::bytea[])`,
    [prefixes.map((prefix) => Buffer.from(prefix, 'hex'))],
  )
  return new Map(rows.map(rowToSource).map((source) => [source.id.slice(0, 12), source]))
}

/** How many accounts sources have, as every writer of accounts keeps it; null means all sources. */
export async function keptCount(q: Queryable, ids: readonly string[] | null): Promise<number> {
  const { rows } = await q.query<{ total: number }>(
    `select coalesce(sum(accounts), 0)::bigint as total from source
     where deleted_at is null and ($1::uuid[] is null or id = any($1::uuid[]))`,
    [ids === null ? null : ids.map(fromWireId)],
  )
  return rows[0]?.total ?? 0
}

function rowToSource(row: Row): AccountSource {
  return {
    id: toWireId(row.id),
    name: row.name,
    owner: row.owner_id === null ? null : { id: toWireId(row.owner_id), name: row.owner_name },
    authoritative: row.authoritative,
    connectionType: row.connection_type,
    features: row.features,
    keyedByNativeIdentity: row.connector === delimitedConnector,
    entitlementAttributes: row.entitlement_attributes,
  }
}
