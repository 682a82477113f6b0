// The kinds of connector that Muster knows, and what ISC clients read of a source of each kind (contract.md section 2.2).
import type { ConnectorDescription, DescribedSchema } from './description.ts'
import { activeDirectoryKind, ldapKind } from './ldap-kind.ts'
import { saasKind } from './saas-kind.ts'
import { scimKind } from './scim-kind.ts'
import { delimitedConnector } from './source.ts'
import { mysqlKind, postgresqlKind } from './sql-kind.ts'

/** What the kind decides about a source. */
export interface ConnectorKind {
  readonly connector: string
  readonly type: string
  readonly connectorClass: string
  readonly connectorId: string
  readonly connectorName: string
  readonly connectionType: 'file' | 'direct'
  readonly features: readonly string[]
  /** The schemas that a new source gets; those of a delimited source are in schema.ts. */
  readonly schemas: readonly DescribedSchema[]
  /** Whether its reader can give only what changed; null where Muster does not have the connector. */
  readonly delta: boolean | null
}

const delimited: ConnectorKind = {
  connector: delimitedConnector,
  type: 'DelimitedFile',
  connectorClass: 'sailpoint.connector.DelimitedFileConnector',
  connectorId: 'delimited-file',
  connectorName: 'Delimited File',
  connectionType: 'file',
  features: ['NO_RANDOM_ACCESS', 'DISCOVER_SCHEMA', 'DIRECT_PERMISSIONS'],
  schemas: [],
  delta: false,
}

/** The connectors that are part of Muster. */
const builtIn: readonly ConnectorDescription[] = [
  ldapKind,
  activeDirectoryKind,
  postgresqlKind,
  mysqlKind,
  scimKind,
  saasKind,
]

/** What clients of ISC know the built-in connectors by. */
const usualNames: Readonly<
  Record<string, { readonly type: string; readonly connectorClass: string }>
> = {
  ldap: { type: 'OpenLDAP - Direct', connectorClass: 'sailpoint.connector.LDAPConnector' },
  'active-directory': {
    type: 'Active Directory - Direct',
    connectorClass: 'sailpoint.connector.ADLDAPConnector',
  },
  postgresql: { type: 'JDBC', connectorClass: 'sailpoint.connector.JDBCConnector' },
  mysql: { type: 'JDBC', connectorClass: 'sailpoint.connector.JDBCConnector' },
  scim: { type: 'SCIM 2.0', connectorClass: '' },
  saas: { type: 'SaaS', connectorClass: '' },
}

/** What a client says of a connector; what Muster knows of a kind it adds where the client says nothing. */
export interface GivenConnector {
  readonly connector: string
  readonly type: string | null
  readonly connectorClass: string | null
  readonly connectorId: string | null
  readonly connectorName: string | null
}

/** What is known of a connector: of those in Muster and of the packages that the operator named; null for others. */
export function describedConnector(
  connector: string,
  packages: readonly ConnectorDescription[],
): ConnectorDescription | null {
  return [...builtIn, ...packages].find(({ name }) => name === connector) ?? null
}

/**
 * The kind of a connector. One that is not installed is a kind too, of what the client says of it: its source can be
 * kept and edited, and an aggregation of it ends with an error that names it (contract.md section 8.3).
 */
export function connectorKind(
  given: GivenConnector,
  packages: readonly ConnectorDescription[],
): ConnectorKind {
  if (given.connector === delimited.connector || given.connector === delimited.connectorId) {
    return delimited
  }
  const described = describedConnector(given.connector, packages)
  const usual = Object.hasOwn(usualNames, given.connector) ? usualNames[given.connector] : undefined
  return {
    connector: given.connector,
    type: given.type ?? usual?.type ?? given.connector,
    connectorClass: given.connectorClass ?? usual?.connectorClass ?? '',
    connectorId: given.connectorId ?? given.connector,
    connectorName: given.connectorName ?? described?.displayName ?? given.connector,
    connectionType: 'direct',
    // A package may name features of its own; clients of ISC know only these.
    features: (described?.features ?? []).filter((feature) => sourceFeatures.includes(feature)),
    schemas: described?.schemas ?? [],
    delta: described?.delta ?? null,
  }
}

/** The kind of a source that was made with `provisionAsCsv=true`, whatever else the client says. */
export const delimitedKind: ConnectorKind = delimited

/** The features that a source or schema may have (contract.md section 2.2). */
export const sourceFeatures: readonly string[] = [
  'AUTHENTICATE',
  'COMPOSITE',
  'DIRECT_PERMISSIONS',
  'DISCOVER_SCHEMA',
  'ENABLE',
  'MANAGER_LOOKUP',
  'NO_RANDOM_ACCESS',
  'PROXY',
  'SEARCH',
  'TEMPLATE',
  'UNLOCK',
  'UNSTRUCTURED_TARGETS',
  'SHAREPOINT_TARGET',
  'PROVISIONING',
  'GROUP_PROVISIONING',
  'SYNC_PROVISIONING',
  'PASSWORD',
  'CURRENT_PASSWORD',
  'ACCOUNT_ONLY_REQUEST',
  'ADDITIONAL_ACCOUNT_REQUEST',
  'NO_AGGREGATION',
  'GROUPS_HAVE_MEMBERS',
  'NO_PERMISSIONS_PROVISIONING',
  'NO_GROUP_PERMISSIONS_PROVISIONING',
  'NO_UNSTRUCTURED_TARGETS_PROVISIONING',
  'NO_DIRECT_PERMISSIONS_PROVISIONING',
  'PREFER_UUID',
  'ARM_SECURITY_EXTRACT',
  'ARM_UTILIZATION_EXTRACT',
  'ARM_CHANGELOG_EXTRACT',
  'USES_UUID',
  'APPLICATION_DISCOVERY',
  'DELETE',
]

/** The state of a source that was never read. */
export const uncheckedStatus = 'SOURCE_STATE_UNCHECKED_SOURCE_NO_ACCOUNTS'
