// The schemas that a SCIM server describes (/ResourceTypes and /Schemas) become schemas of a source.
import type { DescribedAttribute, DescribedSchema } from '../core/description.ts'
import { RunError } from '../core/errors.ts'
import type { AttributeType } from '../core/schema.ts'
import type { ScimClient } from './scim-client.ts'
import { isAbsence } from './scim-config.ts'
import { isJsonObject, lookUp, type JsonObject } from './scim-json.ts'

const coreUser = 'urn:ietf:params:scim:schemas:core:2.0:User'
const coreGroup = 'urn:ietf:params:scim:schemas:core:2.0:Group'

/** Attributes whose values people ask for and review. */
const entitlements = new Set(['groups', 'roles', 'entitlements'])

/** More attributes than these are no schema of a person. */
const attributeLimit = 1000

interface ResourceType {
  readonly schema: string
  readonly extensions: readonly string[]
}

/** The account schema, and the group schema where there are groups. Throws `schemas_missing`. */
export async function discoverSchemas(
  client: ScimClient,
  signal: AbortSignal,
): Promise<readonly DescribedSchema[]> {
  const schemas = new Map<string, JsonObject>()
  for (const schema of await readList(client, '/Schemas', signal)) {
    const id = lookUp(schema, 'id')
    if (typeof id === 'string') schemas.set(id.toLowerCase(), schema)
  }
  const types = await readList(client, '/ResourceTypes', signal)
  const users = findType(types, '/Users', coreUser, schemas)
  const groups = findType(types, '/Groups', coreGroup, schemas)
  const account = flatten(users, schemas)
  if (account.length === 0) {
    throw new RunError('schemas_missing', 'The SCIM server does not describe its users.', {
      hint: 'Edit the schema of the source by hand: its attribute names are SCIM paths.',
    })
  }
  const accountSchema: DescribedSchema = {
    name: 'account',
    nativeObjectType: 'User',
    identityAttribute: 'id',
    displayAttribute: 'userName',
    attributes: account,
  }
  const group = flatten(groups, schemas)
  if (group.length === 0) return [accountSchema]
  return [
    accountSchema,
    {
      name: 'group',
      nativeObjectType: 'Group',
      identityAttribute: 'id',
      displayAttribute: 'displayName',
      attributes: group,
    },
  ]
}

/** What an endpoint of descriptions lists; nothing when it is not there. */
async function readList(
  client: ScimClient,
  path: string,
  signal: AbortSignal,
): Promise<readonly JsonObject[]> {
  try {
    const { body } = await client.get(path, new URLSearchParams(), signal)
    // Some servers give the list itself.
    const list = isJsonObject(body) ? lookUp(body, 'Resources') : body
    return Array.isArray(list) ? list.filter((item) => isJsonObject(item)) : []
  } catch (error) {
    if (isAbsence(error)) return []
    throw error
  }
}

/** The type of an endpoint; without a description of types its usual schema with every extension for it. */
function findType(
  types: readonly JsonObject[],
  endpoint: string,
  core: string,
  schemas: ReadonlyMap<string, JsonObject>,
): ResourceType {
  const type = types.find((candidate) => {
    const given = lookUp(candidate, 'endpoint')
    return typeof given === 'string' && given.replace(/\/$/, '').endsWith(endpoint)
  })
  if (type === undefined) {
    const suffix = core.slice(core.lastIndexOf(':')).toLowerCase()
    const extensions = [...schemas.keys()].filter(
      (id) => id.includes(':extension:') && id.endsWith(suffix),
    )
    return { schema: core, extensions }
  }
  const schema = lookUp(type, 'schema')
  const extensions = lookUp(type, 'schemaExtensions')
  return {
    schema: typeof schema === 'string' ? schema : core,
    extensions: (Array.isArray(extensions) ? extensions : [])
      .map((extension: unknown) => (isJsonObject(extension) ? lookUp(extension, 'schema') : null))
      .filter((id) => typeof id === 'string'),
  }
}

function flatten(
  type: ResourceType,
  schemas: ReadonlyMap<string, JsonObject>,
): readonly DescribedAttribute[] {
  const core = schemas.get(type.schema.toLowerCase())
  if (core === undefined) return []
  const found = new Map<string, DescribedAttribute>()
  const add = (attribute: DescribedAttribute): void => {
    if (found.size < attributeLimit && !found.has(attribute.name)) {
      found.set(attribute.name, attribute)
    }
  }
  // Every resource has them, and most servers do not describe them.
  add(plain('id', 'The id that the server gave.'))
  add(plain('externalId', 'The id that a client gave.'))
  for (const attribute of attributesOf(core)) describeAttribute(attribute, '').forEach(add)
  for (const id of type.extensions) {
    const extension = schemas.get(id.toLowerCase())
    if (extension === undefined) continue
    const urn = lookUp(extension, 'id')
    const prefix = `${typeof urn === 'string' ? urn : id}:`
    for (const attribute of attributesOf(extension)) {
      describeAttribute(attribute, prefix).forEach(add)
    }
  }
  return [...found.values()]
}

function attributesOf(schema: JsonObject, name = 'attributes'): readonly JsonObject[] {
  const attributes = lookUp(schema, name)
  return Array.isArray(attributes) ? attributes.filter((item) => isJsonObject(item)) : []
}

/** One attribute of the server as attributes of a source: a complex one is taken apart, a list of values is one. */
function describeAttribute(attribute: JsonObject, prefix: string): readonly DescribedAttribute[] {
  const name = lookUp(attribute, 'name')
  if (typeof name !== 'string' || name === '' || isHidden(attribute)) return []
  const path = `${prefix}${name}`
  const isMulti = lookUp(attribute, 'multiValued') === true
  const inner = attributesOf(attribute, 'subAttributes').filter((item) => !isHidden(item))
  const isComplex = lookUp(attribute, 'type') === 'complex'
  const value = inner.find((item) => String(lookUp(item, 'name')).toLowerCase() === 'value')
  if (!isComplex || (isMulti && value !== undefined)) {
    return [
      {
        name: path,
        description: readDescription(attribute),
        type: typeOf(value ?? attribute),
        isMulti,
        isEntitlement: prefix === '' && entitlements.has(name),
      },
    ]
  }
  return inner.flatMap((item) => {
    const innerName = lookUp(item, 'name')
    // A reference to a resource says what the id beside it says.
    if (typeof innerName !== 'string' || innerName === '$ref') return []
    if (isMulti && /^(type|primary)$/i.test(innerName)) return []
    return [
      {
        name: `${path}.${innerName}`,
        description: readDescription(item),
        type: typeOf(item),
        isMulti: isMulti || lookUp(item, 'multiValued') === true,
        isEntitlement: false,
      },
    ]
  })
}

/** What can be written and never read: passwords. */
function isHidden(attribute: JsonObject): boolean {
  return (
    lookUp(attribute, 'returned') === 'never' || lookUp(attribute, 'mutability') === 'writeOnly'
  )
}

function typeOf(attribute: JsonObject): AttributeType {
  switch (lookUp(attribute, 'type')) {
    case 'integer':
      return 'INT'
    case 'boolean':
      return 'BOOLEAN'
    case 'dateTime':
      return 'DATE'
    default:
      return 'STRING'
  }
}

function readDescription(attribute: JsonObject): string | null {
  const text = lookUp(attribute, 'description')
  return typeof text === 'string' && text.trim() !== '' ? text.trim().slice(0, 500) : null
}

function plain(name: string, description: string): DescribedAttribute {
  return { name, description, type: 'STRING', isMulti: false, isEntitlement: false }
}
