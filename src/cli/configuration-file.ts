// The file of `muster export` and `muster apply`: configuration as YAML. What is wrong in one is named by its line and key.
import {
  defaultAssignment,
  defaultAttribute,
  defaultSchema,
  defaultThreshold,
  plainAttributes,
  type SourceConfiguration,
} from '../client/configuration.ts'
import { leadsTo } from '../client/configuration-order.ts'
import { connectorKind, sourceFeatures } from '../core/connector.ts'
import { checkedAssignments } from '../core/correlation-config.ts'
import {
  attributeDefaults,
  checkDirectAttributes,
  checkFileAttributes,
} from '../core/source-attributes.ts'
import {
  defaultSourceSettings,
  delimitedConnector,
  readModes,
  type SourceSettings,
  whenBusyChoices,
} from '../core/source.ts'
import { type Fail, type Members, openReader, type Reader } from './configuration-reader.ts'
import { fileVersion } from './configuration-text.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { parseYaml, type Place } from './located-yaml.ts'

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

const sourceKeys = [
  'name',
  'description',
  'connector',
  'type',
  'authoritative',
  'deleteThreshold',
  'category',
  'managerCorrelationMapping',
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
    managerCorrelationMapping: readMapping(reader, given, at('managerCorrelationMapping')),
    features:
      given['features'] === undefined
        ? null
        : readFeatures(reader, given['features'], at('features')),
    connectorAttributes: readAttributes(reader, given, path, account?.identityAttribute ?? null),
    settings: { ...readSettings(reader, given['settings'] ?? {}, at('settings'), connector) },
    correlation: readCorrelation(reader, given['correlation'] ?? [], at('correlation'), account),
    schemas,
  }
}

function readMapping(
  reader: Reader,
  source: Members,
  path: Place,
): SourceConfiguration['managerCorrelationMapping'] {
  const value = source['managerCorrelationMapping'] ?? null
  if (value === null) return null
  const keys = ['accountAttributeName', 'identityAttributeName']
  const given = reader.object(value, path, keys)
  const text = (key: string): string | null =>
    given[key] === undefined || given[key] === null ? null : reader.text(given[key], [...path, key])
  return {
    accountAttributeName: text('accountAttributeName'),
    identityAttributeName: text('identityAttributeName'),
  }
}

/** The features that a server takes: it would refuse others after parts of the source are changed. */
function readFeatures(reader: Reader, value: unknown, path: Place): readonly string[] {
  const features = reader.texts(value, path)
  const unknown = features.findIndex((feature) => !sourceFeatures.includes(feature))
  if (unknown === -1) return features
  throw reader.fail(
    [...path, unknown],
    `"${features[unknown] ?? ''}" is no feature.`,
    `Features are ${sourceFeatures.join(', ')}.`,
  )
}

function readSettings(
  reader: Reader,
  value: unknown,
  path: Place,
  connector: string,
): SourceSettings {
  const given = reader.object(value, path, Object.keys(defaultSourceSettings))
  const { whenBusy, readMode } = { ...defaultSourceSettings, ...given }
  const at = [...path, 'readMode']
  const settings = {
    whenBusy: reader.choice(whenBusy, [...path, 'whenBusy'], whenBusyChoices),
    readMode: reader.choice(readMode, at, readModes),
  }
  const said = { type: null, connectorClass: null, connectorId: null, connectorName: null }
  const kind = connectorKind({ connector, ...said }, [])
  if (settings.readMode !== 'delta' || kind.delta !== false) return settings
  const reason = kind.connectionType === 'file' ? 'files are' : `what ${connector} gives is`
  throw reader.fail(at, `must be full: ${reason} always whole.`)
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
    features: readFeatures(reader, given['features'] ?? [], at('features')),
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

/** Attributes refer to schemas that the source has, and none in a circle: no order could make them. */
function checkReferences(schemas: readonly SchemaConfiguration[], path: Place, fail: Fail): void {
  for (const [index, schema] of schemas.entries()) {
    for (const [place, attribute] of schema.attributes.entries()) {
      const { schema: named } = attribute
      if (named === null) continue
      const at = [...path, index, 'attributes', place, 'schema']
      if (!schemas.some((one) => one.name === named)) {
        throw fail(at, `there is no schema "${named}".`)
      }
      if (named === schema.name) throw fail(at, `the schema "${named}" refers to itself.`)
      if (leadsTo(schemas, named, schema.name)) {
        throw fail(at, `the schema "${named}" refers back to "${schema.name}".`)
      }
    }
  }
}
