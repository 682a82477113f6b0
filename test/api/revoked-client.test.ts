// A client that is revoked while it waits for something: what it began goes on, and it gets in no more.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startWholeApp } from '../support/whole-app.ts'
import type { WholeApp } from '../support/whole-app.ts'

let app: WholeApp

beforeAll(async () => {
  app = await startWholeApp()
})
afterAll(() => app?.close())

it('a run goes on when its client is revoked, is applied whole, and names who began it', async () => {
  const source = await app.admin('POST', '/v2025/sources', {
    name: 'Begun by one who is gone',
    owner: null,
    connector: 'chaos',
    connectorAttributes: { records: 30, pageSize: 10, behaviour: 'slow', delayMs: 400 },
  })
  expect(source.status, source.text).toBe(201)
  const client = await app.client({ name: 'Short lived', level: 'SOURCE_ADMIN' })
  const sent = await client('POST', `/v2025/sources/${source.body.id}/load-accounts`, {})
  expect(sent.status, sent.text).toBe(202)
  const { id } = sent.body.task
  const clients = await app.admin('GET', '/muster/v1/clients')
  const mine = clients.body.find(({ name }: { name: string }) => name === 'Short lived').id
  const open = await app.admin('GET', `/v2025/task-status/${id}`)
  expect(open.body.completed).toBeNull()
  const revoked = await app.admin('DELETE', `/muster/v1/clients/${mine}`)
  expect(revoked.status).toBe(204)

  expect((await client('GET', `/v2025/task-status/${id}`)).status).toBe(401)
  const again = await client('POST', `/v2025/sources/${source.body.id}/load-accounts`, {})
  expect(again.status).toBe(401)
  const completed = async (): Promise<unknown> =>
    (await app.admin('GET', `/v2025/task-status/${id}`)).body.completionStatus
  await expect.poll(completed, { timeout: 40_000 }).toBe('SUCCESS')
  const accounts = await app.admin(
    'GET',
    `/v2025/accounts?count=true&limit=0&filters=sourceId+eq+"${source.body.id}"`,
  )
  expect(accounts.headers.get('x-total-count')).toBe('30')
  const rows = await app.admin('GET', `/muster/v1/audit?clientId=${mine}`)
  const actions = rows.body.map(({ action }: { action: string }) => action)
  expect(actions).toContain('SOURCE_ACCOUNT_AGGREGATION_STARTED')
})
