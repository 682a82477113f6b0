import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sourceRoutes } from '../../src/api/sources.ts'
import type { Caller } from '../../src/core/access.ts'
import {
  generateMasterKey,
  getSecret,
  parseMasterKey,
  verifyMasterKey,
} from '../../src/store/sealed.ts'
import { makeCaller, serveRoutes } from '../support/call-routes.ts'
import type { RouteServer } from '../support/call-routes.ts'
import { testDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'

let database: TestDatabase
let server: RouteServer
let admin: Caller
const masterKey = parseMasterKey(generateMasterKey())

beforeAll(async () => {
  database = await testDatabase()
  await verifyMasterKey(database.db, masterKey)
  admin = await makeCaller(database.db, 'ORG_ADMIN')
  server = await serveRoutes(
    sourceRoutes({ db: database.db, masterKey, descriptions: [], wake: () => undefined }),
    admin,
  )
})
afterAll(async () => {
  await server?.close()
  await database?.drop()
})

let made = 0
/** Makes a delimited source and gives what was answered. */
async function makeSource(body: Record<string, unknown> = {}, query = '?provisionAsCsv=true') {
  made += 1
  const answer = await server.call('POST', `/v2025/sources${query}`, {
    name: `Source ${made}`,
    owner: null,
    connector: 'delimited-file-angularsc',
    ...body,
  })
  expect(answer.text).toContain('"id"')
  expect(answer.status).toBe(201)
  return answer.body
}

const patch = (id: string, operations: unknown, version = 'v2025') =>
  server.call('PATCH', `/${version}/sources/${id}`, operations, {
    type: 'application/json-patch+json',
  })
const textOf = (answer: { body: { messages: { text: string }[] } }) =>
  answer.body.messages[0]?.text ?? ''

describe('making a source', () => {
  it('gives a delimited source all fields of the contract, null where null is meant', async () => {
    const source = await makeSource({ name: 'HR', description: 'People' })
    expect(source).toMatchObject({
      id: expect.stringMatching(/^[0-9a-f]{32}$/),
      name: 'HR',
      description: 'People',
      owner: { type: 'IDENTITY', id: admin.identityId, name: admin.identityName },
      cluster: null,
      accountCorrelationConfig: {
        type: 'ACCOUNT_CORRELATION_CONFIG',
        id: expect.stringMatching(/^[0-9a-f]{32}$/),
        name: expect.stringMatching(/^Source \[.*\] Account Correlation$/),
      },
      accountCorrelationRule: null,
      managerCorrelationMapping: null,
      managerCorrelationRule: null,
      beforeProvisioningRule: null,
      schemas: [{ type: 'CONNECTOR_SCHEMA', id: expect.any(String), name: 'account' }],
      passwordPolicies: null,
      features: ['NO_RANDOM_ACCESS', 'DISCOVER_SCHEMA', 'DIRECT_PERMISSIONS'],
      type: 'DelimitedFile',
      connector: 'delimited-file-angularsc',
      connectorClass: 'sailpoint.connector.DelimitedFileConnector',
      connectorId: 'delimited-file',
      connectorName: 'Delimited File',
      connectorImplementationId: 'delimited-file',
      connectionType: 'file',
      deleteThreshold: 10,
      authoritative: false,
      managementWorkgroup: null,
      healthy: false,
      status: 'SOURCE_STATE_UNCHECKED_SOURCE_NO_ACCOUNTS',
      since: expect.stringMatching(/^\d{4}-.*Z$/),
      created: expect.stringMatching(/^\d{4}-.*Z$/),
      modified: expect.stringMatching(/^\d{4}-.*Z$/),
      credentialProviderEnabled: false,
      category: null,
      connectorAttributes: {
        indexColumn: 'id',
        delimiter: ',',
        hasHeader: true,
        mergeRows: false,
        filterEmptyRecords: true,
        'group.delimiter': ',',
        deleteThresholdPercentage: 10,
        cloudExternalId: expect.stringMatching(/^\d{4,10}$/),
        cloudDisplayName: 'HR',
        connectionType: 'file',
        status: 'SOURCE_STATE_UNCHECKED_SOURCE_NO_ACCOUNTS',
        healthy: false,
      },
    })
  })

  it('is the same under every prefix, with and without a trailing slash', async () => {
    const { id } = await makeSource()
    for (const path of ['/beta/sources', '/v3/sources', '/v2026/sources', '/sources/v1']) {
      expect((await server.call('GET', `${path}/${id}`)).body.id).toBe(id)
      expect((await server.call('GET', `${path}/${id}/`)).status).toBe(200)
    }
  })

  it('gives every source an external id of its own, and the one that a client brings while it is free', async () => {
    const [a, b] = [await makeSource(), await makeSource()]
    const brought = await makeSource({ connectorAttributes: { cloudExternalId: '7712345' } })
    const copied = await makeSource({ connectorAttributes: { cloudExternalId: '7712345' } })
    const ids = [a, b, brought, copied].map((source) => source.connectorAttributes.cloudExternalId)
    expect(new Set(ids).size).toBe(4)
    expect(ids[2]).toBe('7712345')
  })

  it('keeps a source of a connector that is not installed', async () => {
    const source = await makeSource(
      { connector: 'workday', type: 'Workday', connectorAttributes: { url: 'https://w.example' } },
      '',
    )
    expect(source).toMatchObject({ type: 'Workday', connectionType: 'direct', schemas: [] })
  })

  it.each([
    [{ name: '' }, 'name'],
    [{ name: '   ' }, 'blank'],
    [{ name: 'x'.repeat(257) }, 'name'],
    [{ name: 'a\0b' }, 'NUL'],
    [{ name: 'a\ud800' }, 'surrogate'],
    [{ owner: { type: 'IDENTITY', id: 'f'.repeat(32), name: 'x' } }, 'no known identity'],
    [{ owner: { type: 'ROLE', id: 'f'.repeat(32) } }, 'IDENTITY'],
    [{ deleteThreshold: 101 }, 'deleteThreshold'],
    [{ deleteThreshold: 5, connectorAttributes: { deleteThresholdPercentage: 6 } }, 'same setting'],
    [{ features: ['FLY'] }, 'FLY'],
    [{ connectorAttributes: { delimiter: ';;' } }, 'delimiter'],
    [{ connectorAttributes: { delimiter: '"' } }, 'delimiter'],
    [{ connectorAttributes: { commentCharacter: '##' } }, 'commentCharacter'],
    [{ connectorAttributes: { quoteCharacter: 'ab' } }, 'quoteCharacter'],
    [{ connectorAttributes: { fileEncoding: 'klingon' } }, 'klingon'],
    [{ connectorAttributes: { hasHeader: false } }, 'hasHeader'],
    [{ connectorAttributes: { mergeRows: 'maybe' } }, 'mergeRows'],
    [{ connectorAttributes: { x: 'y'.repeat(300_000) } }, '256 KiB'],
    [{ connectorAttributes: { url: 'ldap://admin:hunter2@ldap.example' } }, 'password in its URL'],
    [{ connectorAttributes: { password: '******' } }, 'no secret is kept'],
    [{ connectorAttributes: { password: 1234 } }, 'must be text'],
  ])('refuses a body with a sentence about it, case %#', async (body, named) => {
    const answer = await server.call('POST', '/v3/sources?provisionAsCsv=true', {
      name: 'Refused',
      connector: 'delimited-file-angularsc',
      ...body,
    })
    expect(answer.status).toBe(400)
    expect(textOf(answer)).toContain(named)
    expect((await server.call('GET', '/v3/sources?filters=name+eq+"refused"')).body).toEqual([])
  })

  it('refuses a body without a connector, without an object, and with keys of prototypes', async () => {
    for (const body of [{ name: 'X' }, [], 'x', null]) {
      expect((await server.call('POST', '/v3/sources', body)).status).toBe(400)
    }
    const raw = await server.app.inject({
      method: 'POST',
      url: '/v3/sources',
      headers: { 'content-type': 'application/json' },
      payload: '{"name":"X","connector":"c","connectorAttributes":{"__proto__":{"polluted":1}}}',
    })
    expect(raw.statusCode).toBe(400)
    const deep = `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`
    const nested = await server.app.inject({
      method: 'POST',
      url: '/v3/sources',
      headers: { 'content-type': 'application/json' },
      payload: `{"name":"X","connector":"c","connectorAttributes":${deep}}`,
    })
    expect(nested.statusCode).toBe(400)
  })

  it('refuses a name that differs only in case, in any script, and frees it with the source', async () => {
    const { id } = await makeSource({ name: 'Zürich Ä' })
    const again = await server.call('POST', '/v3/sources?provisionAsCsv=true', { name: 'zÜrich ä' })
    expect(again.status).toBe(400)
    expect(textOf(again)).toContain('already')
    expect((await server.call('DELETE', `/v3/sources/${id}`)).status).toBe(202)
    await makeSource({ name: 'ZÜRICH Ä' })
  })

  it('takes a name once when many ask for it at the same time', async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, () =>
        server.call('POST', '/v3/sources?provisionAsCsv=true', { name: 'Race' }),
      ),
    )
    expect(answers.filter((answer) => answer.status === 201)).toHaveLength(1)
    expect(answers.filter((answer) => answer.status === 400)).toHaveLength(7)
  })

  it('answers 404 for an id that names nothing, whatever its form', async () => {
    for (const id of ['0'.repeat(32), 'nonsense', "'; drop table source; --", '%25']) {
      expect((await server.call('GET', `/v3/sources/${encodeURIComponent(id)}`)).status).toBe(404)
    }
  })
})

describe('changing a source', () => {
  it('applies a patch as a whole, and tells all of it in the audit', async () => {
    const source = await makeSource()
    const answer = await patch(source.id, [
      { op: 'test', path: '/name', value: source.name },
      { op: 'replace', path: '/description', value: 'new' },
      { op: 'add', path: '/connectorAttributes/mergeRows', value: true },
      { op: 'add', path: '/connectorAttributes/mergeColumns', value: ['groups'] },
      { op: 'replace', path: '/deleteThreshold', value: 33 },
    ])
    expect(answer.status).toBe(200)
    expect(answer.body).toMatchObject({
      description: 'new',
      deleteThreshold: 33,
      connectorAttributes: {
        mergeRows: true,
        mergeColumns: ['groups'],
        deleteThresholdPercentage: 33,
        indexColumn: 'id',
      },
    })
    expect((await server.call('GET', `/beta/sources/${source.id}`)).body).toEqual(answer.body)
    const { rows } = await database.db.query(
      `select action, actor_id, before ->> 'description' as before, after ->> 'description' as after
       from audit where target_id = $1::text order by number`,
      [source.id],
    )
    expect(rows).toEqual([
      { action: 'SOURCE_CREATED', actor_id: admin.identityId, before: null, after: null },
      { action: 'SOURCE_UPDATED', actor_id: admin.identityId, before: null, after: 'new' },
    ])
  })

  it('takes the threshold from the attribute that mirrors it too', async () => {
    const { id } = await makeSource()
    const path = '/connectorAttributes/deleteThresholdPercentage'
    const answer = await patch(id, [{ op: 'replace', path, value: 50 }])
    expect(answer.body.deleteThreshold).toBe(50)
  })

  it.each([
    ['id', 'f'.repeat(32)],
    ['type', 'LDAP'],
    ['authoritative', true],
    ['created', '2020-01-01T00:00:00Z'],
    ['modified', '2020-01-01T00:00:00Z'],
    ['connector', 'ldap'],
    ['connectorClass', 'x'],
    ['passwordPolicies', []],
    ['schemas', []],
    ['healthy', true],
    ['status', 'SOURCE_STATE_HEALTHY'],
    ['connectionType', 'direct'],
    ['connectorAttributes/status', 'SOURCE_STATE_HEALTHY'],
    ['connectorAttributes/cloudExternalId', '1'],
  ])('refuses to change %s', async (field, value) => {
    const source = await makeSource()
    const answer = await patch(source.id, [
      { op: 'replace', path: '/description', value: 'half' },
      { op: 'replace', path: `/${field}`, value },
    ])
    expect(answer.status).toBe(400)
    expect(textOf(answer)).toContain(field.replace('/', '.'))
    expect((await server.call('GET', `/v3/sources/${source.id}`)).body).toEqual(source)
  })

  it.each([
    [[{ op: 'replace', path: '/__proto__/polluted', value: 1 }], '__proto__'],
    [[{ op: 'add', path: '/constructor/prototype/polluted', value: 1 }], 'constructor'],
    [[{ op: 'add', path: '/connectorAttributes/prototype', value: 1 }], 'prototype'],
    [
      [{ op: 'copy', from: '/connectorAttributes/constructor', path: '/description' }],
      'constructor',
    ],
    [[{ op: 'copy', from: '/toString', path: '/description' }], 'does not exist'],
    [[{ op: 'replace', path: '/features/length', value: 4_000_000_000 }], 'does not exist'],
    [[{ op: 'replace', path: '/name/length', value: 0 }], 'does not exist'],
    [[{ op: 'remove', path: '/nothing' }], 'does not exist'],
    [[{ op: 'replace', path: '', value: {} }], 'whole object'],
    [[{ op: 'replace', path: 'name', value: 'x' }], 'JSON Pointer'],
    [[{ op: 'replace', path: '/name' }], 'no value'],
    [[{ op: 'increment', path: '/name' }], 'no op'],
    [[{ op: 'test', path: '/name', value: 'other' }], 'another value'],
    [[{ op: 'replace', path: '/name', value: null }], 'name'],
    [[{ op: 'remove', path: '/name' }], 'name'],
    [[{ op: 'add', path: '/connectorAttributes/delimiter', value: '||' }], 'delimiter'],
    [[{ op: 'add', path: '/connectorAttributes/x', value: 'a\0' }], 'NUL'],
    [
      Array.from({ length: 60 }, (_, index) => ({
        op: 'copy',
        from: '/connectorAttributes',
        path: `/connectorAttributes/copy${index}`,
      })),
      'larger than 1 MiB',
    ],
    [Array.from({ length: 251 }, () => ({ op: 'test', path: '/name', value: 'x' })), '250'],
    [{ op: 'replace' }, 'body'],
  ])('refuses a patch and leaves the source as it was, case %#', async (operations, named) => {
    const source = await makeSource()
    const answer = await patch(source.id, operations)
    expect(answer.status).toBe(400)
    expect(textOf(answer)).toContain(named)
    expect((await server.call('GET', `/v3/sources/${source.id}`)).body).toEqual(source)
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
  })

  it('takes a patch as application/json too, and nothing else', async () => {
    const { id } = await makeSource()
    const operations = [{ op: 'replace', path: '/description', value: 'x' }]
    const send = (type: string) => server.call('PATCH', `/v3/sources/${id}`, operations, { type })
    expect((await send('application/json')).status).toBe(200)
    expect((await send('application/merge-patch+json')).status).toBe(415)
    expect((await send('text/plain')).status).toBe(415)
  })

  it('puts back what was read and changes nothing by it', async () => {
    const source = await makeSource({ description: 'stays', deleteThreshold: 20 })
    const answer = await server.call('PUT', `/v3/sources/${source.id}`, source)
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({ ...source, modified: answer.body.modified })
  })

  it('replaces by PUT, with defaults for what is left out, but not what is immutable', async () => {
    const source = await makeSource({ description: 'goes', deleteThreshold: 20 })
    const answer = await server.call('PUT', `/v3/sources/${source.id}`, {
      name: 'Renamed',
      connectorAttributes: { delimiter: String.raw`\u0009` },
    })
    expect(answer.body).toMatchObject({
      name: 'Renamed',
      description: null,
      deleteThreshold: 10,
      owner: source.owner,
      connectorAttributes: {
        delimiter: String.raw`\u0009`,
        cloudDisplayName: 'Renamed',
        cloudExternalId: source.connectorAttributes.cloudExternalId,
      },
    })
    const refused = await server.call('PUT', `/v3/sources/${source.id}`, { ...source, type: 'X' })
    expect(refused.status).toBe(400)
    const taken = await makeSource()
    const clash = await server.call('PUT', `/v3/sources/${source.id}`, { name: taken.name })
    expect(clash.status).toBe(400)
  })

  it('serialises two patches of one source', async () => {
    const { id } = await makeSource()
    await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        patch(id, [{ op: 'add', path: `/connectorAttributes/k${index}`, value: index }]),
      ),
    )
    const { body } = await server.call('GET', `/v3/sources/${id}`)
    expect(body.connectorAttributes).toMatchObject({ k0: 0, k1: 1, k2: 2, k3: 3, k4: 4, k5: 5 })
  })
})

describe('secrets of a source', () => {
  const canary = 'canary-5ecret'
  const secretOf = (id: string, path: string) =>
    getSecret(database.db, masterKey, `source/${id}/${path}`)

  it('are sealed, shown as a mask, and nowhere in the clear', async () => {
    const source = await makeSource(
      {
        connector: 'saas',
        connectorAttributes: {
          password: canary,
          tokenUrl: 'https://x.example/token',
          config: { apiKey: canary, region: 'eu' },
        },
      },
      '',
    )
    expect(source.connectorAttributes).toMatchObject({
      password: '******',
      tokenUrl: 'https://x.example/token',
      config: { apiKey: '******', region: 'eu' },
    })
    expect(await secretOf(source.id, 'password')).toBe(canary)
    expect(await secretOf(source.id, 'config/apiKey')).toBe(canary)
    const { rows } = await database.db.query(
      `select (select string_agg(source::text, ' ') from source) || ' '
         || (select string_agg(audit::text, ' ') from audit) as everything`,
    )
    expect(JSON.stringify(rows)).not.toContain(canary)
  })

  it('stay when the mask comes back, change when a value comes, go when the key goes', async () => {
    const source = await makeSource(
      { connector: 'scim', connectorAttributes: { token: canary } },
      '',
    )
    const { id } = source
    expect((await server.call('PUT', `/v3/sources/${id}`, source)).status).toBe(200)
    expect(await secretOf(id, 'token')).toBe(canary)
    await patch(id, [{ op: 'replace', path: '/connectorAttributes/token', value: 'second' }])
    expect(await secretOf(id, 'token')).toBe('second')
    const moved = await patch(id, [
      { op: 'move', from: '/connectorAttributes/token', path: '/connectorAttributes/password' },
    ])
    expect(moved.status).toBe(400)
    await patch(id, [{ op: 'remove', path: '/connectorAttributes/token' }])
    expect(await secretOf(id, 'token')).toBeUndefined()
  })

  it('are forgotten with their source', async () => {
    const { id } = await makeSource(
      { connector: 'scim', connectorAttributes: { token: canary } },
      '',
    )
    await server.call('DELETE', `/v3/sources/${id}`)
    expect(await secretOf(id, 'token')).toBeUndefined()
  })
})

describe('who may do what', () => {
  it('confines a SOURCE_SUBADMIN to its sources in lists, counts, reads and writes', async () => {
    const [mine, other] = [await makeSource(), await makeSource()]
    const caller = await makeCaller(database.db, 'SOURCE_SUBADMIN', [mine.id])
    const list = await server.call('GET', '/v3/sources?count=true', undefined, { caller })
    expect(list.body.map((source: { id: string }) => source.id)).toEqual([mine.id])
    expect(list.headers['x-total-count']).toBe('1')
    for (const id of [other.id, '0'.repeat(32)]) {
      for (const [method, body] of [
        ['GET'],
        ['PUT', { name: 'x' }],
        ['PATCH', []],
        ['DELETE'],
      ] as const) {
        expect((await server.call(method, `/v3/sources/${id}`, body, { caller })).status).toBe(403)
      }
    }
    expect((await server.call('GET', `/v3/sources/${mine.id}`, undefined, { caller })).status).toBe(
      200,
    )
    const make = await server.call('POST', '/v3/sources', { name: 'N', connector: 'c' }, { caller })
    expect(make.status).toBe(403)
    const give = await server.call(
      'PATCH',
      `/v3/sources/${mine.id}`,
      [{ op: 'replace', path: '/owner', value: { type: 'IDENTITY', id: caller.identityId } }],
      { caller },
    )
    expect(give.status).toBe(403)
  })

  it('lists for a sub-administrator what it administers', async () => {
    const mine = await makeSource()
    const caller = await makeCaller(database.db, 'SOURCE_SUBADMIN', [mine.id])
    await database.db.query(
      `insert into client (id, name, secret_salt, secret_hash, identity_id, level, scopes, source_ids)
       values ($1::text, 'x', '', '', $2::uuid, 'SOURCE_SUBADMIN', '{}', array[$3::uuid])`,
      [caller.clientId, caller.identityId, mine.id],
    )
    const forIt = await server.call('GET', `/v3/sources?for-subadmin=${caller.identityId}`)
    expect(forIt.body.map((source: { id: string }) => source.id)).toEqual([mine.id])
    const asIt = await server.call('GET', '/v3/sources?for-subadmin=me', undefined, { caller })
    expect(asIt.body).toEqual(forIt.body)
    expect((await server.call('GET', '/v3/sources?for-subadmin=me')).status).toBe(400)
  })

  it('needs the level and a scope', async () => {
    const helpdesk = await makeCaller(database.db, 'HELPDESK')
    const reader = { ...admin, scopes: ['idn:sources:read'] }
    const get = (caller: Caller) => server.call('GET', '/v3/sources', undefined, { caller })
    expect((await get(helpdesk)).status).toBe(403)
    expect((await get(reader)).status).toBe(200)
    const make = await server.call('POST', '/v3/sources', { name: 'x' }, { caller: reader })
    expect(make.status).toBe(403)
  })
})

describe('deleting a source', () => {
  it('moves its accounts and links into history in one step, and the task of it has ended', async () => {
    const { db } = database
    const source = await makeSource()
    const prefix = source.id.slice(0, 12)
    const low = `${prefix}${'0'.repeat(20)}`
    const high = `${(BigInt(`0x${prefix}`) + 1n).toString(16).padStart(12, '0')}${'0'.repeat(20)}`
    await db.query(`create table account_${prefix} (like account including all)`)
    await db.query(
      `alter table account attach partition account_${prefix} for values from ('${low}') to ('${high}')`,
    )
    await db.query(
      `insert into account (id, opened_run, key_hash, native_identity, attributes)
       select ($1::text || lpad(to_hex(n), 20, '0'))::uuid, 1, 0, 'n' || n, '{}' from generate_series(1, 500) n`,
      [prefix],
    )
    await db.query(
      `insert into account_link (account_id, identity_id, match, opened_run)
       select id, $1::uuid, 'manual', 1 from account where id >= $2::uuid and id < $3::uuid limit 3`,
      [admin.identityId, low, high],
    )
    await db.query('update source set accounts = 500 where id = $1::uuid', [source.id])

    const answer = await server.call('DELETE', `/v2024/sources/${source.id}`)
    expect(answer.status).toBe(202)
    expect(answer.body).toEqual({
      type: 'TASK_RESULT',
      id: expect.stringMatching(/^[0-9a-f]{32}$/),
      name: null,
    })
    const { rows } = await db.query(
      `select t.type, t.state, t.completion_status, t.attributes ->> 'deleted' as deleted,
         r.feed_number is not null and r.applied_at is not null as dated,
         (select count(*) from account where id >= $2::uuid and id < $3::uuid) as left_over,
         (select count(*) from account_history where closed_run = t.number and removed) as history,
         (select count(*) from account_change where run_number = t.number and kind = 'removed') as changes,
         (select count(*) from account_link where account_id >= $2::uuid and account_id < $3::uuid) as links,
         (select count(*) from account_link_history where closed_run = t.number) as link_history,
         to_regclass('account_' || $4::text) is null as dropped
       from task t join run r on r.task_id = t.id where t.id = $1::uuid`,
      [answer.body.id, low, high, prefix],
    )
    expect(rows).toEqual([
      {
        type: 'ACCOUNT_DELETION',
        state: 'completed',
        completion_status: 'SUCCESS',
        deleted: '500',
        dated: true,
        left_over: 0,
        history: 500,
        changes: 500,
        links: 0,
        link_history: 3,
        dropped: true,
      },
    ])
    expect((await server.call('GET', `/v3/sources/${source.id}`)).status).toBe(404)
    expect((await server.call('DELETE', `/v3/sources/${source.id}`)).status).toBe(404)
  })

  it('answers 409 while a run of the source is open, and changes nothing', async () => {
    const source = await makeSource()
    await database.db.query(
      `insert into task (id, type, state, source_id, launcher)
       values (gen_random_uuid(), 'CLOUD_ACCOUNT_AGGREGATION', 'queued', $1::uuid, 'x')`,
      [source.id],
    )
    const answer = await server.call('DELETE', `/v3/sources/${source.id}`)
    expect(answer.status).toBe(409)
    expect(answer.body).toMatchObject({ errorName: 'ConflictException' })
    expect((await server.call('GET', `/v3/sources/${source.id}`)).body).toEqual(source)
  })
})
