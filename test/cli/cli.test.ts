import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkout } from '../support/build.ts'
import { buildServer, gone, removeData } from '../support/server-process.ts'

let folder = ''
let build = ''
let dataDir = ''
let server: Started
let environment: NodeJS.ProcessEnv = {}

interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

interface Started {
  readonly child: ChildProcess
  readonly url: string
  stdout(): string
  stderr(): string
  readonly ended: Promise<number | null>
}

const bin = (): string => join(build, 'bin', 'muster.js')
const bare = (): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  HOME: folder,
  TMPDIR: process.env['TMPDIR'],
})

/** Runs a command to its end, without a terminal. */
function run(args: readonly string[], env: NodeJS.ProcessEnv = environment): Promise<Outcome> {
  return collect(spawn(process.execPath, [bin(), ...args], { env, cwd: folder, stdio: 'pipe' }))
}

function collect(child: ChildProcess): Promise<Outcome> {
  const output = { stdout: '', stderr: '' }
  child.stdin?.end()
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => (output[name] += text))
  }
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code, ...output }))
  })
}

/** Starts a server, or whatever ends in one, and waits for its banner. */
async function start(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Started> {
  const child = spawn(command, args, {
    env: { ...bare(), ...env },
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  const ended = new Promise<number | null>((resolve) => {
    child.on('close', (code) => resolve(code))
  })
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
      const banner = /API\s+(\S+)\/v2025[\s\S]*Health\s+\S+\n/.exec(stderr)
      if (banner?.[1] !== undefined) resolve(banner[1])
    })
    void ended.then((code) => reject(new Error(`ended with ${code}: ${stderr}${stdout}`)))
  })
  return { child, url, stdout: () => stdout, stderr: () => stderr, ended }
}

const serve = (env: NodeJS.ProcessEnv): Promise<Started> =>
  start(process.execPath, [bin(), 'serve', '--port', '0'], { MUSTER_RATE_LIMIT: '0', ...env })

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-cli-'))
  build = await buildServer()
  await cp(join(checkout, 'bin'), join(build, 'bin'), { recursive: true })
  dataDir = join(folder, 'data')
  server = await serve({ MUSTER_DATA_DIR: dataDir })
  const printed = [...server.stderr().matchAll(/(SAIL_\w+)=(\S+)/g)].map(([, name, value]) => [
    name,
    value,
  ])
  environment = { ...bare(), ...(Object.fromEntries(printed) as NodeJS.ProcessEnv) }
  const rows = Array.from({ length: 20 }, (_, at) => `${1001 + at},User ${at},u${at}@example.com`)
  await writeFile(join(folder, 'hr.csv'), `employeeId,displayName,mail\n${rows.join('\n')}\n`)
}, 180_000)
afterAll(async () => {
  server.child.kill('SIGTERM')
  await server.ended
  await removeData(dataDir)
  await rm(folder, { recursive: true, force: true })
  await rm(build, { recursive: true, force: true })
})

describe('muster', () => {
  it('makes a source and its schema from the first line of a file, and says what it chose', async () => {
    const made = await run(['source', 'create', 'HR', '--from', 'hr.csv'])
    expect(made).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('Identity column: employeeId (a usual name'),
    })
    expect(made.stdout).toMatch(/columns +employeeId, displayName, mail/)
    const shown = await run(['source', 'get', 'hr', '--json'])
    expect(JSON.parse(shown.stdout)).toMatchObject({ name: 'HR', type: 'DelimitedFile' })
    expect((await run(['source', 'list'])).stdout).toMatch(/^ID +NAME[\s\S]*\bHR\b/)
  })

  it('takes nothing back and nothing over when a source of this name exists', async () => {
    const again = await run(['source', 'create', 'HR', '--from', 'hr.csv'])
    expect(again).toMatchObject({ code: 1, stdout: '' })
    expect(JSON.parse((await run(['source', 'list', '--json'])).stdout)).toHaveLength(1)
  })

  it('makes a source of merged rows', async () => {
    await writeFile(join(folder, 'groups.csv'), 'id;name;groups\n1;Ada;a\n1;;b\n2;Bob;a\n')
    const made = await run([
      'source',
      'create',
      'Groups',
      '--from',
      'groups.csv',
      '--merge',
      'groups',
      '--json',
    ])
    expect(made.code).toBe(0)
    expect(JSON.parse(made.stdout)).toMatchObject({
      connectorAttributes: { delimiter: ';', mergeRows: true, mergeColumns: ['groups'] },
      schema: {
        identityAttribute: 'id',
        displayAttribute: 'name',
        attributes: [{ name: 'id' }, { name: 'name' }, { name: 'groups', isMulti: true }],
      },
    })
    await run(['aggregate', 'groups.csv', '--source', 'Groups'])
    const account = await run(['account', 'get', '1', '--source', 'Groups', '--json'])
    expect(JSON.parse(account.stdout)).toMatchObject({ attributes: { groups: ['a', 'b'] } })
  })

  it('aggregates a file and prints the counts', async () => {
    const first = await run(['aggregate', 'hr.csv', '--source', 'HR'])
    expect(first).toMatchObject({ code: 0, stderr: '' })
    expect(first.stdout).toMatch(/status +SUCCESS after [\d.]+ s/)
    expect(first.stdout).toMatch(/created +20\n/)
    const second = await run([
      'aggregate',
      'hr.csv',
      '--source',
      'HR',
      '--disable-optimization',
      '--json',
    ])
    expect(JSON.parse(second.stdout)).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 0, optimizedAggregation: 'disabled' },
    })
    const none = await run(['aggregate', 'hr.csv', '--source', 'HR', '--no-wait'])
    expect(none.stdout).toMatch(/^[0-9a-f]{32}\n$/)
    const task = await run(['task', 'get', none.stdout.trim()])
    expect(task).toMatchObject({ code: 0, stdout: expect.stringContaining(none.stdout.trim()) })
  })

  it('reads a file from standard input', async () => {
    const text = await readFile(join(folder, 'hr.csv'))
    const child = spawn(process.execPath, [bin(), 'aggregate', '-', '--source', 'HR'], {
      env: environment,
      cwd: folder,
      stdio: 'pipe',
    })
    child.stdin.write(text)
    const outcome = await collect(child)
    expect(outcome).toMatchObject({ code: 0, stdout: expect.stringMatching(/unchanged +20\n/) })
  })

  it('ends with 5 when removals were skipped, and shows the rows that were rejected', async () => {
    await writeFile(join(folder, 'short.csv'), 'employeeId,displayName,mail\n1001,Ada,a@x\n')
    const skipped = await run(['aggregate', 'short.csv', '--source', 'HR'])
    expect(skipped).toMatchObject({ code: 5, stderr: expect.stringContaining('delete threshold') })
    const rows = (await readFile(join(folder, 'hr.csv'), 'utf8')).replace('1003,', '1002,')
    await writeFile(join(folder, 'twice.csv'), rows)
    const rejected = await run(['aggregate', 'twice.csv', '--source', 'HR'])
    expect(rejected.stderr).toMatch(/1 row was rejected[\s\S]*line 4: /)
    expect(rejected.code).toBe(0)
    const strict = await run(['aggregate', 'twice.csv', '--source', 'HR', '--fail-on-warning'])
    expect(strict.code).toBe(1)
  })

  it('ends with 1 when the run fails', async () => {
    await writeFile(join(folder, 'wrong.csv'), 'somethingElse\n1\n')
    const failed = await run(['aggregate', 'wrong.csv', '--source', 'HR'])
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining('ERROR: ') })
  })

  it('ends with 6 when the time is over', async () => {
    // A server that never gets to an end stands in for a long run.
    const slow = createServer((request, response) => {
      request.resume()
      response.setHeader('content-type', 'application/json')
      const { url = '' } = request
      if (url === '/oauth/token') response.end('{"access_token":"t","expires_in":60}')
      else if (url.includes('load-accounts')) response.end('{"success":true,"task":{"id":"7"}}')
      else if (url.includes('/sources?')) response.end('[{"id":"1","name":"HR"}]')
      else
        response.end(
          '{"id":"7","completionStatus":null,"progress":"\\u001b[31mred","percentComplete":1}',
        )
    })
    await new Promise<void>((resolve) => {
      slow.listen(0, '127.0.0.1', resolve)
    })
    const url = `http://127.0.0.1:${(slow.address() as AddressInfo).port}`
    const env = { ...environment, SAIL_BASE_URL: url }
    const late = await run(['aggregate', 'hr.csv', '--source', 'HR', '--timeout', '0.5'], env)
    expect(late).toMatchObject({
      code: 6,
      stdout: '',
      stderr: expect.stringContaining('did not end within'),
    })

    const child = spawn(process.execPath, [bin(), 'aggregate', 'hr.csv', '--source', 'HR'], {
      env,
      cwd: folder,
    })
    setTimeout(() => child.kill('SIGINT'), 1_500)
    const stopped = await collect(child)
    expect(stopped).toMatchObject({
      code: 130,
      stderr: expect.stringContaining('muster task cancel 7'),
    })
    slow.closeAllConnections()
    slow.close()
  })

  it('lists tasks and accounts, as tables and as JSON', async () => {
    const tasks = await run(['task', 'list', '--source', 'HR', '--status', 'SUCCESS', '--json'])
    const parsed = JSON.parse(tasks.stdout) as { completionStatus: string }[]
    expect(parsed.length).toBeGreaterThan(1)
    expect(parsed.every(({ completionStatus }) => completionStatus === 'SUCCESS')).toBe(true)
    const accounts = await run(['account', 'list', '--source', 'HR', '--limit', '3'])
    expect(accounts.stdout.trim().split('\n')).toHaveLength(4)
    expect(accounts.stderr).toContain('3 of 19 accounts')
    const filtered = await run([
      'account',
      'list',
      '--source',
      'HR',
      '--filters',
      'nativeIdentity eq "1005"',
      '--json',
    ])
    expect(JSON.parse(filtered.stdout)).toMatchObject([{ nativeIdentity: '1005' }])
    const id = (JSON.parse(filtered.stdout) as { id: string }[])[0]?.id ?? ''
    expect((await run(['account', 'get', id])).stdout).toMatch(/mail +u4@example.com/)
  })

  it('says that a task that has ended cannot be cancelled', async () => {
    const tasks = await run(['task', 'list', '--limit', '1', '--json'])
    const [task] = JSON.parse(tasks.stdout) as { id: string }[]
    const outcome = await run(['task', 'cancel', task?.id ?? ''])
    expect(outcome).toMatchObject({ code: 1, stdout: '' })
  })

  it('makes credentials that see one source', async () => {
    const made = await run(['token', 'create', '--level', 'SOURCE_SUBADMIN', '--source', 'Groups'])
    expect(made.code).toBe(0)
    const given = [...made.stdout.matchAll(/^(SAIL_\w+)=(\S+)$/gm)].map(([, name, value]) => [
      name,
      value,
    ])
    const env = { ...bare(), ...(Object.fromEntries(given) as NodeJS.ProcessEnv) }
    const seen = await run(['source', 'list', '--json'], env)
    expect(JSON.parse(seen.stdout)).toMatchObject([{ name: 'Groups' }])
    expect((await run(['token', 'create', '--level', 'ORG_ADMIN'], env)).code).toBe(3)
    expect((await run(['aggregate', 'hr.csv', '--source', 'HR'], env)).code).toBe(4)
  })

  it('tells the outcome by its exit code', async () => {
    const codes: [string[], NodeJS.ProcessEnv, number][] = [
      [['--help'], environment, 0],
      [['--version'], environment, 0],
      [['source', 'get', 'None'], environment, 4],
      [['task', 'get', '0'.repeat(32)], environment, 4],
      [['account', 'get', '..'], environment, 4],
      [['nonsense'], environment, 2],
      [['aggregate', 'hr.csv'], environment, 2],
      [['aggregate', 'none.csv', '--source', 'HR'], environment, 2],
      [['task', 'list', '--limit', 'x'], environment, 2],
      [['source', 'create', 'X', '--from', 'hr.csv', '--id-column', 'nope'], environment, 2],
      [['source', 'list', '--url', 'nonsense'], environment, 2],
      [['source', 'list'], { ...environment, SAIL_CLIENT_SECRET: 'wrong' }, 3],
      [['source', 'list'], bare(), 3],
      [['source', 'list'], { ...environment, SAIL_BASE_URL: 'http://127.0.0.1:9' }, 1],
    ]
    for (const [args, env, code] of codes) {
      const outcome = await run(args, env)
      expect([args, outcome.code, outcome.stderr]).toEqual([args, code, expect.any(String)])
      if (code !== 0) expect(outcome.stdout).toBe('')
    }
  })

  it('has an example in the help of every command, and its options in the reference', async () => {
    const leaves = [
      'serve',
      'source create',
      'source list',
      'source get',
      'source delete',
      'source test',
      'source discover',
      'source peek',
      'source reset-state',
      'aggregate',
      'task list',
      'task get',
      'task cancel',
      'account list',
      'account get',
      'token create',
      'doctor',
      'secrets rotate',
    ]
    const helps = await Promise.all(leaves.map((leaf) => run([...leaf.split(' '), '--help'])))
    for (const [at, help] of helps.entries()) {
      expect([leaves[at], help.code, help.stdout]).toEqual([
        leaves[at],
        0,
        expect.stringMatching(/Examples?:\n/),
      ])
    }
    const reference = await readFile(join(checkout, 'docs', 'reference', 'cli.md'), 'utf8')
    const options = helps.flatMap(
      ({ stdout }) => stdout.match(/(?<=^ {2}(?:-h, )?)--[a-z-]+/gm) ?? [],
    )
    expect(options.length).toBeGreaterThan(50)
    for (const option of new Set(options)) expect(reference).toContain(option)
    const main = await run(['--help'])
    for (const leaf of leaves) expect(main.stdout).toContain(leaf.split(' ')[0])
  }, 120_000)

  it('examines itself', async () => {
    const fine = await run(['doctor'])
    expect(fine).toMatchObject({ code: 0, stdout: expect.stringContaining('is ready') })
    const lost = await run(['doctor', '--json'], { ...bare(), SAIL_BASE_URL: 'http://127.0.0.1:9' })
    expect(lost.code).toBe(1)
    const findings = JSON.parse(lost.stdout) as { name: string }[]
    expect(findings.slice(0, 2)).toMatchObject([
      { name: 'node' },
      { name: 'server', outcome: 'fail', advice: expect.stringContaining('muster serve') },
    ])
    expect(findings.map(({ name }) => name)).toContain('data folder')
    const denied = await run(['doctor'], { ...environment, SAIL_CLIENT_SECRET: 'wrong' })
    expect(denied).toMatchObject({ code: 1, stdout: expect.stringMatching(/fail {2}credentials/) })
  })

  it('deletes a source, and prints nothing that a terminal would obey', async () => {
    const name = '\u001B[31mred\u202E'
    expect((await run(['source', 'create', name, '--from', 'hr.csv'])).code).toBe(0)
    const list = await run(['source', 'list'])
    expect(list.stdout).toContain(String.raw`\u001b[31mred\u202e`)
    expect(list.stdout).not.toContain('\u001B')
    const json = await run(['source', 'list', '--json'])
    expect((JSON.parse(json.stdout) as { name: string }[]).map((source) => source.name)).toContain(
      name,
    )
    const deleted = await run(['source', 'delete', name])
    expect(deleted).toMatchObject({ code: 0, stdout: expect.stringMatching(/status +SUCCESS/) })
    expect((await run(['source', 'get', name])).code).toBe(4)
  })
})

describe('muster serve', () => {
  it('prints its banner on stderr and nothing but log lines on stdout', () => {
    expect(server.stderr()).toMatch(/Docs +http:\S+\/docs\n[\s\S]*Health +http:\S+\/health\/ready/)
    const lines = server.stdout().trim().split('\n')
    expect(lines.length).toBeGreaterThan(2)
    for (const line of lines) expect(JSON.parse(line)).toHaveProperty('msg')
    const secret = environment['SAIL_CLIENT_SECRET'] ?? 'x'
    expect(server.stdout()).not.toContain(secret)
  })

  it('is refused on a folder that another has, naming it, and so is a rotation of its key', async () => {
    const env = { ...bare(), MUSTER_DATA_DIR: dataDir }
    for (const args of [
      ['serve', '--port', '0'],
      ['secrets', 'rotate'],
    ]) {
      const refused = await run(args, env)
      expect(refused.code).toBe(1)
      expect(refused.stderr).toContain(`process ${server.child.pid}`)
    }
  })

  it('says which setting is wrong', async () => {
    const refused = await run(['serve'], { ...bare(), MUSTER_PORT: 'x' })
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('MUSTER_PORT') })
  })

  it('stops at SIGTERM with 0, shows its secret only once, and lives on under a rotated key', async () => {
    const env = { MUSTER_DATA_DIR: join(folder, 'other') }
    const first = await serve(env)
    expect(first.stderr()).toContain('SAIL_CLIENT_SECRET')
    first.child.kill('SIGTERM')
    expect(await first.ended).toBe(0)
    const before = await readFile(join(folder, 'other', 'key'), 'utf8')
    const rotated = await run(['secrets', 'rotate'], { ...bare(), ...env })
    expect(rotated).toMatchObject({ code: 0, stdout: expect.stringMatching(/^secrets +\d+\n$/) })
    expect(await readFile(join(folder, 'other', 'key'), 'utf8')).not.toBe(before)
    const second = await serve(env)
    expect(second.stderr()).not.toContain('SAIL_CLIENT_SECRET')
    second.child.kill('SIGINT')
    expect(await second.ended).toBe(0)
  })

  it('goes when the npm that started it is gone', async () => {
    const env = { MUSTER_DATA_DIR: join(folder, 'orphan'), npm_command: 'start' }
    const script = `"${process.execPath}" "${bin()}" serve --port 0 & echo $!; wait`
    const shell = await start('sh', ['-c', script], env)
    const pid = Number(/^(\d+)$/m.exec(shell.stdout())?.[1])
    expect(pid).toBeGreaterThan(0)
    shell.child.kill('SIGKILL')
    expect(await gone(pid)).toBe(true)
    await removeData(join(folder, 'orphan'))
  })
})
