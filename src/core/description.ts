// What a connector says of itself before anybody opens it, and the schemas that it proposes.
import type { AttributeType } from './schema.ts'

/** An attribute as a connector or its system describes it. */
export interface DescribedAttribute {
  readonly name: string
  readonly type: AttributeType
  readonly description: string | null
  readonly isMulti: boolean
  readonly isEntitlement: boolean
}

/** A schema as a connector or its system describes it. */
export interface DescribedSchema {
  /** `account` or `group`. */
  readonly name: string
  readonly nativeObjectType: string
  readonly identityAttribute: string
  readonly displayAttribute: string
  readonly attributes: readonly DescribedAttribute[]
}

/** A kind of connector. */
export interface ConnectorDescription {
  /** The value of `connector` of its sources. */
  readonly name: string
  /** What clients read as `connectorName`. */
  readonly displayName: string
  /** What its sources can do, from the list in core/connector.ts. */
  readonly features: readonly string[]
  /** The schemas that a new source gets. */
  readonly schemas: readonly DescribedSchema[]
  /** Whether identities that differ only in case are the same. */
  readonly foldsCase: boolean
  /** Whether its reader can give only what changed. */
  readonly delta: boolean
}

/** An attribute with the usual values for what is not given. */
export function describe(
  name: string,
  description: string,
  given: Partial<Omit<DescribedAttribute, 'name' | 'description'>> = {},
): DescribedAttribute {
  return { name, description, type: 'STRING', isMulti: false, isEntitlement: false, ...given }
}
