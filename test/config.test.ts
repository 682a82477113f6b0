// The settings: defaults, twins of secrets, and refusals that name the variable and the way out.
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConfigError, readConfig, settingNames } from '../src/config.ts'
import { masterKey } from '../src/master-key.ts'
import { generateMasterKey, parseMasterKey } from '../src/store/sealed.ts'

let folder = ''
const url = 'postgres://muster:canary@db:5432/muster'
const key = generateMasterKey()

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-config-'))
})

afterEach(() => rm(folder, { recursive: true }))

async function file(name: string, content: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, content)
  return path
}

describe('the settings', () => {
  it('have defaults that need no variable at all', () => {
    expect(readConfig({})).toEqual({
      host: '127.0.0.1',
      port: 8080,
      management: undefined,
      dataDir: resolve('muster-data'),
      databaseUrl: undefined,
      key: undefined,
      tls: undefined,
      trustProxy: false,
      client: undefined,
      rateLimit: 100,
      allowPrivateAddresses: false,
      allowedAddresses: [],
      connectors: [],
      maxUploadBytes: 4 * 2 ** 30,
      spoolDir: resolve('muster-data', 'spool'),
      spoolShared: false,
      minFreeBytes: 256 * 2 ** 20,
      logLevel: 'info',
      leaseSeconds: 15,
      concurrentRuns: 2,
      loadShortcuts: 'all',
      org: 'muster',
      warnings: [],
    })
  })

  it('are all read from their variables', async () => {
    const certFile = await file('cert.pem', 'cert')
    const keyFile = await file('key.pem', 'key')
    const config = readConfig({
      MUSTER_HOST: '0.0.0.0',
      MUSTER_PORT: '0',
      MUSTER_MANAGEMENT_HOST: '0.0.0.0',
      MUSTER_MANAGEMENT_PORT: '9000',
      MUSTER_DATA_DIR: '/data',
      MUSTER_KEY: key,
      MUSTER_TLS_CERT: certFile,
      MUSTER_TLS_KEY: keyFile,
      MUSTER_TRUST_PROXY: '10.0.0.5, fd00::/8',
      DATABASE_URL: url,
      MUSTER_CLIENT_ID: 'admin',
      MUSTER_CLIENT_SECRET: 'secret',
      MUSTER_RATE_LIMIT: '0',
      MUSTER_ALLOW_PRIVATE_ADDRESSES: 'true',
      MUSTER_ALLOWED_ADDRESSES: '10.0.0.0/8, ldap.example.org',
      MUSTER_CONNECTORS: 'muster-hr,@acme/muster-hr,/opt/connector.mjs',
      MUSTER_MAX_UPLOAD_BYTES: '1048576',
      MUSTER_SPOOL_DIR: '/spool',
      MUSTER_SPOOL_SHARED: 'yes',
      MUSTER_MIN_FREE_BYTES: '0',
      MUSTER_LOG_LEVEL: 'DEBUG',
      MUSTER_LEASE_SECONDS: '30',
      MUSTER_CONCURRENT_RUNS: '3',
      MUSTER_LOAD_SHORTCUTS: 'none',
      MUSTER_ORG: 'acme-sb',
    })
    expect(config).toEqual({
      host: '0.0.0.0',
      port: 0,
      management: { host: '0.0.0.0', port: 9000 },
      dataDir: '/data',
      databaseUrl: url,
      key,
      tls: { certFile, keyFile },
      trustProxy: ['10.0.0.5', 'fd00::/8'],
      client: { id: 'admin', secret: 'secret' },
      rateLimit: 0,
      allowPrivateAddresses: true,
      allowedAddresses: ['10.0.0.0/8', 'ldap.example.org'],
      connectors: ['muster-hr', '@acme/muster-hr', 'file:///opt/connector.mjs'],
      maxUploadBytes: 1_048_576,
      spoolDir: '/spool',
      spoolShared: true,
      minFreeBytes: 0,
      logLevel: 'debug',
      leaseSeconds: 30,
      concurrentRuns: 3,
      loadShortcuts: 'none',
      org: 'acme-sb',
      warnings: [],
    })
  })

  it('count as not set when they are empty, as compose files pass them', () => {
    const empty = Object.fromEntries(settingNames.map((name) => [name, '']))
    expect(readConfig(empty)).toEqual(readConfig({}))
  })

  it('say in a warning which names of ours mean nothing, with a guess', () => {
    const { warnings } = readConfig({
      MUSTER_PROT: '1',
      MUSTER_DATADIR: '/x',
      MUSTER_FROBNICATE: 'x',
      MUSTERING: 'x',
      MUSTER_SPOOL_SHARED: 'true',
    })
    expect(warnings).toEqual([
      'MUSTER_DATADIR is no setting of Muster and is ignored. Did you mean MUSTER_DATA_DIR?',
      'MUSTER_FROBNICATE is no setting of Muster and is ignored.',
      'MUSTER_PROT is no setting of Muster and is ignored. Did you mean MUSTER_PORT?',
      'MUSTER_SPOOL_SHARED has no effect without DATABASE_URL.',
    ])
  })

  it.each([
    ['1', 1],
    ['2', 2],
    ['true', true],
    ['false', false],
    ['0', false],
    ['192.168.0.0/16', ['192.168.0.0/16']],
  ])('read MUSTER_TRUST_PROXY %s', (value, expected) => {
    expect(readConfig({ MUSTER_TRUST_PROXY: value }).trustProxy).toEqual(expected)
  })
})

describe('a secret', () => {
  it('may come from the file that its twin names, without the last line end', async () => {
    const config = readConfig({
      MUSTER_KEY_FILE: await file('master', `${key}\n`),
      DATABASE_URL_FILE: await file('url', `${url}\n`),
      MUSTER_CLIENT_ID: 'admin',
      MUSTER_CLIENT_SECRET_FILE: await file('client', 'secret\r\n'),
    })
    expect(config.key).toBe(key)
    expect(config.databaseUrl).toBe(url)
    expect(config.client).toEqual({ id: 'admin', secret: 'secret' })
    expect(config.warnings).toEqual([])
  })

  it('is refused when it is given twice, or its file is missing or empty', async () => {
    const path = await file('master', key)
    expect(refusal({ MUSTER_KEY: key, MUSTER_KEY_FILE: path })).toContain(
      'MUSTER_KEY and MUSTER_KEY_FILE are both set',
    )
    expect(refusal({ DATABASE_URL_FILE: join(folder, 'missing') })).toMatch(
      /^DATABASE_URL_FILE cannot be read: ENOENT/,
    )
    const empty = await file('empty', '\n')
    expect(refusal({ MUSTER_CLIENT_SECRET_FILE: empty })).toContain('names the empty file')
  })

  it('has no twin when it is no secret', () => {
    expect(readConfig({ MUSTER_PORT_FILE: '/x' }).warnings[0]).toContain('MUSTER_PORT_FILE')
  })

  it('is never shown by a refusal', () => {
    const shown = [
      refusal({ DATABASE_URL: 'mysql://root:canary@db/x', MUSTER_KEY: key }),
      refusal({ DATABASE_URL: 'host=db password=canary', MUSTER_KEY: key }),
      refusal({ MUSTER_KEY: 'canary' }),
      refusal({ MUSTER_CLIENT_SECRET: 'canary' }),
      refusal({ DATABASE_URL: url }),
    ]
    expect(shown.join()).not.toContain('canary')
  })
})

describe('a setting that cannot be used', () => {
  it.each([
    ['MUSTER_PORT', '70000'],
    ['MUSTER_PORT', '80.5'],
    ['MUSTER_PORT', '0x50'],
    ['MUSTER_RATE_LIMIT', '-1'],
    ['MUSTER_MAX_UPLOAD_BYTES', '4GB'],
    ['MUSTER_MAX_UPLOAD_BYTES', '0'],
    ['MUSTER_LEASE_SECONDS', '31'],
    ['MUSTER_CONCURRENT_RUNS', '0'],
    ['MUSTER_LOAD_SHORTCUTS', 'most'],
    ['MUSTER_SPOOL_SHARED', 'perhaps'],
    ['MUSTER_ALLOW_PRIVATE_ADDRESSES', '2'],
    ['MUSTER_ALLOWED_ADDRESSES', '10.0.0.0/99'],
    ['MUSTER_LOG_LEVEL', 'loud'],
    ['MUSTER_TRUST_PROXY', 'nginx'],
    ['MUSTER_TRUST_PROXY', '10.0.0.0/33'],
    ['MUSTER_ORG', 'Acme Corp'],
    ['MUSTER_KEY', 'short'],
    ['MUSTER_TLS_CERT', '/missing/cert.pem'],
    ['DATABASE_URL', 'mysql://db/x'],
  ])('is refused by name: %s=%s', (name, value) => {
    const error = refuse({ [name]: value })
    expect(error.message).toContain(name)
    expect(error.hint).not.toBe('')
  })

  it('is a pair of which one half is missing', async () => {
    const path = await file('cert.pem', 'cert')
    expect(refusal({ MUSTER_TLS_CERT: path })).toBe(
      'MUSTER_TLS_CERT is set and MUSTER_TLS_KEY is not.',
    )
    expect(refusal({ MUSTER_CLIENT_SECRET: 'x' })).toBe(
      'MUSTER_CLIENT_SECRET is set and MUSTER_CLIENT_ID is not.',
    )
  })

  it.each(['0.0.0.0', '::', '192.168.1.5', 'muster.example.com', '::ffff:10.0.0.1'])(
    'is a public bind without TLS or a trusted proxy: %s',
    (host) => {
      expect(refuse({ MUSTER_HOST: host }).hint).toMatch(/MUSTER_TLS_CERT.*MUSTER_TRUST_PROXY/)
      expect(readConfig({ MUSTER_HOST: host, MUSTER_TRUST_PROXY: '1' }).host).toBe(host)
    },
  )

  it.each(['localhost', '127.0.0.1', '127.8.9.10', '::1', '[::1]', '::ffff:127.0.0.1'])(
    'is not a bind to loopback: %s',
    (host) => {
      expect(readConfig({ MUSTER_HOST: host }).host).toBe(host)
    },
  )

  it('is DATABASE_URL without a key', () => {
    expect(refuse({ DATABASE_URL: url }).hint).toContain('MUSTER_KEY_FILE')
    expect(readConfig({ DATABASE_URL: url, MUSTER_KEY: key }).databaseUrl).toBe(url)
  })
})

describe('the master key', () => {
  it('is the one of MUSTER_KEY, and then no file is made', async () => {
    const config = readConfig({ MUSTER_DATA_DIR: folder, MUSTER_KEY: key })
    expect(await masterKey(config)).toBe(key)
    expect(await readdir(folder)).toEqual([])
  })

  it('is made once in the data folder, for its owner only', async () => {
    const config = readConfig({ MUSTER_DATA_DIR: join(folder, 'data') })
    const made = await masterKey(config)
    expect(parseMasterKey(made).symmetricKeySize).toBe(32)
    const path = join(folder, 'data', 'key')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(await readFile(path, 'utf8')).toBe(`${made}\n`)
    await chmod(path, 0o644)
    expect(await masterKey(config)).toBe(made)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
  })

  it('is the same for processes that start at once', async () => {
    const config = readConfig({ MUSTER_DATA_DIR: folder })
    const keys = await Promise.all(Array.from({ length: 8 }, () => masterKey(config)))
    expect(new Set(keys).size).toBe(1)
    expect(await readdir(folder)).toEqual(['key'])
  })

  it('is refused when its file is damaged, never made anew', async () => {
    await file('key', 'damaged')
    const config = readConfig({ MUSTER_DATA_DIR: folder })
    await expect(masterKey(config)).rejects.toThrow('is damaged')
    expect(await readFile(join(folder, 'key'), 'utf8')).toBe('damaged')
  })

  it('names the file and the way out when the folder cannot be used', async () => {
    const config = readConfig({ MUSTER_DATA_DIR: join(await file('file', ''), 'data') })
    await expect(masterKey(config)).rejects.toMatchObject({
      message: expect.stringContaining(join(folder, 'file', 'data', 'key')),
      hint: expect.stringContaining('MUSTER_DATA_DIR'),
    })
  })
})

function refuse(env: NodeJS.ProcessEnv): ConfigError {
  try {
    readConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  throw new Error('was not refused')
}

function refusal(env: NodeJS.ProcessEnv): string {
  return refuse(env).message
}
