import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RequestError } from '../../src/core/errors.ts'
import {
  compareOps,
  dateInstant,
  filterLimits,
  listOps,
  parseFilter,
  requiredConditions,
} from '../../src/core/filter.ts'
import type { Filter, FilterValue } from '../../src/core/filter.ts'

/** A filter without positions, so that trees of different texts can be compared. */
function bare(filter: Filter): unknown {
  return JSON.parse(
    JSON.stringify(filter, (key, value: unknown) =>
      key === 'at' || key === 'opAt' ? undefined : value,
    ),
  )
}

function failure(text: string): RequestError {
  try {
    parseFilter(text)
  } catch (error) {
    if (error instanceof RequestError) return error
    throw error
  }
  throw new Error(`parsed: ${text.slice(0, 80)}`)
}

describe('a filter', () => {
  it('reads every operator in its place', () => {
    for (const op of compareOps) {
      expect(bare(parseFilter(`name ${op} "x"`))).toEqual({
        kind: 'compare',
        field: 'name',
        op,
        value: { kind: 'string', value: 'x' },
      })
    }
    for (const op of listOps) {
      expect(bare(parseFilter(`features ${op} ("A", "B")`))).toMatchObject({ kind: 'list', op })
    }
    expect(bare(parseFilter('lastUsed isnull'))).toEqual({
      kind: 'presence',
      op: 'isnull',
      field: 'lastUsed',
    })
    expect(bare(parseFilter('pr accountRequestInfo'))).toEqual({
      kind: 'presence',
      op: 'pr',
      field: 'accountRequestInfo',
    })
  })

  it('binds not closer than and, and and closer than or', () => {
    const loose = parseFilter('not a eq 1 and b eq 2 or c eq 3')
    const tight = parseFilter('(((not (a eq 1)) and (b eq 2)) or (c eq 3))')
    expect(bare(loose)).toEqual(bare(tight))
    expect(loose.kind).toBe('or')
  })

  it('reads strings with escaped quotes and backslashes, and words of the grammar inside them', () => {
    const filter = parseFilter(String.raw`name eq "a \"b\" \\ (or) , not"`)
    expect(filter).toMatchObject({ value: { value: String.raw`a "b" \ (or) , not` } })
  })

  it('reads numbers, booleans, null and date-times without quotes, also partial ones', () => {
    expect(parseFilter('a eq -1.5e3')).toMatchObject({ value: { kind: 'number', text: '-1.5e3' } })
    expect(parseFilter('a eq true')).toMatchObject({ value: { kind: 'boolean', value: true } })
    expect(parseFilter('a eq null')).toMatchObject({ value: { kind: 'null' } })
    expect(parseFilter('created gt 2018-12-18T23:05:55Z')).toMatchObject({
      value: { kind: 'date', text: '2018-12-18T23:05:55Z' },
    })
    expect(parseFilter('created gt 2018-12')).toMatchObject({ value: { kind: 'date' } })
    expect(parseFilter('created gt 2018')).toMatchObject({
      value: { kind: 'number', text: '2018' },
    })
  })

  it('needs no space around parentheses and takes any space elsewhere', () => {
    expect(bare(parseFilter('(a eq "x")and(b in("y","z"))'))).toEqual(
      bare(parseFilter('  a   eq\t"x"\n and b in ( "y" , "z" ) ')),
    )
  })

  it.each([
    ['', 1, 'the end'],
    ['name EQ "x"', 6, '"EQ"'],
    ['name eq x', 9, '"x"'],
    ['name eq', 8, 'the end'],
    ['name "x"', 6, '"x"'],
    ['name eq "x', 9, 'no closing quote'],
    [String.raw`name eq "a\n"`, 11, 'backslash'],
    ['name eq "x" name eq "y"', 13, '"name"'],
    ['(name eq "x"', 13, 'opened at 1'],
    ['name eq "x")', 12, 'was not opened'],
    ['name in "x"', 9, 'expected "("'],
    ['name in ()', 10, '")"'],
    ['name in ("x" "y")', 14, 'expected "," or ")"'],
    ['name in ("x",)', 14, '")"'],
    ['and', 1, '"and"'],
    ['pr', 3, 'the end'],
    ['not', 4, 'the end'],
    ['a eq 1 and', 11, 'the end'],
    ['a eq 2018-13', 6, '"2018-13"'],
    ['a eq 2018-02-30', 6, '"2018-02-30"'],
    ["a eq 'x'", 6, "'x'"],
    ['__a-b.c eq', 11, 'the end'],
    ['1a eq 1', 1, '"1a"'],
    ['a eq "x\0"', 8, 'NUL'],
  ])('refuses %j at character %i, naming %s', (text, at, named) => {
    const error = failure(text)
    expect(error.code).toBe('bad_filter')
    expect(error.status).toBe(400)
    expect(error.message).toContain(`at character ${at}:`)
    expect(error.message).toContain(named)
  })

  it('refuses hostile filters within 50 ms and with a short message', () => {
    const hostile = [
      `${'('.repeat(20_000)}a eq 1${')'.repeat(20_000)}`,
      '('.repeat(filterLimits.length),
      'not '.repeat(4_000),
      `name eq "${'x'.repeat(1_000_000)}"`,
      `a in (${Array.from({ length: 100_000 }, (_, index) => `"${index}"`).join(',')})`,
      `a in (${Array.from({ length: filterLimits.values + 1 }, () => '1').join(',')})`,
      Array.from({ length: filterLimits.conditions + 1 }, () => 'a eq 1').join(' or '),
      '"'.repeat(16_001),
      `a eq "${'\\'.repeat(16_001)}`,
      `a eq 1${' '.repeat(16_000)}b`,
      `a eq ${'1'.repeat(16_000)}x`,
    ]
    for (const text of hostile) {
      const start = performance.now()
      const error = failure(text)
      expect(performance.now() - start).toBeLessThan(50)
      expect(error.code).toBe('bad_filter')
      expect(error.message.length).toBeLessThan(250)
    }
  })

  it('accepts what lies exactly on the limits', () => {
    const { depth, values, conditions } = filterLimits
    expect(parseFilter(`${'('.repeat(depth)}a eq 1${')'.repeat(depth)}`).kind).toBe('compare')
    expect(parseFilter(`a in (${Array.from({ length: values }, () => '1').join(',')})`).kind).toBe(
      'list',
    )
    expect(parseFilter(Array.from({ length: conditions }, () => 'a eq 1').join(' or ')).kind).toBe(
      'or',
    )
  })

  it('knows which conditions must hold', () => {
    const fields = (text: string) =>
      requiredConditions(parseFilter(text)).map((condition) => condition.field)
    expect(fields('a eq 1 and (b eq 2 and c isnull) and (d eq 1 or e eq 1)')).toEqual([
      'a',
      'b',
      'c',
    ])
    expect(fields('a eq 1 or b eq 2')).toEqual([])
    expect(fields('not a eq 1')).toEqual([])
    expect(fields('a eq 1')).toEqual(['a'])
  })
})

describe('a date-time', () => {
  it.each([
    ['2018', '2018-01-01T00:00:00.000Z'],
    ['2018-12', '2018-12-01T00:00:00.000Z'],
    ['2018-12-18', '2018-12-18T00:00:00.000Z'],
    ['2018-12-18T23', '2018-12-18T23:00:00.000Z'],
    ['2018-12-18T23:05', '2018-12-18T23:05:00.000Z'],
    ['2018-12-18T23:05:55Z', '2018-12-18T23:05:55.000Z'],
    ['2018-12-18T23:05:55.1239Z', '2018-12-18T23:05:55.123Z'],
    ['2018-12-18T23:05:55-01:00', '2018-12-19T00:05:55.000Z'],
    ['2018-12-18T23:05:55+0530', '2018-12-18T17:35:55.000Z'],
    ['0050', '0050-01-01T00:00:00.000Z'],
    ['2024-02-29', '2024-02-29T00:00:00.000Z'],
  ])('%s is %s', (text, instant) => {
    expect(dateInstant(text)).toBe(instant)
  })

  it.each([
    '2023-02-29',
    '2018-00-10',
    '2018-1-1',
    '2018-12-18T24:00',
    '2018-12-18 10:00',
    'x',
    '',
  ])('%j is none', (text) => {
    expect(dateInstant(text)).toBeNull()
  })
})

// Printing is the inverse of parsing: whatever tree there is, its text gives the same tree.
const names = fc
  .stringMatching(/^[A-Za-z_][A-Za-z0-9_.-]{0,12}$/)
  .filter((name) => !['and', 'or', 'not', 'pr'].includes(name))
const values: fc.Arbitrary<FilterValue> = fc.oneof(
  fc
    .string({ unit: 'grapheme', maxLength: 12 })
    .filter((value) => !value.includes('\0'))
    .map((value) => ({ kind: 'string' as const, value, at: 0 })),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => ({
    kind: 'number' as const,
    text: value.toString(),
    at: 0,
  })),
  fc.boolean().map((value) => ({ kind: 'boolean' as const, value, at: 0 })),
  fc
    .date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true })
    .map((value) => ({ kind: 'date' as const, text: value.toISOString(), at: 0 })),
  fc.constant({ kind: 'null' as const, at: 0 }),
)
const conditions: fc.Arbitrary<Filter> = fc.oneof(
  fc.record({
    kind: fc.constant('compare' as const),
    field: names,
    op: fc.constantFrom(...compareOps),
    value: values,
    at: fc.constant(0),
    opAt: fc.constant(0),
  }),
  fc.record({
    kind: fc.constant('list' as const),
    field: names,
    op: fc.constantFrom(...listOps),
    values: fc.array(values, { minLength: 1, maxLength: 4 }),
    at: fc.constant(0),
    opAt: fc.constant(0),
  }),
  fc.record({
    kind: fc.constant('presence' as const),
    field: names,
    op: fc.constantFrom('isnull' as const, 'pr' as const),
    at: fc.constant(0),
    opAt: fc.constant(0),
  }),
)
const { tree } = fc.letrec<{ tree: Filter }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    conditions,
    fc.record({
      kind: fc.constantFrom('and' as const, 'or' as const),
      items: fc.array(tie('tree'), { minLength: 2, maxLength: 3 }),
    }),
    fc.record({ kind: fc.constant('not' as const), item: tie('tree') }),
  ),
}))

function printValue(value: FilterValue): string {
  switch (value.kind) {
    case 'string':
      return `"${value.value.replaceAll(/["\\]/g, String.raw`\$&`)}"`
    case 'boolean':
      return String(value.value)
    case 'null':
      return 'null'
    case 'number':
    case 'date':
      return value.text
  }
}

function print(filter: Filter): string {
  switch (filter.kind) {
    case 'and':
    case 'or':
      return filter.items.map((item) => `(${print(item)})`).join(` ${filter.kind} `)
    case 'not':
      return `not (${print(filter.item)})`
    case 'compare':
      return `${filter.field} ${filter.op} ${printValue(filter.value)}`
    case 'list':
      return `${filter.field} ${filter.op} (${filter.values.map(printValue).join(',')})`
    case 'presence':
      return filter.op === 'pr' ? `pr ${filter.field}` : `${filter.field} isnull`
  }
}

/** The tree with lists of the same kind joined, as the parser gives it. */
function flat(filter: Filter): Filter {
  if (filter.kind === 'not') return { kind: 'not', item: flat(filter.item) }
  if (filter.kind !== 'and' && filter.kind !== 'or') return filter
  const items = filter.items
    .map(flat)
    .flatMap((item) => (item.kind === filter.kind ? item.items : [item]))
  return { kind: filter.kind, items }
}

describe('printing and parsing a filter', () => {
  it('gives the same tree for any tree', () => {
    fc.assert(
      fc.property(tree, (filter) => {
        const text = print(filter)
        fc.pre(text.length <= filterLimits.length)
        expect(bare(parseFilter(text))).toEqual(bare(flat(filter)))
      }),
      { numRuns: 500 },
    )
  })

  it('either parses or throws bad_filter for any text', () => {
    const word = fc.constantFrom(
      'and',
      'or',
      'not',
      'pr',
      'eq',
      'in',
      'isnull',
      'a',
      '"x"',
      '(',
      ')',
      ',',
      '1',
      '"',
      '\\',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(word).map((words) => words.join(' ')),
        ),
        (text) => {
          try {
            parseFilter(text)
          } catch (error) {
            expect(error).toBeInstanceOf(RequestError)
            expect(error).toMatchObject({ code: 'bad_filter' })
          }
        },
      ),
      { numRuns: 1_000 },
    )
  })
})
