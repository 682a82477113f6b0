// The settings of LDAP sources: reads them, fills placeholders, and says what cannot be used before anything is connected.
import {
  readChoice,
  readFlag,
  readInteger,
  readList,
  readText,
  requireText,
  type Settings,
  settingError,
} from '../core/setting.ts'
import { type Scope, scopes } from './ldap-connection.ts'
import { encodeFilter, FilterError, isAttributeName } from './ldap-filter.ts'
import { escapeDnValue, escapeFilterValue, fillTemplate, isDn, isWithin } from './ldap-text.ts'

/** How memberships are found: on the account, in the groups, or not at all. */
export const membershipWays = ['memberOf', 'search', 'none'] as const
export type MembershipWay = (typeof membershipWays)[number]

export type LdapKindName = 'ldap' | 'active-directory'

/** Where entries of one sort are, and which. */
export interface Place {
  readonly bases: readonly string[]
  readonly scope: Scope
  /** The filter as it is written; it can be used. */
  readonly filter: string
}

export interface LdapSettings {
  readonly kind: LdapKindName
  readonly host: string
  readonly port: number
  readonly encryption: 'none' | 'tls' | 'starttls'
  readonly ca: string | null
  readonly bindDn: string
  readonly bindPassword: string
  readonly accounts: Place
  readonly groups: Place
  readonly membership: MembershipWay
  /** The attribute of the schema that holds the groups. */
  readonly groupAttribute: string
  readonly memberAttributes: readonly string[]
  /** Whether a delta reads everything when a group changed. */
  readonly groupChanges: 'full' | 'ignore'
  /** Names in the directory by names in the schema. */
  readonly attributeMap: ReadonlyMap<string, string>
  readonly binaryAttributes: readonly string[]
  readonly keyAttribute: string
  /** 0: all at once. */
  readonly pageSize: number
  readonly requestsPerSecond: number | null
  readonly timeoutMs: number
}

const defaults = {
  ldap: {
    filter: '(objectClass=inetOrgPerson)',
    groupFilter:
      '(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))',
    membership: 'search',
    groupAttribute: 'groups',
    memberAttributes: ['member', 'uniqueMember', 'memberUid'],
    keyAttribute: 'entryUUID',
  },
  'active-directory': {
    filter: '(&(objectCategory=person)(objectClass=user))',
    groupFilter: '(objectClass=group)',
    membership: 'memberOf',
    groupAttribute: 'memberOf',
    memberAttributes: ['member'],
    keyAttribute: 'objectGUID',
  },
} as const

/** The settings of a source of that kind. Throws `bad_setting`. */
export function readSettings(kind: LdapKindName, given: Settings): LdapSettings {
  const usual = defaults[kind]
  const address = readAddress(given)
  const values = readMap(given, 'values')
  const scope = readChoice(given, 'scope', scopes, 'sub')
  const bases = readBases(given, 'baseDns', values)
  if (bases.length === 0) {
    throw settingError('baseDns', 'is missing', 'Set it, for example to ["dc=example,dc=com"].')
  }
  const groupBases = readBases(given, 'groupBaseDns', values)
  const members = readNames(given, 'groupMemberAttribute', usual.memberAttributes)
  const rate = readInteger(given, 'requestsPerSecond', 0, 0, 100_000)
  if (readFlag(given, 'followReferrals', false)) {
    throw settingError(
      'followReferrals',
      'is true, but referrals are not followed',
      'Make a source for each server, or ask a global catalogue.',
    )
  }
  return {
    kind,
    ...address,
    ca: readText(given, 'tlsCa'),
    ...readLogin(given),
    accounts: {
      bases: withoutNested(bases, scope),
      scope,
      filter: readFilter(given, 'filter', values, usual.filter),
    },
    groups: {
      bases: withoutNested(groupBases.length > 0 ? groupBases : bases, 'sub'),
      scope: 'sub',
      filter: readFilter(given, 'groupFilter', values, usual.groupFilter),
    },
    membership: readChoice(given, 'groupMembership', membershipWays, usual.membership),
    groupAttribute: readText(given, 'groupAttribute') ?? usual.groupAttribute,
    memberAttributes: members,
    groupChanges: readChoice(given, 'groupChanges', ['full', 'ignore'], 'full'),
    attributeMap: readMap(given, 'attributeMap'),
    binaryAttributes: readNames(given, 'binaryAttributes', []),
    keyAttribute: readNames(given, 'keyAttribute', [usual.keyAttribute])[0] ?? usual.keyAttribute,
    pageSize: readInteger(given, 'pageSize', 1000, 0, 100_000),
    requestsPerSecond: rate === 0 ? null : rate,
    timeoutMs: readInteger(given, 'timeoutSeconds', 60, 1, 86_400) * 1000,
  }
}

function readAddress(given: Settings): Pick<LdapSettings, 'host' | 'port' | 'encryption'> {
  const written = requireText(given, 'url', 'ldaps://ldap.example.com')
  const hint = 'Write it as ldap://host, ldaps://host or with a port, ldap://host:3389.'
  // `ldap:` is a scheme whose hosts URL takes as they are written.
  const url = URL.canParse(written) ? new URL(written) : null
  if (url === null || !['ldap:', 'ldaps:'].includes(url.protocol) || url.hostname === '') {
    throw settingError('url', 'is no address of an LDAP server', hint)
  }
  if (url.username !== '' || url.password !== '') {
    throw settingError('url', 'holds a login', 'Set bindDn and bindPassword instead.')
  }
  if (url.pathname.length > 1 || url.search !== '') {
    throw settingError('url', 'has more than a host and a port', `Set baseDns and filter. ${hint}`)
  }
  const tls = url.protocol === 'ldaps:'
  const startTls = readFlag(given, 'startTls', false)
  if (tls && startTls) {
    throw settingError('startTls', 'is true for an ldaps:// url', 'Use one of the two.')
  }
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? (tls ? 636 : 389) : Number(url.port),
    encryption: tls ? 'tls' : startTls ? 'starttls' : 'none',
  }
}

function readLogin(given: Settings): Pick<LdapSettings, 'bindDn' | 'bindPassword'> {
  const bindDn = readText(given, 'bindDn') ?? ''
  const bindPassword = readText(given, 'bindPassword') ?? ''
  // A name without a password is an anonymous login to many servers, which then show fewer entries.
  if (bindDn !== '' && bindPassword === '') {
    throw settingError(
      'bindPassword',
      'is missing',
      'Set it, or remove bindDn to read anonymously.',
    )
  }
  return { bindDn, bindPassword }
}

function readBases(
  given: Settings,
  key: string,
  values: ReadonlyMap<string, string>,
): readonly string[] {
  return readList(given, key, true).map((base) => {
    const dn = fill(key, base, values, escapeDnValue)
    if (isDn(dn)) return dn
    throw settingError(
      key,
      `has "${base}", which is no DN`,
      'Write it like ou=people,dc=example,dc=com.',
    )
  })
}

/** Bases that lie below another one would give their entries twice. */
function withoutNested(bases: readonly string[], scope: Scope): readonly string[] {
  return bases.filter((base, index) =>
    bases.every((other, place) => {
      if (place === index || !isWithin(base, other)) return true
      const same = isWithin(other, base)
      return same ? index < place : scope !== 'sub'
    }),
  )
}

function readFilter(
  given: Settings,
  key: string,
  values: ReadonlyMap<string, string>,
  fallback: string,
): string {
  const filter = fill(key, readText(given, key) ?? fallback, values, escapeFilterValue)
  try {
    encodeFilter(filter)
  } catch (error) {
    if (!(error instanceof FilterError)) throw error
    throw settingError(key, error.reason, 'Write it like (&(objectClass=person)(l=Berlin)).')
  }
  return filter
}

function fill(
  key: string,
  template: string,
  values: ReadonlyMap<string, string>,
  escape: (value: string) => string,
): string {
  // Without values a brace is a brace.
  if (values.size === 0) return template
  const filled = fillTemplate(template, values, escape)
  if ('text' in filled) return filled.text
  throw settingError(
    key,
    `names {${filled.missing}}, which has no value`,
    `Add "${filled.missing}" to connectorAttributes.values.`,
  )
}

/** Names of attributes of the directory. */
function readNames(given: Settings, key: string, fallback: readonly string[]): readonly string[] {
  const names = readList(given, key)
  const wrong = names.find((name) => !isAttributeName(name))
  if (wrong !== undefined) {
    throw settingError(key, `has "${wrong}", which is no name of an attribute`, 'Correct the name.')
  }
  return names.length === 0 ? fallback : names
}

/** An object of texts. */
function readMap(given: Settings, key: string): ReadonlyMap<string, string> {
  const value = given[key]
  if (value === undefined || value === null || value === '') return new Map()
  const entries: [string, unknown][] =
    typeof value === 'object' && !Array.isArray(value) ? Object.entries(value) : [[key, null]]
  const texts = new Map<string, string>()
  for (const [name, text] of entries) {
    if (typeof text !== 'string') {
      throw settingError(key, 'is not an object of texts', 'Write it like { "name": "text" }.')
    }
    texts.set(name, text)
  }
  return texts
}
