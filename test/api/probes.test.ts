import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openAsks } from '../../src/api/ask-source.ts'
import type { AskLimits } from '../../src/api/ask-source.ts'
import { discoveryRoutes } from '../../src/api/discovery.ts'
import { probeRoutes } from '../../src/api/probes.ts'
import { schemaRoutes } from '../../src/api/schemas.ts'
import { sourceHealthRoutes } from '../../src/api/source-health.ts'
import { sourceRoutes } from '../../src/api/sources.ts'
import { loadPackage } from '../../src/connect/registry.ts'
import type { Caller } from '../../src/core/access.ts'
import type { ConnectorDescription } from '../../src/core/description.ts'
import { generateMasterKey, parseMasterKey, verifyMasterKey } from '../../src/store/sealed.ts'
import type { MasterKey } from '../../src/store/sealed.ts'
import { checkout } from '../support/build.ts'
import { makeCaller, serveRoutes } from '../support/call-routes.ts'
import type { Answer, RouteServer } from '../support/call-routes.ts'
import { testDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'

const chaosPath = join(checkout, 'test', 'connect', 'chaos-connector.mjs')

let database: TestDatabase
let masterKey: MasterKey
let descriptions: readonly ConnectorDescription[]
let server: RouteServer
let admin: Caller

async function serve(limits?: AskLimits): Promise<RouteServer> {
  const { db } = database
  const system = {
    masterKey,
    outbound: { allowLoopback: true, allowed: [] },
    packages: [chaosPath],
    bundleRoot: checkout,
    maxReadBytes: 1_000_000,
    log: () => undefined,
  }
  const ask = openAsks({ db, system }, limits)
  return serveRoutes(
    [
      ...sourceRoutes({ db, masterKey, descriptions, wake: () => undefined }),
      ...schemaRoutes({ db }),
      ...sourceHealthRoutes({ db, org: 'acme' }),
      ...probeRoutes({ db, ask, descriptions }),
      ...discoveryRoutes({ db, ask }),
    ],
    admin,
  )
}

beforeAll(async () => {
  database = await testDatabase()
  masterKey = parseMasterKey(generateMasterKey())
  await verifyMasterKey(database.db, masterKey)
  admin = await makeCaller(database.db, 'ORG_ADMIN')
  descriptions = [await loadPackage(chaosPath)]
  server = await serve()
})
afterAll(async () => {
  await server?.close()
  await database?.drop()
})

let made = 0
interface Made {
  readonly id: string
  readonly connectorAttributes: { readonly cloudExternalId: string }
}
async function make(attributes: object = {}, connector = 'chaos'): Promise<Made> {
  made += 1
  const { body, text, status } = await server.call('POST', '/v2025/sources', {
    name: `Probed ${made}`,
    owner: null,
    connector,
    connectorAttributes: attributes,
  })
  expect([status, text]).toEqual([201, expect.any(String)])
  return body
}
async function makeFile(attributes: object = {}): Promise<Made> {
  made += 1
  const { body } = await server.call('POST', '/v2025/sources?provisionAsCsv=true', {
    name: `Probed ${made}`,
    owner: null,
    connector: 'delimited-file-angularsc',
    connectorAttributes: attributes,
  })
  return body
}
const ask = (id: string, probe: string, body?: object): Promise<Answer> =>
  server.call('POST', `/v2025/sources/${id}/connector/${probe}`, body)
const textOf = (answer: Answer): string => answer.body.messages[0].text
const accountSchema = async (id: string): Promise<ReturnType<typeof JSON.parse>> =>
  (await server.call('GET', `/v2025/sources/${id}/schemas?include-names=account`)).body[0]

describe('check-connection', () => {
  it('answers in the shape of the contract under every prefix but v3', async () => {
    const source = await make({ records: 4, password: 'right' })
    for (const prefix of ['/beta/sources', '/v2024/sources', '/v2026/sources', '/sources/v1']) {
      const answer = await server.call('POST', `${prefix}/${source.id}/connector/check-connection`)
      expect(answer.status).toBe(200)
      expect(answer.body).toEqual({
        id: source.id,
        name: `Probed ${made} [source-${source.connectorAttributes.cloudExternalId}]`,
        status: 'SUCCESS',
        elapsedMillis: expect.any(Number),
        details: { version: 1, records: 4 },
      })
      expect(Number.isInteger(answer.body.elapsedMillis)).toBe(true)
    }
    const v3 = await server.call('POST', `/v3/sources/${source.id}/connector/check-connection`)
    expect(v3.status).toBe(404)
  })

  it('is 200 with FAILURE, reason and hint when the system refuses, and tells no secret', async () => {
    const source = await make({ password: 'wrong-and-secret' })
    const answer = await ask(source.id, 'check-connection')
    expect(answer.status).toBe(200)
    expect(answer.body).toMatchObject({
      status: 'FAILURE',
      details: {
        code: 'login_refused',
        reason: 'Chaos refused the password.',
        hint: 'Correct the password.',
        temporary: false,
      },
    })
    expect(answer.text).not.toContain('wrong-and-secret')
  })

  it('says of a connector that is not installed what to do', async () => {
    const source = await make({}, 'okta')
    for (const probe of ['check-connection', 'ping-cluster', 'test-configuration']) {
      expect((await ask(source.id, probe)).body).toMatchObject({
        status: 'FAILURE',
        details: { code: 'connector_missing', hint: expect.stringContaining('MUSTER_CONNECTORS') },
      })
    }
  })

  it('takes whatever body and media type a client sends with it', async () => {
    const { id } = await make()
    const url = `/v2025/sources/${id}/connector/check-connection`
    for (const headers of [
      {},
      { 'content-type': 'application/json' },
      { 'content-type': 'application/x-www-form-urlencoded' },
    ]) {
      const bare = await server.app.inject({ method: 'POST', url, headers })
      expect([headers, bare.statusCode]).toEqual([headers, 200])
    }
    const withBody = await server.app.inject({
      method: 'POST',
      url,
      headers: { 'content-type': 'text/plain' },
      payload: 'x',
    })
    expect(withBody.statusCode).toBe(200)
  })

  it('changes nothing of the source, whatever comes of it', async () => {
    const { id } = await make({ password: 'wrong' })
    const before = await server.call('GET', `/v2025/sources/${id}`)
    await ask(id, 'check-connection')
    await ask(id, 'test-configuration')
    expect((await server.call('GET', `/v2025/sources/${id}`)).body).toEqual(before.body)
  })
})

describe('test-configuration', () => {
  it('shows the connection, the schema and what a sample lacks', async () => {
    const { id } = await make({ groups: 0 })
    const { body } = await ask(id, 'test-configuration')
    expect(body).toMatchObject({
      status: 'SUCCESS',
      details: {
        connection: { records: 10 },
        schema: { identityAttribute: 'id', attributes: 5 },
        sample: { records: 10, attributesWithoutValue: ['groups'] },
      },
    })
  })

  it('warns of a system without accounts', async () => {
    const { id } = await make({ records: 0 })
    expect((await ask(id, 'test-configuration')).body).toMatchObject({
      status: 'SUCCESS',
      details: { warning: expect.stringContaining('no accounts'), sample: { records: 0 } },
    })
  })

  it('fails where the first accounts cannot be read, though the connection is good', async () => {
    const { id } = await make({ behaviour: 'temporaryErrorAfter', after: 2 })
    expect((await ask(id, 'check-connection')).body.status).toBe('SUCCESS')
    expect((await ask(id, 'test-configuration')).body).toMatchObject({
      status: 'FAILURE',
      details: { code: 'system_away', temporary: true, hint: 'Wait until it is back.' },
    })
  })

  it('fails without an account schema, and without an identity, before it asks the system', async () => {
    const { id } = await make({ password: 'wrong' })
    const schema = await accountSchema(id)
    const url = `/v2025/sources/${id}/schemas/${schema.id}`
    const nameless = await server.call('PUT', url, { ...schema, identityAttribute: null })
    expect(nameless.status).toBe(200)
    expect((await ask(id, 'test-configuration')).body.details).toMatchObject({
      code: 'no_identity',
    })
    await server.call('DELETE', url)
    expect((await ask(id, 'test-configuration')).body.details).toMatchObject({ code: 'no_schema' })
  })

  it('names a fault of the connector itself as one', async () => {
    const { id } = await make({ behaviour: 'errorAfter', after: 1 })
    expect((await ask(id, 'test-configuration')).body).toMatchObject({
      status: 'FAILURE',
      details: { code: 'connector_failed', temporary: false },
    })
  })
})

describe('a source of files', () => {
  it('has no connection to check, says so, and is no failure; its settings are checked', async () => {
    const { id } = await makeFile()
    for (const probe of ['check-connection', 'ping-cluster', 'test-configuration']) {
      const { body } = await ask(id, probe)
      expect(body).toMatchObject({ status: 'SUCCESS', details: { reason: expect.any(String) } })
    }
    const { body } = await ask(id, 'check-connection')
    expect(body.details.reason).toContain('no connection to check')
    const schema = await accountSchema(id)
    await server.call('DELETE', `/v2025/sources/${id}/schemas/${schema.id}`)
    expect((await ask(id, 'test-configuration')).body).toMatchObject({ status: 'FAILURE' })
  })

  it('cannot be peeked into or discovered', async () => {
    const { id } = await makeFile()
    const peeked = await ask(id, 'peek-resource-objects', {})
    const discovered = await server.call('POST', `/muster/v1/sources/${id}/discover`)
    for (const answer of [peeked, discovered]) {
      expect(answer.status).toBe(400)
      expect(textOf(answer)).toContain('no system that could be asked')
    }
  })
})

describe('peek-resource-objects', () => {
  it('gives 25 accounts unless asked otherwise, as a run would read them', async () => {
    const { id } = await make({ records: 40, pageSize: 7, keyed: true })
    const { status, body } = await ask(id, 'peek-resource-objects', {})
    expect(status).toBe(200)
    expect(body).toMatchObject({ id, objectCount: 25, elapsedMillis: expect.any(Number) })
    expect(body.resourceObjects).toHaveLength(25)
    expect(body.resourceObjects[3]).toEqual({
      identity: 'user-4',
      uuid: 'key-4',
      name: 'User 4',
      objectType: 'account',
      incomplete: false,
      incremental: false,
      delete: false,
      remove: false,
      missing: [],
      attributes: {
        id: 'user-4',
        name: 'User 4',
        title: 'engineer',
        number: '4',
        groups: ['group-1'],
      },
      finalUpdate: false,
    })
    const few = await ask(id, 'peek-resource-objects', { maxCount: 3 })
    expect(few.body.resourceObjects).toHaveLength(3)
    expect((await ask(id, 'peek-resource-objects')).status).toBe(400)
  })

  it('gives other objects by the name of their schema', async () => {
    const { id } = await make()
    const { body } = await ask(id, 'peek-resource-objects', { objectType: 'group' })
    expect(body.resourceObjects.map(({ identity }: { identity: string }) => identity)).toEqual([
      'group-0',
      'group-1',
      'group-2',
    ])
  })

  it('refuses an unknown type and a count that cannot be', async () => {
    const { id } = await make()
    const unknown = await ask(id, 'peek-resource-objects', { objectType: 'rocket' })
    expect(unknown.status).toBe(400)
    expect(textOf(unknown)).toContain('Its schemas are "account", "group"')
    for (const maxCount of [0, -1, 251, 1.5, '5']) {
      expect((await ask(id, 'peek-resource-objects', { maxCount })).status).toBe(400)
    }
  })

  it('ends early where records are so large that they would fill the memory', async () => {
    const { id } = await make({ behaviour: 'hugeRecord', after: 1, bytes: 2 * 1024 * 1024 })
    const { status, body } = await ask(id, 'peek-resource-objects', {})
    expect([status, body.objectCount]).toEqual([200, 2])
    const small = await make({ behaviour: 'hugeRecord', after: 1, bytes: 1024 })
    expect((await ask(small.id, 'peek-resource-objects', {})).body.objectCount).toBe(10)
  })

  it('is 400 with the reason and the hint when the system cannot be read', async () => {
    const { id } = await make({ password: 'wrong' })
    const answer = await ask(id, 'peek-resource-objects', {})
    expect(answer.status).toBe(400)
    expect(textOf(answer)).toMatch(/could not be read: Chaos refused the password\. Correct/)
  })

  it('is told in the audit, without values', async () => {
    const { id } = await make()
    await ask(id, 'peek-resource-objects', { maxCount: 2 })
    const { rows } = await database.db.query<{ after: object }>(
      `select after from audit where target_id = $1 and action = 'SOURCE_OBJECTS_PEEKED'`,
      [id],
    )
    expect(rows).toEqual([{ after: { objectType: 'account', objects: 2 } }])
  })
})

describe('probes', () => {
  const probes = ['check-connection', 'test-configuration', 'ping-cluster', 'peek-resource-objects']

  it('are for ORG_ADMIN with the scope of connectors, of sources that it may see', async () => {
    const { id } = await make()
    const other = await make()
    const owner = await makeCaller(database.db, 'SOURCE_ADMIN')
    const reader = { ...admin, scopes: ['idn:sources:manage'] }
    const confined = { ...admin, sourceIds: [other.id] }
    for (const probe of probes) {
      for (const caller of [owner, reader, confined]) {
        const url = `/v2025/sources/${id}/connector/${probe}`
        const body = probe === 'peek-resource-objects' ? {} : undefined
        expect((await server.call('POST', url, body, { caller })).status).toBe(403)
      }
      expect((await ask('0'.repeat(32), probe, {})).status).toBe(404)
    }
    const url = `/muster/v1/sources/${id}/discover`
    expect((await server.call('POST', url, undefined, { caller: owner })).status).toBe(403)
  })

  it('end with a FAILURE when the system is silent for too long, also when its connector is in a loop', async () => {
    const hasty = await serve({ timeoutMs: 700, mostAtOnce: 4 })
    for (const behaviour of ['silent', 'loops']) {
      const { id } = await make({ behaviour, after: 0 })
      const begin = performance.now()
      const answer = await hasty.call('POST', `/v2025/sources/${id}/connector/test-configuration`)
      expect(answer.body).toMatchObject({
        status: 'FAILURE',
        details: { code: 'no_answer', temporary: true, reason: expect.stringContaining('seconds') },
      })
      expect(answer.body.elapsedMillis).toBeGreaterThanOrEqual(690)
      expect(performance.now() - begin).toBeLessThan(8_000)
    }
    await hasty.close()
  })

  it('end when their client goes away, and only so many run at once', async () => {
    const narrow = await serve({ timeoutMs: 60_000, mostAtOnce: 1 })
    const url = await narrow.app.listen({ host: '127.0.0.1', port: 0 })
    const silent = await make({ behaviour: 'silent', after: 0 })
    const good = await make()
    const post = (id: string, signal?: AbortSignal): Promise<Response> =>
      fetch(`${url}/v2025/sources/${id}/connector/test-configuration`, {
        method: 'POST',
        ...(signal === undefined ? {} : { signal }),
      })
    const client = new AbortController()
    const waiting = post(silent.id, client.signal).catch((error: unknown) => error)
    await pause(600)
    const refused = await post(good.id)
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    client.abort()
    await waiting
    // The place is free as soon as the connector has been stopped.
    await expect.poll(async () => (await post(good.id)).status, { timeout: 10_000 }).toBe(200)
    await narrow.close()
  })
})

describe('source-health', () => {
  it('shows the status of the source in the shape of the contract, under every prefix but beta', async () => {
    const { id } = await make({ url: 'chaos://chaos.example.com/x' })
    for (const prefix of ['/v3/sources', '/v2024/sources', '/v2025/sources', '/sources/v1']) {
      expect((await server.call('GET', `${prefix}/${id}/source-health`)).body).toEqual({
        id,
        type: 'chaos',
        name: `Probed ${made}`,
        org: 'acme',
        isAuthoritative: false,
        isCluster: false,
        hostname: 'chaos.example.com',
        pod: 'local',
        iqServiceVersion: null,
        status: 'SOURCE_STATE_UNCHECKED_SOURCE_NO_ACCOUNTS',
      })
    }
    expect((await server.call('GET', `/beta/sources/${id}/source-health`)).status).toBe(404)
    const file = await makeFile()
    const health = await server.call('GET', `/v3/sources/${file.id}/source-health`)
    expect(health.body).toMatchObject({ type: 'DelimitedFile', hostname: 'local' })
  })
})

describe('discovery', () => {
  const discover = (id: string): Promise<Answer> =>
    server.call('POST', `/muster/v1/sources/${id}/discover`)

  it('proposes nothing for a source that has the schemas of its system', async () => {
    const { id } = await make()
    const { body } = await discover(id)
    expect(body).toMatchObject({ sourceId: id, unknown: [] })
    expect(body.schemas).toMatchObject([
      { name: 'account', added: [], changed: [], missing: [], patch: [], create: null },
      { name: 'group', added: [], changed: [], missing: [], patch: [], create: null },
    ])
  })

  it('gives patches and schemas that can be sent as they are, and changes nothing itself', async () => {
    const { id } = await make()
    const schema = await accountSchema(id)
    const url = `/v2025/sources/${id}/schemas/${schema.id}`
    const [idAttribute, name, , number] = schema.attributes
    const edited = await server.call('PUT', url, {
      ...schema,
      attributes: [idAttribute, name, { ...number, type: 'STRING' }, { name: 'mine' }],
    })
    expect(edited.status).toBe(200)
    const { body: all } = await server.call('GET', `/v2025/sources/${id}/schemas`)
    const group = all.find((one: { name: string }) => one.name === 'group')
    await server.call('DELETE', `/v2025/sources/${id}/schemas/${group.id}`)
    await server.call('POST', `/v2025/sources/${id}/schemas`, { name: 'rockets' })

    const { body } = await discover(id)
    const [account, groups] = body.schemas
    expect(account).toMatchObject({
      schemaId: schema.id,
      added: [{ name: 'title' }, { name: 'groups', isMulti: true, isEntitlement: true }],
      changed: [{ name: 'number', before: { type: 'STRING' }, after: { type: 'INT' } }],
      missing: ['mine'],
      create: null,
    })
    expect(groups).toMatchObject({ schemaId: null, patch: [] })
    expect(body.unknown).toEqual(['rockets'])
    expect((await server.call('GET', url)).body).toEqual(edited.body)

    const type = 'application/json-patch+json'
    const patched = await server.call('PATCH', url, account.patch, { type })
    expect(patched.status).toBe(200)
    const created = await server.call('POST', `/v2025/sources/${id}/schemas`, groups.create)
    expect(created.status).toBe(201)
    expect((await server.call('PATCH', url, account.removal, { type })).status).toBe(200)
    const again = (await discover(id)).body.schemas
    expect(again).toMatchObject([
      { added: [], changed: [], missing: [], patch: [] },
      { added: [], changed: [], missing: [], create: null },
    ])
  })

  it('is 400 with the reason when the system cannot be asked', async () => {
    const { id } = await make({ password: 'wrong' })
    const answer = await discover(id)
    expect(answer.status).toBe(400)
    expect(textOf(answer)).toContain('Chaos refused the password.')
  })
})
