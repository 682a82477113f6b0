// filterString: its grammar rule by rule, what is wrong with one by its place, and random filters against plain JavaScript.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openRecordFilter } from '../../src/core/record-filter-match.ts'
import { RecordFilterError } from '../../src/core/record-filter-tokens.ts'
import { maximumFilterDepth, parseRecordFilter } from '../../src/core/record-filter.ts'

type Cells = Readonly<Record<string, string>>

function matches(filter: string, cells: Cells): boolean {
  const header = Object.keys(cells)
  const values = Object.values(cells)
  return openRecordFilter(filter, header)((column) => values[column] ?? '')
}

function failure(filter: string): RecordFilterError {
  try {
    parseRecordFilter(filter)
  } catch (error) {
    if (error instanceof RecordFilterError) return error
    throw error
  }
  throw new Error(`${filter} was read`)
}

const record = {
  id: 'emp-1',
  name: 'Ann',
  'e-mail': 'Ann@Example.org',
  'First Name': 'Ann',
  age: '042',
  pay: '-12.50',
  big: '9007199254740993',
  active: 'Yes',
  start: '2026-11-22',
  nothing: '',
  spaces: ' \t',
}

describe('a filterString', () => {
  it.each([
    // Comparisons of texts are exact, unless an i stands before the operator.
    ['name == "Ann"', true],
    ['name == "ann"', false],
    ['name i== "aNN"', true],
    ['name != "Bob"', true],
    ['name i!= "ANN"', false],
    ['start < "2026-12-01"', true],
    ['start >= "2026-11-22" && start <= "2026-11-22"', true],
    ['start > "2026-11-22"', false],
    ['name i< "b"', true],
    // Numbers compare by value, however they are written, and exactly.
    ['age == 42', true],
    ['age == 42.0', true],
    ['age == "42"', false],
    ['age < 43 && age > 41 && age <= 42 && age >= 42', true],
    ['pay < 0', true],
    ['pay == -12.5', true],
    ['pay > -12.51', true],
    ['big == 9007199254740992', false],
    ['big == 9007199254740993', true],
    ['big > 9007199254740992', true],
    ['big < 9007199254740993.5', true],
    ['name == 42', false],
    ['name != 42', true],
    ['name < 42', false],
    ['name >= 42', false],
    // true and false are what a BOOLEAN attribute reads as such.
    ['active == true', true],
    ['active != false', true],
    ['name == false', false],
    // A blank cell is null: it is neither less nor greater than anything, and holds nothing.
    ['nothing == null', true],
    ['nothing != null', false],
    ['name != null', true],
    ['nothing == ""', false],
    ['nothing != "x"', true],
    ['nothing < 5', false],
    ['nothing > "a"', false],
    ['nothing.contains("")', false],
    ['nothing.isNull()', true],
    ['spaces.isNull()', true],
    ['spaces.isEmpty()', true],
    ['name.notNull()', true],
    ['nothing.notNull()', false],
    // Parts of texts.
    ['id.contains("-")', true],
    ['id.contains("EMP")', false],
    ['id.containsIgnoreCase("EMP")', true],
    ['id.startsWith("emp")', true],
    ['id.startsWith("mp")', false],
    ['id.startsWithIgnoreCase("EMP")', true],
    ['id.endsWith("-1")', true],
    ['id.endsWith("-")', false],
    ['e-mail.endsWithIgnoreCase("@EXAMPLE.ORG")', true],
    // Lists, with braces or without.
    ['name.in({"Bob", "Ann"})', true],
    ['name.in("Bob", "Ann")', true],
    ['name.in({"bob", "ann"})', false],
    ['name.inIgnoreCase({"bob", "ann"})', true],
    ['age.in({1, 42, null})', true],
    ['nothing.in({1, null})', true],
    ['name.containsAll({"Ann"})', true],
    ['name.containsAll({"Ann", "Ann"})', true],
    ['name.containsAll({"Ann", "Bob"})', false],
    ['name.containsAllIgnoreCase("ann")', true],
    // Two columns, and names that are no words.
    ['name == id', false],
    ['name == "First Name"', false],
    ['"First Name" == name', true],
    ['"First Name".contains("nn")', true],
    ['nothing == spaces', true],
    ['age < big', true],
    // How conditions are joined: && before ||, and spaces where one likes.
    ['!( id.contains( "m" ) )', false],
    ['!id.contains("x")', true],
    ['!!(name == "Ann")', true],
    ['name == "Ann" || name == "x" && id == "y"', true],
    ['(name == "Ann" || name == "x") && id == "y"', false],
    ['name=="Ann"&&id=="emp-1"', true],
    ['\n\t name\r\n==\n"Ann" ', true],
  ])('%s is %s', (filter, outcome) => {
    expect(matches(filter, record)).toBe(outcome)
  })

  it('takes quotes, backslashes and tabs in texts by their escapes', () => {
    expect(matches('a == "x\\"y\\\\z\\t\\n"', { a: 'x"y\\z\t\n' })).toBe(true)
  })

  it.each([
    ['', 1, 'a condition is missing before the end'],
    ['name', 5, 'an operator is missing before the end'],
    ['name == ', 9, 'a value is missing'],
    ['name = "x"', 6, '= means nothing'],
    ["name == 'x'", 9, "' means nothing"],
    ['name & id', 6, '& means nothing'],
    ['name == "x', 9, 'no closing quote'],
    ['name == "\\x"', 10, 'a backslash'],
    ['(name == "x"', 13, ') is missing before the end'],
    ['name == "x")', 12, ') is not expected'],
    ['name == "x" id == "y"', 13, 'id is not expected'],
    ['name i == "x"', 6, 'an operator is missing before i'],
    ['name < null', 8, 'null is neither less nor greater'],
    ['name >= true', 9, 'true is neither'],
    ['name.like("x")', 6, 'there is no method "like"'],
    ['name.isNullIgnoreCase()', 6, 'there is no method'],
    ['name.contains(5)', 15, 'contains needs a text'],
    ['name.contains("a", "b")', 18, ') is missing before ,'],
    ['name.isNull("x")', 13, ') is missing'],
    ['name.in({})', 10, 'a value is missing before }'],
    ['name.in({"a"', 13, '} is missing'],
    ['name.contains "x"', 15, 'an operator is missing'],
    ['"a" "b"', 5, 'an operator is missing'],
    ['!', 2, 'a condition is missing'],
    ['name == "x" &&', 15, 'a condition is missing'],
  ])('names the place of what is wrong in %s', (filter, at, problem) => {
    const error = failure(filter)
    expect([error.at, error.message]).toEqual([at, expect.stringContaining(problem)])
    expect(error.hint).not.toBe('')
  })

  it('is refused when it is too long or too deep, whatever it is made of', () => {
    expect(failure('('.repeat(20_000)).message).toContain('longer than 10000')
    expect(failure('('.repeat(9_000)).message).toContain('more than 50 parentheses')
    expect(failure('!'.repeat(9_000)).message).toContain('more than 50 parentheses')
    const deep = maximumFilterDepth
    expect(matches(`${'('.repeat(deep)}a == "x"${')'.repeat(deep)}`, { a: 'x' })).toBe(true)
    expect(matches(Array(700).fill('a == "y"').join(' || '), { a: 'x' })).toBe(false)
  })

  it('names the columns that a file has not, and those that it has', () => {
    expect(() => openRecordFilter('id == "x" && Dept.isNull() || x == y', ['id', 'dept'])).toThrow(
      expect.objectContaining({
        code: 'no_filter_column',
        message: 'The filterString names "Dept", "x", "y", but the header has only "id", "dept".',
      }),
    )
  })

  it('reads no property of an object as a column or a value', () => {
    const cells = { __proto__x: 'a', constructor: 'b', toString: 'c' }
    expect(matches('constructor == "b" && toString == "c"', cells)).toBe(true)
    expect(() => openRecordFilter('__proto__ == "b"', ['id'])).toThrow('"__proto__"')
  })
})

/** A condition as text, and what it means in plain JavaScript. */
interface Model {
  readonly text: string
  readonly holds: (cells: Cells) => boolean
}

const columns = ['a', 'b-c', 'd'] as const
const column = fc.constantFrom(...columns)
const texts = fc.constantFrom(
  '',
  ' ',
  'x',
  'X',
  'xy',
  'yX',
  '"',
  '\\',
  '10',
  '9',
  '-1.5',
  'true',
  'no',
  'ß',
  'İ',
)
const quoted = (text: string): string => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
const space = fc.constantFrom('', ' ', '\n')
const valueOf = (cells: Cells, name: string): string | null =>
  (cells[name] ?? '').trim() === '' ? null : (cells[name] ?? '')
const asNumber = (text: string | null): number | null =>
  text === null || !/^\s*[+-]?\d+(\.\d+)?\s*$/.test(text) ? null : Number(text)

const leaf: fc.Arbitrary<Model> = fc.oneof(
  fc
    .tuple(column, fc.constantFrom('==', '!=', '<', '>', '<=', '>='), texts, space, fc.boolean())
    .map(([name, operator, text, gap, fold]) => ({
      text: `${name} ${fold ? 'i' : ''}${operator}${gap}${quoted(text)}`,
      holds: (cells: Cells) => {
        const cell = valueOf(cells, name)
        const [left, right] = fold
          ? [cell?.toLowerCase() ?? null, text.toLowerCase()]
          : [cell, text]
        if (operator === '==') return left === right
        if (operator === '!=') return left !== right
        if (left === null) return false
        if (operator === '<') return left < right
        if (operator === '>') return left > right
        return operator === '<=' ? left <= right : left >= right
      },
    })),
  fc
    .tuple(
      column,
      fc.constantFrom('==', '!=', '<', '>', '<=', '>='),
      fc.constantFrom(-1.5, 0, 9, 10),
      space,
    )
    .map(([name, operator, number, gap]) => ({
      text: `${name}${gap}${operator}${gap}${number}`,
      holds: (cells: Cells) => {
        const cell = asNumber(valueOf(cells, name))
        if (operator === '==') return cell === number
        if (operator === '!=') return cell !== number
        if (cell === null) return false
        if (operator === '<') return cell < number
        if (operator === '>') return cell > number
        return operator === '<=' ? cell <= number : cell >= number
      },
    })),
  fc
    .tuple(column, fc.constantFrom('contains', 'startsWith', 'endsWith'), fc.boolean(), texts)
    .map(([name, method, fold, text]) => ({
      text: `${name}.${method}${fold ? 'IgnoreCase' : ''}(${quoted(text)})`,
      holds: (cells: Cells) => {
        const cell = valueOf(cells, name)
        if (cell === null) return false
        const [left, right] = fold ? [cell.toLowerCase(), text.toLowerCase()] : [cell, text]
        if (method === 'contains') return left.includes(right)
        return method === 'startsWith' ? left.startsWith(right) : left.endsWith(right)
      },
    })),
  fc
    .tuple(
      column,
      fc.constantFrom('in', 'containsAll'),
      fc.array(texts, { minLength: 1, maxLength: 3 }),
      space,
    )
    .map(([name, method, list, gap]) => ({
      text: `${name}.${method}(${gap}{${list.map(quoted).join(`,${gap}`)}}${gap})`,
      holds: (cells: Cells) => {
        const cell = valueOf(cells, name)
        return method === 'in'
          ? list.some((one) => one === cell)
          : list.every((one) => one === cell)
      },
    })),
  fc.tuple(column, fc.constantFrom('isNull', 'notNull', 'isEmpty')).map(([name, method]) => ({
    text: `${name}.${method}()`,
    holds: (cells: Cells) => (valueOf(cells, name) === null) === (method !== 'notNull'),
  })),
  fc.tuple(column, fc.boolean()).map(([name, value]) => ({
    text: `${name} == ${value}`,
    holds: (cells: Cells) =>
      (value ? ['true', 'yes', '1'] : ['false', 'no', '0']).includes(
        (valueOf(cells, name) ?? '').trim().toLowerCase(),
      ),
  })),
)

const filterArbitrary = fc.letrec<{ any: Model }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    tie('any').map((inner) => ({
      text: `!( ${inner.text} )`,
      holds: (cells: Cells) => !inner.holds(cells),
    })),
    fc.tuple(tie('any'), tie('any')).map(([left, right]) => ({
      text: `(${left.text}) && (${right.text})`,
      holds: (cells: Cells) => left.holds(cells) && right.holds(cells),
    })),
    // Without parentheses around the two: && binds closer than ||.
    fc.tuple(leaf, leaf, leaf, tie('any')).map(([first, second, third, fourth]) => ({
      text: `${first.text} || ${second.text}&&${third.text}||(${fourth.text})`,
      holds: (cells: Cells) =>
        first.holds(cells) || (second.holds(cells) && third.holds(cells)) || fourth.holds(cells),
    })),
  ),
})).any

describe('random filters', () => {
  it('say of random records what plain JavaScript says of them', () => {
    let held = 0
    fc.assert(
      fc.property(filterArbitrary, fc.tuple(texts, texts, texts), (filter, [a, b, d]) => {
        const cells = { a, 'b-c': b, d }
        const expected = filter.holds(cells)
        if (expected) held += 1
        expect(matches(filter.text, cells)).toBe(expected)
      }),
      { numRuns: 3000 },
    )
    // Both answers come often, or nothing was tested.
    expect(held).toBeGreaterThan(500)
    expect(held).toBeLessThan(2500)
  })

  it('are read or refused with a place, whatever the text', () => {
    const unit = fc.constantFrom(
      'a',
      'i',
      ' ',
      '(',
      ')',
      '!',
      '=',
      '&',
      '|',
      '"',
      '{',
      '}',
      ',',
      '.',
      '5',
      '<',
      '\\',
      "'",
    )
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 40 }), (text) => {
        try {
          parseRecordFilter(text)
        } catch (error) {
          expect(error).toBeInstanceOf(RecordFilterError)
        }
      }),
      { numRuns: 3000 },
    )
  })
})
