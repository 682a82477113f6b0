import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { readForm } from '../../src/api/multipart.ts'
import type { Form } from '../../src/api/multipart.ts'
import { RequestError } from '../../src/core/errors.ts'
import { openSpool } from '../../src/run/spool.ts'
import type { Spool } from '../../src/run/spool.ts'

const limitBytes = 5_000_000
const csv = 'id,name\r\n1,Ada\r\n2,Grace -- and --B\r\n'

let dir = ''
let spool: Spool
let server: Server
let port = 0
let refuseFile = false
/** What became of each request, whether anybody was left to read an answer or not. */
let outcomes: (Form | Error)[] = []

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'muster-form-'))
  spool = await openSpool({ dir, shared: false })
  server = createServer((incoming, response) => {
    const refuse = (): RequestError => new RequestError('file_not_allowed', 'No file here.')
    readForm(incoming, {
      fileParts: ['file', 'csvFile'],
      limitBytes,
      spool,
      pace: { windowMs: 800, bytes: 10 },
      ...(refuseFile && { refuseFile: refuse }),
    }).then(
      async (form) => {
        outcomes.push(form)
        const text =
          form.file === null ? null : await readFile(spool.path(form.file.name), 'latin1')
        response.end(
          JSON.stringify({ fields: Object.fromEntries(form.fields), file: form.file, text }),
        )
      },
      (error: unknown) => {
        outcomes.push(error instanceof Error ? error : new Error(String(error)))
        response.statusCode = error instanceof RequestError ? error.status : 500
        response.setHeader('connection', 'close')
        response.end(JSON.stringify({ error: String(error) }))
      },
    )
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  port = (server.address() as AddressInfo).port
})
afterAll(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await rm(dir, { recursive: true, force: true })
})
beforeEach(async () => {
  refuseFile = false
  outcomes = []
  for (const name of await kept()) await spool.remove(name)
})

const kept = async (): Promise<string[]> =>
  (await readdir(dir)).filter((name) => name !== 'node-id')

interface Answer {
  readonly status: number
  readonly fields?: Record<string, string>
  readonly file?: {
    readonly bytes: number
    readonly sha256: string
    readonly fileName: string | null
  } | null
  readonly text?: string | null
  readonly error?: string
}

/** Sends bytes as they are and reads the answer; `end` false leaves our side open. */
function raw(bytes: Buffer | string | readonly (Buffer | string)[], end = false): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let answer = ''
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1')
      const [head = '', body = ''] = answer.split(/\r\n\r\n(.*)/s)
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? -1)
      if (body.length < length || length < 0) return
      socket.destroy()
      const status = Number(/^HTTP\/1.1 (\d+)/.exec(head)?.[1])
      resolve({ status, ...JSON.parse(Buffer.from(body, 'latin1').toString()) })
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`closed after "${answer}"`)))
    for (const part of Array.isArray(bytes) ? bytes : [bytes]) socket.write(part)
    if (end) socket.end()
  })
}

function request(
  body: Buffer | string,
  contentType: string | null = 'multipart/form-data; boundary=B',
  extra = '',
): Promise<Answer> {
  const bytes = Buffer.from(body)
  const type = contentType === null ? '' : `Content-Type: ${contentType}\r\n`
  const head = `POST / HTTP/1.1\r\nHost: x\r\n${type}Content-Length: ${bytes.length}\r\n${extra}\r\n`
  return raw([head, bytes])
}

const filePart = (
  content = csv,
  disposition = 'form-data; name="file"; filename="hr.csv"',
): string =>
  `--B\r\nContent-Disposition: ${disposition}\r\nContent-Type: text/csv\r\n\r\n${content}\r\n`
const flagPart = '--B\r\nContent-Disposition: form-data; name="disableOptimization"\r\n\r\ntrue\r\n'

describe('a form', () => {
  it('is read whether the file stands before or after the flag', async () => {
    for (const parts of [filePart() + flagPart, flagPart + filePart()]) {
      const answer = await request(`${parts}--B--\r\n`)
      expect(answer).toMatchObject({
        status: 200,
        fields: { disableOptimization: 'true' },
        text: csv,
        file: {
          bytes: csv.length,
          fileName: 'hr.csv',
          sha256: createHash('sha256').update(csv).digest('hex'),
        },
      })
    }
  })

  it('is read as fetch sends it', async () => {
    const form = new FormData()
    form.append('disableOptimization', 'false')
    form.append('file', new Blob([csv]), 'Ünï "x".csv')
    const answer = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: form })
    expect(await answer.json()).toMatchObject({
      fields: { disableOptimization: 'false' },
      text: csv,
      file: { fileName: 'Ünï %22x%22.csv' },
    })
  })

  it('may hold a file part without a file name, longer than a field may be', async () => {
    const content = 'x'.repeat(2_000_000)
    const answer = await request(`${filePart(content, 'form-data; name="file"')}--B--`)
    expect(answer).toMatchObject({ status: 200, file: { bytes: 2_000_000, fileName: null } })
    const other = await request(`${filePart(csv, 'form-data; name=csvFile')}--B--`)
    expect(other).toMatchObject({ status: 200, text: csv })
  })

  it('is read with the odd headers of the Java utility', async () => {
    const flag =
      '--B\r\nContent-Disposition: form-data; name="disableOptimization"\r\nContent-Transfer-Encoding: binary\r\n' +
      'Content-Type: multipart/form-data; charset=utf-8\r\nContent-Length: 4\r\n\r\ntrue\r\n'
    const file = filePart(csv, 'form-data; name="file"; filename="file.csv" "')
    expect(await request(`${flag}${file}--B--\r\n`)).toMatchObject({
      status: 200,
      fields: { disableOptimization: 'true' },
      file: { fileName: 'file.csv' },
      text: csv,
    })
  })

  it('may name its boundary in quotes, in any case, after other parameters', async () => {
    const body = `${filePart()}--B--\r\n`
    for (const type of [
      'multipart/form-data; boundary="B"',
      'Multipart/Form-Data;charset=utf-8;BOUNDARY=B',
      'multipart/form-data; boundary=B; charset=utf-8',
    ]) {
      expect(await request(body, type)).toMatchObject({ status: 200, text: csv })
    }
  })

  it('may be empty in every way that clients know', async () => {
    const empty = { status: 200, fields: {}, file: null }
    expect(await request('--B--\r\n')).toMatchObject(empty)
    expect(await request('--B--')).toMatchObject(empty)
    expect(await request('')).toMatchObject(empty)
    expect(await request('', 'multipart/form-data')).toMatchObject(empty)
    const chunked = 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n'
    for (const type of ['multipart/form-data; boundary=B', 'multipart/form-data']) {
      expect(await raw(`${chunked}Content-Type: ${type}\r\n\r\n0\r\n\r\n`)).toMatchObject(empty)
    }
  })

  it('may have a preamble and an epilogue', async () => {
    const answer = await request(`hello\r\n${filePart()}--B--\r\nbye\r\n`)
    expect(answer).toMatchObject({ status: 200, text: csv })
  })

  it('holds the same bytes in whatever pieces they arrive', async () => {
    const boundary = '-----x'
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('\r', '\n', '-', '\r\n-----', '\r\n-------', 'a', 'é', ',', '"'), {
          maxLength: 60,
        }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 12 }),
        async (pieces, sizes) => {
          const content = Buffer.from(pieces.join(''))
          const body = Buffer.concat([
            Buffer.from(
              `--${boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\nva\r\n--${boundary}\r\n` +
                'Content-Disposition: form-data; name="file"; filename="x"\r\n\r\n',
            ),
            content,
            Buffer.from(
              `\r\n--${boundary}\r\nContent-Disposition: form-data; name="b"\r\n\r\n\r\n--${boundary}--\r\n`,
            ),
          ])
          const chunks: (Buffer | string)[] = [
            `POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=${boundary}\r\nTransfer-Encoding: chunked\r\n\r\n`,
          ]
          for (let at = 0, turn = 0; at < body.length; turn += 1) {
            const size = sizes[turn % sizes.length] ?? 1
            const piece = body.subarray(at, at + size)
            chunks.push(`${piece.length.toString(16)}\r\n`, piece, '\r\n')
            at += size
          }
          const answer = await raw([
            Buffer.concat([...chunks, '0\r\n\r\n'].map((c) => Buffer.from(c))),
          ])
          expect(answer).toMatchObject({ status: 200, fields: { a: 'va', b: '' } })
          expect(answer.text).toBe(content.toString('latin1'))
        },
      ),
      { numRuns: 150 },
    )
  })
})

describe('the closing delimiter', () => {
  it('may lack its last two dashes when the whole body arrived', async () => {
    for (const parts of [filePart() + flagPart, flagPart + filePart()]) {
      expect(await request(`${parts}--B`)).toMatchObject({
        status: 200,
        text: csv,
        fields: { disableOptimization: 'true' },
      })
    }
    const body = `${filePart()}--B`
    const head =
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nTransfer-Encoding: chunked\r\n\r\n'
    const chunked = `${head}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
    expect(await raw(chunked)).toMatchObject({ status: 200, text: csv })
  })

  it('is missed at every other length, and then nothing is kept', async () => {
    const whole = `${flagPart}${filePart('id\r\n1\r\n')}--B--`
    for (let length = 1; length < whole.length; length += 1) {
      if (length === whole.length - 2) continue
      // Cut after the first part's delimiter, the form is the flag alone: that is a whole form without dashes.
      if (whole.slice(0, length) === `${flagPart}--B`) continue
      const answer = await request(whole.slice(0, length))
      expect([length, answer.status, answer.error]).toEqual([length, 400, expect.any(String)])
    }
    expect(await kept()).toEqual([])
  })

  it('does not count when the client went away, at whatever point it did', async () => {
    const body = `${filePart('x'.repeat(300_000))}--B`
    const head = `POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n`
    const points = [0, 10, 150_000, body.length - 3, body.length]
    for (const sent of points) {
      // The length announces the two dashes that never come, so the body that ends with the delimiter is cut too.
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      socket.write(`${head}Content-Length: ${body.length + 2}\r\n\r\n${body.slice(0, sent)}`)
      await pause(60)
      socket.destroy()
    }
    await expect.poll(() => outcomes.length).toBe(points.length)
    for (const outcome of outcomes) expect(outcome).toMatchObject({ name: 'BodyCutOff' })
    expect(await kept()).toEqual([])
  })

  it('does not count when chunks end without the last one', async () => {
    const body = `${filePart()}--B--\r\n`
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.end(
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nTransfer-Encoding: chunked\r\n\r\n' +
        `${body.length.toString(16)}\r\n${body}\r\n`,
    )
    await expect.poll(() => outcomes.length).toBe(1)
    expect(outcomes[0]).toMatchObject({ status: 400 })
    expect(await kept()).toEqual([])
  })
})

describe('a form that is refused', () => {
  const refusals: [string, string, RegExp][] = [
    ['two files', `${filePart()}${filePart()}--B--`, /more than one file/],
    [
      'ten thousand fields',
      Array.from({ length: 10_000 }, (_, at) => flagPart.replace('disable', `f${at}`)).join(''),
      /more than 20 parts/,
    ],
    ['the same field twice', `${flagPart}${flagPart}--B--`, /"disableOptimization" twice/],
    [
      'a field name of a megabyte',
      `--B\r\nContent-Disposition: form-data; name="${'n'.repeat(1_000_000)}"\r\n\r\nx\r\n--B--`,
      /header of part 1 is longer/,
    ],
    [
      'a long field name',
      `--B\r\nContent-Disposition: form-data; name="${'n'.repeat(101)}"\r\n\r\nx\r\n--B--`,
      /longer than 100 characters/,
    ],
    [
      'a header of 64 KB after the name',
      `--B\r\nContent-Disposition: form-data; name="file"; filename="x"\r\nX-Big: ${'h'.repeat(65_536)}\r\n\r\nid\r\n--B--`,
      /header of part 1 is longer/,
    ],
    [
      'a header of 64 KB before the name',
      `--B\r\nX-Big: ${'h'.repeat(65_536)}\r\nContent-Disposition: form-data; name="file"\r\n\r\nid\r\n--B--`,
      /header of part 1 is longer/,
    ],
    [
      'a header of many lines',
      `--B\r\nContent-Disposition: form-data; name="file"\r\n${'A: b\r\n'.repeat(2000)}\r\nid\r\n--B--`,
      /header of part 1 is longer/,
    ],
    [
      'a nested form',
      '--B\r\nContent-Disposition: form-data; name="x"\r\nContent-Type: multipart/mixed; boundary=I\r\n\r\n--I--\r\n--B--',
      /nested/,
    ],
    [
      'a part without a name',
      '--B\r\nContent-Type: text/csv\r\n\r\nid\r\n--B--',
      /Part 1 .* names it/,
    ],
    ['a part without a header', '--B\r\nid,name\r\n--B--', /Part 1 .* header/],
    [
      'a file in another part',
      filePart(csv, 'form-data; name="data"; filename="x.csv"'),
      /"data".*"file"/,
    ],
    ['a long field', flagPart.replace('true', 't'.repeat(70_000)), /longer than 65536 bytes/],
    ['an object instead of a stream', `${filePart('[object Object]')}--B--`, /\[object Object\]/],
    [
      'base64',
      filePart().replace('text/csv', 'text/csv\r\nContent-Transfer-Encoding: base64'),
      /base64/,
    ],
    ['another boundary', filePart().replaceAll('--B', '--C'), /does not occur/],
    ['no form at all', 'id,name\r\n1,Ada\r\n', /does not occur/],
  ]
  for (const [what, body, reason] of refusals) {
    it(`for ${what} says so and keeps nothing`, async () => {
      const answer = await request(body)
      expect(answer.status).toBe(400)
      expect(answer.error).toMatch(reason)
      expect(await kept()).toEqual([])
    })
  }

  it('for a missing boundary says how one comes there', async () => {
    for (const type of [
      'multipart/form-data',
      'multipart/form-data; boundary=',
      `multipart/form-data; boundary=${'b'.repeat(300)}`,
    ]) {
      const answer = await request(`${filePart()}--B--`, type)
      expect(answer.status).toBe(400)
      expect(answer.error).toMatch(/no usable boundary/)
    }
  })

  it('for one byte above the limit, and not for the limit', async () => {
    const most = await request(`${filePart('x'.repeat(limitBytes))}--B--`)
    expect(most).toMatchObject({ status: 200, file: { bytes: limitBytes } })
    await Promise.all((await kept()).map((name) => spool.remove(name)))
    const over = await request(`${filePart('x'.repeat(limitBytes + 1))}--B--`)
    expect(over.status).toBe(413)
    expect(over.error).toContain(`${limitBytes} bytes`)
    expect(await kept()).toEqual([])
  })

  it('for framing that never ends', async () => {
    const answer = await request('preamble'.repeat(700_000))
    expect(answer.status).toBe(413)
  })

  it('for a file where there may be none, before the file is there', async () => {
    refuseFile = true
    const whole = Buffer.from(`${filePart()}--B--`)
    const head = `POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 4000000\r\n\r\n`
    const answer = await raw([head, whole.subarray(0, 150)])
    expect(answer).toMatchObject({ status: 400, error: expect.stringContaining('No file here') })
    expect(await request(`${flagPart}--B--`)).toMatchObject({ status: 200, file: null })
  })

  it('for a body that stalls or drips, but not for one that is merely slow', async () => {
    const body = `${filePart('x'.repeat(60))}--B--`
    const head = `POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: ${body.length}\r\n\r\n`
    const stalled = raw([head, body.slice(0, 120)])
    const slow = new Promise<string>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      const send = async (): Promise<void> => {
        socket.write(head)
        for (let at = 0; at < body.length; at += 10) {
          socket.write(body.slice(at, at + 10))
          await pause(100)
        }
      }
      send().catch(reject)
      socket.on('data', (chunk) => {
        resolve(chunk.toString())
        socket.destroy()
      })
      socket.on('error', reject)
    })
    expect(await stalled).toMatchObject({ status: 400, error: expect.stringContaining('stalled') })
    expect(await slow).toContain('200 OK')
  })
})

describe('the name of a file', () => {
  const names: [string, string][] = [
    ['filename="../../etc/passwd"', 'passwd'],
    ['filename="C:\\data\\x.csv"', 'x.csv'],
    ['filename="a\\"b.csv"', 'a"b.csv'],
    ['filename="\u0007bell\u202Etxt.csv"', '\\u0007bell\\u202etxt.csv'],
    ['filename="x"; filename*=UTF-8\'\'na%C3%AFve%0A.csv', 'naïve\\u000a.csv'],
    ["filename*=UTF-8''%ZZ; filename=plain.csv", 'plain.csv'],
    ['filename="日本.csv"', '日本.csv'],
  ]
  for (const [given, shown] of names) {
    it(`is only a label: ${JSON.stringify(given)}`, async () => {
      const answer = await request(`${filePart(csv, `form-data; name="file"; ${given}`)}--B--`)
      expect(answer).toMatchObject({ status: 200, file: { fileName: shown } })
      expect((await kept()).every((name) => /^upload-[0-9a-f]{32}$/.test(name))).toBe(true)
    })
  }

  it('has an end', async () => {
    const given = `form-data; name="file"; filename="${'n'.repeat(10_000)}"`
    const answer = await request(`${filePart(csv, given)}--B--`)
    expect(answer.status).toBe(200)
    expect(answer.file?.fileName).toHaveLength(255)
  })

  it('cannot add a header line', async () => {
    const given = 'form-data; name="file"; filename="a\r\nSet-Cookie: x"'
    const answer = await request(`${filePart(csv, given)}--B--`)
    expect([200, 400]).toContain(answer.status)
  })
})
