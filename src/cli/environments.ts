// Named environments, in the file that the tools around ISC share: ~/.sailpoint/config.yaml.
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { CliError, exitCodes } from './exit-code.ts'

// For what is loaded on use, and by its name so that tools see it.
const require = createRequire(import.meta.url)

/** A server with a name. */
export interface Environment {
  readonly name: string
  readonly baseUrl: string | null
  readonly tenantUrl: string | null
  readonly clientId: string | null
  readonly clientSecret: string | null
  /** Where the secret stands, in place of `clientSecret`. */
  readonly clientSecretFile: string | null
  /** Commands that would change something are refused. */
  readonly readOnly: boolean
}

export interface Environments {
  /** The name that the file calls active, whether there is such an environment or not. */
  readonly active: string | null
  readonly all: readonly Environment[]
}

/** What `changeEnvironments` may do to the file. `path` names a key; null in place of a value removes it. */
export interface ConfigEdit {
  set(path: readonly string[], value: string | boolean | null): void
}

const none: Environments = { active: null, all: [] }

/** Where the environments are kept. */
export function configPath(): string {
  return join(homedir(), '.sailpoint', 'config.yaml')
}

/** What is wrong with `readonly`. Whoever reads the file must end with it: to go on could be to change what was not to be. */
export class UnclearReadOnly extends CliError {
  constructor(environment: string, key: string, value: unknown) {
    const shown = JSON.stringify(value) ?? String(value)
    super(
      exitCodes.usage,
      `${configPath()}: ${key} of the environment "${environment}" is ${shown}, and only true and false are clear.`,
      'Write true or false, without quotes: YAML takes yes, no, on and off for texts.',
    )
    this.name = 'UnclearReadOnly'
  }
}

/**
 * The environments; none where there is no file. Throws with the code of wrong usage for a file that cannot be read, and
 * `UnclearReadOnly`.
 */
export function readEnvironments(): Environments {
  const text = readConfig()
  if (text === null) return none
  const root = objectOf(parse(text).toJS())
  const active =
    textOf(process.env['SAIL_ACTIVEENVIRONMENT']) ?? textOf(field(root, 'activeenvironment'))
  return {
    active: active?.toLowerCase() ?? null,
    all: Object.entries(objectOf(field(root, 'environments'))).map(([name, value]) => {
      const one = objectOf(value)
      const pat = objectOf(field(one, 'pat'))
      return {
        name: name.toLowerCase(),
        baseUrl: textOf(field(one, 'baseurl'))?.replace(/\/+$/, '') ?? null,
        tenantUrl: textOf(field(one, 'tenanturl')),
        clientId: textOf(field(pat, 'clientid')),
        clientSecret: textOf(field(pat, 'clientsecret')),
        clientSecretFile: textOf(field(pat, 'clientsecretfile')),
        readOnly: isReadOnly(name, one),
      }
    }),
  }
}

/** The environment of this name, in any case; `from` says who named it. Throws with the code of what is not found. */
export function findEnvironment(
  { all }: Environments,
  name: string,
  from: string | null = null,
): Environment {
  const found = all.find((one) => one.name === name.toLowerCase())
  if (found !== undefined) return found
  const names = all.map((one) => one.name).join(', ')
  throw new CliError(
    exitCodes.notFound,
    `There is no environment "${name}" in ${configPath()}${from === null ? '' : `, and ${from} names it`}.`,
    names === '' ? '`muster env set` makes one.' : `There are: ${names}.`,
  )
}

/**
 * Edits the file in place and leaves what it does not touch as it was, comments too. Nobody else can read it afterwards,
 * since it may hold secrets.
 */
export function changeEnvironments(change: (edit: ConfigEdit) => void): void {
  const document = parse(readConfig() ?? '')
  change({
    set: (path, value) => {
      const keys = spelled(document, path)
      if (value === null) document.deleteIn(keys)
      else document.setIn(keys, value)
    },
  })
  const path = configPath()
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  // A link to a file that is kept elsewhere stays a link.
  const target = existing(path)
  const draft = `${target}.${process.pid}.new`
  writeFileSync(draft, document.toString(), { mode: 0o600 })
  chmodSync(draft, 0o600)
  renameSync(draft, target)
}

/** A URL in the one spelling that all spellings of it share, to compare it: origin and path, without the slash at its end. */
export function sameSpelling(url: string): string {
  if (!URL.canParse(url)) return url
  const { origin, pathname } = new URL(url)
  return origin + pathname.replace(/\/+$/, '')
}

/** What is used of the package. */
interface Yaml {
  parseDocument(text: string): YamlDocument
  stringify(value: unknown, options: object): string
  isMap(node: unknown): boolean
}
interface YamlDocument {
  readonly errors: readonly Error[]
  readonly contents: unknown
  toJS(): unknown
  setIn(path: readonly string[], value: unknown): void
  deleteIn(path: readonly string[]): boolean
  toString(): string
}

/** Loaded on use: most calls are configured by variables and need no YAML. */
export function yaml(): Yaml {
  return require('yaml') as Yaml
}

/** True when any spelling of the key says so: it must not be lost that somebody wanted it. */
function isReadOnly(environment: string, fields: Record<string, unknown>): boolean {
  const given = Object.entries(fields).filter(([key]) => key.toLowerCase() === 'readonly')
  for (const [key, value] of given) {
    if (typeof value !== 'boolean') throw new UnclearReadOnly(environment, key, value)
  }
  return given.some(([, value]) => value === true)
}

function readConfig(): string | null {
  try {
    return readFileSync(configPath(), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw unreadable(error instanceof Error ? error.message : String(error))
  }
}

function parse(text: string): YamlDocument {
  const document = yaml().parseDocument(text)
  const [error] = document.errors
  if (error !== undefined) throw unreadable(error.message.split('\n', 1)[0] ?? '')
  if (document.contents !== null && !yaml().isMap(document.contents)) {
    throw unreadable('it is no list of keys')
  }
  return document
}

function unreadable(reason: string): CliError {
  return new CliError(
    exitCodes.usage,
    `${configPath()} cannot be read: ${reason}.`,
    'Mend it, or set SAIL_BASE_URL, SAIL_CLIENT_ID and SAIL_CLIENT_SECRET: then it is not needed.',
  )
}

/** Keys as the file spells them: `sail` writes and reads them in any case. */
function spelled(document: YamlDocument, path: readonly string[]): string[] {
  let place = objectOf(document.toJS())
  return path.map((key) => {
    const found = Object.keys(place).find((one) => one.toLowerCase() === key.toLowerCase()) ?? key
    place = objectOf(place[found])
    return found
  })
}

function existing(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

function field(object: Record<string, unknown>, name: string): unknown {
  return Object.entries(object).find(([key]) => key.toLowerCase() === name)?.[1]
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {}
}

function textOf(value: unknown): string | null {
  const text = typeof value === 'string' || typeof value === 'number' ? String(value).trim() : ''
  return text === '' ? null : text
}
