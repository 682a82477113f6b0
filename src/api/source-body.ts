// What a client says of a source, made into what is kept of it.
import { Type } from 'typebox'
import type { Static } from 'typebox'
import type { Caller } from '../core/access.ts'
import { sourceFeatures } from '../core/connector.ts'
import type { ConnectorKind } from '../core/connector.ts'
import { RequestError } from '../core/errors.ts'
import { fromWireId, toWireId } from '../core/id.ts'
import { checkDirectAttributes, checkFileAttributes } from '../core/source-attributes.ts'
import type { Queryable } from '../store/database.ts'
import { identityName } from '../store/sources.ts'
import type { SourceDraft } from '../store/sources.ts'
import { GivenReference, nullable } from './shapes.ts'
import { keptReferences } from './source-model.ts'

const OptionalReference = Type.Optional(nullable(GivenReference))
const OptionalText = Type.Optional(nullable(Type.String({ maxLength: 256 })))

/** The members that clients may send; whatever else they send is ignored. */
const members = {
  name: Type.String({ minLength: 1, maxLength: 256 }),
  description: Type.Optional(nullable(Type.String({ maxLength: 10_000 }))),
  owner: OptionalReference,
  cluster: OptionalReference,
  accountCorrelationConfig: OptionalReference,
  accountCorrelationRule: OptionalReference,
  managerCorrelationMapping: Type.Optional(
    nullable(
      Type.Object({
        accountAttributeName: OptionalText,
        identityAttributeName: OptionalText,
      }),
    ),
  ),
  managerCorrelationRule: OptionalReference,
  beforeProvisioningRule: OptionalReference,
  passwordPolicies: Type.Optional(nullable(Type.Array(GivenReference, { maxItems: 250 }))),
  features: Type.Optional(nullable(Type.Array(Type.String(), { maxItems: 250 }))),
  type: OptionalText,
  connector: OptionalText,
  connectorClass: OptionalText,
  connectorId: OptionalText,
  connectorName: OptionalText,
  connectorAttributes: Type.Optional(nullable(Type.Record(Type.String(), Type.Unknown()))),
  deleteThreshold: Type.Optional(nullable(Type.Integer({ minimum: 0, maximum: 100 }))),
  authoritative: Type.Optional(nullable(Type.Boolean())),
  managementWorkgroup: OptionalReference,
  credentialProviderEnabled: Type.Optional(nullable(Type.Boolean())),
  category: OptionalText,
}

export const SourceBody = Type.Object(members)
export type SourceBody = Static<typeof SourceBody>

/** Settings larger than this are no settings; a page of 250 sources must fit into memory. */
const attributesLimit = 256 * 1024

/**
 * What is kept of a body. `attributes` are the connector attributes as they are kept, secrets masked. Throws
 * `bad_request` for an unknown owner, an unknown feature and attributes that nothing could be read with.
 */
export async function sourceDraft(
  q: Queryable,
  caller: Caller,
  body: SourceBody,
  kind: ConnectorKind,
  kept: {
    readonly attributes: Readonly<Record<string, unknown>>
    readonly deleteThreshold: number | null
    readonly authoritative: boolean
  },
): Promise<SourceDraft> {
  const name = body.name.trim()
  if (name === '') throw new RequestError('bad_request', 'The name of a source must not be blank.')
  if (JSON.stringify(kept.attributes).length > attributesLimit) {
    throw new RequestError('bad_request', 'connectorAttributes is larger than 256 KiB.')
  }
  if (kind.connectionType === 'file') {
    checkFileAttributes(kept.attributes)
  } else {
    checkDirectAttributes(kind.connector, kept.attributes)
  }
  return {
    name,
    description: body.description ?? null,
    ownerId: await ownerOf(q, caller, body.owner ?? null),
    type: kind.type,
    connector: kind.connector,
    connectionType: kind.connectionType,
    connectorAttributes: kept.attributes,
    features: featuresOf(body.features ?? kind.features),
    deleteThreshold: kept.deleteThreshold,
    authoritative: kept.authoritative,
    category: body.category ?? null,
    extra: extraOf(body, kind),
  }
}

/** Null means the caller; anybody else must be known. */
async function ownerOf(
  q: Queryable,
  caller: Caller,
  owner: Static<typeof GivenReference> | null,
): Promise<string> {
  if (owner === null) return caller.identityId
  if (owner.type !== undefined && owner.type !== null && owner.type !== 'IDENTITY') {
    throw new RequestError(
      'bad_request',
      `The owner must be of type IDENTITY, not "${owner.type}".`,
    )
  }
  const uuid = fromWireId(owner.id ?? '')
  if (uuid === null || (await identityName(q, uuid)) === null) {
    throw new RequestError('bad_request', `The owner "${owner.id ?? ''}" is no known identity.`, {
      hint: 'Give the id of an identity, or null for the identity that calls.',
    })
  }
  return toWireId(uuid)
}

function featuresOf(features: readonly string[]): readonly string[] {
  const unknown = features.find((feature) => !sourceFeatures.includes(feature))
  if (unknown === undefined) return [...new Set(features)]
  throw new RequestError('bad_request', `"${unknown.slice(0, 60)}" is no feature of a source.`, {
    hint: `Features are ${sourceFeatures.join(', ')}.`,
  })
}

function extraOf(body: SourceBody, kind: ConnectorKind): Readonly<Record<string, unknown>> {
  const references = keptReferences.map((key) => {
    const given = body[key]
    const { type = null, id = null, name = null } = given ?? {}
    return [key, given === null || given === undefined ? null : { type, id, name }] as const
  })
  const mapping = body.managerCorrelationMapping ?? null
  return {
    ...Object.fromEntries(references),
    managerCorrelationMapping:
      mapping === null
        ? null
        : {
            accountAttributeName: mapping.accountAttributeName ?? null,
            identityAttributeName: mapping.identityAttributeName ?? null,
          },
    passwordPolicies: body.passwordPolicies ?? null,
    credentialProviderEnabled: body.credentialProviderEnabled ?? false,
    connectorClass: kind.connectorClass,
    connectorId: kind.connectorId,
    connectorName: kind.connectorName,
  }
}
