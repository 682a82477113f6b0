// Requests that two programs could read differently: each is refused whole, and nothing in its body is taken for another
// request. The token is good, so that only the framing can be what is refused.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startApi } from './api-server.ts'
import type { TestApi } from './api-server.ts'
import { sendRaw } from './raw-http.ts'
import { sampleRoutes } from './sample-routes.ts'

let api: TestApi
let bearer: string

beforeAll(async () => {
  api = await startApi({ routes: sampleRoutes })
  bearer = `Bearer ${await api.token()}`
})
afterAll(() => api.close())

const head = (...lines: readonly string[]): string =>
  ['POST /beta/sources HTTP/1.1', 'Host: x', `Authorization: ${bearer}`, ...lines, '', ''].join(
    '\r\n',
  )
const chunks = '2\r\n{}\r\n0\r\n\r\n'
const chunked = 'Transfer-Encoding: chunked'

const cases: Readonly<Record<string, () => string>> = {
  'a length and then chunks': () => head('Content-Length: 4', chunked) + chunks,
  'chunks and then a length': () => head(chunked, 'Content-Length: 4') + chunks,
  'two lengths that differ': () => `${head('Content-Length: 2', 'Content-Length: 3')}{}`,
  'two lengths that agree': () => `${head('Content-Length: 2', 'Content-Length: 2')}{}`,
  'a list of lengths': () => `${head('Content-Length: 2, 2')}{}`,
  'a length with a sign': () => `${head('Content-Length: +2')}{}`,
  'a length below nothing': () => `${head('Content-Length: -2')}{}`,
  'a length in hexadecimal digits': () => `${head('Content-Length: 0x2')}{}`,
  'chunks that are not the last encoding': () => head(`${chunked}, identity`) + chunks,
  'an encoding that only looks like chunks': () => head('Transfer-Encoding: xchunked') + chunks,
  'a space before the colon': () => head('Transfer-Encoding : chunked') + chunks,
  'a header that goes on in the next line': () => head('X: a\r\n Content-Length: 2'),
  'a chunk below nothing': () => `${head(chunked)}-2\r\n{}\r\n0\r\n\r\n`,
  'a chunk beyond 64 bits': () => `${head(chunked)}FFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n`,
  'a chunk size that ends in a line feed alone': () => `${head(chunked)}2\n{}\r\n0\r\n\r\n`,
  'NUL in a header': () => head('X: a\0b'),
  'a carriage return alone in a header': () => head('X: a\rContent-Length: 2'),
  'a header without a colon': () => head('Content-Length'),
  'HTTP/0.9': () => 'GET /beta/sources\r\n\r\n',
  'the preface of HTTP/2': () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
}

it.each(Object.entries(cases))('%s is refused, and the connection ends', async (_name, bytes) => {
  const hidden = `GET /muster/v1/audit?hidden HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer}\r\n\r\n`
  const answer = await sendRaw(api.port, bytes() + hidden, 5_000)
  expect(answer.status).toBe(400)
  expect(JSON.parse(answer.body)).toMatchObject({ detailCode: '400.1 Bad request content' })
  expect(answer.text.match(/HTTP\/1\.1 \d/g)).toHaveLength(1)
  expect(api.log()).not.toContain('/muster/v1/audit?hidden')
})

it('what is odd and right is taken once: extensions of chunks, and requests one after the other', async () => {
  const body = '{"name":"x"}'
  const length = body.length.toString(16)
  const first = head('Content-Type: application/json', chunked, 'X: 1')
  const last = `GET /beta/sources HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer}\r\nConnection: close\r\n\r\n`
  const answer = await sendRaw(
    api.port,
    `${first}${length};a=b\r\n${body}\r\n0\r\n\r\n${last}`,
    5_000,
  )
  expect(answer.text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 201', 'HTTP/1.1 200'])
})
