// /sources/{id}/schemas: which attributes the accounts and groups of a source have.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { RequestError } from '../core/errors.ts'
import type { Schema } from '../core/schema.ts'
import type { AuditEntry } from '../store/audit.ts'
import type { Connection, Database } from '../store/database.ts'
import {
  deleteSchema,
  getSchema,
  insertSchema,
  listSchemas,
  updateSchema,
} from '../store/schemas.ts'
import { checkedBody } from './body.ts'
import { queryText } from './collection.ts'
import { patched, patchTypes } from './json-patch.ts'
import { recordChange } from './record-change.ts'
import { everyVersion } from './route.ts'
import type { Call, Route } from './route.ts'
import { SchemaBody, schemaDraft, schemaModel, SchemaModel } from './schema-body.ts'
import { PatchBody } from './shapes.ts'
import { lockSource, requireSource } from './source-access.ts'

export interface SchemaServices {
  readonly db: Database
}

const readScopes = ['idn:source-schema:read', 'idn:source-schema:manage']
const manageScopes = ['idn:source-schema:manage']
const managers = ['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN'] as const

const ListQueryShape = Type.Object({
  'include-types': Type.Optional(
    Type.String({ description: '"group" leaves out the account schema; "user" is accepted.' }),
  ),
  'include-names': Type.Optional(
    Type.String({ description: 'Only schemas of these names, with commas between them.' }),
  ),
})

/** The routes of schemas, under every prefix of ISC. */
export function schemaRoutes({ db }: SchemaServices): Route[] {
  const common = { versions: everyVersion, tag: 'Sources', levels: managers } as const
  const all = { ...common, path: '/sources/:id/schemas' } as const
  const one = { ...common, path: '/sources/:id/schemas/:schemaId' } as const
  const read = { scopes: readScopes, status: 200 } as const
  const manage = { scopes: manageScopes, status: 200, response: SchemaModel } as const
  return [
    {
      ...all,
      ...read,
      method: 'GET',
      operationId: 'getSourceSchemas',
      summary: 'Lists the schemas of a source',
      query: ListQueryShape,
      response: Type.Array(SchemaModel),
      handle: (request, _reply, call) => list(db, request, call),
    },
    {
      ...all,
      ...manage,
      method: 'POST',
      operationId: 'createSourceSchema',
      summary: 'Adds a schema to a source',
      levels: ['ORG_ADMIN', 'SOURCE_ADMIN'],
      body: SchemaBody,
      status: 201,
      handle: (request, _reply, call) => create(db, request, call),
    },
    {
      ...one,
      ...read,
      method: 'GET',
      operationId: 'getSourceSchema',
      summary: 'Reads a schema',
      response: SchemaModel,
      handle: (request, _reply, call) => readOne(db, request, call),
    },
    {
      ...one,
      ...manage,
      method: 'PUT',
      operationId: 'putSourceSchema',
      summary: 'Replaces a schema; its id must be in the body',
      body: SchemaBody,
      handle: (request, _reply, call) => replace(db, request, call),
    },
    {
      ...one,
      ...manage,
      method: 'PATCH',
      operationId: 'updateSourceSchema',
      summary: 'Changes a schema by JSON Patch, all of it or nothing',
      consumes: patchTypes,
      body: PatchBody,
      handle: (request, _reply, call) => patch(db, request, call),
    },
    {
      ...one,
      method: 'DELETE',
      operationId: 'deleteSourceSchema',
      summary: 'Removes a schema',
      scopes: manageScopes,
      status: 204,
      handle: (request, reply, call) => remove(db, request, reply, call),
    },
  ]
}

function pathIds(request: FastifyRequest): { readonly id: string; readonly schemaId: string } {
  return request.params as { readonly id: string; readonly schemaId: string }
}

async function list(db: Database, request: FastifyRequest, call: Call): Promise<SchemaModel[]> {
  const source = await requireSource(db, call.caller, pathIds(request).id)
  const types = commaList(queryText(request, 'include-types'))
  const unknown = types.find((type) => type !== 'group' && type !== 'user')
  if (unknown !== undefined) {
    throw new RequestError('bad_request', 'include-types takes "group" and "user".')
  }
  const names = commaList(queryText(request, 'include-names'))
  const schemas = await listSchemas(db, source.id)
  return schemas
    .filter((schema) => !types.includes('group') || schema.name !== 'account')
    .filter((schema) => names.length === 0 || names.includes(schema.name))
    .map(schemaModel)
}

function commaList(text: string | null): string[] {
  return (text ?? '')
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

async function readOne(db: Database, request: FastifyRequest, call: Call): Promise<SchemaModel> {
  const { id, schemaId } = pathIds(request)
  const source = await requireSource(db, call.caller, id)
  return schemaModel(found(await getSchema(db, source.id, schemaId)))
}

async function create(db: Database, request: FastifyRequest, call: Call): Promise<SchemaModel> {
  const body = checkedBody(SchemaBody, request.body)
  return db.transaction(async (tx) => {
    const source = await lockSource(tx, call.caller, pathIds(request).id)
    const draft = schemaDraft(body, await listSchemas(tx, source.id))
    const after = schemaModel(await insertSchema(tx, source.id, draft))
    await tell(tx, call, 'SOURCE_SCHEMA_CREATED', after, { after })
    return after
  })
}

function replace(db: Database, request: FastifyRequest, call: Call): Promise<SchemaModel> {
  const body = checkedBody(SchemaBody, request.body)
  if (body.id === undefined || body.id === null) {
    throw new RequestError('bad_request', 'The id of the schema is missing in the body.')
  }
  return change(db, request, call, () => body)
}

function patch(db: Database, request: FastifyRequest, call: Call): Promise<SchemaModel> {
  return change(db, request, call, (before) =>
    checkedBody(SchemaBody, patched(before, request.body)),
  )
}

async function change(
  db: Database,
  request: FastifyRequest,
  call: Call,
  next: (before: SchemaModel) => SchemaBody,
): Promise<SchemaModel> {
  const { id, schemaId } = pathIds(request)
  return db.transaction(async (tx) => {
    const source = await lockSource(tx, call.caller, id)
    const schema = found(await getSchema(tx, source.id, schemaId))
    const before = schemaModel(schema)
    const body = next(before)
    for (const key of ['id', 'name', 'created', 'modified'] as const) {
      const given = body[key]
      if (given !== undefined && given !== before[key]) {
        throw new RequestError('immutable_field', `The field ${key} of a schema cannot be changed.`)
      }
    }
    const others = (await listSchemas(tx, source.id)).filter((other) => other.id !== schema.id)
    const after = schemaModel(await updateSchema(tx, schema, schemaDraft(body, others)))
    await tell(tx, call, 'SOURCE_SCHEMA_UPDATED', after, { before, after })
    return after
  })
}

async function remove(
  db: Database,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
): Promise<FastifyReply> {
  const { id, schemaId } = pathIds(request)
  await db.transaction(async (tx) => {
    const source = await lockSource(tx, call.caller, id)
    const schema = found(await getSchema(tx, source.id, schemaId))
    const user = (await listSchemas(tx, source.id)).find((other) =>
      other.attributes.some((one) => one.schema?.id === schema.id),
    )
    if (user !== undefined) {
      throw new RequestError(
        'bad_request',
        `An attribute of the schema "${user.name}" refers to the schema "${schema.name}".`,
        { hint: 'Remove that reference first.' },
      )
    }
    await deleteSchema(tx, source.id, schema.id)
    const before = schemaModel(schema)
    await tell(tx, call, 'SOURCE_SCHEMA_DELETED', before, { before })
  })
  return reply.code(204).send()
}

function tell(
  tx: Connection,
  call: Call,
  action: string,
  schema: SchemaModel,
  states: Pick<AuditEntry, 'before' | 'after'>,
): Promise<void> {
  return recordChange(
    tx,
    call,
    action,
    { type: 'SOURCE_SCHEMA', id: schema.id, name: schema.name },
    states,
  )
}

function found(schema: Schema | null): Schema {
  if (schema === null) {
    throw new RequestError('not_found', 'The source has no schema with this id.')
  }
  return schema
}
