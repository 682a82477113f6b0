// Filters, DNs and values of LDAP, without a server.
import { describe, expect, it } from 'vitest'
import { encodeFilter } from '../../src/connect/ldap-filter.ts'
import {
  escapeDnValue,
  escapeFilterValue,
  fillTemplate,
  foldDn,
  isDn,
  isReached,
  isWithin,
} from '../../src/connect/ldap-text.ts'
import {
  directoryState,
  formOf,
  ldapState,
  toGuid,
  toIsoTime,
  toSid,
} from '../../src/connect/ldap-values.ts'
import { nextSince } from '../../src/connect/ldap-delta.ts'
import { readSettings } from '../../src/connect/ldap-settings.ts'

const hex = (filter: string): string => encodeFilter(filter).toString('hex')
/** The bytes of an equality by its two halves. */
const equality = (name: string, value: Buffer): string => {
  const octets = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([4, bytes.length]), bytes])
  const content = Buffer.concat([octets(Buffer.from(name)), octets(value)])
  return Buffer.concat([Buffer.from([0xa3, content.length]), content]).toString('hex')
}

describe('a filter', () => {
  it('becomes the bytes of its parts', () => {
    expect(hex('(cn=a)')).toBe('a3070402636e040161')
    expect(hex('cn=a')).toBe(hex('(cn=a)'))
    expect(hex('(&(cn=a)(!(cn=b)))')).toBe(`a014${hex('(cn=a)')}a209${hex('(cn=b)')}`)
    expect(hex('( | (cn=a)\n (cn=b) )')).toBe(`a112${hex('(cn=a)')}${hex('(cn=b)')}`)
    expect(hex('(cn=*)')).toBe('8702636e')
    expect(hex('(n>=1)')).toBe('a50604016e040131')
    expect(hex('(n<=1)')).toBe('a60604016e040131')
    expect(hex('(n~=1)')).toBe('a80604016e040131')
    expect(hex('(cn=a*b*c)')).toBe('a40f0402636e3009800161810162820163')
    expect(hex('(&)')).toBe('a000')
  })

  it('takes bytes, options and numeric names that ldapts does not', () => {
    expect(hex('(objectGUID=\\ff\\00\\c3)')).toBe(
      equality('objectGUID', Buffer.from([0xff, 0, 0xc3])),
    )
    expect(hex('(cn=\\c3\\a4)')).toBe(equality('cn', Buffer.from('ä')))
    expect(hex('(cn=ä)')).toBe(equality('cn', Buffer.from('ä')))
    expect(hex('(userCertificate;binary=*)')).toBe(
      `8716${Buffer.from('userCertificate;binary').toString('hex')}`,
    )
    expect(hex('(2.5.4.3=a)')).toBe(equality('2.5.4.3', Buffer.from('a')))
    expect(hex('(memberOf:1.2.3:=cn=x)')).toBe('a9178105312e322e3382086d656d6265724f668304636e3d78')
  })

  it('is refused with the place of the fault', () => {
    const reasons: readonly (readonly [string, string])[] = [
      ['(cn=a', 'lacks a ")"'],
      ['(cn=a)(cn=b)', 'goes on after its end, at character 7'],
      ['(cn=a(b)', 'has a value with a "(" or NUL that is not escaped'],
      ['(cn=\\2)', 'has a "\\" without two hexadecimal digits behind it in "\\2"'],
      ['(&(cn=a)', 'lacks a ")"'],
      ['(&(cn=a)x)', 'has no ")" at character 9'],
      ['(!cn=a)', 'has no "(" at character 3'],
      ['()', 'has the part "", which is no comparison'],
      ['(cn)', 'has the part "cn", which is no comparison'],
      ['(c n=a)', 'has the part "c n=a", which is no comparison'],
      [`${'(!'.repeat(60)}(cn=a)${')'.repeat(60)}`, 'is nested deeper than 50 levels'],
    ]
    for (const [filter, reason] of reasons) {
      expect(() => encodeFilter(filter)).toThrow(`The filter ${reason}.`)
    }
  })

  it('takes any value literally after it was escaped', () => {
    for (const value of ['*)(uid=*', '\0', '\\28', '(', 'ä*', '\\', '']) {
      expect(hex(`(cn=${escapeFilterValue(value)})`)).toBe(equality('cn', Buffer.from(value)))
    }
    expect(escapeFilterValue('*)(uid=*')).toBe('\\2a\\29\\28uid=\\2a')
    expect(escapeFilterValue('\\28')).toBe('\\5c28')
  })
})

describe('a DN', () => {
  it('takes any value literally after it was escaped', () => {
    expect(escapeDnValue('a,ou=b+c="d";<e>\\')).toBe('a\\,ou\\=b\\+c\\=\\"d\\"\\;\\<e\\>\\\\')
    expect(escapeDnValue(' #a ')).toBe('\\ #a\\ ')
    expect(escapeDnValue('#a')).toBe('\\#a')
    expect(escapeDnValue(' ')).toBe('\\ ')
    expect(escapeDnValue('a\0b')).toBe('a\\00b')
    for (const value of ['a,ou=b', ' x ', '#x', 'a"b', 'a\\,b', 'ö;ü', ' ']) {
      const dn = `cn=${escapeDnValue(value)},dc=x`
      expect(isDn(dn)).toBe(true)
      expect(isWithin(dn, 'dc=x')).toBe(true)
    }
  })

  it('has one form in which it is compared', () => {
    const same: readonly (readonly string[])[] = [
      ['cn=a,dc=x', 'CN=A,DC=X', 'cn=a, dc=x', 'cn = a , dc = x', 'cn=a;dc=x', ' cn=a,dc=x '],
      ['cn=a\\,b,dc=x', 'cn=a\\2cb,dc=x', 'cn=A\\2Cb, dc=x', 'cn="a,b",dc=x'],
      ['cn=ä,dc=x', 'cn=\\c3\\a4,dc=x', 'cn=Ä,dc=x'],
      ['cn=a+uid=b,dc=x', 'uid=b+cn=a,dc=x', 'UID=b + CN=a,dc=x'],
      ['cn=a b,dc=x', 'cn=a  b,dc=x'],
      ['cn=a\\ ,dc=x', 'cn=a\\20,dc=x'],
    ]
    for (const [first = '', ...others] of same) {
      for (const other of others) expect(foldDn(other)).toBe(foldDn(first))
    }
    expect(foldDn('cn=a\\,dc=y,dc=x')).not.toBe(foldDn('cn=a,dc=y,dc=x'))
    expect(foldDn('cn=a\\+b,dc=x')).not.toBe(foldDn('cn=a+cn=b,dc=x'))
  })

  it('lies within its base and not within one whose name ends alike', () => {
    expect(isWithin('uid=a,ou=people,dc=x', 'OU=People, DC=x')).toBe(true)
    expect(isWithin('ou=people,dc=x', 'ou=people,dc=x')).toBe(true)
    expect(isWithin('ou=people2,dc=x', 'ou=people,dc=x')).toBe(false)
    expect(isWithin('uid=a\\,dc=x', 'dc=x')).toBe(false)
    expect(isWithin('dc=x', '')).toBe(true)
  })

  it('is reached from a base by the scope of the search', () => {
    const reached = (dn: string): readonly boolean[] =>
      (['base', 'one', 'sub'] as const).map((scope) => isReached(dn, 'ou=a,dc=x', scope))
    expect(reached('OU=A,dc=x')).toEqual([true, false, true])
    expect(reached('cn=b\\,c,ou=a,dc=x')).toEqual([false, true, true])
    expect(reached('cn=b,ou=c,ou=a,dc=x')).toEqual([false, false, true])
    expect(reached('cn=b,dc=x')).toEqual([false, false, false])
    expect(isReached('dc=x', '', 'one')).toBe(true)
  })

  it('is told from other texts', () => {
    expect(['', 'dc=x', '2.5.4.3=a,dc=x', 'cn=a+uid=b'].map(isDn)).toEqual([true, true, true, true])
    expect(['x', 'cn=a,', 'cn=a,,dc=x', '=a'].map(isDn)).toEqual([false, false, false, false])
  })
})

describe('placeholders', () => {
  it('are filled with escaped values', () => {
    const values = new Map([['name', '*)(uid=*']])
    expect(fillTemplate('(cn={name})', values, escapeFilterValue)).toEqual({
      text: '(cn=\\2a\\29\\28uid=\\2a)',
    })
    expect(fillTemplate('(cn={other})', values, escapeFilterValue)).toEqual({ missing: 'other' })
  })

  it('cannot change what the settings ask for', () => {
    const settings = readSettings('ldap', {
      url: 'ldap://example.com',
      baseDns: ['ou={unit},dc=x'],
      filter: '(&(objectClass=person)(l={town}))',
      values: { unit: 'a,dc=y', town: '*)(uid=*' },
    })
    expect(settings.accounts.bases).toEqual(['ou=a\\,dc\\=y,dc=x'])
    expect(settings.accounts.filter).toBe('(&(objectClass=person)(l=\\2a\\29\\28uid=\\2a))')
  })
})

describe('settings', () => {
  const given = { url: 'ldap://example.com', baseDns: ['dc=x'] }
  it('have a usual value for everything but the address and the bases', () => {
    const ldap = readSettings('ldap', given)
    expect(ldap).toMatchObject({
      port: 389,
      encryption: 'none',
      pageSize: 1000,
      membership: 'search',
    })
    expect(ldap.groups.bases).toEqual(['dc=x'])
    const directory = readSettings('active-directory', { ...given, url: 'ldaps://example.com' })
    expect(directory).toMatchObject({ port: 636, encryption: 'tls', membership: 'memberOf' })
  })

  it('leave out a base that lies below another one', () => {
    const baseDns = ['ou=a,dc=x', 'dc=x', 'DC=X', 'dc=y']
    expect(readSettings('ldap', { ...given, baseDns }).accounts.bases).toEqual(['dc=x', 'dc=y'])
    const one = readSettings('ldap', { ...given, baseDns, scope: 'one' })
    expect(one.accounts.bases).toEqual(['ou=a,dc=x', 'dc=x', 'dc=y'])
  })

  it('are refused by the name of what cannot be used', () => {
    const wrong: readonly (readonly [string, object])[] = [
      ['url', { url: 'http://example.com' }],
      ['url', { url: 'ldap://user:secret@example.com' }],
      ['url', { url: 'ldap://example.com/dc=x?uid' }],
      ['url', { url: 'ldap:' }],
      ['startTls', { url: 'ldaps://example.com', startTls: true }],
      ['baseDns', { baseDns: [] }],
      ['baseDns', { baseDns: ['example.com'] }],
      ['filter', { filter: '(uid=*' }],
      ['groupFilter', { groupFilter: '(&(a=b)' }],
      ['filter', { filter: '(uid={who})', values: { other: 'x' } }],
      ['values', { values: { other: 1 } }],
      ['attributeMap', { attributeMap: ['a'] }],
      ['followReferrals', { followReferrals: true }],
      ['bindPassword', { bindDn: 'cn=a' }],
      ['scope', { scope: 'tree' }],
      ['pageSize', { pageSize: -1 }],
      ['groupMembership', { groupMembership: 'both' }],
      ['groupMemberAttribute', { groupMemberAttribute: 'member)(uid=*' }],
      ['keyAttribute', { keyAttribute: 'entry UUID' }],
    ]
    for (const [key, more] of wrong) {
      const read = () => readSettings('ldap', { ...given, ...more })
      expect(read, JSON.stringify(more)).toThrow(`connectorAttributes.${key} `)
    }
  })
})

describe('the begin of the next delta', () => {
  it('lies before the begin of this read by the clock of the server', () => {
    // A read of 9.2 s that saw a change at 00:00:10 began at 00:00:00 there, and 60 s are for stragglers.
    expect(nextSince(null, '20261122000010Z', 9_200)).toBe('20261121235900Z')
    expect(nextSince(null, '20261122000010.5Z', 0)).toBe('20261121235910Z')
  })

  it('never moves back, and stays when nothing was read', () => {
    expect(nextSince('20261122000000Z', '20261122000010Z', 0)).toBe('20261122000000Z')
    expect(nextSince('20261122000000Z', null, 0)).toBe('20261122000000Z')
    expect(nextSince(null, null, 0)).toBe(null)
    expect(nextSince(null, 'yesterday', 0)).toBe(null)
  })
})

describe('values', () => {
  it('are read as the ids that people know', () => {
    const guid = Buffer.from('33221100554477668899aabbccddeeff', 'hex')
    expect(toGuid(guid)).toBe('00112233-4455-6677-8899-aabbccddeeff')
    const sid = Buffer.from('010500000000000515000000a065cf7e784b9b5fe77c8770091c0100', 'hex')
    expect(toSid(sid)).toBe('S-1-5-21-2127521184-1604012920-1887927527-72713')
    expect(toGuid(Buffer.from('ff', 'hex'))).toBe('/w==')
    expect(toSid(Buffer.from('0105ff', 'hex'))).toBe('AQX/')
    expect(formOf('ObjectGuid', [])).toBe(toGuid)
    expect(formOf('cn', [])).toBe(null)
    expect(formOf('blob', ['BLOB'])?.(Buffer.from([0xff]))).toBe('/w==')
    expect(formOf('x;binary', [])?.(Buffer.from([0xff]))).toBe('/w==')
  })

  it('are read as times', () => {
    expect(toIsoTime('20261122213005Z')).toBe('2026-11-22T21:30:05Z')
    expect(toIsoTime('20261122213005.0Z')).toBe('2026-11-22T21:30:05Z')
    expect(toIsoTime('202611222130+0130')).toBe('2026-11-22T21:30:00+01:30')
    expect(toIsoTime('133774578000000000')).toBe('2024-11-30T16:30:00.000Z')
    expect(toIsoTime('116444736000000000')).toBe('1970-01-01T00:00:00.000Z')
    expect(toIsoTime('0')).toBe(null)
    expect(toIsoTime('9223372036854775807')).toBe(null)
    expect(toIsoTime('2026-11-22')).toBe('2026-11-22')
  })

  it('tell whether an account is disabled or locked', () => {
    expect(ldapState(null, null)).toEqual({ disabled: false, locked: false })
    expect(ldapState('20261122213005Z', null)).toEqual({ disabled: false, locked: true })
    expect(ldapState('000001010000Z', null)).toEqual({ disabled: true, locked: false })
    expect(ldapState(null, 'TRUE')).toEqual({ disabled: true, locked: false })
    expect(directoryState('512', null, '0')).toEqual({ disabled: false, locked: false })
    expect(directoryState('514', null, null)).toEqual({ disabled: true, locked: false })
    expect(directoryState('528', null, null)).toEqual({ disabled: false, locked: true })
    expect(directoryState('512', null, '133774578000000000').locked).toBe(true)
    // The lock is over, though the entry still has its time.
    expect(directoryState('512', '0', '133774578000000000').locked).toBe(false)
    expect(directoryState('512', '16', '0').locked).toBe(true)
  })
})
