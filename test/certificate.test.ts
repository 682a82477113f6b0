// HTTPS with a certificate of a real authority: what clients see, what stops the start, what a renewal does.
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:https'
import type { Server as HttpsServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { openLog } from '../src/api/logging.ts'
import { createApp } from '../src/app.ts'
import { readCertificate, renewCertificate } from '../src/certificate.ts'
import { ConfigError, readConfig } from '../src/config.ts'
import { generateMasterKey } from '../src/store/sealed.ts'
import { makeAuthority } from './support/certificates.ts'
import type { Authority, Certificate } from './support/certificates.ts'
import { emptyDatabase } from './support/database.ts'
import { databaseUrl } from './support/server-process.ts'
import { sendRaw } from './api/raw-http.ts'

const folder = mkdtempSync(join(tmpdir(), 'muster-tls-'))
let authority: Authority
let good: Certificate
const undo: (() => unknown)[] = []

beforeAll(() => {
  authority = makeAuthority()
  good = authority.issue(['IP:127.0.0.1', 'DNS:localhost'])
})
afterEach(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
})
afterAll(() => {
  authority.close()
  rmSync(folder, { recursive: true })
})

let written = 0
function file(text: string, name = `file-${(written += 1)}.pem`): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

function get(url: string, options: ConnectionOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(url, { ca: authority.ca, agent: false, ...options }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text
      })
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
      )
    })
    call.on('error', reject).end()
  })
}

async function settings(env: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv> {
  const database = await emptyDatabase()
  undo.push(() => database.drop())
  return {
    DATABASE_URL: databaseUrl(database.settings),
    MUSTER_KEY: generateMasterKey(),
    MUSTER_DATA_DIR: mkdtempSync(join(folder, 'data-')),
    MUSTER_PORT: '0',
    ...env,
  }
}

const log = openLog('silent')

describe('a server with a certificate', () => {
  it('speaks HTTPS, says so in its addresses, and tells browsers to stay with it', async () => {
    const env = await settings({
      MUSTER_TLS_CERT: file(good.cert),
      MUSTER_TLS_KEY: file(good.key),
      MUSTER_HOST: '0.0.0.0',
    })
    const app = await createApp(readConfig(env), { log })
    undo.push(() => app.close())
    expect(app.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/)
    const live = await get(`${app.url}/health/live`)
    expect(live.status).toBe(200)
    expect(live.headers['strict-transport-security']).toContain('max-age=31536000')
    const info = await get(`${app.url}/oauth/info`)
    expect(JSON.parse(info.body)).toMatchObject({ tokenEndpoint: `${app.url}/oauth/token` })
    await expect(get(`${app.url}/health/live`, { ca: [] })).rejects.toThrow(/certificate/)
    const old: ConnectionOptions = {
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    }
    await expect(get(`${app.url}/health/live`, old)).rejects.toThrow(/protocol version|EPROTO/)
    const plain = await sendRaw(
      Number(new URL(app.url).port),
      'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n',
    )
    expect(plain.text).not.toContain('UP')
  })

  it('asks for TLS 1.2 also where Node was told to take less', () => {
    const files = { certFile: file(good.cert), keyFile: file(good.key) }
    expect(readCertificate(files).minVersion).toBe('TLSv1.2')
  })
})

describe('a start is refused, naming the variable,', () => {
  const start = (certFile: string, keyFile: string) =>
    createApp(
      readConfig({
        MUSTER_TLS_CERT: certFile,
        MUSTER_TLS_KEY: keyFile,
        MUSTER_DATA_DIR: join(folder, 'never'),
      }),
      { log },
    )

  it.each<[string, () => [string, string], RegExp]>([
    ['a certificate that is none', () => ['hello', good.key], /MUSTER_TLS_CERT .*no certificate/],
    ['a key in place of it', () => [good.key, good.key], /MUSTER_TLS_CERT .*no certificate/],
    ['a key that is none', () => [good.cert, 'hello'], /MUSTER_TLS_KEY .*no private key/],
    ['a certificate in place of it', () => [good.cert, good.cert], /MUSTER_TLS_KEY .*no private/],
    ['an empty file', () => [good.cert, ''], /MUSTER_TLS_KEY .*no private key/],
    [
      'a key of another certificate',
      () => [good.cert, authority.issue(['DNS:other']).key],
      /MUSTER_TLS_KEY is not the key of the first certificate in MUSTER_TLS_CERT/,
    ],
    [
      'a chain in the wrong order',
      () => [`${authority.ca}${good.cert}`, good.key],
      /MUSTER_TLS_KEY is not the key of the first certificate/,
    ],
    [
      'a certificate that has expired',
      () => {
        const old = authority.issue(['IP:127.0.0.1'], -1)
        return [old.cert, old.key]
      },
      /MUSTER_TLS_CERT expired on/,
    ],
    [
      'a key with a passphrase',
      () => {
        const words = ['pkey', '-aes256', '-passout', 'pass:word', '-in', file(good.key)]
        return [good.cert, execFileSync('openssl', words, { encoding: 'utf8' })]
      },
      /MUSTER_TLS_KEY .*passphrase/,
    ],
  ])('for %s', async (_name, make, message) => {
    const [cert, key] = make()
    const refused = start(file(cert), file(key))
    await expect(refused).rejects.toThrow(ConfigError)
    await expect(refused).rejects.toThrow(message)
    // Neither the message nor the hint shows anything of the key.
    const error: unknown = await refused.catch((reason: unknown) => reason)
    const body = good.key.split('\n')[1] ?? '-'
    expect(JSON.stringify(error) + String(error)).not.toContain(body)
  })

  it('for a file that is not there, and for a folder', () => {
    const missing = join(folder, 'missing.pem')
    expect(() => readConfig({ MUSTER_TLS_CERT: missing, MUSTER_TLS_KEY: file(good.key) })).toThrow(
      /MUSTER_TLS_CERT cannot be read: ENOENT/,
    )
    expect(() => readCertificate({ certFile: file(good.cert), keyFile: folder })).toThrow(
      /MUSTER_TLS_KEY cannot be read: EISDIR/,
    )
  })

  it.runIf(process.getuid?.() !== 0)('for a file that the user may not read', () => {
    const closed = file(good.key)
    chmodSync(closed, 0)
    expect(() => readConfig({ MUSTER_TLS_CERT: file(good.cert), MUSTER_TLS_KEY: closed })).toThrow(
      /MUSTER_TLS_KEY cannot be read: EACCES/,
    )
  })
})

describe('a certificate that is renewed', () => {
  it('is given to new connections without a restart, and a bad one is told and not taken', async () => {
    const files = { certFile: file(good.cert), keyFile: file(good.key) }
    const server = createServer(readCertificate(files), (_request, response) => response.end('ok'))
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    undo.push(() => server.close())
    const warnings: string[] = []
    const news: unknown[] = []
    const told = {
      info: (fields: object) => void news.push(fields),
      warn: (message: string) => void warnings.push(message),
    }
    undo.push(renewCertificate(server, files, told, 20))
    const before = await serialOf(server)
    const next = authority.issue(['IP:127.0.0.1'])
    // The tools that renew write one file after the other.
    writeFileSync(files.certFile, next.cert)
    await expect.poll(() => warnings).toHaveLength(1)
    expect(warnings[0]).toContain('MUSTER_TLS_KEY is not the key')
    expect(await serialOf(server)).toBe(before)
    writeFileSync(files.keyFile, next.key)
    await expect.poll(() => news).toHaveLength(1)
    expect(await serialOf(server)).not.toBe(before)
    expect(warnings).toHaveLength(1)
  })

  async function serialOf(server: HttpsServer): Promise<string> {
    const address = server.address()
    const port = address !== null && typeof address === 'object' ? address.port : 0
    const socket = await new Promise<TLSSocket>((resolve, reject) => {
      const opened = connect({ port, host: '127.0.0.1', ca: authority.ca }, () => resolve(opened))
      opened.on('error', reject)
    })
    const { serialNumber } = socket.getPeerCertificate()
    socket.destroy()
    return serialNumber
  }
})
