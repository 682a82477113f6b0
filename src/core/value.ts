// What a cell may say for each attribute type, and the one way it is written down.
import type { AttributeType } from './schema.ts'

const int32 = { low: -(2n ** 31n), high: 2n ** 31n - 1n }
const int64 = { low: -(2n ** 63n), high: 2n ** 63n - 1n }

/** Whether a cell holds nothing: it is empty or only spaces and tabs. */
export function isBlank(text: string): boolean {
  return /^[ \t]*$/.test(text)
}

/** The digits of a whole number without leading zeros, or null when it is none or does not fit into its type. */
export function canonicalInteger(text: string, type: 'INT' | 'LONG'): string | null {
  const trimmed = text.trim()
  if (!/^[+-]?[0-9]{1,40}$/.test(trimmed)) return null
  const value = BigInt(trimmed.replace(/^\+/, ''))
  const range = type === 'INT' ? int32 : int64
  return value < range.low || value > range.high ? null : value.toString()
}

/** `true` or `false` for true, yes, 1 and false, no, 0 in any case; otherwise null. */
export function canonicalBoolean(text: string): 'true' | 'false' | null {
  switch (text.trim().toLowerCase()) {
    case 'true':
    case 'yes':
    case '1':
      return 'true'
    case 'false':
    case 'no':
    case '0':
      return 'false'
    default:
      return null
  }
}

const isoDate =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,]\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?$/
const slashDate = /^(\d{1,2})\/(\d{1,2})\/(\d{4})$/
const dottedDate = /^(\d{1,2})\.(\d{1,2})\.(\d{4})$/
const compactDate = /^(\d{4})(\d{2})(\d{2})$/

/**
 * Whether a text is a date that exists: 2026-11-22 with or without a time and an offset, 20261122, 22.11.2026, or
 * 11/22/2026 in either order of month and day. The text itself is kept as delivered (contract.md section 8.9).
 */
export function isDate(text: string): boolean {
  const trimmed = text.trim()
  const iso = isoDate.exec(trimmed)
  if (iso) {
    const inTime = Number(iso[4] ?? 0) < 24 && Number(iso[5] ?? 0) < 60 && Number(iso[6] ?? 0) < 61
    return inTime && isDay(Number(iso[1]), Number(iso[2]), Number(iso[3]))
  }
  const compact = compactDate.exec(trimmed)
  if (compact) return isDay(Number(compact[1]), Number(compact[2]), Number(compact[3]))
  const dotted = dottedDate.exec(trimmed)
  if (dotted) return isDay(Number(dotted[3]), Number(dotted[2]), Number(dotted[1]))
  const slash = slashDate.exec(trimmed)
  if (!slash) return false
  const [first, second, year] = [Number(slash[1]), Number(slash[2]), Number(slash[3])]
  return isDay(year, first, second) || isDay(year, second, first)
}

function isDay(year: number, month: number, day: number): boolean {
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
  return days !== undefined && day >= 1 && day <= days
}

/** A value of a type as JSON text, or null when the text is no value of the type. Blank texts are not values. */
export function canonicalJson(text: string, type: AttributeType): string | null {
  switch (type) {
    case 'STRING':
      return JSON.stringify(text)
    case 'INT':
    case 'LONG':
      return canonicalInteger(text, type)
    case 'BOOLEAN':
      return canonicalBoolean(text)
    case 'DATE':
      return isDate(text) ? JSON.stringify(text) : null
  }
}

/**
 * A JSON list of texts as the canonical JSON of their values, without blank ones; `nul` or `type` when a text is no value
 * of the type.
 */
export function canonicalList(
  text: string,
  type: AttributeType,
):
  | { readonly values: readonly string[] }
  | { readonly wrong: 'nul' | 'type'; readonly text: string } {
  const listed = parseTexts(text)
  if (listed === null) return { wrong: 'type', text }
  const values: string[] = []
  for (const item of listed) {
    if (item.includes('\0')) return { wrong: 'nul', text: item }
    if (isBlank(item)) continue
    const json = canonicalJson(item, type)
    if (json === null) return { wrong: 'type', text: item }
    values.push(json)
  }
  return { values }
}

function parseTexts(text: string): readonly string[] | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (!Array.isArray(value)) return null
  const texts: string[] = []
  for (const item of value as unknown[]) {
    if (item === null) continue
    if (typeof item === 'string') texts.push(item)
    else if (typeof item === 'number' || typeof item === 'boolean') texts.push(String(item))
    else return null
  }
  return texts
}

/** What a value of a type looks like, for messages. */
export function expectation(type: AttributeType): string {
  switch (type) {
    case 'STRING':
      return 'a text'
    case 'INT':
      return 'a whole number of 32 bits'
    case 'LONG':
      return 'a whole number of 64 bits'
    case 'BOOLEAN':
      return 'true or false'
    case 'DATE':
      return 'a date such as 2026-11-22'
  }
}
