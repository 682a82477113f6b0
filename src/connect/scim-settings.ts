// Reads the settings of a SCIM source (`connectorAttributes`) into types.
import {
  readChoice,
  readInteger,
  readText,
  requireText,
  settingError,
  type Settings,
} from '../core/setting.ts'

/** How a request shows who asks. */
export type ScimAuthentication =
  | { readonly kind: 'none' }
  | { readonly kind: 'bearer'; readonly token: string }
  | { readonly kind: 'basic'; readonly user: string; readonly password: string }
  | {
      readonly kind: 'oauth2'
      readonly clientId: string
      readonly clientSecret: string
      readonly tokenUrl: string
      readonly scope: string | null
    }

/** The settings of a SCIM source. */
export interface ScimSettings {
  /** The base, without a slash at its end: `/Users` follows. */
  readonly url: string
  readonly authentication: ScimAuthentication
  readonly pageSize: number
  readonly pagination: 'index' | 'cursor' | 'auto'
  /** A SCIM filter that users have to pass; null: all users. */
  readonly userFilter: string | null
  /** Where the groups of a user come from: its own attribute `groups`, or the members of the groups. */
  readonly groupMembership: 'user' | 'group'
  /** SCIM paths by names of attributes, for names that are not themselves the path. */
  readonly attributeMap: ReadonlyMap<string, string>
  readonly tlsCa: string | null
  readonly requestsPerSecond: number | null
  readonly timeoutMs: number
}

/** The settings; throws `bad_setting`. */
export function readScimSettings(given: Settings): ScimSettings {
  const perSecond = readInteger(given, 'requestsPerSecond', 0, 0, 10_000)
  return {
    url: readAddress(given, 'url', 'https://scim.example.com/scim/v2').replace(/\/+$/, ''),
    authentication: readAuthentication(given),
    pageSize: readInteger(given, 'pageSize', 100, 1, 10_000),
    pagination: readChoice(given, 'pagination', ['index', 'cursor', 'auto'], 'auto'),
    userFilter: readText(given, 'userFilter'),
    groupMembership: readChoice(given, 'groupMembership', ['user', 'group'], 'user'),
    attributeMap: readMap(given, 'attributeMap'),
    tlsCa: readText(given, 'tlsCa'),
    requestsPerSecond: perSecond === 0 ? null : perSecond,
    timeoutMs: readInteger(given, 'timeoutSeconds', 60, 1, 3600) * 1000,
  }
}

function readAuthentication(given: Settings): ScimAuthentication {
  const kind = readChoice(
    given,
    'authentication',
    ['none', 'bearer', 'basic', 'oauth2'] as const,
    'none',
  )
  switch (kind) {
    case 'none':
      return { kind }
    case 'bearer':
      return { kind, token: readHeaderText(given, 'token') }
    case 'basic':
      return {
        kind,
        user: requireText(given, 'user', 'aggregation'),
        password: requireText(given, 'password', 'the password of the user'),
      }
    case 'oauth2':
      return {
        kind,
        clientId: requireText(given, 'clientId', 'the id of the client'),
        clientSecret: requireText(given, 'clientSecret', 'the secret of the client'),
        tokenUrl: readAddress(given, 'tokenUrl', 'https://login.example.com/oauth/token'),
        scope: readText(given, 'scope'),
      }
  }
}

/** A text that goes into a header: a line break in it would begin a header of its own. */
function readHeaderText(given: Settings, key: string): string {
  const text = requireText(given, key, 'the token that the server gave you').trim()
  if (/^[\x21-\x7e]+$/.test(text)) return text
  throw settingError(
    key,
    'holds spaces, line breaks or characters that no token has',
    'Copy the token again, without anything around it.',
  )
}

function readAddress(given: Settings, key: string, example: string): string {
  const text = requireText(given, key, example).trim()
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw settingError(key, 'is not a URL of http or https', `Write it like ${example}.`)
  }
  if (url.username !== '' || url.password !== '') {
    throw settingError(
      key,
      'holds a user or a password',
      'Give them as connectorAttributes.user and connectorAttributes.password.',
    )
  }
  if (key === 'url' && (url.search !== '' || url.hash !== '')) {
    throw settingError(
      key,
      'has a query or a fragment',
      'Leave out what follows "?" or "#"; filters are given as connectorAttributes.userFilter.',
    )
  }
  return url.href
}

function readMap(given: Settings, key: string): ReadonlyMap<string, string> {
  const value = given[key]
  if (value === undefined || value === null || value === '') return new Map()
  const entries = typeof value === 'object' && !Array.isArray(value) ? Object.entries(value) : null
  if (entries === null || !entries.every((entry) => isTextEntry(entry))) {
    throw settingError(
      key,
      'is not an object of texts',
      'Write it like {"mail": "emails[primary eq true].value"}.',
    )
  }
  return new Map(entries)
}

function isTextEntry(entry: [string, unknown]): entry is [string, string] {
  return typeof entry[1] === 'string' && entry[1] !== ''
}
