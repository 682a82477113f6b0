// /muster/v1/sources/{id}/discover: what the schemas of a source lack of what its system has. It proposes, and changes nothing.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import type { DescribedSchema } from '../core/description.ts'
import { definitionOf, proposeSchema } from '../core/discovery.ts'
import type { SchemaProposal } from '../core/discovery.ts'
import type { Schema } from '../core/schema.ts'
import type { Database } from '../store/database.ts'
import { listSchemas } from '../store/schemas.ts'
import { requireSystem, systemFailed } from './ask-source.ts'
import type { AskSource } from './ask-source.ts'
import type { Call, Route } from './route.ts'
import { nullable, PatchBody } from './shapes.ts'
import { requireSource } from './source-access.ts'

const AttributeKind = Type.Object({ type: Type.String(), isMulti: Type.Boolean() })
const ProposalModel = Type.Object({
  name: Type.String(),
  schemaId: nullable(Type.String()),
  added: Type.Array(
    Type.Object({
      name: Type.String(),
      type: Type.String(),
      description: nullable(Type.String()),
      isMulti: Type.Boolean(),
      isEntitlement: Type.Boolean(),
    }),
  ),
  changed: Type.Array(
    Type.Object({ name: Type.String(), before: AttributeKind, after: AttributeKind }),
  ),
  roles: Type.Array(
    Type.Object({ role: Type.String(), before: nullable(Type.String()), after: Type.String() }),
  ),
  missing: Type.Array(Type.String(), {
    description:
      'Attributes of the schema that the system does not describe; the patch leaves them.',
  }),
  patch: Type.Unsafe<SchemaProposal['patch']>({
    ...PatchBody,
    description: 'For PATCH of the schema; empty when there is nothing to add or to change.',
  }),
  removal: Type.Unsafe<SchemaProposal['removal']>({
    ...PatchBody,
    description: 'For PATCH after that: removes what is missing.',
  }),
  create: nullable(
    Type.Unknown({ description: 'For POST of schemas, where the source has no such schema.' }),
  ),
})
const DiscoveryModel = Type.Object({
  sourceId: Type.String(),
  elapsedMillis: Type.Integer(),
  schemas: Type.Array(ProposalModel),
  unknown: Type.Array(Type.String(), {
    description: 'Names of schemas of the source that the system does not describe.',
  }),
})

/** The route. */
export function discoveryRoutes(services: {
  readonly db: Database
  readonly ask: AskSource
}): Route[] {
  return [
    {
      method: 'POST',
      path: '/sources/:id/discover',
      versions: ['muster'],
      operationId: 'discoverSourceSchemas',
      summary: 'Asks the system of a source for its schemas and proposes changes; applies none',
      tag: 'Sources',
      scopes: ['idn:source-connector:manage'],
      levels: ['ORG_ADMIN'],
      streams: true,
      status: 200,
      response: DiscoveryModel,
      handle: (request, reply, call) => discover(services.db, services.ask, request, reply, call),
    },
  ]
}

async function discover(
  db: Database,
  ask: AskSource,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
): Promise<Static<typeof DiscoveryModel>> {
  const { id } = request.params as { readonly id: string }
  const source = await requireSource(db, call.caller, id)
  requireSystem(source)
  const begin = performance.now()
  const { schemas: described } = await ask.discover(source, reply).catch((error: unknown) => {
    throw systemFailed(source, error)
  })
  const kept = await listSchemas(db, source.id)
  return {
    sourceId: source.id,
    elapsedMillis: Math.round(performance.now() - begin),
    schemas: described.map((one) => proposal(one, kept)),
    unknown: kept
      .map(({ name }) => name)
      .filter((name) => !described.some((one) => one.name === name)),
  }
}

function proposal(
  described: DescribedSchema,
  kept: readonly Schema[],
): Static<typeof ProposalModel> {
  const mine = kept.find(({ name }) => name === described.name) ?? null
  const proposed = proposeSchema(mine, described)
  return {
    ...proposed,
    added: [...proposed.added],
    changed: [...proposed.changed],
    roles: [...proposed.roles],
    missing: [...proposed.missing],
    create: mine === null ? newSchema(described, proposed) : null,
  }
}

function newSchema(described: DescribedSchema, { added }: SchemaProposal): object {
  const { name, nativeObjectType, identityAttribute, displayAttribute } = described
  return {
    name,
    nativeObjectType,
    identityAttribute,
    displayAttribute,
    attributes: added.map(definitionOf),
  }
}
