// The settings of a source that reads an SQL database, checked before anything is opened.
import { isIP } from 'node:net'
import {
  readChoice,
  readFlag,
  readInteger,
  readList,
  readText,
  requireText,
  settingError,
  type Settings,
} from '../core/setting.ts'

/** What a kind of database calls its URL. */
export interface SqlScheme {
  readonly schemes: readonly string[]
  readonly defaultPort: number
  readonly example: string
}

/** Settings as they are used. */
export interface SqlSettings {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  readonly password: string
  /** Null: without TLS. */
  readonly tls: { readonly ca?: string; readonly servername?: string } | null
  /** The text of the query, or the parts of the name of a table. */
  readonly rows: string | readonly TablePart[]
  readonly indexColumn: string | null
  readonly keyColumn: string | null
  readonly disabledColumn: string | null
  readonly lockedColumn: string | null
  readonly watermarkColumn: string | null
  readonly tombstoneQuery: string | null
  readonly entitlementQuery: string | null
  readonly mergeRows: boolean
  /** Attributes that collect the values of all rows of an account, besides the multi-valued ones of the schema. */
  readonly mergeColumns: readonly string[]
  readonly statementTimeoutSeconds: number
  readonly pageSize: number
  /** Until the login stands. */
  readonly loginTimeoutMs: number
  /** So often a read says that it still waits for the server. */
  readonly signOfLifeMs: number
}

/** One part of `schema.table`. */
export interface TablePart {
  readonly name: string
  /** Whether it was written in quotes: then its case is meant. */
  readonly quoted: boolean
}

/** Reads them; throws `bad_setting`. */
export function readSqlSettings(given: Settings, scheme: SqlScheme): SqlSettings {
  const place = readUrl(given, scheme)
  const watermarkColumn = readText(given, 'watermarkColumn')
  const tombstoneQuery = readQuery(given, 'tombstoneQuery')
  if (tombstoneQuery !== null && watermarkColumn === null) {
    throw settingError(
      'tombstoneQuery',
      'is set without watermarkColumn',
      'Rows that are gone are asked for in a delta only: set watermarkColumn too, or remove tombstoneQuery.',
    )
  }
  return {
    ...place,
    password: readText(given, 'password') ?? '',
    tls: readTls(given, place.host),
    rows: readRows(given),
    indexColumn: readText(given, 'indexColumn'),
    keyColumn: readText(given, 'keyColumn'),
    disabledColumn: readText(given, 'disabledColumn'),
    lockedColumn: readText(given, 'lockedColumn'),
    watermarkColumn,
    tombstoneQuery,
    entitlementQuery: readQuery(given, 'entitlementQuery'),
    mergeRows: readFlag(given, 'mergeRows', false),
    mergeColumns: readList(given, 'mergeColumns'),
    statementTimeoutSeconds: readInteger(given, 'statementTimeoutSeconds', 600, 1, 86_400),
    pageSize: readInteger(given, 'pageSize', 1_000, 1, 100_000),
    loginTimeoutMs: readInteger(given, 'timeoutSeconds', 60, 1, 600) * 1_000,
    signOfLifeMs: Math.ceil((readInteger(given, 'silenceSeconds', 180, 1, 86_400) * 1_000) / 3),
  }
}

function readUrl(
  given: Settings,
  scheme: SqlScheme,
): Pick<SqlSettings, 'host' | 'port' | 'user' | 'database'> {
  const wrong = (reason: string): Error =>
    settingError('url', reason, `Write it like ${scheme.example}.`)
  const text = requireText(given, 'url', scheme.example)
  if (!URL.canParse(text)) throw wrong('is not a URL')
  const url = new URL(text)
  if (!scheme.schemes.includes(url.protocol))
    throw wrong(`does not begin with ${scheme.schemes[0]}//`)
  if (url.password !== '') throw wrong('holds a password, which belongs into "password"')
  if (url.hostname === '') throw wrong('names no host')
  if (url.search !== '' || url.hash !== '') {
    throw wrong('has parameters after its database, which are settings of their own here')
  }
  const database = decoded(url.pathname.slice(1))
  const user = decoded(url.username)
  if (database === null || user === null) throw wrong('has a percent sign that encodes nothing')
  if (database === '' || database.includes('/')) throw wrong('names no database')
  if (user === '') throw wrong('names no user')
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? scheme.defaultPort : Number(url.port),
    user,
    database,
  }
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}

function readTls(given: Settings, host: string): SqlSettings['tls'] {
  const loopback =
    host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
  // Passwords and accounts go over this connection. Only what never leaves the machine may go in the clear unasked.
  const chosen = readChoice(given, 'tls', ['require', 'disable'], loopback ? 'disable' : 'require')
  if (chosen === 'disable') return null
  const ca = readText(given, 'tlsCa')
  const servername = readText(given, 'tlsServerName')
  return { ...(ca === null ? {} : { ca }), ...(servername === null ? {} : { servername }) }
}

function readRows(given: Settings): SqlSettings['rows'] {
  const query = readQuery(given, 'query')
  const table = readText(given, 'table')
  if (query !== null && table !== null) {
    throw settingError('table', 'is set together with query', 'Remove one of the two.')
  }
  if (query !== null) return query
  if (table !== null) return readTable(table)
  throw settingError(
    'query',
    'is missing',
    'Set it to the query that gives the accounts, or set table to the name of a table or view.',
  )
}

/** A query without the semicolon that people end it with: it becomes a part of a longer statement. */
function readQuery(given: Settings, key: string): string | null {
  const text = readText(given, key)
  if (text === null) return null
  if (text.includes('\0')) throw settingError(key, 'has a NUL in it', 'Remove it.')
  const query = text.replace(/[\s;]+$/, '')
  if (query !== '') return query
  throw settingError(key, 'is empty', 'Write a query, or remove the setting.')
}

const tablePart = /^(?:([^\s."`';()]+)|"((?:[^"]|"")+)"|`((?:[^`]|``)+)`)(?:\.|$)/

/** The parts of a name such as `hr.people` or `hr."Employee data"`. */
function readTable(text: string): readonly TablePart[] {
  const parts: TablePart[] = []
  let rest = text.trim()
  const wrong = (): Error =>
    settingError(
      'table',
      'is not the name of a table',
      'Write it like people or hr.people, with double quotes around a part that has other characters.',
    )
  if (rest.includes('\0') || rest.endsWith('.')) throw wrong()
  while (rest !== '') {
    const found = tablePart.exec(rest)
    if (found === null || parts.length === 3) throw wrong()
    const [whole, plain, double, back] = found
    const quoted = double?.replaceAll('""', '"') ?? back?.replaceAll('``', '`')
    parts.push({ name: quoted ?? plain ?? '', quoted: quoted !== undefined })
    rest = rest.slice(whole.length)
  }
  if (parts.length === 0) throw wrong()
  return parts
}
