// /sources/{id}/correlation-config: by which attributes accounts find their identities (contract.md section 2.4).
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import {
  checkedAssignments,
  correlationConfigName,
  matchModes,
} from '../core/correlation-config.ts'
import type { CorrelationConfig, MatchMode } from '../core/correlation-config.ts'
import { RequestError } from '../core/errors.ts'
import { fromWireId, toWireId } from '../core/id.ts'
import { getCorrelationConfig, updateCorrelationConfig } from '../store/correlation-configs.ts'
import type { Database } from '../store/database.ts'
import { listSchemas } from '../store/schemas.ts'
import { checkedBody } from './body.ts'
import { recordChange } from './record-change.ts'
import { allButV3 } from './route.ts'
import type { Call, Route, Version } from './route.ts'
import { nullable } from './shapes.ts'
import { lockSource, requireSource } from './source-access.ts'

export interface CorrelationConfigServices {
  readonly db: Database
}

const MatchModeShape = Type.Unsafe<MatchMode>(
  Type.Union(matchModes.map((mode) => Type.Literal(mode))),
)
const OptionalFlag = Type.Optional(nullable(Type.Boolean()))

const ConfigModel = Type.Object({
  id: Type.String(),
  name: Type.String(),
  attributeAssignments: Type.Array(
    Type.Object({
      sequence: Type.Optional(Type.Integer({ description: 'Only under /beta.' })),
      property: Type.String({ description: 'The identity attribute.' }),
      value: Type.String({ description: 'The account attribute.' }),
      operation: Type.Literal('EQ'),
      complex: Type.Boolean(),
      ignoreCase: Type.Boolean(),
      matchMode: MatchModeShape,
      filterString: Type.String(),
    }),
  ),
})
type ConfigModel = Static<typeof ConfigModel>

const AssignmentBody = Type.Object({
  sequence: Type.Optional(nullable(Type.Integer())),
  property: Type.String({ minLength: 1, maxLength: 256 }),
  value: Type.String({ minLength: 1, maxLength: 256 }),
  operation: Type.Optional(nullable(Type.Literal('EQ'))),
  complex: OptionalFlag,
  ignoreCase: OptionalFlag,
  matchMode: Type.Optional(nullable(MatchModeShape)),
  filterString: Type.Optional(nullable(Type.String({ maxLength: 4_096 }))),
})
// Not a union with null: of a failed union the validator names only the outermost member.
const AssignmentsBody = Type.Unsafe<Static<typeof AssignmentBody>[] | null>({
  type: ['array', 'null'],
  items: AssignmentBody,
  maxItems: 100,
})

/** The members that clients may send; whatever else they send is ignored. */
const ConfigBody = Type.Object({
  id: Type.Optional(nullable(Type.String({ maxLength: 256 }))),
  name: Type.Optional(nullable(Type.String({ maxLength: 256 }))),
  attributeAssignments: Type.Optional(AssignmentsBody),
})

/** The routes of correlation configurations, under the prefixes that have them. */
export function correlationConfigRoutes({ db }: CorrelationConfigServices): Route[] {
  const common = {
    versions: allButV3,
    path: '/sources/:id/correlation-config',
    tag: 'Sources',
    levels: ['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN'],
    status: 200,
    response: ConfigModel,
  } as const
  return [
    {
      ...common,
      method: 'GET',
      operationId: 'getCorrelationConfig',
      summary: 'Reads by which attributes the accounts of a source find their identities',
      scopes: ['idn:sources:read', 'idn:sources:manage'],
      handle: async (request, _reply, call) => {
        const source = await requireSource(db, call.caller, pathId(request))
        return configModel(await getCorrelationConfig(db, source.id), source.name, call.version)
      },
    },
    {
      ...common,
      method: 'PUT',
      operationId: 'putCorrelationConfig',
      summary: 'Replaces these attributes and the name; the id stays',
      scopes: ['idn:sources:manage'],
      body: ConfigBody,
      handle: (request, _reply, call) => replace(db, request, call),
    },
  ]
}

function pathId(request: FastifyRequest): string {
  return (request.params as { readonly id: string }).id
}

async function replace(db: Database, request: FastifyRequest, call: Call): Promise<ConfigModel> {
  const body = checkedBody(ConfigBody, request.body)
  return db.transaction(async (tx) => {
    const source = await lockSource(tx, call.caller, pathId(request))
    const before = await getCorrelationConfig(tx, source.id)
    checkId(before.id, body.id ?? null)
    const schemas = await listSchemas(tx, source.id)
    const account = schemas.find((schema) => schema.name === 'account')
    // An attribute that left the schema stays where it was assigned: what was read may be sent back.
    const assignments = checkedAssignments(body.attributeAssignments ?? [], [
      ...(account?.attributes.map((attribute) => attribute.name) ?? []),
      ...before.assignments.map((assignment) => assignment.value),
    ])
    const name = body.name?.trim() ?? ''
    // A name that was read and sent back unchanged goes on following that of the source.
    const own = name === '' || name === correlationConfigName(source.name) ? null : name
    const after = await updateCorrelationConfig(tx, source.id, { name: own, assignments })
    const shown = (config: CorrelationConfig) => configModel(config, source.name, call.version)
    await recordChange(
      tx,
      call,
      'CORRELATION_CONFIG_UPDATED',
      { type: 'SOURCE', id: source.id, name: source.name },
      { before: shown(before), after: shown(after) },
    )
    return shown(after)
  })
}

function checkId(id: string, given: string | null): void {
  if (given === null || given === '') return
  const uuid = fromWireId(given)
  if (uuid !== null && toWireId(uuid) === id) return
  throw new RequestError(
    'immutable_field',
    'The id of a correlation configuration cannot be changed.',
    { hint: `Leave it out, or send "${id}".` },
  )
}

function configModel(config: CorrelationConfig, sourceName: string, version: Version): ConfigModel {
  return {
    id: config.id,
    name: config.name ?? correlationConfigName(sourceName),
    attributeAssignments: config.assignments.map((assignment, index) => ({
      ...(version === 'beta' ? { sequence: index + 1 } : {}),
      ...assignment,
    })),
  }
}
