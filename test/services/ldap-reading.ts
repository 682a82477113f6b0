// What the tests of LDAP have in common: opening readers, reading to the end, and the entries of the directory.
import { guardedRead } from '../../src/connect/guarded-read.ts'
import { activeDirectoryConnector, ldapConnector } from '../../src/connect/ldap.ts'
import { openOutbound } from '../../src/connect/outbound.ts'
import type {
  Reader,
  ReadEnd,
  ReadRecord,
  ReadRequest,
  WantedAttribute,
} from '../../src/connect/reader.ts'
import type { Settings } from '../../src/core/setting.ts'
import { suffix } from './slapd.ts'

/** Opens a reader that may reach this machine. Lines of its log are put into `log`. */
export function openLdap(
  settings: Settings,
  log: string[] = [],
  kind: 'ldap' | 'active-directory' = 'ldap',
): Promise<Reader> {
  const connector = kind === 'ldap' ? ldapConnector : activeDirectoryConnector
  const outbound = openOutbound({ allowLoopback: true, allowed: [] })
  return connector.open(settings, { outbound, log: (_, message) => log.push(message) })
}

/** An attribute of a schema. */
export function want(name: string, given: Partial<WantedAttribute> = {}): WantedAttribute {
  return { name, nativeName: null, type: 'STRING', isMulti: false, isEntitlement: false, ...given }
}

export function ask(
  attributes: readonly WantedAttribute[],
  more: Partial<ReadRequest> = {},
): ReadRequest {
  return {
    objectType: 'account',
    attributes,
    identityAttribute: attributes[0]?.name ?? null,
    cursor: null,
    limit: null,
    signal: new AbortController().signal,
    ...more,
  }
}

export interface WholeRead {
  readonly records: readonly ReadRecord[]
  readonly end: ReadEnd
}

/** Reads to the end, as a run does. */
export async function drain(reader: Reader, request: ReadRequest): Promise<WholeRead> {
  const pages =
    request.objectType === 'account' ? reader.read(request) : reader.entitlements?.(request)
  if (pages === undefined) throw new Error('there is no such read')
  const guarded = guardedRead(pages, { request, settings: {} })
  const records: ReadRecord[] = []
  for (;;) {
    const step = await guarded.next()
    if (step.done === true) return { records, end: step.value }
    records.push(...step.value.records)
  }
}

/** Opens, reads and closes. */
export async function readOnce(
  settings: Settings,
  request: ReadRequest,
  log: string[] = [],
  kind: 'ldap' | 'active-directory' = 'ldap',
): Promise<WholeRead> {
  const reader = await openLdap(settings, log, kind)
  try {
    return await drain(reader, request)
  } finally {
    await reader.close()
  }
}

/** One value of each record by its identity. */
export function column(read: WholeRead, place: number): Record<string, unknown> {
  return Object.fromEntries(read.records.map(({ identity, values }) => [identity, values[place]]))
}

/** An entry as LDIF. Values that begin with `:` are base64. */
export function entry(
  dn: string,
  attributes: Readonly<Record<string, string | readonly string[]>>,
): string {
  const lines = Object.entries(attributes).flatMap(([name, values]) =>
    [values]
      .flat()
      .map((value) => (value.startsWith(':') ? `${name}:${value}` : `${name}: ${value}`)),
  )
  return `${[`dn: ${dn}`, ...lines].join('\n')}\n\n`
}

/** The root of the directory and two branches. */
export const tree = [
  entry(suffix, { objectClass: ['dcObject', 'organization'], dc: 'example', o: 'Example' }),
  ...['people', 'groups', 'more'].map((ou) =>
    entry(`ou=${ou},${suffix}`, { objectClass: 'organizationalUnit', ou }),
  ),
].join('')

/** A person, long unchanged but for the first one; its entryUUID is made of its number. */
export function person(
  number: number,
  more: Record<string, string | readonly string[]> = {},
): string {
  const uid = `u${String(number).padStart(4, '0')}`
  return entry(`uid=${uid},ou=people,${suffix}`, {
    objectClass: 'inetOrgPerson',
    uid,
    cn: `Person ${number}`,
    sn: `Family${number}`,
    entryUUID: uuidOf(number),
    modifyTimestamp: number === 0 ? '20260101000000Z' : '20250101000000Z',
    ...more,
  })
}

export function uuidOf(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`
}

export function dnOf(number: number): string {
  return `uid=u${String(number).padStart(4, '0')},ou=people,${suffix}`
}
