import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { schemaRoutes } from '../../src/api/schemas.ts'
import { settingsRoutes } from '../../src/api/settings.ts'
import { sourceRoutes } from '../../src/api/sources.ts'
import type { Caller } from '../../src/core/access.ts'
import { generateMasterKey, parseMasterKey } from '../../src/store/sealed.ts'
import { makeCaller, serveRoutes } from '../support/call-routes.ts'
import type { Answer, RouteServer } from '../support/call-routes.ts'
import { testDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'

let database: TestDatabase
let server: RouteServer
let admin: Caller
let sourceId: string
let made = 0

beforeAll(async () => {
  database = await testDatabase()
  const { db } = database
  admin = await makeCaller(db, 'ORG_ADMIN')
  const masterKey = parseMasterKey(generateMasterKey())
  server = await serveRoutes(
    [
      ...sourceRoutes({ db, masterKey, descriptions: [], wake: () => undefined }),
      ...schemaRoutes({ db }),
      ...settingsRoutes({ db, descriptions: [] }),
    ],
    admin,
  )
})
afterAll(async () => {
  await server?.close()
  await database?.drop()
})
beforeEach(async () => {
  made += 1
  const answer = await server.call('POST', '/v3/sources?provisionAsCsv=true', { name: `S${made}` })
  sourceId = answer.body.id
})

const path = (rest = '', version = 'v2025') => `/${version}/sources/${sourceId}/schemas${rest}`
const textOf = (answer: Answer): string => answer.body.messages[0].text
const account = async () => (await server.call('GET', path())).body[0]
const group = {
  name: 'group',
  nativeObjectType: 'Group',
  identityAttribute: 'id',
  attributes: [{ name: 'id' }, { name: 'displayName' }],
}

describe('schemas', () => {
  it('show the default account schema of a new delimited source under every prefix', async () => {
    const { body } = await server.call('GET', path())
    expect(body).toMatchObject([
      {
        id: expect.stringMatching(/^[0-9a-f]{32}$/),
        name: 'account',
        nativeObjectType: 'User',
        identityAttribute: 'id',
        displayAttribute: 'name',
        hierarchyAttribute: null,
        includePermissions: false,
        features: [],
        configuration: {},
        modified: null,
      },
    ])
    const groups = body[0].attributes.find((one: { name: string }) => one.name === 'groups')
    expect(groups).toEqual({
      name: 'groups',
      nativeName: null,
      type: 'STRING',
      schema: null,
      description: expect.any(String),
      isMulti: true,
      isEntitlement: true,
      isGroup: false,
    })
    for (const prefix of ['/beta/sources', '/v3/sources', '/sources/v1']) {
      const same = await server.call('GET', `${prefix}/${sourceId}/schemas/${body[0].id}`)
      expect(same.body).toEqual(body[0])
    }
  })

  it('are made, filtered by type and name, and deleted', async () => {
    const created = await server.call('POST', path(), group)
    expect(created.status).toBe(201)
    expect(created.body.attributes[0]).toMatchObject({ name: 'id', type: 'STRING', isMulti: false })
    const names = async (query: string) =>
      (await server.call('GET', path(query))).body.map((schema: { name: string }) => schema.name)
    expect(await names('')).toEqual(['account', 'group'])
    expect(await names('?include-types=group')).toEqual(['group'])
    expect(await names('?include-types=user')).toEqual(['account', 'group'])
    expect(await names('?include-names=account,other')).toEqual(['account'])
    expect((await server.call('GET', path('?include-types=x'))).status).toBe(400)
    const source = await server.call('GET', `/v3/sources/${sourceId}`)
    expect(source.body.schemas).toHaveLength(2)
    const gone = await server.call('DELETE', path(`/${created.body.id}`))
    expect([gone.status, gone.text]).toEqual([204, ''])
    expect((await server.call('DELETE', path(`/${created.body.id}`))).status).toBe(404)
  })

  it('let an attribute be a group only with a group schema that is there', async () => {
    const { id, attributes } = await account()
    const index = attributes.findIndex((one: { name: string }) => one.name === 'groups')
    const set = (value: unknown) =>
      server.call('PATCH', path(`/${id}`), [{ op: 'replace', path: `/attributes/${index}`, value }])
    const wanted = { name: 'groups', isMulti: true, isEntitlement: true, isGroup: true }
    expect(textOf(await set(wanted))).toContain('group schema')
    const unknown = { type: 'CONNECTOR_SCHEMA', id: 'f'.repeat(32), name: 'group' }
    expect(textOf(await set({ ...wanted, schema: unknown }))).toContain('does not have')
    const { body } = await server.call('POST', path(), group)
    const schema = { type: 'CONNECTOR_SCHEMA', id: body.id, name: 'group' }
    expect(textOf(await set({ ...wanted, isEntitlement: false, schema }))).toContain(
      'isEntitlement',
    )
    const done = await set({ ...wanted, schema })
    expect(done.status).toBe(200)
    expect(done.body.attributes[index]).toMatchObject({ isGroup: true, schema })
    expect(textOf(await server.call('DELETE', path(`/${body.id}`)))).toContain('refers to')
  })

  it.each([
    ['an identity attribute that is no attribute', { identityAttribute: 'nope' }, 'nope'],
    ['a display attribute that is no attribute', { displayAttribute: 'nope' }, 'nope'],
    ['a name that stands twice', { attributes: [{ name: 'id' }, { name: 'id' }] }, 'twice'],
    ['names equal but for case', { attributes: [{ name: 'id' }, { name: 'ID' }] }, 'case'],
    ['a prototype name', { attributes: [{ name: 'id' }, { name: '__proto__' }] }, '__proto__'],
    ['an unknown type', { attributes: [{ name: 'id', type: 'FLOAT' }] }, 'STRING, LONG, INT'],
    ['an empty name', { attributes: [{ name: '' }] }, 'name'],
    ['a name with NUL', { attributes: [{ name: 'i\0d' }] }, 'NUL'],
    ['an identity of many values', { attributes: [{ name: 'id', isMulti: true }] }, 'one value'],
    ['an unknown feature', { features: ['FLY'] }, 'FLY'],
    ['a name that is taken', { name: 'account' }, 'already'],
    ['no name', { name: undefined }, 'name'],
  ])('refuse %s', async (_what, change, named) => {
    const answer = await server.call('POST', path(), { ...group, ...change })
    expect(answer.status).toBe(400)
    expect(textOf(answer)).toContain(named)
    expect((await server.call('GET', path())).body).toHaveLength(1)
  })

  it('are replaced by PUT with their id in the body, but not renamed', async () => {
    const before = await account()
    const put = (body: unknown) => server.call('PUT', path(`/${before.id}`), body)
    expect((await put({ ...before, id: undefined })).status).toBe(400)
    for (const change of [{ id: 'x' }, { name: 'x' }, { created: 'x' }, { modified: 'x' }]) {
      expect((await put({ ...before, ...change })).status).toBe(400)
    }
    const answer = await put({
      ...before,
      identityAttribute: 'mail',
      displayAttribute: null,
      attributes: [{ name: 'mail' }, { name: 'age', type: 'INT' }],
    })
    expect(answer.status).toBe(200)
    expect(answer.body).toMatchObject({ identityAttribute: 'mail', modified: expect.any(String) })
    const source = await server.call('GET', `/v3/sources/${sourceId}`)
    expect(source.body.connectorAttributes.indexColumn).toBe('mail')
    const patched = await server.call('PATCH', path(`/${before.id}`), [
      { op: 'replace', path: '/name', value: 'x' },
    ])
    expect(patched.status).toBe(400)
  })

  it('are closed to a SOURCE_SUBADMIN of another source, and told in the audit', async () => {
    const { id } = await account()
    const caller = await makeCaller(database.db, 'SOURCE_SUBADMIN', ['0'.repeat(32)])
    const calls = [
      ['GET', path()],
      ['GET', path(`/${id}`)],
      ['PATCH', path(`/${id}`), []],
      ['DELETE', path(`/${id}`)],
      ['PUT', path(`/${id}`), { id, name: 'account' }],
      ['GET', `/muster/v1/sources/${sourceId}/settings`],
      ['PUT', `/muster/v1/sources/${sourceId}/settings`, {}],
    ] as const
    for (const [method, url, body] of calls) {
      expect((await server.call(method, url, body, { caller })).status).toBe(403)
    }
    await server.call('DELETE', path(`/${id}`))
    const { rows } = await database.db.query(
      `select actor_id, target_name, before ->> 'name' as before from audit
       where action = 'SOURCE_SCHEMA_DELETED' and target_id = $1::text`,
      [id],
    )
    expect(rows).toEqual([
      { actor_id: admin.identityId, target_name: 'account', before: 'account' },
    ])
  })
})

describe('settings of a source', () => {
  it('have defaults, are replaced whole and refuse what is unknown', async () => {
    const url = `/muster/v1/sources/${sourceId}/settings`
    expect((await server.call('GET', url)).body).toEqual({ whenBusy: 'error', readMode: 'full' })
    expect((await server.call('PUT', url, { whenBusy: 'queue' })).body).toEqual({
      whenBusy: 'queue',
      readMode: 'full',
    })
    expect((await server.call('GET', url)).body).toEqual({ whenBusy: 'queue', readMode: 'full' })
    for (const body of [{ whenBusy: 'never' }, { whenbusy: 'queue' }, { whenBusy: null }, []]) {
      expect((await server.call('PUT', url, body)).status).toBe(400)
    }
    expect((await server.call('PUT', url, {})).body).toEqual({
      whenBusy: 'error',
      readMode: 'full',
    })
    expect((await server.call('GET', url.replace(sourceId, '0'.repeat(32)))).status).toBe(404)
  })
})
