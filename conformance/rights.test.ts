import { beforeAll, describe, expect, inject, it } from 'vitest'
import { accountsCsv, freshName } from './data.ts'
import { type Api, connect, json } from './wire.ts'

const target = inject('target')
const everySource = '/v2025/sources?count=true&limit=250'
let admin: Api
let confined: Api
let own: string
let other: string

async function delimitedSource(): Promise<string> {
  const reply = await admin.call('POST', '/v2025/sources?provisionAsCsv=true', {
    name: freshName('Rights'),
    owner: null,
    connector: 'delimited-file-angularsc',
  })
  return String(json(reply)['id'])
}

async function client(level: string, rest: object): Promise<Api> {
  const reply = await admin.call('POST', '/muster/v1/clients', {
    name: freshName(level),
    level,
    ...rest,
  })
  expect(reply.status).toBe(201)
  const { id, secret } = json(reply)
  return connect({ ...target, clientId: String(id), clientSecret: String(secret) })
}

beforeAll(async () => {
  admin = await connect(target)
  own = await delimitedSource()
  other = await delimitedSource()
  confined = await client('SOURCE_SUBADMIN', { sourceIds: [own] })
})

describe('a SOURCE_SUBADMIN of one source', () => {
  it('may aggregate its own source', async () => {
    const reply = await confined.upload(`/v2025/sources/${own}/load-accounts`, accountsCsv(1))
    expect(reply.status).toBe(202)
  })

  it('makes personal access tokens that see no more than it does itself', async () => {
    const made = await confined.call('POST', '/v2025/personal-access-tokens', {
      name: freshName('Confined'),
      userAwareTokenNeverExpires: true,
    })
    expect(made.status).toBe(200)
    const { id, secret } = json(made)
    const pat = await connect({ ...target, clientId: String(id), clientSecret: String(secret) })
    expect(json(await pat.call('GET', everySource))).toMatchObject([{ id: own }])
    const foreign = await pat.call('GET', `/v2025/sources/${other}`)
    expect([403, 404]).toContain(foreign.status)
    const everybody = await pat.call('GET', '/v2025/personal-access-tokens')
    expect(everybody.status).toBe(403)
  })

  it('sees its own source and nothing of the others, in lists and in counts', async () => {
    const reply = await confined.call('GET', everySource)
    expect(json(reply)).toMatchObject([{ id: own }])
    expect(reply.headers['x-total-count']).toBe('1')
  })

  it('may neither read nor aggregate another', async () => {
    const read = await confined.call('GET', `/v2025/sources/${other}`)
    const load = await confined.upload(`/v2025/sources/${other}/load-accounts`, accountsCsv(1))
    expect([403, 404]).toContain(read.status)
    expect([403, 404]).toContain(load.status)
    for (const reply of [read, load]) {
      expect(json(reply)).toMatchObject({
        detailCode: expect.stringMatching(/^40[34]/),
        trackingId: expect.stringMatching(/^[0-9a-f]{32}$/),
        messages: [{ locale: 'und' }, { locale: 'en-US' }],
        causes: [],
      })
    }
    const tasks = await admin.call('GET', `/v2025/task-status?filters=sourceId+eq+%22${other}%22`)
    expect(json(tasks)).toEqual([])
  })
})

describe('a client with too few scopes', () => {
  it('gets 403 that names the scope', async () => {
    const reader = await client('ORG_ADMIN', { scopes: ['idn:sources:read'] })
    expect((await reader.call('GET', `/v2025/sources/${own}`)).status).toBe(200)
    const reply = await reader.upload(`/v2025/sources/${own}/load-accounts`, accountsCsv(1))
    expect(reply.status).toBe(403)
    expect(json(reply)).toMatchObject({ detailCode: '403 Forbidden', causes: [] })
    expect(reply.text).toContain('idn:sources:manage')
  })

  it('gets 403 for the level of a HELPDESK', async () => {
    const helpdesk = await client('HELPDESK', {})
    const reply = await helpdesk.upload(`/v2025/sources/${own}/load-accounts`, accountsCsv(1))
    expect(reply.status).toBe(403)
  })
})
