// OAuth clients, personal access tokens among them: who may ask for a token and what it may do.
import { levels } from '../core/access.ts'
import type { Caller, Level } from '../core/access.ts'
import { toWireId } from '../core/id.ts'
import type { Queryable } from './database.ts'

/** A client as it is kept. Ids of identities and sources are 32 hex digits. */
export interface Client {
  readonly id: string
  readonly name: string
  readonly identityId: string
  readonly identityName: string
  readonly level: Level
  readonly scopes: readonly string[]
  readonly sourceIds: readonly string[] | null
  readonly created: string
  readonly lastUsed: string | null
  readonly revoked: string | null
  /** True for a personal access token. */
  readonly isPersonal: boolean
  /** How long an access token of it is good. */
  readonly tokenSeconds: number
  /** From when on it is good for nothing; null means never. */
  readonly expires: string | null
  /** Whether its maker said to know that it may be good for ever. */
  readonly mayNeverExpire: boolean
}

/** A client with the hash of its secret. */
export interface StoredClient extends Client {
  readonly secret: { readonly salt: Buffer; readonly hash: Buffer }
}

export interface NewClient {
  readonly id: string
  readonly name: string
  readonly secret: { readonly salt: Buffer; readonly hash: Buffer }
  readonly identityId: string
  readonly level: Level
  readonly scopes: readonly string[]
  readonly sourceIds: readonly string[] | null
}

/** What a personal access token has besides. */
export type PersonalTerms = Pick<Client, 'tokenSeconds' | 'expires' | 'mayNeverExpire'>

/** A row of `clientColumns`. */
export interface ClientRow {
  id: string
  name: string
  secret_salt: Buffer
  secret_hash: Buffer
  identity_id: string
  identity_name: string
  level: string
  scopes: string[]
  source_ids: string[] | null
  created_at: Date
  last_used_at: Date | null
  revoked_at: Date | null
  is_personal: boolean
  token_seconds: number
  expires_at: Date | null
  may_never_expire: boolean
}

/** The columns of `rowToClient`, of `client c` joined to `identity i`. */
export const clientColumns = `c.id, c.name, c.secret_salt, c.secret_hash, c.identity_id, i.name as identity_name,
  c.level, c.scopes, c.source_ids, c.created_at, c.last_used_at, c.revoked_at, c.is_personal, c.token_seconds,
  c.expires_at, c.may_never_expire`

/** The client with this client_id, also when it is revoked; null when there is none. */
export async function getClient(q: Queryable, id: string): Promise<StoredClient | null> {
  const { rows } = await q.query<ClientRow>(
    `select ${clientColumns} from client c join identity i on i.id = c.identity_id where c.id = $1::text`,
    [id],
  )
  const [row] = rows
  return row === undefined ? null : rowToClient(row)
}

/** A page of the clients in the order in which they were made, revoked ones included. */
export async function listClients(
  q: Queryable,
  page: { readonly limit: number; readonly offset: number },
): Promise<Client[]> {
  const { rows } = await q.query<ClientRow>(
    `select ${clientColumns} from client c join identity i on i.id = c.identity_id
     order by c.created_at, c.id limit $1::integer offset $2::integer`,
    [page.limit, page.offset],
  )
  return rows.map(rowToClient)
}

/** How many clients there are, revoked ones included. */
export async function countClients(q: Queryable): Promise<number> {
  const { rows } = await q.query<{ count: number }>('select count(*) as count from client')
  return rows[0]?.count ?? 0
}

/** Adds a client; fails with 23505 when its id is taken. */
export async function insertClient(q: Queryable, client: NewClient): Promise<void> {
  await q.query(
    `insert into client (id, name, secret_salt, secret_hash, identity_id, level, scopes, source_ids)
     values ($1::text, $2::text, $3::bytea, $4::bytea, $5::uuid, $6::text, $7::text[], $8::uuid[])`,
    values(client),
  )
}

/** Adds a personal access token; fails with 23505 when its id is taken. */
export async function insertPersonalToken(
  q: Queryable,
  client: NewClient,
  terms: PersonalTerms,
): Promise<void> {
  await q.query(
    `insert into client (id, name, secret_salt, secret_hash, identity_id, level, scopes, source_ids, is_personal,
       token_seconds, expires_at, may_never_expire)
     values ($1::text, $2::text, $3::bytea, $4::bytea, $5::uuid, $6::text, $7::text[], $8::uuid[], true, $9::integer,
       $10::timestamptz, $11::boolean)`,
    [...values(client), terms.tokenSeconds, terms.expires, terms.mayNeverExpire],
  )
}

/** Adds a client or gives the one with this id these rights and this secret, and makes it good again. */
export async function upsertClient(q: Queryable, client: NewClient): Promise<void> {
  await q.query(
    `insert into client (id, name, secret_salt, secret_hash, identity_id, level, scopes, source_ids)
     values ($1::text, $2::text, $3::bytea, $4::bytea, $5::uuid, $6::text, $7::text[], $8::uuid[])
     on conflict (id) do update set secret_salt = excluded.secret_salt, secret_hash = excluded.secret_hash,
       level = excluded.level, scopes = excluded.scopes, source_ids = excluded.source_ids, revoked_at = null`,
    values(client),
  )
}

/** Notes that the client obtained a token now. */
export async function touchClient(q: Queryable, id: string): Promise<void> {
  await q.query('update client set last_used_at = clock_timestamp() where id = $1::text', [id])
}

/** Revokes a client; false when it was revoked before or is not there. */
export async function revokeClient(q: Queryable, id: string): Promise<boolean> {
  const { rowCount } = await q.query(
    'update client set revoked_at = clock_timestamp() where id = $1::text and revoked_at is null',
    [id],
  )
  return rowCount === 1
}

/** Which of these source ids (wire form) name no source. */
export async function unknownSources(
  q: Queryable,
  sourceIds: readonly string[],
): Promise<readonly string[]> {
  const { rows } = await q.query<{ id: string }>(
    'select id from source where id = any ($1::uuid[]) and deleted_at is null',
    [sourceIds],
  )
  const known = new Set(rows.map((row) => toWireId(row.id)))
  return sourceIds.filter((id) => !known.has(id))
}

/** The client as a caller. */
export function clientCaller(client: Client): Caller {
  return {
    clientId: client.id,
    clientName: client.name,
    identityId: client.identityId,
    identityName: client.identityName,
    level: client.level,
    scopes: client.scopes,
    sourceIds: client.sourceIds,
  }
}

function values(client: NewClient): unknown[] {
  return [
    client.id,
    client.name,
    client.secret.salt,
    client.secret.hash,
    client.identityId,
    client.level,
    client.scopes,
    client.sourceIds,
  ]
}

/** A row as a client. */
export function rowToClient(row: ClientRow): StoredClient {
  const level = levels.find((one) => one === row.level)
  if (level === undefined) throw new Error(`Client ${row.id} has the unknown level ${row.level}.`)
  return {
    id: row.id,
    name: row.name,
    identityId: toWireId(row.identity_id),
    identityName: row.identity_name,
    level,
    scopes: row.scopes,
    sourceIds: row.source_ids?.map(toWireId) ?? null,
    created: row.created_at.toISOString(),
    lastUsed: row.last_used_at?.toISOString() ?? null,
    revoked: row.revoked_at?.toISOString() ?? null,
    isPersonal: row.is_personal,
    tokenSeconds: row.token_seconds,
    expires: row.expires_at?.toISOString() ?? null,
    mayNeverExpire: row.may_never_expire,
    secret: { salt: row.secret_salt, hash: row.secret_hash },
  }
}
