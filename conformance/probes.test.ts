import { describe, expect, inject, it } from 'vitest'
import { freshName } from './data.ts'
import { type AggregatingSdk, beta, callerOf, configure, v2024, v3 } from './sdk.ts'
import { connect, finished, json } from './wire.ts'

const target = inject('target')
const configuration = configure(target)
const owner = await callerOf(configuration)
const healthStates = [
  'SOURCE_STATE_ERROR_CLUSTER',
  'SOURCE_STATE_ERROR_SOURCE',
  'SOURCE_STATE_ERROR_VA',
  'SOURCE_STATE_FAILURE_CLUSTER',
  'SOURCE_STATE_FAILURE_SOURCE',
  'SOURCE_STATE_HEALTHY',
  'SOURCE_STATE_UNCHECKED_CLUSTER',
  'SOURCE_STATE_UNCHECKED_CLUSTER_NO_SOURCES',
  'SOURCE_STATE_UNCHECKED_SOURCE',
  'SOURCE_STATE_UNCHECKED_SOURCE_NO_ACCOUNTS',
  'SOURCE_STATE_ERROR_ACCOUNT_FILE_IMPORT',
]

/** Makes a source that reads the chaos connector, and gives its id. */
async function directSource(sdk: AggregatingSdk, attributes: object = {}): Promise<string> {
  const { data } = await sdk.createSource(
    { name: freshName('Probed'), owner, connector: 'chaos', connectorAttributes: attributes },
    false,
  )
  if (data.id === undefined) throw new Error('The answer has no id.')
  return data.id
}

/** The shape of a StatusResponse, and nothing beside it. */
const statusOf = (id: string, status: 'SUCCESS' | 'FAILURE', details: unknown) => ({
  id,
  name: expect.stringMatching(/^Probed [0-9a-f]+ \[source-\d{4,10}\]$/),
  status,
  elapsedMillis: expect.toSatisfy((value: unknown) => Number.isInteger(value)),
  details,
})

describe.each<[string, AggregatingSdk]>([
  ['beta', beta(configuration)],
  ['v2024', v2024(configuration)],
])('the probes of the official SDK on /%s', (_, sdk) => {
  it('succeed where the system answers', async () => {
    const id = await directSource(sdk, { records: 3 })
    const connection = await sdk.testConnection(id)
    expect(connection.status).toBe(200)
    expect(connection.data).toEqual(statusOf(id, 'SUCCESS', { version: 1, records: 3 }))
    const configured = await sdk.testConfiguration(id)
    expect(configured.data).toEqual(statusOf(id, 'SUCCESS', expect.any(Object)))
    const pinged = await sdk.pingCluster(id)
    expect(pinged.data).toEqual(statusOf(id, 'SUCCESS', { reason: expect.any(String) }))
  })

  it('are 200 with FAILURE and a reason where it does not', async () => {
    const id = await directSource(sdk, { password: 'wrong' })
    for (const probe of [sdk.testConnection, sdk.testConfiguration]) {
      const { status, data } = await probe(id)
      expect(status).toBe(200)
      const details = {
        code: 'login_refused',
        reason: 'Chaos refused the password.',
        hint: 'Correct the password.',
        temporary: false,
      }
      expect(data).toEqual(statusOf(id, 'FAILURE', details))
    }
  })

  it('peek at accounts and groups in the shape of resource objects', async () => {
    const id = await directSource(sdk, { keyed: true })
    const { data } = await sdk.peek(id, { objectType: 'account', maxCount: 2 })
    expect(data).toEqual({
      id,
      name: expect.stringMatching(/\[source-\d+\]$/),
      objectCount: 2,
      elapsedMillis: expect.any(Number),
      resourceObjects: ['1', '2'].map((number) => ({
        identity: `user-${number}`,
        uuid: `key-${number}`,
        name: `User ${number}`,
        objectType: 'account',
        incomplete: false,
        incremental: false,
        delete: false,
        remove: false,
        missing: [],
        attributes: expect.objectContaining({ groups: [`group-${number}`] }),
        finalUpdate: false,
      })),
    })
    expect((await sdk.peek(id, { objectType: 'group' })).data.objectCount).toBe(3)
    // The specification gives both their defaults.
    expect((await sdk.peek(id, {})).data.objectCount).toBe(10)
  })

  it('aggregate a direct source without a file', async () => {
    const id = await directSource(sdk)
    const { data } = await sdk.importAccounts(id)
    const api = await connect(target)
    const task = await finished(api, `/v2025/task-status/${data.task?.id ?? ''}`)
    expect(task).toMatchObject({ completionStatus: 'SUCCESS', attributes: { created: 10 } })
  })
})

describe('source-health of the official SDK', () => {
  it('has the shape of the specification and a status that it knows', async () => {
    const sdk = v2024(configuration)
    const id = await directSource(sdk, { url: 'chaos://chaos.example.com' })
    for (const health of [v3(configuration).getSourceHealth, sdk.getSourceHealth]) {
      const answer = await health?.(id)
      expect(answer?.data).toEqual({
        id,
        type: 'chaos',
        name: expect.stringMatching(/^Probed /),
        org: 'muster',
        isAuthoritative: false,
        isCluster: false,
        hostname: 'chaos.example.com',
        pod: expect.any(String),
        iqServiceVersion: null,
        status: expect.toSatisfy((status: string) => healthStates.includes(status)),
      })
    }
  })

  it('is served under the other prefixes too, and needs the right to read sources', async () => {
    const api = await connect(target)
    const id = await directSource(beta(configuration))
    for (const path of [`/v2025/sources/${id}`, `/v2026/sources/${id}`, `/sources/v1/${id}`]) {
      const reply = await api.call('GET', `${path}/source-health`)
      expect([path, reply.status, json(reply)['id']]).toEqual([path, 200, id])
    }
  })
})
