// What a cell may say for each type, and how it is written down.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  canonicalBoolean,
  canonicalInteger,
  canonicalJson,
  isBlank,
  isDate,
} from '../../src/core/value.ts'

describe('a value', () => {
  it('is blank when it is empty or only spaces and tabs', () => {
    expect(['', ' ', '\t ', '  '].map(isBlank)).toEqual([true, true, true, true])
    expect(['\n', '\u00a0', '0', ' \r', '\0'].map(isBlank)).toEqual([
      false,
      false,
      false,
      false,
      false,
    ])
  })

  it('of an integer type has the digits of its number, whatever signs, zeros and spaces were written', () => {
    const range = fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n })
    fc.assert(
      fc.property(range, fc.nat({ max: 5 }), (number, zeros) => {
        const sign = number < 0n ? '-' : zeros % 2 === 0 ? '' : '+'
        const digits = (number < 0n ? -number : number).toString()
        const written = ` ${sign}${'0'.repeat(zeros)}${digits} `
        const fits = (bits: bigint): boolean =>
          number >= -(2n ** (bits - 1n)) && number < 2n ** (bits - 1n)
        expect(canonicalInteger(written, 'LONG')).toBe(fits(64n) ? number.toString() : null)
        expect(canonicalInteger(written, 'INT')).toBe(fits(32n) ? number.toString() : null)
      }),
    )
  })

  it.each(['', '-', '+', '1.0', '1e3', '0x10', '１', '1 2', '--1', '1,000', '9'.repeat(41)])(
    'of an integer type is not %j',
    (text) => {
      expect(canonicalInteger(text, 'LONG')).toBeNull()
    },
  )

  it('of a boolean type is true, yes, 1 or false, no, 0 in any case', () => {
    expect(['true', 'YES', ' 1 ', 'True'].map(canonicalBoolean)).toEqual(Array(4).fill('true'))
    expect(['false', 'No', '0', 'FALSE '].map(canonicalBoolean)).toEqual(Array(4).fill('false'))
    expect(['', 'on', 'y', '2', 'tru', '01'].map(canonicalBoolean)).toEqual(Array(6).fill(null))
  })

  it.each([
    '2026-11-22',
    '2024-02-29',
    '2000-02-29',
    '2026-11-22T10:00',
    '2026-11-22 10:00:59',
    '2026-11-22T23:59:60Z',
    '2026-11-22T10:00:00.123+01:00',
    '20261122',
    '1.2.2026',
    '22.11.2026',
    '11/22/2026',
    '22/11/2026',
    ' 2026-11-22 ',
  ])('of a date type may be %j', (text) => {
    expect(isDate(text)).toBe(true)
    // It is kept as it was delivered.
    expect(canonicalJson(text, 'DATE')).toBe(JSON.stringify(text))
  })

  it.each([
    '',
    '2026-02-29',
    '1900-02-29',
    '2026-13-01',
    '2026-00-10',
    '2026-11-31',
    '2026-11-00',
    '2026-11-22T24:00',
    '2026-11-22T10:60',
    '20260229',
    '31.11.2026',
    '13/13/2026',
    '2026-1-2',
    '22.11.26',
    'yesterday',
    '2026-11-22x',
    '2026-11-22Z',
  ])('of a date type may not be %j', (text) => {
    expect(isDate(text)).toBe(false)
    expect(canonicalJson(text, 'DATE')).toBeNull()
  })
})
