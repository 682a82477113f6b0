import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { correlationConfigRoutes } from '../../src/api/correlation-config.ts'
import { schemaRoutes } from '../../src/api/schemas.ts'
import { sourceRoutes } from '../../src/api/sources.ts'
import type { Caller } from '../../src/core/access.ts'
import { listAudit } from '../../src/store/audit.ts'
import { generateMasterKey, parseMasterKey } from '../../src/store/sealed.ts'
import { makeCaller, serveRoutes } from '../support/call-routes.ts'
import type { Answer, RouteServer } from '../support/call-routes.ts'
import { testDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'

let database: TestDatabase
let server: RouteServer
let admin: Caller
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
      ...correlationConfigRoutes({ db }),
    ],
    admin,
  )
})
afterAll(async () => {
  await server?.close()
  await database?.drop()
})

async function newSource(name = `Source ${++made}`): Promise<string> {
  const answer = await server.call('POST', '/v3/sources?provisionAsCsv=true', { name })
  expect(answer.status).toBe(201)
  return answer.body.id
}
const path = (id: string, version = 'v2025') => `/${version}/sources/${id}/correlation-config`
const put = (id: string, body: unknown): Promise<Answer> => server.call('PUT', path(id), body)
const mail = { property: 'email', value: 'e-mail' }
const kept = {
  operation: 'EQ',
  complex: false,
  ignoreCase: false,
  matchMode: 'ANYWHERE',
  filterString: '',
}

describe('the correlation configuration of a source', () => {
  it('is there from the beginning, empty and under a name that follows the source', async () => {
    const id = await newSource('HR')
    const { status, body } = await server.call('GET', path(id))
    expect(status).toBe(200)
    expect(body).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{32}$/),
      name: 'Source [HR] Account Correlation',
      attributeAssignments: [],
    })
    await server.call(
      'PATCH',
      `/v3/sources/${id}`,
      [{ op: 'replace', path: '/name', value: 'People' }],
      { type: 'application/json-patch+json' },
    )
    expect((await server.call('GET', path(id))).body).toEqual({
      ...body,
      name: 'Source [People] Account Correlation',
    })
  })

  it('is what the source refers to, whatever a client says of it', async () => {
    const answer = await server.call('POST', '/v3/sources?provisionAsCsv=true', {
      name: 'Copied',
      accountCorrelationConfig: { type: 'ACCOUNT_CORRELATION_CONFIG', id: 'elsewhere', name: 'x' },
    })
    const { id, accountCorrelationConfig: reference } = answer.body
    const config = (await server.call('GET', path(id))).body
    expect(reference).toEqual({
      type: 'ACCOUNT_CORRELATION_CONFIG',
      id: config.id,
      name: config.name,
    })
    const patched = await server.call(
      'PATCH',
      `/v3/sources/${id}`,
      [{ op: 'remove', path: '/accountCorrelationConfig' }],
      { type: 'application/json-patch+json' },
    )
    expect([patched.status, patched.text]).toEqual([
      400,
      expect.stringContaining('accountCorrelationConfig'),
    ])
  })

  it('is replaced whole, with the defaults of what is left out, and keeps its id', async () => {
    const id = await newSource()
    const before = (await server.call('GET', path(id))).body
    const first = await put(id, {
      name: 'By mail',
      attributeAssignments: [
        mail,
        { property: 'uid', value: 'id', ignoreCase: true, matchMode: 'END', complex: true },
      ],
    })
    expect([first.status, first.body]).toEqual([
      200,
      {
        id: before.id,
        name: 'By mail',
        attributeAssignments: [
          { ...kept, ...mail },
          {
            ...kept,
            property: 'uid',
            value: 'id',
            ignoreCase: true,
            matchMode: 'END',
            complex: true,
          },
        ],
      },
    ])
    expect((await server.call('GET', path(id))).body).toEqual(first.body)
    expect((await server.call('GET', `/v3/sources/${id}`)).body.accountCorrelationConfig).toEqual({
      type: 'ACCOUNT_CORRELATION_CONFIG',
      id: before.id,
      name: 'By mail',
    })
    // What was read can be sent back, also with nulls where ISC has them.
    expect((await put(id, first.body)).body).toEqual(first.body)
    expect((await put(id, { id: null, name: null, attributeAssignments: null })).body).toEqual(
      before,
    )
  })

  it('has a sequence under /beta alone, and is in its order everywhere', async () => {
    const id = await newSource()
    const answer = await server.call('PUT', path(id, 'beta'), {
      attributeAssignments: [
        { sequence: 7, property: 'email', value: 'e-mail' },
        { sequence: 2, property: 'uid', value: 'id' },
      ],
    })
    expect(answer.body.attributeAssignments).toMatchObject([
      { sequence: 1, property: 'uid' },
      { sequence: 2, property: 'email' },
    ])
    const { body } = await server.call('GET', `/sources/v1/${id}/correlation-config`)
    expect(body.attributeAssignments).toEqual([
      { ...kept, property: 'uid', value: 'id' },
      { ...kept, ...mail },
    ])
    expect((await server.call('GET', path(id, 'v3'))).status).toBe(404)
  })

  it.each([
    [{ attributeAssignments: [{ ...mail, value: 'nope' }] }, /\[0\]\.value names "nope"/],
    [{ attributeAssignments: [mail, { property: '  ', value: 'id' }] }, /\[1\]\.property is blank/],
    [{ attributeAssignments: [mail, mail] }, /\[1\] assigns "e-mail" to "email" once more/],
    [{ attributeAssignments: [{ ...mail, operation: 'NE' }] }, /operation/],
    [{ attributeAssignments: [{ ...mail, matchMode: 'MIDDLE' }] }, /matchMode/],
    [{ attributeAssignments: [{ property: 'email' }] }, /attributeAssignments/],
    [{ attributeAssignments: 'email' }, /attributeAssignments/],
    [{ attributeAssignments: Array.from({ length: 101 }, () => mail) }, /attributeAssignments/],
    [{ id: '0'.repeat(32) }, /id of a correlation configuration/],
    [[], /body/],
    ['x', /body/],
  ])('refuses %j and changes nothing', async (body, reason) => {
    const id = await newSource()
    await put(id, { attributeAssignments: [{ property: 'uid', value: 'id' }] })
    const before = (await server.call('GET', path(id))).body
    const answer = await put(id, body)
    expect([answer.status, answer.body.messages[0].text]).toEqual([
      400,
      expect.stringMatching(reason),
    ])
    expect((await server.call('GET', path(id))).body).toEqual(before)
  })

  it('may be sent back as it was read, also when an attribute has left the schema', async () => {
    const id = await newSource()
    expect((await put(id, { attributeAssignments: [mail] })).status).toBe(200)
    const schemas = `/v2025/sources/${id}/schemas`
    const [account] = (await server.call('GET', schemas)).body
    const attributes = account.attributes.filter((one: { name: string }) => one.name !== mail.value)
    const left = await server.call('PUT', `${schemas}/${account.id}`, { ...account, attributes })
    expect(left.status).toBe(200)
    const read = (await server.call('GET', path(id))).body
    const again = await put(id, read)
    expect([again.status, again.body]).toEqual([200, read])
    const other = { ...mail, value: 'never there' }
    expect((await put(id, { attributeAssignments: [other] })).status).toBe(400)
  })

  it('keeps patterns as text that nothing runs', async () => {
    const id = await newSource()
    const filterString = `(a+)+$'; drop table source; -- %_\\`
    const answer = await put(id, { attributeAssignments: [{ ...mail, filterString }] })
    expect(answer.body.attributeAssignments[0].filterString).toBe(filterString)
  })

  it('is written down in the audit, before and after', async () => {
    const id = await newSource()
    const before = (await server.call('GET', path(id))).body
    const after = (await put(id, { attributeAssignments: [mail] })).body
    const rows = await listAudit(database.db, { targetId: id, limit: 1, offset: 0 })
    expect(rows).toMatchObject([
      { action: 'CORRELATION_CONFIG_UPDATED', outcome: 'success', before, after },
    ])
  })

  it('is refused to a client that is confined to another source', async () => {
    const [own, other] = [await newSource(), await newSource()]
    const caller = await makeCaller(database.db, 'SOURCE_SUBADMIN', [own])
    expect((await server.call('GET', path(own), undefined, { caller })).status).toBe(200)
    expect((await server.call('PUT', path(own), {}, { caller })).status).toBe(200)
    expect((await server.call('GET', path(other), undefined, { caller })).status).toBe(403)
    expect((await server.call('PUT', path(other), {}, { caller })).status).toBe(403)
    expect((await server.call('GET', path('f'.repeat(32)))).status).toBe(404)
  })
})
