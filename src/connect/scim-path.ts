// Paths into SCIM resources: what an attribute of a schema stands for, and the values that a resource has there.
import { enterpriseUser } from '../core/scim-kind.ts'
import { settingError } from '../core/setting.ts'
import { isJsonObject, lookUp, type JsonObject } from './scim-json.ts'

interface Condition {
  readonly name: string
  readonly value: string
}

interface Step {
  readonly name: string
  /** The name in lower case: it may be the `type` of an item instead of a name. */
  readonly folded: string
  readonly conditions: readonly Condition[]
}

interface Place {
  /** The URN of an extension; null: the resource itself. */
  readonly extension: string | null
  readonly steps: readonly Step[]
}

/** A path that was understood. Its places are tried in order: the first whose extension is there counts. */
export type ScimPath = readonly Place[]

const coreSchema = /^urn:ietf:params:scim:schemas:core:2\.0:(user|group)$/i

/** Understands a path; throws `bad_setting` that names `key` when its brackets are not understood. */
export function parsePath(text: string, key: string): ScimPath {
  if (/^urn:/i.test(text)) return parseUrn(text, key)
  const short = /^enterprise\.(.+)$/i.exec(text)
  if (short?.[1] !== undefined) {
    return [{ extension: enterpriseUser, steps: parseSteps(short[1], key) }]
  }
  return [{ extension: null, steps: parseSteps(text, key) }]
}

/** The first name of each place: what of a resource the path looks at, in lower case. */
export function topNames(path: ScimPath): readonly string[] {
  return path.flatMap(({ extension, steps }) => {
    const first = steps[0]?.folded ?? ''
    return extension === null ? [first] : [`${extension.toLowerCase()}:${first}`]
  })
}

/** An extension ends at the last colon (RFC 7644, section 3.10); a dot after its name is usual too. */
function parseUrn(text: string, key: string): ScimPath {
  const bracket = text.indexOf('[')
  const colon = text.lastIndexOf(':', bracket === -1 ? undefined : bracket)
  const urn = text.slice(0, colon)
  const rest = text.slice(colon + 1)
  if (coreSchema.test(urn)) return [{ extension: null, steps: parseSteps(rest, key) }]
  const place = { extension: urn, steps: parseSteps(rest, key) }
  const dot = rest.indexOf('.')
  if (dot === -1) return [place]
  const longer = `${urn}:${rest.slice(0, dot)}`
  const steps = parseSteps(rest.slice(dot + 1), key)
  return [place, { extension: coreSchema.test(longer) ? null : longer, steps }]
}

function parseSteps(text: string, key: string): readonly Step[] {
  // Dots inside brackets or texts separate nothing.
  const parts = text.match(/(?:[^.["]|"[^"]*"|\[(?:[^\]"]|"[^"]*")*\])+/g) ?? []
  const steps = parts.map((part): Step | null => {
    const match = /^([^[\]]+)(?:\[(.*)\])?$/s.exec(part.trim())
    const name = match?.[1]
    if (name === undefined) return null
    const conditions = match?.[2] === undefined ? [] : parseConditions(match[2])
    return conditions === null ? null : { name, folded: name.toLowerCase(), conditions }
  })
  if (steps.length > 0 && parts.join('.') === text && steps.every((step) => step !== null)) {
    return steps
  }
  throw settingError(
    key,
    `has a path that is not understood: ${text.slice(0, 100)}`,
    'Write paths like name.familyName, emails.work.value or emails[type eq "work"].value.',
  )
}

function parseConditions(text: string): readonly Condition[] | null {
  const conditions: Condition[] = []
  for (const part of text.split(/\s+and\s+/i)) {
    const match = /^\s*([\w$-]+)\s+eq\s+(?:"([^"]*)"|(true|false|[0-9]+))\s*$/i.exec(part)
    const value = match?.[2] ?? match?.[3]
    if (match?.[1] === undefined || value === undefined) return null
    conditions.push({ name: match[1], value: value.toLowerCase() })
  }
  return conditions
}

/** All texts at a path. With `single` the primary one comes first. */
export function readPath(resource: JsonObject, path: ScimPath, single: boolean): readonly string[] {
  for (const { extension, steps } of path) {
    const start = extension === null ? resource : lookUp(resource, extension)
    if (isJsonObject(start)) return texts(walk(start, steps, single), single)
  }
  return []
}

function walk(start: JsonObject, steps: readonly Step[], single: boolean): unknown {
  let current: unknown = start
  for (const step of steps) {
    current = Array.isArray(current)
      ? walkItems(current, step, single)
      : isJsonObject(current)
        ? lookUp(current, step.name)
        : undefined
    if (current === undefined || current === null) return undefined
    if (step.conditions.length > 0) {
      const items: readonly unknown[] = Array.isArray(current) ? current : [current]
      current = items.filter((item) => meets(item, step.conditions))
    }
  }
  return current
}

/** A step into a list: an attribute of its items, the primary item, or the items of a type (`emails.work`). */
function walkItems(items: readonly unknown[], step: Step, single: boolean): readonly unknown[] {
  const objects = items.filter((item) => isJsonObject(item))
  if (step.folded === 'primary') return objects.filter((item) => isPrimary(item))
  if (!objects.some((item) => lookUp(item, step.name) !== undefined)) {
    return objects.filter((item) => fold(lookUp(item, 'type')) === step.folded)
  }
  return (single ? primaryFirst(objects) : objects).flatMap((item) => lookUp(item, step.name) ?? [])
}

function meets(item: unknown, conditions: readonly Condition[]): boolean {
  if (!isJsonObject(item)) return false
  return conditions.every(({ name, value }) => fold(lookUp(item, name)) === value)
}

function fold(value: unknown): string | null {
  if (typeof value === 'string') return value.toLowerCase()
  return typeof value === 'boolean' || typeof value === 'number' ? String(value) : null
}

function isPrimary(item: unknown): boolean {
  return isJsonObject(item) && fold(lookUp(item, 'primary')) === 'true'
}

function primaryFirst<T>(items: readonly T[]): readonly T[] {
  const primary = items.findIndex((item) => isPrimary(item))
  const first = items[primary]
  return first === undefined || primary === 0 ? items : [first, ...items.toSpliced(primary, 1)]
}

function texts(value: unknown, single: boolean): readonly string[] {
  if (!Array.isArray(value)) {
    const only = asText(value)
    return only === null ? [] : [only]
  }
  const items: readonly unknown[] = single ? primaryFirst(value) : value
  return items.map((item) => asText(item)).filter((item) => item !== null)
}

/** A value as text; of an object its `value`, or what else stands for it. */
function asText(value: unknown): string | null {
  switch (typeof value) {
    case 'string':
      return value
    case 'boolean':
      return String(value)
    case 'number':
      // String(1e21) has no digits.
      return Number.isInteger(value) ? BigInt(value).toString() : String(value)
    default:
      return isJsonObject(value) || Array.isArray(value) ? ofComplex(value) : null
  }
}

function ofComplex(value: JsonObject | readonly unknown[]): string {
  if (isJsonObject(value)) {
    for (const name of ['value', 'formatted', 'display', 'displayName']) {
      const inner = lookUp(value, name)
      if (typeof inner === 'string' || typeof inner === 'number' || typeof inner === 'boolean') {
        return asText(inner) ?? ''
      }
    }
  }
  return JSON.stringify(value)
}
