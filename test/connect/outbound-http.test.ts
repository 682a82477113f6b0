// HTTP through the way out, against servers on loopback that answer well, too much, too late, half, or with redirects.
import { once } from 'node:events'
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { openOutbound, type Outbound, type OutboundRequest } from '../../src/connect/outbound.ts'
import { RunError } from '../../src/core/errors.ts'
import { makeAuthority } from '../support/certificates.ts'

const closers: (() => void)[] = []
afterAll(() => {
  for (const close of closers.toReversed()) close()
})

interface Web {
  readonly url: string
  /** Connections that were opened, and those that are open. */
  readonly connections: { opened: number; open: number }
  readonly requests: IncomingMessage[]
}

async function listen(
  server: ReturnType<typeof createServer>,
  connections: Web['connections'],
): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    connections.opened += 1
    connections.open += 1
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => {
      connections.open -= 1
      sockets.delete(socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}

/** A web server with one way to answer. */
async function serve(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Web> {
  const connections = { opened: 0, open: 0 }
  const requests: IncomingMessage[] = []
  const server = createHttp((request, response) => {
    requests.push(request)
    answer(request, response)
  })
  const port = await listen(server, connections)
  return { url: `http://127.0.0.1:${port}/`, connections, requests }
}

/** A server that sends these bytes for every request and then ends the connection. */
async function serveBytes(bytes: string): Promise<Web> {
  const connections = { opened: 0, open: 0 }
  const server = createServer((socket) => {
    socket.once('data', () => socket.end(bytes))
  })
  const port = await listen(server, connections)
  return { url: `http://127.0.0.1:${port}/`, connections, requests: [] }
}

function outbound(): Outbound {
  const opened = openOutbound({ allowLoopback: true, allowed: [] })
  closers.push(opened.close)
  return opened
}

async function textOf(options: OutboundRequest, open = outbound()): Promise<string> {
  return (await open.request(options)).text()
}

async function errorOf(work: Promise<unknown>): Promise<RunError> {
  const error = await work.then(
    () => new Error('nothing was thrown'),
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof RunError)) throw error
  expect(error.hint).not.toBe('')
  return error
}

async function told(work: Promise<unknown>): Promise<readonly [string, boolean]> {
  const error = await errorOf(work)
  return [error.code, error.temporary]
}

describe('requests', () => {
  it('send what is given, and give status, headers and body', async () => {
    const web = await serve((request, response) => {
      response.writeHead(201, { 'X-One': ['a', 'b'], 'content-type': 'text/plain' })
      request.pipe(response)
    })
    const headers = { Authorization: 'Bearer abc', 'Accept-Encoding': 'gzip' }
    const url = `${web.url}a%20b?c=d#e`
    const answer = await outbound().request({ url, method: 'POST', headers, body: 'Grüße' })
    expect(answer.status).toBe(201)
    expect(answer.headers).toMatchObject({ 'x-one': 'a, b', 'content-type': 'text/plain' })
    expect(await answer.text()).toBe('Grüße')
    const [request] = web.requests
    expect([request?.method, request?.url]).toEqual(['POST', '/a%20b?c=d'])
    expect(request?.headers).toMatchObject({
      authorization: 'Bearer abc',
      'accept-encoding': 'identity',
      'content-length': '7',
    })
  })

  it('keep connections for further requests', async () => {
    const web = await serve((_, response) => response.end('x'))
    const open = outbound()
    for (let time = 0; time < 5; time += 1) await textOf({ url: web.url }, open)
    expect(web.connections.opened).toBe(1)
    open.close()
    await expect.poll(() => web.connections.open).toBe(0)
  })

  it('go over a new connection when the kept one is gone', async () => {
    const connections = { opened: 0, open: 0 }
    const server = createServer((socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx')
        socket.once('data', () => socket.resetAndDestroy())
      })
    })
    const url = `http://127.0.0.1:${await listen(server, connections)}/`
    const open = outbound()
    for (let time = 0; time < 3; time += 1) expect(await textOf({ url }, open)).toBe('x')
    expect(connections.opened).toBe(3)
  })

  it('wait for a place when too many are under way', async () => {
    let most = 0
    let now = 0
    const web = await serve((_, response) => {
      now += 1
      most = Math.max(most, now)
      setTimeout(() => {
        now -= 1
        response.end('x')
      }, 20)
    })
    const open = outbound()
    const all = Array.from({ length: 50 }, () => textOf({ url: web.url }, open))
    expect(await Promise.all(all)).toHaveLength(50)
    expect(most).toBeLessThanOrEqual(16)
    expect(web.connections.opened).toBeLessThanOrEqual(50)
  })

  it('cannot be made to say something else by a line break', async () => {
    const web = await serve((_, response) => response.end('x'))
    const headers = { authorization: 'Bearer secret-1\r\nx-more: 1' }
    const error = await errorOf(outbound().request({ url: web.url, headers }))
    expect([error.code, error.temporary]).toEqual(['bad_setting', false])
    expect(`${error.message}${error.hint}${String(error.cause)}`).not.toContain('secret-1')
    expect(web.requests).toHaveLength(0)
  })
})

describe('caps', () => {
  it('refuse a body that says that it is too large, without reading it', async () => {
    const web = await serve((_, response) => {
      response.writeHead(200, { 'content-length': String(5e9) })
      response.flushHeaders()
    })
    expect(await told(outbound().request({ url: web.url }))).toEqual(['answer_too_large', false])
    await expect.poll(() => web.connections.open).toBe(0)
  })

  it('end a body that grows too large, however it comes', async () => {
    let sent = 0
    const web = await serve((_, response) => {
      const block = Buffer.alloc(65_536, 'x')
      const send = (): void => {
        while (!response.destroyed && response.write(block)) sent += block.length
        if (!response.destroyed) response.once('drain', send)
      }
      send()
    })
    const work = textOf({ url: web.url, limitBytes: 1 << 20 })
    expect(await told(work)).toEqual(['answer_too_large', false])
    await expect.poll(() => web.connections.open).toBe(0)
    expect(sent).toBeLessThan(64 << 20)
  })

  it('take a body of exactly the limit', async () => {
    const web = await serve((_, response) => response.end('12345'))
    expect(await textOf({ url: web.url, limitBytes: 5 })).toBe('12345')
    expect((await errorOf(textOf({ url: web.url, limitBytes: 4 }))).code).toBe('answer_too_large')
  })

  it('end the wait for an answer that does not come', async () => {
    const web = await serve(() => {})
    const work = outbound().request({ url: web.url, silenceMs: 100 })
    expect(await told(work)).toEqual(['silent', true])
    await expect.poll(() => web.connections.open).toBe(0)
  })

  it('end the wait for the rest of an answer', async () => {
    const web = await serve((_, response) => response.write('begin'))
    expect(await told(textOf({ url: web.url, silenceMs: 100 }))).toEqual(['silent', true])
    await expect.poll(() => web.connections.open).toBe(0)
  })

  it('take every byte as a sign of life', async () => {
    const web = await serve((_, response) => {
      let sent = 0
      const timer = setInterval(() => {
        sent += 1
        if (sent < 10) response.write('x')
        else response.end('x')
        if (sent === 10) clearInterval(timer)
      }, 50)
    })
    expect(await textOf({ url: web.url, silenceMs: 250 })).toBe('x'.repeat(10))
  })

  it('do not count the time that the consumer takes, and hold the server back meanwhile', async () => {
    let sent = 0
    const web = await serve((_, response) => {
      const block = Buffer.alloc(65_536, 'x')
      const send = (): void => {
        do sent += block.length
        while (sent < 64 << 20 && response.write(block))
        if (sent < 64 << 20) response.once('drain', send)
        else response.end(block)
      }
      send()
    })
    const answer = await outbound().request({ url: web.url, silenceMs: 200, limitBytes: 1 << 30 })
    let bytes = 0
    for await (const chunk of answer.body) {
      if (bytes === 0) {
        await new Promise((resolve) => setTimeout(resolve, 500))
        expect(sent).toBeLessThan(32 << 20)
      }
      bytes += chunk.length
    }
    expect(bytes).toBe(64 << 20)
  })

  it('end at once by the signal, before the answer and within it', async () => {
    const web = await serve((request, response) => {
      if (request.url === '/begin') response.write('begin')
    })
    for (const path of ['nothing', 'begin']) {
      const abort = new AbortController()
      setTimeout(() => abort.abort(new Error('nobody waits')), 50)
      const work = textOf({ url: `${web.url}${path}`, signal: abort.signal })
      await expect(work).rejects.toThrow('nobody waits')
      await expect.poll(() => web.connections.open).toBe(0)
    }
  })

  it('free the connection of an answer that is closed or left', async () => {
    const web = await serve((_, response) => response.write('begin'))
    const open = outbound()
    const closed = await open.request({ url: web.url })
    closed.close()
    await expect.poll(() => web.connections.open).toBe(0)
    const reading = await open.request({ url: web.url })
    setTimeout(() => reading.close(), 50)
    expect(await told(reading.text())).toEqual(['answer_broken', true])
    await expect.poll(() => web.connections.open).toBe(0)
    const left = await open.request({ url: web.url })
    for await (const chunk of left.body) {
      expect(chunk.length).toBe(5)
      break
    }
    await expect.poll(() => web.connections.open).toBe(0)
  })
})

describe('broken answers', () => {
  it.each([
    ['less than the content-length', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345'],
    [
      'chunks without an end',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n',
    ],
    ['a chunk that is cut', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n12345'],
    ['headers that are cut', 'HTTP/1.1 200 OK\r\ncontent-len'],
    ['nothing', ''],
    ['another protocol', '220 mail.example ESMTP\r\n'],
    ['headers without an end', `HTTP/1.1 200 OK\r\n${'x-more: 1234567890\r\n'.repeat(5000)}`],
  ])('are errors: %s', async (_, bytes) => {
    const web = await serveBytes(bytes)
    expect(await told(textOf({ url: web.url }))).toEqual(['answer_broken', true])
  })

  it('are compressed ones, and ones that are not UTF-8', async () => {
    const compressed = await serve((_, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('x'))
    })
    const error = await errorOf(outbound().request({ url: compressed.url }))
    expect([error.code, error.temporary]).toEqual(['answer_broken', false])
    expect(error.message).toContain('gzip')
    const latin = await serve((request, response) => {
      response.writeHead(request.url === '/error' ? 500 : 200).end(Buffer.from([0x61, 0xe4]))
    })
    expect(await told(textOf({ url: latin.url }))).toEqual(['answer_broken', false])
    // What an error says is for people, who can do with a few wrong characters.
    expect(await textOf({ url: `${latin.url}error` })).toBe('a\uFFFD')
  })
})

describe('redirects', () => {
  const redirect = (status: number, location: string) =>
    serve((request, response) => {
      if (request.url === '/there') response.end('there')
      else response.writeHead(status, { location }).end('moved')
    })

  it('are followed within the same origin', async () => {
    for (const status of [301, 302, 303, 307, 308]) {
      const web = await redirect(status, '/there')
      const headers = { authorization: 'Bearer abc' }
      expect(await textOf({ url: web.url, headers })).toBe('there')
      expect(web.requests.at(-1)?.headers.authorization).toBe('Bearer abc')
    }
  })

  it('are refused to any other origin, naming only the host', async () => {
    const other = await serve((_, response) => response.end('never'))
    const places = [
      'http://169.254.169.254/latest/meta-data/?token=secret-2',
      'https://login.example/secret-2',
      '//login.example/secret-2',
      `${other.url}secret-2`,
      'file:///etc/passwd?secret-2',
      'gopher://secret-2.example/',
      'http://[secret-2',
    ]
    for (const place of places) {
      const web = await redirect(302, place)
      const error = await errorOf(outbound().request({ url: web.url }))
      expect([place, error.code, error.temporary]).toEqual([place, 'redirect_refused', false])
      if (!place.startsWith('gopher')) expect(error.message).not.toContain('secret-2')
    }
    expect(other.requests).toHaveLength(0)
  })

  it('are refused without a place, with credentials, for a POST, and for ever', async () => {
    const loop = await redirect(302, '/again')
    expect(await told(outbound().request({ url: loop.url }))).toEqual(['redirect_refused', false])
    expect(loop.requests).toHaveLength(6)
    const post = await redirect(307, '/there')
    const posted = outbound().request({ url: post.url, method: 'POST', body: 'x' })
    expect(await told(posted)).toEqual(['redirect_refused', false])
    expect(post.requests).toHaveLength(1)
    const nowhere = await serve((_, response) => response.writeHead(302).end())
    expect((await errorOf(outbound().request({ url: nowhere.url }))).code).toBe('redirect_refused')
    const credentials = await serve((request, response) => {
      const location = `http://user:secret-3@${request.headers.host}/there`
      response.writeHead(302, { location }).end()
    })
    const error = await errorOf(outbound().request({ url: credentials.url }))
    expect(error.code).toBe('redirect_refused')
    expect(error.message).not.toContain('secret-3')
  })

  it('are refused from https to http', async () => {
    const authority = makeAuthority()
    closers.push(authority.close)
    const plain = await serve((_, response) => response.end('never'))
    const connections = { opened: 0, open: 0 }
    const server = createHttps(authority.issue(['DNS:localhost']), (_, response) => {
      response.writeHead(302, { location: plain.url.replace('127.0.0.1', 'localhost') }).end()
    })
    const url = `https://localhost:${await listen(server, connections)}/`
    const work = outbound().request({ url, tls: { ca: authority.ca } })
    expect((await errorOf(work)).code).toBe('redirect_refused')
    expect(plain.requests).toHaveLength(0)
  })
})
