// The environment → a typed Config; whatever cannot be right is refused here, naming the variable, the reason and the way out.
import { accessSync, constants, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isAllowedEntry } from './core/address.ts'

/** Every setting of Muster, checked. Folders are absolute. It holds secrets: never log it as a whole. */
export interface Config {
  /** MUSTER_HOST: the address that the server listens on; 127.0.0.1 unless set. */
  readonly host: string
  /** MUSTER_PORT: the port that the server listens on; 8080 unless set, 0 for any free one. */
  readonly port: number
  /**
   * MUSTER_MANAGEMENT_PORT and MUSTER_MANAGEMENT_HOST: where health and metrics are served, and then only there; undefined
   * serves them on the port of the API.
   */
  readonly management: { readonly host: string; readonly port: number } | undefined
  /** MUSTER_DATA_DIR: the folder of the embedded database, its key and the spool; ./muster-data unless set. */
  readonly dataDir: string
  /** DATABASE_URL: a PostgreSQL 15 or later to use instead of the embedded one. */
  readonly databaseUrl: string | undefined
  /** MUSTER_KEY: the master key that seals secrets; required with DATABASE_URL, else made in the data folder. */
  readonly key: string | undefined
  /** MUSTER_TLS_CERT and MUSTER_TLS_KEY: PEM files that make the server speak HTTPS. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined
  /** MUSTER_TRUST_PROXY: whose X-Forwarded headers count: false, true, a number of hops, or a list of addresses. */
  readonly trustProxy: boolean | number | readonly string[]
  /** MUSTER_CLIENT_ID and MUSTER_CLIENT_SECRET: the first API client, made when it does not exist. */
  readonly client: { readonly id: string; readonly secret: string } | undefined
  /** MUSTER_RATE_LIMIT: requests that a client may make in ten seconds to one version of the API; 100 unless set, 0 is no limit. */
  readonly rateLimit: number
  /** MUSTER_ALLOW_PRIVATE_ADDRESSES: connectors may also reach loopback, and webhooks loopback and private ranges. */
  readonly allowPrivateAddresses: boolean
  /** MUSTER_ALLOWED_ADDRESSES: networks, addresses and host names; when there are any, connectors reach nothing else. */
  readonly allowedAddresses: readonly string[]
  /** MUSTER_CONNECTORS: modules that each export a connector; paths are absolute. */
  readonly connectors: readonly string[]
  /** MUSTER_MAX_UPLOAD_BYTES: the largest upload that is taken; 4 GiB unless set. */
  readonly maxUploadBytes: number
  /** MUSTER_SPOOL_DIR: the folder where uploads wait for their run; <data folder>/spool unless set. */
  readonly spoolDir: string
  /** MUSTER_SPOOL_SHARED: the spool folder is the same for all nodes, so any of them may collect an upload. */
  readonly spoolShared: boolean
  /** MUSTER_MIN_FREE_BYTES: with less free disk the process is not ready; 256 MiB unless set, 0 is never. */
  readonly minFreeBytes: number
  /** MUSTER_LOG_LEVEL: the least severe level that is logged; info unless set. */
  readonly logLevel: LogLevel
  /** MUSTER_LEASE_SECONDS: how long a node may be silent before another takes over its runs; 15 unless set, at most 30. */
  readonly leaseSeconds: number
  /** MUSTER_CONCURRENT_RUNS: how many runs, each of another source, this process works on at a time; 2 unless set. */
  readonly concurrentRuns: number
  /** MUSTER_LOAD_SHORTCUTS: ways that make loads faster and nothing else: all (unless set), first-load, buckets, none. */
  readonly loadShortcuts: LoadShortcuts
  /** MUSTER_ORG: the name of the tenant in tokens and events; muster unless set. */
  readonly org: string
  /** What is odd but no error, one sentence each, for the log. */
  readonly warnings: readonly string[]
}

/** The levels of MUSTER_LOG_LEVEL, most talkative first. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

/** One of `logLevels`. */
export type LogLevel = (typeof logLevels)[number]

/** The values of MUSTER_LOAD_SHORTCUTS; docs/concepts/run.md tells what each does. */
export const loadShortcutChoices = ['all', 'first-load', 'buckets', 'none'] as const

/** One of `loadShortcutChoices`. */
export type LoadShortcuts = (typeof loadShortcutChoices)[number]

/** A setting that cannot be used: `message` names it and says why, `hint` says what to do. Neither holds a secret. */
export class ConfigError extends Error {
  readonly hint: string

  constructor(message: string, hint: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'ConfigError'
    this.hint = hint
  }
}

/** The secrets: each may also come from the file that NAME_FILE names, as orchestrators mount them. */
const secretNames = ['MUSTER_KEY', 'DATABASE_URL', 'MUSTER_CLIENT_SECRET'] as const
const plainNames = [
  'MUSTER_HOST',
  'MUSTER_PORT',
  'MUSTER_MANAGEMENT_HOST',
  'MUSTER_MANAGEMENT_PORT',
  'MUSTER_DATA_DIR',
  'MUSTER_TLS_CERT',
  'MUSTER_TLS_KEY',
  'MUSTER_TRUST_PROXY',
  'MUSTER_CLIENT_ID',
  'MUSTER_RATE_LIMIT',
  'MUSTER_ALLOW_PRIVATE_ADDRESSES',
  'MUSTER_ALLOWED_ADDRESSES',
  'MUSTER_CONNECTORS',
  'MUSTER_MAX_UPLOAD_BYTES',
  'MUSTER_SPOOL_DIR',
  'MUSTER_SPOOL_SHARED',
  'MUSTER_MIN_FREE_BYTES',
  'MUSTER_LOG_LEVEL',
  'MUSTER_LEASE_SECONDS',
  'MUSTER_CONCURRENT_RUNS',
  'MUSTER_LOAD_SHORTCUTS',
  'MUSTER_ORG',
] as const

type SecretName = (typeof secretNames)[number]
type Name = SecretName | (typeof plainNames)[number]
type Environment = NodeJS.ProcessEnv

/** The names of all settings, for the reference page and its test. */
export const settingNames: readonly string[] = [
  ...plainNames,
  ...secretNames,
  ...secretNames.map((name) => `${name}_FILE`),
]

/** Reads and checks all settings. Throws a ConfigError for the first one that cannot be used. */
export function readConfig(env: Environment): Config {
  const dataDir = resolve(text(env, 'MUSTER_DATA_DIR') ?? 'muster-data')
  const spoolDir = text(env, 'MUSTER_SPOOL_DIR')
  const config: Config = {
    host: text(env, 'MUSTER_HOST') ?? '127.0.0.1',
    port: integer(env, 'MUSTER_PORT', 8080, 0, 65_535),
    management: management(env),
    dataDir,
    databaseUrl: databaseUrl(env),
    key: key(env),
    tls: tls(env),
    trustProxy: trustProxy(env),
    client: client(env),
    rateLimit: integer(env, 'MUSTER_RATE_LIMIT', 100, 0, 1_000_000),
    allowPrivateAddresses: yesNo(env, 'MUSTER_ALLOW_PRIVATE_ADDRESSES'),
    allowedAddresses: allowedAddresses(env),
    connectors: words(env, 'MUSTER_CONNECTORS').map(modulePath),
    maxUploadBytes: integer(env, 'MUSTER_MAX_UPLOAD_BYTES', 4 * 2 ** 30, 1, 2 ** 50),
    spoolDir: spoolDir === undefined ? join(dataDir, 'spool') : resolve(spoolDir),
    spoolShared: yesNo(env, 'MUSTER_SPOOL_SHARED'),
    minFreeBytes: integer(env, 'MUSTER_MIN_FREE_BYTES', 256 * 2 ** 20, 0, 2 ** 50),
    logLevel: choice(env, 'MUSTER_LOG_LEVEL', logLevels, 'info'),
    leaseSeconds: integer(env, 'MUSTER_LEASE_SECONDS', 15, 3, 30),
    concurrentRuns: integer(env, 'MUSTER_CONCURRENT_RUNS', 2, 1, 16),
    loadShortcuts: choice(env, 'MUSTER_LOAD_SHORTCUTS', loadShortcutChoices, 'all'),
    org: org(env),
    warnings: warnings(env),
  }
  refuseOpenDoor(config)
  refuseLostKey(config)
  return config
}

function refuseOpenDoor(config: Config): void {
  if (isLoopback(config.host) || config.tls !== undefined || config.trustProxy !== false) return
  throw new ConfigError(
    `MUSTER_HOST is ${config.host}, which others can reach, and passwords and tokens would travel in the clear.`,
    'Set MUSTER_TLS_CERT and MUSTER_TLS_KEY, or MUSTER_TRUST_PROXY when a proxy in front speaks TLS, or bind to 127.0.0.1.',
  )
}

/** Throws where the key would have to be made although others need the same one. */
export function refuseLostKey(config: Pick<Config, 'databaseUrl' | 'key'>): void {
  if (config.databaseUrl === undefined || config.key !== undefined) return
  throw new ConfigError(
    'DATABASE_URL is set and MUSTER_KEY is not: the secrets in that database need a key that every node has.',
    'Make one with "openssl rand -base64 32", keep it safe, and set MUSTER_KEY or MUSTER_KEY_FILE.',
  )
}

// Empty counts as not set, because compose files and charts pass on variables that nobody gave a value.
function text(env: Environment, name: Name): string | undefined {
  const value = env[name]?.trim()
  return value === '' ? undefined : value
}

function secret(env: Environment, name: SecretName): string | undefined {
  const direct = text(env, name)
  const file = env[`${name}_FILE`]?.trim() ?? ''
  if (file === '') return direct
  if (direct !== undefined) {
    throw new ConfigError(
      `${name} and ${name}_FILE are both set.`,
      'Unset one of them; which one was meant cannot be known.',
    )
  }
  let content: string
  try {
    content = readFileSync(file, 'utf8').trim()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ConfigError(
      `${name}_FILE cannot be read: ${reason}.`,
      'Name a file that the user who starts Muster may read.',
      error,
    )
  }
  if (content !== '') return content
  throw new ConfigError(`${name}_FILE names the empty file ${file}.`, `Write the value into it.`)
}

function integer(
  env: Environment,
  name: Name,
  fallback: number,
  least: number,
  most: number,
): number {
  const value = text(env, name)
  if (value === undefined) return fallback
  const number = Number(value)
  if (/^\d+$/.test(value) && number >= least && number <= most) return number
  throw new ConfigError(
    `${name} is "${value}", which is no whole number from ${least} to ${most}.`,
    `Set a number in that range, or unset it for ${fallback}.`,
  )
}

function yesNo(env: Environment, name: Name): boolean {
  const value = text(env, name)?.toLowerCase()
  if (value === undefined) return false
  const meaning = truths[value]
  if (meaning !== undefined) return meaning
  throw new ConfigError(`${name} is "${value}", which is neither yes nor no.`, 'Set true or false.')
}

function management(env: Environment): Config['management'] {
  if (text(env, 'MUSTER_MANAGEMENT_PORT') === undefined) return undefined
  return {
    host: text(env, 'MUSTER_MANAGEMENT_HOST') ?? '127.0.0.1',
    port: integer(env, 'MUSTER_MANAGEMENT_PORT', 0, 0, 65_535),
  }
}

const truths: Readonly<Record<string, boolean | undefined>> = {
  true: true,
  yes: true,
  on: true,
  '1': true,
  false: false,
  no: false,
  off: false,
  '0': false,
}

function databaseUrl(env: Environment): string | undefined {
  const value = secret(env, 'DATABASE_URL')
  if (value === undefined) return undefined
  const protocol = URL.canParse(value) ? new URL(value).protocol : ''
  if (protocol === 'postgres:' || protocol === 'postgresql:') return value
  throw new ConfigError(
    'DATABASE_URL is no URL that begins with postgres:// or postgresql://.',
    'Write it as postgres://user:password@host:5432/database, with special characters of the password percent-encoded.',
  )
}

function key(env: Environment): string | undefined {
  const value = secret(env, 'MUSTER_KEY')
  if (value === undefined || isKey(value)) return value
  throw new ConfigError(
    `MUSTER_KEY is not 32 bytes as base64 or hexadecimal digits (it has ${value.length} characters).`,
    'Make one with: openssl rand -base64 32',
  )
}

/** Whether a text is 32 bytes as base64 or hexadecimal digits. */
export function isKey(value: string): boolean {
  return /^(?:[0-9a-fA-F]{64}|(?:[A-Za-z0-9+/]{43}|[A-Za-z0-9_-]{43})=?)$/.test(value)
}

function tls(env: Environment): Config['tls'] {
  const certFile = readable(env, 'MUSTER_TLS_CERT')
  const keyFile = readable(env, 'MUSTER_TLS_KEY')
  if (certFile === undefined && keyFile === undefined) return undefined
  if (certFile !== undefined && keyFile !== undefined) return { certFile, keyFile }
  const [given, missing] =
    keyFile === undefined
      ? ['MUSTER_TLS_CERT', 'MUSTER_TLS_KEY']
      : ['MUSTER_TLS_KEY', 'MUSTER_TLS_CERT']
  throw new ConfigError(`${given} is set and ${missing} is not.`, `Set both, or unset ${given}.`)
}

function readable(env: Environment, name: Name): string | undefined {
  const value = text(env, name)
  if (value === undefined) return undefined
  const path = resolve(value)
  try {
    accessSync(path, constants.R_OK)
    return path
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ConfigError(
      `${name} cannot be read: ${reason}.`,
      'Name a PEM file that the user who starts Muster may read.',
      error,
    )
  }
}

/** A list of words with commas between them. */
function words(env: Environment, name: Name): string[] {
  return (text(env, name) ?? '')
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
}

function allowedAddresses(env: Environment): string[] {
  const allowed = words(env, 'MUSTER_ALLOWED_ADDRESSES')
  const wrong = allowed.find((word) => !isAllowedEntry(word))
  if (wrong === undefined) return allowed
  throw new ConfigError(
    `MUSTER_ALLOWED_ADDRESSES has "${wrong}", which is no address, network or host name.`,
    'Write a list like 10.0.0.0/8,192.168.1.5,ldap.example.org.',
  )
}

/** A package by its name, or the file of a module by its path. */
function modulePath(specifier: string): string {
  return /^(?:\.{0,2}[\\/]|[a-z]:[\\/])|\.[cm]?js$/i.test(specifier)
    ? pathToFileURL(resolve(specifier)).href
    : specifier
}

function trustProxy(env: Environment): Config['trustProxy'] {
  const value = text(env, 'MUSTER_TRUST_PROXY')
  if (value === undefined) return false
  // "1" is one hop, not "yes": trusting everybody has to be said.
  if (/^[1-9]\d?$/.test(value)) return Number(value)
  const meaning = truths[value.toLowerCase()]
  if (meaning !== undefined) return meaning
  const addresses = value.split(',').map((address) => address.trim())
  if (addresses.every(isAddress)) return addresses
  throw new ConfigError(
    `MUSTER_TRUST_PROXY is "${value}".`,
    'Set true, a number of hops, or a list of addresses or networks like 10.0.0.5,192.168.0.0/16.',
  )
}

function isAddress(value: string): boolean {
  const [address = '', bits, ...rest] = value.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128))
}

function client(env: Environment): Config['client'] {
  const id = text(env, 'MUSTER_CLIENT_ID')
  const value = secret(env, 'MUSTER_CLIENT_SECRET')
  if (id === undefined && value === undefined) return undefined
  if (id !== undefined && value !== undefined) return { id, secret: value }
  const [given, missing] =
    value === undefined
      ? ['MUSTER_CLIENT_ID', 'MUSTER_CLIENT_SECRET']
      : ['MUSTER_CLIENT_SECRET', 'MUSTER_CLIENT_ID']
  throw new ConfigError(`${given} is set and ${missing} is not.`, `Set both, or unset ${given}.`)
}

/** One of a few words, in any case. */
function choice<T extends string>(
  env: Environment,
  name: Name,
  choices: readonly T[],
  fallback: T,
): T {
  const value = text(env, name)?.toLowerCase() ?? fallback
  const chosen = choices.find((word) => word === value)
  if (chosen !== undefined) return chosen
  throw new ConfigError(
    `${name} is "${value}", which is none of its values.`,
    `Set one of ${choices.join(', ')}.`,
  )
}

function org(env: Environment): string {
  const value = text(env, 'MUSTER_ORG') ?? 'muster'
  if (/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(value)) return value
  throw new ConfigError(
    `MUSTER_ORG is "${value}"; clients make a host name of it.`,
    'Use lower-case letters, digits and dashes, at most 63.',
  )
}

function isLoopback(host: string): boolean {
  const address = host.toLowerCase().replace(/^\[(.*)\]$/, '$1')
  if (address === 'localhost' || address === '::1') return true
  const v4 = address.replace(/^::ffff:/, '')
  return isIP(v4) === 4 && v4.startsWith('127.')
}

function warnings(env: Environment): string[] {
  const found: string[] = []
  for (const name of Object.keys(env).toSorted()) {
    if (!name.startsWith('MUSTER_') || settingNames.includes(name)) continue
    const near = settingNames.find((known) => isNear(name, known))
    const guess = near === undefined ? '' : ` Did you mean ${near}?`
    found.push(`${name} is no setting of Muster and is ignored.${guess}`)
  }
  if (yesNo(env, 'MUSTER_SPOOL_SHARED') && secret(env, 'DATABASE_URL') === undefined) {
    found.push('MUSTER_SPOOL_SHARED has no effect without DATABASE_URL.')
  }
  if (text(env, 'MUSTER_MANAGEMENT_HOST') !== undefined && management(env) === undefined) {
    found.push('MUSTER_MANAGEMENT_HOST has no effect without MUSTER_MANAGEMENT_PORT.')
  }
  return found
}

/** True when at most two letters were added, dropped or changed. */
function isNear(a: string, b: string): boolean {
  let above = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const changed = (above[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(changed, (above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1))
    }
    above = row
  }
  return (above[b.length] ?? 0) <= 2
}
