import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { csvLine, neutralised } from '../../src/core/csv-text.ts'

describe('CSV', () => {
  it('is quoted where a reader would take it apart, and doubles its quotes', () => {
    expect(csvLine(['a', 'b,c', 'd"e', 'f\ng', ' h', '', null, true, 1.5], { raw: false })).toBe(
      'a,"b,c","d""e","f\ng"," h",,,true,1.5',
    )
  })

  it('makes formulas harmless: what begins with = + - @, tab, return, full-width forms, behind spaces and apostrophes', () => {
    const formulas = ['=1+1', '+1', '-1', '@x', '\tx', '\rx', ' =1', "'=1", "''=1", '\uff1d1']
    for (const text of [...formulas, '\uff0b1', '\uff0d1', '\uff201']) {
      expect([text, csvLine([text], { raw: false })]).toEqual([text, `"'${text}"`])
    }
    expect(csvLine(['=1+1', '-1'], { raw: true })).toBe('=1+1,-1')
  })

  it('leaves numbers and ordinary texts alone', () => {
    expect(csvLine([-5, 'a=b', 'x-y', 'ada@example.com', "O'Neil"], { raw: false })).toBe(
      "-5,a=b,x-y,ada@example.com,O'Neil",
    )
  })

  it('gives every text back when one leading apostrophe is taken off', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("'", '=', ' ', 'a', '\t', '-') }), (text) => {
        const cell = neutralised(text)
        expect(cell.startsWith("'") ? cell.slice(1) : cell).toBe(text)
        // A spreadsheet shows what is behind an apostrophe as text.
        expect(cell).not.toMatch(/^[\s]*[=+\-@]/)
      }),
    )
  })
})
