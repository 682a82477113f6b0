// Schemas: which attributes an account of a source may have, and which of them is what.

/** The types of contract.md section 2.3. */
export const attributeTypes = ['STRING', 'LONG', 'INT', 'BOOLEAN', 'DATE'] as const
export type AttributeType = (typeof attributeTypes)[number]

/** One attribute of a schema, in the shape of the wire. */
export interface AttributeDefinition {
  readonly name: string
  readonly nativeName: string | null
  readonly type: AttributeType
  readonly schema: { readonly type: string; readonly id: string; readonly name: string } | null
  readonly description: string | null
  readonly isMulti: boolean
  readonly isEntitlement: boolean
  readonly isGroup: boolean
}

/** A schema of a source as it is kept. `name` is `account`, `group` or another object type. */
export interface Schema {
  readonly id: string
  readonly sourceId: string
  readonly name: string
  readonly nativeObjectType: string | null
  readonly identityAttribute: string | null
  readonly displayAttribute: string | null
  readonly hierarchyAttribute: string | null
  readonly includePermissions: boolean
  readonly features: readonly string[]
  readonly configuration: Readonly<Record<string, unknown>>
  readonly attributes: readonly AttributeDefinition[]
  readonly created: string
  readonly modified: string | null
}

/** An attribute with the contract's defaults for all that is not given. */
export function attribute(
  name: string,
  given: Partial<Omit<AttributeDefinition, 'name'>> = {},
): AttributeDefinition {
  return {
    name,
    nativeName: null,
    type: 'STRING',
    schema: null,
    description: null,
    isMulti: false,
    isEntitlement: false,
    isGroup: false,
    ...given,
  }
}

/** The account schema that a new delimited source gets (contract.md sections 2.3 and 3.1). */
export const defaultDelimitedSchema = {
  nativeObjectType: 'User',
  identityAttribute: 'id',
  displayAttribute: 'name',
  attributes: [
    attribute('id', { description: 'The unique id of the account.' }),
    attribute('name', { description: 'The name of the account.' }),
    attribute('givenName', { description: 'The first name of the owner.' }),
    attribute('familyName', { description: 'The last name of the owner.' }),
    attribute('e-mail', { description: 'The mail address of the owner.' }),
    attribute('location', { description: 'Where the owner works.' }),
    attribute('manager', { description: 'The manager of the owner.' }),
    attribute('groups', {
      description: 'The groups of the account.',
      isMulti: true,
      isEntitlement: true,
    }),
    attribute('startDate', { description: 'The first day of the owner.' }),
    attribute('endDate', { description: 'The last day of the owner.' }),
  ],
} as const
