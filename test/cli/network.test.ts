import { spawn } from 'node:child_process'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import type { Server } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { connect } from 'node:net'
import type { AddressInfo, Server as NetServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { buildServer } from '../support/server-process.ts'
import { makeAuthority } from '../support/certificates.ts'
import type { Authority } from '../support/certificates.ts'
import { checkout } from '../support/build.ts'
import type { Outcome } from '../support/command-line.ts'

let folder = ''
let build = ''
let authority: Authority
let plainServer: Server
let secureServer: NetServer
let proxy: Server
/** What the proxy was asked to connect to. */
let asked: string[] = []

const portOf = (server: NetServer): number => (server.address() as AddressInfo).port
const listen = (server: NetServer): Promise<void> =>
  new Promise((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })

/** A server that has a token and one source, and takes uploads. */
const answer: Parameters<typeof createHttpServer>[1] = (request, response) => {
  request.resume()
  request.on('end', () => {
    response.setHeader('content-type', 'application/json')
    const { url = '' } = request
    if (url === '/oauth/token') response.end('{"access_token":"t","expires_in":60}')
    else if (url.includes('load-accounts')) {
      response.writeHead(202).end('{"success":true,"task":{"id":"7"}}')
    } else response.end('[{"id":"1","name":"HR"}]')
  })
}

function run(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  const child = spawn(process.execPath, [join(build, 'bin', 'muster.js'), ...args], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'],
      HOME: folder,
      SAIL_CLIENT_ID: 'id',
      SAIL_CLIENT_SECRET: 'secret',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => (output[name] += text))
  }
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code, ...output }))
  })
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-network-'))
  build = await buildServer()
  await cp(join(checkout, 'bin'), join(build, 'bin'), { recursive: true })
  authority = makeAuthority()
  await writeFile(join(folder, 'ca.pem'), authority.ca)
  await writeFile(join(folder, 'hr.csv'), `id\n${'1\n'.repeat(300_000)}`)
  plainServer = createHttpServer(answer)
  secureServer = createHttpsServer(authority.issue(['IP:127.0.0.1']), answer)
  proxy = createHttpServer((_request, response) => response.writeHead(405).end())
  proxy.on('connect', (request, socket) => {
    asked.push(request.url ?? '')
    const [host, port] = (request.url ?? '').split(':')
    const far = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      far.pipe(socket).pipe(far)
    })
    for (const end of [far, socket]) end.on('error', () => undefined)
  })
  await Promise.all([plainServer, secureServer, proxy].map(listen))
}, 180_000)
beforeEach(() => {
  asked = []
})
afterAll(async () => {
  for (const server of [plainServer, secureServer, proxy]) server.close()
  authority.close()
  await rm(folder, { recursive: true, force: true })
  await rm(build, { recursive: true, force: true })
})

describe('the way to a server', () => {
  const plainUrl = (): string => `http://127.0.0.1:${portOf(plainServer)}`
  const secureUrl = (): string => `https://127.0.0.1:${portOf(secureServer)}`
  const through = (): string => `http://127.0.0.1:${portOf(proxy)}`
  const list = ['source', 'list', '-o', 'csv']

  it('goes through the proxy that a variable names, with uploads too', async () => {
    const env = { SAIL_BASE_URL: plainUrl(), HTTP_PROXY: through() }
    expect(await run(list, env)).toMatchObject({ code: 0, stdout: expect.stringMatching(/\n1,HR/) })
    expect(asked).toContain(`127.0.0.1:${portOf(plainServer)}`)
    const sent = await run(['aggregate', 'hr.csv', '--source', 'HR', '--no-wait'], env)
    expect(sent).toMatchObject({ code: 0, stdout: '7\n' })
  })

  it('goes around the proxy where NO_PROXY says so, and needs none', async () => {
    const env = { SAIL_BASE_URL: plainUrl(), http_proxy: through(), NO_PROXY: '127.0.0.1' }
    expect((await run(list, env)).code).toBe(0)
    expect((await run(list, { SAIL_BASE_URL: plainUrl() })).code).toBe(0)
    expect(asked).toEqual([])
  })

  it('takes a proxy without a scheme, and refuses what is no URL without showing it', async () => {
    const bare = `127.0.0.1:${portOf(proxy)}`
    const env = { SAIL_BASE_URL: plainUrl(), HTTP_PROXY: bare }
    expect((await run(list, env)).code).toBe(0)
    expect(asked).toContain(`127.0.0.1:${portOf(plainServer)}`)
    const secure = { SAIL_BASE_URL: secureUrl(), NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem') }
    expect((await run(list, { ...secure, https_proxy: bare })).code).toBe(0)
    expect(asked).toContain(`127.0.0.1:${portOf(secureServer)}`)
    asked = []
    expect((await run(list, { ...env, NO_PROXY: '127.0.0.1' })).code).toBe(0)
    expect(asked).toEqual([])
    for (const broken of ['http://me:pass word@:1', 'ftp://pass@127.0.0.1', ':pass']) {
      const refused = await run(list, { SAIL_BASE_URL: plainUrl(), https_proxy: broken })
      expect(refused).toMatchObject({ code: 2, stdout: '' })
      expect(refused.stderr).toMatch(/^(?=.*https_proxy is no URL)(?!.*pass)/s)
    }
  })

  it('says which proxy it cannot reach by failing, and never goes around it', async () => {
    const env = { SAIL_BASE_URL: plainUrl(), HTTP_PROXY: 'http://127.0.0.1:9' }
    expect(await run(list, env)).toMatchObject({ code: 1, stdout: '' })
  })

  it('trusts an authority of NODE_EXTRA_CA_CERTS or --ca-file, and nobody else', async () => {
    const env = { SAIL_BASE_URL: secureUrl() }
    const ca = join(folder, 'ca.pem')
    expect(await run(list, env)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/certificate/),
    })
    expect((await run(list, { ...env, NODE_EXTRA_CA_CERTS: ca })).code).toBe(0)
    expect((await run([...list, '--ca-file', ca], env)).code).toBe(0)
    expect((await run([...list, '--ca-file', join(folder, 'hr.csv')], env)).code).toBe(2)
  })

  it('goes through the proxy to a server whose authority is the own one', async () => {
    const env = { SAIL_BASE_URL: secureUrl(), HTTPS_PROXY: through() }
    const ca = join(folder, 'ca.pem')
    expect((await run([...list, '--ca-file', ca], env)).code).toBe(0)
    expect((await run(list, { ...env, NODE_EXTRA_CA_CERTS: ca })).code).toBe(0)
    expect(asked).toContain(`127.0.0.1:${portOf(secureServer)}`)
    expect((await run(list, env)).code).toBe(1)
  })
})
