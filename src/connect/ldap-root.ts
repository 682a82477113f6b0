// What a server says of itself in its root entry.
import type { ReadAttribute } from './ldap-entry.ts'
import { readEntry, type Session } from './ldap-search.ts'
import { toGuid } from './ldap-values.ts'

/** The root entry. Lists are empty and texts null where the server shows nothing. */
export interface Root {
  readonly vendor: string
  readonly namingContexts: readonly string[]
  readonly controls: readonly string[]
  readonly subschema: string | null
  /** Active Directory: the entry of this domain controller, and the last change that it knows. */
  readonly service: string | null
  readonly highestChange: string | null
}

/** Names of controls. */
export const controlNames = {
  paging: '1.2.840.113556.1.4.319',
  showDeleted: '1.2.840.113556.1.4.417',
} as const

const names = [
  'vendorName',
  'vendorVersion',
  'namingContexts',
  'supportedControl',
  'subschemaSubentry',
  'dsServiceName',
  'highestCommittedUSN',
  'supportedCapabilities',
  'structuralObjectClass',
] as const

const activeDirectory = '1.2.840.113556.1.4.800'
const lightweightDirectory = '1.2.840.113556.1.4.1851'

/** Reads the root entry; a server that hides it has an empty one. */
export async function readRoot(session: Session): Promise<Root> {
  const attributes = names.map((name): ReadAttribute => ({ name, form: null }))
  const entry = await readEntry(session, '', attributes)
  const all = (name: (typeof names)[number]): readonly string[] =>
    [entry?.values[names.indexOf(name)] ?? []].flat()
  const one = (name: (typeof names)[number]): string | null => all(name)[0] ?? null
  const capabilities = all('supportedCapabilities')
  const vendor = [one('vendorName'), one('vendorVersion')].filter((text) => text !== null).join(' ')
  return {
    vendor: capabilities.includes(activeDirectory)
      ? 'Active Directory'
      : capabilities.includes(lightweightDirectory)
        ? 'Active Directory Lightweight Directory Services'
        : vendor !== ''
          ? vendor
          : one('structuralObjectClass') === 'OpenLDAProotDSE'
            ? 'OpenLDAP'
            : 'unknown',
    namingContexts: all('namingContexts'),
    controls: all('supportedControl'),
    subschema: one('subschemaSubentry'),
    service: one('dsServiceName'),
    highestChange: one('highestCommittedUSN'),
  }
}

/** The id of the database of a domain controller: another one numbers its changes differently. Empty when hidden. */
export async function readInvocation(session: Session, service: string): Promise<string> {
  const entry = await readEntry(session, service, [{ name: 'invocationId', form: toGuid }])
  const value = entry?.values[0]
  return typeof value === 'string' ? value : ''
}
