// The probes of a source: is its system there, would a run work, what would it read (contract.md section 2.11). They change
// nothing, the status of the source included: that is about what was aggregated.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { describedConnector } from '../core/connector.ts'
import type { ConnectorDescription } from '../core/description.ts'
import { RequestError, RunError } from '../core/errors.ts'
import type { Schema } from '../core/schema.ts'
import type { Source } from '../core/source.ts'
import type { Database } from '../store/database.ts'
import { listSchemas } from '../store/schemas.ts'
import { requireSystem, systemFailed } from './ask-source.ts'
import type { AskSource } from './ask-source.ts'
import { checkedBody } from './body.ts'
import { label } from './part-header.ts'
import { resourceObject, ResourceObject } from './resource-object.ts'
import { recordChange } from './record-change.ts'
import { allButV3 } from './route.ts'
import type { Call, Route } from './route.ts'
import { nullable } from './shapes.ts'
import { requireSource } from './source-access.ts'
import { testConfiguration } from './test-configuration.ts'

export interface ProbeRouteServices {
  readonly db: Database
  readonly ask: AskSource
  /** The connectors of packages. */
  readonly descriptions: readonly ConnectorDescription[]
}

const StatusResponse = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    status: Type.Union([Type.Literal('SUCCESS'), Type.Literal('FAILURE')]),
    elapsedMillis: Type.Integer(),
    details: Type.Record(Type.String(), Type.Unknown()),
  },
  { title: 'StatusResponse' },
)
type StatusResponse = Static<typeof StatusResponse>

/** More than this is no look but a read. */
const mostPeeked = 250
const PeekBody = Type.Object({
  objectType: Type.Optional(
    nullable(Type.String({ default: 'account', description: 'The name of a schema.' })),
  ),
  maxCount: Type.Optional(nullable(Type.Integer({ default: 25, minimum: 1, maximum: mostPeeked }))),
})
const ResourceObjectsResponse = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    objectCount: Type.Integer(),
    elapsedMillis: Type.Integer(),
    resourceObjects: Type.Array(ResourceObject),
  },
  { title: 'ResourceObjectsResponse' },
)

/** What a probe found; thrown `RunError`s are what it did not like. */
type Probe = (source: Source, reply: FastifyReply) => Promise<Readonly<Record<string, unknown>>>

/** The routes of the probes. */
export function probeRoutes(services: ProbeRouteServices): Route[] {
  const common = {
    method: 'POST',
    versions: allButV3,
    tag: 'Sources',
    scopes: ['idn:source-connector:manage'],
    levels: ['ORG_ADMIN'],
    status: 200,
  } as const
  const status = (name: string, operationId: string, summary: string, probe: Probe): Route => ({
    ...common,
    path: `/sources/:id/connector/${name}`,
    operationId,
    summary,
    response: StatusResponse,
    // These take no body; whatever a client sends in its place, in whatever type, is none of their business.
    streams: true,
    handle: (request, reply, call) => answerStatus(services, request, reply, call, probe),
  })
  return [
    status(
      'check-connection',
      'testSourceConnection',
      'Connects to the system of a source with its credentials',
      (source, reply) => checkConnection(services.ask, source, reply),
    ),
    status(
      'test-configuration',
      'testSourceConfiguration',
      'Checks whether an aggregation of a source would work: schema, connection and a first look at its accounts',
      async (source, reply) => {
        requireConnector(services.descriptions, source)
        const schemas = await listSchemas(services.db, source.id)
        return testConfiguration(services.ask, source, schemas, reply)
      },
    ),
    status(
      'ping-cluster',
      'pingCluster',
      'Tells whether this server can run the connector of a source; there are no clusters',
      async (source) => pingCluster(services.descriptions, source),
    ),
    {
      ...common,
      path: '/sources/:id/connector/peek-resource-objects',
      operationId: 'searchResourceObjects',
      summary: 'Reads a few accounts or groups of a source without keeping them',
      body: PeekBody,
      response: ResourceObjectsResponse,
      handle: (request, reply, call) => peek(services, request, reply, call),
    },
  ]
}

function pathId(request: FastifyRequest): string {
  return (request.params as { readonly id: string }).id
}

/** The name that ISC shows here: it has the number that the connector side knows the source by. */
function probedName(source: Source): string {
  const number: unknown = source.connectorAttributes['cloudExternalId']
  return typeof number === 'string' ? `${source.name} [source-${number}]` : source.name
}

async function answerStatus(
  { db }: ProbeRouteServices,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
  probe: Probe,
): Promise<StatusResponse> {
  const source = await requireSource(db, call.caller, pathId(request))
  const begin = performance.now()
  const answer = (status: StatusResponse['status'], details: StatusResponse['details']) => ({
    id: source.id,
    name: probedName(source),
    status,
    elapsedMillis: Math.round(performance.now() - begin),
    details,
  })
  try {
    return answer('SUCCESS', await probe(source, reply))
  } catch (error) {
    if (!(error instanceof RunError)) throw error
    const { code, message: reason, hint, temporary } = error
    return answer('FAILURE', { code, reason, hint, temporary })
  }
}

async function checkConnection(
  ask: AskSource,
  source: Source,
  reply: FastifyReply,
): ReturnType<Probe> {
  if (source.connectionType === 'file') {
    // Nothing is broken; scripts that go through all sources need no exception for these.
    return { reason: 'The source is loaded from files: there is no connection to check.' }
  }
  const { facts } = await ask.check(source, reply)
  return facts
}

function pingCluster(
  descriptions: readonly ConnectorDescription[],
  source: Source,
): Readonly<Record<string, unknown>> {
  requireConnector(descriptions, source)
  return { reason: 'This server reads the source itself: there is no cluster between them.' }
}

/** A source whose connector is missing may have no schemas either; the connector is what to begin with. */
function requireConnector(descriptions: readonly ConnectorDescription[], source: Source): void {
  const { connector, connectionType } = source
  if (connectionType === 'file' || describedConnector(connector, descriptions) !== null) return
  throw new RunError('connector_missing', `The connector "${label(connector)}" is not installed.`, {
    hint: 'Install its package and name it in MUSTER_CONNECTORS, or correct the connector of the source.',
  })
}

async function peek(
  services: ProbeRouteServices,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
): Promise<Static<typeof ResourceObjectsResponse>> {
  const { db } = services
  const source = await requireSource(db, call.caller, pathId(request))
  const body = checkedBody(PeekBody, request.body)
  const begin = performance.now()
  requireSystem(source)
  const schema = schemaNamed(await listSchemas(db, source.id), body.objectType ?? 'account')
  const limit = body.maxCount ?? 25
  const { records, attributes } = await services.ask
    .peek(source, schema, limit, reply)
    .catch((error: unknown) => {
      throw systemFailed(source, error)
    })
  // Values leave the system here without a run that the ledger would show.
  await recordChange(
    db,
    call,
    'SOURCE_OBJECTS_PEEKED',
    { type: 'SOURCE', id: source.id, name: source.name },
    { after: { objectType: schema.name, objects: records.length } },
  )
  return {
    id: source.id,
    name: probedName(source),
    objectCount: records.length,
    elapsedMillis: Math.round(performance.now() - begin),
    resourceObjects: records.map((record) => resourceObject(record, attributes, schema)),
  }
}

function schemaNamed(schemas: readonly Schema[], objectType: string): Schema {
  const schema = schemas.find(({ name }) => name === objectType)
  if (schema !== undefined) return schema
  const names = schemas.map(({ name }) => `"${name}"`).join(', ')
  throw new RequestError(
    'bad_request',
    `objectType is "${label(objectType)}", but the source has no schema of this name.`,
    { hint: names === '' ? 'Create its schemas first.' : `Its schemas are ${names}.` },
  )
}
