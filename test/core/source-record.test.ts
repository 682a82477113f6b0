// A record as read becomes a lawful account or a reject, and records of one account become one.
import { describe, expect, it } from 'vitest'
import { readDialect } from '../../src/core/dialect.ts'
import { planLayout } from '../../src/core/layout.ts'
import { attribute } from '../../src/core/schema.ts'
import { mergeRecords, normalise, typeReason } from '../../src/core/source-record.ts'

const layout = planLayout(
  ['id', 'name', 'groups', 'level'],
  {
    attributes: [
      attribute('id'),
      attribute('name'),
      attribute('groups', { isMulti: true }),
      attribute('level', { type: 'INT' }),
    ],
    identityAttribute: 'id',
    displayAttribute: 'name',
  },
  readDialect({}),
)
const made = (...cells: string[]) => normalise({ cells, position: 1 }, layout)

describe('a record', () => {
  it('becomes an account with canonical attributes, without keys for what is blank', () => {
    expect(made('a', 'Ann', 'x', '007')).toEqual({
      nativeIdentity: 'a',
      name: 'Ann',
      attributes: '{"groups":["x"],"id":"a","level":7,"name":"Ann"}',
    })
    expect(made('a', ' ', '', '\t')).toEqual({
      nativeIdentity: 'a',
      name: 'a',
      attributes: '{"id":"a"}',
    })
  })

  it('is a reject for the first thing that is wrong, in the order of its attributes', () => {
    expect(made('a', 'N', 'x')).toMatchObject({ code: 'cell_count', trusted: false })
    expect(made(' ', 'N', 'x', 'bad')).toMatchObject({
      code: 'blank_identity',
      nativeIdentity: null,
      trusted: false,
    })
    expect(made('a', '\0', 'x', 'bad')).toMatchObject({
      code: 'type',
      reason: 'The column "level" should be a whole number of 32 bits, but it is "bad".',
      nativeIdentity: 'a',
      trusted: true,
    })
    expect(made('a\0', 'N', 'x', '1')).toMatchObject({
      code: 'nul',
      nativeIdentity: null,
      trusted: false,
    })
  })

  it('shows no more of a long value than its beginning', () => {
    expect(typeReason('level', 'x'.repeat(100), 'a number')).toBe(
      `The column "level" should be a number, but it is "${'x'.repeat(60)}…".`,
    )
  })
})

describe('records of one account', () => {
  const record = (name: string, attributes: string) => ({ nativeIdentity: 'a', name, attributes })

  it('have the first name that is not blank, also when that is the identity', () => {
    const unnamed = record('a', '{"id":"a"}')
    const named = record('Ann', '{"id":"a","name":"Ann"}')
    const same = record('a', '{"id":"a","name":"a"}')
    expect(mergeRecords(unnamed, named, 'name')).toMatchObject({ name: 'Ann', ordered: false })
    expect(mergeRecords(named, unnamed, 'name')).toMatchObject({ name: 'Ann', ordered: false })
    expect(mergeRecords(same, named, 'name')).toMatchObject({
      name: 'a',
      conflicts: ['name'],
      ordered: true,
    })
  })

  it('depend on their order where single values differ, or names whose values agree', () => {
    const list = mergeRecords(record('A', '{"name":["A"]}'), record('B', '{"name":["B"]}'), 'name')
    expect(list).toEqual({
      name: 'A',
      attributes: '{"name":["A","B"]}',
      conflicts: [],
      ordered: true,
    })
    const number = mergeRecords(record('7', '{"name":7}'), record('07', '{"name":7}'), 'name')
    expect(number).toMatchObject({ name: '7', conflicts: [], ordered: true })
  })
})
