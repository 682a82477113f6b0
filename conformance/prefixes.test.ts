import { beforeAll, describe, expect, inject, it } from 'vitest'
import { accountsCsv, freshName } from './data.ts'
import { type Api, connect, finished, json } from './wire.ts'

const target = inject('target')

/** How a prefix writes a path; the per-service form has its version behind the first segment. */
const spellings: Record<string, (path: string) => string> = {
  beta: (path) => `/beta${path}`,
  v3: (path) => `/v3${path}`,
  v2024: (path) => `/v2024${path}`,
  v2025: (path) => `/v2025${path}`,
  v2026: (path) => `/v2026${path}`,
  'per-service': (path) => path.replace(/^\/([^/?]+)/, '/$1/v1'),
}

let api: Api
beforeAll(async () => {
  api = await connect(target)
})

async function delimitedSource(at: (path: string) => string): Promise<string> {
  const reply = await api.call('POST', at('/sources?provisionAsCsv=true'), {
    name: freshName('Prefix'),
    owner: null,
    connector: 'delimited-file-angularsc',
  })
  expect(reply.status).toBe(201)
  return String(json(reply)['id'])
}

describe.each(Object.entries(spellings))('the prefix %s', (prefix, at) => {
  it('serves sources, schemas and accounts', async () => {
    const id = await delimitedSource(at)
    const source = await api.call('GET', at(`/sources/${id}`))
    expect(source.status).toBe(200)
    expect(json(source)).toMatchObject({ id, type: 'DelimitedFile' })
    const patched = await api.call(
      'PATCH',
      at(`/sources/${id}`),
      [{ op: 'replace', path: '/description', value: prefix }],
      'application/json-patch+json',
    )
    expect(json(patched)).toMatchObject({ description: prefix })
    const schemas = await api.call('GET', at(`/sources/${id}/schemas`))
    expect(json(schemas)).toMatchObject([{ name: 'account' }])
    const accounts = await api.call(
      'GET',
      at(`/accounts?count=true&filters=sourceId+eq+%22${id}%22`),
    )
    expect(accounts).toMatchObject({ status: 200, text: '[]', headers: { 'x-total-count': '0' } })
  })

  it('serves paths with and without a trailing slash, and spaces as + or %20', async () => {
    await delimitedSource(at)
    const query = (space: string): string =>
      `limit=1&count=true&filters=name${space}sw${space}%22Prefix%22`
    const replies = await Promise.all([
      api.call('GET', at(`/sources?${query('+')}`)),
      api.call('GET', at(`/sources/?${query('%20')}`)),
    ])
    expect(replies.map((reply) => reply.status)).toEqual([200, 200])
    expect(replies.every((reply) => Number(reply.headers['x-total-count']) >= 1)).toBe(true)
  })

  it('answers an unknown path and a wrong method in the shape of the contract', async () => {
    const unknown = await api.call('GET', at('/nothing-of-the-kind'))
    expect(unknown.status).toBe(404)
    expect(json(unknown)).toMatchObject({ detailCode: expect.any(String), causes: [] })
    const wrong = await api.call('DELETE', at('/sources'))
    expect(wrong.status).toBe(405)
    expect(json(wrong)).toMatchObject({
      errorName: 'NotSupportedException',
      errorMessage: expect.any(String),
      trackingId: expect.stringMatching(/^[0-9a-f]{32}$/),
    })
  })

  if (prefix === 'v3') {
    it('has no aggregation, as the contract says of it', async () => {
      const id = await delimitedSource(at)
      for (const path of [`/account-aggregations/${id}/status`, '/task-status']) {
        expect((await api.call('GET', at(path))).status).toBe(404)
      }
      expect((await api.upload(at(`/sources/${id}/load-accounts`), accountsCsv(1))).status).toBe(
        404,
      )
    })
    return
  }

  it('aggregates a file, shows the task, its status and the accounts', async () => {
    const id = await delimitedSource(at)
    const submitted = await api.upload(at(`/sources/${id}/load-accounts`), accountsCsv(6))
    expect(submitted.status).toBe(202)
    const { task } = json(submitted) as { task: { id: string } }
    const ended = await finished(api, at(`/task-status/${task.id}`))
    expect(ended).toMatchObject({ completionStatus: 'SUCCESS', attributes: { created: 6 } })
    const status = await api.call('GET', at(`/account-aggregations/${task.id}/status`))
    expect(json(status)).toMatchObject({ status: 'COMPLETED', totalAccounts: 6 })
    expect('deletedAccounts' in json(status)).toBe(prefix !== 'beta')
    const accounts = await api.call(
      'GET',
      at(`/accounts?count=true&limit=2&filters=sourceId+eq+"${id}"`.replaceAll('"', '%22')),
    )
    expect(accounts.headers['x-total-count']).toBe('6')
    expect(json(accounts)).toHaveLength(2)
    const listed = await api.call('GET', at(`/task-status?filters=sourceId+eq+%22${id}%22`))
    expect(json(listed)).toMatchObject([{ id: task.id }])
  })

  it('takes the experimental header, and does without it', async () => {
    const replies = await Promise.all(
      ['true', undefined].map((value) =>
        fetch(`${target.url}${at('/task-status?limit=1')}`, {
          headers: {
            authorization: `Bearer ${api.token}`,
            ...(value === undefined ? {} : { 'X-SailPoint-Experimental': value }),
          },
        }),
      ),
    )
    expect(replies.map((reply) => reply.status)).toEqual([200, 200])
  })
})

describe('every prefix', () => {
  it('shows one and the same source', async () => {
    const id = await delimitedSource((path) => `/v2026${path}`)
    const replies = await Promise.all(
      Object.values(spellings).map((at) => api.call('GET', at(`/sources/${id}`))),
    )
    expect(replies.map((reply) => [reply.status, json(reply)['id']])).toEqual(
      replies.map(() => [200, id]),
    )
  })

  it('asks for a token', async () => {
    for (const at of Object.values(spellings)) {
      const reply = await fetch(`${target.url}${at('/sources')}`)
      expect(reply.status).toBe(401)
      expect(await reply.json()).toEqual({ error: expect.stringMatching(/./) })
    }
  })
})
