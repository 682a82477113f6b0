// The rules of personal access tokens: end, scopes, and what a maker may give.
import { describe, expect, it } from 'vitest'
import { RequestError } from '../../src/core/errors.ts'
import { checkOutlives, grantedScopes, tokenExpiry } from '../../src/core/personal-token.ts'

const now = new Date('2026-11-23T10:00:00Z')

function codeOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (error instanceof RequestError) return error.code
    throw error
  }
  return 'none'
}

describe('the end of a token', () => {
  it('is the instant that was given, in UTC', () => {
    const given = { expirationDate: '2027-01-31T12:00:00+02:00' }
    expect(tokenExpiry(given, now, null)).toEqual({
      expires: '2027-01-31T10:00:00.000Z',
      mayNeverExpire: false,
    })
  })

  it('is never when somebody says to know that, and is refused otherwise', () => {
    const aware = { userAwareTokenNeverExpires: true }
    const never = { expires: null, mayNeverExpire: true }
    expect(tokenExpiry(aware, now, null)).toEqual(never)
    expect(tokenExpiry({ ...aware, expirationDate: null }, now, 6)).toEqual(never)
    expect(codeOf(() => tokenExpiry({}, now, null))).toBe('bad_request')
    expect(codeOf(() => tokenExpiry({ expirationDate: null }, now, null))).toBe('bad_request')
    const unaware = { userAwareTokenNeverExpires: false }
    expect(codeOf(() => tokenExpiry(unaware, now, 6))).toBe('bad_request')
  })

  it('is half a year ahead in the versions that cannot say so', () => {
    expect(tokenExpiry({}, now, 6).expires).toBe('2027-05-23T10:00:00.000Z')
  })

  it('is refused when it is past, now, or no instant', () => {
    for (const expirationDate of [
      '2026-11-23T09:59:59Z',
      '2026-11-23T10:00:00Z',
      '2027-01-31',
      'tomorrow',
      '2027-13-01T00:00:00Z',
      '2027-02-30T00:00:00Z',
      '9999-12-31T23:59:59-12:00',
    ]) {
      expect(
        codeOf(() => tokenExpiry({ expirationDate }, now, 6)),
        expirationDate,
      ).toBe('bad_request')
    }
  })

  it('is not later than that of its maker', () => {
    const ofCaller = '2027-01-01T00:00:00.000Z'
    expect(codeOf(() => checkOutlives(ofCaller, ofCaller))).toBe('none')
    expect(codeOf(() => checkOutlives(null, null))).toBe('none')
    expect(codeOf(() => checkOutlives('2027-01-01T00:00:00.001Z', ofCaller))).toBe('forbidden')
    expect(codeOf(() => checkOutlives(null, ofCaller))).toBe('forbidden')
  })
})

describe('the scopes of a token', () => {
  it('are all when none are named, and never more than the maker holds', () => {
    expect(grantedScopes(['sp:scopes:all'], null)).toEqual(['sp:scopes:all'])
    expect(grantedScopes(['sp:scopes:all'], ['a', 'a', 'b'])).toEqual(['a', 'b'])
    expect(grantedScopes(['a', 'b'], ['b'])).toEqual(['b'])
    expect(codeOf(() => grantedScopes(['a'], ['a', 'b']))).toBe('forbidden')
    expect(codeOf(() => grantedScopes(['a'], null))).toBe('forbidden')
    expect(codeOf(() => grantedScopes(['a'], ['sp:scopes:all']))).toBe('forbidden')
  })
})
