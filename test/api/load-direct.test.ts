import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Configuration, SourcesBetaApi, SourcesV2024Api } from 'sailpoint-api-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { LoadAccountsTask } from '../../src/client/index.ts'
import { checkout } from '../support/build.ts'
import {
  buildServer,
  clientId,
  clientSecret,
  connectTo,
  removeData,
  startServer,
} from '../support/server-process.ts'
import type { ServerClient, ServerProcess, TaskView } from '../support/server-process.ts'
import { sendRaw } from './raw-http.ts'

let folder = ''
let build = ''
let server: ServerProcess
let client: ServerClient
let source = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-direct-'))
  build = await buildServer()
  server = await startServer({
    build,
    dataDir: join(folder, 'data'),
    env: { MUSTER_CONNECTORS: join(checkout, 'test', 'connect', 'chaos-connector.mjs') },
  })
  client = await connectTo(server.url)
  source = await make('Direct')
}, 120_000)
afterAll(async () => {
  await server.end('SIGTERM')
  await removeData(join(folder, 'data'))
  await rm(folder, { recursive: true, force: true })
  await rm(build, { recursive: true, force: true })
})

async function make(name: string): Promise<string> {
  const made = await client.call('POST', '/sources', { name, owner: null, connector: 'chaos' })
  return ((await made.json()) as { id: string }).id
}

interface Answer {
  readonly status: number
  readonly text: string
}

/** Sends these bytes behind the request line, and gives what came back. */
async function send(lines: readonly string[], body = '', id = source): Promise<Answer> {
  const head = [
    `POST /v2025/sources/${id}/load-accounts HTTP/1.1`,
    'Host: muster.test',
    'Connection: close',
    `authorization: ${client.authorization}`,
    ...lines,
  ]
  const answer = await sendRaw(
    Number(new URL(server.url).port),
    `${head.join('\r\n')}\r\n\r\n${body}`,
    5_000,
  )
  return { status: answer.status, text: answer.body }
}

/** The lines of the head that matter, and the body. */
type Given = [lines: readonly string[], body?: string]
const sized = (type: string, body: string): Given => [
  [`Content-Type: ${type}`, `Content-Length: ${body.length}`],
  body,
]
const sendTo = (id: string, [lines, body]: Given): Promise<Answer> => send(lines, body, id)
const part = (name: string, value: string): string =>
  `--B\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
const form = 'multipart/form-data; boundary=B'
const urlencoded = 'application/x-www-form-urlencoded'

async function ended(answer: Answer): Promise<TaskView & { readonly optimized: unknown }> {
  expect([answer.status, answer.text]).toEqual([202, expect.stringContaining('"task"')])
  // A body in chunks has their lengths around it.
  const json = answer.text.slice(answer.text.indexOf('{'), answer.text.lastIndexOf('}') + 1)
  const { task } = JSON.parse(json) as LoadAccountsTask
  const end = await client.ended(task.id)
  return { ...end, optimized: task.attributes['optimizedAggregation'] }
}

describe('a source that reads its system', () => {
  const empty: readonly (readonly [how: string, given: Given])[] = [
    ['a form without parts, as the TypeScript SDK sends it', sized(form, '--B--\r\n')],
    [
      'the type of a form without a boundary and no body, as the Go SDK sends it',
      [['Content-Type: multipart/form-data', 'Content-Length: 0']],
    ],
    ['the type of a form with a boundary and no body', sized(form, '')],
    ['no type and no length', [[]]],
    ['no type and the length 0', [['Content-Length: 0']]],
    ['no type and an end without a chunk', [['Transfer-Encoding: chunked'], '0\r\n\r\n']],
    [
      'a form in one chunk',
      [[`Content-Type: ${form}`, 'Transfer-Encoding: chunked'], '7\r\n--B--\r\n\r\n0\r\n\r\n'],
    ],
    ['a quoted boundary', sized('multipart/form-data; boundary="B"', '--B--\r\n')],
    ['a last boundary without its end', sized(form, `${part('disableOptimization', '')}--B`)],
    ['an empty text', sized(urlencoded, '')],
    ['empty JSON', sized('application/json', '')],
    ['an object without members', sized('application/json; charset=utf-8', '{}')],
  ]
  it.each(empty)('is read when the request has %s', async (_, given) => {
    expect(await ended(await send(...given))).toMatchObject({
      completionStatus: 'SUCCESS',
      optimized: 'enabled',
      attributes: { total: 10 },
    })
  })

  const flags: readonly (readonly [how: string, given: Given])[] = [
    ['a form', sized(form, `${part('disableOptimization', 'true')}--B--\r\n`)],
    [
      'a form whose part has headers of its own, as the Java uploader writes it',
      sized(
        form,
        '--B\r\nContent-Disposition: form-data; name="disableOptimization"\r\nContent-Type: multipart/form-data; charset=utf-8\r\n' +
          'Content-Transfer-Encoding: binary\r\nContent-Length: 4\r\n\r\ntrue\r\n--B--\r\n',
      ),
    ],
    [
      'a form without the end of its last boundary',
      sized(form, `${part('disableOptimization', 'true')}--B`),
    ],
    ['an urlencoded body', sized(urlencoded, 'disableOptimization=true')],
    ['JSON', sized('application/json', '{"disableOptimization":true}')],
    ['JSON with a text', sized('application/json', '{"disableOptimization":"true"}')],
  ]
  it.each(flags)('is read without optimization when %s says so', async (_, given) => {
    expect(await ended(await send(...given))).toMatchObject({
      completionStatus: 'SUCCESS',
      optimized: 'disabled',
      attributes: { total: 10, optimized: 0, updated: 0 },
    })
  })

  it('takes no file, in whatever way one is sent, and starts nothing then', async () => {
    const file = (rest: string): string =>
      `--B\r\nContent-Disposition: form-data; name="file"${rest}\r\n\r\nid\r\n1\r\n--B--\r\n`
    const before = await taskCount()
    for (const rest of ['; filename="a.csv"', '', '; filename=""']) {
      const answer = await send(...sized(form, file(rest)))
      expect([rest, answer.status]).toEqual([rest, 400])
      expect(answer.text).toContain('does not take a file')
    }
    expect((await send(...sized('text/csv', 'id\n1\n'))).status).toBe(415)
    expect((await send(['Transfer-Encoding: chunked'], '1\r\nx\r\n0\r\n\r\n')).status).toBe(415)
    expect(await taskCount()).toBe(before)
  })

  it('is read through the official SDK', async () => {
    const configuration = new Configuration({
      baseurl: server.url,
      tokenUrl: `${server.url}/oauth/token`,
      clientId,
      clientSecret,
    })
    configuration.experimental = true
    const beta = await new SourcesBetaApi(configuration).importAccounts({ sourceId: source })
    expect(await client.ended(beta.data.task?.id ?? '')).toMatchObject({
      completionStatus: 'SUCCESS',
    })
    const v2024 = await new SourcesV2024Api(configuration).importAccounts({
      id: source,
      disableOptimization: 'true',
    })
    expect(v2024.data.task?.attributes).toMatchObject({ optimizedAggregation: 'disabled' })
    await client.ended(v2024.data.task?.id ?? '')
  })
})

describe('the mode of a run', () => {
  it('is taken from a form, an urlencoded body and JSON alike, in any case', async () => {
    const id = await make('Modes')
    await ended(await send([], '', id))
    const ways: readonly [Given, number][] = [
      // Nothing has changed since, so a delta brings nothing and a full read everything.
      [sized(form, `${part('mode', 'delta')}--B--\r\n`), 0],
      [sized(urlencoded, 'mode=full'), 10],
      [sized('application/json', '{"mode":"delta"}'), 0],
      [sized(urlencoded, 'mode=DELTA'), 0],
      [sized(urlencoded, 'mode='), 10],
      [sized('application/json', '{"mode":null}'), 10],
    ]
    for (const [[lines, body], total] of ways) {
      const end = await ended(await send(lines, body, id))
      expect([body, end.completionStatus, end.attributes['total']]).toEqual([
        body,
        'SUCCESS',
        total,
      ])
    }
  })

  it('is what the settings say unless the form says otherwise, and full again after a reset', async () => {
    const id = await make('Set to delta')
    const muster = `${server.url}/muster/v1/sources/${id}`
    const headers = { authorization: client.authorization, 'content-type': 'application/json' }
    const set = await fetch(`${muster}/settings`, {
      method: 'PUT',
      headers,
      body: '{"readMode":"delta"}',
    })
    expect(set.status).toBe(200)
    const state = async (): Promise<unknown> =>
      (await fetch(`${muster}/state`, { headers: { authorization: client.authorization } })).json()
    expect(await state()).toMatchObject({ hasCursor: false })
    // The first run is full whatever is asked.
    const first = await ended(await send([], '', id))
    expect(first.attributes).toMatchObject({ created: 10 })
    expect(await state()).toMatchObject({ hasCursor: true, run: first.id })
    expect((await ended(await send([], '', id))).attributes).toMatchObject({ total: 0, deleted: 0 })
    expect(
      (await ended(await sendTo(id, sized(urlencoded, 'mode=full')))).attributes,
    ).toMatchObject({ total: 10 })
    const reset = await fetch(`${muster}/state`, {
      method: 'DELETE',
      headers: { authorization: client.authorization },
    })
    expect(reset.status).toBe(204)
    expect((await ended(await send([], '', id))).attributes).toMatchObject({ total: 10 })
  })

  it('is 400 that names it when it is another word, and for a source of files when it is delta', async () => {
    for (const [lines, body] of [
      sized(urlencoded, 'mode=some'),
      sized(form, `${part('mode', 'some')}--B--\r\n`),
      sized('application/json', '{"mode":{}}'),
      sized('application/json', '{"mode":true}'),
    ]) {
      const answer = await send(lines, body)
      expect([body, answer.status]).toEqual([body, 400])
      expect(answer.text).toContain('mode must be')
    }
    const files = await client.createSource('Files')
    const csv = `--B\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nid,name\r\n1,Ada\r\n`
    const answer = await sendTo(files, sized(form, `${part('mode', 'delta')}${csv}--B--\r\n`))
    expect(answer.status).toBe(400)
    expect(answer.text).toContain('files, which are always whole')
    const full = await sendTo(files, sized(form, `${csv}${part('mode', 'full')}--B--\r\n`))
    expect((await ended(full)).attributes).toMatchObject({ created: 1 })
  })
})

async function taskCount(): Promise<number> {
  const response = await client.call('GET', '/task-status?limit=0&count=true')
  return Number(response.headers.get('x-total-count'))
}
