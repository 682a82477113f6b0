// The schemas of sources.
import { randomUUID } from 'node:crypto'
import { RequestError } from '../core/errors.ts'
import { fromWireId, toWireId } from '../core/id.ts'
import type { AttributeDefinition, Schema } from '../core/schema.ts'
import type { Queryable } from './database.ts'
import { isUniqueViolation } from './unique-violation.ts'

/** A schema before it has an id and instants. */
export type SchemaDraft = Omit<Schema, 'id' | 'sourceId' | 'created' | 'modified'>

/** What a source shows of each of its schemas. */
export interface SchemaReference {
  readonly id: string
  readonly name: string
  readonly identityAttribute: string | null
}

interface SchemaRow {
  id: string
  source_id: string
  name: string
  native_object_type: string | null
  identity_attribute: string | null
  display_attribute: string | null
  hierarchy_attribute: string | null
  include_permissions: boolean
  features: string[]
  configuration: Record<string, unknown>
  attributes: AttributeDefinition[]
  created_at: Date
  modified_at: Date | null
}

const columns = `id, source_id, name, native_object_type, identity_attribute, display_attribute,
  hierarchy_attribute, include_permissions, features, configuration, attributes, created_at, modified_at`

/** The schemas of a source in the order in which they were made. */
export async function listSchemas(q: Queryable, sourceId: string): Promise<Schema[]> {
  const { rows } = await q.query<SchemaRow>(
    `select ${columns} from source_schema where source_id = $1::uuid order by created_at, name, id`,
    [fromWireId(sourceId)],
  )
  return rows.map(rowToSchema)
}

/** One schema of a source, or null. */
export async function getSchema(
  q: Queryable,
  sourceId: string,
  schemaId: string,
): Promise<Schema | null> {
  const { rows } = await q.query<SchemaRow>(
    `select ${columns} from source_schema where source_id = $1::uuid and id = $2::uuid`,
    [fromWireId(sourceId), fromWireId(schemaId)],
  )
  const [row] = rows
  return row === undefined ? null : rowToSchema(row)
}

/** References to the schemas of several sources, by source id. */
export async function listSchemaReferences(
  q: Queryable,
  sourceIds: readonly string[],
): Promise<ReadonlyMap<string, readonly SchemaReference[]>> {
  const { rows } = await q.query<
    Pick<SchemaRow, 'id' | 'source_id' | 'name' | 'identity_attribute'>
  >(
    `select id, source_id, name, identity_attribute from source_schema
     where source_id = any($1::uuid[]) order by source_id, created_at, name, id`,
    [sourceIds.map(fromWireId)],
  )
  const references = new Map<string, SchemaReference[]>()
  for (const row of rows) {
    const sourceId = toWireId(row.source_id)
    const list = references.get(sourceId) ?? []
    references.set(sourceId, list)
    list.push({ id: toWireId(row.id), name: row.name, identityAttribute: row.identity_attribute })
  }
  return references
}

/** Adds a schema to a source. Throws `bad_request` when the source has one of this name. */
export async function insertSchema(
  q: Queryable,
  sourceId: string,
  draft: SchemaDraft,
): Promise<Schema> {
  const { rows } = await q
    .query<SchemaRow>(
      `insert into source_schema (id, source_id, name, native_object_type, identity_attribute, display_attribute,
         hierarchy_attribute, include_permissions, features, configuration, attributes)
       values ($1::uuid, $2::uuid, $3::text, $4::text, $5::text, $6::text, $7::text, $8::boolean, $9::text[],
         $10::jsonb, $11::jsonb)
       returning ${columns}`,
      [randomUUID(), fromWireId(sourceId), draft.name, ...values(draft)],
    )
    .catch((error: unknown) => {
      if (!isUniqueViolation(error, 'source_schema_source_id_name_key')) throw error
      throw new RequestError(
        'bad_request',
        `The source has a schema named "${draft.name}" already.`,
        {
          hint: 'Change that schema with PUT or PATCH, or choose another name.',
          cause: error,
        },
      )
    })
  return firstSchema(rows)
}

/** Replaces all of a schema but its id and name. */
export async function updateSchema(
  q: Queryable,
  schema: Pick<Schema, 'id' | 'sourceId'>,
  draft: SchemaDraft,
): Promise<Schema> {
  const { rows } = await q.query<SchemaRow>(
    `update source_schema set native_object_type = $3::text, identity_attribute = $4::text,
       display_attribute = $5::text, hierarchy_attribute = $6::text, include_permissions = $7::boolean,
       features = $8::text[], configuration = $9::jsonb, attributes = $10::jsonb, modified_at = clock_timestamp()
     where source_id = $1::uuid and id = $2::uuid
     returning ${columns}`,
    [fromWireId(schema.sourceId), fromWireId(schema.id), ...values(draft)],
  )
  return firstSchema(rows)
}

/** Removes a schema; false when it is not there. */
export async function deleteSchema(
  q: Queryable,
  sourceId: string,
  schemaId: string,
): Promise<boolean> {
  const { rowCount } = await q.query(
    'delete from source_schema where source_id = $1::uuid and id = $2::uuid',
    [fromWireId(sourceId), fromWireId(schemaId)],
  )
  return rowCount === 1
}

function values(draft: SchemaDraft): unknown[] {
  return [
    draft.nativeObjectType,
    draft.identityAttribute,
    draft.displayAttribute,
    draft.hierarchyAttribute,
    draft.includePermissions,
    draft.features,
    JSON.stringify(draft.configuration),
    JSON.stringify(draft.attributes),
  ]
}

function firstSchema(rows: readonly SchemaRow[]): Schema {
  const [row] = rows
  if (row === undefined) throw new Error('The schema was gone before it was written.')
  return rowToSchema(row)
}

function rowToSchema(row: SchemaRow): Schema {
  return {
    id: toWireId(row.id),
    sourceId: toWireId(row.source_id),
    name: row.name,
    nativeObjectType: row.native_object_type,
    identityAttribute: row.identity_attribute,
    displayAttribute: row.display_attribute,
    hierarchyAttribute: row.hierarchy_attribute,
    includePermissions: row.include_permissions,
    features: row.features,
    configuration: row.configuration,
    attributes: row.attributes,
    created: row.created_at.toISOString(),
    modified: row.modified_at?.toISOString() ?? null,
  }
}
