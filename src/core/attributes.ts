// The attributes of an account: a JSON object in canonical form, so that equal text means equal values.
import { compareNames } from './layout.ts'

export type Scalar = string | number | boolean
/** Attribute values by name; a blank attribute has no key. */
export type Attributes = ReadonlyMap<string, string>

/**
 * Canonical JSON as a map from name to the canonical JSON of its value. Numbers keep their digits, which JSON.parse
 * would round beyond 2^53, so values are kept as text and never parsed.
 */
export function readAttributes(json: string): Map<string, string> {
  const attributes = new Map<string, string>()
  let at = 1
  while (at < json.length - 1) {
    if (json[at] === ',') at += 1
    const nameEnd = stringEnd(json, at)
    const name = JSON.parse(json.slice(at, nameEnd)) as string
    const valueEnd = jsonEnd(json, nameEnd + 1)
    attributes.set(name, json.slice(nameEnd + 1, valueEnd))
    at = valueEnd
  }
  return attributes
}

/** Canonical JSON of attributes: names in order, no spaces. */
export function writeAttributes(attributes: Attributes): string {
  const names = [...attributes.keys()].toSorted(compareNames)
  return `{${names.map((name) => `${JSON.stringify(name)}:${attributes.get(name) ?? 'null'}`).join(',')}}`
}

/** The elements of a canonical JSON list, each as canonical JSON. */
export function readList(json: string): string[] {
  const elements: string[] = []
  let at = 1
  while (at < json.length - 1) {
    if (json[at] === ',') at += 1
    const end = jsonEnd(json, at)
    elements.push(json.slice(at, end))
    at = end
  }
  return elements
}

/** A canonical JSON list: distinct elements, in the order of their values. */
export function writeList(elements: Iterable<string>): string {
  return `[${[...new Set(elements)].toSorted(compareValues).join(',')}]`
}

function compareValues(a: string, b: string): number {
  const [x, y] = [JSON.parse(a) as Scalar, JSON.parse(b) as Scalar]
  if (typeof x === 'string' && typeof y === 'string') return compareNames(x, y)
  if (typeof x === 'number' && typeof y === 'number') {
    const [p, q] = [BigInt(a), BigInt(b)]
    return p < q ? -1 : p > q ? 1 : 0
  }
  return compareNames(a, b)
}

/** The outcome of merging a later row of an account into the earlier ones. */
export interface Merged {
  readonly attributes: Map<string, string>
  /** Names of single-valued attributes in which the later row says something else; the first value stays. */
  readonly conflicts: readonly string[]
}

/** Merges two rows of one account (contract.md section 8.9): lists are united, of single values the first stays. */
export function mergeAttributes(first: Attributes, later: Attributes): Merged {
  const attributes = new Map(first)
  const conflicts: string[] = []
  for (const [name, value] of later) {
    const former = attributes.get(name)
    if (former === undefined) attributes.set(name, value)
    else if (former === value) continue
    else if (former.startsWith('[')) {
      attributes.set(name, writeList([...readList(former), ...readList(value)]))
    } else conflicts.push(name)
  }
  return { attributes, conflicts }
}

/** The end of the JSON string that begins at `at`. */
function stringEnd(json: string, at: number): number {
  let end = at + 1
  while (json[end] !== '"') end += json[end] === '\\' ? 2 : 1
  return end + 1
}

/** The end of the flat JSON value (a scalar, or a list of scalars) that begins at `at`. */
function jsonEnd(json: string, at: number): number {
  let end = at
  if (json[at] === '"') return stringEnd(json, at)
  if (json[at] === '[') {
    end += 1
    while (json[end] !== ']') end = json[end] === '"' ? stringEnd(json, end) : end + 1
    return end + 1
  }
  while (json[end] !== ',' && json[end] !== '}' && json[end] !== ']') end += 1
  return end
}
