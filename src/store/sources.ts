// The sources.
import { randomUUID } from 'node:crypto'
import { RequestError } from '../core/errors.ts'
import type { Filter } from '../core/filter.ts'
import { fromWireId, toWireId } from '../core/id.ts'
import type { Sorter } from '../core/sorter.ts'
import { defaultSourceSettings } from '../core/source.ts'
import type { Source, SourceSettings } from '../core/source.ts'
import type { Queryable } from './database.ts'
import { filterToSql, foldKey, foldedText, orderToSql, parameter } from './filter-sql.ts'
import type { ListFields, Parameters } from './filter-sql.ts'
import { isUniqueViolation } from './unique-violation.ts'

/** What a client decides about a source. Secrets are not part of it: their places hold the mask. */
export type SourceDraft = Omit<
  Source,
  | 'id'
  | 'ownerName'
  | 'status'
  | 'healthy'
  | 'since'
  | 'settings'
  | 'correlationConfig'
  | 'accounts'
  | 'accountsVersion'
  | 'created'
  | 'modified'
>

/** A page of a list. `sourceIds` are the sources that the caller is confined to; null means all. */
export interface ListQuery {
  readonly filter: Filter | null
  readonly sorters: readonly Sorter[]
  readonly limit: number
  readonly offset: number
  readonly sourceIds: readonly string[] | null
}

interface SourceRow {
  id: string
  name: string
  description: string | null
  owner_id: string | null
  owner_name: string | null
  type: string
  connector: string
  connection_type: string
  connector_attributes: Record<string, unknown>
  features: string[]
  delete_threshold: number | null
  authoritative: boolean
  status: string
  healthy: boolean
  since: Date
  category: string | null
  extra: Record<string, unknown>
  settings: Partial<SourceSettings>
  correlation_id: string
  correlation_name: string | null
  accounts: number
  accounts_version: number
  created_at: Date
  modified_at: Date
}

const columns = `s.id, s.name, s.description, s.owner_id, o.name as owner_name, s.type, s.connector,
  s.connection_type, s.connector_attributes, s.features, s.delete_threshold, s.authoritative, s.status, s.healthy,
  s.since, s.category, s.extra, s.settings, c.id as correlation_id, c.name as correlation_name, s.accounts, s.accounts_version,
  s.created_at, s.modified_at`
const from = `from source s join correlation_config c on c.source_id = s.id
  left join identity o on o.id = s.owner_id where s.deleted_at is null`

/** The source, or null when there is none of this id or it was deleted. */
export async function getSource(q: Queryable, id: string): Promise<Source | null> {
  const { rows } = await q.query<SourceRow>(`select ${columns} ${from} and s.id = $1::uuid`, [
    fromWireId(id),
  ])
  const [row] = rows
  return row === undefined ? null : rowToSource(row)
}

/** The source with its row locked until the transaction ends: what every writer of it and of its accounts takes first. */
export async function getSourceForUpdate(tx: Queryable, id: string): Promise<Source | null> {
  const { rows } = await tx.query<SourceRow>(
    `select ${columns} ${from} and s.id = $1::uuid for no key update of s`,
    [fromWireId(id)],
  )
  const [row] = rows
  return row === undefined ? null : rowToSource(row)
}

/** A page of the sources; without sorters in the order of their ids. */
export async function listSources(q: Queryable, query: ListQuery): Promise<Source[]> {
  const parameters: Parameters = { values: [] }
  const where = conditions(query, parameters)
  const order = orderToSql(query.sorters, sorterColumns, 's.id')
  const limit = parameter(parameters, query.limit, 'integer')
  const offset = parameter(parameters, query.offset, 'integer')
  const { rows } = await q.query<SourceRow>(
    `select ${columns} ${from} ${where} order by ${order} limit ${limit} offset ${offset}`,
    parameters.values,
  )
  return rows.map(rowToSource)
}

/** How many sources fit, whatever the page. */
export async function countSources(q: Queryable, query: ListQuery): Promise<number> {
  const parameters: Parameters = { values: [] }
  const { rows } = await q.query<{ count: number }>(
    `select count(*) as count ${from} ${conditions(query, parameters)}`,
    parameters.values,
  )
  return rows[0]?.count ?? 0
}

/** Adds a source that was never read. Throws `bad_request` when its name is taken. */
export async function insertSource(
  q: Queryable,
  draft: SourceDraft,
  status: string,
): Promise<Source> {
  // A drawn id is used again only when its first 6 bytes are taken, one time in 2^48 for each source there is.
  for (let attempt = 0; attempt < 5; attempt++) {
    const id = drawSourceId()
    const { rowCount } = await q.query(
      `with made as (
         insert into source (id, name, name_key, description, owner_id, connector_attributes, features,
           delete_threshold, category, extra, type, connector, connection_type, authoritative, status, since)
         values ($1::uuid, $2::text, $3::text, $4::text, $5::uuid, $6::jsonb, $7::text[], $8::integer, $9::text,
           $10::jsonb, $11::text, $12::text, $13::text, $14::boolean, $15::text, clock_timestamp())
         on conflict do nothing returning id)
       insert into correlation_config (source_id, id) select made.id, $16::uuid from made`,
      [
        id,
        ...editableValues(draft),
        draft.type,
        draft.connector,
        draft.connectionType,
        draft.authoritative,
        status,
        randomUUID(),
      ],
    )
    if (rowCount === 1) return theSource(await getSource(q, toWireId(id)))
    if (await isNameTaken(q, draft.name)) throw nameTaken(draft.name)
  }
  throw new Error('No free source id was drawn in 5 attempts.')
}

/** Writes what a client may change. Throws `bad_request` when the new name is taken. */
export async function updateSource(q: Queryable, id: string, draft: SourceDraft): Promise<Source> {
  await q
    .query(
      `update source set name = $2::text, name_key = $3::text, description = $4::text, owner_id = $5::uuid,
         connector_attributes = $6::jsonb, features = $7::text[], delete_threshold = $8::integer,
         category = $9::text, extra = $10::jsonb, modified_at = clock_timestamp()
       where id = $1::uuid`,
      [fromWireId(id), ...editableValues(draft)],
    )
    .catch((error: unknown) => {
      throw isUniqueViolation(error, 'source_name_key') ? nameTaken(draft.name, error) : error
    })
  return theSource(await getSource(q, id))
}

/** Replaces the settings of a connector, secrets masked. */
export async function updateConnectorAttributes(
  q: Queryable,
  id: string,
  attributes: Readonly<Record<string, unknown>>,
): Promise<void> {
  await q.query('update source set connector_attributes = $2::jsonb where id = $1::uuid', [
    fromWireId(id),
    JSON.stringify(attributes),
  ])
}

/** Writes the settings that ISC does not have. */
export async function updateSourceSettings(
  q: Queryable,
  id: string,
  settings: SourceSettings,
): Promise<void> {
  await q.query(
    'update source set settings = $2::jsonb, modified_at = clock_timestamp() where id = $1::uuid',
    [fromWireId(id), JSON.stringify(settings)],
  )
}

/**
 * A cloudExternalId that no source ever had: `wanted` when it is free, else the next number. Give it the transaction
 * that inserts the source: until it ends nobody else draws one.
 */
export async function drawExternalId(tx: Queryable, wanted: string | null): Promise<string> {
  await tx.query(`select pg_advisory_xact_lock(hashtext('muster source external id'))`)
  // Numbers that clients brought along with ten digits would leave no room above them.
  const { rows } = await tx.query<{ next: number; taken: boolean }>(
    `select coalesce(max((connector_attributes ->> 'cloudExternalId')::bigint)
         filter (where connector_attributes ->> 'cloudExternalId' ~ '^[0-9]{1,9}$'), 20000) + 1 as next,
       coalesce(bool_or(connector_attributes ->> 'cloudExternalId' = $1::text), false) as taken
     from source`,
    [wanted],
  )
  const [row] = rows
  if (row === undefined) throw new Error('An aggregate gave no row.')
  return wanted === null || row.taken ? String(row.next) : wanted
}

/** The name of an identity, or null when there is none of this id. */
export async function identityName(q: Queryable, identityId: string): Promise<string | null> {
  const { rows } = await q.query<{ name: string }>(
    'select name from identity where id = $1::uuid',
    [fromWireId(identityId)],
  )
  return rows[0]?.name ?? null
}

/** The sources that an identity administers as SOURCE_SUBADMIN; null when it has no such client. */
export async function administeredSources(
  q: Queryable,
  identityId: string,
): Promise<readonly string[] | null> {
  const { rows } = await q.query<{ source_ids: string[] | null }>(
    `select source_ids from client
     where identity_id = $1::uuid and level = 'SOURCE_SUBADMIN' and revoked_at is null`,
    [fromWireId(identityId)],
  )
  return rows.length === 0 ? null : rows.flatMap((row) => (row.source_ids ?? []).map(toWireId))
}

/** A version 4 uuid whose first 6 bytes may begin account ids: the range that they begin must have an end above it. */
function drawSourceId(): string {
  for (;;) {
    const id = randomUUID()
    if (!id.startsWith('ffffffff-ffff')) return id
  }
}

async function isNameTaken(q: Queryable, name: string): Promise<boolean> {
  const { rowCount } = await q.query(
    'select 1 from source where name_key = $1::text and deleted_at is null',
    [foldKey(name)],
  )
  return rowCount > 0
}

function nameTaken(name: string, cause?: unknown): RequestError {
  return new RequestError('bad_request', `There is a source named "${name}" already.`, {
    hint: 'Choose another name; letters count as equal in either case.',
    cause,
  })
}

function editableValues(draft: SourceDraft): unknown[] {
  return [
    draft.name,
    foldKey(draft.name),
    draft.description,
    draft.ownerId === null ? null : fromWireId(draft.ownerId),
    JSON.stringify(draft.connectorAttributes),
    draft.features,
    draft.deleteThreshold,
    draft.category,
    JSON.stringify(draft.extra),
  ]
}

const idOps = ['eq', 'in', 'ge', 'gt', 'le', 'lt', 'ne', 'isnull', 'sw'] as const
const reference = (name: string, member: string): string => `s.extra #>> '{${name},${member}}'`

/** The fields of contract.md section 2.2 that sources are filtered by. */
const filterFields: ListFields = {
  id: { kind: 'id', sql: 's.id', ops: idOps },
  name: {
    kind: 'key',
    sql: 's.name_key',
    ops: ['co', 'eq', 'in', 'sw', 'ge', 'gt', 'ne', 'isnull'],
  },
  type: { kind: 'text', sql: 's.type', ops: ['eq', 'in', 'ge', 'gt', 'ne', 'isnull', 'sw'] },
  'owner.id': { kind: 'id', sql: 's.owner_id', ops: idOps },
  features: { kind: 'list', sql: 's.features', ops: ['ca', 'co'] },
  created: { kind: 'date', sql: 's.created_at', ops: idOps },
  modified: { kind: 'date', sql: 's.modified_at', ops: idOps },
  'managementWorkgroup.id': {
    kind: 'exact',
    sql: reference('managementWorkgroup', 'id'),
    ops: idOps,
  },
  description: { kind: 'text', sql: 's.description', ops: ['eq', 'sw'] },
  authoritative: { kind: 'boolean', sql: 's.authoritative', ops: ['eq', 'ne', 'isnull'] },
  healthy: { kind: 'boolean', sql: 's.healthy', ops: ['isnull'] },
  status: { kind: 'text', sql: 's.status', ops: idOps },
  connectionType: { kind: 'text', sql: 's.connection_type', ops: idOps },
  connectorName: {
    kind: 'text',
    sql: `s.extra ->> 'connectorName'`,
    ops: ['eq', 'ge', 'gt', 'in', 'ne', 'isnull', 'sw'],
  },
  category: {
    kind: 'text',
    sql: 's.category',
    ops: ['co', 'eq', 'ge', 'gt', 'in', 'le', 'lt', 'ne', 'sw'],
  },
}

const sorterColumns: Readonly<Record<string, string>> = {
  id: 's.id',
  name: 's.name_key collate "C"',
  type: foldedText('s.type'),
  created: 's.created_at',
  modified: 's.modified_at',
  description: foldedText('s.description'),
  'owner.id': 's.owner_id',
  'owner.name': foldedText('o.name'),
  healthy: 's.healthy',
  status: foldedText('s.status'),
  authoritative: 's.authoritative',
  connectorName: foldedText(`s.extra ->> 'connectorName'`),
  connectionType: foldedText('s.connection_type'),
  'accountCorrelationConfig.id': 'c.id',
  'accountCorrelationConfig.name': foldedText(
    `coalesce(c.name, 'Source [' || s.name || '] Account Correlation')`,
  ),
  'managerCorrelationRule.type': foldedText(reference('managerCorrelationRule', 'type')),
  'managerCorrelationRule.id': reference('managerCorrelationRule', 'id'),
  'managerCorrelationRule.name': foldedText(reference('managerCorrelationRule', 'name')),
  'managementWorkgroup.id': reference('managementWorkgroup', 'id'),
}

function conditions(query: ListQuery, parameters: Parameters): string {
  const parts: string[] = []
  if (query.filter !== null) parts.push(filterToSql(query.filter, filterFields, parameters))
  if (query.sourceIds !== null) {
    const uuids = query.sourceIds.map(fromWireId)
    parts.push(`s.id = any(${parameter(parameters, uuids, 'uuid[]')})`)
  }
  return parts.map((part) => `and ${part}`).join(' ')
}

function theSource(source: Source | null): Source {
  if (source === null) throw new Error('The source was gone after it was written.')
  return source
}

function rowToSource(row: SourceRow): Source {
  return {
    id: toWireId(row.id),
    name: row.name,
    description: row.description,
    ownerId: row.owner_id === null ? null : toWireId(row.owner_id),
    ownerName: row.owner_name,
    type: row.type,
    connector: row.connector,
    connectionType: row.connection_type === 'file' ? 'file' : 'direct',
    connectorAttributes: row.connector_attributes,
    features: row.features,
    deleteThreshold: row.delete_threshold,
    authoritative: row.authoritative,
    status: row.status,
    healthy: row.healthy,
    since: row.since.toISOString(),
    category: row.category,
    extra: row.extra,
    settings: { ...defaultSourceSettings, ...row.settings },
    correlationConfig: { id: toWireId(row.correlation_id), name: row.correlation_name },
    accounts: row.accounts,
    accountsVersion: row.accounts_version,
    created: row.created_at.toISOString(),
    modified: row.modified_at.toISOString(),
  }
}

/** Hides a source for good and frees its name. The row stays, so that its account ids are never given to another. */
export async function markSourceDeleted(tx: Queryable, id: string): Promise<void> {
  await tx.query(
    `update source set deleted_at = clock_timestamp(), accounts = 0, accounts_version = accounts_version + 1
     where id = $1::uuid`,
    [fromWireId(id)],
  )
}
