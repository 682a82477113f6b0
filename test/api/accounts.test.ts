import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { accountRoutes } from '../../src/api/accounts.ts'
import { schemaRoutes } from '../../src/api/schemas.ts'
import { sourceRoutes } from '../../src/api/sources.ts'
import type { Caller } from '../../src/core/access.ts'
import { parseFilter } from '../../src/core/filter.ts'
import { accountPageStatement } from '../../src/store/account-list.ts'
import { generateMasterKey, parseMasterKey } from '../../src/store/sealed.ts'
import { insertAccounts, insertRun } from '../support/account-rows.ts'
import { makeCaller, serveRoutes } from '../support/call-routes.ts'
import type { Answer, RouteServer } from '../support/call-routes.ts'
import { testDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'

let database: TestDatabase
let server: RouteServer
let admin: Caller
const sources: { id: string; name: string }[] = []
/** Wire ids by native identity and source: `ada@0`. */
const accounts = new Map<string, string>()
const idOf = (key: string) => accounts.get(key) ?? `no ${key}`
const sourceOf = (index: number) => sources[index]?.id ?? ''

const plain = [
  {
    nativeIdentity: 'ada',
    name: 'Ada Lovelace',
    attributes: '{"groups":["admins","users"],"id":"ada","salary":9007199254740993}',
  },
  { nativeIdentity: 'bob', name: 'bob', attributes: '{"id":"bob"}' },
  {
    nativeIdentity: 'Bob',
    name: null,
    attributes: String.raw`{"id":"Bob","note":"\"groups\":[1]"}`,
  },
  { nativeIdentity: '100%_\\', name: '100%_\\', attributes: '{"__proto__":"kept","id":"100%"}' },
  { nativeIdentity: `o'neil "x"`, name: 'Ärger', attributes: '{"groups":null,"id":"o"}' },
]

beforeAll(async () => {
  database = await testDatabase()
  const { db } = database
  admin = await makeCaller(db, 'ORG_ADMIN')
  const masterKey = parseMasterKey(generateMasterKey())
  server = await serveRoutes(
    [
      ...sourceRoutes({ db, masterKey, descriptions: [], wake: () => undefined }),
      ...schemaRoutes({ db }),
      ...accountRoutes({ db }),
    ],
    admin,
  )
  for (const [name, authoritative] of [
    ['HR', true],
    ['Directory', false],
    ['Empty', false],
  ] as const) {
    const made = await server.call('POST', '/v3/sources?provisionAsCsv=true', {
      name,
      authoritative,
    })
    sources.push(made.body)
  }
  const first = await insertRun(db, sourceOf(0), '2026-01-01T10:00:00.123456Z')
  const second = await insertRun(db, sourceOf(0), '2026-02-01T10:00:00Z')
  for (const index of [0, 1]) {
    const rows = plain.map((row) => ({
      ...row,
      openedRun: row.nativeIdentity === 'ada' ? second : first,
      createdRun: row.nativeIdentity === 'ada' ? first : null,
      ...(row.nativeIdentity === 'ada' && index === 0
        ? { identityId: admin.identityId, match: 'manual' as const }
        : {}),
      ...(row.nativeIdentity === 'bob' && index === 1 ? { identityId: admin.identityId } : {}),
    }))
    const ids = await insertAccounts(db, sourceOf(index), rows)
    for (const [place, row] of rows.entries()) {
      accounts.set(`${row.nativeIdentity}@${index}`, ids[place] ?? '')
    }
  }
})
afterAll(async () => {
  await server?.close()
  await database?.drop()
})

const get = (query: string, caller?: Caller): Promise<Answer> =>
  server.call('GET', `/v3/accounts${query}`, undefined, caller === undefined ? {} : { caller })
const found = (answer: Answer): string[] => answer.body.map((account: { id: string }) => account.id)
const filter = (text: string) => `?filters=${encodeURIComponent(text)}`
const filtered = async (text: string): Promise<string[]> =>
  found(await get(filter(text))).toSorted((a, b) => a.localeCompare(b))
const sorted = (...keys: string[]) => keys.map(idOf).toSorted((a, b) => a.localeCompare(b))

describe('an account', () => {
  it('has all fields of the contract under every prefix', async () => {
    const id = idOf('ada@0')
    const { body, headers } = await server.call('GET', `/v2025/accounts/${id}`)
    expect(body).toEqual({
      id,
      name: 'Ada Lovelace',
      created: '2026-01-01T10:00:00.123Z',
      modified: '2026-02-01T10:00:00.000Z',
      sourceId: sourceOf(0),
      sourceName: 'HR',
      identityId: admin.identityId,
      identity: { type: 'IDENTITY', id: admin.identityId, name: admin.identityName },
      cloudLifecycleState: null,
      identityState: null,
      connectionType: 'file',
      isMachine: false,
      recommendation: null,
      attributes: { groups: ['admins', 'users'], id: 'ada', salary: 9007199254740992 },
      authoritative: true,
      description: null,
      disabled: false,
      locked: false,
      nativeIdentity: 'ada',
      systemAccount: false,
      uncorrelated: false,
      uuid: null,
      manuallyCorrelated: true,
      hasEntitlements: true,
      sourceOwner: { type: 'IDENTITY', id: admin.identityId, name: admin.identityName },
      features: 'NO_RANDOM_ACCESS, DISCOVER_SCHEMA, DIRECT_PERMISSIONS',
      origin: 'AGGREGATED',
      ownerIdentity: null,
    })
    expect(headers['content-type']).toContain('application/json')
    for (const path of ['/beta/accounts', '/v3/accounts', '/v2026/accounts', '/accounts/v1']) {
      expect((await server.call('GET', `${path}/${id}`)).body).toEqual(body)
    }
    expect((await server.call('GET', `/beta/accounts/${id}`)).headers['x-deprecated']).toBe('true')
  })

  it('keeps integers beyond 2^53 and keys named __proto__ exactly as they are stored', async () => {
    expect((await get(`/${idOf('ada@0')}`)).text).toContain('"salary":9007199254740993')
    const answer = await get(`/${idOf('100%_\\@0')}`)
    expect(answer.text).toContain('"__proto__":"kept"')
  })

  it('has no identity while it is uncorrelated, and entitlements only with a value of one', async () => {
    for (const key of ['bob@0', 'Bob@0', `o'neil "x"@0`]) {
      const { body } = await get(`/${idOf(key)}`)
      expect(body).toMatchObject({ uncorrelated: true, manuallyCorrelated: false })
      expect(body).toMatchObject({ hasEntitlements: false })
      expect(body).not.toHaveProperty('identityId')
      expect(body).not.toHaveProperty('identity')
    }
    expect((await get(`/${idOf('Bob@0')}`)).body.name).toBeNull()
  })

  it('is 404 for an id that names none', async () => {
    for (const id of ['0'.repeat(32), 'nonsense', sourceOf(0)]) {
      expect((await get(`/${id}`)).status).toBe(404)
    }
  })
})

describe('the list of accounts', () => {
  it('is in the order of ids, paged without gaps, and counted', async () => {
    const all = await get('?count=true')
    expect(all.headers['x-total-count']).toBe('10')
    expect(found(all)).toEqual([...accounts.values()].toSorted((a, b) => a.localeCompare(b)))
    const pages: string[] = []
    for (let offset = 0; offset < 12; offset += 3) {
      pages.push(...found(await get(`?limit=3&offset=${offset}`)))
    }
    expect(pages).toEqual(found(all))
    const none = await get('?limit=0&count=true')
    expect([none.body, none.headers['x-total-count']]).toEqual([[], '10'])
    expect((await get('?limit=251')).status).toBe(400)
  })

  it('leaves the attributes out when it is slim', async () => {
    const slim = await get('?detailLevel=SLIM&limit=1')
    expect(slim.body[0].attributes).toBeNull()
    expect((await get('?detailLevel=FULL&limit=1')).body[0].attributes).not.toBeNull()
    expect((await get('?detailLevel=FAT')).status).toBe(400)
  })

  it('filters by ids and native identities exactly', async () => {
    expect(await filtered(`id eq "${idOf('ada@0')}"`)).toEqual([idOf('ada@0')])
    expect(await filtered(`id eq "${idOf('ada@0').toUpperCase()}"`)).toEqual([])
    expect(await filtered(`id in ("${idOf('ada@0')}","${idOf('bob@1')}","x")`)).toEqual(
      sorted('ada@0', 'bob@1'),
    )
    expect(await filtered(`id sw "${sourceOf(1).slice(0, 12)}"`)).toHaveLength(5)
    expect(await filtered('id sw "xyz"')).toEqual([])
    expect(await filtered('nativeIdentity eq "bob"')).toEqual(sorted('bob@0', 'bob@1'))
    expect(await filtered('nativeIdentity in ("bob","Bob")')).toHaveLength(4)
    expect(await filtered(`nativeIdentity eq "bob" and sourceId eq "${sourceOf(1)}"`)).toEqual([
      idOf('bob@1'),
    ])
    expect(await filtered(`not nativeIdentity eq "bob" and sourceId eq "${sourceOf(1)}"`)).toEqual(
      sorted('ada@1', 'Bob@1', '100%_\\@1', `o'neil "x"@1`),
    )
    expect(await filtered('nativeIdentity sw "b"')).toEqual(sorted('bob@0', 'bob@1'))
  })

  it('takes wildcards and quotes of SQL as they are', async () => {
    expect(await filtered('nativeIdentity sw "100%_"')).toHaveLength(2)
    expect(await filtered('nativeIdentity sw "%"')).toEqual([])
    expect(await filtered(String.raw`nativeIdentity eq "100%_\\"`)).toHaveLength(2)
    expect(await filtered(String.raw`nativeIdentity eq "o'neil \"x\""`)).toHaveLength(2)
    expect(await filtered(`name eq "x'; drop table account; --"`)).toEqual([])
    expect(await filtered('name sw "_"')).toEqual([])
  })

  it('filters by names without the case of A to Z', async () => {
    expect(await filtered('name eq "ADA lovelace"')).toEqual(sorted('ada@0', 'ada@1'))
    expect(await filtered('name sw "aDa"')).toHaveLength(2)
    expect(await filtered('name in ("BOB","ada")')).toEqual(sorted('bob@0', 'bob@1'))
    expect(await filtered('name eq "ÄRGER"')).toHaveLength(2)
    expect(await filtered('name eq "ärger"')).toEqual([])
  })

  it('lists an account without a name where its name is denied', async () => {
    expect(await filtered(`not name eq "bob" and sourceId eq "${sourceOf(0)}"`)).toContain(
      idOf('Bob@0'),
    )
  })

  it('filters by source, also by what the source is', async () => {
    expect(await filtered(`sourceId eq "${sourceOf(0)}"`)).toHaveLength(5)
    expect(await filtered(`sourceId in ("${sourceOf(0)}","${sourceOf(2)}","x")`)).toHaveLength(5)
    expect(await filtered(`sourceId sw "${sourceOf(0).slice(0, 20)}"`)).toHaveLength(5)
    expect(await filtered('sourceId eq "x"')).toEqual([])
    expect(await filtered('source.displayableName eq "hr"')).toHaveLength(5)
    expect(await filtered('source.displayableName in ("HR","Directory")')).toHaveLength(10)
    expect(await filtered('source.authoritative eq false')).toHaveLength(5)
    expect(await filtered('source.connectionType eq "FILE"')).toHaveLength(10)
    expect(await filtered('source.connectionType eq "direct"')).toEqual([])
  })

  it('filters by identity and correlation', async () => {
    expect(await filtered(`identityId eq "${admin.identityId}"`)).toEqual(sorted('ada@0', 'bob@1'))
    expect(await filtered(`identityId in ("${admin.identityId}")`)).toHaveLength(2)
    expect(await filtered(`identityId sw "${admin.identityId.slice(0, 5)}"`)).toHaveLength(2)
    expect(await filtered(`identity.name eq "${admin.identityName.toLowerCase()}"`)).toHaveLength(2)
    expect(await filtered('uncorrelated eq true')).toHaveLength(8)
    expect(await filtered('uncorrelated eq false')).toEqual(sorted('ada@0', 'bob@1'))
    expect(await filtered('manuallyCorrelated eq true')).toEqual([idOf('ada@0')])
    expect(await filtered('manuallyCorrelated eq false')).toHaveLength(9)
  })

  it('filters by entitlements, origin and instants as they are shown', async () => {
    expect(await filtered('hasEntitlements eq true')).toEqual(sorted('ada@0', 'ada@1'))
    expect(await filtered('hasEntitlements eq false')).toHaveLength(8)
    expect(await filtered('origin eq "aggregated"')).toHaveLength(10)
    expect(await filtered('recommendation.type isnull')).toHaveLength(10)
    expect(await filtered('created eq 2026-01-01T10:00:00.123Z')).toHaveLength(10)
    expect(await filtered('modified gt 2026-01-15')).toEqual(sorted('ada@0', 'ada@1'))
    expect(await filtered('modified lt 2026-02 and modified ge 2026')).toHaveLength(8)
  })

  it('sorts by name, instants, identity and source, with ids as the last word', async () => {
    const names = (await get('?sorters=-name,sourceId&limit=4')).body.map(
      (account: { name: string | null }) => account.name,
    )
    expect(names).toEqual([null, null, 'Ärger', 'Ärger'])
    const byModified = found(await get('?sorters=-modified&limit=2'))
    expect(new Set(byModified)).toEqual(new Set([idOf('ada@0'), idOf('ada@1')]))
    const all = found(await get(''))
    expect(found(await get('?sorters=sourceId'))).toEqual(all)
    expect(found(await get('?sorters=-sourceId'))).toEqual(all.toReversed())
    expect(found(await get('?sorters=source.displayableName&limit=1'))[0]).toContain(
      sourceOf(1).slice(0, 12),
    )
    for (const field of [
      'id',
      'created',
      'identityId',
      'nativeIdentity',
      'uuid',
      'manuallyCorrelated',
      'origin',
      'identity.name',
      'identity.identityState',
      'source.authoritative',
      'source.connectionType',
    ]) {
      expect((await get(`?sorters=-${field}`)).body).toHaveLength(10)
    }
    expect((await get('?sorters=salary')).status).toBe(400)
  })

  it('counts what a filter finds, whatever the page', async () => {
    const count = async (text: string) =>
      (await get(`${filter(text)}&count=true&limit=1`)).headers['x-total-count']
    expect(await count(`sourceId eq "${sourceOf(1)}"`)).toBe('5')
    expect(await count('name sw "b"')).toBe('2')
    expect(await count(`sourceId eq "${sourceOf(1)}" and name sw "b"`)).toBe('1')
    expect(await count('sourceId in ("x")')).toBe('0')
  })

  it.each(['name co "x"', 'uncorrelated eq "true"', 'created eq "x"', 'id eq 5'])(
    'refuses the filter %s',
    async (text) => {
      const answer = await get(filter(text))
      expect(answer.status).toBe(400)
      expect(answer.body.messages[0].text).toMatch(/at character \d+/)
    },
  )

  it('confines a SOURCE_SUBADMIN whatever it asks', async () => {
    const caller = await makeCaller(database.db, 'SOURCE_SUBADMIN', [sourceOf(1)])
    const all = await get('?count=true', caller)
    expect([all.body.length, all.headers['x-total-count']]).toEqual([5, '5'])
    for (const text of [
      `sourceId eq "${sourceOf(0)}"`,
      `id eq "${idOf('ada@0')}"`,
      `sourceId eq "${sourceOf(0)}" or sourceId in ("${sourceOf(0)}")`,
      `source.displayableName eq "HR"`,
      `nativeIdentity eq "ada" and source.authoritative eq true`,
    ]) {
      const answer = await get(`${filter(text)}&count=true`, caller)
      expect([answer.body, answer.headers['x-total-count']]).toEqual([[], '0'])
    }
    expect(found(await get(filter('nativeIdentity eq "ada"'), caller))).toEqual([idOf('ada@1')])
    expect((await get(`/${idOf('ada@0')}`, caller)).status).toBe(403)
    expect((await get(`/${idOf('ada@1')}`, caller)).status).toBe(200)
  })
})

describe('the plans of fast lists', () => {
  const page = { sorters: [], limit: 250, offset: 0, sourceIds: null }

  async function planOf(text: string | null, change: object = {}): Promise<string> {
    const { db } = database
    const query = { ...page, filter: text === null ? null : parseFilter(text), ...change }
    const statement = await accountPageStatement(db, query)
    const { rows } = await db.query<{ 'QUERY PLAN': string }>(
      `explain (costs off) ${statement.text}`,
      statement.values,
    )
    return rows.map((row) => row['QUERY PLAN']).join('\n')
  }

  beforeAll(async () => {
    const { db } = database
    const many = Array.from({ length: 5_000 }, (_, index) => ({ nativeIdentity: `n${index}` }))
    await insertAccounts(db, sourceOf(0), many)
    await insertAccounts(db, sourceOf(1), many)
    await db.query(
      `insert into account_link (account_id, identity_id, match, opened_run)
       select id, gen_random_uuid(), 'matched', 1 from account where native_identity like 'n%'`,
    )
    await db.query('vacuum (analyze) account')
    await db.query('vacuum (analyze) account_link')
  })

  /** The part of a plan that finds the ids of the page. */
  const idsPart = (plan: string) =>
    /Limit\n[\s\S]*?(?=Nested Loop Left Join|$)/.exec(plan)?.[0] ?? ''
  const partition = (index: number) => `account_${sourceOf(index).slice(0, 12)}`

  it('walk the primary key of the one partition for a source, and sort nothing', async () => {
    const plan = await planOf(`sourceId eq "${sourceOf(0)}"`)
    expect(idsPart(plan)).toMatch(new RegExp(`Index (Only )?Scan using ${partition(0)}_pkey`))
    expect(idsPart(plan)).not.toContain(partition(1))
    expect(idsPart(plan)).not.toContain('Sort')
    expect(plan).not.toContain('Seq Scan on account_')
  })

  it('walk the primary keys in order without a filter', async () => {
    const plan = await planOf(null)
    for (const index of [0, 1]) {
      expect(idsPart(plan)).toMatch(new RegExp(`Index (Only )?Scan using ${partition(index)}_pkey`))
    }
    expect(idsPart(plan)).not.toContain('Sort')
    expect(plan).not.toContain('Seq Scan on account_')
  })

  it('look up derived ids for a native identity', async () => {
    const plan = await planOf(`sourceId eq "${sourceOf(0)}" and nativeIdentity eq "n42"`)
    expect(plan).toContain(`${partition(0)}_pkey`)
    expect(plan).not.toContain('Seq Scan on account_')
    expect(await filtered(`sourceId eq "${sourceOf(0)}" and nativeIdentity eq "n42"`)).toHaveLength(
      1,
    )
    expect(await planOf('nativeIdentity eq "n42"')).not.toContain('Seq Scan on account_')
  })

  it('begin with the links for an identity, and look up one id for an id', async () => {
    const plan = await planOf(`identityId eq "${admin.identityId}"`)
    expect(plan).toContain('account_link_identity')
    expect(plan).not.toContain('Seq Scan on account_')
    expect(await planOf(`id eq "${idOf('ada@0')}"`)).not.toContain('Seq Scan on account_')
  })
})
