// connectorAttributes: what a new source has by default, what is shown besides what is kept, and what cannot be set
// (contract.md sections 2.2 and 3.1).
import type { ConnectorKind } from './connector.ts'
import { readDialect } from './dialect.ts'
import { RequestError, RunError } from './errors.ts'
import { deleteThreshold } from './source.ts'
import type { Source } from './source.ts'

type Attributes = Readonly<Record<string, unknown>>

/**
 * Keys that mirror fields of the source itself. They are shown and never kept; clients that send back what they read
 * change nothing by them.
 */
export const mirroredAttributes = [
  'status',
  'healthy',
  'since',
  'connectionType',
  'connectorName',
  'cloudDisplayName',
  'deleteThresholdPercentage',
] as const

/** Keys that ISC shows for every source and that stay as they are unless a client sets them. */
const commonDefaults: Attributes = {
  cloudAuthoritativeSourcePrecedence: null,
  cloudIdentityProfileName: null,
  deltaAggregation: null,
  idnPreviousCorrelationConfig: null,
  beforeProvisioningRule: null,
  formPath: null,
}

const fileDefaults: Attributes = {
  mergeRows: false,
  delimiter: ',',
  hasHeader: true,
  filterEmptyRecords: true,
  filetransport: 'local',
  host: 'local',
  partitionMode: 'disabled',
}

const delimitedDefaults: Attributes = {
  ...fileDefaults,
  ...Object.fromEntries(
    Object.entries(fileDefaults).map(([key, value]) => [`group.${key}`, value]),
  ),
  templateApplication: 'DelimitedFile Template',
}

/** What a new source of this kind has unless its client says otherwise. */
export function attributeDefaults(connectionType: string, type: string): Attributes {
  return {
    ...commonDefaults,
    cloudOriginalApplicationType: type,
    ...(connectionType === 'file' ? delimitedDefaults : {}),
  }
}

/** The attributes that a new source is kept with: the defaults of its kind under what the client gave. */
export function newAttributes(
  kind: ConnectorKind,
  given: Attributes,
  cloudExternalId: string,
): Record<string, unknown> {
  return { ...attributeDefaults(kind.connectionType, kind.type), ...given, cloudExternalId }
}

/** The attributes as clients read them. `identityAttribute` is that of the account schema. */
export function shownAttributes(
  source: Source,
  identityAttribute: string | null,
): Record<string, unknown> {
  return {
    ...(source.connectionType === 'file' ? { indexColumn: identityAttribute } : {}),
    ...source.connectorAttributes,
    cloudDisplayName: source.name,
    connectionType: source.connectionType,
    connectorName: source.extra['connectorName'] ?? null,
    deleteThresholdPercentage: deleteThreshold(source),
    healthy: source.healthy,
    since: source.since,
    status: source.status,
  }
}

/** What is kept of the attributes that a client sent: without those that are only shown. */
export function keptAttributes(
  given: Attributes,
  identityAttribute: string | null,
): Record<string, unknown> {
  const kept = { ...given }
  for (const key of mirroredAttributes) delete kept[key]
  // An index column that is the identity attribute follows the schema when that changes.
  if (kept['indexColumn'] === identityAttribute) delete kept['indexColumn']
  return kept
}

/** Throws `bad_request` naming the key when a file could not be read with these attributes. */
export function checkFileAttributes(attributes: Attributes): void {
  try {
    readDialect(attributes)
  } catch (error) {
    if (!(error instanceof RunError)) throw error
    throw new RequestError('bad_request', error.message, { hint: error.hint, cause: error })
  }
}

/** The schemes that the URL of each built-in kind may have. */
const urlSchemes: Readonly<Record<string, readonly string[]>> = {
  ldap: ['ldap', 'ldaps'],
  'active-directory': ['ldap', 'ldaps'],
  postgresql: ['postgres', 'postgresql'],
  mysql: ['mysql', 'mariadb'],
  scim: ['http', 'https'],
  saas: ['http', 'https'],
}

/**
 * Throws `bad_request` naming the key when no reader could be opened with these attributes. What is absent may still
 * come: sources are often made first and set up afterwards.
 */
export function checkDirectAttributes(connector: string, attributes: Attributes): void {
  const schemes = Object.hasOwn(urlSchemes, connector) ? urlSchemes[connector] : undefined
  if (schemes === undefined) return
  checkUrl('url', attributes['url'], schemes)
  if (connector === 'scim') checkUrl('tokenUrl', attributes['tokenUrl'], ['http', 'https'])
}

function checkUrl(key: string, value: unknown, schemes: readonly string[]): void {
  if (value === undefined || value === null || value === '') return
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : null
  const scheme = url?.protocol.slice(0, -1) ?? ''
  if (url !== null && schemes.includes(scheme) && url.hostname !== '') return
  const hint = `Write it as ${schemes.map((one) => `${one}://host`).join(' or ')}, with port and path as needed.`
  const name = `connectorAttributes.${key}`
  if (url === null) throw new RequestError('bad_request', `${name} is no URL.`, { hint })
  const reason = schemes.includes(scheme) ? 'names no host' : `begins with "${scheme}:"`
  throw new RequestError('bad_request', `${name} ${reason}.`, { hint })
}

/**
 * The delete threshold that a client means, which it may give as the field or as the attribute that mirrors it. What
 * differs from `former` (the value shown before; null for a new source) is meant; both may not differ from each other.
 */
export function givenThreshold(
  field: number | null,
  attribute: unknown,
  former: number | null,
): number | null {
  const mirror = attribute === undefined || attribute === null ? null : Number(attribute)
  if (mirror === null) return field
  if (!Number.isInteger(mirror) || mirror < 0 || mirror > 100) {
    throw new RequestError(
      'bad_request',
      'connectorAttributes.deleteThresholdPercentage must be a whole number from 0 to 100.',
    )
  }
  if (field === null || field === former) return mirror
  if (mirror === former || mirror === field) return field
  throw new RequestError(
    'bad_request',
    `deleteThreshold is ${field}, but connectorAttributes.deleteThresholdPercentage is ${mirror}.`,
    { hint: 'They are the same setting: send one, or both equal.' },
  )
}
