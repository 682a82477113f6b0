// The wire model of a schema, and what a client may say of one (contract.md section 2.3).
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { sourceFeatures } from '../core/connector.ts'
import { RequestError } from '../core/errors.ts'
import { attribute, attributeTypes } from '../core/schema.ts'
import type { AttributeDefinition, AttributeType, Schema } from '../core/schema.ts'
import type { SchemaDraft } from '../store/schemas.ts'
import { GivenReference, Instant, nullable, Reference } from './shapes.ts'

const AttributeTypeShape = Type.Unsafe<AttributeType>(
  Type.Union(attributeTypes.map((type) => Type.Literal(type))),
)

export const SchemaModel = Type.Object({
  id: Type.String(),
  name: Type.String(),
  nativeObjectType: Type.String(),
  identityAttribute: Type.String({ description: 'Empty when there is none.' }),
  displayAttribute: Type.String({ description: 'Empty when there is none.' }),
  hierarchyAttribute: nullable(Type.String()),
  includePermissions: Type.Boolean(),
  features: Type.Array(Type.String()),
  configuration: Type.Record(Type.String(), Type.Unknown()),
  attributes: Type.Array(
    Type.Object({
      name: Type.String(),
      nativeName: nullable(Type.String()),
      type: AttributeTypeShape,
      schema: nullable(Reference),
      description: Type.String(),
      isMulti: Type.Boolean(),
      isEntitlement: Type.Boolean(),
      isGroup: Type.Boolean(),
    }),
  ),
  created: Instant,
  modified: nullable(Instant),
})
export type SchemaModel = Static<typeof SchemaModel>

const name = Type.String({ minLength: 1, maxLength: 256 })
const OptionalName = Type.Optional(nullable(Type.String({ maxLength: 256 })))
const OptionalFlag = Type.Optional(nullable(Type.Boolean()))
const OptionalText = Type.Optional(nullable(Type.String({ maxLength: 10_000 })))

export const SchemaBody = Type.Object({
  id: OptionalName,
  name,
  nativeObjectType: OptionalName,
  identityAttribute: OptionalName,
  displayAttribute: OptionalName,
  hierarchyAttribute: OptionalName,
  includePermissions: OptionalFlag,
  features: Type.Optional(nullable(Type.Array(Type.String(), { maxItems: 250 }))),
  configuration: Type.Optional(nullable(Type.Record(Type.String(), Type.Unknown()))),
  // Not nullable: of a failed union the validator names only the outermost member.
  attributes: Type.Optional(
    Type.Array(
      Type.Object({
        name,
        nativeName: OptionalName,
        type: Type.Optional(AttributeTypeShape),
        schema: Type.Optional(nullable(GivenReference)),
        description: OptionalText,
        isMulti: OptionalFlag,
        isEntitlement: OptionalFlag,
        isGroup: OptionalFlag,
      }),
      // PostgreSQL has no such limit; a file with more columns than this is a mistake of the delimiter.
      { maxItems: 2_000 },
    ),
  ),
  created: OptionalName,
  modified: OptionalName,
})
export type SchemaBody = Static<typeof SchemaBody>

/** A schema as clients read it. In ISC some of its texts are never null, so what is not there is an empty text. */
export function schemaModel(schema: Schema): SchemaModel {
  return {
    id: schema.id,
    name: schema.name,
    nativeObjectType: schema.nativeObjectType ?? '',
    identityAttribute: schema.identityAttribute ?? '',
    displayAttribute: schema.displayAttribute ?? '',
    hierarchyAttribute: schema.hierarchyAttribute,
    includePermissions: schema.includePermissions,
    features: [...schema.features],
    configuration: schema.configuration,
    attributes: schema.attributes.map((one) => ({ ...one, description: one.description ?? '' })),
    created: schema.created,
    modified: schema.modified,
  }
}

/** What is kept of a body. `others` are the other schemas of the source. Throws `bad_request` naming what is wrong. */
export function schemaDraft(body: SchemaBody, others: readonly Schema[]): SchemaDraft {
  const attributes = (body.attributes ?? []).map((given) => definition(given, body, others))
  checkNames(attributes.map((one) => one.name))
  const draft: SchemaDraft = {
    name: body.name,
    nativeObjectType: textOrNull(body.nativeObjectType),
    identityAttribute: textOrNull(body.identityAttribute),
    displayAttribute: textOrNull(body.displayAttribute),
    hierarchyAttribute: textOrNull(body.hierarchyAttribute),
    includePermissions: body.includePermissions ?? false,
    features: body.features ?? [],
    configuration: body.configuration ?? {},
    attributes,
  }
  for (const key of ['identityAttribute', 'displayAttribute', 'hierarchyAttribute'] as const) {
    checkMember(key, draft[key], attributes)
  }
  checkIdentity(draft)
  const unknown = draft.features.find((feature) => !sourceFeatures.includes(feature))
  if (unknown !== undefined) {
    throw new RequestError('bad_request', `"${unknown.slice(0, 60)}" is no feature of a schema.`)
  }
  return draft
}

function textOrNull(text: string | null | undefined): string | null {
  return text === undefined || text === '' ? null : text
}

type GivenAttribute = NonNullable<SchemaBody['attributes']>[number]

function definition(
  given: GivenAttribute,
  body: SchemaBody,
  others: readonly Schema[],
): AttributeDefinition {
  const isEntitlement = given.isEntitlement ?? false
  const isGroup = given.isGroup ?? false
  const reference = given.schema ?? null
  const target = reference === null ? null : referenced(reference, others)
  if (reference !== null && target === null) {
    throw new RequestError(
      'bad_request',
      `The attribute "${given.name}" refers to a schema that this source does not have.`,
      { hint: 'Make the group schema first, and give its id here.' },
    )
  }
  if (isGroup && (!isEntitlement || target === null || body.name !== 'account')) {
    throw new RequestError(
      'bad_request',
      `The attribute "${given.name}" has isGroup, which needs isEntitlement and a group schema, in the account schema.`,
      { hint: 'Make the group schema first, then set isEntitlement, schema and isGroup together.' },
    )
  }
  return attribute(given.name, {
    nativeName: given.nativeName ?? null,
    type: given.type ?? 'STRING',
    schema: target === null ? null : { type: 'CONNECTOR_SCHEMA', id: target.id, name: target.name },
    description: textOrNull(given.description),
    isMulti: given.isMulti ?? false,
    isEntitlement,
    isGroup,
  })
}

/** The schema that a reference means: by its id, or by its name where it has no id. */
function referenced(
  reference: Static<typeof GivenReference>,
  others: readonly Schema[],
): Schema | null {
  const { id, name: wanted } = reference
  if (id !== undefined && id !== null) return others.find((schema) => schema.id === id) ?? null
  return others.find((schema) => schema.name === wanted) ?? null
}

function checkNames(names: readonly string[]): void {
  const seen = new Map<string, string>()
  for (const one of names) {
    if (one === '__proto__' || one === 'constructor' || one === 'prototype') {
      throw new RequestError('bad_request', `An attribute must not be named "${one}".`)
    }
    if (one !== one.trim()) {
      throw new RequestError(
        'bad_request',
        `The attribute name "${one}" begins or ends with space.`,
      )
    }
    const former = seen.get(one.toLowerCase())
    if (former !== undefined) {
      throw new RequestError(
        'bad_request',
        former === one
          ? `The attribute "${one}" is defined twice.`
          : `The attributes "${former}" and "${one}" differ only in case.`,
      )
    }
    seen.set(one.toLowerCase(), one)
  }
}

function checkMember(
  key: string,
  wanted: string | null,
  attributes: readonly AttributeDefinition[],
): void {
  if (wanted === null || attributes.some((one) => one.name === wanted)) return
  throw new RequestError(
    'bad_request',
    `${key} is "${wanted}", which is none of the attributes of the schema.`,
    { hint: 'Define that attribute, or name one that is defined.' },
  )
}

function checkIdentity(draft: SchemaDraft): void {
  const identity = draft.attributes.find((one) => one.name === draft.identityAttribute)
  if (identity?.isMulti === true) {
    throw new RequestError(
      'bad_request',
      `The identity attribute "${identity.name}" must have one value, not several.`,
    )
  }
}
