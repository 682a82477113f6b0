// Every route that changes something leaves a row in the audit: who, what, and what it was before and is after. The
// routes come from the document of the running program; a new one needs a line here that shows it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AuditRecord } from '../../src/store/audit.ts'
import { startWholeApp } from '../support/whole-app.ts'
import type { Reply, WholeApp } from '../support/whole-app.ts'

let app: WholeApp

beforeAll(async () => {
  app = await startWholeApp()
})
afterAll(() => app?.close())

/** What the row of a change shows besides who and what: nothing where the change has its own record, such as a run. */
type Shows = 'before' | 'after' | 'both' | 'neither'

interface Change {
  readonly action: string
  readonly shows: Shows
  /** Does it, by the operation at this path prefix. */
  readonly act: () => Promise<Reply>
}

const send = (method: string, path: string, body?: unknown): Promise<Reply> =>
  app.admin(method, path, body)

let made = 0
async function source(): Promise<string> {
  made += 1
  const reply = await send('POST', '/v2025/sources?provisionAsCsv=true', {
    name: `Audited ${made}`,
    owner: null,
    connector: 'delimited-file-angularsc',
  })
  expect(reply.status, reply.text).toBe(201)
  return reply.body.id
}

/** A source whose system is made up by a connector. */
async function direct(connectorAttributes: object): Promise<string> {
  made += 1
  const reply = await send('POST', '/v2025/sources', {
    name: `Audited ${made}`,
    owner: null,
    connector: 'chaos',
    connectorAttributes,
  })
  expect(reply.status, reply.text).toBe(201)
  return reply.body.id
}

async function loaded(): Promise<{ id: string; account: string }> {
  const id = await source()
  await app.load(id, 'id,name\n1,one\n2,two\n')
  const accounts = await send('GET', `/v2025/accounts?filters=sourceId+eq+"${id}"`)
  return { id, account: accounts.body[0].id }
}

const schemaPath = async (): Promise<string> => {
  const id = await source()
  const schemas = await send('GET', `/v2025/sources/${id}/schemas`)
  return `/v2025/sources/${id}/schemas/${schemas.body[0].id}`
}

const description = [{ op: 'replace', path: '/description', value: 'changed' }]

async function token(): Promise<string> {
  made += 1
  const reply = await send('POST', '/v2025/personal-access-tokens', {
    name: `Token ${made}`,
    userAwareTokenNeverExpires: true,
  })
  expect(reply.status, reply.text).toBe(200)
  return reply.body.id
}

const changes: Readonly<Record<string, Change>> = {
  createSource: {
    action: 'SOURCE_CREATED',
    shows: 'after',
    act: () =>
      send('POST', '/v2025/sources', { name: 'New', owner: null, connector: 'delimited-file' }),
  },
  putSource: {
    action: 'SOURCE_UPDATED',
    shows: 'both',
    act: async () => {
      const path = `/v2025/sources/${await source()}`
      const { body } = await send('GET', path)
      return send('PUT', path, { ...body, description: 'changed' })
    },
  },
  updateSource: {
    action: 'SOURCE_UPDATED',
    shows: 'both',
    act: async () => send('PATCH', `/v2025/sources/${await source()}`, description),
  },
  deleteSource: {
    action: 'SOURCE_DELETED',
    shows: 'before',
    act: async () => send('DELETE', `/v2025/sources/${await source()}`),
  },
  createSourceSchema: {
    action: 'SOURCE_SCHEMA_CREATED',
    shows: 'after',
    act: async () =>
      send('POST', `/v2025/sources/${await source()}/schemas`, {
        name: 'group',
        identityAttribute: 'id',
        attributes: [{ name: 'id', type: 'STRING' }],
      }),
  },
  putSourceSchema: {
    action: 'SOURCE_SCHEMA_UPDATED',
    shows: 'both',
    act: async () => {
      const path = await schemaPath()
      const { body } = await send('GET', path)
      return send('PUT', path, { ...body, nativeObjectType: 'person' })
    },
  },
  updateSourceSchema: {
    action: 'SOURCE_SCHEMA_UPDATED',
    shows: 'both',
    act: async () =>
      send('PATCH', await schemaPath(), [
        { op: 'replace', path: '/nativeObjectType', value: 'person' },
      ]),
  },
  deleteSourceSchema: {
    action: 'SOURCE_SCHEMA_DELETED',
    shows: 'before',
    act: async () => send('DELETE', await schemaPath()),
  },
  importAccountsSchema: {
    action: 'SOURCE_SCHEMA_UPDATED',
    shows: 'both',
    act: async () => {
      const form = new FormData()
      form.append('file', new Blob(['id,name,title\n']), 'schema.csv')
      return send('POST', `/v2025/sources/${await source()}/schemas/accounts`, form)
    },
  },
  importEntitlementsSchema: {
    action: 'SOURCE_SCHEMA_UPDATED',
    shows: 'both',
    act: async () => {
      const id = await source()
      const group = await send('POST', `/v2025/sources/${id}/schemas`, {
        name: 'group',
        identityAttribute: 'id',
        displayAttribute: 'id',
        attributes: [{ name: 'id', type: 'STRING' }],
      })
      expect(group.status, group.text).toBe(201)
      const form = new FormData()
      form.append('file', new Blob(['id,title\n']), 'schema.csv')
      return send('POST', `/v2025/sources/${id}/schemas/entitlements?schemaName=group`, form)
    },
  },
  putCorrelationConfig: {
    action: 'CORRELATION_CONFIG_UPDATED',
    shows: 'both',
    act: async () =>
      send('PUT', `/v2025/sources/${await source()}/correlation-config`, {
        name: 'By mail',
        attributeAssignments: [],
      }),
  },
  putSourceSettings: {
    action: 'SOURCE_SETTINGS_UPDATED',
    shows: 'both',
    act: async () =>
      send('PUT', `/muster/v1/sources/${await source()}/settings`, { whenBusy: 'queue' }),
  },
  resetSourceState: {
    action: 'SOURCE_STATE_RESET',
    shows: 'before',
    act: async () => {
      const id = await direct({ records: 2 })
      const sent = await send('POST', `/v2025/sources/${id}/load-accounts`, {})
      const completed = async (): Promise<unknown> =>
        (await send('GET', `/v2025/task-status/${sent.body.task.id}`)).body.completed
      await expect.poll(completed, { timeout: 30_000 }).not.toBeNull()
      return send('DELETE', `/muster/v1/sources/${id}/state`)
    },
  },
  importAccounts: {
    action: 'SOURCE_ACCOUNT_AGGREGATION_STARTED',
    shows: 'after',
    act: async () =>
      send('POST', `/v2025/sources/${await direct({ records: 1 })}/load-accounts`, {}),
  },
  updateTaskStatus: {
    action: 'TASK_CANCEL_REQUESTED',
    shows: 'both',
    act: async () => {
      const id = await direct({ behaviour: 'silent' })
      const sent = await send('POST', `/v2025/sources/${id}/load-accounts`, {})
      return send('PATCH', `/v2025/task-status/${sent.body.task.id}`, [
        { op: 'replace', path: '/completionStatus', value: 'TERMINATED' },
      ])
    },
  },
  deleteAccountsAsync: {
    action: 'SOURCE_ACCOUNTS_REMOVED',
    shows: 'neither',
    act: async () => send('POST', `/v2025/sources/${(await loaded()).id}/remove-accounts`),
  },
  deleteAccountAsync: {
    action: 'ACCOUNT_REMOVED',
    shows: 'neither',
    act: async () => send('POST', `/v2025/accounts/${(await loaded()).account}/remove`),
  },
  deleteAccount: {
    action: 'ACCOUNT_REMOVED',
    shows: 'neither',
    act: async () => send('DELETE', `/v2025/accounts/${(await loaded()).account}`),
  },
  createClient: {
    action: 'CLIENT_CREATED',
    shows: 'after',
    act: () => send('POST', '/muster/v1/clients', { name: 'One', level: 'HELPDESK' }),
  },
  revokeClient: {
    action: 'CLIENT_REVOKED',
    shows: 'before',
    act: async () => {
      const client = await send('POST', '/muster/v1/clients', { name: 'Two', level: 'HELPDESK' })
      return send('DELETE', `/muster/v1/clients/${client.body.id}`)
    },
  },
  createPersonalAccessToken: {
    action: 'PERSONAL_ACCESS_TOKEN_CREATED',
    shows: 'after',
    act: () =>
      send('POST', '/v2025/personal-access-tokens', {
        name: 'Mine',
        userAwareTokenNeverExpires: true,
      }),
  },
  patchPersonalAccessToken: {
    action: 'PERSONAL_ACCESS_TOKEN_UPDATED',
    shows: 'both',
    act: async () =>
      send('PATCH', `/v2025/personal-access-tokens/${await token()}`, [
        { op: 'replace', path: '/name', value: 'Renamed' },
      ]),
  },
  deletePersonalAccessToken: {
    action: 'PERSONAL_ACCESS_TOKEN_DELETED',
    shows: 'before',
    act: async () => send('DELETE', `/v2025/personal-access-tokens/${await token()}`),
  },
  searchResourceObjects: {
    action: 'SOURCE_OBJECTS_PEEKED',
    shows: 'after',
    act: async () =>
      send(
        'POST',
        `/v2025/sources/${await direct({ records: 3 })}/connector/peek-resource-objects`,
        { maxCount: 2 },
      ),
  },
}

/** They ask a system something and change nothing; their answers hold no account. */
const questions = new Set([
  'testSourceConnection',
  'testSourceConfiguration',
  'pingCluster',
  'discoverSourceSchemas',
])

describe('the audit', () => {
  it('knows every route that changes something', () => {
    const changing = app.operations.filter(({ method }) => method !== 'GET').map(({ id }) => id)
    const unknown = [...new Set(changing)].filter(
      (id) => !Object.hasOwn(changes, id) && !questions.has(id),
    )
    expect(unknown, 'say in "changes" how it is done and what its row shows').toEqual([])
    const gone = Object.keys(changes).filter((id) => !changing.includes(id))
    expect(gone).toEqual([])
  })

  it.each(Object.entries(changes))('has a row of %s', async (_id, { action, shows, act }) => {
    const reply = await act()
    expect(reply.status, reply.text).toBeLessThan(300)
    const trackingId = reply.headers.get('x-request-id') ?? ''
    const rows = await send('GET', `/muster/v1/audit?trackingId=${trackingId}`)
    const row = (rows.body as AuditRecord[]).find((one) => one.action === action)
    expect(row, rows.text).toMatchObject({
      action,
      outcome: 'success',
      actor: { id: expect.stringMatching(/^[0-9a-f]{32}$/), name: expect.any(String) },
      clientId: 'walker',
      target: { type: expect.any(String), id: expect.any(String) },
      at: expect.stringMatching(/^\d{4}-.*Z$/),
    })
    const hasBefore = shows === 'both' || shows === 'before'
    const hasAfter = shows === 'both' || shows === 'after'
    expect(row?.before !== null, `before of ${rows.text}`).toBe(hasBefore)
    expect(row?.after !== null, `after of ${rows.text}`).toBe(hasAfter)
    if (shows === 'both') expect(row?.before).not.toEqual(row?.after)
  })
})
