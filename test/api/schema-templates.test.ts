// Schemas as files: downloaded, changed by hand, uploaded.
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { schemaTemplateRoutes } from '../../src/api/schema-templates.ts'
import { schemaRoutes } from '../../src/api/schemas.ts'
import { sourceRoutes } from '../../src/api/sources.ts'
import { openSpool } from '../../src/run/spool.ts'
import { generateMasterKey, parseMasterKey } from '../../src/store/sealed.ts'
import { makeCaller, serveRoutes } from '../support/call-routes.ts'
import type { RouteServer } from '../support/call-routes.ts'
import { testDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'

let database: TestDatabase
let server: RouteServer
let folder = ''
let url = ''
let sourceId = ''
let made = 0

beforeAll(async () => {
  database = await testDatabase()
  const { db } = database
  folder = await mkdtemp(join(tmpdir(), 'muster-template-'))
  const spool = await openSpool({ dir: folder, shared: false })
  const masterKey = parseMasterKey(generateMasterKey())
  server = await serveRoutes(
    [
      ...sourceRoutes({ db, masterKey, descriptions: [], wake: () => undefined }),
      ...schemaRoutes({ db }),
      ...schemaTemplateRoutes({ db, spool }),
    ],
    await makeCaller(db, 'ORG_ADMIN'),
  )
  url = await server.app.listen({ host: '127.0.0.1', port: 0 })
})
afterAll(async () => {
  await server?.close()
  await database?.drop()
  await rm(folder, { recursive: true, force: true })
})
beforeEach(async () => {
  made += 1
  sourceId = await createSource({ name: `Häuser "${made}"` })
})

async function createSource(body: object, query = '?provisionAsCsv=true'): Promise<string> {
  const answer = await server.call('POST', `/v2025/sources${query}`, body)
  if (answer.status !== 201) throw new Error(answer.text)
  return answer.body.id
}

const path = (kind: string, id = sourceId, version = '/v2025') =>
  `${version}/sources/${id}/schemas/${kind}`

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

async function send(target: string, init?: RequestInit): Promise<Answer> {
  const response = await fetch(`${url}${target}`, init)
  // With its byte order mark, which `text()` takes away.
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(await response.arrayBuffer())
  return { status: response.status, headers: response.headers, text }
}

function upload(target: string, csv: string | Uint8Array<ArrayBuffer>): Promise<Answer> {
  const form = new FormData()
  form.append('file', new Blob([csv], { type: 'text/csv' }), 'schema.csv')
  return send(target, { method: 'POST', body: form })
}

const attributes = async (): Promise<ReturnType<typeof JSON.parse>[]> => {
  const { body } = await server.call('GET', `/v2025/sources/${sourceId}/schemas`)
  return body[0].attributes
}

const standard = 'id,name,givenName,familyName,e-mail,location,manager,groups,startDate,endDate\n'

describe('the template of the account schema', () => {
  it('is downloaded under every prefix as a file in CSV', async () => {
    for (const version of ['/beta', '/v3', '/v2024', '/v2025', '/v2026']) {
      const answer = await send(path('accounts', sourceId, version))
      expect([version, answer.status, answer.text]).toEqual([version, 200, standard])
    }
    const { headers } = await send(`/sources/v1/${sourceId}/schemas/accounts`)
    expect(headers.get('content-type')).toBe('text/csv; charset=utf-8')
    expect(headers.get('content-disposition')).toBe(
      `attachment; filename="H-user-${made}-account-schema.csv"`,
    )
    expect(headers.get('x-content-type-options')).toBe('nosniff')
  })

  it('takes new columns as text, keeps what it knows and drops what is not there', async () => {
    const answer = await upload(path('accounts'), 'groups,id,name,costCentre\nadmins,1,Ada,7\n')
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.text)).toMatchObject({ name: 'account', identityAttribute: 'id' })
    expect((await attributes()).map(({ name, type, isMulti }) => [name, type, isMulti])).toEqual([
      ['groups', 'STRING', true],
      ['id', 'STRING', false],
      ['name', 'STRING', false],
      ['costCentre', 'STRING', false],
    ])
    const { rows } = await database.db.query(
      `select before, after from audit where action = 'SOURCE_SCHEMA_UPDATED' order by number desc limit 1`,
    )
    expect(JSON.stringify(rows[0])).toContain('costCentre')
  })

  it('survives the way through a spreadsheet, formulas too', async () => {
    const names = ['id', 'name', '=cmd()', "'=x", '@odata.type', '-1', 'a,b', 'c"d']
    const schema = (await server.call('GET', `/v2025/sources/${sourceId}/schemas`)).body[0]
    const put = await server.call('PUT', `/v2025/sources/${sourceId}/schemas/${schema.id}`, {
      ...schema,
      attributes: names.map((name, index) => ({ name, isMulti: index === 4 })),
    })
    expect(put.status).toBe(200)
    const before = await attributes()
    const { text } = await send(path('accounts'))
    expect(text).toBe('id,name,"\'=cmd()","\'\'=x","\'@odata.type","\'-1","a,b","c""d"\n')
    expect((await upload(path('accounts'), text)).status).toBe(200)
    expect(await attributes()).toEqual(before)
    const raw = await send(`${path('accounts')}?raw=true`)
    expect(raw.text).toBe('id,name,=cmd(),\'=x,@odata.type,-1,"a,b","c""d"\n')
  })

  it('is refused when it would take away what identifies an account, and then nothing is changed', async () => {
    const before = await attributes()
    for (const [csv, reason] of [
      ['name,mail\n', 'no column \\"id\\"'],
      ['id,mail\n', 'no column \\"name\\"'],
      ['id,name,Groups\n', 'differs only in case'],
      ['id,name,x,x\n', 'twice'],
      ['id,name,\n', 'Column 3'],
      ['"id,name\n', ''],
      ['', 'no header'],
      ['id,name,__proto__\n', '__proto__'],
    ] as const) {
      const answer = await upload(path('accounts'), csv)
      expect([csv, answer.status]).toEqual([csv, 400])
      expect(answer.text).toContain(reason)
    }
    expect(await attributes()).toEqual(before)
    expect(await readdir(folder)).toEqual(['node-id'])
  })

  it('is a form with a file of at most a megabyte', async () => {
    const large = `id,name\n${'x'.repeat(1024 * 1024)}`
    expect((await upload(path('accounts'), large)).status).toBe(413)
    const json = await send(path('accounts'), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
    expect(json.status).toBe(415)
    const empty = await send(path('accounts'), { method: 'POST', body: new FormData() })
    expect(empty.status).toBe(400)
    expect((await send(path('accounts'), { method: 'DELETE' })).status).toBe(405)
    expect(await readdir(folder)).toEqual(['node-id'])
  })

  it('follows the dialect of the source', async () => {
    const changes = [
      { op: 'add', path: '/connectorAttributes/delimiter', value: ';' },
      { op: 'add', path: '/connectorAttributes/fileEncoding', value: 'windows-1252' },
    ]
    const type = 'application/json-patch+json'
    await server.call('PATCH', `/v2025/sources/${sourceId}`, changes, { type })
    const latin = Buffer.from('id;name;Größe\n', 'latin1')
    expect((await upload(path('accounts'), new Uint8Array(latin))).status).toBe(200)
    expect((await send(path('accounts'))).text).toBe('\ufeffid;name;Größe\n')
    expect((await attributes()).map(({ name }) => name)).toEqual(['id', 'name', 'Größe'])
  })
})

describe('the template of an entitlement schema', () => {
  const group = (name: string) => ({
    name,
    nativeObjectType: 'Group',
    identityAttribute: 'id',
    displayAttribute: null,
    attributes: [{ name: 'id' }, { name: 'description' }],
  })
  const create = (name: string) =>
    server.call('POST', `/v2025/sources/${sourceId}/schemas`, group(name))

  it('is of the only one there is, or of the one that schemaName says', async () => {
    expect((await send(path('entitlements'))).status).toBe(404)
    await create('group')
    expect((await send(path('entitlements'))).text).toBe('id,description\n')
    await create('role')
    const unnamed = await send(path('entitlements'))
    expect([unnamed.status, unnamed.text.includes('group, role')]).toEqual([400, true])
    const named = await upload(`${path('entitlements')}?schemaName=role`, 'id,level\n')
    expect([named.status, JSON.parse(named.text).name]).toEqual([200, 'role'])
    expect((await send(`${path('entitlements')}?schemaName=role`)).text).toBe('id,level\n')
    expect((await send(`${path('entitlements')}?schemaName=group`)).text).toBe('id,description\n')
    expect((await send(`${path('entitlements')}?schemaName=account`)).status).toBe(404)
    const gone = await upload(`${path('entitlements')}?schemaName=role`, 'level\n')
    expect([gone.status, gone.text.includes('no column \\"id\\"')]).toEqual([400, true])
  })
})

describe('a source that reads its system', () => {
  it('has no template', async () => {
    const id = await createSource({ name: `Direct ${made}`, connector: 'some-connector' }, '')
    for (const kind of ['accounts', 'entitlements']) {
      const download = await send(path(kind, id))
      const sent = await upload(path(kind, id), 'id\n')
      expect([kind, download.status, sent.status]).toEqual([kind, 400, 400])
    }
    expect((await send(path('accounts', '0'.repeat(32)))).status).toBe(404)
  })
})
