// Pending tasks, removals of accounts and correlation configurations, by the official TypeScript SDK and the prefixes that it does not have.
import {
  AccountsApi,
  AccountsBetaApi,
  AccountsV2024Api,
  SourcesBetaApi,
  SourcesV2024Api,
  TaskManagementBetaApi,
  TaskManagementV2024Api,
} from 'sailpoint-api-client'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { accountsCsv, freshName } from './data.ts'
import { configure } from './sdk.ts'
import { type Api, connect, finished, json } from './wire.ts'

const target = inject('target')
const configuration = configure(target)
const sources = {
  beta: new SourcesBetaApi(configuration),
  v2024: new SourcesV2024Api(configuration),
}
const hexId = /^[0-9a-f]{32}$/
const taskResult = { type: 'TASK_RESULT', id: expect.stringMatching(hexId), name: null }
let api: Api

beforeAll(async () => {
  api = await connect(target)
})

/** A delimited source with this many accounts, and its id. */
async function sourceWith(accounts: number): Promise<string> {
  const made = await api.call('POST', '/v2025/sources?provisionAsCsv=true', {
    name: freshName('Collections'),
    owner: null,
    connector: 'delimited-file-angularsc',
  })
  const id = String(json(made)['id'])
  if (accounts > 0) expect(await load(id, accounts)).toMatchObject({ created: accounts })
  return id
}

/** Loads the same file and gives the counters. */
async function load(source: string, accounts: number): Promise<unknown> {
  const path = `/v2025/sources/${source}/load-accounts`
  const { task } = json(await api.upload(path, accountsCsv(accounts))) as { task: { id: string } }
  const ended = await finished(api, `/v2025/task-status/${task.id}`)
  expect(ended['completionStatus']).toBe('SUCCESS')
  return ended['attributes']
}

async function accountsOf(source: string): Promise<{ ids: string[]; total: unknown }> {
  const filter = encodeURIComponent(`sourceId eq "${source}"`)
  const reply = await api.call('GET', `/v2025/accounts?count=true&filters=${filter}`)
  const rows = JSON.parse(reply.text) as { id: string }[]
  return { ids: rows.map((row) => row.id), total: reply.headers['x-total-count'] }
}

describe('pending tasks', () => {
  it('are a list, and a HEAD of it has their number, by the SDK', async () => {
    const list = await new TaskManagementBetaApi(configuration).getPendingTasks()
    expect(list.status).toBe(200)
    expect(Array.isArray(list.data)).toBe(true)
    expect(list.headers).toMatchObject({ 'x-deprecated': 'true' })
    const tasks = new TaskManagementV2024Api(configuration)
    for (const head of [
      await new TaskManagementBetaApi(configuration).getPendingTaskHeaders(),
      await tasks.getPendingTaskHeaders({ xSailPointExperimental: 'true' }),
    ]) {
      expect(head.status).toBe(200)
      expect(head.headers).toMatchObject({ 'x-total-count': expect.stringMatching(/^\d+$/) })
    }
    expect((await tasks.getPendingTasks()).status).toBe(200)
  })

  it('are where the specification has them: not in v2026 and the per-service form', async () => {
    for (const [path, status] of [
      ['/beta/task-status/pending-tasks', 200],
      ['/v2024/task-status/pending-tasks', 200],
      ['/v2025/task-status/pending-tasks', 200],
      ['/v3/task-status/pending-tasks', 404],
      ['/v2026/task-status/pending-tasks', 404],
      ['/task-status/v1/pending-tasks', 404],
    ] as const) {
      expect([path, (await api.call('GET', path)).status]).toEqual([path, status])
    }
  })
})

describe('the removal of all accounts', () => {
  it.each(['beta', 'v2024'] as const)(
    'on /%s keeps the source, and the next file makes the accounts anew',
    async (version) => {
      const id = await sourceWith(3)
      const before = await accountsOf(id)
      const removed =
        version === 'beta'
          ? await sources.beta.deleteAccountsAsync({ sourceId: id })
          : await sources.v2024.deleteAccountsAsync({ id })
      expect([removed.status, removed.data]).toEqual([202, taskResult])
      const task = await finished(api, `/${version}/task-status/${removed.data.id}`)
      expect(task).toMatchObject({ completionStatus: 'SUCCESS', attributes: { deleted: 3 } })
      expect(await accountsOf(id)).toEqual({ ids: [], total: '0' })
      expect((await api.call('GET', `/v3/sources/${id}`)).status).toBe(200)
      expect(await load(id, 3)).toMatchObject({ created: 3, updated: 0, deleted: 0 })
      expect(await accountsOf(id)).toEqual(before)
    },
  )

  it('of one account leaves the others, by each of its three ways', async () => {
    const id = await sourceWith(4)
    const [first = '', second = '', third = '', fourth = ''] = (await accountsOf(id)).ids
    const beta = await new AccountsBetaApi(configuration).deleteAccountAsync({ id: first })
    const v2024 = await new AccountsV2024Api(configuration).deleteAccountAsync({ id: second })
    expect([beta.status, v2024.status, beta.data, v2024.data]).toEqual([
      202,
      202,
      taskResult,
      taskResult,
    ])
    const v3 = await new AccountsApi(configuration).deleteAccount({ id: third })
    expect([v3.status, v3.data]).toEqual([202, { id: expect.stringMatching(hexId) }])
    expect(await accountsOf(id)).toEqual({ ids: [fourth], total: '1' })
    expect(await load(id, 4)).toMatchObject({ created: 3, updated: 0, deleted: 0 })
  })
})

describe('the correlation configuration', () => {
  it.each(['beta', 'v2024'] as const)('on /%s is read, replaced and read back', async (version) => {
    const id = await sourceWith(0)
    const read = (): Promise<{ status: number; data: object }> =>
      version === 'beta'
        ? sources.beta.getCorrelationConfig({ sourceId: id })
        : sources.v2024.getCorrelationConfig({ id })
    const { name } = json(await api.call('GET', `/v3/sources/${id}`))
    const before = await read()
    expect([before.status, before.data]).toEqual([
      200,
      {
        id: expect.stringMatching(hexId),
        name: `Source [${String(name)}] Account Correlation`,
        attributeAssignments: [],
      },
    ])
    const assignment = {
      property: 'email',
      value: 'e-mail',
      operation: 'EQ',
      complex: false,
      ignoreCase: true,
      matchMode: 'ANYWHERE',
      filterString: '',
    } as const
    const config = { ...before.data, name: 'By mail', attributeAssignments: [assignment] }
    const after =
      version === 'beta'
        ? await sources.beta.putCorrelationConfig({ sourceId: id, correlationConfigBeta: config })
        : await sources.v2024.putCorrelationConfig({ id, correlationConfigV2024: config })
    const shown = version === 'beta' ? { sequence: 1, ...assignment } : assignment
    expect([after.status, after.data]).toEqual([200, { ...config, attributeAssignments: [shown] }])
    expect((await read()).data).toEqual(after.data)
    const source = json(await api.call('GET', `/v3/sources/${id}`))
    expect(source['accountCorrelationConfig']).toEqual({
      type: 'ACCOUNT_CORRELATION_CONFIG',
      id: Reflect.get(before.data, 'id'),
      name: 'By mail',
    })
  })

  it('that names an attribute which the accounts do not have is 400 with its name', async () => {
    const id = await sourceWith(0)
    const reply = await api.call('PUT', `/sources/v1/${id}/correlation-config`, {
      attributeAssignments: [{ property: 'email', value: 'mail', operation: 'EQ' }],
    })
    expect([reply.status, reply.text]).toEqual([400, expect.stringContaining('mail')])
  })
})
