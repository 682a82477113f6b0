// Filters of collections: the whole grammar of contract.md section 2.1, parsed into a tree that knows positions.
import { filterError, filterTokens } from './filter-tokens.ts'
import type { FilterToken } from './filter-tokens.ts'

/** Operators that compare a field with one value. */
export const compareOps = ['eq', 'ne', 'gt', 'ge', 'lt', 'le', 'co', 'sw'] as const
export type CompareOp = (typeof compareOps)[number]
/** Operators that compare a field with a list of values. */
export const listOps = ['in', 'ca'] as const
export type ListOp = (typeof listOps)[number]
export type FilterOp = CompareOp | ListOp | 'isnull' | 'pr'

/** A value as it was written. A number keeps its digits, because `2018` is a number or a year, as the field decides. */
export type FilterValue =
  | { readonly kind: 'string'; readonly value: string; readonly at: number }
  | { readonly kind: 'number'; readonly text: string; readonly at: number }
  | { readonly kind: 'boolean'; readonly value: boolean; readonly at: number }
  | { readonly kind: 'date'; readonly text: string; readonly at: number }
  | { readonly kind: 'null'; readonly at: number }

/** One condition on one field. `at` is the place of the field, `opAt` that of the operator, counted from 1. */
export type Condition =
  | {
      readonly kind: 'compare'
      readonly field: string
      readonly op: CompareOp
      readonly value: FilterValue
      readonly at: number
      readonly opAt: number
    }
  | {
      readonly kind: 'list'
      readonly field: string
      readonly op: ListOp
      readonly values: readonly FilterValue[]
      readonly at: number
      readonly opAt: number
    }
  | {
      readonly kind: 'presence'
      readonly field: string
      readonly op: 'isnull' | 'pr'
      readonly at: number
      readonly opAt: number
    }

/** A filter: conditions under `and`, `or` and `not`. An `and` or `or` has two or more items. */
export type Filter =
  | Condition
  | { readonly kind: 'and' | 'or'; readonly items: readonly Filter[] }
  | { readonly kind: 'not'; readonly item: Filter }

/**
 * What a filter may be at most. The length is what fits into the request line of common servers; the others keep the
 * parser's stack and the statement that the filter becomes small, whoever writes the filter.
 */
export const filterLimits = { length: 16_384, depth: 32, values: 1_000, conditions: 200 } as const

const fieldName = /^[A-Za-z_][A-Za-z0-9_.-]*$/
const number = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/
const reserved: readonly string[] = ['and', 'or', 'not', 'pr']
const operators: readonly string[] = [...compareOps, ...listOps, 'isnull']
const operatorHint = `Operators are written in lower case: ${[...operators, 'pr'].join(', ')}.`

/** Parses a filter. Throws `bad_filter` with the position for everything that is not in the grammar or above a limit. */
export function parseFilter(text: string): Filter {
  if (text.length > filterLimits.length) {
    throw filterError(
      filterLimits.length + 1,
      `it has ${text.length} characters, the limit is ${filterLimits.length}.`,
    )
  }
  const state: ParserState = { tokens: filterTokens(text), next: 0, conditions: 0 }
  const filter = parseOr(state, 0)
  const rest = peek(state)
  if (rest.kind === 'close') throw filterError(rest.at, 'this parenthesis was not opened.')
  if (rest.kind !== 'end') {
    throw filterError(rest.at, `expected "and", "or" or the end, found ${shown(rest)}.`)
  }
  return filter
}

/** The conditions that must hold for the whole filter to hold: the filter itself, or those under its topmost `and`. */
export function requiredConditions(filter: Filter): readonly Condition[] {
  switch (filter.kind) {
    case 'and':
      return filter.items.flatMap(requiredConditions)
    case 'or':
    case 'not':
      return []
    case 'compare':
    case 'list':
    case 'presence':
      return [filter]
  }
}

interface ParserState {
  readonly tokens: readonly FilterToken[]
  next: number
  conditions: number
}

function peek(state: ParserState): FilterToken {
  const token = state.tokens[state.next]
  if (token === undefined) throw filterError(1, 'it ends too early.')
  return token
}

function take(state: ParserState): FilterToken {
  const token = peek(state)
  // The end stays where it is, so that everyone who looks for more finds it.
  if (token.kind !== 'end') state.next++
  return token
}

function takeWord(state: ParserState, word: string): boolean {
  const token = peek(state)
  if (token.kind !== 'word' || token.text !== word) return false
  state.next++
  return true
}

function parseOr(state: ParserState, depth: number): Filter {
  const items = [parseAnd(state, depth)]
  while (takeWord(state, 'or')) items.push(parseAnd(state, depth))
  return join('or', items)
}

function parseAnd(state: ParserState, depth: number): Filter {
  const items = [parseNot(state, depth)]
  while (takeWord(state, 'and')) items.push(parseNot(state, depth))
  return join('and', items)
}

/** One item stays itself. Items of the same kind come from parentheses and are joined: `a and (b and c)` is one list. */
function join(kind: 'and' | 'or', items: readonly Filter[]): Filter {
  const [only] = items
  if (items.length === 1 && only !== undefined) return only
  return { kind, items: items.flatMap((item) => (item.kind === kind ? item.items : [item])) }
}

function parseNot(state: ParserState, depth: number): Filter {
  const token = peek(state)
  if (token.kind === 'word' && token.text === 'not') {
    checkDepth(token, depth)
    state.next++
    return { kind: 'not', item: parseNot(state, depth + 1) }
  }
  if (token.kind === 'open') {
    checkDepth(token, depth)
    state.next++
    const inner = parseOr(state, depth + 1)
    const close = take(state)
    if (close.kind !== 'close') {
      throw filterError(
        close.at,
        `expected "and", "or" or ")" for the parenthesis opened at ${token.at}, found ${shown(close)}.`,
      )
    }
    return inner
  }
  return parseCondition(state)
}

function checkDepth(token: FilterToken, depth: number): void {
  if (depth >= filterLimits.depth) {
    throw filterError(token.at, `it is nested more than ${filterLimits.depth} levels deep.`)
  }
}

function parseCondition(state: ParserState): Condition {
  if (++state.conditions > filterLimits.conditions) {
    throw filterError(
      peek(state).at,
      `it has more than ${filterLimits.conditions} conditions.`,
      'Use "in" with a list of values instead of many conditions on one field.',
    )
  }
  const first = peek(state)
  if (takeWord(state, 'pr')) {
    const field = parseField(state)
    return { kind: 'presence', op: 'pr', field: field.text, at: field.at, opAt: first.at }
  }
  const field = parseField(state)
  const op = take(state)
  const place = { field: field.text, at: field.at, opAt: op.at }
  if (op.kind === 'word') {
    if (op.text === 'isnull') return { kind: 'presence', op: 'isnull', ...place }
    const listOp = listOps.find((name) => name === op.text)
    if (listOp !== undefined) {
      return { kind: 'list', op: listOp, values: parseValues(state, listOp), ...place }
    }
    const compareOp = compareOps.find((name) => name === op.text)
    if (compareOp !== undefined) {
      return { kind: 'compare', op: compareOp, value: parseValue(take(state)), ...place }
    }
  }
  throw filterError(
    op.at,
    `expected an operator after "${field.text}", found ${shown(op)}.`,
    operatorHint,
  )
}

function parseField(state: ParserState): { readonly text: string; readonly at: number } {
  const token = take(state)
  if (token.kind !== 'word' || reserved.includes(token.text) || !fieldName.test(token.text)) {
    throw filterError(token.at, `expected the name of a field, found ${shown(token)}.`)
  }
  return token
}

function parseValues(state: ParserState, op: ListOp): FilterValue[] {
  const open = take(state)
  if (open.kind !== 'open') {
    throw filterError(
      open.at,
      `expected "(" after "${op}", found ${shown(open)}.`,
      `Write the values in parentheses: ${op} ("a","b").`,
    )
  }
  const values: FilterValue[] = []
  for (;;) {
    const token = take(state)
    if (values.length >= filterLimits.values) {
      throw filterError(token.at, `the list has more than ${filterLimits.values} values.`)
    }
    values.push(parseValue(token))
    const separator = take(state)
    if (separator.kind === 'close') return values
    if (separator.kind !== 'comma') {
      throw filterError(separator.at, `expected "," or ")" in the list, found ${shown(separator)}.`)
    }
  }
}

function parseValue(token: FilterToken): FilterValue {
  const { at } = token
  if (token.kind === 'string') return { kind: 'string', value: token.value, at }
  if (token.kind === 'word') {
    if (token.text === 'true' || token.text === 'false') {
      return { kind: 'boolean', value: token.text === 'true', at }
    }
    if (token.text === 'null') return { kind: 'null', at }
    if (number.test(token.text)) return { kind: 'number', text: token.text, at }
    if (dateInstant(token.text) !== null) return { kind: 'date', text: token.text, at }
  }
  throw filterError(
    at,
    `expected a value, found ${shown(token)}.`,
    'Write text and enum values in double quotes; numbers, true, false, null and ISO date-times bare.',
  )
}

const date =
  /^(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T(\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?(Z|[+-]\d{2}:?\d{2})?)?)?)?$/

/**
 * The instant of an ISO date-time as `2018-12-18T23:05:55.000Z`, or null when it is none. What is left out is the
 * earliest it can be (`2018` is the first instant of that year), and without an offset it is UTC.
 */
export function dateInstant(text: string): string | null {
  const match = date.exec(text)
  if (match === null) return null
  const [year, month, day, hour, minute, second] = match
    .slice(1, 7)
    .map((part, index) => Number(part ?? (index === 1 || index === 2 ? 1 : 0)))
  if (year === undefined || month === undefined || day === undefined) return null
  if (hour === undefined || minute === undefined || second === undefined) return null
  const millis = Number((match[7] ?? '').padEnd(3, '0').slice(0, 3))
  const instant = new Date(0)
  // Not Date.UTC, which reads the years 0 to 99 as 1900 to 1999.
  instant.setUTCFullYear(year, month - 1, day)
  instant.setUTCHours(hour, minute, second, millis)
  // A day or an hour that does not exist rolls over into the next; then the parts are no longer what was written.
  const kept =
    instant.getUTCMonth() === month - 1 &&
    instant.getUTCDate() === day &&
    hour < 24 &&
    minute < 60 &&
    second < 60
  if (!kept) return null
  const offset = /^([+-])(\d{2}):?(\d{2})$/.exec(match[8] ?? '')
  if (offset !== null) {
    const minutes = Number(offset[2]) * 60 + Number(offset[3])
    instant.setTime(instant.getTime() - (offset[1] === '-' ? -minutes : minutes) * 60_000)
  }
  const iso = instant.toISOString()
  // Years below 0 and above 9999 have another form, which no stored instant has.
  return /^\d{4}-/.test(iso) ? iso : null
}

/** How a token is named in a message: cut, so that a message never carries a page of input. */
function shown(token: FilterToken): string {
  if (token.kind === 'end') return 'the end'
  const text = token.text.length > 40 ? `${token.text.slice(0, 40)}…` : token.text
  return token.kind === 'string' ? text : `"${text}"`
}
