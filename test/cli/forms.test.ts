import { execFileSync, spawn } from 'node:child_process'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { openCommandLine } from '../support/command-line.ts'
import type { CommandLine } from '../support/command-line.ts'

let line: CommandLine
let hr = ''
let run = ''
const inFolder = (...names: string[]): string => join(line.folder, ...names)
const formula = '=HYPERLINK("http://x")'

beforeAll(async () => {
  line = await openCommandLine({})
  const rows = [`1,"${formula.replaceAll('"', '""')}"`, "2,'quoted", '3,-5', '4,plain', '5,']
  await writeFile(inFolder('hr.csv'), `id,name\n${rows.join('\n')}\n`)
  hr = ((await line.json(['source', 'create', 'HR', '--from', 'hr.csv'])) as { id: string }).id
  await writeFile(inFolder('more.csv'), `id,name\n${rows.join('\n')}\n1,again\n`)
  run = ((await line.json(['aggregate', 'more.csv', '--source', 'HR'])) as { id: string }).id
}, 180_000)
afterAll(() => line.close())

describe('the forms of output', () => {
  it('hold the same data as JSON and as YAML, and -o json is --json', async () => {
    const json = await line.run(['source', 'list', '--json'])
    expect((await line.run(['source', 'list', '-o', 'json'])).stdout).toBe(json.stdout)
    const yaml = await line.run(['source', 'list', '-o', 'yaml'])
    expect(parseYaml(yaml.stdout)).toEqual(JSON.parse(json.stdout))
    expect((await line.run(['source', 'list', '-o', 'xml'])).code).toBe(2)
    expect((await line.run(['source', 'list', '--json', '-o', 'csv'])).code).toBe(2)
  })

  it('are the same for every command that prints data', async () => {
    const commands = [
      ['source', 'list'],
      ['source', 'get', 'HR'],
      ['source', 'test', 'HR'],
      ['account', 'list'],
      ['account', 'get', '4', '--source', 'HR'],
      ['task', 'list'],
      ['task', 'get', run],
      ['task', 'wait', run],
      ['run', 'list'],
      ['run', 'show', run],
      ['run', 'changes', run],
      ['run', 'rejects', run],
      ['env', 'list'],
      ['doctor'],
      ['api', 'get', '/v2025/sources'],
    ]
    for (const command of commands) {
      const json = await line.run([...command, '-o', 'json'])
      const yaml = await line.run([...command, '-o', 'yaml'])
      const csv = await line.run([...command, '-o', 'csv'])
      expect([command, json.code, yaml.code, csv.code]).toEqual([command, 0, 0, 0])
      expect([command, Array.isArray(parseYaml(yaml.stdout))]).toEqual([
        command,
        Array.isArray(JSON.parse(json.stdout)),
      ])
      expect([command, csv.stdout.split('\n')[0]]).toEqual([
        command,
        expect.stringMatching(/\w,\w/),
      ])
    }
  }, 360_000)

  it('have no colours and no bars where there is no terminal, whatever TERM says', async () => {
    const env = { TERM: 'xterm-256color', COLORTERM: 'truecolor', FORCE_COLOR: '1' }
    for (const args of [
      ['source', 'list'],
      ['doctor'],
      ['aggregate', 'hr.csv', '--source', 'HR'],
      ['source', 'get', 'none'],
      ['task', 'list', '--no-color'],
    ]) {
      const { stdout, stderr } = await line.run(args, '', env)
      expect([args, /[\x00-\x08\x0b-\x1f\x7f]/.test(stdout + stderr)]).toEqual([args, false])
    }
  })

  // `script`, which makes a terminal, takes other options on other systems.
  it.runIf(process.platform === 'linux')(
    'have colours on a terminal, and none with NO_COLOR, --no-color or a dumb terminal',
    () => {
      const node = `${process.execPath} ${line.bin} task list`
      const atTerminal = (command: string, env: NodeJS.ProcessEnv): string =>
        execFileSync('script', ['-qec', command, '/dev/null'], {
          encoding: 'utf8',
          cwd: line.folder,
          env: { ...process.env, ...environment(), TERM: 'xterm', NO_COLOR: '', ...env },
        })
      expect(atTerminal(node, {})).toContain('\u001B[32mSUCCESS\u001B[0m')
      expect(atTerminal(node, { NO_COLOR: '1' })).not.toContain('\u001B')
      expect(atTerminal(node, { TERM: 'dumb' })).not.toContain('\u001B')
      expect(atTerminal(`${node} --no-color`, {})).not.toContain('\u001B')
    },
  )

  it('neutralise formulas in CSV, and with --raw give back what was uploaded', async () => {
    const list = ['account', 'list', '--source', 'HR', '-o', 'csv']
    const safe = (await line.run(list)).stdout
    expect(safe).toContain(`"'${formula.replaceAll('"', '""')}"`)
    expect(safe).toContain(`,"''quoted"`)
    expect(safe).toContain(`,"'-5"`)
    const raw = await line.run([...list, '--raw'])
    await writeFile(inFolder('back.csv'), raw.stdout.replace(/^.*$/m, headsOfSource))
    const again = await line.json(['aggregate', 'back.csv', '--source', 'HR'])
    expect(again).toMatchObject({ attributes: { created: 0, updated: 0, deleted: 0 } })
  })

  it('have the columns that matter in CSV also when there is nothing', async () => {
    const none = await line.run([
      'account',
      'list',
      '--filters',
      'nativeIdentity eq "x"',
      '-o',
      'csv',
    ])
    expect(none.stdout).toBe('id,nativeIdentity,name,sourceId,sourceName\n')
  })

  it('give rejected rows as they were read, to mend and upload them', async () => {
    const rejects = await line.json(['run', 'rejects', run])
    expect(rejects).toMatchObject([{ position: 7, nativeIdentity: '1', raw: '1,again' }])
    const rows = await line.run(['run', 'rejects', run, '--rows'])
    expect(rows.stdout).toBe('1,again\n')
    const changes = await line.json(['run', 'changes', run, '--kind', 'created', '--limit', '2'])
    expect(changes).toHaveLength(2)
  })
})

/** The columns of an account in CSV by the names that the source of this test knows. */
const headsOfSource = (heads: string): string =>
  heads
    .replace('nativeIdentity,name', 'native,label')
    .replace('attributes.id', 'id_')
    .replace(/^id,/, 'account,')
    .replace('id_', 'id')
    .replace('attributes.name', 'name')

function environment(): NodeJS.ProcessEnv {
  return {
    HOME: line.folder,
    SAIL_BASE_URL: line.server.url,
    SAIL_CLIENT_ID: 'kill-test',
    SAIL_CLIENT_SECRET: 'the secret of the kill tests',
  }
}

describe('a folder of files', () => {
  const two = 'b'.repeat(32)

  it('goes file by file to the sources that the names say, and ends with the worst outcome', async () => {
    const folder = inFolder('exports')
    await mkdir(join(folder, 'deep'), { recursive: true })
    const made = await Promise.all(
      ['A', 'B', 'C'].map((name) => line.json(['source', 'create', name, '--from', 'hr.csv'])),
    )
    const [a = '', b = ''] = made.map((source: { id: string }) => source.id)
    const third = made[2] as { connectorAttributes: { cloudExternalId: string } }
    const external = third.connectorAttributes.cloudExternalId
    expect(external).toMatch(/^\d{4,10}$/)
    await writeFile(join(folder, `${a} - all of them.csv`), 'id,name\n1,x\n2,y\n')
    await writeFile(join(folder, `${b.toUpperCase()}_1.CSV`), 'id,name\n1,x\n')
    await writeFile(join(folder, `${external} - third.csv`), 'id,name\n1,x\n')
    await writeFile(join(folder, 'notes.txt'), 'no')
    await writeFile(join(folder, '2026 plan.csv'), 'no')
    await writeFile(join(folder, 'deep', `${hr}.csv`), 'id,name\n1,x\n')
    const listed = await line.json(['aggregate', 'exports', '--list'])
    expect(listed).toHaveLength(5)
    expect(listed).toEqual(
      expect.arrayContaining(
        [
          { file: `${external} - third.csv`, sourceName: 'C', reason: null },
          { file: '2026 plan.csv', sourceId: null, reason: expect.stringContaining('2026') },
          { file: `${a} - all of them.csv`, sourceId: a, sourceName: 'A', bytes: 16 },
          { file: `${b.toUpperCase()}_1.CSV`, sourceId: b, sourceName: 'B' },
          { file: 'notes.txt', sourceId: null, reason: expect.stringContaining('.csv') },
        ].map((entry): unknown => expect.objectContaining(entry)),
      ),
    )
    expect(JSON.parse((await line.run(['run', 'list', '-o', 'json'])).stdout)).not.toContainEqual(
      expect.objectContaining({ sourceName: 'A' }),
    )
    const done = await line.run(['aggregate', 'exports', '--parallel', '2'])
    expect(done.code).toBe(0)
    expect(done.stdout).toMatch(/all of them\.csv +A +SUCCESS +2 /)
    expect(done.stdout).toMatch(/notes\.txt +- +left alone/)
    // Two of three accounts go from HR, which is above its threshold: the worst of the outcomes is 5.
    const all = await line.run(['aggregate', 'exports', '--recursive', '-o', 'json'])
    expect(all.code).toBe(5)
    expect(JSON.parse(all.stdout)).toContainEqual(
      expect.objectContaining({ file: `deep/${hr}.csv`, exitCode: 5, completionStatus: 'WARNING' }),
    )
    await writeFile(join(folder, `${two} - lost.csv`), 'id,name\n1,x\n')
    const lost = await line.run(['aggregate', 'exports', '-o', 'json'])
    expect([lost.code, JSON.parse(lost.stdout).length]).toEqual([4, 6])
    await writeFile(join(folder, `${a}.csv`), 'id,name\n3,z\n')
    const double = await line.run(['aggregate', 'exports'])
    expect(double).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('2 files'),
    })
    const begun = await line.run(['aggregate', 'exports/deep', '--no-wait', '-o', 'csv'])
    expect([begun.code, begun.stdout.split('\n').length]).toEqual([0, 3])
  }, 360_000)

  it('says what is wrong with options that are for the other thing', async () => {
    await mkdir(inFolder('empty'), { recursive: true })
    for (const args of [
      ['aggregate', 'empty'],
      ['aggregate', 'empty', '--source', 'HR'],
      ['aggregate', 'hr.csv', '--source', 'HR', '--recursive'],
      ['aggregate', 'hr.csv', '--source', 'HR', '--timeout', 'soon'],
      ['aggregate', '--source', 'HR', '--list'],
    ]) {
      expect([args, (await line.run(args)).code]).toEqual([args, 2])
    }
    await rm(inFolder('empty'), { recursive: true })
  })
})

describe('muster api', () => {
  it('prints the body as it came, and tells by its exit code how it ended', async () => {
    const got = await line.run(['api', 'get', 'v2025/sources', '-q', 'limit=1', '-i'])
    expect(got.code).toBe(0)
    expect(JSON.parse(got.stdout)).toHaveLength(1)
    expect(got.stderr).toMatch(/^HTTP 200 OK\n[\s\S]*content-type: application\/json/)
    const codes: [string[], number][] = [
      [['get', '/v2025/sources/none'], 4],
      [['get', '/v2025/sources', '-q', 'limit=9999'], 1],
      [['get', '/v2025/sources', '-H', 'authorization: Bearer x'], 3],
      [['get', 'https://elsewhere.example/v2025/sources'], 2],
      [['get', '//elsewhere.example/'], 2],
      [['post', '/v2025/sources', '-b', 'not json'], 1],
      [['post', '/v2025/sources', '-b', '{}', '-f', 'x'], 2],
      [['get', '/v2025/sources', '-q', 'limit'], 2],
    ]
    for (const [args, code] of codes) {
      const ended = await line.run(['api', ...args])
      expect([args, ended.code, ended.stderr]).toEqual([args, code, expect.any(String)])
    }
    const missing = await line.run(['api', 'get', '/v2025/sources/none'])
    expect(JSON.parse(missing.stdout)).toHaveProperty('trackingId')
  }, 120_000)

  it('sends bodies from an option, a file or input, and forms with files', async () => {
    const source = await line.json(['source', 'create', 'Api', '--from', 'hr.csv'])
    const path = `/v2025/sources/${(source as { id: string }).id}`
    const step = (value: string): string =>
      JSON.stringify([{ op: 'replace', path: '/description', value }])
    const patched = await line.run(['api', 'patch', path, '-b', step('one')])
    expect(JSON.parse(patched.stdout)).toMatchObject({ description: 'one' })
    const piped = await line.run(['api', 'patch', path, '-f', '-'], step('two'))
    expect(JSON.parse(piped.stdout)).toMatchObject({ description: 'two' })
    await writeFile(inFolder('body.json'), step('three'))
    const filed = await line.run(['api', 'patch', path, '-f', 'body.json', '-o', 'yaml'])
    expect(parseYaml(filed.stdout)).toMatchObject({ description: 'three' })
    const form = ['-F', 'disableOptimization=true', '-F', 'file=@hr.csv']
    const load = await line.run(['api', 'post', `${path}/load-accounts`, ...form])
    const { task } = JSON.parse(load.stdout) as { task: { id: string } }
    expect((await line.run(['task', 'wait', task.id, '--timeout', '1m'])).code).toBe(0)
    const ended = await line.json(['task', 'get', task.id])
    expect(ended).toMatchObject({ attributes: { created: 5, optimizedAggregation: 'disabled' } })
    const gone = await line.run(['api', 'delete', path])
    expect(gone.code).toBe(0)
  }, 120_000)

  it('reads a list to its end', async () => {
    const all = await line.run(['api', 'get', '/v2025/accounts?limit=2', '--paginate', '-o', 'csv'])
    const total = await line.json(['account', 'list'])
    expect(all.stdout.trim().split('\n')).toHaveLength((total as unknown[]).length + 1)
    expect((await line.run(['api', 'get', `/v2025/sources/${hr}`, '--paginate'])).code).toBe(2)
  })

  it('waits for no input that nobody sends', async () => {
    let body: string | null = null
    const server = createServer((request, response) => {
      let text = ''
      request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      request.on('end', () => {
        if (request.url !== '/oauth/token') body = `${request.headers['content-type']}|${text}`
        response.end('{"access_token":"t","expires_in":60}')
      })
    })
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    // Its input stays open, and nothing comes.
    const child = spawn(process.execPath, [line.bin, 'api', 'post', '/x'], {
      env: { ...process.env, ...environment(), SAIL_BASE_URL: url },
      stdio: 'pipe',
    })
    let printed = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text))
    const code = await new Promise((resolve) => {
      child.on('close', resolve)
    })
    expect([code, printed.includes('access_token')]).toEqual([0, true])
    expect(body).toBe('undefined|')
    server.close()
  })
})
