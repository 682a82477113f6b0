// What a connector says of itself: its specification, and the schemas of its accounts and entitlements.
import type { DescribedAttribute, DescribedSchema } from '../core/description.ts'
import type { AttributeType } from '../core/schema.ts'
import { recordError } from './saas-errors.ts'

type Members = Readonly<Record<string, unknown>>

/** What counts of a specification (connector-spec.json). */
export interface Specification {
  readonly name: string | null
  readonly keyType: 'simple' | 'compound'
  readonly commands: readonly string[]
  readonly stateful: boolean
  readonly accountSchema: unknown
  readonly entitlementSchemas: readonly unknown[]
}

/** Reads the answer of `std:spec:read`. */
export function readSpecification(data: unknown): Specification {
  const specification = members(members(data)['specification'])
  const { name, keyType, commands, supportsStatefulCommands, entitlementSchemas } = specification
  return {
    name: typeof name === 'string' ? name : null,
    keyType: keyType === 'compound' ? 'compound' : 'simple',
    commands: texts(commands),
    stateful: supportsStatefulCommands === true,
    accountSchema: specification['accountSchema'] ?? null,
    entitlementSchemas: Array.isArray(entitlementSchemas) ? entitlementSchemas : [],
  }
}

/** The schema of accounts as the SDK gives it; throws when it is none. */
export function describeAccounts(given: unknown): DescribedSchema {
  return describeSchema(given, 'account')
}

/** The schemas of entitlements in a specification. */
export function describeEntitlements(specification: Specification): readonly DescribedSchema[] {
  return specification.entitlementSchemas.map((given) => {
    const type = members(given)['type']
    return describeSchema(given, typeof type === 'string' && type !== '' ? type : 'group')
  })
}

function describeSchema(given: unknown, name: string): DescribedSchema {
  const { identityAttribute, displayAttribute, groupAttribute, attributes } = members(given)
  if (typeof identityAttribute !== 'string' || !Array.isArray(attributes)) {
    throw recordError(`sent a schema of "${name}" without an identity attribute or attributes`)
  }
  return {
    name,
    nativeObjectType: name,
    identityAttribute,
    displayAttribute: typeof displayAttribute === 'string' ? displayAttribute : identityAttribute,
    attributes: attributes.map((attribute: unknown) =>
      describeAttribute(attribute, groupAttribute),
    ),
  }
}

function describeAttribute(given: unknown, groupAttribute: unknown): DescribedAttribute {
  const { name, description, type, multi, entitlement } = members(given)
  if (typeof name !== 'string' || name === '') {
    throw recordError('sent a schema with an attribute without a name')
  }
  return {
    name,
    type: attributeType(type),
    description: typeof description === 'string' && description !== '' ? description : null,
    isMulti: multi === true,
    isEntitlement: entitlement === true || name === groupAttribute,
  }
}

/** The SDK writes its types in small letters; what is unknown is text. */
function attributeType(type: unknown): AttributeType {
  const word = typeof type === 'string' ? type.toUpperCase() : ''
  if (word === 'LONG' || word === 'INT' || word === 'BOOLEAN' || word === 'DATE') return word
  return word === 'INTEGER' ? 'INT' : 'STRING'
}

function members(value: unknown): Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Members)
    : {}
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}
