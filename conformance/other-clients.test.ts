import { connect as connectSocket } from 'node:net'
import { once } from 'node:events'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { accountsCsv, freshName } from './data.ts'
import { type Api, connect, finished, json, multipart, send } from './wire.ts'

const target = inject('target')
let api: Api
let authorization: string

beforeAll(async () => {
  api = await connect(target)
  authorization = `Bearer ${api.token}`
})

async function source(connector: string, provisionAsCsv: boolean): Promise<string> {
  const reply = await api.call('POST', `/v2025/sources?provisionAsCsv=${provisionAsCsv}`, {
    name: freshName('Client'),
    owner: null,
    connector,
  })
  return String(json(reply)['id'])
}

const delimitedSource = (): Promise<string> => source('delimited-file-angularsc', true)
// No such connector is installed: the submit is taken, and the task says what is missing (contract.md section 8.3).
const directSource = (): Promise<string> => source('a-connector-that-nobody-has', false)

async function outcome(text: string): Promise<Record<string, unknown>> {
  const { task } = JSON.parse(text) as { task: { id: string } }
  return finished(api, `/v2025/task-status/${task.id}`)
}

async function countAccounts(sourceId: string): Promise<string | undefined> {
  const { headers } = await api.call(
    'GET',
    `/v2025/accounts?limit=0&count=true&filters=sourceId+eq+%22${sourceId}%22`,
  )
  const total = headers['x-total-count']
  return typeof total === 'string' ? total : undefined
}

describe('tokens', () => {
  const { clientId, clientSecret } = target
  const urlencoded = 'application/x-www-form-urlencoded'

  const asked: Record<string, () => Promise<{ status: number; text: string }>> = {
    'everything in the query, as the Java upload utility does': () =>
      send(
        target,
        'POST',
        `/oauth/token?grant_type=client_credentials&client_id=${clientId}&client_secret=${clientSecret}`,
        {},
      ),
    'the grant type in the query and the rest urlencoded, as the command line tool does': () =>
      send(
        target,
        'POST',
        '/oauth/token?grant_type=client_credentials',
        { 'content-type': urlencoded },
        `client_id=${clientId}&client_secret=${clientSecret}`,
      ),
    'everything urlencoded, as the Go SDK does': () =>
      send(
        target,
        'POST',
        '/oauth/token',
        { 'content-type': urlencoded },
        `client_id=${clientId}&client_secret=${clientSecret}&grant_type=client_credentials`,
      ),
    'a multipart form, as the TypeScript SDK does': () => {
      const { body, contentType } = multipart([
        { name: 'grant_type', value: 'client_credentials' },
        { name: 'client_id', value: clientId },
        { name: 'client_secret', value: clientSecret },
      ])
      return send(target, 'POST', '/oauth/token', { 'content-type': contentType }, body)
    },
  }

  it.each(Object.entries(asked))('are given for %s', async (_, ask) => {
    const reply = await ask()
    expect(reply.status).toBe(200)
    const token = json(reply)
    expect(token).toMatchObject({
      access_token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
      expires_in: expect.any(Number),
      scope: expect.any(String),
      tenant_id: expect.any(String),
      pod: expect.any(String),
      org: expect.any(String),
      identity_id: expect.stringMatching(/^[0-9a-f]{32}$/),
      user_name: expect.any(String),
      jti: expect.any(String),
    })
    expect(String(token['token_type'])).toMatch(/^bearer$/i)
    const [head, claims] = String(token['access_token'])
      .split('.')
      .map((part) => Buffer.from(part, 'base64url').toString())
    expect(JSON.parse(head ?? '')).toMatchObject({ alg: 'ES256', typ: 'JWT' })
    expect(JSON.parse(claims ?? '')).toMatchObject({
      user_name: expect.any(String),
      org: expect.any(String),
      pod: expect.any(String),
      client_id: clientId,
      authorities: expect.arrayContaining(['ORG_ADMIN']),
    })
  })

  it('are refused for a wrong secret', async () => {
    const reply = await send(
      target,
      'POST',
      '/oauth/token',
      { 'content-type': urlencoded },
      `grant_type=client_credentials&client_id=${clientId}&client_secret=wrong`,
    )
    expect(reply.status).toBe(401)
    expect(reply.text).not.toContain('wrong')
  })

  it('are described at /oauth/info without a token', async () => {
    const reply = await send(target, 'GET', '/oauth/info', {})
    expect(reply.status).toBe(200)
    expect(json(reply)).toMatchObject({ tokenEndpoint: `${target.url}/oauth/token` })
  })
})

describe('the Java upload utility', () => {
  it('pages through sources with a trailing slash and a parameter that nobody knows', async () => {
    await delimitedSource()
    const reply = await send(
      target,
      'GET',
      '/beta/sources/?count=true&pageSize=1&offset=0&sorters=id',
      { authorization },
    )
    expect(reply.status).toBe(200)
    expect(Number(reply.headers['x-total-count'])).toBeGreaterThan(0)
  })

  it('uploads with its odd part headers', async () => {
    const sourceId = await delimitedSource()
    const { body, contentType } = multipart([
      {
        name: 'disableOptimization',
        value: 'false',
        headers: [
          'Content-Transfer-Encoding: binary',
          'Content-Type: multipart/form-data; charset=utf-8',
          'Content-Length: 5',
        ],
      },
      {
        name: 'file',
        fileName: 'file.csv',
        value: accountsCsv(4),
        headers: ['Content-Type: text/csv'],
      },
    ])
    const path = `/beta/sources/${sourceId}/load-accounts`
    const reply = await send(
      target,
      'POST',
      path,
      { authorization, 'content-type': contentType },
      body,
    )
    expect(reply.status).toBe(202)
    expect(await outcome(reply.text)).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 4, optimizedAggregation: 'enabled' },
    })
  })
})

describe('the Go SDK', () => {
  it('sends a multipart header without boundary and no body for a direct source', async () => {
    const path = `/sources/v1/${await directSource()}/load-accounts`
    const reply = await send(target, 'POST', path, {
      authorization,
      accept: 'application/json',
      'content-type': 'multipart/form-data',
    })
    expect(reply.status).toBe(202)
    expect(await outcome(reply.text)).toMatchObject({
      completionStatus: 'ERROR',
      messages: [{ type: 'ERROR', key: expect.stringContaining('a-connector-that-nobody-has') }],
    })
  })

  it('repeats a submit after a lost answer and gets the task of the first', async () => {
    const sourceId = await delimitedSource()
    const path = `/sources/v1/${sourceId}/load-accounts`
    const csv = accountsCsv(20_000)
    const replies = await Promise.all([api.upload(path, csv), api.upload(path, csv)])
    expect(replies.map((reply) => reply.status)).toEqual([202, 202])
    const tasks = replies.map((reply) => (json(reply) as { task: { id: string } }).task.id)
    await Promise.all(replies.map((reply) => outcome(reply.text)))
    expect(new Set(tasks).size).toBe(1)
    expect(await countAccounts(sourceId)).toBe('20000')
  })
})

describe('the command line tool', () => {
  it.each([
    ['urlencoded', 'application/x-www-form-urlencoded', 'disableOptimization=true'],
    ['in JSON', 'application/json', '{"disableOptimization":"true"}'],
  ])('starts an aggregation of a direct source %s', async (_, contentType, body) => {
    const path = `/beta/sources/${await directSource()}/load-accounts`
    const reply = await send(
      target,
      'POST',
      path,
      { authorization, 'content-type': contentType },
      body,
    )
    expect(reply.status).toBe(202)
    expect(json(reply)).toMatchObject({
      task: { attributes: { optimizedAggregation: 'disabled' } },
    })
  })

  it('is told which media types there are when it sends another', async () => {
    const path = `/beta/sources/${await delimitedSource()}/load-accounts`
    const reply = await send(
      target,
      'POST',
      path,
      { authorization, 'content-type': 'text/csv' },
      'id\n1\n',
    )
    expect(reply.status).toBe(415)
    expect(reply.text).toContain('multipart/form-data')
  })
})

describe('the VS Code extension', () => {
  it('sends an empty form, polls, and shows the first message', async () => {
    const path = `/v2025/sources/${await directSource()}/load-accounts`
    const headers = {
      authorization,
      'X-SailPoint-SDK': 'typescript-1.8.69',
      'X-SailPoint-Experimental': 'true',
      'content-type': 'multipart/form-data; boundary=axios-1.7.7-boundary-abc',
    }
    const reply = await send(target, 'POST', path, headers, '--axios-1.7.7-boundary-abc--\r\n')
    expect(reply.status).toBe(202)
    const task = await outcome(reply.text)
    expect(task).toMatchObject({
      completionStatus: 'ERROR',
      messages: [{ key: expect.any(String) }],
    })
  })

  it('may not send a file to a direct source', async () => {
    const path = `/v2025/sources/${await directSource()}/load-accounts`
    const reply = await api.upload(path, accountsCsv(1))
    expect(reply.status).toBe(400)
    expect(reply.text).toContain('file')
  })
})

describe('scripts', () => {
  it('get 400 and a hint, not 500, for a form without boundary that has a body', async () => {
    const sourceId = await delimitedSource()
    const path = `/beta/sources/${sourceId}/load-accounts`
    const { body } = multipart([{ name: 'file', fileName: 'a.csv', value: accountsCsv(1) }])
    const reply = await send(
      target,
      'POST',
      path,
      { authorization, 'content-type': 'multipart/form-data' },
      body,
    )
    expect(reply.status).toBe(400)
    expect(reply.text).toContain('boundary')
    expect(await countAccounts(sourceId)).toBe('0')
  })

  it('may quote the boundary and forget the two dashes at the very end', async () => {
    const sourceId = await delimitedSource()
    const body = `--b b\r\nContent-Disposition: form-data; name="file"; filename="blob"\r\nContent-Type: application/octet-stream\r\n\r\n${accountsCsv(3)}\r\n--b b`
    const reply = await send(
      target,
      'POST',
      `/v2024/sources/${sourceId}/load-accounts`,
      { authorization, 'content-type': 'multipart/form-data; boundary="b b"' },
      body,
    )
    expect(reply.status).toBe(202)
    expect(await outcome(reply.text)).toMatchObject({ attributes: { created: 3 } })
  })

  it('may send the flag before or after the file', async () => {
    for (const order of [0, 1]) {
      const sourceId = await delimitedSource()
      const parts = [
        { name: 'disableOptimization', value: 'true' },
        { name: 'file', fileName: 'a.csv', value: accountsCsv(2) },
      ]
      const { body, contentType } = multipart(order === 0 ? parts : parts.toReversed())
      const reply = await send(
        target,
        'POST',
        `/v2026/sources/${sourceId}/load-accounts`,
        { authorization, 'content-type': contentType },
        body,
      )
      expect(await outcome(reply.text)).toMatchObject({
        attributes: { created: 2, optimizedAggregation: 'disabled' },
      })
    }
  })

  it('leave nothing behind when the connection ends in the middle', async () => {
    const sourceId = await delimitedSource()
    const { body, contentType } = multipart([
      { name: 'file', fileName: 'a.csv', value: accountsCsv(50) },
    ])
    const { hostname, port } = new URL(target.url)
    const socket = connectSocket(Number(port), hostname)
    await once(socket, 'connect')
    socket.write(
      `POST /v2025/sources/${sourceId}/load-accounts HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: ${authorization}\r\nContent-Type: ${contentType}\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, body.length / 2)}`,
    )
    socket.end()
    socket.resume()
    await once(socket, 'close')
    const tasks = await api.call('GET', `/v2025/task-status?filters=sourceId+eq+%22${sourceId}%22`)
    expect(json(tasks)).toEqual([])
    expect(await countAccounts(sourceId)).toBe('0')
  })
})
