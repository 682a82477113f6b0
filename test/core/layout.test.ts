// How a header meets a schema (contract.md section 8.8, S7, S8).
import { describe, expect, it } from 'vitest'
import { readDialect } from '../../src/core/dialect.ts'
import { headerProblem, planLayout } from '../../src/core/layout.ts'
import { attribute } from '../../src/core/schema.ts'

const schema = {
  attributes: [
    attribute('id'),
    attribute('name'),
    attribute('groups', { isMulti: true }),
    attribute('level', { type: 'INT' }),
  ],
  identityAttribute: 'id' as string | null,
  displayAttribute: 'name' as string | null,
}
const plain = readDialect({})

describe('a header', () => {
  it.each([
    [[], 'no header'],
    [[''], 'no header'],
    [['id', ''], 'Column 2'],
    [['id', 'name', 'name'], 'names the column "name" twice'],
    [['Name', 'id', 'name'], '"Name" and "name", which differ only in case'],
    [['i\0d\0', 'n\0'], 'NUL'],
  ])('%j cannot be used: %s', (header, problem) => {
    expect(headerProblem(header)).toContain(problem)
    expect(() => planLayout(header, schema, plain)).toThrow(problem)
  })

  it('may name __proto__, constructor and toString', () => {
    const header = ['id', '__proto__', 'constructor', 'toString']
    expect(headerProblem(header)).toBeNull()
    expect(planLayout(header, schema, plain).extra).toEqual(header.slice(1))
  })
})

describe('the layout', () => {
  it('has a field for each attribute with a column, in the order of names, wherever the columns stand', () => {
    const layout = planLayout(['level', 'shoe', 'name', 'id'], schema, plain)
    expect(layout.fields).toEqual([
      { name: 'id', column: 3, type: 'STRING', multi: false },
      { name: 'level', column: 0, type: 'INT', multi: false },
      { name: 'name', column: 2, type: 'STRING', multi: false },
    ])
    expect(layout).toMatchObject({
      identityColumn: 3,
      displayColumn: 2,
      undelivered: ['groups'],
      extra: ['shoe'],
    })
  })

  it('names what is there when the identity column is missing', () => {
    expect(() => planLayout(['ID', 'name'], schema, plain)).toThrow(
      'The header has no column "id", which identifies the accounts; it has "ID", "name".',
    )
  })

  it('takes indexColumn where the schema names no identity, and refuses to guess', () => {
    const without = { ...schema, identityAttribute: null }
    expect(
      planLayout(['name', 'level'], without, readDialect({ indexColumn: 'level' })),
    ).toMatchObject({ identityColumn: 1, identityAttribute: 'level' })
    expect(() => planLayout(['id', 'name'], without, plain)).toThrow('names no identity attribute')
  })

  it('keeps the identity as an attribute, also when the schema does not list it', () => {
    const layout = planLayout(['key', 'name'], { ...schema, identityAttribute: 'key' }, plain)
    expect(layout.fields.map((field) => field.name)).toEqual(['key', 'name'])
    expect(layout.extra).toEqual([])
  })

  it('takes the name from the identity, unless the column of the name is not delivered', () => {
    const header = ['id', 'level']
    expect(planLayout(header, schema, plain).displayColumn).toBe(-1)
    expect(planLayout(header, { ...schema, displayAttribute: null }, plain).displayColumn).toBe(0)
    expect(planLayout(header, { ...schema, displayAttribute: 'x' }, plain).displayColumn).toBe(0)
  })

  it('makes lists of the columns that mergeColumns names', () => {
    const dialect = readDialect({ mergeColumns: ['name'] })
    const layout = planLayout(['id', 'name', 'groups'], schema, dialect)
    expect(layout.fields.filter((field) => field.multi).map((field) => field.name)).toEqual([
      'groups',
      'name',
    ])
  })
})
