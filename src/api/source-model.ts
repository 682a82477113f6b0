// The wire model of a source (contract.md section 2.2).
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { correlationConfigName } from '../core/correlation-config.ts'
import { shownAttributes } from '../core/source-attributes.ts'
import { deleteThreshold } from '../core/source.ts'
import type { Source } from '../core/source.ts'
import type { SchemaReference } from '../store/schemas.ts'
import { Instant, nullable, Reference } from './shapes.ts'

const OpenReference = nullable(Type.Unknown())

export const SourceModel = Type.Object({
  id: Type.String(),
  name: Type.String(),
  description: nullable(Type.String()),
  owner: nullable(Reference),
  cluster: OpenReference,
  accountCorrelationConfig: nullable(Reference),
  accountCorrelationRule: OpenReference,
  managerCorrelationMapping: OpenReference,
  managerCorrelationRule: OpenReference,
  beforeProvisioningRule: OpenReference,
  schemas: Type.Array(Reference),
  passwordPolicies: nullable(Type.Array(Type.Unknown())),
  features: Type.Array(Type.String()),
  type: Type.String(),
  connector: Type.String(),
  connectorClass: Type.String(),
  connectorAttributes: Type.Record(Type.String(), Type.Unknown()),
  deleteThreshold: Type.Integer({ minimum: 0, maximum: 100 }),
  authoritative: Type.Boolean(),
  managementWorkgroup: OpenReference,
  healthy: Type.Boolean(),
  status: Type.String(),
  since: Type.String(),
  connectorId: Type.String(),
  connectorName: Type.String(),
  connectionType: Type.String(),
  connectorImplementationId: Type.String(),
  created: Instant,
  modified: Instant,
  credentialProviderEnabled: Type.Boolean(),
  category: nullable(Type.String()),
})
export type SourceModel = Static<typeof SourceModel>

/** References that are kept for clients as they were given, under these names in `Source.extra`. */
export const keptReferences = [
  'cluster',
  'accountCorrelationRule',
  'managerCorrelationRule',
  'beforeProvisioningRule',
  'managementWorkgroup',
] as const

/** A source as clients read it. */
export function sourceModel(source: Source, schemas: readonly SchemaReference[]): SourceModel {
  const { extra } = source
  const text = (name: string): string => {
    const value = extra[name]
    return typeof value === 'string' ? value : ''
  }
  return {
    id: source.id,
    name: source.name,
    description: source.description,
    owner:
      source.ownerId === null
        ? null
        : { type: 'IDENTITY', id: source.ownerId, name: source.ownerName },
    cluster: extra['cluster'] ?? null,
    accountCorrelationConfig: {
      type: 'ACCOUNT_CORRELATION_CONFIG',
      id: source.correlationConfig.id,
      name: source.correlationConfig.name ?? correlationConfigName(source.name),
    },
    accountCorrelationRule: extra['accountCorrelationRule'] ?? null,
    managerCorrelationMapping: extra['managerCorrelationMapping'] ?? null,
    managerCorrelationRule: extra['managerCorrelationRule'] ?? null,
    beforeProvisioningRule: extra['beforeProvisioningRule'] ?? null,
    schemas: schemas.map(({ id, name }) => ({ type: 'CONNECTOR_SCHEMA', id, name })),
    passwordPolicies: Array.isArray(extra['passwordPolicies']) ? extra['passwordPolicies'] : null,
    features: [...source.features],
    type: source.type,
    connector: source.connector,
    connectorClass: text('connectorClass'),
    connectorAttributes: shownAttributes(source, identityAttribute(schemas)),
    deleteThreshold: deleteThreshold(source),
    authoritative: source.authoritative,
    managementWorkgroup: extra['managementWorkgroup'] ?? null,
    healthy: source.healthy,
    status: source.status,
    since: source.since,
    connectorId: text('connectorId'),
    connectorName: text('connectorName'),
    connectionType: source.connectionType,
    connectorImplementationId: text('connectorId'),
    created: source.created,
    modified: source.modified,
    credentialProviderEnabled: extra['credentialProviderEnabled'] === true,
    category: source.category,
  }
}

/** The identity attribute of the account schema; null when there is none. */
export function identityAttribute(schemas: readonly SchemaReference[]): string | null {
  return schemas.find((schema) => schema.name === 'account')?.identityAttribute ?? null
}
