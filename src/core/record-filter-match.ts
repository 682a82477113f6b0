// What a filterString says of a record: held against the cells, of which a blank one is null.
import { RunError } from './errors.ts'
import { quoteNames } from './layout.ts'
import {
  filterColumns,
  numberPattern,
  parseRecordFilter,
  type RecordFilter,
  type RecordFilterValue,
  type TextTest,
} from './record-filter.ts'
import { canonicalBoolean, isBlank } from './value.ts'

/** Gives the text of a column of the record at hand. */
export type ReadCell = (column: number) => string

/**
 * Makes of a filterString a question to the records of a file with this header. Throws `no_filter_column` when it names
 * a column that the header has not; a RecordFilterError when it cannot be read.
 */
export function openRecordFilter(
  text: string,
  header: readonly string[],
): (cell: ReadCell) => boolean {
  const filter = parseRecordFilter(text)
  const missing = filterColumns(filter).filter((name) => !header.includes(name))
  if (missing.length > 0) {
    throw new RunError(
      'no_filter_column',
      `The filterString names ${quoteNames(missing)}, but the header has only ${quoteNames(header)}.`,
      { hint: 'Write the columns as the header does, in the same case, or change filterString.' },
    )
  }
  return compile(filter, (name) => header.indexOf(name))
}

function compile(
  filter: RecordFilter,
  columnOf: (name: string) => number,
): (cell: ReadCell) => boolean {
  switch (filter.kind) {
    case 'and': {
      const parts = filter.parts.map((part) => compile(part, columnOf))
      return (cell) => parts.every((part) => part(cell))
    }
    case 'or': {
      const parts = filter.parts.map((part) => compile(part, columnOf))
      return (cell) => parts.some((part) => part(cell))
    }
    case 'not': {
      const part = compile(filter.part, columnOf)
      return (cell) => !part(cell)
    }
    default:
      return compileLeaf(filter, columnOf)
  }
}

type Leaf = Extract<RecordFilter, { readonly column: string }>

function compileLeaf(leaf: Leaf, columnOf: (name: string) => number): (cell: ReadCell) => boolean {
  const read = cellReader(leaf.column, columnOf)
  if (leaf.kind === 'blank') return (cell) => (read(cell) === null) === leaf.blank
  const fold = leaf.ignoreCase ? (text: string) => text.toLowerCase() : (text: string) => text
  if (leaf.kind === 'text') {
    const wanted = fold(leaf.value)
    return (cell) => {
      const text = read(cell)
      return text !== null && testText(leaf.test, fold(text), wanted)
    }
  }
  if (leaf.kind === 'list') {
    const tests = leaf.values.map((value) => equality(value, fold, columnOf))
    return (cell) => {
      const text = read(cell)
      // A cell is one value: it contains all of a list when every value of the list is that one.
      return leaf.test === 'in'
        ? tests.some((test) => test(text, cell))
        : tests.every((test) => test(text, cell))
    }
  }
  const { operator, value } = leaf
  if (operator === '==' || operator === '!=') {
    const equal = equality(value, fold, columnOf)
    return (cell) => equal(read(cell), cell) === (operator === '==')
  }
  const order = ordering(value, fold, columnOf)
  return (cell) => {
    const compared = order(read(cell), cell)
    if (compared === null) return false
    if (compared === 0) return operator === '<=' || operator === '>='
    return compared < 0 ? operator.startsWith('<') : operator.startsWith('>')
  }
}

function cellReader(
  name: string,
  columnOf: (name: string) => number,
): (cell: ReadCell) => string | null {
  const column = columnOf(name)
  if (column < 0) return () => null
  return (cell) => {
    const text = cell(column)
    return isBlank(text) ? null : text
  }
}

function testText(test: TextTest, text: string, wanted: string): boolean {
  switch (test) {
    case 'contains':
      return text.includes(wanted)
    case 'startsWith':
      return text.startsWith(wanted)
    case 'endsWith':
      return text.endsWith(wanted)
  }
}

type Fold = (text: string) => string

/** Whether a cell is that value: texts as they stand, numbers by value, true and false as BOOLEAN attributes read them. */
function equality(
  value: RecordFilterValue,
  fold: Fold,
  columnOf: (name: string) => number,
): (text: string | null, cell: ReadCell) => boolean {
  if (value === null) return (text) => text === null
  if (typeof value === 'boolean') {
    return (text) => text !== null && canonicalBoolean(text) === String(value)
  }
  if (typeof value === 'string') {
    const wanted = fold(value)
    return (text) => text !== null && fold(text) === wanted
  }
  if ('number' in value) return (text) => text !== null && compareNumbers(text, value.number) === 0
  const other = cellReader(value.column, columnOf)
  return (text, cell) => {
    const second = other(cell)
    return text === null || second === null ? text === second : fold(text) === fold(second)
  }
}

/** How a cell stands to a value: below 0, 0, above 0; null when nobody can say. */
function ordering(
  value: RecordFilterValue,
  fold: Fold,
  columnOf: (name: string) => number,
): (text: string | null, cell: ReadCell) => number | null {
  if (value === null || typeof value === 'boolean') return () => null
  if (typeof value === 'string') {
    const wanted = fold(value)
    return (text) => (text === null ? null : compareTexts(fold(text), wanted))
  }
  if ('number' in value) {
    return (text) => (text === null ? null : compareNumbers(text, value.number))
  }
  const other = cellReader(value.column, columnOf)
  return (text, cell) => {
    const second = other(cell)
    if (text === null || second === null) return null
    return compareNumbers(text, second) ?? compareTexts(fold(text), fold(second))
  }
}

/** By UTF-16 code units, as the rest of Muster orders names. */
function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** A number of more characters is taken for a text. */
const maximumNumberLength = 60

/** Compares two decimal numbers exactly; null when one of them is none. */
function compareNumbers(a: string, b: string): number | null {
  const [left, right] = [a.trim(), b.trim()]
  if (left.length > maximumNumberLength || right.length > maximumNumberLength) return null
  if (!numberPattern.test(left) || !numberPattern.test(right)) return null
  // Up to 15 digits are exact as they are.
  if (left.length <= 15 && right.length <= 15) return Math.sign(Number(left) - Number(right))
  const [x, y] = [scaled(left), scaled(right)]
  return x < y ? -1 : x > y ? 1 : 0
}

/** A decimal number times 10^60. */
function scaled(text: string): bigint {
  const [whole = '', fraction = ''] = text.replace(/^\+/, '').split('.')
  return BigInt(whole + fraction.padEnd(maximumNumberLength, '0'))
}
