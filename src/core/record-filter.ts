// filterString: which records of a file are dropped before they are looked at (contract.md section 3.1). Its grammar; record-filter-match.ts has its meaning.
import {
  RecordFilterError,
  recordFilterTokens,
  type RecordFilterToken,
} from './record-filter-tokens.ts'

/** What a column is compared with. */
export type RecordFilterValue = string | boolean | null | NumberLiteral | ColumnLiteral

/** A number as it is written: bigger ones than JavaScript counts exactly are compared exactly too. */
export interface NumberLiteral {
  readonly number: string
}

/** The value of another column. */
export interface ColumnLiteral {
  readonly column: string
}

export type Comparison = '==' | '!=' | '<' | '>' | '<=' | '>='
export type TextTest = 'contains' | 'startsWith' | 'endsWith'
export type ListTest = 'in' | 'containsAll'

/** A filterString as a tree. */
export type RecordFilter =
  | { readonly kind: 'and'; readonly parts: readonly RecordFilter[] }
  | { readonly kind: 'or'; readonly parts: readonly RecordFilter[] }
  | { readonly kind: 'not'; readonly part: RecordFilter }
  | {
      readonly kind: 'compare'
      readonly column: string
      readonly operator: Comparison
      readonly value: RecordFilterValue
      readonly ignoreCase: boolean
    }
  | {
      readonly kind: 'text'
      readonly column: string
      readonly test: TextTest
      readonly value: string
      readonly ignoreCase: boolean
    }
  | {
      readonly kind: 'list'
      readonly column: string
      readonly test: ListTest
      readonly values: readonly RecordFilterValue[]
      readonly ignoreCase: boolean
    }
  | { readonly kind: 'blank'; readonly column: string; readonly blank: boolean }

/** A filter may have this many characters, and this many parentheses and exclamation marks within each other. */
export const maximumFilterLength = 10_000
export const maximumFilterDepth = 50

const comparisons: readonly Comparison[] = ['==', '!=', '<', '>', '<=', '>=']
const methodNames =
  'contains, startsWith, endsWith, in, containsAll (each also with IgnoreCase at its end), isNull, notNull and isEmpty'
/** A decimal number. */
export const numberPattern = /^[+-]?[0-9]+(?:\.[0-9]+)?$/

/** Reads a filter. Throws a RecordFilterError that names the character. */
export function parseRecordFilter(text: string): RecordFilter {
  if (text.length > maximumFilterLength) {
    throw new RecordFilterError(
      maximumFilterLength + 1,
      `it is longer than ${maximumFilterLength} characters.`,
      'Write a shorter filter, or leave the records out where the file is made.',
    )
  }
  const tokens = openTokens(text)
  const filter = readOr(tokens, 0)
  const rest = tokens.peek()
  if (rest.kind !== 'end') {
    throw new RecordFilterError(
      rest.at,
      `${shown(rest)} is not expected here.`,
      'Join conditions with && or ||, and close every parenthesis that was opened.',
    )
  }
  return filter
}

/** The tokens, and the place in them that parsing has come to. */
interface Tokens {
  peek(): RecordFilterToken
  next(): RecordFilterToken
  /** Takes the mark when it stands here. */
  take(mark: string): boolean
  /** Takes the mark, or throws with the hint. */
  expect(mark: string, hint: string): void
}

function openTokens(text: string): Tokens {
  const list = recordFilterTokens(text)
  let index = 0
  const peek = (): RecordFilterToken => list[index] ?? { kind: 'end', text: '', at: 1 }
  const take = (mark: string): boolean => {
    const token = peek()
    if (token.kind !== 'mark' || token.text !== mark) return false
    index += 1
    return true
  }
  return {
    peek,
    next: () => {
      const token = peek()
      if (token.kind !== 'end') index += 1
      return token
    },
    take,
    expect: (mark, hint) => {
      const token = peek()
      if (take(mark)) return
      throw new RecordFilterError(token.at, `${mark} is missing before ${shown(token)}.`, hint)
    },
  }
}

function shown(token: RecordFilterToken): string {
  if (token.kind === 'end') return 'the end'
  return token.text.length > 40 ? `${token.text.slice(0, 40)}…` : token.text
}

function readOr(tokens: Tokens, depth: number): RecordFilter {
  const parts = [readAnd(tokens, depth)]
  while (tokens.take('||')) parts.push(readAnd(tokens, depth))
  const [only] = parts
  return parts.length === 1 && only !== undefined ? only : { kind: 'or', parts }
}

function readAnd(tokens: Tokens, depth: number): RecordFilter {
  const parts = [readUnary(tokens, depth)]
  while (tokens.take('&&')) parts.push(readUnary(tokens, depth))
  const [only] = parts
  return parts.length === 1 && only !== undefined ? only : { kind: 'and', parts }
}

function readUnary(tokens: Tokens, depth: number): RecordFilter {
  const { at } = tokens.peek()
  if (depth > maximumFilterDepth) {
    throw new RecordFilterError(
      at,
      `more than ${maximumFilterDepth} parentheses are open.`,
      'Write it with fewer parentheses.',
    )
  }
  if (tokens.take('!')) return { kind: 'not', part: readUnary(tokens, depth + 1) }
  if (tokens.take('(')) {
    const inner = readOr(tokens, depth + 1)
    tokens.expect(')', 'Close every parenthesis that was opened.')
    return inner
  }
  return readLeaf(tokens)
}

/** A condition on one column. A name that has spaces or other marks stands in double quotes. */
function readLeaf(tokens: Tokens): RecordFilter {
  const first = tokens.next()
  if (first.kind === 'mark' || first.kind === 'end') {
    throw new RecordFilterError(
      first.at,
      `a condition is missing before ${shown(first)}.`,
      'A condition is a column and what is asked of it: department == "Sales" or id.contains("x").',
    )
  }
  if (first.kind === 'string') {
    const token = tokens.peek()
    if (token.kind === 'name' && token.text.startsWith('.')) {
      tokens.next()
      return readMethod(tokens, first.value, { ...token, text: token.text.slice(1) })
    }
    return readComparison(tokens, first.value)
  }
  const dot = first.text.lastIndexOf('.')
  const following = tokens.peek()
  if (following.kind === 'mark' && following.text === '(' && dot > 0) {
    const method = { ...first, text: first.text.slice(dot + 1), at: first.at + dot + 1 }
    return readMethod(tokens, first.text.slice(0, dot), method)
  }
  return readComparison(tokens, first.text)
}

function readComparison(tokens: Tokens, column: string): RecordFilter {
  const prefix = tokens.peek()
  // `i==`: the letter belongs to the operator when it touches it.
  let ignoreCase = false
  if (prefix.kind === 'name' && prefix.text === 'i') {
    tokens.next()
    ignoreCase = tokens.peek().at === prefix.at + 1
    if (!ignoreCase) throw unknownOperator(prefix)
  }
  const token = tokens.next()
  const operator = comparisons.find((one) => token.kind === 'mark' && one === token.text)
  if (operator === undefined) throw unknownOperator(token)
  const { at } = tokens.peek()
  const value = readValue(tokens)
  const ordered = operator !== '==' && operator !== '!='
  if (ordered && (value === null || typeof value === 'boolean')) {
    throw new RecordFilterError(
      at,
      `${String(value)} is neither less nor greater than anything.`,
      'Compare it with == or !=.',
    )
  }
  return { kind: 'compare', column, operator, value, ignoreCase }
}

function unknownOperator(token: RecordFilterToken): RecordFilterError {
  return new RecordFilterError(
    token.at,
    `an operator is missing before ${shown(token)}.`,
    `Compare with ${comparisons.join(' ')}, or call ${methodNames}.`,
  )
}

function readMethod(
  tokens: Tokens,
  column: string,
  method: { readonly text: string; readonly at: number },
): RecordFilter {
  tokens.expect('(', `Methods are called with parentheses: name.${method.text}().`)
  const ignoreCase = method.text.endsWith('IgnoreCase')
  const name = ignoreCase ? method.text.slice(0, -'IgnoreCase'.length) : method.text
  switch (name) {
    case 'contains':
    case 'startsWith':
    case 'endsWith': {
      const { at } = tokens.peek()
      const value = readValue(tokens)
      if (typeof value !== 'string') {
        throw new RecordFilterError(at, `${name} needs a text.`, 'Write the text in double quotes.')
      }
      closeMethod(tokens)
      return { kind: 'text', column, test: name, value, ignoreCase }
    }
    case 'in':
    case 'containsAll': {
      const values = readValues(tokens)
      closeMethod(tokens)
      return { kind: 'list', column, test: name, values, ignoreCase }
    }
    default:
  }
  if (!ignoreCase && (name === 'isNull' || name === 'notNull' || name === 'isEmpty')) {
    closeMethod(tokens)
    return { kind: 'blank', column, blank: name !== 'notNull' }
  }
  throw new RecordFilterError(
    method.at,
    `there is no method "${method.text.slice(0, 40)}".`,
    `There are ${methodNames}.`,
  )
}

function closeMethod(tokens: Tokens): void {
  tokens.expect(')', 'Close the parenthesis of the method.')
}

/** `{"a", "b"}`, or the same without braces. */
function readValues(tokens: Tokens): RecordFilterValue[] {
  const braced = tokens.take('{')
  const values = [readValue(tokens)]
  while (tokens.take(',')) values.push(readValue(tokens))
  if (braced) tokens.expect('}', 'Close the list with a brace.')
  return values
}

function readValue(tokens: Tokens): RecordFilterValue {
  const token = tokens.next()
  if (token.kind === 'string') return token.value
  if (token.kind === 'name') {
    if (token.text === 'true') return true
    if (token.text === 'false') return false
    if (token.text === 'null') return null
    if (numberPattern.test(token.text)) return { number: token.text }
    return { column: token.text }
  }
  throw new RecordFilterError(
    token.at,
    `a value is missing before ${shown(token)}.`,
    'A value is a text in double quotes, a number, true, false, null, or the name of a column.',
  )
}

/** The columns that a filter names, each once. */
export function filterColumns(filter: RecordFilter): readonly string[] {
  const names = new Set<string>()
  const addValue = (value: RecordFilterValue): void => {
    if (typeof value === 'object' && value !== null && 'column' in value) names.add(value.column)
  }
  const visit = (part: RecordFilter): void => {
    if ('parts' in part) part.parts.forEach(visit)
    else if ('part' in part) visit(part.part)
    else {
      names.add(part.column)
      if (part.kind === 'compare') addValue(part.value)
      else if (part.kind === 'list') part.values.forEach(addValue)
    }
  }
  visit(filter)
  return [...names]
}
