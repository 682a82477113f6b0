// The way out, against real servers on loopback: which addresses are reached (S14 of the faults), TLS, and StartTLS.
import { once } from 'node:events'
import { createServer as createHttp, type Server as HttpServer } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTls, TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openOutbound, type Outbound } from '../../src/connect/outbound.ts'
import { RunError } from '../../src/core/errors.ts'
import { type Authority, type Certificate, makeAuthority } from '../support/certificates.ts'

const closers: (() => void)[] = []
afterAll(() => {
  for (const close of closers.toReversed()) close()
})

async function listen(server: Server | HttpServer, host = '127.0.0.1'): Promise<number> {
  server.listen(0, host)
  await once(server, 'listening')
  closers.push(() => {
    server.close()
    if ('closeAllConnections' in server) server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}

function outbound(
  given: Partial<Outbound['policy']> = {},
  resolve?: (host: string) => Promise<readonly string[]>,
): Outbound {
  const opened = openOutbound({ allowLoopback: false, allowed: [], ...given }, resolve)
  closers.push(opened.close)
  return opened
}

async function errorOf(work: Promise<unknown>): Promise<RunError> {
  try {
    await work
  } catch (error) {
    if (error instanceof RunError) {
      expect(error.hint).not.toBe('')
      return error
    }
    throw error
  }
  throw new Error('nothing was thrown')
}

let port = 0
let connections = 0
let authority: Authority
let good: Certificate
beforeAll(async () => {
  authority = makeAuthority()
  closers.push(authority.close)
  good = authority.issue(['DNS:localhost', 'IP:127.0.0.1'])
  const server = createHttp((_, response) => {
    response.end('here')
  })
  server.on('connection', () => {
    connections += 1
  })
  port = await listen(server)
})

const linkLocal = [
  '169.254.169.254',
  '2852039166',
  '0xa9fea9fe',
  '169.254.43518',
  '0251.0376.0251.0376',
  '::ffff:169.254.169.254',
  '::ffff:a9fe:a9fe',
  '64:ff9b::a9fe:a9fe',
  '2002:a9fe:a9fe::1',
  'fe80::1',
]
const neverReached = [
  ...linkLocal,
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
  'fd00:ec2::254',
  '0.0.0.0',
  '0',
  '::',
  '224.0.0.1',
  'ff02::1',
  '255.255.255.255',
  '240.0.0.1',
]
const loopback = [
  '127.0.0.1',
  '127.1',
  '0x7f000001',
  '2130706433',
  '0177.0.0.1',
  '127.8.9.10',
  'localhost',
  '::1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
]

function inUrl(host: string): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}/`
}

describe('addresses', () => {
  it('never reaches link-local, metadata and other special addresses, whatever is allowed', async () => {
    const before = connections
    const open = outbound({ allowLoopback: true, allowed: ['0.0.0.0/0', '::/0', ...neverReached] })
    for (const host of neverReached) {
      const bySocket = await errorOf(open.connect({ host, port, tls: null }))
      expect([host, bySocket.code, bySocket.temporary]).toEqual([host, 'address_refused', false])
      const byUrl = await errorOf(open.request({ url: inUrl(host) }))
      expect([host, byUrl.code]).toEqual([host, 'address_refused'])
    }
    expect(connections).toBe(before)
  })

  it('reaches loopback in no spelling unless it is allowed', async () => {
    const before = connections
    const closed = outbound()
    for (const host of loopback) {
      const bySocket = await errorOf(closed.connect({ host, port, tls: null }))
      expect([host, bySocket.code]).toEqual([host, 'address_refused'])
      expect(bySocket.hint).toContain('MUSTER_ALLOW_PRIVATE_ADDRESSES')
      const byUrl = await errorOf(closed.request({ url: inUrl(host) }))
      expect([host, byUrl.code]).toEqual([host, 'address_refused'])
    }
    // An allow-list takes away and never adds.
    const listed = outbound({ allowed: ['127.0.0.0/8', 'localhost'] })
    expect((await errorOf(listed.request({ url: inUrl('localhost') }))).code).toBe(
      'address_refused',
    )
    expect(connections).toBe(before)
  })

  it('reaches loopback in every spelling when it is allowed', async () => {
    const open = outbound({ allowLoopback: true })
    for (const host of ['127.0.0.1', '127.1', '0x7f000001', '2130706433', 'localhost']) {
      const socket = await open.connect({ host, port, tls: null })
      expect([host, socket.remoteAddress]).toEqual([host, '127.0.0.1'])
      socket.destroy()
      expect(await (await open.request({ url: inUrl(host) })).text()).toBe('here')
    }
  })

  it('may reach private ranges', async () => {
    // Whether anything answers there is for the network of this machine to say.
    const options = { host: '::ffff:10.255.255.1', port: 9, tls: null, timeoutMs: 50 }
    const outcome = await outbound()
      .connect(options)
      .catch((error: unknown) => error)
    if (outcome instanceof RunError) expect(outcome.code).toBe('connect_failed')
    else expect((outcome as Socket).destroy().destroyed).toBe(true)
  })

  it('connects to the address that was judged: a name is resolved once for a connection', async () => {
    const asked: string[] = []
    const flipping = outbound({ allowLoopback: true }, async (host) => {
      asked.push(host)
      return asked.length === 1 ? ['127.0.0.1'] : ['169.254.169.254']
    })
    const socket = await flipping.connect({ host: 'flips.example', port, tls: null })
    expect(socket.remoteAddress).toBe('127.0.0.1')
    socket.destroy()
    expect(asked).toEqual(['flips.example'])
    const error = await errorOf(flipping.request({ url: `http://flips.example:${port}/` }))
    expect(error.code).toBe('address_refused')
    expect(error.message).toContain('169.254.169.254')
  })

  it('tries only the allowed addresses of a name, one after the other', async () => {
    // The first would answer, and nothing listens on the second.
    const other = createServer()
    other.listen(port, '127.0.0.9')
    await once(other, 'listening')
    const addresses = ['127.0.0.9', '127.0.0.2', '127.0.0.1']
    const policy = { allowLoopback: true, allowed: ['127.0.0.0/29'] }
    const several = outbound(policy, async () => addresses)
    const socket = await several.connect({ host: 'several.example', port, tls: null })
    expect(socket.remoteAddress).toBe('127.0.0.1')
    socket.destroy()
    other.close()
  })

  it('reaches only what an allow-list names', async () => {
    const policy = { allowLoopback: true, allowed: ['127.0.0.0/24', 'localhost'] }
    const listed = outbound(policy)
    expect(await (await listed.request({ url: inUrl('localhost') })).text()).toBe('here')
    const error = await errorOf(listed.request({ url: inUrl('127.0.1.1') }))
    expect(error.code).toBe('address_refused')
    expect(error.hint).toContain('MUSTER_ALLOWED_ADDRESSES')
    const named = outbound({ ...policy, allowed: ['a.example'] }, async () => ['127.0.0.1'])
    expect(await (await named.request({ url: `http://a.example:${port}` })).text()).toBe('here')
    const other = await errorOf(named.request({ url: `http://b.example:${port}` }))
    expect(other.code).toBe('address_refused')
  })

  it('says what is wrong with a name or a port, and that a later attempt may do better', async () => {
    const open = outbound({ allowLoopback: true })
    const unknown = await errorOf(open.connect({ host: 'nothing.invalid', port, tls: null }))
    expect([unknown.code, unknown.temporary]).toEqual(['name_unknown', true])
    const server = createServer()
    const closedPort = await listen(server)
    server.close()
    const failed = await errorOf(open.connect({ host: 'localhost', port: closedPort, tls: null }))
    expect([failed.code, failed.temporary]).toEqual(['connect_failed', true])
    expect(failed.message).toContain(`localhost:${closedPort}`)
  })

  it('opens no URL but of HTTP, and none with credentials', async () => {
    const open = outbound({ allowLoopback: true })
    const urls = ['file:///etc/passwd', 'gopher://127.0.0.1/', 'ftp://x/', 'data:,x', 'x', '']
    for (const url of [...urls, `http://user:secret1@127.0.0.1:${port}/`]) {
      const error = await errorOf(open.request({ url }))
      expect([url, error.code]).toEqual([url, 'address_refused'])
      expect(error.message).not.toContain('secret1')
    }
  })

  it('gives up at once when the signal is aborted', async () => {
    const signal = AbortSignal.abort(new Error('nobody waits'))
    const before = connections
    const open = outbound({ allowLoopback: true })
    await expect(open.connect({ host: 'localhost', port, tls: null, signal })).rejects.toThrow(
      'nobody waits',
    )
    await expect(open.request({ url: inUrl('localhost'), signal })).rejects.toThrow('nobody waits')
    expect(connections).toBe(before)
    const abort = new AbortController()
    const stuck = outbound({}, () => new Promise(() => {}))
    const waiting = stuck.connect({ host: 'stuck.example', port, tls: null, signal: abort.signal })
    setTimeout(() => abort.abort(new Error('nobody waits')), 20)
    await expect(waiting).rejects.toThrow('nobody waits')
  })
})

async function startHttps(
  certificate: Certificate,
  more: Readonly<Record<string, unknown>> = {},
): Promise<{ readonly port: number; readonly requests: () => number }> {
  let requests = 0
  const server = createHttps({ ...certificate, ...more }, (_, response) => {
    requests += 1
    response.end('secure')
  })
  server.on('tlsClientError', () => {})
  return { port: await listen(server), requests: () => requests }
}

describe('TLS', () => {
  const open = (): Outbound => outbound({ allowLoopback: true })

  it('trusts the given CA, by name and by address', async () => {
    const server = await startHttps(good)
    const tls = { ca: authority.ca }
    for (const host of ['localhost', '127.0.0.1']) {
      const answer = await open().request({ url: `https://${host}:${server.port}/`, tls })
      expect(await answer.text()).toBe('secure')
      const socket = await open().connect({ host, port: server.port, tls })
      expect(socket instanceof TLSSocket && socket.authorized).toBe(true)
      socket.destroy()
    }
  })

  it('refuses certificates that nobody trusts, of other names, or expired, before anything is sent', async () => {
    const other = makeAuthority()
    closers.push(other.close)
    const tls = { ca: authority.ca }
    const cases = [
      { certificate: good, tls: {} },
      { certificate: good, tls: { ca: other.ca } },
      { certificate: authority.issue(['DNS:elsewhere.example']), tls },
      { certificate: authority.issue(['DNS:localhost'], -1), tls },
      { certificate: good, tls: { ...tls, servername: 'elsewhere.example' } },
    ]
    for (const given of cases) {
      const server = await startHttps(given.certificate)
      const url = `https://localhost:${server.port}/`
      const byUrl = await errorOf(open().request({ url, tls: given.tls }))
      expect([byUrl.code, byUrl.temporary]).toEqual(['certificate_refused', false])
      const options = { host: 'localhost', port: server.port, tls: given.tls }
      expect((await errorOf(open().connect(options))).code).toBe('certificate_refused')
      expect(server.requests()).toBe(0)
    }
  })

  it('takes the name in the certificate from the settings where it is not the host', async () => {
    const server = await startHttps(authority.issue(['DNS:elsewhere.example']))
    const tls = { ca: authority.ca, servername: 'elsewhere.example' }
    const answer = await open().request({ url: `https://localhost:${server.port}/`, tls })
    expect(await answer.text()).toBe('secure')
  })

  it('does not lend a kept connection to a request that trusts less', async () => {
    const server = await startHttps(good)
    const shared = open()
    const url = `https://localhost:${server.port}/`
    await (await shared.request({ url, tls: { ca: authority.ca } })).text()
    expect((await errorOf(shared.request({ url }))).code).toBe('certificate_refused')
  })

  it('speaks no TLS before 1.2', async () => {
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }
    const server = await startHttps(good, old)
    const options = { host: 'localhost', port: server.port, tls: { ca: authority.ca } }
    const error = await errorOf(open().connect(options))
    expect([error.code, error.temporary]).toEqual(['tls_failed', false])
  })

  it('says that a port speaks no TLS', async () => {
    const chatty = createServer((socket) => {
      socket.on('error', () => {})
      socket.write('220 welcome to something else\r\n')
    })
    const options = { host: 'localhost', port: await listen(chatty), tls: {} }
    expect((await errorOf(open().connect(options))).code).toBe('tls_failed')
    const mute = createServer((socket) => closers.push(() => socket.destroy()))
    const waiting = { host: 'localhost', port: await listen(mute), tls: {}, timeoutMs: 100 }
    expect((await errorOf(open().connect(waiting))).code).toBe('connect_failed')
  })

  it('says that a CA is no certificate', async () => {
    for (const ca of ['nonsense', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----']) {
      const error = await errorOf(open().connect({ host: 'localhost', port, tls: { ca } }))
      expect(error.code).toBe('bad_setting')
    }
  })
})

describe('StartTLS', () => {
  /** A server that begins TLS when it is told so. */
  async function startUpgrading(certificate: Certificate): Promise<number> {
    const secure = createTls(certificate, (socket) => {
      socket.end('secure')
    })
    secure.on('tlsClientError', () => {})
    closers.push(() => secure.close())
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => {
        socket.write('ready')
        secure.emit('connection', socket)
      })
    })
    return listen(server)
  }

  async function begin(): Promise<{ readonly open: Outbound; readonly socket: Socket }> {
    const open = outbound({ allowLoopback: true })
    const socket = await open.connect({
      host: 'localhost',
      port: await startUpgrading(good),
      tls: null,
    })
    socket.write('start')
    await once(socket, 'data')
    socket.removeAllListeners('data')
    return { open, socket }
  }

  it('upgrades a connected socket', async () => {
    const { open, socket } = await begin()
    const secure = await open.upgrade(socket, { host: 'localhost', tls: { ca: authority.ca } })
    const [data] = await once(secure, 'data')
    expect(String(data)).toBe('secure')
    secure.destroy()
  })

  it('checks the certificate, and closes the socket when it is refused', async () => {
    for (const tls of [{}, { ca: authority.ca, servername: 'elsewhere.example' }]) {
      const { open, socket } = await begin()
      const error = await errorOf(open.upgrade(socket, { host: 'localhost', tls }))
      expect(error.code).toBe('certificate_refused')
      expect(socket.destroyed).toBe(true)
    }
  })
})
