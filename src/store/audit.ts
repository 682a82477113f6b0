// The audit: rows are added and read, nothing else; a trigger of the table refuses the rest.
import type { Caller } from '../core/access.ts'
import type { Queryable } from './database.ts'

/** Something that was done, or tried. `before` and `after` hold no secret and no value of an account. */
export interface AuditEntry {
  /** In capitals, for example SOURCE_CREATED. */
  readonly action: string
  readonly outcome: 'success' | 'denied' | 'failed'
  /** Who did it; null for Muster itself or an unknown caller. */
  readonly caller: Caller | null
  /** The client_id of a login, when the caller is not known. */
  readonly clientId?: string
  readonly targetType?: string
  readonly targetId?: string
  readonly targetName?: string
  readonly trackingId?: string
  readonly before?: unknown
  readonly after?: unknown
  /** A sentence for people. */
  readonly detail?: string
}

/** An audit row in the shape of the API. */
export interface AuditRecord {
  readonly number: number
  readonly at: string
  readonly action: string
  readonly outcome: string
  readonly actor: { readonly id: string; readonly name: string | null } | null
  readonly clientId: string | null
  readonly target: {
    readonly type: string | null
    readonly id: string | null
    readonly name: string | null
  } | null
  readonly trackingId: string | null
  readonly before: unknown
  readonly after: unknown
  readonly detail: string | null
}

/** What to look for; every given member must fit. */
export interface AuditQuery {
  readonly action?: string
  readonly outcome?: string
  readonly actorId?: string
  readonly clientId?: string
  readonly targetId?: string
  readonly trackingId?: string
  readonly since?: string
  readonly limit: number
  readonly offset: number
}

interface AuditRow {
  number: number
  at: Date
  action: string
  outcome: string
  actor_id: string | null
  actor_name: string | null
  client_id: string | null
  target_type: string | null
  target_id: string | null
  target_name: string | null
  tracking_id: string | null
  before: unknown
  after: unknown
  detail: string | null
}

/** Adds a row. Give the transaction of the change as `q`: then there is no change without its row. */
export async function recordAudit(q: Queryable, entry: AuditEntry): Promise<void> {
  await q.query(
    `insert into audit (action, outcome, actor_id, actor_name, client_id, target_type, target_id, target_name,
       tracking_id, before, after, detail)
     values ($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text,
       $10::jsonb, $11::jsonb, $12::text)`,
    [
      entry.action,
      entry.outcome,
      entry.caller?.identityId ?? null,
      entry.caller?.identityName ?? null,
      text(entry.caller?.clientId ?? entry.clientId),
      text(entry.targetType),
      text(entry.targetId),
      text(entry.targetName),
      text(entry.trackingId),
      json(entry.before),
      json(entry.after),
      text(entry.detail),
    ],
  )
}

/** The rows that fit, newest first. */
export async function listAudit(q: Queryable, query: AuditQuery): Promise<AuditRecord[]> {
  const { rows } = await q.query<AuditRow>(
    `select number, at, action, outcome, actor_id, actor_name, client_id, target_type, target_id, target_name,
       tracking_id, before, after, detail
     from audit ${matching} order by number desc limit $8::integer offset $9::integer`,
    [...values(query), query.limit, query.offset],
  )
  return rows.map(rowToRecord)
}

/** How many rows fit, whatever the page. */
export async function countAudit(q: Queryable, query: AuditQuery): Promise<number> {
  const { rows } = await q.query<{ count: number }>(
    `select count(*) as count from audit ${matching}`,
    values(query),
  )
  return rows[0]?.count ?? 0
}

const matching = `where ($1::text is null or action = $1::text) and ($2::text is null or outcome = $2::text)
  and ($3::text is null or actor_id = $3::text) and ($4::text is null or client_id = $4::text)
  and ($5::text is null or target_id = $5::text) and ($6::text is null or tracking_id = $6::text)
  and ($7::timestamptz is null or at >= $7::timestamptz)`

function values(query: AuditQuery): (string | null)[] {
  return [
    query.action ?? null,
    query.outcome ?? null,
    query.actorId ?? null,
    query.clientId ?? null,
    query.targetId ?? null,
    query.trackingId ?? null,
    query.since ?? null,
  ]
}

/** PostgreSQL takes no NUL, and no lone surrogate in jsonb; a hostile name must not keep its own row out of the audit. */
function storable(given: string): string {
  return given.replaceAll('\0', '␀').replace(/\p{Surrogate}/gu, '\uFFFD')
}

function text(value: string | undefined): string | null {
  return value === undefined ? null : storable(value)
}

function json(value: unknown): string | null {
  if (value === undefined || value === null) return null
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'string' ? storable(part) : part,
  )
}

function rowToRecord(row: AuditRow): AuditRecord {
  const noTarget = row.target_type === null && row.target_id === null
  return {
    number: row.number,
    at: row.at.toISOString(),
    action: row.action,
    outcome: row.outcome,
    actor: row.actor_id === null ? null : { id: row.actor_id, name: row.actor_name },
    clientId: row.client_id,
    target: noTarget ? null : { type: row.target_type, id: row.target_id, name: row.target_name },
    trackingId: row.tracking_id,
    before: row.before,
    after: row.after,
    detail: row.detail,
  }
}
