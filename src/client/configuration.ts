// The configuration of a server as values: its sources with settings, schemas and correlation, without what differs from server to server.
import { correlationConfigName } from '../core/correlation-config.ts'
import { attributeDefaults, mirroredAttributes } from '../core/source-attributes.ts'
import { defaultSourceSettings } from '../core/source.ts'
import type { Client } from './client.ts'
import type {
  AttributeDefinition,
  CorrelationAssignment,
  ManagerCorrelationMapping,
  Schema,
  Source,
} from './models.ts'

type Attributes = Readonly<Record<string, unknown>>

/** A schema without ids. Attributes refer to other schemas of the source by their names. */
export interface SchemaConfiguration {
  readonly name: string
  readonly nativeObjectType: string
  readonly identityAttribute: string
  readonly displayAttribute: string
  readonly hierarchyAttribute: string
  readonly includePermissions: boolean
  readonly features: readonly string[]
  readonly configuration: Attributes
  readonly attributes: readonly AttributeConfiguration[]
}

export interface AttributeConfiguration {
  readonly name: string
  readonly nativeName: string | null
  readonly type: string
  /** The name of the schema that its values are objects of; null for most. */
  readonly schema: string | null
  readonly description: string
  readonly isMulti: boolean
  readonly isEntitlement: boolean
  readonly isGroup: boolean
}

/** A source, every default written out. */
export interface SourceConfiguration {
  readonly name: string
  readonly description: string | null
  readonly connector: string
  /** Null where nothing is said of it; it follows from the connector. */
  readonly type: string | null
  readonly authoritative: boolean
  readonly deleteThreshold: number
  readonly category: string | null
  readonly managerCorrelationMapping: ManagerCorrelationMapping | null
  /** Null where nothing is said of them; those of the connector stay. */
  readonly features: readonly string[] | null
  /** Without what the server mirrors or writes itself, and without what is as it is unless set. */
  readonly connectorAttributes: Attributes
  readonly settings: Attributes
  readonly correlation: readonly CorrelationAssignment[]
  /** Null where nothing is said of them. */
  readonly schemas: readonly SchemaConfiguration[] | null
}

/** A source of a server: its configuration, and what is needed to change it. */
export interface CurrentSource {
  readonly id: string
  readonly configuration: SourceConfiguration
  readonly schemas: readonly Schema[]
  readonly connectionType: string
}

/** Keys of connectorAttributes that the server writes: they are no configuration. */
export const ownAttributes: readonly string[] = [
  ...mirroredAttributes,
  'cloudExternalId',
  'deltaAggregation',
]

export const defaultThreshold = 10
export const defaultSettings: Attributes = { ...defaultSourceSettings }
export const defaultSchema: Omit<SchemaConfiguration, 'name' | 'attributes'> = {
  nativeObjectType: '',
  identityAttribute: '',
  displayAttribute: '',
  hierarchyAttribute: '',
  includePermissions: false,
  features: [],
  configuration: {},
}
export const defaultAttribute: Omit<AttributeConfiguration, 'name'> = {
  nativeName: null,
  type: 'STRING',
  schema: null,
  description: '',
  isMulti: false,
  isEntitlement: false,
  isGroup: false,
}
export const defaultAssignment: Omit<CorrelationAssignment, 'property' | 'value'> = {
  operation: 'EQ',
  complex: false,
  ignoreCase: false,
  matchMode: 'ANYWHERE',
  filterString: '',
}

/** Reads all sources that the caller may see, by name. */
export async function readConfiguration(client: Client): Promise<readonly CurrentSource[]> {
  const sources: Source[] = []
  for (let offset = 0; ; offset += 250) {
    const { items } = await client.sources.list({ limit: 250, offset, sorters: 'id' })
    sources.push(...items)
    if (items.length < 250) break
  }
  const found: CurrentSource[] = []
  for (const source of sources) found.push(await readSource(client, source))
  return found.toSorted((a, b) => compareTexts(a.configuration.name, b.configuration.name))
}

/** Reads one source whole. */
export async function readSource(client: Client, source: Source): Promise<CurrentSource> {
  const schemas = await client.schemas.list(source.id)
  const settings = await client.sources.settings(source.id)
  const correlation = await client.sources.correlationConfig(source.id)
  const connectionType = source.connectionType ?? 'direct'
  const account = schemas.find(({ name }) => name === 'account')
  return {
    id: source.id,
    schemas,
    connectionType,
    configuration: {
      name: source.name,
      description: source.description ?? null,
      connector: source.connector,
      type: source.type ?? null,
      authoritative: source.authoritative ?? false,
      deleteThreshold: source.deleteThreshold ?? defaultThreshold,
      category: source.category ?? null,
      managerCorrelationMapping: mappingOf(source.managerCorrelationMapping ?? null),
      features: source.features ?? [],
      connectorAttributes: plainAttributes(
        source.connectorAttributes ?? {},
        attributeDefaults(connectionType, source.type ?? ''),
        account?.identityAttribute ?? null,
      ),
      settings: { ...settings },
      correlation: (correlation.attributeAssignments ?? []).map(assignmentOf),
      schemas: schemas
        .map((schema) => schemaOf(schema))
        .toSorted((a, b) => compareTexts(a.name, b.name)),
    },
  }
}

/**
 * The attributes that say something: not those of the server itself, not defaults, and no index column that is the
 * identity attribute, which it follows.
 */
export function plainAttributes(
  attributes: Attributes,
  defaults: Attributes,
  identityAttribute: string | null,
): Attributes {
  return Object.fromEntries(
    Object.entries(attributes)
      .filter(([key, value]) => {
        if (ownAttributes.includes(key)) return false
        if (key === 'indexColumn' && (value === null || value === identityAttribute)) return false
        return !(Object.hasOwn(defaults, key) && sameJson(value, defaults[key]))
      })
      .toSorted(([a], [b]) => compareTexts(a, b)),
  )
}

/** A correlation configuration has this name unless it was given another, which is no configuration. */
export function correlationName(sourceName: string): string {
  return correlationConfigName(sourceName)
}

function schemaOf(schema: Schema): SchemaConfiguration {
  return {
    name: schema.name,
    nativeObjectType: schema.nativeObjectType ?? '',
    identityAttribute: schema.identityAttribute ?? '',
    displayAttribute: schema.displayAttribute ?? '',
    hierarchyAttribute: schema.hierarchyAttribute ?? '',
    includePermissions: schema.includePermissions ?? false,
    features: schema.features ?? [],
    configuration: schema.configuration ?? {},
    attributes: schema.attributes.map(attributeOf),
  }
}

function attributeOf(given: AttributeDefinition): AttributeConfiguration {
  return {
    name: given.name,
    nativeName: given.nativeName ?? null,
    type: given.type ?? 'STRING',
    schema: given.schema?.name ?? null,
    description: given.description ?? '',
    isMulti: given.isMulti ?? false,
    isEntitlement: given.isEntitlement ?? false,
    isGroup: given.isGroup ?? false,
  }
}

function mappingOf(given: ManagerCorrelationMapping | null): ManagerCorrelationMapping | null {
  if (given === null) return null
  const { accountAttributeName, identityAttributeName } = given
  return { accountAttributeName, identityAttributeName }
}

function assignmentOf(given: Partial<CorrelationAssignment>): CorrelationAssignment {
  const { property = '', value = '' } = given
  const { operation, complex, ignoreCase, matchMode, filterString } = {
    ...defaultAssignment,
    ...given,
  }
  return { property, value, operation, complex, ignoreCase, matchMode, filterString }
}

/** Whether two JSON values are the same; the order of keys means nothing. */
export function sameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))
}

/** A JSON value with the keys of its objects in order. */
export function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => compareTexts(a, b))
      .map(([key, item]: [string, unknown]) => [key, sorted(item)] as const),
  )
}

/** By UTF-16 code units, the same in every locale. */
export function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
