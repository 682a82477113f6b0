import { execFile } from 'node:child_process'
import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { checkout } from '../support/build.ts'
import { openCommandLine } from '../support/command-line.ts'
import type { CommandLine, Outcome } from '../support/command-line.ts'
import { clientId, clientSecret } from '../support/server-process.ts'

let line: CommandLine
const bare = {
  SAIL_BASE_URL: undefined,
  SAIL_CLIENT_ID: undefined,
  SAIL_CLIENT_SECRET: undefined,
}
const config = (): string => join(line.folder, '.sailpoint', 'config.yaml')
/** A command without the variables that say server and credentials. */
const run = (args: readonly string[], input = '', env: NodeJS.ProcessEnv = {}): Promise<Outcome> =>
  line.run(args, input, { ...bare, ...env })
/** The file as `sail` leaves it, with what it knows besides and with remarks of its owner. */
const written = (url: string): string => `# mine
authtype: pat
debug: false
activeenvironment: Local
environments:
  local:
    baseurl: ${url}
    tenanturl: https://local.example
    pat:
      clientid: ${clientId}
      clientsecret: ${clientSecret} # a secret
  keyring:
    baseurl: https://acme.api.identitynow.com
    tenanturl: https://acme.identitynow.com
`

beforeAll(async () => {
  line = await openCommandLine({})
  await writeFile(join(line.folder, 'hr.csv'), 'id,name\n1,Ada\n')
  await line.run(['source', 'create', 'HR', '--from', 'hr.csv'])
  await mkdir(join(line.folder, '.sailpoint'))
}, 180_000)
beforeEach(async () => {
  await writeFile(config(), written(line.server.url))
})
afterAll(() => line.close())

describe('an environment', () => {
  it('of the file of sail is used when it is active, and another one by its name', async () => {
    const listed = await run(['source', 'list', '--json'])
    expect(JSON.parse(listed.stdout)).toMatchObject([{ name: 'HR' }])
    const other = await run(['source', 'list', '--env', 'KEYRING'])
    expect(other.code).toBe(3)
    expect(other.stderr).toMatch(/"keyring" has no client id[\s\S]*keyring of the system/)
    const none = await run(['source', 'list', '--env', 'nope'])
    expect(none).toMatchObject({ code: 4, stderr: expect.stringContaining('local, keyring') })
  })

  it('gives way to variables, each for itself, and never mixes servers', async () => {
    await writeFile(config(), written('http://127.0.0.1:9'))
    const variables = { SAIL_CLIENT_ID: clientId, SAIL_CLIENT_SECRET: clientSecret }
    const url = { SAIL_BASE_URL: line.server.url }
    expect((await run(['source', 'list'], '', { ...variables, ...url })).code).toBe(0)
    // The file knows this id, but its secret belongs to another server.
    expect((await run(['source', 'list'], '', { ...url, SAIL_CLIENT_ID: clientId })).code).toBe(3)
    const torn = await run(['source', 'list', '--env', 'local'], '', { ...variables, ...url })
    expect(torn).toMatchObject({ code: 2, stderr: expect.stringContaining('SAIL_BASE_URL') })
    await writeFile(config(), written(line.server.url))
    const wrong = await run(['source', 'list'], '', { SAIL_CLIENT_SECRET: 'wrong' })
    expect(wrong.code).toBe(3)
  })

  it('is made, switched to, changed and forgotten, and the rest of the file stays', async () => {
    await writeFile(join(line.folder, 'secret'), `${clientSecret}\n`)
    const url = line.server.url
    const made = await run(
      ['env', 'set', 'Test', '--url', `${url}/`, '--client-id', clientId, '--client-secret-stdin'],
      `${clientSecret}\n`,
    )
    expect(made).toMatchObject({ code: 0, stdout: '' })
    expect(made.stderr + made.stdout).not.toContain(clientSecret)
    const text = await readFile(config(), 'utf8')
    expect(text).toContain('# mine')
    expect(text).toContain(`clientsecret: ${clientSecret} # a secret`)
    expect(text).toContain('debug: false')
    expect((await stat(config())).mode & 0o777).toBe(0o600)
    expect((await run(['source', 'list', '--env', 'test'])).code).toBe(0)
    expect((await run(['env', 'use', 'test'])).code).toBe(0)
    expect((await run(['source', 'list'])).code).toBe(0)
    await run(['env', 'set', 'test', '--client-secret-file', 'secret'])
    const shown = await run(['env', 'show', '--json'])
    expect(JSON.parse(shown.stdout)).toEqual({
      name: 'test',
      active: true,
      url,
      tenantUrl: null,
      clientId,
      secret: expect.stringMatching(/\/secret$/),
      readOnly: false,
    })
    expect((await run(['source', 'list'])).code).toBe(0)
    expect((await run(['env', 'delete', 'test'])).code).toBe(0)
    expect(await readFile(config(), 'utf8')).not.toContain('secretfile')
    expect((await run(['env', 'list'])).stdout).not.toMatch(/^\*|\btest +http/m)
  })

  it('is made where there is no file yet, and becomes the active one that the SDK reads', async () => {
    await rm(join(line.folder, '.sailpoint'), { recursive: true })
    const empty = await run(['env', 'list'])
    expect(empty).toMatchObject({ code: 0, stderr: expect.stringContaining('muster env set') })
    await run(['env', 'set', 'first', '--url', 'https://acme.api.identitynow.com'])
    expect((await stat(config())).mode & 0o777).toBe(0o600)
    expect(await readFile(config(), 'utf8')).toBe(
      'environments:\n  first:\n    baseurl: https://acme.api.identitynow.com\nactiveenvironment: first\nauthtype: pat\n',
    )
  })

  it('that was made here is one for the official SDK', async () => {
    await rm(config())
    const given = ['--url', line.server.url, '--client-id', clientId, '--client-secret-stdin']
    await run(['env', 'set', 'sdk', ...given], clientSecret)
    const script = `const { Configuration, SourcesApi } = require('sailpoint-api-client')
      new SourcesApi(new Configuration()).listSources().then(({ data }) => console.log('found', data.map((one) => one.name)))`
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], {
      cwd: checkout,
      env: { PATH: process.env['PATH'], HOME: line.folder },
    })
    expect(stdout).toContain("found [ 'HR' ]")
  })

  it('that is read-only refuses every change before it is sent, under its URL too', async () => {
    await run(['env', 'set', 'local', '--read-only'])
    const source = (await run(['source', 'get', 'HR', '--json'])).stdout
    const { id } = JSON.parse(source) as { id: string }
    const direct = { SAIL_CLIENT_ID: clientId, SAIL_CLIENT_SECRET: clientSecret }
    const url = { SAIL_BASE_URL: line.server.url }
    const changes: [string[], NodeJS.ProcessEnv][] = [
      [['source', 'delete', 'HR', '--yes'], {}],
      [['source', 'create', 'New', '--from', 'hr.csv'], {}],
      [['source', 'reset-state', 'HR'], {}],
      [['aggregate', 'hr.csv', '--source', 'HR'], {}],
      [['aggregate', '.'], {}],
      [['task', 'cancel', '1'.repeat(32)], {}],
      [['token', 'create', '--level', 'ORG_ADMIN'], {}],
      [['api', 'post', `/v2025/sources/${id}/load-accounts`], {}],
      [['api', 'delete', `/v2025/sources/${id}`], {}],
      [['source', 'delete', 'HR', '--yes'], { ...direct, ...url }],
    ]
    for (const [args, env] of changes) {
      const refused = await run(args, '', env)
      expect([args, refused]).toEqual([
        args,
        { code: 3, stdout: '', stderr: expect.stringMatching(/read-only|only reads/) },
      ])
    }
    // Other spellings of the same URL, with and without the environment as the active one.
    const { port } = new URL(line.server.url)
    const { url: given } = line.server
    for (const other of [`HTTP://127.0.0.1:${port}/`, `http://127.1:${port}`, `${given}/x/..`]) {
      for (const name of ['Local', 'keyring']) {
        await run(['env', 'use', name])
        const variables = { ...direct, SAIL_BASE_URL: other }
        const refused = await run(['source', 'delete', 'HR', '--yes'], '', variables)
        expect([other, name, refused]).toEqual([
          other,
          name,
          { code: 3, stdout: '', stderr: expect.stringContaining('read-only') },
        ])
      }
    }
    await run(['env', 'use', 'local'])
    expect((await run(['source', 'test', 'HR'])).code).toBe(0)
    expect((await run(['task', 'list', '--json'])).stdout).toBe('[]\n')
    await run(['env', 'set', 'local', '--no-read-only'])
    expect((await run(['aggregate', 'hr.csv', '--source', 'HR'])).code).toBe(0)
  }, 120_000)

  it('of a broken file is named, and does not stand in the way of those who need none', async () => {
    for (const text of ['environments: [', '- a\n', 'environments:\n  x: {baseurl: 1\n']) {
      await writeFile(config(), text)
      const broken = await run(['source', 'list'])
      expect(broken).toMatchObject({ code: 2, stderr: expect.stringContaining('config.yaml') })
    }
    expect((await line.run(['source', 'list'])).code).toBe(0)
  })

  it('is never open to changes because its readonly is unclear', async () => {
    const direct = {
      SAIL_BASE_URL: line.server.url,
      SAIL_CLIENT_ID: clientId,
      SAIL_CLIENT_SECRET: clientSecret,
    }
    for (const value of ['yes', 'on', '"true"', 'no', '1', '', '[true]']) {
      const text = written(line.server.url)
      await writeFile(config(), text.replace('    pat:', `    readOnly: ${value}\n    pat:`))
      for (const env of [{}, direct]) {
        const refused = await run(['source', 'delete', 'HR', '--yes'], '', env)
        expect([value, refused.code, refused.stdout]).toEqual([value, 2, ''])
        expect(refused.stderr).toMatch(/config\.yaml: readOnly of the environment "local" is /)
      }
    }
    const twice = written(line.server.url).replace(
      '    pat:',
      '    readonly: false\n    ReadOnly: true\n    pat:',
    )
    await writeFile(config(), twice)
    expect((await run(['source', 'delete', 'HR', '--yes'])).code).toBe(3)
  }, 60_000)

  it('of SAIL_ACTIVEENVIRONMENT is used as that of --env, which stands before it', async () => {
    const variables = { SAIL_CLIENT_ID: clientId, SAIL_CLIENT_SECRET: clientSecret }
    const named = { ...variables, SAIL_ACTIVEENVIRONMENT: 'nope' }
    const local = join(line.folder, 'config.json')
    const whole = { BaseURL: line.server.url, ClientId: clientId, ClientSecret: clientSecret }
    await writeFile(local, JSON.stringify(whole))
    const url = { SAIL_BASE_URL: line.server.url }
    for (const env of [named, { ...named, ...url }, { SAIL_ACTIVEENVIRONMENT: 'nope' }]) {
      expect(await run(['source', 'list'], '', env)).toMatchObject({
        code: 4,
        stderr: expect.stringMatching(/"nope" in .*SAIL_ACTIVEENVIRONMENT[\s\S]*local, keyring/),
      })
    }
    const keyring = await run(['source', 'list'], '', { SAIL_ACTIVEENVIRONMENT: 'Keyring' })
    expect(keyring).toMatchObject({ code: 3, stderr: expect.stringContaining('"keyring" has no') })
    const torn = { ...variables, ...url, SAIL_ACTIVEENVIRONMENT: 'keyring' }
    expect(await run(['source', 'list'], '', torn)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/"keyring" of SAIL_ACTIVEENVIRONMENT/),
    })
    await rm(local)
    expect((await run(['source', 'list', '--env', 'local'], '', named)).code).toBe(0)
  })

  it('gives way to ./config.json of the SDKs, which is used whole or not at all', async () => {
    await writeFile(config(), written('http://127.0.0.1:9'))
    const local = join(line.folder, 'config.json')
    const whole = { BaseURL: line.server.url, ClientId: clientId, ClientSecret: clientSecret }
    await writeFile(local, JSON.stringify(whole))
    const used = await run(['source', 'list'])
    expect(used).toMatchObject({ code: 0, stderr: expect.stringContaining('./config.json') })
    await writeFile(local, JSON.stringify({ ...whole, ClientSecret: undefined }))
    expect((await run(['source', 'list'])).code).toBe(1)
    await rm(local)
  })
})

describe('a secret', () => {
  it('comes from standard input, a file or a variable that names one', async () => {
    const file = join(line.folder, 'only-secret')
    await writeFile(file, `${clientSecret}\r\n`)
    const server = ['--url', line.server.url, '--client-id', clientId]
    const list = ['source', 'list', ...server]
    expect((await run([...list, '--client-secret-stdin'], `${clientSecret}\n`)).code).toBe(0)
    expect((await run([...list, '--client-secret-file', file])).code).toBe(0)
    expect((await run(list, '', { SAIL_CLIENT_SECRET_FILE: file })).code).toBe(0)
    expect((await run([...list, '--client-secret-stdin'], '')).code).toBe(2)
    expect((await run([...list, '--client-secret-file', `${file}.none`])).code).toBe(2)
    expect((await run([...list, '--client-secret', clientSecret])).code).toBe(2)
    await chmod(file, 0o600)
  })
})
