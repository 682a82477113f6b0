// Discovery: what differs between the schemas that a source has and those that its system describes, as a proposal.
// Nothing is applied here; what a person wants of it goes by the usual calls for schemas.
import type { DescribedAttribute, DescribedSchema } from './description.ts'
import { patchLimit } from './json-patch.ts'
import { attribute } from './schema.ts'
import type { AttributeDefinition, AttributeType, Schema } from './schema.ts'

/** One step of a JSON Patch (RFC 6902). */
export interface ProposedStep {
  readonly op: 'add' | 'replace' | 'test' | 'remove'
  readonly path: string
  readonly value?: unknown
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

/** The identity or the name of an account is another attribute than the schema says. */
export interface ChangedRole {
  readonly role: 'identityAttribute' | 'displayAttribute'
  readonly before: string | null
  readonly after: string
}

/** What a system says of one schema of its source. */
export interface SchemaProposal {
  readonly name: string
  /** The schema that the source has; null when it has none of this name. */
  readonly schemaId: string | null
  /** Attributes that the schema lacks. */
  readonly added: readonly DescribedAttribute[]
  readonly changed: readonly ChangedAttribute[]
  /** Roles whose attribute the system does not describe, and the one that it says has this role. */
  readonly roles: readonly ChangedRole[]
  /** Attributes that the system does not describe; to remove them is for a person to decide. */
  readonly missing: readonly string[]
  /** For `PATCH /sources/{id}/schemas/{schemaId}`: adds and changes, removes nothing. */
  readonly patch: readonly ProposedStep[]
  /** As a patch after that one: removes what is missing. */
  readonly removal: readonly ProposedStep[]
}

/** Holds what the system describes against what the source has. */
export function proposeSchema(kept: Schema | null, described: DescribedSchema): SchemaProposal {
  const { name } = described
  if (kept === null) {
    const added = additions(described, [])
    return { name, schemaId: null, ...nothing, added }
  }
  const byNativeName = new Map(
    kept.attributes.map((one, index) => [nativeKey(one), { one, index }]),
  )
  const found = new Map<string, AttributeDefinition>()
  const changes: { readonly index: number; readonly change: ChangedAttribute }[] = []
  for (const wanted of described.attributes) {
    const key = wanted.name.toLowerCase()
    const match = byNativeName.get(key)
    if (match === undefined || found.has(key)) continue
    found.set(key, match.one)
    const change = differenceOf(match.one, wanted, kept)
    if (change !== null) changes.push({ index: match.index, change })
  }
  const taken = kept.attributes.flatMap((one) => [one.name.toLowerCase(), nativeKey(one)])
  const added = additions(described, taken)
  const present = new Set(found.values())
  const missing = kept.attributes.filter((one) => !present.has(one)).map((one) => one.name)
  const changed = changes.map(({ change }) => change)
  const roles = changedRoles(kept, described, missing, (native) => {
    const match = found.get(native.toLowerCase())
    return match?.name ?? added.find((one) => one.name === native)?.name ?? null
  })
  const roleSteps = roles.map(({ role, after }) => step('replace', `/${role}`, after))
  const steps = [
    ...changes.flatMap(({ index, change }) => changeSteps(index, change)),
    ...added.map((one) => step('add', '/attributes/-', definitionOf(one))),
    ...roleSteps,
  ]
  const patch =
    steps.length > patchLimit ? [...wholePatch(kept, changed, added), ...roleSteps] : steps
  const removal = removalSteps(kept, missing, roles)
  return { name, schemaId: kept.id, added, changed, roles, missing, patch, removal }
}

const nothing = { changed: [], roles: [], missing: [], patch: [], removal: [] }

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

/** Roles whose attribute is not in the system, where the system names one; `nameOf` is its name in the schema. */
function changedRoles(
  kept: Schema,
  described: DescribedSchema,
  missing: readonly string[],
  nameOf: (native: string) => string | null,
): readonly ChangedRole[] {
  return (['identityAttribute', 'displayAttribute'] as const).flatMap((role) => {
    const before = kept[role]
    // A source may do without a name, but not without an identity.
    const isGone = before === null ? role === 'identityAttribute' : missing.includes(before)
    const after = isGone ? nameOf(described[role]) : null
    return after === null ? [] : [{ role, before, after }]
  })
}

/** From the last to the first, so that the places of the others stay. What still has a role cannot go. */
function removalSteps(
  kept: Schema,
  missing: readonly string[],
  roles: readonly ChangedRole[],
): readonly ProposedStep[] {
  const changed = roles.map(({ role }) => role)
  const needed = [
    ...(['identityAttribute', 'displayAttribute'] as const)
      .filter((role) => !changed.includes(role))
      .map((role) => kept[role]),
    kept.hierarchyAttribute,
  ]
  return kept.attributes
    .map(({ name }, index) => ({ name, index }))
    .filter(({ name }) => missing.includes(name) && !needed.includes(name))
    .toReversed()
    .slice(0, patchLimit / 2)
    .flatMap(({ name, index }) => [
      step('test', `/attributes/${index}/name`, name),
      { op: 'remove', path: `/attributes/${index}` } as const,
    ])
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
