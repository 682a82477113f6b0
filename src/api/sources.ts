// /sources: list, read, make and delete; changes are in source-changes.ts.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import type { Caller } from '../core/access.ts'
import { connectorKind, delimitedKind, uncheckedStatus } from '../core/connector.ts'
import type { ConnectorKind } from '../core/connector.ts'
import type { ConnectorDescription, DescribedSchema } from '../core/description.ts'
import { definitionOf, groupAttribute } from '../core/discovery.ts'
import { RequestError } from '../core/errors.ts'
import { fromWireId, toWireId } from '../core/id.ts'
import { defaultDelimitedSchema } from '../core/schema.ts'
import type { Schema } from '../core/schema.ts'
import { splitSecrets } from '../core/secret-keys.ts'
import { givenThreshold, keptAttributes, newAttributes } from '../core/source-attributes.ts'
import { removeSource } from '../run/removal.ts'
import type { Database, Queryable } from '../store/database.ts'
import { readList } from '../store/list-timeout.ts'
import { insertSchema, listSchemaReferences } from '../store/schemas.ts'
import type { MasterKey } from '../store/sealed.ts'
import { writeSourceSecrets } from '../store/source-secrets.ts'
import {
  administeredSources,
  countSources,
  drawExternalId,
  insertSource,
  listSources,
} from '../store/sources.ts'
import { checkedBody } from './body.ts'
import { CollectionQuery, queryFlag, queryText, readPage, sendTotal } from './collection.ts'
import { patchTypes } from './json-patch.ts'
import { recordChange } from './record-change.ts'
import { everyVersion } from './route.ts'
import type { Call, Route } from './route.ts'
import { PatchBody, TaskResult } from './shapes.ts'
import { requireSource } from './source-access.ts'
import { SourceBody, sourceDraft } from './source-body.ts'
import { maskWithoutSecret, patchSource, replaceSource } from './source-changes.ts'
import { sourceModel, SourceModel } from './source-model.ts'

export interface SourceServices {
  readonly db: Database
  /** Tells the workers of this process that there is a task. */
  readonly wake: () => void
  readonly masterKey: MasterKey
  /** The connectors of packages. */
  readonly descriptions: readonly ConnectorDescription[]
}

const readScopes = ['idn:sources:read', 'idn:sources:manage']
const manageScopes = ['idn:sources:manage']
const managers = ['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN'] as const

const ListQueryShape = Type.Object({
  ...CollectionQuery.properties,
  'for-subadmin': Type.Optional(
    Type.String({
      description: 'Only sources that this SOURCE_SUBADMIN administers; "me" is the caller.',
    }),
  ),
  includeIDNSource: Type.Optional(
    Type.Boolean({ default: false, description: 'Accepted; there is no such source here.' }),
  ),
})
const CreateQuery = Type.Object({
  provisionAsCsv: Type.Optional(
    Type.Boolean({ default: false, description: 'Makes a source of delimited files.' }),
  ),
})

/** The routes of sources, under every prefix of ISC. */
export function sourceRoutes(services: SourceServices): Route[] {
  const common = { versions: everyVersion, tag: 'Sources' } as const
  const one = { ...common, path: '/sources/:id', levels: managers } as const
  const read = { scopes: readScopes, status: 200 } as const
  const manage = { scopes: manageScopes, status: 200, response: SourceModel } as const
  return [
    {
      ...common,
      ...read,
      method: 'GET',
      path: '/sources',
      operationId: 'listSources',
      summary: 'Lists the sources that the caller may see',
      levels: [...managers, 'ROLE_SUBADMIN'],
      query: ListQueryShape,
      response: Type.Array(SourceModel),
      handle: (request, reply, call) => list(services, request, reply, call),
    },
    {
      ...common,
      method: 'POST',
      path: '/sources',
      operationId: 'createSource',
      summary: 'Makes a source with the default schemas of its kind',
      levels: managers,
      scopes: manageScopes,
      query: CreateQuery,
      body: SourceBody,
      status: 201,
      response: SourceModel,
      handle: (request, _reply, call) => create(services, request, call),
    },
    {
      ...one,
      ...read,
      method: 'GET',
      operationId: 'getSource',
      summary: 'Reads a source',
      response: SourceModel,
      handle: (request, _reply, call) => readOne(services, pathId(request), call),
    },
    {
      ...one,
      ...manage,
      method: 'PUT',
      operationId: 'putSource',
      summary: 'Replaces a source but for its immutable fields',
      body: SourceBody,
      handle: (request, _reply, call) =>
        replaceSource(services, call, pathId(request), request.body),
    },
    {
      ...one,
      ...manage,
      method: 'PATCH',
      operationId: 'updateSource',
      summary: 'Changes a source by JSON Patch, all of it or nothing',
      consumes: patchTypes,
      body: PatchBody,
      handle: (request, _reply, call) => patchSource(services, call, pathId(request), request.body),
    },
    {
      ...one,
      method: 'DELETE',
      operationId: 'deleteSource',
      summary: 'Removes the accounts of a source and then the source',
      scopes: manageScopes,
      status: 202,
      response: TaskResult,
      handle: (request, _reply, call) => remove(services, pathId(request), call),
    },
  ]
}

function pathId(request: FastifyRequest): string {
  return (request.params as { readonly id: string }).id
}

async function list(
  { db }: SourceServices,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
): Promise<SourceModel[]> {
  const page = readPage(request)
  const subadmin = queryText(request, 'for-subadmin')
  return readList(db, 'Use fewer conditions and sorters, or ask for id or name.', async (tx) => {
    const query = { ...page, sourceIds: await visibleSources(tx, call.caller, subadmin) }
    const sources = await listSources(tx, query)
    const schemas = await listSchemaReferences(
      tx,
      sources.map((source) => source.id),
    )
    await sendTotal(reply, page, () => countSources(tx, query))
    return sources.map((source) => sourceModel(source, schemas.get(source.id) ?? []))
  })
}

/** The sources that a list may show; null means all. */
async function visibleSources(
  q: Queryable,
  caller: Caller,
  subadmin: string | null,
): Promise<readonly string[] | null> {
  if (subadmin === null) return caller.sourceIds
  const uuid = fromWireId(subadmin === 'me' ? caller.identityId : subadmin)
  const administered = uuid === null ? null : await administeredSources(q, toWireId(uuid))
  if (administered === null) {
    throw new RequestError(
      'bad_request',
      'for-subadmin names no identity that is SOURCE_SUBADMIN.',
      {
        hint: 'Give the id of such an identity, or "me".',
      },
    )
  }
  const { sourceIds } = caller
  return sourceIds === null ? administered : administered.filter((id) => sourceIds.includes(id))
}

async function readOne({ db }: SourceServices, id: string, call: Call): Promise<SourceModel> {
  const source = await requireSource(db, call.caller, id)
  const schemas = await listSchemaReferences(db, [source.id])
  return sourceModel(source, schemas.get(source.id) ?? [])
}

async function create(
  { db, masterKey, descriptions }: SourceServices,
  request: FastifyRequest,
  call: Call,
): Promise<SourceModel> {
  const { caller } = call
  if (caller.sourceIds !== null) {
    throw new RequestError(
      'forbidden',
      'A client that is confined to some sources makes no others.',
    )
  }
  const body = checkedBody(SourceBody, request.body)
  const isCsv = queryFlag(request, 'provisionAsCsv') === true
  const kind = isCsv ? delimitedKind : givenKind(body, descriptions)
  const given = body.connectorAttributes ?? {}
  const { masked, given: secrets, kept } = splitSecrets(given)
  for (const path of kept) throw maskWithoutSecret(path)
  const isFile = kind.connectionType === 'file'
  const identity = isFile ? defaultDelimitedSchema.identityAttribute : null
  return db.transaction(async (tx) => {
    const externalId = await drawExternalId(tx, wantedExternalId(given['cloudExternalId']))
    const draft = await sourceDraft(tx, caller, body, kind, {
      attributes: newAttributes(kind, keptAttributes(masked, identity), externalId),
      deleteThreshold: givenThreshold(
        body.deleteThreshold ?? null,
        given['deleteThresholdPercentage'],
        null,
      ),
      authoritative: body.authoritative ?? false,
    })
    const source = await insertSource(tx, draft, uncheckedStatus)
    if (isFile) await insertSchema(tx, source.id, newAccountSchema)
    else await insertSchemas(tx, source.id, kind)
    await writeSourceSecrets(tx, masterKey, source.id, { given: secrets, removed: [] })
    const schemas = await listSchemaReferences(tx, [source.id])
    const model = sourceModel(source, schemas.get(source.id) ?? [])
    await recordChange(
      tx,
      call,
      'SOURCE_CREATED',
      { type: 'SOURCE', id: source.id, name: source.name },
      { after: model },
    )
    return model
  })
}

const plainSchema = {
  hierarchyAttribute: null,
  includePermissions: false,
  features: [],
  configuration: {},
}
const newAccountSchema = { ...defaultDelimitedSchema, ...plainSchema, name: 'account' }

/** The default schemas of a kind. That of accounts comes last, because its groups refer to the schema of groups. */
async function insertSchemas(
  tx: Queryable,
  sourceId: string,
  { schemas }: ConnectorKind,
): Promise<void> {
  let group: Schema['attributes'][number]['schema'] = null
  const isAccount = ({ name }: DescribedSchema): boolean => name === 'account'
  for (const described of [
    ...schemas.filter((one) => !isAccount(one)),
    ...schemas.filter(isAccount),
  ]) {
    const linked = isAccount(described) && group !== null ? groupAttribute(described) : null
    const made = await insertSchema(tx, sourceId, {
      ...plainSchema,
      name: described.name,
      nativeObjectType: described.nativeObjectType,
      identityAttribute: described.identityAttribute,
      displayAttribute: described.displayAttribute,
      attributes: described.attributes.map((one) => ({
        ...definitionOf(one),
        ...(one.name === linked ? { schema: group, isGroup: true } : {}),
      })),
    })
    if (made.name === 'group') group = { type: 'CONNECTOR_SCHEMA', id: made.id, name: made.name }
  }
}

function givenKind(
  body: Static<typeof SourceBody>,
  descriptions: readonly ConnectorDescription[],
): ConnectorKind {
  const connector = body.connector?.trim() ?? ''
  if (connector === '') {
    throw new RequestError('bad_request', 'connector is missing.', {
      hint: 'Name the connector, or add provisionAsCsv=true to the query for a delimited file.',
    })
  }
  return connectorKind(
    {
      connector,
      type: body.type ?? null,
      connectorClass: body.connectorClass ?? null,
      connectorId: body.connectorId ?? null,
      connectorName: body.connectorName ?? null,
    },
    descriptions,
  )
}

/** An external id that a client brings along, for example from a source that it copies; null when it brings none. */
function wantedExternalId(given: unknown): string | null {
  const text = typeof given === 'number' ? String(given) : given
  return typeof text === 'string' && /^[1-9]\d{3,9}$/.test(text) ? text : null
}

async function remove(
  { db, wake }: SourceServices,
  id: string,
  call: Call,
): Promise<Static<typeof TaskResult>> {
  const source = await requireSource(db, call.caller, id)
  const schemas = await listSchemaReferences(db, [source.id])
  const before = sourceModel(source, schemas.get(source.id) ?? [])
  const task = await removeSource(db, source.id, { ...call, before })
  if (task.completed === null) wake()
  return { type: 'TASK_RESULT', id: task.id, name: null }
}
