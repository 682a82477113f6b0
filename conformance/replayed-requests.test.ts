import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { type RawAnswer, sendRaw } from '../test/api/raw-http.ts'
import { accountsCsv, freshName, header } from './data.ts'
import { type Api, connect, finished, json } from './wire.ts'

// Requests byte for byte as clients write them that cannot run here: sections 6 and 7 of contract.md. Nothing stands
// between these bytes and the server that could put them right.
const target = inject('target')
const { hostname, host, port } = new URL(target.url)
const { clientId, clientSecret } = target
let api: Api

beforeAll(async () => {
  api = await connect(target)
})

/** Sends a request line, headers and a body as they are, with the length of the body unless a header tells of it. */
function exchange(
  line: string,
  headers: readonly string[],
  body: string | null = null,
): Promise<RawAnswer> {
  const length = body === null ? [] : [`Content-Length: ${Buffer.byteLength(body, 'latin1')}`]
  const head = [line, `Host: ${host}`, ...headers, ...length, 'Connection: close']
  return sendRaw(Number(port), `${head.join('\r\n')}\r\n\r\n${body ?? ''}`, 20_000)
}

const lines = (...all: readonly string[]): string => all.join('\r\n')

async function source(connector: string, attributes: object = {}): Promise<string> {
  const isFile = connector === 'delimited-file-angularsc'
  const reply = await api.call('POST', `/v2025/sources?provisionAsCsv=${isFile}`, {
    name: freshName('Replayed'),
    owner: null,
    connector,
    ...(isFile ? {} : { connectorAttributes: attributes }),
  })
  return String(json(reply)['id'])
}

const fileSource = (): Promise<string> => source('delimited-file-angularsc')
const directSource = (records = 3): Promise<string> => source('chaos', { records })

function taskOf(answer: RawAnswer): string {
  expect(answer.status, answer.text).toBe(202)
  const { task } = JSON.parse(unchunked(answer)) as { task: { id: string } }
  expect(task.id).toMatch(/^[0-9a-f]{32}$/)
  return task.id
}

/** The body without the sizes of its chunks, if it came in chunks. */
function unchunked({ headers, body }: RawAnswer): string {
  if (headers['transfer-encoding'] !== 'chunked') return body
  return body.replaceAll(/^[0-9a-f]+\r\n|\r\n[0-9a-f]+\r\n/g, '').replace(/\r\n$/, '')
}

const ended = (answer: RawAnswer): ReturnType<typeof finished> =>
  finished(api, `/v2025/task-status/${taskOf(answer)}`)

const csvCrlf = (count: number): string => accountsCsv(count).replaceAll('\n', '\r\n')

describe('the Java upload utility', () => {
  it('asks for a token with everything in the query and an empty body', async () => {
    const query = `grant_type=client_credentials&client_id=${clientId}&client_secret=${clientSecret}`
    const answer = await exchange(
      `POST /oauth/token?${query} HTTP/1.1`,
      ['Accept-Encoding: gzip', 'User-Agent: okhttp/4.10.0'],
      '',
    )
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.body)).toMatchObject({ access_token: expect.stringMatching(/\./) })
  })

  it('counts the sources, and finds each one once by pages of a hundred', async () => {
    await Promise.all([fileSource(), fileSource(), fileSource()])
    const listed: string[] = []
    let total = 1
    for (let offset = 0; offset < total; offset += 100) {
      const answer = await exchange(
        `GET /beta/sources/?count=true&pageSize=100&limit=100&offset=${offset}&sorters=id HTTP/1.1`,
        [`authorization: Bearer ${api.token}`, 'User-Agent: okhttp/4.10.0'],
      )
      expect(answer.status, answer.text).toBe(200)
      total = Number(answer.headers['x-total-count'])
      listed.push(...(JSON.parse(unchunked(answer)) as { id: string }[]).map(({ id }) => id))
    }
    expect(listed.length).toBe(total)
    expect(new Set(listed).size).toBe(total)
    expect(listed).toEqual(listed.toSorted())
  })

  it('sends parts whose headers speak of a form, and the name file.csv', async () => {
    const id = await fileSource()
    const boundary = '3c1a5b7e-5f0f-4f63-9f3f-0d1d8f1f7c11'
    const csv = accountsCsv(3)
    const body = lines(
      `--${boundary}`,
      'Content-Disposition: form-data; name="disableOptimization"',
      'Content-Transfer-Encoding: binary',
      'Content-Type: multipart/form-data; charset=utf-8',
      'Content-Length: 4',
      '',
      'true',
      `--${boundary}`,
      'Content-Disposition: form-data; name="file"; filename="file.csv"',
      'Content-Type: text/csv',
      `Content-Length: ${csv.length}`,
      '',
      csv,
      `--${boundary}--`,
      '',
    )
    const answer = await exchange(
      `POST /beta/sources/${id}/load-accounts HTTP/1.1`,
      [
        `authorization: Bearer ${api.token}`,
        `Content-Type: multipart/form-data; boundary=${boundary}`,
      ],
      body,
    )
    expect(await ended(answer)).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 3, optimizedAggregation: 'disabled' },
    })
  })

  it('may write a stray quote behind the name of the file', async () => {
    const id = await fileSource()
    const body = lines(
      '--okhttp',
      'Content-Disposition: form-data; name="file"; filename="file.csv" "',
      'Content-Type: text/csv',
      '',
      accountsCsv(2),
      '--okhttp--',
      '',
    )
    const answer = await exchange(
      `POST /beta/sources/${id}/load-accounts HTTP/1.1`,
      [`authorization: Bearer ${api.token}`, 'Content-Type: multipart/form-data; boundary=okhttp'],
      body,
    )
    expect(await ended(answer)).toMatchObject({ attributes: { created: 2 } })
  })
})

// The releases on the per-service prefix cannot be had from the module proxy; these are their requests.
describe('the Go SDK on the per-service prefix', () => {
  const common = (): string[] => [
    'User-Agent: OpenAPI-Generator/3.0.0/go',
    'Accept: application/json',
    `Authorization: Bearer ${api.token}`,
  ]
  // mime/multipart of Go takes 30 random bytes in hexadecimal digits.
  const boundary = 'f1e2d3c4b5a697887766554433221100ffeeddccbbaa0099887766554433'
  const typed = `Content-Type: multipart/form-data; boundary=${boundary}`
  const withFile = (csv: string): string =>
    lines(
      `--${boundary}`,
      'Content-Disposition: form-data; name="disableOptimization"',
      '',
      'true',
      `--${boundary}`,
      'Content-Disposition: form-data; name="file"; filename="accounts.csv"',
      'Content-Type: application/octet-stream',
      '',
      csv,
      `--${boundary}--`,
      '',
    )

  it('asks for a token in an urlencoded body, its keys in the order of the alphabet', async () => {
    const answer = await exchange(
      'POST /oauth/token HTTP/1.1',
      ['User-Agent: Go-http-client/1.1', 'Content-Type: application/x-www-form-urlencoded'],
      `client_id=${clientId}&client_secret=${clientSecret}&grant_type=client_credentials`,
    )
    expect(answer.status).toBe(200)
  })

  it('sends the field and then the file', async () => {
    const id = await fileSource()
    const answer = await exchange(
      `POST /sources/v1/${id}/load-accounts HTTP/1.1`,
      [...common(), typed],
      withFile(accountsCsv(4)),
    )
    expect(await ended(answer)).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 4, optimizedAggregation: 'disabled' },
    })
  })

  it('sends neither: a header without boundary over a body of no bytes', async () => {
    const answer = await exchange(
      `POST /sources/v1/${await directSource()}/load-accounts HTTP/1.1`,
      [...common(), 'Content-Type: multipart/form-data'],
      '',
    )
    expect(await ended(answer)).toMatchObject({ attributes: { created: 3 } })
  })

  it('drops a file of zero bytes and sends a form without parts', async () => {
    const send = (id: string): Promise<RawAnswer> =>
      exchange(
        `POST /sources/v1/${id}/load-accounts HTTP/1.1`,
        [...common(), typed],
        `\r\n--${boundary}--\r\n`,
      )
    expect(await ended(await send(await directSource()))).toMatchObject({
      attributes: { created: 3 },
    })
    const refused = await send(await fileSource())
    expect(refused.status).toBe(400)
    expect(refused.body).toContain('file')
  })

  it('asks for the task and the aggregation where the version stands behind the first segment', async () => {
    const id = await fileSource()
    const answer = await exchange(
      `POST /sources/v1/${id}/load-accounts HTTP/1.1`,
      [...common(), typed],
      withFile(accountsCsv(2)),
    )
    const task = taskOf(answer)
    await finished(api, `/task-status/v1/${task}`)
    const status = await exchange(`GET /account-aggregations/v1/${task}/status HTTP/1.1`, common())
    expect(JSON.parse(unchunked(status))).toMatchObject({ status: 'COMPLETED', totalAccounts: 2 })
    const filters = encodeURIComponent(`sourceId eq "${id}"`).replaceAll('%20', '+')
    const accounts = await exchange(
      `GET /accounts/v1?count=true&filters=${filters}&limit=1 HTTP/1.1`,
      common(),
    )
    expect(accounts.headers['x-total-count']).toBe('2')
  })

  it('repeats a submit four times and has one run', async () => {
    const id = await source('chaos', { records: 300, pageSize: 10, behaviour: 'slow' })
    const tasks: string[] = []
    for (let attempt = 0; attempt < 5; attempt += 1) {
      tasks.push(
        taskOf(
          await exchange(
            `POST /sources/v1/${id}/load-accounts HTTP/1.1`,
            [...common(), 'Content-Type: multipart/form-data'],
            '',
          ),
        ),
      )
    }
    expect(new Set(tasks).size).toBe(1)
    await finished(api, `/task-status/v1/${tasks[0]}`)
  })
})

describe('the command line tool', () => {
  const common = (): string[] => [
    'User-Agent: SailPoint-CLI/2.2.10/go',
    `Authorization: Bearer ${api.token}`,
  ]

  it('asks for a token with the grant type in the query', async () => {
    const answer = await exchange(
      'POST /oauth/token?grant_type=client_credentials HTTP/1.1',
      ['Content-Type: application/x-www-form-urlencoded'],
      `client_id=${clientId}&client_secret=${clientSecret}`,
    )
    expect(answer.status).toBe(200)
    const { access_token: token, expires_in: seconds } = JSON.parse(answer.body) as {
      access_token: string
      expires_in: number
    }
    expect(seconds).toBeGreaterThan(0)
    const claims: unknown = JSON.parse(
      Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
    )
    expect(claims).toMatchObject({
      user_name: expect.any(String),
      org: expect.any(String),
      pod: expect.any(String),
    })
  })

  it.each([
    [
      'with -c application/x-www-form-urlencoded',
      'application/x-www-form-urlencoded',
      'disableOptimization=true',
      'disabled',
    ],
    ['with its default content type and an empty object', 'application/json', '{}', 'enabled'],
    ['with its default content type and an empty body', 'application/json', '', 'enabled'],
  ])('starts an aggregation of a direct source %s', async (_, type, body, optimized) => {
    const answer = await exchange(
      `POST /beta/sources/${await directSource()}/load-accounts HTTP/1.1`,
      [...common(), `Content-Type: ${type}`],
      body,
    )
    expect(await ended(answer)).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 3, optimizedAggregation: optimized },
    })
  })

  it('sends a form that was written into a file beforehand', async () => {
    const id = await fileSource()
    const body = `--mine\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n${accountsCsv(2)}\r\n--mine--\r\n`
    const answer = await exchange(
      `POST /beta/sources/${id}/load-accounts HTTP/1.1`,
      [...common(), 'Content-Type: multipart/form-data; boundary=mine'],
      body,
    )
    expect(await ended(answer)).toMatchObject({ attributes: { created: 2 } })
  })

  it('patches with the media type of a patch', async () => {
    const answer = await exchange(
      `PATCH /beta/sources/${await fileSource()} HTTP/1.1`,
      [...common(), 'Content-Type: application/json-patch+json'],
      '[{"op":"replace","path":"/description","value":"from the command line"}]',
    )
    expect(answer.status).toBe(200)
    expect(unchunked(answer)).toContain('from the command line')
  })
})

describe('the VS Code extension', () => {
  const common = (): string[] => [
    'Accept: application/json',
    'X-SailPoint-SDK: typescript-1.8.69',
    'User-Agent: OpenAPI-Generator/1.8.69/ts',
    'X-SailPoint-Experimental: true',
    `Authorization: Bearer ${api.token}`,
  ]
  const typed = 'Content-Type: multipart/form-data; boundary=axios-1.12.2-boundary-Q2hhb3M'

  it('polls until completionStatus is no longer null, and it is there and null until then', async () => {
    const id = await source('chaos', { records: 100, pageSize: 10, behaviour: 'slow' })
    const submitted = await exchange(
      `POST /v2025/sources/${id}/load-accounts HTTP/1.1`,
      [...common(), typed],
      '--axios-1.12.2-boundary-Q2hhb3M--\r\n',
    )
    expect(unchunked(submitted)).toContain('"completionStatus":null')
    const task = taskOf(submitted)
    const seen: unknown[] = []
    do {
      const answer = await exchange(`GET /v2025/task-status/${task} HTTP/1.1`, common())
      expect(answer.status).toBe(200)
      expect(unchunked(answer)).toMatch(/"completionStatus":(?:null|"SUCCESS")/)
      const fields = JSON.parse(unchunked(answer)) as {
        completionStatus: unknown
        messages: unknown
      }
      expect(fields.messages).toBeInstanceOf(Array)
      seen.push(fields.completionStatus)
      await sleep(100)
    } while (seen.at(-1) === null)
    expect(seen[0]).toBeNull()
    expect(seen.at(-1)).toBe('SUCCESS')
  })

  it('shows the key of the first message of a run that ends in WARNING', async () => {
    const id = await fileSource()
    const send = (csv: string): Promise<RawAnswer> =>
      exchange(
        `POST /v2025/sources/${id}/load-accounts HTTP/1.1`,
        [...common(), typed],
        lines(
          '--axios-1.12.2-boundary-Q2hhb3M',
          'Content-Disposition: form-data; name="file"; filename="accounts.csv"',
          'Content-Type: application/octet-stream',
          '',
          csv,
          '--axios-1.12.2-boundary-Q2hhb3M--',
          '',
        ),
      )
    await ended(await send(accountsCsv(5)))
    const task = await ended(await send(`${header}\n`))
    expect(task).toMatchObject({
      completionStatus: 'WARNING',
      messages: [{ key: expect.stringMatching(/\S/) }],
    })
  })
})

describe('what the VS Code extension and the Java upload utility ask for besides', () => {
  it('resets the accounts of a source, and polls the task by its own id', async () => {
    const id = await fileSource()
    await finished(api, `/v2025/task-status/${await submitted(id)}`)
    const answer = await exchange(
      `POST /beta/sources/${id}/remove-accounts HTTP/1.1`,
      [`Authorization: Bearer ${api.token}`],
      '',
    )
    expect(answer.status, answer.text).toBe(202)
    const task = JSON.parse(unchunked(answer)) as { id: string }
    expect(task).toMatchObject({ type: 'TASK_RESULT', id: expect.stringMatching(/^[0-9a-f]{32}$/) })
    expect(await finished(api, `/v2025/task-status/${task.id}`)).toMatchObject({
      completionStatus: 'SUCCESS',
    })
  })

  // Not in this version: neither is mistaken for something else, and both get an error they can show.
  it.each(['/beta/sources/{id}/load-entitlements', '/beta/entitlements/reset/sources/{id}'])(
    'is told that there is no %s',
    async (path) => {
      const answer = await exchange(
        `POST ${path.replace('{id}', await fileSource())} HTTP/1.1`,
        [`Authorization: Bearer ${api.token}`],
        '',
      )
      expect(answer.status).toBe(404)
      expect(JSON.parse(unchunked(answer))).toMatchObject({
        detailCode: '404 Not found',
        messages: [{ locale: 'und' }, { locale: 'en-US' }],
      })
    },
  )

  async function submitted(id: string): Promise<string> {
    const reply = await api.upload(`/v2025/sources/${id}/load-accounts`, accountsCsv(2))
    return (json(reply) as { task: { id: string } }).task.id
  }
})

describe('PowerShell scripts', () => {
  const path = (id: string): string => `POST /beta/sources/${id}/load-accounts HTTP/1.1`
  const head = (): string[] => [
    `authorization: Bearer ${api.token}`,
    'User-Agent: Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1',
    'Content-Type: multipart/form-data; boundary="8f6c1f0e-7a53-4cbb-a9a7-2d9a1f0c3b52"',
  ]
  // A here-string: a quoted boundary, lines of Windows, and a last line without its two dashes.
  const written = (csv: string): string =>
    lines(
      '--8f6c1f0e-7a53-4cbb-a9a7-2d9a1f0c3b52',
      'Content-Disposition: form-data; name="disableOptimization"',
      '',
      'true',
      '--8f6c1f0e-7a53-4cbb-a9a7-2d9a1f0c3b52',
      'Content-Disposition: form-data; name="file"; filename="accounts.csv"',
      'Content-Type: application/octet-stream',
      '',
      csv,
      '--8f6c1f0e-7a53-4cbb-a9a7-2d9a1f0c3b52',
    )

  it.each([
    ['without the closing dashes', ''],
    ['with them', '--\r\n'],
  ])('write their form by hand, %s', async (_, end) => {
    const id = await fileSource()
    const answer = await exchange(path(id), head(), `${written(csvCrlf(3))}${end}`)
    expect(await ended(answer)).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 3, optimizedAggregation: 'disabled' },
    })
  })

  // Get-Content gives lines, and a string made of them has spaces between: everything becomes the header.
  it('are told at once that line ends were lost when they made one line of the file', async () => {
    const id = await fileSource()
    const flattened = accountsCsv(4).trim().replaceAll('\n', ' ')
    const answer = await exchange(path(id), head(), written(flattened))
    expect(answer.status).toBe(400)
    expect(answer.body).toContain('the line ends were lost before the upload')
    expect(
      json(await api.call('GET', `/v2025/task-status?filters=sourceId+eq+%22${id}%22`)),
    ).toEqual([])
  })

  it('remove nothing with one line in which every column has a name', async () => {
    const id = await fileSource()
    await ended(await exchange(path(id), head(), written('id,name\n1,a\n2,b\n')))
    const task = await ended(await exchange(path(id), head(), written('id,name 1,a 2,b')))
    expect(task).toMatchObject({ completionStatus: 'WARNING', attributes: { deleted: 0 } })
    expect(JSON.stringify(task['messages'])).toContain('name 1')
    const left = await api.call(
      'GET',
      `/v2025/accounts?limit=0&count=true&filters=sourceId+eq+%22${id}%22`,
    )
    expect(left.headers['x-total-count']).toBe('2')
  })

  it('ask for the status of the aggregation under /beta', async () => {
    const id = await fileSource()
    const task = taskOf(await exchange(path(id), head(), written(accountsCsv(2))))
    await finished(api, `/beta/task-status/${task}`)
    const answer = await exchange(`GET /beta/account-aggregations/${task}/status HTTP/1.1`, [
      `authorization: Bearer ${api.token}`,
    ])
    expect(JSON.parse(unchunked(answer))).toMatchObject({
      status: 'COMPLETED',
      totalAccounts: 2,
      processedAccounts: 2,
    })
  })
})

describe('others', () => {
  it('stream a form in chunks without telling its length', async () => {
    const id = await fileSource()
    const body = `--s\r\nContent-Disposition: form-data; name="file"; filename="big.csv"\r\nContent-Type: text/csv\r\n\r\n${accountsCsv(30)}\r\n--s--\r\n`
    const pieces = body.match(/[^]{1,97}/g) ?? []
    const chunks = pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join('')
    const head = [
      `POST /v2025/sources/${id}/load-accounts HTTP/1.1`,
      `Host: ${hostname}`,
      `Authorization: Bearer ${api.token}`,
      'Content-Type: multipart/form-data; boundary=s',
      'Transfer-Encoding: chunked',
      'Connection: close',
    ]
    const answer = await sendRaw(
      Number(port),
      `${head.join('\r\n')}\r\n\r\n${chunks}0\r\n\r\n`,
      20_000,
    )
    expect(await ended(answer)).toMatchObject({ attributes: { created: 30 } })
  })

  it('send a boundary and not one byte behind it, for a direct source', async () => {
    const answer = await exchange(
      `POST /v2024/sources/${await directSource()}/load-accounts HTTP/1.1`,
      [`Authorization: Bearer ${api.token}`, 'Content-Type: multipart/form-data; boundary=none'],
      '',
    )
    expect(await ended(answer)).toMatchObject({ completionStatus: 'SUCCESS' })
  })
})
