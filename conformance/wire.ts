// Requests written by hand, byte for byte as real clients send them, and a plain way to call the API.
import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Target } from './server.ts'

/** An answer as it came. */
export interface Reply {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly text: string
}

/** Sends exactly these headers and this body, with a Content-Length unless `headers` says otherwise. */
export function send(
  target: Target,
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: string | Uint8Array,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`${target.url}${path}`, {
      method,
      headers: { 'content-length': String(Buffer.byteLength(body ?? '')), ...headers },
    })
    outgoing.on('error', reject)
    outgoing.on('response', (incoming) => {
      let text = ''
      incoming.setEncoding('utf8')
      incoming.on('data', (chunk: string) => (text += chunk))
      incoming.on('end', () =>
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text }),
      )
    })
    outgoing.end(body)
  })
}

/** The fields of an answer in JSON that the tests look at. */
export interface Fields {
  readonly [name: string]: unknown
}

/** A body in JSON; the answer itself is the message when it is none. */
export function json(reply: Pick<Reply, 'text'>): Fields {
  const value: unknown = JSON.parse(reply.text)
  if (typeof value !== 'object' || value === null) throw new Error(`Not an object: ${reply.text}`)
  return value as Fields
}

/** The caller's own view of a path below its prefix: `call('GET', '/v2025/sources')`. */
export interface Api {
  readonly token: string
  readonly call: (
    method: string,
    path: string,
    body?: unknown,
    contentType?: string,
  ) => Promise<Reply>
  readonly upload: (path: string, csv: string, fields?: Record<string, string>) => Promise<Reply>
}

/** Gets a token with the credentials of `target` and calls with it. */
export async function connect(target: Target): Promise<Api> {
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: target.clientId,
    client_secret: target.clientSecret,
  })
  const answer = await fetch(`${target.url}/oauth/token`, { method: 'POST', body: form })
  const { access_token: token } = (await answer.json()) as { access_token: string }
  const authorization = `Bearer ${token}`
  return {
    token,
    call: (method, path, body, contentType = 'application/json') =>
      body === undefined
        ? send(target, method, path, { authorization })
        : send(
            target,
            method,
            path,
            { authorization, 'content-type': contentType },
            typeof body === 'string' ? body : JSON.stringify(body),
          ),
    upload: (path, csv, fields = {}) => {
      const { body, contentType } = multipart([
        ...Object.entries(fields).map(([name, value]) => ({ name, value })),
        { name: 'file', fileName: 'accounts.csv', value: csv },
      ])
      return send(target, 'POST', path, { authorization, 'content-type': contentType }, body)
    },
  }
}

/** One part of a form. */
export interface Part {
  readonly name: string
  readonly value: string
  readonly fileName?: string
  readonly headers?: readonly string[]
}

/** A form as browsers and most libraries write it. */
export function multipart(parts: readonly Part[]): { body: string; contentType: string } {
  const boundary = '----muster-conformance-7MA4YWxkTrZu0gW'
  const written = parts.map(({ name, value, fileName, headers = [] }) => {
    const disposition = `Content-Disposition: form-data; name="${name}"${fileName === undefined ? '' : `; filename="${fileName}"`}`
    return `--${boundary}\r\n${[disposition, ...headers].join('\r\n')}\r\n\r\n${value}\r\n`
  })
  return {
    body: `${written.join('')}--${boundary}--\r\n`,
    contentType: `multipart/form-data; boundary=${boundary}`,
  }
}

/** Polls a task until its completionStatus is something else than null. */
export async function finished(api: Api, taskPath: string): Promise<Fields> {
  for (;;) {
    const reply = await api.call('GET', taskPath)
    if (reply.status !== 200) throw new Error(`${taskPath} answered ${reply.status}: ${reply.text}`)
    const task = json(reply)
    // An absent field would end the loop of the VS Code extension too early, so it has to be there.
    if (!('completionStatus' in task)) throw new Error('The task has no completionStatus.')
    if (task['completionStatus'] !== null) return task
    await sleep(50)
  }
}
