// The audit: what is written, what may read it, that nothing changes it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { recordAudit } from '../../src/store/audit.ts'
import type { AuditRecord } from '../../src/store/audit.ts'
import { makeClient, startApi, tokenOf } from './api-server.ts'
import type { TestApi } from './api-server.ts'
import { sampleRoutes } from './sample-routes.ts'

let api: TestApi
let authorization: string

beforeAll(async () => {
  api = await startApi({ routes: sampleRoutes })
  authorization = `Bearer ${await api.token()}`
})
afterAll(() => api.close())

async function audit(query: string): Promise<AuditRecord[]> {
  const response = await fetch(`${api.url}/muster/v1/audit?${query}`, {
    headers: { authorization },
  })
  expect(response.status).toBe(200)
  return (await response.json()) as AuditRecord[]
}

describe('the audit has a row', () => {
  it('for the first client and for every login, good or bad', async () => {
    expect(await audit(`action=CLIENT_BOOTSTRAPPED&targetId=${api.clientId}`)).toHaveLength(1)
    await tokenOf(api.url, api.clientId, 'wrong')
    await tokenOf(api.url, 'nobody\0\ud800', 'wrong')
    const [unknown, wrong] = await audit('action=CLIENT_LOGIN&outcome=failed')
    expect(unknown).toMatchObject({ clientId: 'nobody␀\uFFFD', actor: null })
    expect(wrong).toMatchObject({
      clientId: api.clientId,
      target: { type: 'CLIENT', id: api.clientId, name: 'Bootstrap client' },
      detail: 'The login was refused: wrong secret.',
    })
    expect(wrong?.trackingId).toMatch(/^[0-9a-f]{32}$/)
    const good = await audit('action=CLIENT_LOGIN&outcome=success&limit=1')
    expect(good[0]?.clientId).toBe(api.clientId)
  })

  it('for a client that is made and revoked, with what it was and without its secret', async () => {
    const client = await makeClient(api, { name: 'Short lived', level: 'HELPDESK' })
    await fetch(`${api.url}/muster/v1/clients/${client.id}`, {
      method: 'DELETE',
      headers: { authorization },
    })
    const [revoked, made] = await audit(`targetId=${client.id}&outcome=success`).then((rows) =>
      rows.filter((row) => row.action !== 'CLIENT_LOGIN'),
    )
    expect(made).toMatchObject({
      action: 'CLIENT_CREATED',
      actor: { name: 'Muster Administrator' },
      before: null,
      after: { name: 'Short lived', level: 'HELPDESK' },
    })
    expect(revoked).toMatchObject({ action: 'CLIENT_REVOKED', before: { name: 'Short lived' } })
    expect(JSON.stringify([made, revoked])).not.toContain(client.secret)
  })

  it('for a call that level or handler refused, and for a token of a revoked client', async () => {
    const client = await makeClient(api, { name: 'Denied', level: 'HELPDESK' })
    const denied = await fetch(`${api.url}/beta/sources`, {
      headers: { authorization: `Bearer ${client.token}` },
    })
    expect(denied.status).toBe(403)
    const inside = await fetch(`${api.url}/muster/v1/faults/forbidden`, {
      headers: { authorization },
    })
    expect(inside.status).toBe(403)
    await fetch(`${api.url}/muster/v1/clients/${client.id}`, {
      method: 'DELETE',
      headers: { authorization },
    })
    await fetch(`${api.url}/beta/sources`, { headers: { authorization: `Bearer ${client.token}` } })
    await expect.poll(() => audit('outcome=denied&count=true')).toHaveLength(3)
    const rows = await audit('outcome=denied')
    expect(rows.find((row) => row.target?.name === 'faultSample')).toMatchObject({
      action: 'ACCESS_DENIED',
      actor: { name: 'Muster Administrator' },
      target: { type: 'OPERATION', id: 'forbidden' },
      detail: 'This source is not yours.',
      trackingId: inside.headers.get('x-request-id'),
    })
    const own = rows.filter((row) => row.clientId === client.id)
    expect(own.map((row) => row.detail)).toEqual([
      'The client of the token is revoked.',
      expect.stringContaining('HELPDESK'),
    ])
  })
})

describe('reading it', () => {
  it('pages, counts and filters', async () => {
    for (let index = 0; index < 5; index += 1) {
      await recordAudit(api.db, {
        action: 'PAGE_TEST',
        outcome: 'success',
        caller: null,
        targetType: 'TEST',
        targetId: String(index),
      })
    }
    const response = await fetch(
      `${api.url}/muster/v1/audit?action=PAGE_TEST&limit=2&offset=1&count=true`,
      { headers: { authorization } },
    )
    const page = (await response.json()) as AuditRecord[]
    expect(page.map((row) => row.target?.id)).toEqual(['3', '2'])
    expect(response.headers.get('x-total-count')).toBe('5')
    expect(await audit('action=PAGE_TEST&since=2999-01-01T00:00:00Z')).toEqual([])
    expect(await audit('action=PAGE_TEST&since=2020-01-01')).toHaveLength(5)
  })

  it.each(['since=yesterday', 'since=12', 'limit=1000', 'outcome=maybe'])(
    'with %s is 400',
    async (query) => {
      const response = await fetch(`${api.url}/muster/v1/audit?${query}`, {
        headers: { authorization },
      })
      expect(response.status).toBe(400)
    },
  )

  it('is for an ORG_ADMIN', async () => {
    const client = await makeClient(api, { name: 'Curious', level: 'SOURCE_ADMIN' })
    const response = await fetch(`${api.url}/muster/v1/audit`, {
      headers: { authorization: `Bearer ${client.token}` },
    })
    expect(response.status).toBe(403)
  })
})

it('nothing changes or removes a row', async () => {
  for (const method of ['DELETE', 'PUT', 'PATCH', 'POST']) {
    const response = await fetch(`${api.url}/muster/v1/audit`, {
      method,
      headers: { authorization },
    })
    expect(response.status).toBe(405)
  }
  for (const statement of [
    "update audit set action = 'x'",
    'delete from audit',
    'truncate audit',
  ]) {
    await expect(api.db.query(statement)).rejects.toThrow('append-only')
  }
})
