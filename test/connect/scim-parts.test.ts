// The parts of the SCIM reader that need no server: paths, JSON that is held against limits, ids that came already.
import { describe, expect, it } from 'vitest'
import { openHighWater } from '../../src/connect/scim-high-water.ts'
import { lookUp, parseJson, scanJson } from '../../src/connect/scim-json.ts'
import { parsePath, readPath, topNames } from '../../src/connect/scim-path.ts'
import { createSeen } from '../../src/connect/scim-seen.ts'
import { readScimSettings } from '../../src/connect/scim-settings.ts'

const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'

const resource = {
  id: 'u1',
  userName: 'ann',
  active: true,
  name: { givenName: 'Ann', familyName: 'Lee' },
  emails: [
    { value: 'home@x', type: 'home' },
    { value: 'work@x', type: 'Work', primary: true },
    { value: 'desk@x', type: 'work' },
  ],
  addresses: [{ type: 'work', locality: 'Bonn', formatted: 'Street 1, Bonn' }],
  groups: [
    { value: 'g1', display: 'One' },
    { value: 'g2', display: 'Two' },
  ],
  roles: ['admin', 'user'],
  logins: 12,
  large: 1e21,
  odd: { a: 1 },
  nothing: null,
  [enterprise]: { employeeNumber: '7', manager: { value: 'm1', displayName: 'Max' } },
  'urn:example:My.Extension:1.0:User': { badge: { number: 5 } },
}

function all(path: string): readonly string[] {
  return readPath(resource, parsePath(path, 'attributeMap'), false)
}

function first(path: string): string | undefined {
  return readPath(resource, parsePath(path, 'attributeMap'), true)[0]
}

describe('a path', () => {
  it.each([
    ['userName', ['ann']],
    ['USERNAME', ['ann']],
    ['name.givenname', ['Ann']],
    ['name.middleName', []],
    ['name', ['{"givenName":"Ann","familyName":"Lee"}']],
    ['active', ['true']],
    ['logins', ['12']],
    ['large', ['1000000000000000000000']],
    ['roles', ['admin', 'user']],
    ['emails', ['home@x', 'work@x', 'desk@x']],
    ['emails.value', ['home@x', 'work@x', 'desk@x']],
    ['emails.type', ['home', 'Work', 'work']],
    ['emails.work', ['work@x', 'desk@x']],
    ['emails.work.value', ['work@x', 'desk@x']],
    ['emails.work.primary.value', ['work@x']],
    ['emails.primary', ['work@x']],
    ['emails.other', []],
    ['emails[type eq "work"].value', ['work@x', 'desk@x']],
    ['emails[type eq "work" and primary eq true]', ['work@x']],
    ['emails[type eq "a.b"].value', []],
    ['addresses', ['Street 1, Bonn']],
    ['addresses.work.locality', ['Bonn']],
    ['groups', ['g1', 'g2']],
    ['groups.display', ['One', 'Two']],
    ['odd', ['{"a":1}']],
    ['nothing', []],
    ['nothing.more', []],
    ['missing', []],
    [`${enterprise}:employeeNumber`, ['7']],
    [`${enterprise.toUpperCase()}:EMPLOYEENUMBER`, ['7']],
    [`${enterprise}.employeeNumber`, ['7']],
    [`${enterprise}:manager`, ['m1']],
    [`${enterprise}:manager.displayName`, ['Max']],
    [`${enterprise}.manager.displayName`, ['Max']],
    ['enterprise.manager.value', ['m1']],
    ['urn:ietf:params:scim:schemas:core:2.0:User:userName', ['ann']],
    ['urn:ietf:params:scim:schemas:core:2.0:User.name.familyName', ['Lee']],
    ['urn:ietf:params:scim:schemas:core:2.0:User:emails[type eq "x:y"].value', []],
    ['urn:example:My.Extension:1.0:User:badge.number', ['5']],
    ['urn:example:other:2.0:User:badge', []],
    ['__proto__', []],
    ['constructor.name', []],
  ])('%s finds %j', (path, expected) => {
    expect(all(path)).toEqual(expected)
  })

  it('to one value takes the primary one, and the first where none is primary', () => {
    expect(first('emails')).toBe('work@x')
    expect(first('emails.value')).toBe('work@x')
    expect(first('emails.home')).toBe('home@x')
    expect(first('groups')).toBe('g1')
  })

  it.each(['emails[type eq "work"', 'emails[type]', 'a..b', '.a', '[x eq 1]', 'emails[a gt 1]'])(
    'that is not understood is an error of the setting (%s)',
    (path) => {
      expect(() => parsePath(path, 'attributeMap')).toThrow(/connectorAttributes\.attributeMap/)
    },
  )

  it('says what of a resource it looks at', () => {
    expect(topNames(parsePath('Name.givenName', 'x'))).toEqual(['name'])
    expect(topNames(parsePath('enterprise.manager.value', 'x'))).toEqual([
      `${enterprise.toLowerCase()}:manager`,
    ])
  })
})

describe('JSON', () => {
  const scan = (...parts: readonly string[]): string | null => {
    const { next } = scanJson()
    return parts.map((part) => next(Buffer.from(part))).find((problem) => problem !== null) ?? null
  }

  it('may be as deep as any resource, and not deeper', () => {
    expect(scan('['.repeat(32), ']'.repeat(32), '['.repeat(32))).toBeNull()
    expect(scan('['.repeat(20), '{"a":'.repeat(13))).toContain('levels deep')
  })

  it('has no depth in its texts, wherever its bytes are cut', () => {
    const text = `{"a":"${'['.repeat(100)}\\"${'{'.repeat(100)}\\\\","b":["\\\\"]}`
    for (let cut = 0; cut < text.length; cut += 1) {
      expect(scan(text.slice(0, cut), text.slice(cut))).toBeNull()
    }
  })

  it('may not hold millions of empty values', () => {
    expect(scan(`[${'[],'.repeat(1_900_000)}`)).toBeNull()
    expect(scan(`[${'[],'.repeat(2_100_000)}`)).toContain('values')
  })

  it('keeps the digits of numbers that are too long for a double', () => {
    const text =
      '{"a":12345678901234567890,"b":[ -9007199254740993 ],"c":"x\\" :1234567890123456789"}'
    const scanned = scanJson()
    for (const byte of Buffer.from(text)) scanned.next(Uint8Array.of(byte))
    expect(scanned.hasLongNumber).toBe(true)
    expect(parseJson(text, true)).toEqual({
      a: '12345678901234567890',
      b: ['-9007199254740993'],
      c: 'x" :1234567890123456789',
    })
    expect(parseJson('{"a":1234567890123456.5,"b":1234567890}', true)).toEqual({
      a: 1234567890123456.5,
      b: 1234567890,
    })
  })

  it('that is broken is none', () => {
    expect(parseJson('{"a":')).toBeUndefined()
  })

  it('has names whose case does not matter, the exact one first', () => {
    expect(lookUp({ USERNAME: 'a', userName: 'b' }, 'userName')).toBe('b')
    expect(lookUp({ USERNAME: 'a' }, 'userName')).toBe('a')
    expect(lookUp({}, 'toString')).toBeUndefined()
  })
})

describe('ids that came', () => {
  it('are known again, and no other is taken for them', () => {
    const seen = createSeen()
    const name = (index: number): string => `2819c223-7f76-453a-${index.toString(16)}`
    for (let index = 0; index < 200_000; index += 1) expect(seen.add(name(index))).toBe(true)
    for (let index = 0; index < 200_000; index += 1) expect(seen.add(name(index))).toBe(false)
    expect(seen.size).toBe(200_000)
    expect([seen.has(name(0)), seen.has(name(199_999)), seen.has(name(200_000))]).toEqual([
      true,
      true,
      false,
    ])
    expect(seen.add('')).toBe(true)
    expect(seen.add('')).toBe(false)
  })
})

describe('the beginning of the next delta', () => {
  const changed = (lastModified: string | null): { id: string; body: Record<string, unknown> } => ({
    id: 'x',
    body: { meta: lastModified === null ? {} : { lastModified } },
  })
  const at = (text: string): number => Date.parse(text)

  it('is the youngest change when that is long ago', () => {
    const water = openHighWater(null)
    for (const time of ['2026-01-02T00:00:00Z', '2026-01-03T02:00:00+02:00', '2026-01-01']) {
      water.note(changed(time))
    }
    expect(water.next(at('2026-05-01T00:00:00Z'))).toBe(at('2026-01-03T00:00:00Z'))
  })

  it('is before the read began when something changed during it', () => {
    const water = openHighWater(null)
    water.note(changed('2026-01-03T00:00:30Z'))
    expect(water.next(at('2026-01-03T00:00:00Z'))).toBe(at('2026-01-02T23:59:00Z'))
  })

  it('never goes back', () => {
    const water = openHighWater(at('2026-01-03T00:00:00Z'))
    expect(water.next(at('2026-01-03T00:00:10Z'))).toBe(at('2026-01-03T00:00:00Z'))
    water.note(changed('2026-01-01T00:00:00Z'))
    expect(water.next(at('2026-01-03T00:00:10Z'))).toBe(at('2026-01-03T00:00:00Z'))
    expect(water.sawOlder).toBe(true)
  })

  it('is unknown when something does not tell when it changed', () => {
    const water = openHighWater(null)
    water.note(changed('2026-01-03T00:00:00Z'))
    water.note(changed(null))
    expect(water.next(null)).toBeNull()
  })
})

describe('the settings', () => {
  const url = 'https://scim.example.com/v2/'

  it('have defaults for all but the URL', () => {
    expect(readScimSettings({ url })).toEqual({
      url: 'https://scim.example.com/v2',
      authentication: { kind: 'none' },
      pageSize: 100,
      pagination: 'auto',
      userFilter: null,
      groupMembership: 'user',
      attributeMap: new Map(),
      tlsCa: null,
      requestsPerSecond: null,
      timeoutMs: 60_000,
    })
  })

  it.each([
    ['url', {}],
    ['url', { url: 'scim.example.com' }],
    ['url', { url: 'ftp://scim.example.com' }],
    ['url', { url: 'https://a:b@scim.example.com' }],
    ['url', { url: 'https://scim.example.com/?a=b' }],
    ['authentication', { url, authentication: 'digest' }],
    ['token', { url, authentication: 'bearer' }],
    ['token', { url, authentication: 'bearer', token: 'a\r\nb' }],
    ['user', { url, authentication: 'basic', password: 'x' }],
    ['password', { url, authentication: 'basic', user: 'x' }],
    ['tokenUrl', { url, authentication: 'oauth2', clientId: 'a', clientSecret: 'b' }],
    ['pageSize', { url, pageSize: 0 }],
    ['attributeMap', { url, attributeMap: { a: 1 } }],
    ['attributeMap', { url, attributeMap: ['a'] }],
    ['timeoutSeconds', { url, timeoutSeconds: 'long' }],
  ])('name the key that is wrong (%s)', (key, given) => {
    expect(() => readScimSettings(given)).toThrow(
      expect.objectContaining({
        code: 'bad_setting',
        message: expect.stringContaining(`connectorAttributes.${key} `) as string,
      }) as Error,
    )
  })
})
