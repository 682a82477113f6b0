// The file of `muster export` and `muster apply`: configuration as YAML. What is wrong in one is named by its line and key.
import {
  defaultAssignment,
  defaultAttribute,
  defaultSchema,
  defaultSettings,
  defaultThreshold,
  plainAttributes,
  type SourceConfiguration,
} from '../client/configuration.ts'
import { checkedAssignments } from '../core/correlation-config.ts'
import {
  attributeDefaults,
  checkDirectAttributes,
  checkFileAttributes,
} from '../core/source-attributes.ts'
import { delimitedConnector } from '../core/source.ts'
import { fileVersion, variablePattern } from './configuration-text.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { parseYaml, type Place } from './located-yaml.ts'

type Members = Readonly<Record<string, unknown>>

/** A file that was read. */
export interface ConfigurationFile {
  readonly sources: readonly SourceConfiguration[]
  /** The error of a value, with its line. The path begins at the list of sources. */
  fail(path: Place, message: string, hint?: string): CliError
}

/**
 * Reads a file. `name` stands in messages. Texts of connectorAttributes that are `$NAME` or `${NAME}` become that variable
 * of `environment`. Throws with line and key for whatever cannot be applied to any server.
 */
export function readConfigurationFile(
  text: string,
  name: string,
  environment: Readonly<Record<string, string | undefined>>,
): ConfigurationFile {
  const parsed = parseYaml(text, name)
  const fail = (path: Place, message: string, hint?: string): CliError => {
    const key = path.map((part, index) =>
      typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`,
    )
    const place = path.length === 0 ? '' : `${key.join('')}: `
    const line = parsed.lineOf(path)
    return new CliError(exitCodes.usage, `${name}, line ${line}: ${place}${message}`, hint ?? null)
  }
  const reader = openReader(fail, environment)
  const top = reader.object(parsed.value, [], ['version', 'sources'])
  if (top['version'] !== fileVersion) {
    throw fail(['version'], `must be ${fileVersion}.`, 'It is the version of this form.')
  }
  const sources = reader
    .list(top['sources'], ['sources'])
    .map((one, index) => readSource(reader, one, ['sources', index]))
  checkTwice(sources, ['sources'], fail, 'source')
  return { sources, fail: (path, ...rest) => fail(['sources', ...path], ...rest) }
}

type Fail = (path: Place, message: string, hint?: string) => CliError

/** Takes values apart and says what is wrong with them. */
interface Reader {
  readonly fail: Fail
  object(value: unknown, path: Place, keys: readonly string[] | null): Members
  list(value: unknown, path: Place): readonly unknown[]
  text(value: unknown, path: Place): string
  flag(value: unknown, path: Place): boolean
  /** The value with its variables in place. */
  filled(value: unknown, path: Place): unknown
}

function openReader(fail: Fail, environment: Readonly<Record<string, string | undefined>>): Reader {
  const filled = (value: unknown, path: Place): unknown => {
    if (Array.isArray(value)) return value.map((item, index) => filled(item, [...path, index]))
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(
        Object.entries(value).map(([key, item]: [string, unknown]) => [
          key,
          filled(item, [...path, key]),
        ]),
      )
    }
    const match = typeof value === 'string' ? variablePattern.exec(value) : null
    if (match === null) return value
    const [whole, dollars = ''] = match
    if (dollars.length > 1) return whole.slice(1)
    const variable = match[2] ?? match[3] ?? ''
    const found = environment[variable]
    if (found !== undefined && found !== '') return found
    throw fail(
      path,
      `the environment variable ${variable} is not set.`,
      'Set it, or write two dollars for a text that begins with one.',
    )
  }
  return {
    fail,
    filled,
    object: (value, path, keys) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        throw fail(path, 'must be a mapping of keys to values.')
      }
      const unknown = Object.keys(value).find((key) => keys !== null && !keys.includes(key))
      if (unknown !== undefined) {
        throw fail([...path, unknown], 'is not known here.', `Known are ${keys?.join(', ') ?? ''}.`)
      }
      return value as Members
    },
    list: (value, path) => {
      if (Array.isArray(value)) return value
      throw fail(path, 'must be a list.')
    },
    text: (value, path) => {
      if (typeof value === 'string') return value
      throw fail(path, 'must be a text.', 'Write it in double quotes.')
    },
    flag: (value, path) => {
      if (typeof value === 'boolean') return value
      throw fail(path, 'must be true or false.')
    },
  }
}

const sourceKeys = [
  'name',
  'description',
  'connector',
  'type',
  'authoritative',
  'deleteThreshold',
  'category',
  'features',
  'connectorAttributes',
  'settings',
  'correlation',
  'schemas',
]

function readSource(reader: Reader, value: unknown, path: Place): SourceConfiguration {
  const given = reader.object(value, path, sourceKeys)
  const at = (key: string): Place => [...path, key]
  const text = (key: string): string | null =>
    given[key] === undefined || given[key] === null ? null : reader.text(given[key], at(key))
  const name = text('name') ?? ''
  if (name.trim() === '') throw reader.fail(at('name'), 'a source needs a name.')
  const connector = text('connector') ?? ''
  if (connector === '') throw reader.fail(at('connector'), 'a source needs a connector.')
  const threshold = given['deleteThreshold'] ?? defaultThreshold
  if (!Number.isInteger(threshold) || Number(threshold) < 0 || Number(threshold) > 100) {
    throw reader.fail(at('deleteThreshold'), 'must be a whole number from 0 to 100.')
  }
  const schemas =
    given['schemas'] === undefined
      ? null
      : reader
          .list(given['schemas'], at('schemas'))
          .map((one, index) => readSchema(reader, one, [...at('schemas'), index]))
  if (schemas !== null) checkTwice(schemas, at('schemas'), reader.fail, 'schema')
  checkReferences(schemas ?? [], at('schemas'), reader.fail)
  const account = schemas?.find((schema) => schema.name === 'account') ?? null
  return {
    name,
    description: text('description'),
    connector,
    type: text('type'),
    authoritative:
      given['authoritative'] === undefined
        ? false
        : reader.flag(given['authoritative'], at('authoritative')),
    deleteThreshold: Number(threshold),
    category: text('category'),
    features:
      given['features'] === undefined ? null : texts(reader, given['features'], at('features')),
    connectorAttributes: readAttributes(reader, given, path, account?.identityAttribute ?? null),
    settings: {
      ...defaultSettings,
      ...reader.object(given['settings'] ?? {}, at('settings'), Object.keys(defaultSettings)),
    },
    correlation: readCorrelation(reader, given['correlation'] ?? [], at('correlation'), account),
    schemas,
  }
}

function readAttributes(
  reader: Reader,
  given: Members,
  path: Place,
  identityAttribute: string | null,
): Members {
  const at = [...path, 'connectorAttributes']
  const attributes = reader.object(given['connectorAttributes'] ?? {}, at, null)
  const filled = reader.filled(attributes, at) as Members
  const isFile = given['connector'] === delimitedConnector
  checked(reader, at, () =>
    isFile
      ? checkFileAttributes(filled)
      : checkDirectAttributes(String(given['connector']), filled),
  )
  const type = isFile ? 'DelimitedFile' : ''
  return plainAttributes(
    filled,
    attributeDefaults(isFile ? 'file' : 'direct', type),
    identityAttribute,
  )
}

/** What the core refuses is wrong in the file: of the attributes the key stands in the message. */
function checked<T>(reader: Reader, path: Place, check: () => T): T {
  try {
    return check()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const hint: unknown = error instanceof Error ? Reflect.get(error, 'hint') : null
    const key = /connectorAttributes\.(\S+)/.exec(message)?.[1]?.replace(/[.:]$/, '')
    const place = key === undefined ? path : [...path, key]
    throw reader.fail(place, message, typeof hint === 'string' ? hint : undefined)
  }
}

type SchemaConfiguration = NonNullable<SourceConfiguration['schemas']>[number]

function readSchema(reader: Reader, value: unknown, path: Place): SchemaConfiguration {
  const keys = ['name', ...Object.keys(defaultSchema), 'attributes']
  const given = reader.object(value, path, keys)
  const at = (key: string): Place => [...path, key]
  const text = (key: string): string =>
    given[key] === undefined || given[key] === null ? '' : reader.text(given[key], at(key))
  if (text('name') === '') throw reader.fail(at('name'), 'a schema needs a name.')
  const attributes = reader
    .list(given['attributes'] ?? [], at('attributes'))
    .map((one, index) => readAttribute(reader, one, [...at('attributes'), index]))
  checkTwice(attributes, at('attributes'), reader.fail, 'attribute')
  for (const key of ['identityAttribute', 'displayAttribute', 'hierarchyAttribute']) {
    const named = text(key)
    if (named === '' || attributes.some(({ name }) => name === named)) continue
    throw reader.fail(at(key), `"${named}" is no attribute of the schema.`)
  }
  return {
    name: text('name'),
    nativeObjectType: text('nativeObjectType'),
    identityAttribute: text('identityAttribute'),
    displayAttribute: text('displayAttribute'),
    hierarchyAttribute: text('hierarchyAttribute'),
    includePermissions:
      given['includePermissions'] === undefined
        ? false
        : reader.flag(given['includePermissions'], at('includePermissions')),
    features: texts(reader, given['features'] ?? [], at('features')),
    configuration: reader.object(given['configuration'] ?? {}, at('configuration'), null),
    attributes,
  }
}

function readAttribute(
  reader: Reader,
  value: unknown,
  path: Place,
): SchemaConfiguration['attributes'][number] {
  const given = reader.object(value, path, ['name', ...Object.keys(defaultAttribute)])
  const at = (key: string): Place => [...path, key]
  const text = (key: string): string | null =>
    given[key] === undefined || given[key] === null ? null : reader.text(given[key], at(key))
  const flag = (key: string): boolean =>
    given[key] === undefined ? false : reader.flag(given[key], at(key))
  const name = text('name') ?? ''
  if (name === '') throw reader.fail(at('name'), 'an attribute needs a name.')
  const type = text('type') ?? 'STRING'
  const types = ['STRING', 'LONG', 'INT', 'BOOLEAN', 'DATE']
  if (!types.includes(type)) throw reader.fail(at('type'), `must be one of ${types.join(', ')}.`)
  return {
    name,
    nativeName: text('nativeName'),
    type,
    schema: text('schema'),
    description: text('description') ?? '',
    isMulti: flag('isMulti'),
    isEntitlement: flag('isEntitlement'),
    isGroup: flag('isGroup'),
  }
}

function readCorrelation(
  reader: Reader,
  value: unknown,
  path: Place,
  account: SchemaConfiguration | null,
): SourceConfiguration['correlation'] {
  const given = reader.list(value, path).map((one, index) => {
    const place = [...path, index]
    const members = reader.object(one, place, [
      'property',
      'value',
      ...Object.keys(defaultAssignment),
    ])
    const property = reader.text(members['property'], [...place, 'property'])
    const attribute = reader.text(members['value'], [...place, 'value'])
    const assignment = { ...defaultAssignment, ...members, property, value: attribute }
    for (const key of ['complex', 'ignoreCase'] as const)
      reader.flag(assignment[key], [...place, key])
    reader.text(assignment.filterString, [...place, 'filterString'])
    if (assignment.operation !== 'EQ') throw reader.fail([...place, 'operation'], 'must be EQ.')
    if (!['ANYWHERE', 'START', 'END'].includes(assignment.matchMode)) {
      throw reader.fail([...place, 'matchMode'], 'must be ANYWHERE, START or END.')
    }
    return assignment
  })
  const names = account?.attributes.map(({ name }) => name) ?? given.map((one) => one.value)
  return checked(reader, path, () => checkedAssignments(given, names))
}

function texts(reader: Reader, value: unknown, path: Place): readonly string[] {
  return reader.list(value, path).map((one, index) => reader.text(one, [...path, index]))
}

function checkTwice(
  things: readonly { readonly name: string }[],
  path: Place,
  fail: Fail,
  what: string,
): void {
  const seen = new Set<string>()
  for (const [index, { name }] of things.entries()) {
    const key = name.toLowerCase()
    if (seen.has(key)) throw fail([...path, index], `there is already a ${what} "${name}".`)
    seen.add(key)
  }
}

/** Attributes refer to schemas that the source has. */
function checkReferences(schemas: readonly SchemaConfiguration[], path: Place, fail: Fail): void {
  for (const [index, schema] of schemas.entries()) {
    for (const [place, attribute] of schema.attributes.entries()) {
      const { schema: named } = attribute
      if (named === null || schemas.some((one) => one.name === named)) continue
      throw fail([...path, index, 'attributes', place, 'schema'], `there is no schema "${named}".`)
    }
  }
}
