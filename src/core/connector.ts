// The kinds of connector that Muster knows, and what ISC clients read of a source of each kind (contract.md section 2.2).
import { delimitedConnector } from './source.ts'

/** What the kind decides about a source. */
export interface ConnectorKind {
  readonly connector: string
  readonly type: string
  readonly connectorClass: string
  readonly connectorId: string
  readonly connectorName: string
  readonly connectionType: 'file' | 'direct'
  readonly features: readonly string[]
}

const delimited: ConnectorKind = {
  connector: delimitedConnector,
  type: 'DelimitedFile',
  connectorClass: 'sailpoint.connector.DelimitedFileConnector',
  connectorId: 'delimited-file',
  connectorName: 'Delimited File',
  connectionType: 'file',
  features: ['NO_RANDOM_ACCESS', 'DISCOVER_SCHEMA', 'DIRECT_PERMISSIONS'],
}

/** What a client says of a connector; all of it is believed but for kinds that Muster knows. */
export interface GivenConnector {
  readonly connector: string
  readonly type: string | null
  readonly connectorClass: string | null
  readonly connectorId: string | null
  readonly connectorName: string | null
}

/**
 * The kind of a connector. One that is not installed is a kind too, of what the client says of it: its source can be
 * kept and edited, and an aggregation of it ends with an error that names it (contract.md section 8.3).
 */
export function connectorKind(given: GivenConnector): ConnectorKind {
  if (given.connector === delimited.connector || given.connector === delimited.connectorId) {
    return delimited
  }
  return {
    connector: given.connector,
    type: given.type ?? given.connector,
    connectorClass: given.connectorClass ?? '',
    connectorId: given.connectorId ?? given.connector,
    connectorName: given.connectorName ?? given.connector,
    connectionType: 'direct',
    features: [],
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
