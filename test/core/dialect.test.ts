// The settings of a delimited source as a dialect, and what is wrong with them by the name of the key.
import { describe, expect, it } from 'vitest'
import { readDialect } from '../../src/core/dialect.ts'

function failure(given: Record<string, unknown>): { code: string; message: string; hint: string } {
  try {
    readDialect(given)
  } catch (error) {
    return error as { code: string; message: string; hint: string }
  }
  throw new Error('it did not fail')
}

describe('the dialect', () => {
  it('has the defaults of ISC where nothing is said, or null, or nothing between quotes', () => {
    const defaults = {
      delimiter: ',',
      quote: '"',
      comment: '#',
      header: true,
      linesToSkip: 0,
      encoding: null,
      filterEmptyRecords: true,
      mergeRows: false,
      indexColumn: null,
      mergeColumns: [],
      filter: null,
    }
    expect(readDialect({})).toEqual(defaults)
    expect(
      readDialect({ delimiter: '', mergeRows: null, mergeColumns: null, fileEncoding: '' }),
    ).toEqual(defaults)
  })

  it('takes flags as booleans and as texts, numbers as texts, lists as texts', () => {
    expect(
      readDialect({
        mergeRows: 'true',
        filterEmptyRecords: 'false',
        hasHeader: 'true',
        linesToSkip: '3',
        mergeColumns: 'groups, roles',
        indexColumn: 'id',
        fileEncoding: 'utf-16le',
      }),
    ).toMatchObject({
      mergeRows: true,
      filterEmptyRecords: false,
      linesToSkip: 3,
      mergeColumns: ['groups', 'roles'],
      indexColumn: 'id',
      encoding: 'utf-16le',
    })
  })

  it.each([
    ['\\u0009', '\t'],
    ['\\t', '\t'],
    ['\t', '\t'],
    [';', ';'],
    ['\\u007c', '|'],
  ])('reads the delimiter %j', (given, delimiter) => {
    expect(readDialect({ delimiter: given }).delimiter).toBe(delimiter)
  })

  it('has no quote and no comment character where the text is empty', () => {
    expect(readDialect({ quoteCharacter: '', commentCharacter: '' })).toMatchObject({
      quote: null,
      comment: null,
    })
  })

  it.each([
    ['delimiter', ';;'],
    ['delimiter', '€'],
    ['delimiter', '\n'],
    ['delimiter', '\\u0000'],
    ['delimiter', 5],
    ['quoteCharacter', 'ab'],
    ['commentCharacter', '\\u00e9'],
    ['linesToSkip', -1],
    ['linesToSkip', 1.5],
    ['linesToSkip', 'many'],
    ['mergeRows', 'perhaps'],
    ['filterEmptyRecords', 1],
    ['mergeColumns', [1]],
    ['mergeColumns', {}],
    ['indexColumn', {}],
    ['hasHeader', false],
    ['filterString', 'id = "x"'],
    ['filterString', 5],
    ['fileEncoding', 'utf-9'],
  ])('refuses %s %j by name', (key, value) => {
    const { code, message, hint } = failure({ [key]: value })
    expect(code).toBe('bad_setting')
    expect(message).toContain(`connectorAttributes.${key} `)
    expect(hint).not.toBe('')
  })

  it.each([
    { delimiter: '"' },
    { delimiter: '#' },
    { quoteCharacter: '#' },
    { quoteCharacter: '', delimiter: '#' },
  ])('refuses two meanings of one character: %j', (given) => {
    expect(failure(given).message).toContain('same character')
  })
})
