// What accounts hold of their entitlement attributes, told from canonical JSON without parsing it.
import type { Condition } from '../core/filter.ts'
import { filterError } from '../core/filter-tokens.ts'
import type { AccountSource } from './account-sources.ts'
import { foldAscii, foldedText, parameter } from './filter-sql.ts'
import type { Parameters } from './filter-sql.ts'
import { inSources } from './account-ranges.ts'

/** An element of a list or a scalar, as canonical JSON writes it; what is between them holds neither quote nor digit. */
const jsonScalar = String.raw`"(?:[^"\\]|\\.)*"|[^][{}",:]+`
/** The value of an attribute, at the beginning of the text behind its key. */
const jsonValue = String.raw`^(?:\[(?:"(?:[^"\\]|\\.)*"|[^]"])*\]|"(?:[^"\\]|\\.)*"|[^,}]*)`

/**
 * Whether an account has a value of an entitlement attribute. Attributes are canonical JSON, in which a blank attribute
 * has no key and a quote inside a string is escaped; so the key with its quotes and colon is there or it is not, and
 * nothing has to be parsed for it. Never null.
 */
export function hasEntitlements(sources: readonly AccountSource[], parameters: Parameters): string {
  return anySource(sources, parameters, (source) =>
    source.entitlementAttributes.map((name) => hasKey(name, parameters)),
  )
}

/** Whether an account holds this entitlement: a value of an entitlement attribute, compared like text. Never null. */
export function holdsEntitlement(
  sources: readonly AccountSource[],
  value: string,
  parameters: Parameters,
): string {
  const written = JSON.stringify(value)
  // Numbers and booleans stand without quotes.
  const bare = /^(?:-?\d+|true|false)$/i.test(value) ? [value] : []
  const wanted = parameter(parameters, [written, ...bare].map(foldAscii), 'text[]')
  const inside = parameter(parameters, foldAscii(written.slice(1, -1)), 'text')
  return anySource(sources, parameters, (source) => {
    const tests = source.entitlementAttributes.flatMap((name) =>
      keyTexts(name).map((text) => {
        const key = parameter(parameters, text, 'text')
        const behind = `substr(a.attributes, strpos(a.attributes, ${key}) + length(${key}))`
        return `(strpos(a.attributes, ${key}) > 0 and exists (
          select from regexp_matches(substring(${behind} from '${jsonValue}'), '${jsonScalar}', 'g') element
          where ${foldedText('element[1]')} = any(${wanted})))`
      }),
    )
    // Most accounts do not hold the value at all: a search for its text is cheaper than looking at each of theirs.
    return [`case when strpos(${foldedText('a.attributes')}, ${inside}) > 0 then ${or(tests)} end`]
  })
}

/** The condition of the filter `entitlements`: true or false as `hasEntitlements`, or a value that is held. */
export function entitlementsFilter(
  condition: Condition,
  sources: readonly AccountSource[],
  parameters: Parameters,
): string {
  const { field, at } = condition
  const value = condition.kind === 'compare' ? condition.value : null
  if (value?.kind === 'string') return holdsEntitlement(sources, value.value, parameters)
  if (value?.kind === 'boolean') {
    const has = hasEntitlements(sources, parameters)
    return value.value ? has : `not ${has}`
  }
  throw filterError(
    value?.at ?? at,
    `"${field}" is compared with a value of an entitlement attribute, or with true or false.`,
    'Write the value in double quotes.',
  )
}

/** Whether canonical JSON holds a value of any of these attributes; the same rule as `hasEntitlements` has in SQL. */
export function holdsAny(attributes: string, names: readonly string[]): boolean {
  return names.some((name) =>
    keyTexts(name).some((text) => attributes.includes(text) && !attributes.includes(`${text}null`)),
  )
}

/** Each source has attributes of its own, so each is asked by itself. */
function anySource(
  sources: readonly AccountSource[],
  parameters: Parameters,
  tests: (source: AccountSource) => readonly string[],
): string {
  const parts = sources
    .filter((source) => source.entitlementAttributes.length > 0)
    .map((source) => `(${inSources([source.id], parameters)} and ${or(tests(source))})`)
  return `(${or(parts)} is true)`
}

function or(tests: readonly string[]): string {
  return tests.length === 0 ? 'false' : `(${tests.join(' or ')})`
}

function hasKey(name: string, parameters: Parameters): string {
  const tests = keyTexts(name).map((text) => {
    const place = parameter(parameters, text, 'text')
    return `(strpos(a.attributes, ${place}) > 0 and strpos(a.attributes, ${place} || 'null') = 0)`
  })
  return tests.join(' or ')
}

/** How the key of an attribute stands in canonical JSON: as the first key or as a later one. */
function keyTexts(name: string): [string, string] {
  const key = `${JSON.stringify(name)}:`
  return [`{${key}`, `,${key}`]
}
