import { setTimeout as sleep } from 'node:timers/promises'
import { AccountsV2024Api, Paginator } from 'sailpoint-api-client'
import { describe, expect, inject, it } from 'vitest'
import { accountsCsv, csvFile, freshName, header } from './data.ts'
import { type AggregatingSdk, beta, callerOf, configure, type Sdk, v2024, v3 } from './sdk.ts'

const target = inject('target')
const configuration = configure(target)
const owner = await callerOf(configuration)
const hexId = /^[0-9a-f]{32}$/
const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/

/** Makes a delimited source and gives its id. */
async function delimitedSource(sdk: Sdk, name = freshName('Files')): Promise<string> {
  const { data } = await sdk.createSource(
    { name, owner, connector: 'delimited-file-angularsc' },
    true,
  )
  return idOf(data)
}

function idOf(thing: { id?: string } | undefined): string {
  if (thing?.id === undefined) throw new Error('The answer has no id.')
  return thing.id
}

/** Polls as the VS Code extension does: until completionStatus is something else than null. */
async function ended(sdk: AggregatingSdk, id: string) {
  for (;;) {
    const { data } = await sdk.getTask(id)
    if (data.completionStatus !== null) return data
    await sleep(50)
  }
}

/** Uploads a file and waits for the end. */
async function aggregate(
  sdk: AggregatingSdk,
  sourceId: string,
  csv: string,
  disableOptimization?: 'true',
) {
  const { data } = await sdk.importAccounts(sourceId, {
    file: csvFile(csv),
    ...(disableOptimization === undefined ? {} : { disableOptimization }),
  })
  return ended(sdk, idOf(data.task))
}

/** What the SDK throws for an answer that is no success. */
async function refusal(call: Promise<unknown>): Promise<{ status: number; data: unknown }> {
  try {
    await call
  } catch (error) {
    if (error instanceof Error && 'response' in error) {
      return error.response as { status: number; data: unknown }
    }
    throw error
  }
  throw new Error('The call was expected to fail, and did not.')
}

const errorBody = {
  detailCode: expect.any(String),
  trackingId: expect.stringMatching(hexId),
  messages: [
    { locale: 'und', localeOrigin: 'REQUEST', text: expect.stringMatching(/./) },
    { locale: 'en-US', localeOrigin: 'DEFAULT', text: expect.stringMatching(/./) },
  ],
  causes: [],
}

describe.each<[string, Sdk]>([
  ['beta', beta(configuration)],
  ['v3', v3(configuration)],
  ['v2024', v2024(configuration)],
])('the official SDK on /%s', (_, sdk) => {
  it('creates a delimited source with provisionAsCsv and reads it back', async () => {
    const name = freshName('Created')
    const created = await sdk.createSource(
      { name, description: 'made by a test', owner, connector: 'delimited-file-angularsc' },
      true,
    )
    expect(created.status).toBe(201)
    expect(created.data).toMatchObject({
      id: expect.stringMatching(hexId),
      name,
      description: 'made by a test',
      type: 'DelimitedFile',
      connector: 'delimited-file-angularsc',
      connectionType: 'file',
      authoritative: false,
      created: expect.stringMatching(instant),
      schemas: [{ type: 'CONNECTOR_SCHEMA', id: expect.stringMatching(hexId), name: 'account' }],
    })
    const read = await sdk.getSource(idOf(created.data))
    expect(read.data).toEqual(created.data)
  })

  it('finds a source by its name and counts what it found', async () => {
    const name = freshName('Found')
    const id = await delimitedSource(sdk, name)
    const { data, headers } = await sdk.listSources({
      filters: `name eq "${name}"`,
      count: true,
      limit: 5,
    })
    expect(data.map((source) => source.id)).toEqual([id])
    expect(headers).toMatchObject({ 'x-total-count': '1' })
  })

  it('patches a source and refuses to patch what may not change', async () => {
    const id = await delimitedSource(sdk)
    const { data } = await sdk.patchSource(id, [
      { op: 'replace', path: '/description', value: 'patched' },
      { op: 'replace', path: '/deleteThreshold', value: 25 },
    ])
    expect(data).toMatchObject({ id, description: 'patched', deleteThreshold: 25 })
    const refused = await refusal(
      sdk.patchSource(id, [{ op: 'replace', path: '/authoritative', value: true }]),
    )
    expect(refused).toMatchObject({ status: 400, data: errorBody })
    expect(JSON.stringify(refused.data)).toContain('authoritative')
  })

  it('lists, makes, replaces, patches and deletes schemas', async () => {
    const sourceId = await delimitedSource(sdk)
    const [account] = (await sdk.listSchemas(sourceId)).data
    expect(account).toMatchObject({
      name: 'account',
      identityAttribute: 'id',
      displayAttribute: 'name',
    })
    expect(account?.attributes?.map((attribute) => attribute.name)).toEqual(header.split(','))
    expect((await sdk.getSchema(sourceId, idOf(account))).data).toEqual(account)

    const patched = await sdk.patchSchema(sourceId, idOf(account), [
      { op: 'add', path: '/attributes/-', value: { name: 'badge', type: 'INT' } },
    ])
    expect(patched.data.attributes?.at(-1)).toMatchObject({
      name: 'badge',
      type: 'INT',
      isMulti: false,
      isEntitlement: false,
      isGroup: false,
    })
    const replaced = await sdk.putSchema(sourceId, idOf(account), {
      ...patched.data,
      displayAttribute: 'e-mail',
    } as Parameters<Sdk['putSchema']>[2])
    expect(replaced.data).toMatchObject({ id: account?.id, displayAttribute: 'e-mail' })

    const group = await sdk.createSchema(sourceId, {
      name: 'group',
      nativeObjectType: 'group',
      identityAttribute: 'id',
      displayAttribute: 'name',
      attributes: [
        { name: 'id', type: 'STRING' },
        { name: 'name', type: 'STRING' },
      ],
    })
    expect(group.status).toBe(201)
    expect((await sdk.deleteSchema(sourceId, idOf(group.data))).status).toBe(204)
    expect((await refusal(sdk.getSchema(sourceId, idOf(group.data)))).status).toBe(404)
  })

  it('gets 404 in the shape of the contract for what is not there', async () => {
    const id = 'f'.repeat(32)
    expect(await refusal(sdk.getSource(id))).toMatchObject({ status: 404, data: errorBody })
    expect(await refusal(sdk.getAccount(id))).toMatchObject({ status: 404, data: errorBody })
  })

  it('gets 400 naming the position of a bad filter', async () => {
    const refused = await refusal(sdk.listSources({ filters: 'name is "a"' }))
    expect(refused).toMatchObject({ status: 400, data: errorBody })
    expect(JSON.stringify(refused.data)).toMatch(/position|character/)
  })

  it('deletes a source by a task', async () => {
    const id = await delimitedSource(sdk)
    const { status, data } = await sdk.deleteSource(id)
    expect(status).toBe(202)
    expect(data).toEqual({ type: 'TASK_RESULT', id: expect.stringMatching(hexId), name: null })
    await expect
      .poll(async () => (await sdk.listSources({ filters: `id eq "${id}"` })).data, {
        timeout: 20_000,
      })
      .toEqual([])
  })
})

describe.each<[string, AggregatingSdk]>([
  ['beta', beta(configuration)],
  ['v2024', v2024(configuration)],
])('an aggregation by the official SDK on /%s', (prefix, sdk) => {
  it('answers 202 with the task that load-accounts promises', async () => {
    const sourceId = await delimitedSource(sdk)
    const { status, data } = await sdk.importAccounts(sourceId, { file: csvFile(accountsCsv(3)) })
    expect(status).toBe(202)
    expect(data).toMatchObject({
      success: true,
      task: {
        id: expect.stringMatching(hexId),
        type: 'QUARTZ',
        name: 'Cloud Account Aggregation',
        created: expect.stringMatching(instant),
        completionStatus: null,
        parentName: null,
        messages: [],
        attributes: { appId: sourceId, optimizedAggregation: 'enabled' },
      },
    })
    expect(data.task?.returns).toHaveLength(28)
    expect(data.task?.returns?.[0]).toEqual({
      displayLabel: 'TASK_OUT_ACCOUNT_AGGREGATION_APPLICATIONS',
      attributeName: 'applications',
    })
    await ended(sdk, idOf(data.task))
  })

  it('ends in SUCCESS with counters, and the accounts can be read', async () => {
    const sourceId = await delimitedSource(sdk)
    const task = await aggregate(sdk, sourceId, accountsCsv(7))
    expect(task).toMatchObject({
      type: 'QUARTZ',
      uniqueName: 'Cloud Account Aggregation',
      completionStatus: 'SUCCESS',
      percentComplete: 100,
      parentName: null,
      launched: expect.stringMatching(instant),
      completed: expect.stringMatching(instant),
      target: { type: 'APPLICATION', id: sourceId },
    })
    expect(counters(task.attributes)).toEqual({
      total: 7,
      created: 7,
      updated: 0,
      deleted: 0,
      optimized: 0,
      ignored: 0,
    })
    expect(task.returns).toHaveLength(28)
    expect(task.returns[1]).toEqual({
      name: 'TASK_OUT_ACCOUNT_AGGREGATION_TOTAL',
      attributeName: 'total',
    })

    const { data, headers } = await sdk.listAccounts({
      filters: `sourceId eq "${sourceId}"`,
      sorters: 'nativeIdentity',
      count: true,
      limit: 2,
      offset: 1,
    })
    expect(headers).toMatchObject({ 'x-total-count': '7' })
    expect(data.map((account) => account.nativeIdentity)).toEqual(['0002', '0003'])
    expect(data[0]).toMatchObject({
      id: expect.stringMatching(hexId),
      name: 'user-0002',
      sourceId,
      disabled: false,
      locked: false,
      uncorrelated: true,
      manuallyCorrelated: false,
      systemAccount: false,
      authoritative: false,
      attributes: { id: '0002', name: 'user-0002', groups: ['staff'], startDate: '2024-01-15' },
    })
    expect((await sdk.getAccount(idOf(data[0]))).data).toEqual(data[0])
  })

  it('counts what was new, changed, gone and the same', async () => {
    const sourceId = await delimitedSource(sdk)
    await sdk.patchSource(sourceId, [{ op: 'replace', path: '/deleteThreshold', value: 100 }])
    await aggregate(sdk, sourceId, accountsCsv(10))
    const second = accountsCsv(10, 2).replace('Family 0005', 'Family changed')
    const task = await aggregate(sdk, sourceId, second)
    expect(counters(task.attributes)).toMatchObject({
      created: 1,
      updated: 1,
      deleted: 1,
      optimized: 8,
    })
  })

  it('finds nothing to do when the same file comes again, and compares all with disableOptimization', async () => {
    const sourceId = await delimitedSource(sdk)
    await aggregate(sdk, sourceId, accountsCsv(5))
    const again = await aggregate(sdk, sourceId, accountsCsv(5))
    expect(counters(again.attributes)).toMatchObject({
      created: 0,
      updated: 0,
      deleted: 0,
      optimized: 5,
    })
    expect(again.attributes).toMatchObject({ optimizedAggregation: 'enabled' })
    const full = await aggregate(sdk, sourceId, accountsCsv(5), 'true')
    expect(counters(full.attributes)).toMatchObject({
      created: 0,
      updated: 0,
      deleted: 0,
      optimized: 0,
    })
    expect(full.attributes).toMatchObject({ optimizedAggregation: 'disabled' })
  })

  it('keeps the status of an aggregation after its end', async () => {
    const sourceId = await delimitedSource(sdk)
    const task = await aggregate(sdk, sourceId, accountsCsv(4))
    const { data } = await sdk.aggregationStatus(task.id)
    expect(data).toMatchObject({
      status: 'COMPLETED',
      start: expect.stringMatching(instant),
      totalAccounts: 4,
      processedAccounts: 4,
    })
    const extra = [
      'totalAccountsMarkedForDeletion',
      'deletedAccounts',
      'totalIdentities',
      'processedIdentities',
    ]
    expect(extra.filter((field) => field in data)).toEqual(prefix === 'beta' ? [] : extra)
  })

  it('lists tasks of a source, newest first, and pending ones', async () => {
    const sourceId = await delimitedSource(sdk)
    const first = await aggregate(sdk, sourceId, accountsCsv(1))
    const second = await aggregate(sdk, sourceId, accountsCsv(2))
    const { data } = await sdk.listTasks({
      filters: `sourceId eq "${sourceId}" and completionStatus eq "SUCCESS"`,
      sorters: '-created',
    })
    expect(data.map((task) => task.id)).toEqual([second.id, first.id])
    expect((await sdk.pendingTasks()).data.map((task) => task.id)).not.toContain(first.id)
  })

  it('gets 400 without a file on a delimited source', async () => {
    const refused = await refusal(sdk.importAccounts(await delimitedSource(sdk)))
    expect(refused).toMatchObject({ status: 400, data: errorBody })
    expect(JSON.stringify(refused.data)).toContain('file')
  })

  it('takes a Buffer, which this SDK sends as a field without a file name', async () => {
    const sourceId = await delimitedSource(sdk)
    const { data } = await sdk.importAccounts(sourceId, {
      file: Buffer.from(accountsCsv(2)) as unknown as File,
    })
    const task = await ended(sdk, idOf(data.task))
    expect(task).toMatchObject({ completionStatus: 'SUCCESS', attributes: { created: 2 } })
  })

  it('refuses the text that this SDK makes of a stream, and says so', async () => {
    const sourceId = await delimitedSource(sdk)
    const stream = { toString: () => '[object Object]' } as unknown as File
    const refused = await refusal(sdk.importAccounts(sourceId, { file: stream }))
    expect(refused).toMatchObject({ status: 400, data: errorBody })
    expect(JSON.stringify(refused.data)).toContain('[object Object]')
  })

  it('gets 404 for an unknown source before the body matters', async () => {
    const refused = await refusal(
      sdk.importAccounts('0'.repeat(32), { file: csvFile(accountsCsv(1)) }),
    )
    expect(refused).toMatchObject({ status: 404, data: errorBody })
  })

  it('ends in ERROR with a sentence when the identity column is missing, and changes nothing', async () => {
    const sourceId = await delimitedSource(sdk)
    await aggregate(sdk, sourceId, accountsCsv(2))
    const task = await aggregate(sdk, sourceId, 'name,e-mail\na,a@example.com\n')
    expect(task.completionStatus).toBe('ERROR')
    expect(task.messages[0]).toMatchObject({
      type: 'ERROR',
      key: expect.stringContaining('id'),
      localizedText: { locale: expect.any(String), message: expect.any(String) },
    })
    const { headers } = await sdk.listAccounts({
      filters: `sourceId eq "${sourceId}"`,
      count: true,
      limit: 0,
    })
    expect(headers).toMatchObject({ 'x-total-count': '2' })
  })
})

describe('the Paginator of the official SDK', () => {
  it('walks all pages of the accounts of a source', async () => {
    const sdk = v2024(configuration)
    const sourceId = await delimitedSource(sdk)
    await aggregate(sdk, sourceId, accountsCsv(620))
    const api = new AccountsV2024Api(configuration)
    const { data } = await Paginator.paginate(
      api,
      api.listAccounts,
      { filters: `sourceId eq "${sourceId}"`, sorters: 'nativeIdentity', limit: 10_000 },
      250,
    )
    expect(data).toHaveLength(620)
    expect(new Set(data.map((account) => account.nativeIdentity)).size).toBe(620)
  })
})

describe('credentials by the official SDK', () => {
  it('gets 401 with an error field for a token that is not ours', async () => {
    const stranger = configure(target)
    stranger.accessToken = 'eyJhbGciOiJub25lIn0.e30.'
    const refused = await refusal(v2024(stranger).listSources({}))
    expect(refused).toMatchObject({ status: 401, data: { error: expect.stringMatching(/./) } })
  })
})

/** The counters that people look at, out of the attributes of a task. */
function counters(attributes: Record<string, unknown>): Record<string, unknown> {
  const names = ['total', 'created', 'updated', 'deleted', 'optimized', 'ignored']
  return Object.fromEntries(names.map((name) => [name, attributes[name]]))
}
