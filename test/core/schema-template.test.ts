// Templates of schemas: written so that no spreadsheet calculates them, and read back as they were (S9).
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readDialect } from '../../src/core/dialect.ts'
import { attribute } from '../../src/core/schema.ts'
import {
  attributesOfTemplate,
  templateNames,
  templateText,
} from '../../src/core/schema-template.ts'

const plain = readDialect({})
const text = (names: readonly string[], dialect = plain, raw = false): string =>
  templateText(
    names.map((name) => attribute(name)),
    dialect,
    raw,
  )

describe('the template of a schema', () => {
  it('is the names of its attributes in one line', () => {
    expect(text(['id', 'name', 'e-mail'])).toBe('id,name,e-mail\n')
    expect(text([])).toBe('\n')
  })

  it('quotes what would be read as something else', () => {
    expect(text(['a,b', 'c"d', 'e\nf'])).toBe('"a,b","c""d","e\nf"\n')
    expect(text(['#id', '#name'])).toBe('"#id",#name\n')
    const semicolons = readDialect({ delimiter: ';', quoteCharacter: '~', commentCharacter: '' })
    expect(text(['a,b', 'c;d', 'e~f', '#g'], semicolons)).toBe('a,b;~c;d~;~e~~f~;#g\n')
  })

  it('makes formulas harmless unless it is asked for raw', () => {
    const names = ['=1+1', '+x', '-x', '@sum', '\tx', '＝x', " '=x", "'=x"]
    expect(text(names)).toBe(`${names.map((name) => `"'${name}"`).join(',')}\n`)
    expect(text(['=1+1', '@sum'], plain, true)).toBe('=1+1,@sum\n')
  })

  it('carries a mark where the source has another encoding than UTF-8 and a name needs it', () => {
    const latin = readDialect({ fileEncoding: 'windows-1252' })
    expect(text(['id', 'größe'], latin)).toBe('\ufeffid,größe\n')
    expect(text(['id'], latin)).toBe('id\n')
    // Two bytes a character: without the mark even ASCII would be read as something else.
    expect(text(['id'], readDialect({ fileEncoding: 'utf-16le' }))).toBe('\ufeffid\n')
    expect(text(['größe'])).toBe('größe\n')
  })

  it('gives back every name, made harmless or raw', () => {
    const name = fc.oneof(
      fc.string(),
      fc.string({ unit: fc.constantFrom("'", '=', '-', '@', ' ', 'a', '＝', '\t') }),
    )
    fc.assert(
      fc.property(fc.array(name, { minLength: 1 }), (names) => {
        const line = text(names, readDialect({ delimiter: '\\u0009', quoteCharacter: '"' }))
        expect(templateNames(cellsOf(line))).toEqual(names)
      }),
    )
    expect(templateNames(["'abc", "o'clock", '=1', 'plain'])).toEqual([
      "'abc",
      "o'clock",
      '=1',
      'plain',
    ])
  })
})

/** The cells of one line with tabs and double quotes. */
function cellsOf(line: string): string[] {
  const cells: string[] = []
  const pattern = /(?:"((?:[^"]|"")*)"|([^\t"]*))(\t|\n$)/gy
  for (let at = 0; at < line.length; at = pattern.lastIndex) {
    const found = pattern.exec(line)
    if (found === null) throw new Error(`not a line: ${JSON.stringify(line)}`)
    cells.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? '')
  }
  return cells
}

describe('an uploaded template', () => {
  const schema = {
    name: 'account',
    attributes: [
      attribute('id'),
      attribute('name'),
      attribute('groups', { isMulti: true, isEntitlement: true }),
      attribute('level', { type: 'INT' }),
    ],
    identityAttribute: 'id',
    displayAttribute: 'name',
  }

  it('keeps the attributes that it names, adds new ones as text and drops the others', () => {
    expect(attributesOfTemplate(schema, ['name', 'id', 'mail', 'groups'])).toEqual([
      attribute('name'),
      attribute('id'),
      attribute('mail'),
      attribute('groups', { isMulti: true, isEntitlement: true }),
    ])
  })

  it.each([
    [['name', 'mail'], 'no column "id", the identityAttribute of the schema "account"'],
    [['id', 'mail'], 'no column "name", the displayAttribute'],
    [['id', 'name', 'Groups'], '"Groups" differs only in case from the attribute "groups"'],
    [['ID', 'name'], 'differs only in case'],
    [['id', 'name', 'x', 'x'], 'twice'],
    [['id', 'name', ''], 'Column 3'],
    [[], 'no header'],
  ])('with the header %j is refused: %s', (header, problem) => {
    expect(() => attributesOfTemplate(schema, header)).toThrow(problem)
  })
})
