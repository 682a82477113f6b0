import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { schemaRoutes } from '../../src/api/schemas.ts'
import { settingsRoutes } from '../../src/api/settings.ts'
import { sourceStateRoutes } from '../../src/api/source-state.ts'
import { sourceRoutes } from '../../src/api/sources.ts'
import type { Caller } from '../../src/core/access.ts'
import { describe as described } from '../../src/core/description.ts'
import type { ConnectorDescription } from '../../src/core/description.ts'
import { putReadState } from '../../src/store/read-states.ts'
import { generateMasterKey, parseMasterKey, verifyMasterKey } from '../../src/store/sealed.ts'
import { makeCaller, serveRoutes } from '../support/call-routes.ts'
import type { RouteServer } from '../support/call-routes.ts'
import { testDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'

const phonebook: ConnectorDescription = {
  name: 'phonebook',
  displayName: 'Phone Book',
  features: ['DISCOVER_SCHEMA', 'RINGS_BELLS'],
  foldsCase: false,
  delta: true,
  schemas: [
    {
      name: 'account',
      nativeObjectType: 'Entry',
      identityAttribute: 'number',
      displayAttribute: 'name',
      attributes: [
        described('number', 'The number.'),
        described('name', 'Whose it is.'),
        described('groups', 'Its lists.', { isMulti: true, isEntitlement: true }),
      ],
    },
    {
      name: 'group',
      nativeObjectType: 'List',
      identityAttribute: 'id',
      displayAttribute: 'id',
      attributes: [described('id', 'The name of the list.')],
    },
  ],
}
const stone: ConnectorDescription = { ...phonebook, name: 'stone', schemas: [], delta: false }

let database: TestDatabase
let server: RouteServer
let admin: Caller

beforeAll(async () => {
  database = await testDatabase()
  const { db } = database
  const masterKey = parseMasterKey(generateMasterKey())
  await verifyMasterKey(db, masterKey)
  admin = await makeCaller(db, 'ORG_ADMIN')
  const descriptions = [phonebook, stone]
  server = await serveRoutes(
    [
      ...sourceRoutes({ db, masterKey, descriptions, wake: () => undefined }),
      ...schemaRoutes({ db }),
      ...settingsRoutes({ db, descriptions }),
      ...sourceStateRoutes({ db }),
    ],
    admin,
  )
})
afterAll(async () => {
  await server?.close()
  await database?.drop()
})

let made = 0
async function make(
  body: object,
): Promise<{ status: number; body: ReturnType<typeof JSON.parse> }> {
  made += 1
  return server.call('POST', '/v2025/sources', { name: `Direct ${made}`, owner: null, ...body })
}
const textOf = ({ body }: { body: { messages: { text: string }[] } }): string =>
  body.messages[0]?.text ?? ''

describe('a source that is read directly', () => {
  it('gets the names, features and schemas of its kind, its groups joined to the schema of groups', async () => {
    const { body: source } = await make({ connector: 'phonebook' })
    expect(source).toMatchObject({
      type: 'phonebook',
      connectorName: 'Phone Book',
      connectionType: 'direct',
      features: ['DISCOVER_SCHEMA'],
      schemas: [{ name: 'account' }, { name: 'group' }],
    })
    const { body: schemas } = await server.call('GET', `/v2025/sources/${source.id}/schemas`)
    const [account, group] = schemas
    expect(account).toMatchObject({ identityAttribute: 'number', displayAttribute: 'name' })
    expect(account.attributes[2]).toMatchObject({
      name: 'groups',
      isMulti: true,
      isEntitlement: true,
      isGroup: true,
      schema: { type: 'CONNECTOR_SCHEMA', id: group.id, name: 'group' },
    })
    // What Muster made itself can be sent back to it.
    const url = `/v2025/sources/${source.id}/schemas/${account.id}`
    expect((await server.call('PUT', url, account)).status).toBe(200)
  })

  it('has schemas that Muster takes back as it gave them, whatever built-in kind it is of', async () => {
    for (const connector of ['ldap', 'active-directory', 'postgresql', 'mysql', 'scim', 'saas']) {
      const { body: source } = await make({ connector })
      expect([connector, source.features.length > 0]).toEqual([connector, true])
      const { body: schemas } = await server.call('GET', `/v2025/sources/${source.id}/schemas`)
      expect(schemas).toMatchObject([{ name: 'account' }, { name: 'group' }])
      for (const schema of schemas) {
        expect(schema.identityAttribute).not.toBeNull()
        const url = `/v2025/sources/${source.id}/schemas/${schema.id}`
        const put = await server.call('PUT', url, schema)
        expect([connector, schema.name, put.status]).toEqual([connector, schema.name, 200])
      }
      const linked = schemas[0].attributes.filter((one: { isGroup: boolean }) => one.isGroup)
      expect([connector, linked.length]).toEqual([connector, 1])
    }
  })

  it('has the type that ISC shows for its kind, unless the client gives one', async () => {
    for (const [connector, type] of [
      ['ldap', 'OpenLDAP - Direct'],
      ['active-directory', 'Active Directory - Direct'],
      ['postgresql', 'JDBC'],
      ['mysql', 'JDBC'],
      ['scim', 'SCIM 2.0'],
    ]) {
      expect((await make({ connector })).body).toMatchObject({ type, connector })
    }
    const own = await make({ connector: 'ldap', type: 'SunOne - Direct', connectorName: 'Old' })
    expect(own.body).toMatchObject({ type: 'SunOne - Direct', connectorName: 'Old' })
    const renamed = await server.call(
      'PATCH',
      `/v2025/sources/${own.body.id}`,
      [{ op: 'replace', path: '/description', value: 'x' }],
      { type: 'application/json-patch+json' },
    )
    expect(renamed.body).toMatchObject({ type: 'SunOne - Direct', description: 'x' })
  })

  it('can be kept without its connector, and has no schemas then', async () => {
    const { body } = await make({ connector: 'okta', type: 'Okta' })
    expect(body).toMatchObject({ type: 'Okta', connectorName: 'okta', schemas: [], features: [] })
  })

  it('is refused with a URL that cannot be right, when it is made and when it is changed', async () => {
    const wrong: [string, object, string][] = [
      ['ldap', { url: 'http://ldap.example.com' }, 'url begins with "http:"'],
      ['ldap', { url: 'ldap.example.com' }, 'url is no URL'],
      ['ldap', { url: 'ldap:///dc=example' }, 'url names no host'],
      ['postgresql', { url: 'mysql://db/hr' }, 'url begins with "mysql:"'],
      ['mysql', { url: 42 }, 'url is no URL'],
      ['scim', { url: 'https://x/scim', tokenUrl: 'file:///etc/passwd' }, 'tokenUrl begins with'],
      ['saas', { url: 'ftp://x' }, 'url begins with "ftp:"'],
      ['postgresql', { url: 'postgres://u:secret@db/hr' }, 'holds a password in its URL'],
    ]
    for (const [connector, connectorAttributes, reason] of wrong) {
      const answer = await make({ connector, connectorAttributes })
      expect([connectorAttributes, answer.status]).toEqual([connectorAttributes, 400])
      expect(textOf(answer)).toContain(reason)
      expect(textOf(answer)).not.toContain('secret@')
    }
    const { body } = await make({
      connector: 'ldap',
      connectorAttributes: { url: 'ldaps://ldap.example.com:636', tlsCa: 'PEM', bindPassword: 'x' },
    })
    expect(body.connectorAttributes).toMatchObject({ tlsCa: 'PEM', bindPassword: '******' })
    const changed = await server.call(
      'PATCH',
      `/v2025/sources/${body.id}`,
      [{ op: 'replace', path: '/connectorAttributes/url', value: 'https://x' }],
      { type: 'application/json-patch+json' },
    )
    expect(changed.status).toBe(400)
  })
})

describe('what a run reads', () => {
  const settingsOf = (id: string): string => `/muster/v1/sources/${id}/settings`

  it('is everything unless the source is set to delta, which only some can be', async () => {
    const { body: source } = await make({ connector: 'phonebook' })
    const url = settingsOf(source.id)
    expect((await server.call('GET', url)).body).toEqual({ whenBusy: 'error', readMode: 'full' })
    const set = await server.call('PUT', url, { readMode: 'delta' })
    expect(set.body).toEqual({ whenBusy: 'error', readMode: 'delta' })
    expect((await server.call('PUT', url, {})).body).toMatchObject({ readMode: 'full' })
    expect((await server.call('PUT', url, { readMode: 'some' })).status).toBe(400)

    const { body: whole } = await make({ connector: 'stone' })
    const refused = await server.call('PUT', settingsOf(whole.id), { readMode: 'delta' })
    expect(refused.status).toBe(400)
    expect(textOf(refused)).toContain('"stone", which cannot give only what changed')
    const { body: file } = await server.call('POST', '/v2025/sources?provisionAsCsv=true', {
      name: 'Files',
      owner: null,
      connector: 'delimited-file-angularsc',
    })
    const always = await server.call('PUT', settingsOf(file.id), { readMode: 'delta' })
    expect(textOf(always)).toContain('files, which are always whole')
    expect((await server.call('PUT', settingsOf(file.id), { readMode: 'full' })).status).toBe(200)
  })

  it('begins where the last read ended, which can be seen and forgotten, but not read', async () => {
    const { db } = database
    const { body: source } = await make({ connector: 'phonebook' })
    const url = `/muster/v1/sources/${source.id}/state`
    const none = { hasCursor: false, run: null, since: null }
    expect((await server.call('GET', url)).body).toEqual(none)
    await db.transaction((tx) =>
      putReadState(tx, source.id, {
        cursor: { last: 'uid=ada,ou=people' },
        seed: Buffer.from('seed'),
        runNumber: 7,
      }),
    )
    const state = await server.call('GET', url)
    expect(state.body).toEqual({
      hasCursor: true,
      // No run of the ledger has this number.
      run: null,
      since: expect.stringMatching(/^\d{4}-.*Z$/),
    })
    expect(state.text).not.toContain('ada')

    const reader = await makeCaller(db, 'SOURCE_SUBADMIN', [source.id])
    const stranger = await makeCaller(db, 'SOURCE_SUBADMIN', ['f'.repeat(32)])
    expect((await server.call('DELETE', url, undefined, { caller: stranger })).status).toBe(403)
    expect((await server.call('DELETE', url, undefined, { caller: reader })).status).toBe(204)
    expect((await server.call('GET', url)).body).toEqual(none)
    expect((await server.call('DELETE', url)).status).toBe(204)
    const { rows } = await db.query<{ action: string }>(
      `select action from audit where target_id = $1 and action = 'SOURCE_STATE_RESET'`,
      [source.id],
    )
    expect(rows).toHaveLength(1)
  })
})
