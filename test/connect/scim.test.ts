// The SCIM reader against a real server (scimmy with scimmy-routers): users, groups, deltas, schemas.
import { afterEach, describe, expect, it } from 'vitest'
import type { ReadRecord } from '../../src/connect/reader.ts'
import { drain, errorOf, openReader, requestFor, wanted } from './scim-drain.ts'
import {
  makeStore,
  type ScimServer,
  type ScimServerOptions,
  startScimServer,
} from './scim-server.ts'

const badge = 'urn:ietf:params:scim:schemas:extension:badge:2.0:User'
const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'

const started: ScimServer[] = []
afterEach(async () => {
  for (const server of started.splice(0)) await server.close()
})

async function start(given: Partial<ScimServerOptions> = {}): Promise<ScimServer> {
  const server = await startScimServer({ store: makeStore(25), ...given })
  started.push(server)
  return server
}

function ids(records: readonly ReadRecord[]): readonly string[] {
  return records.map(({ identity }) => identity)
}

function numbered(prefix: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`)
}

describe('a full read', () => {
  it.each([1, 7, 10, 25, 100])('is whole with pages of %i', async (pageSize) => {
    const server = await start()
    const reader = openReader({ url: server.url, pageSize })
    const { records, end } = await drain(reader.read(requestFor()))
    expect(ids(records)).toEqual(numbered('u', 25))
    expect(end).toMatchObject({ mode: 'full', expected: 25 })
    expect(end.proof).toContain('25')
    const pages = server.requests.filter((path) => path.includes('/Users'))
    // After a single page it looks whether that was all.
    expect(pages).toHaveLength(pageSize >= 25 ? 2 : Math.ceil(25 / pageSize))
  })

  it('is whole where the server gives smaller pages than it is asked for', async () => {
    const server = await start({ largestPage: 4 })
    const { records } = await drain(openReader({ url: server.url }).read(requestFor()))
    expect(ids(records)).toEqual(numbered('u', 25))
    expect(server.requests.filter((path) => path.includes('/Users'))).toHaveLength(7)
  })

  it('of nobody is whole too', async () => {
    const server = await start({ store: makeStore(0) })
    const { records, end } = await drain(openReader({ url: server.url }).read(requestFor()))
    expect(records).toEqual([])
    expect(end).toMatchObject({ expected: 0, mode: 'full', cursor: null })
    expect(end.proof).not.toBeNull()
  })

  it('gives the values of the default schema', async () => {
    const server = await start()
    const request = requestFor()
    const { records } = await drain(openReader({ url: server.url }).read(request))
    const values = Object.fromEntries(
      request.attributes.map(({ name }, place) => [name, records[6]?.values[place]]),
    )
    expect(records[6]).toMatchObject({ identity: 'u6', key: 'u6', disabled: true })
    expect(records[5]).toMatchObject({ identity: 'u5', key: 'u5', disabled: false })
    expect(values).toEqual({
      id: 'u6',
      externalId: 'ext-6',
      userName: 'user6@example.com',
      displayName: 'User 6',
      'name.givenName': 'Given6',
      'name.familyName': 'Family6',
      'name.formatted': null,
      title: 'Clerk',
      userType: null,
      preferredLanguage: null,
      active: 'false',
      emails: ['home6@example.com', 'user6@example.com'],
      phoneNumbers: null,
      groups: ['g6', 'g-all'],
      roles: null,
      entitlements: null,
      [`${enterprise}:employeeNumber`]: '1006',
      [`${enterprise}:department`]: null,
      [`${enterprise}:manager.value`]: 'u0',
    })
  })

  it('takes names as the source has them, and tells what nobody asked for', async () => {
    const server = await start()
    const attributeMap = {
      mail: 'emails[type eq "work"].value',
      team: 'groups.display',
      badge: `${badge}:number`,
    }
    const attributes = [
      wanted('USERNAME'),
      wanted('mail'),
      wanted('team', true),
      { ...wanted('boss'), nativeName: 'enterprise.manager.value' },
      wanted('badge'),
    ]
    const reader = openReader({ url: server.url, attributeMap })
    const request = requestFor({ attributes, identityAttribute: 'mail' })
    const { records, end } = await drain(reader.read(request))
    expect(records[3]).toMatchObject({
      identity: 'user3@example.com',
      key: 'u3',
      values: ['user3@example.com', 'user3@example.com', ['Team 3', 'All'], 'u0', '3'],
    })
    expect(end.extra).toEqual(
      expect.arrayContaining([
        'displayName',
        'title',
        `${badge}:lost`,
        `${enterprise}:employeeNumber`,
      ]),
    )
    expect(end.extra).not.toContain('userName')
    expect(end.extra).not.toContain('groups')
    expect(end.extra).not.toContain(`${badge}:number`)
  })

  it('of which only some are wanted ends early and proves nothing', async () => {
    const server = await start()
    const reader = openReader({ url: server.url, pageSize: 10 })
    const { records, end } = await drain(reader.read(requestFor({ limit: 12 })))
    expect(ids(records)).toEqual(numbered('u', 12))
    expect(end).toMatchObject({ proof: null, expected: null })
  })

  it('reads only users that pass the filter', async () => {
    const server = await start()
    const reader = openReader({ url: server.url, userFilter: 'title eq "Clerk"', pageSize: 4 })
    const { records, end } = await drain(reader.read(requestFor()))
    expect(records).toHaveLength(9)
    expect(end.expected).toBe(9)
  })

  it('with a filter that the server does not understand shows what it says', async () => {
    const server = await start()
    const reader = openReader({ url: server.url, userFilter: 'title equals' })
    const error = await errorOf(drain(reader.read(requestFor())))
    expect(error).toMatchObject({ code: 'request_refused', temporary: false })
    expect(error.message).toMatch(/answered 400: .+/)
  })

  it('finds out a server that gives the first page again and again', async () => {
    // The trap of scimmy-routers 1.3 under express 5: whatever is asked for, users 1 to 20 come.
    const server = await start({ losesPages: true })
    const error = await errorOf(drain(openReader({ url: server.url }).read(requestFor())))
    expect(error.code).toBe('repeated_record')
    expect(error.hint).toContain('startIndex')
  })

  it('asks for one page more than is worked off, and for none when it is left', async () => {
    const server = await start()
    const reader = openReader({ url: server.url, pageSize: 2 })
    const pages = reader.read(requestFor())
    await pages.next()
    await new Promise((resolve) => setTimeout(resolve, 100))
    const asked = (): number => server.requests.filter((path) => path.includes('/Users')).length
    expect(asked()).toBe(2)
    await pages.return({ proof: null, expected: null, mode: 'full', cursor: null })
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(asked()).toBe(2)
  })

  it('does not ask more often than it may', async () => {
    const server = await start()
    const reader = openReader({ url: server.url, pageSize: 5, requestsPerSecond: 4 })
    const began = performance.now()
    await drain(reader.read(requestFor()))
    // One request for the configuration and five for users: five gaps.
    expect(performance.now() - began).toBeGreaterThan(5 * 250 - 20)
  })
})

describe('the groups', () => {
  it('are entitlements whose identity is the value in the accounts', async () => {
    const server = await start()
    const reader = openReader({ url: server.url, pageSize: 4 })
    const attributes = [wanted('id'), wanted('displayName')]
    const request = requestFor({ objectType: 'group', attributes })
    const { records, end } = await drain(reader.entitlements?.(request) ?? expect.fail())
    expect(ids(records)).toEqual([...numbered('g', 10), 'g-all'])
    expect(records[3]?.values).toEqual(['g3', 'Team 3'])
    expect(end).toMatchObject({ expected: 11, mode: 'full' })
    // Nobody asked for the members, which are most of a group.
    expect(server.requests.some((path) => path.includes('excludedAttributes=members'))).toBe(true)
    const users = await drain(reader.read(requestFor({ attributes: [wanted('groups', true)] })))
    expect(new Set(users.records.flatMap(({ values }) => values[0]))).toEqual(new Set(ids(records)))
  })

  it('have members where the schema wants them', async () => {
    const server = await start()
    const reader = openReader({ url: server.url })
    const attributes = [wanted('displayName'), wanted('members', true)]
    const request = requestFor({ objectType: 'group', attributes })
    const { records } = await drain(reader.entitlements?.(request) ?? expect.fail())
    expect(records[4]?.values).toEqual(['Team 4', ['u4', 'u14', 'u24']])
  })

  it('are no entitlements by another name', async () => {
    const server = await start()
    const request = requestFor({ objectType: 'role' })
    const reading = drain(openReader({ url: server.url }).entitlements?.(request) ?? expect.fail())
    expect((await errorOf(reading)).code).toBe('object_type_unknown')
  })

  it('are joined to users who do not name them', async () => {
    const store = makeStore(25)
    for (const user of store.users) delete user.groups
    const server = await start({ store })
    const reader = openReader({ url: server.url, groupMembership: 'group', pageSize: 4 })
    const attributes = [
      wanted('groups', true),
      { ...wanted('names', true), nativeName: 'groups.display' },
    ]
    const { records } = await drain(reader.read(requestFor({ attributes })))
    expect(records[13]?.values).toEqual([
      ['g3', 'g-all'],
      ['Team 3', 'All'],
    ])
    expect(await reader.readOne?.('u13', requestFor({ attributes }))).toMatchObject({
      values: [
        ['g3', 'g-all'],
        ['Team 3', 'All'],
      ],
    })
  })

  it('that name no members are not believed: everybody would lose theirs', async () => {
    const store = makeStore(25)
    for (const group of store.groups) group.members = []
    const server = await start({ store })
    const reader = openReader({ url: server.url, groupMembership: 'group' })
    const error = await errorOf(drain(reader.read(requestFor())))
    expect(error.code).toBe('members_missing')
  })
})

describe('a delta', () => {
  it('reads what changed since the last read, and nothing where nothing did', async () => {
    const store = makeStore(25)
    const server = await start({ store })
    const reader = openReader({ url: server.url, pageSize: 10 })
    const first = await drain(reader.read(requestFor()))
    expect(first.end.cursor).toMatchObject({ lastModified: Date.parse('2026-01-01T00:00:00Z') })

    // Everybody was changed at the time of the cursor, so a delta reads them once more.
    const changed = store.users[7]
    if (changed === undefined) expect.fail()
    changed.title = 'Manager'
    changed.meta.lastModified = '2026-02-01T00:00:00.000Z'
    const second = await drain(reader.read(requestFor({ cursor: first.end.cursor })))
    expect(second.end).toMatchObject({
      mode: 'delta',
      cursor: { lastModified: Date.parse('2026-02-01T00:00:00Z') },
    })

    const third = await drain(reader.read(requestFor({ cursor: second.end.cursor })))
    expect(ids(third.records)).toEqual(['u7'])
    expect(third.end).toMatchObject({ mode: 'delta', expected: 1, cursor: second.end.cursor })

    store.users.pop()
    const fourth = await drain(reader.read(requestFor({ cursor: third.end.cursor })))
    expect(ids(fourth.records)).toEqual(['u7'])
    expect(fourth.records.some(({ deleted }) => deleted === true)).toBe(false)
  })

  it('begins before the read when users change during it', async () => {
    const store = makeStore(25, new Date(Date.now() + 5000).toISOString())
    const server = await start({ store })
    const { end } = await drain(openReader({ url: server.url }).read(requestFor()))
    expect(Number(end.cursor?.['lastModified'])).toBeLessThan(Date.now() - 50_000)
  })

  it.each([
    ['another filter', { userFilter: 'active eq true' }, {}],
    ['another map', { attributeMap: { title: 'userType' } }, {}],
    ['another schema', {}, { attributes: [wanted('userName'), wanted('nickName')] }],
  ])('becomes a full read with %s', async (_, settings, request) => {
    const server = await start()
    const { end } = await drain(openReader({ url: server.url }).read(requestFor()))
    const reader = openReader({ url: server.url, ...settings })
    const second = await drain(reader.read(requestFor({ ...request, cursor: end.cursor })))
    expect(second.end.mode).toBe('full')
  })

  it('also passes the filter of the source', async () => {
    const store = makeStore(25)
    const server = await start({ store })
    const reader = openReader({
      url: server.url,
      userFilter: 'title eq "Clerk" or title eq "None"',
    })
    const { end } = await drain(reader.read(requestFor()))
    for (const user of store.users.slice(0, 6)) user.meta.lastModified = '2026-02-01T00:00:00Z'
    const since = { ...end.cursor, lastModified: Date.parse('2026-02-01T00:00:00Z') }
    const second = await drain(reader.read(requestFor({ cursor: since })))
    expect(ids(second.records)).toEqual(['u0', 'u3'])
    expect(second.end.mode).toBe('delta')
  })
})

describe('one user', () => {
  it('is read by its id, and is nobody where there is none', async () => {
    const server = await start()
    const reader = openReader({ url: server.url })
    const attributes = [wanted('userName')]
    const read = (identity: string): Promise<ReadRecord | null> =>
      reader.readOne?.(identity, requestFor({ attributes })) ?? expect.fail()
    expect(await read('u4')).toMatchObject({ identity: 'u4', values: ['user4@example.com'] })
    expect(await read('u99')).toBeNull()
    expect(await read('..')).toBeNull()
    expect(await read('../Groups/g1')).toBeNull()
    expect(await read('')).toBeNull()
  })

  it('is read by another identity, within the filter of the source', async () => {
    const server = await start()
    const reader = openReader({ url: server.url, userFilter: 'active eq true' })
    const attributes = [wanted('userName')]
    const read = (identity: string): Promise<ReadRecord | null> =>
      reader.readOne?.(identity, requestFor({ attributes, identityAttribute: 'userName' })) ??
      expect.fail()
    expect(await read('user4@example.com')).toMatchObject({ key: 'u4' })
    expect(await read('user6@example.com')).toBeNull()
    // A quote in the identity ends no text of the filter (this server does not understand it at all).
    const injected = await errorOf(read('x" or userName eq "user4@example.com'))
    expect(injected.code).toBe('request_refused')
  })
})

describe('a look', () => {
  it('at the server tells what it can do', async () => {
    const server = await start()
    const reader = openReader({ url: server.url })
    expect(await reader.check(new AbortController().signal)).toEqual({
      configurationFound: true,
      filterSupported: true,
      pagination: 'index',
      userFound: true,
    })
    expect(server.requests).toHaveLength(2)
  })

  it('at another address says so', async () => {
    const server = await start()
    const reader = openReader({ url: `${server.url}/wrong` })
    const error = await errorOf(reader.check(new AbortController().signal))
    expect(error.code).toBe('endpoint_missing')
    expect(error.hint).toContain('connectorAttributes.url')
  })

  it('at a server that is not there says so', async () => {
    const server = await start()
    await server.close()
    started.length = 0
    const error = await errorOf(openReader({ url: server.url }).check(new AbortController().signal))
    expect(error).toMatchObject({ code: 'connect_failed', temporary: true })
  })
})

describe('the schemas of the server', () => {
  it('have its extensions, types and lists, and no passwords', async () => {
    const server = await start()
    const reader = openReader({ url: server.url })
    const [account, group] = await reader.discover(new AbortController().signal)
    const found = new Map(account?.attributes.map((attribute) => [attribute.name, attribute]))
    expect(account).toMatchObject({
      name: 'account',
      nativeObjectType: 'User',
      identityAttribute: 'id',
      displayAttribute: 'userName',
    })
    for (const { name, ...attribute } of requestFor().attributes) {
      const { type, isMulti, isEntitlement } = attribute
      expect(found.get(name), name).toMatchObject({ type, isMulti, isEntitlement })
    }
    expect(found.get(`${badge}:number`)).toMatchObject({ type: 'INT', isMulti: false })
    expect(found.get(`${badge}:issued`)).toMatchObject({ type: 'DATE' })
    expect(found.get(`${badge}:lost`)).toMatchObject({ type: 'BOOLEAN' })
    expect(found.get(`${badge}:doors`)).toMatchObject({ type: 'STRING', isMulti: true })
    expect(found.get('addresses.locality')).toMatchObject({ isMulti: true })
    expect(found.has('password')).toBe(false)
    expect(group).toMatchObject({ name: 'group', displayAttribute: 'displayName' })
    expect(group?.attributes.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['id', 'displayName', 'members']),
    )
  })
})
