// Discovery: what differs between the schemas that a source has and those that its system describes, as a proposal.
// Nothing is applied here; what a person wants of it goes by the usual calls for schemas.
import type { DescribedAttribute, DescribedSchema } from './description.ts'
import { patchLimit } from './json-patch.ts'
import { attribute } from './schema.ts'
import type { AttributeDefinition, AttributeType, Schema } from './schema.ts'

/** One step of a JSON Patch (RFC 6902). */
export interface ProposedStep {
  readonly op: 'add' | 'replace' | 'test'
  readonly path: string
  readonly value: unknown
}

/** What an attribute can differ in. */
interface Kind {
  readonly type: AttributeType
  readonly isMulti: boolean
}

/** An attribute that the system describes in another way than the schema. */
export interface ChangedAttribute {
  readonly name: string
  readonly before: Kind
  readonly after: Kind
}

/** What a system says of one schema of its source. */
export interface SchemaProposal {
  readonly name: string
  /** The schema that the source has; null when it has none of this name. */
  readonly schemaId: string | null
  /** Attributes that the schema lacks. */
  readonly added: readonly DescribedAttribute[]
  readonly changed: readonly ChangedAttribute[]
  /** Attributes that the system does not describe; to remove them is for a person to decide. */
  readonly missing: readonly string[]
  /** For `PATCH /sources/{id}/schemas/{schemaId}`: adds and changes, removes nothing. */
  readonly patch: readonly ProposedStep[]
}

/** Holds what the system describes against what the source has. */
export function proposeSchema(kept: Schema | null, described: DescribedSchema): SchemaProposal {
  const { name } = described
  if (kept === null) {
    const added = additions(described, [])
    return { name, schemaId: null, added, changed: [], missing: [], patch: [] }
  }
  const byNativeName = new Map(
    kept.attributes.map((one, index) => [nativeKey(one), { one, index }]),
  )
  const changes: { readonly index: number; readonly change: ChangedAttribute }[] = []
  const found = new Set<AttributeDefinition>()
  for (const wanted of described.attributes) {
    const match = byNativeName.get(wanted.name.toLowerCase())
    if (match === undefined || found.has(match.one)) continue
    found.add(match.one)
    const change = differenceOf(match.one, wanted, kept)
    if (change !== null) changes.push({ index: match.index, change })
  }
  const taken = kept.attributes.flatMap((one) => [one.name.toLowerCase(), nativeKey(one)])
  const added = additions(described, taken)
  const missing = kept.attributes.filter((one) => !found.has(one)).map((one) => one.name)
  const changed = changes.map(({ change }) => change)
  const steps = [
    ...changes.flatMap(({ index, change }) => changeSteps(index, change)),
    ...added.map((one) => step('add', '/attributes/-', definitionOf(one))),
  ]
  const patch = steps.length > patchLimit ? wholePatch(kept, changed, added) : steps
  return { name, schemaId: kept.id, added, changed, missing, patch }
}

/** A described attribute as a schema keeps it. */
export function definitionOf(described: DescribedAttribute): AttributeDefinition {
  const { name, type, description, isMulti, isEntitlement } = described
  return attribute(name, { type, description, isMulti, isEntitlement })
}

/**
 * The attribute of an account that names its groups, where there is a schema of groups: the one that is usually called
 * so, or the only one with entitlements; null when that cannot be told.
 */
export function groupAttribute(account: DescribedSchema): string | null {
  const entitlements = account.attributes.filter((one) => one.isEntitlement)
  const usual = entitlements.find(({ name }) => /^(?:groups?|memberof)$/i.test(name))
  return usual?.name ?? (entitlements.length === 1 ? (entitlements[0]?.name ?? null) : null)
}

function nativeKey({ name, nativeName }: AttributeDefinition): string {
  return (nativeName === null || nativeName === '' ? name : nativeName).toLowerCase()
}

function differenceOf(
  kept: AttributeDefinition,
  described: DescribedAttribute,
  schema: Schema,
): ChangedAttribute | null {
  const before: Kind = { type: kept.type, isMulti: kept.isMulti }
  // A native identity has one value, whatever the system allows.
  const isMulti = kept.name === schema.identityAttribute ? kept.isMulti : described.isMulti
  const after: Kind = { type: described.type, isMulti }
  if (before.type === after.type && before.isMulti === after.isMulti) return null
  return { name: kept.name, before, after }
}

/** What a schema can take of the described attributes besides those of the `taken` names, in lower case. */
function additions(
  described: DescribedSchema,
  taken: readonly string[],
): readonly DescribedAttribute[] {
  // The names of a schema may not differ in case alone.
  const names = new Set([...taken, '__proto__', 'constructor', 'prototype', ''])
  return described.attributes.filter(({ name }) => {
    const folded = name.toLowerCase()
    if (names.has(folded) || name !== name.trim() || name.length > 256) return false
    names.add(folded)
    return true
  })
}

/** Steps that change one attribute, and fail when another one stands in its place by now. */
function changeSteps(index: number, { name, before, after }: ChangedAttribute): ProposedStep[] {
  const path = `/attributes/${index}`
  return [
    step('test', `${path}/name`, name),
    ...(['type', 'isMulti'] as const)
      .filter((key) => before[key] !== after[key])
      .map((key) => step('replace', `${path}/${key}`, after[key])),
  ]
}

/** The same in two steps, where single ones would be more than a patch may have. */
function wholePatch(
  kept: Schema,
  changed: readonly ChangedAttribute[],
  added: readonly DescribedAttribute[],
): readonly ProposedStep[] {
  const after = new Map(changed.map((one) => [one.name, one.after]))
  const attributes = kept.attributes.map((one) => ({ ...one, ...after.get(one.name) }))
  return [
    step('test', '/attributes', kept.attributes),
    step('replace', '/attributes', [...attributes, ...added.map(definitionOf)]),
  ]
}

function step(op: ProposedStep['op'], path: string, value: unknown): ProposedStep {
  return { op, path, value }
}
