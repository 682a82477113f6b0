// A thin client of the benchmark: what it costs itself must not count, so it streams with node:http and polls rarely.
import { createReadStream, statSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { columns } from './generate.mjs'

export async function openClient(url, clientId, clientSecret) {
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: clientId,
    client_secret: clientSecret,
  })
  const answer = await fetch(`${url}/oauth/token`, { method: 'POST', body })
  if (!answer.ok) throw new Error(`no token: ${answer.status} ${await answer.text()}`)
  const { access_token: token } = await answer.json()
  const authorization = `Bearer ${token}`

  const call = async (method, path, payload) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization, ...(payload ? { 'content-type': 'application/json' } : {}) },
      ...(payload ? { body: JSON.stringify(payload) } : {}),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text === '' ? null : JSON.parse(text)
  }

  const loaded = async (submit) => {
    const started = performance.now()
    const task = await submit()
    const accepted = performance.now()
    for (;;) {
      const status = await call('GET', `/v2025/task-status/${task.id}`)
      if (status.completionStatus === null) {
        await new Promise((resolve) => setTimeout(resolve, 20))
        continue
      }
      if (!['SUCCESS', 'WARNING'].includes(status.completionStatus)) {
        throw new Error(`the run failed: ${JSON.stringify(status.messages)}`)
      }
      return {
        seconds: (performance.now() - started) / 1000,
        uploadSeconds: (accepted - started) / 1000,
        id: task.id,
        attributes: status.attributes,
      }
    }
  }

  return {
    call,
    /** Makes a delimited source with the columns of the generated file. */
    createSource: async (name) => {
      const source = await call('POST', '/v2025/sources?provisionAsCsv=true', {
        name,
        owner: null,
        connector: 'delimited-file-angularsc',
        deleteThreshold: 50,
      })
      const [schema] = await call('GET', `/v2025/sources/${source.id}/schemas`)
      await call('PUT', `/v2025/sources/${source.id}/schemas/${schema.id}`, {
        ...schema,
        identityAttribute: columns[0],
        displayAttribute: columns[1],
        attributes: columns.map((column) => ({ name: column, type: 'STRING' })),
      })
      return source.id
    },
    /** Uploads a file by load-accounts and waits for the end of the task; gives the seconds from the first byte. */
    load: (sourceId, path) => loaded(() => upload(url, authorization, sourceId, path)),
    /** Starts a run of a direct source by load-accounts and waits for its end. */
    loadDirect: (sourceId) =>
      loaded(async () => (await call('POST', `/v2025/sources/${sourceId}/load-accounts`)).task),
    /** Calls an endpoint over and over until `stop`; gives the latencies in milliseconds. */
    probe: (path) => {
      const latencies = []
      let stopped = false
      const loop = async () => {
        while (!stopped) {
          const began = performance.now()
          await call('GET', path)
          latencies.push(performance.now() - began)
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
      }
      const running = loop()
      return {
        stop: async () => {
          stopped = true
          await running
          return latencies
        },
      }
    },
  }
}

function upload(url, authorization, sourceId, path) {
  const boundary = 'muster-bench'
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="hr.csv"\r\nContent-Type: text/csv\r\n\r\n`
  const tail = `\r\n--${boundary}--\r\n`
  return new Promise((resolve, reject) => {
    const call = httpRequest(
      `${url}/v2025/sources/${sourceId}/load-accounts`,
      {
        method: 'POST',
        headers: {
          authorization,
          'content-type': `multipart/form-data; boundary=${boundary}`,
          'content-length': Buffer.byteLength(head) + statSync(path).size + Buffer.byteLength(tail),
        },
      },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk) => (text += chunk))
        response.on('end', () =>
          response.statusCode === 202
            ? resolve(JSON.parse(text).task)
            : reject(new Error(`upload: ${response.statusCode} ${text}`)),
        )
      },
    )
    call.on('error', reject)
    call.write(head)
    const file = createReadStream(path, { highWaterMark: 1 << 20 })
    file.on('error', reject)
    file.on('end', () => call.end(tail))
    file.pipe(call, { end: false })
  })
}
