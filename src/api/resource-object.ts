// An object of a system as peek-resource-objects shows it: what a run would read, in the shape of the contract (section 2.11).
import { Type } from 'typebox'
import type { Static } from 'typebox'
import type { ReadRecord, ReadValue } from '../connect/reader.ts'
import type { AttributeDefinition, Schema } from '../core/schema.ts'

/** Clients of ISC know no null here; what is not known is left out. */
export const ResourceObject = Type.Object(
  {
    identity: Type.String(),
    uuid: Type.Optional(Type.String()),
    name: Type.Optional(Type.String()),
    objectType: Type.String(),
    incomplete: Type.Boolean(),
    incremental: Type.Boolean(),
    delete: Type.Boolean(),
    remove: Type.Boolean(),
    missing: Type.Array(Type.String()),
    attributes: Type.Record(Type.String(), Type.Unknown()),
    finalUpdate: Type.Boolean(),
  },
  { title: 'ResourceObject' },
)
export type ResourceObject = Static<typeof ResourceObject>

/** The object of a record. `attributes` names its values. */
export function resourceObject(
  record: ReadRecord,
  attributes: readonly string[],
  schema: Schema,
): ResourceObject {
  const definitions = new Map(schema.attributes.map((one) => [one.name, one]))
  const shown = attributes.flatMap((name, index) => {
    const value = shownValue(record.values[index] ?? null, definitions.get(name))
    return value === null ? [] : [[name, value] as const]
  })
  const values = Object.fromEntries(shown)
  const name = schema.displayAttribute === null ? undefined : values[schema.displayAttribute]
  return {
    identity: record.identity,
    ...(record.key === undefined ? {} : { uuid: record.key }),
    ...(typeof name === 'string' ? { name } : {}),
    objectType: schema.name,
    incomplete: false,
    incremental: false,
    delete: record.deleted ?? false,
    remove: false,
    missing: [],
    attributes: {
      ...values,
      // What ISC itself calls the two states of an account.
      ...(record.disabled === undefined ? {} : { IIQDisabled: record.disabled }),
      ...(record.locked === undefined ? {} : { IIQLocked: record.locked }),
    },
    finalUpdate: false,
  }
}

/** As the system gave it, but a list where the schema has one and none where it has not. */
function shownValue(
  value: ReadValue,
  definition: AttributeDefinition | undefined,
): string | readonly string[] | null {
  if (value === null) return null
  if (definition?.isMulti === true) return typeof value === 'string' ? [value] : value
  return typeof value === 'string' ? value : (value[0] ?? null)
}
