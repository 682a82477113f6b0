// Personal access tokens: the clients that a person made for itself. A deleted one is a revoked client.
import type { Filter } from '../core/filter.ts'
import { fromWireId } from '../core/id.ts'
import { clientColumns, rowToClient } from './clients.ts'
import type { Client, ClientRow, PersonalTerms } from './clients.ts'
import type { Queryable } from './database.ts'
import { filterToSql, parameter } from './filter-sql.ts'
import type { ListFields, Parameters } from './filter-sql.ts'

/** Which tokens; `identityId` in wire form, null for those of everybody. */
export interface PersonalTokenQuery {
  readonly identityId: string | null
  readonly filter: Filter | null
  /** How many at most; null for all. */
  readonly limit: number | null
  readonly offset: number
}

/** What of a token can be changed. */
export type PersonalTokenChange = Pick<Client, 'name' | 'scopes'> &
  Pick<PersonalTerms, 'expires' | 'mayNeverExpire'>

/** The fields of contract.md section 2.13 that the list is filtered by. */
const filterFields: ListFields = {
  lastUsed: { kind: 'date', sql: 'c.last_used_at', ops: ['le', 'isnull'] },
}

/** The tokens that are not deleted, in the order in which they were made; expired ones are among them. */
export async function listPersonalTokens(
  q: Queryable,
  query: PersonalTokenQuery,
): Promise<Client[]> {
  const parameters: Parameters = { values: [] }
  const where = conditions(query, parameters)
  const limit = parameter(parameters, query.limit, 'integer')
  const offset = parameter(parameters, query.offset, 'integer')
  const { rows } = await q.query<ClientRow>(
    `select ${clientColumns} from client c join identity i on i.id = c.identity_id where ${where}
     order by c.created_at, c.id limit ${limit} offset ${offset}`,
    parameters.values,
  )
  return rows.map(rowToClient)
}

/** How many tokens fit, whatever the page. */
export async function countPersonalTokens(
  q: Queryable,
  query: Pick<PersonalTokenQuery, 'identityId' | 'filter'>,
): Promise<number> {
  const parameters: Parameters = { values: [] }
  const { rows } = await q.query<{ count: number }>(
    `select count(*) as count from client c where ${conditions(query, parameters)}`,
    parameters.values,
  )
  return rows[0]?.count ?? 0
}

/** Locks the tokens of an identity until the transaction ends, so that two calls cannot both make the last one. */
export async function lockPersonalTokens(q: Queryable, identityId: string): Promise<void> {
  await q.query('select id from identity where id = $1::uuid for no key update', [
    fromWireId(identityId),
  ])
}

/** Writes what was changed of a token. */
export async function updatePersonalToken(
  q: Queryable,
  id: string,
  change: PersonalTokenChange,
): Promise<void> {
  await q.query(
    `update client set name = $2::text, scopes = $3::text[], expires_at = $4::timestamptz,
       may_never_expire = $5::boolean
     where id = $1::text`,
    [id, change.name, change.scopes, change.expires, change.mayNeverExpire],
  )
}

/** Revokes all tokens of an identity; gives their ids. */
export async function revokePersonalTokens(q: Queryable, identityId: string): Promise<string[]> {
  const { rows } = await q.query<{ id: string }>(
    `update client set revoked_at = clock_timestamp()
     where identity_id = $1::uuid and is_personal and revoked_at is null returning id`,
    [fromWireId(identityId)],
  )
  return rows.map((row) => row.id)
}

function conditions(
  query: Pick<PersonalTokenQuery, 'identityId' | 'filter'>,
  parameters: Parameters,
): string {
  const parts = ['c.is_personal', 'c.revoked_at is null']
  if (query.identityId !== null) {
    const uuid = fromWireId(query.identityId)
    parts.push(`c.identity_id = ${parameter(parameters, uuid, 'uuid')}`)
  }
  if (query.filter !== null) parts.push(filterToSql(query.filter, filterFields, parameters))
  return parts.join(' and ')
}
