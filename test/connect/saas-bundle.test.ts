// Connectors in bundles: built from the official SDK, run by Muster in a child process with limits.
import { execFileSync } from 'node:child_process'
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Settings } from '../../src/core/setting.ts'
import { permissionFlags } from '../../src/connect/saas-child.ts'
import { saasConnector } from '../../src/connect/saas.ts'
import { buildBundles, drain, openTools, removeBundles, using, wish } from './saas-support.ts'

const names = ['id', 'name', 'badge', 'active', 'groups']

let folder: string
let root: string

beforeAll(async () => {
  folder = await buildBundles()
  root = join(folder, 'bundles')
  await mkdir(join(folder, 'outside'))
  await writeFile(join(folder, 'outside', 'index.js'), '')
  await symlink(join(folder, 'outside'), join(root, 'link'))
  await writeFile(join(root, 'bare.js'), '')
})

afterAll(async () => {
  await removeBundles(folder)
})

/** Settings of a bundle of the tests. */
function bundle(name: string, given: Settings = {}): Settings {
  return { bundleRoot: root, bundle: `${name}/index.js`, ...given }
}

function readAll(
  settings: Settings,
  given: Parameters<typeof wish>[1] = {},
  wanted: readonly string[] = names,
) {
  return using(saasConnector.open(settings, openTools()), (reader) =>
    drain(reader.read(wish(wanted, given))),
  )
}

/** Children of this process that still run a bundle. */
function leftovers(): readonly string[] {
  return execFileSync('ps', ['-o', 'ppid=,args=', '-A'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes('runner.mjs') && line.trim().startsWith(String(process.pid)))
}

describe('a bundle', () => {
  it('is checked, described and read like a running connector', async () => {
    const settings = bundle('directory', { config: { token: 'open-sesame' } })
    await using(saasConnector.open(settings, openTools()), async (reader) => {
      const { signal } = new AbortController()
      expect(await reader.check(signal)).toMatchObject({ connector: 'directory' })
      expect((await reader.discover(signal)).map(({ name }) => name)).toEqual(['account', 'group'])
      const { records, end } = await drain(reader.read(wish(names)))
      expect(records[2]).toEqual({
        identity: 'user-3',
        disabled: false,
        locked: false,
        values: ['user-3', 'User 3', '9007199254740992', 'false', ['staff', 'readers']],
      })
      expect(end).toMatchObject({ mode: 'full', cursor: null })
      expect(await reader.readOne?.('user-2', wish(['name']))).toMatchObject({ values: ['User 2'] })
      expect(await reader.readOne?.('user-99', wish(['name']))).toBeNull()
      const groups = await drain(reader.entitlements?.(wish(['id'], { objectType: 'group' })))
      expect(groups.records).toHaveLength(2)
    })
  })

  it('reads a delta from the state of the last read', async () => {
    const settings = bundle('directory', { spConnEnableStatefulCommands: true })
    const full = await readAll(settings)
    expect(full.end.cursor).toEqual({ state: { since: 1 } })
    const delta = await readAll(settings, { cursor: full.end.cursor })
    expect(delta.end).toMatchObject({ mode: 'delta', cursor: { state: { since: 2 } } })
    expect(delta.records[1]).toMatchObject({ identity: 'user-2', deleted: true })
  })

  it('gives a long list whole that it sends in one go, however slow the consumer is', async () => {
    const settings = bundle('directory', { config: { count: 40_000, filler: 300 } })
    const { records, end } = await using(saasConnector.open(settings, openTools()), (reader) =>
      drain(reader.read(wish(names)), 1),
    )
    expect(records).toHaveLength(40_000)
    expect(end.proof).toBe('the connector returned from its command')
  })

  it('is ended when its reader stops early or is aborted', async () => {
    const limited = await readAll(bundle('faulty', { config: { fault: 'sends without end' } }), {
      limit: 10,
    })
    expect(limited.records).toHaveLength(10)
    expect(limited.end.proof).toBeNull()
    const reason = new Error('the run was cancelled')
    const aborting = readAll(bundle('faulty', { config: { fault: 'loops' } }), {
      signal: AbortSignal.timeout(700),
    })
    await expect(aborting).rejects.toMatchObject({ name: 'TimeoutError' })
    const aborted = readAll(bundle('faulty', { config: { fault: 'hangs' } }), {
      signal: AbortSignal.abort(reason),
    })
    await expect(aborted).rejects.toBe(reason)
    expect(leftovers()).toEqual([])
  })

  it('sees nothing of ours: no environment, no files, no processes', async () => {
    process.env['MUSTER_KEY'] = 'the key that seals secrets'
    const keyFile = join(root, 'key')
    await writeFile(keyFile, 'the key')
    const asked = ['environment', 'keyFile', 'passwd', 'parent', 'write', 'fork', 'worker', 'user']
    const config = { fault: 'looks around', keyFile }
    const { records } = await readAll(bundle('faulty', { config }), {}, asked)
    delete process.env['MUSTER_KEY']
    const [environment, ...refused] = records[0]?.values ?? []
    expect(String(environment).split(' ')).toEqual(expect.arrayContaining(['CONNECTOR_CONFIG']))
    expect(String(environment)).not.toMatch(/MUSTER|DATABASE|PATH|HOME/)
    const user = refused.pop()
    expect(refused).toEqual(Array.from({ length: 6 }, () => 'ERR_ACCESS_DENIED'))
    if (process.getuid?.() === 0) expect(user).toBe('65533')
  })
})

describe('a faulty bundle', () => {
  it.each([
    ['throws at once', 'connector_failed', 'the system said no to ******'],
    ['throws within', 'connector_failed', 'the connection to the system broke'],
    ['rejects later', 'connector_failed', 'nobody waited for this'],
    ['exits within', 'connector_exited', 'exit code 0'],
    ['exits 137', 'connector_exited', 'exit code 137'],
    ['kills itself', 'connector_exited', 'SIGABRT'],
    ['hangs', 'connector_silent', '2 s'],
    ['waits for nothing', 'connector_exited', 'exit code 0'],
    ['loops', 'connector_silent', '2 s'],
    ['prints without end', 'connector_', ''],
    ['sends without end', 'connector_limit', '16 MB'],
    ['sends a long line', 'connector_limit', '262144 bytes'],
    ['eats memory', 'connector_limit', '128 MB'],
    ['state, then error', 'connector_failed', 'after the state'],
    ['state that is none', 'connector_record_bad', 'no JSON object'],
    ['forgets to await', 'connector_failed', 'after its end'],
    ['marks incomplete', 'connector_record_bad', 'incomplete'],
    ['sends no id', 'connector_record_bad', 'without an id'],
  ])('fails the read when it %s', async (fault, code, words) => {
    const limits = { silenceSeconds: 2, memoryMb: 128, maximumMegabytes: 16 }
    const config = { fault, password: 'hunter2-secret' }
    const error: unknown = await readAll(bundle('faulty', { ...limits, config })).catch(
      (reason: unknown) => reason,
    )
    expect(error).toMatchObject({ code: expect.stringContaining(code) })
    expect(String(error)).toContain(words)
    expect(String(error)).not.toMatch(/hunter2|second line|\.js/)
    expect(leftovers()).toEqual([])
  })

  it('is stopped when its heap is full, whatever it says last', async () => {
    const given = { silenceSeconds: 60, memoryMb: 128, config: { fault: 'fills the heap' } }
    await expect(readAll(bundle('faulty', given))).rejects.toMatchObject({
      code: 'connector_limit',
      message: 'The connector needed more than 128 MB of memory.',
    })
  })

  it('may print what it likes: it counts neither as a record nor as the end', async () => {
    const { records } = await readAll(bundle('faulty', { config: { fault: 'prints' } }))
    expect(records.map(({ identity }) => identity)).toEqual(['user-1'])
  })
})

describe('the path of a bundle', () => {
  it.each([
    ['../outside/index.js', 'leads out'],
    ['directory/../../outside/index.js', 'leads out'],
    ['/etc/hosts.js', 'not there'],
    ['link/index.js', 'leads out'],
    ['missing/index.js', 'not there'],
    ['directory/connector-spec.json', 'no JavaScript'],
    ['bare.js', 'no folder of its own'],
  ])('%s is refused', async (path, words) => {
    const error: unknown = await readAll({ bundleRoot: root, bundle: path }).catch(
      (reason: unknown) => reason,
    )
    expect(error).toMatchObject({ code: 'bad_setting' })
    expect(String(error)).toContain(words)
  })

  it('leaves no copy behind, not even that of a process that was killed', async () => {
    const killed = join(tmpdir(), 'muster-connector-4194999-test')
    await mkdir(killed, { recursive: true })
    await readAll(bundle('directory'))
    const left = (await readdir(tmpdir())).filter(
      (name) => name.startsWith(`muster-connector-${process.pid}-`) || killed.endsWith(name),
    )
    expect(left).toEqual([])
  })

  it('ends with the thread that runs it', async ({ skip }) => {
    if (process.platform !== 'linux') return skip('only Linux can do this')
    const settings = bundle('faulty', { config: { fault: 'loops' } })
    const thread = new Worker(new URL('saas-thread.mjs', import.meta.url), { workerData: settings })
    await expect.poll(() => leftovers().length, { timeout: 10_000 }).toBe(1)
    await thread.terminate()
    await expect.poll(() => leftovers(), { timeout: 5000 }).toEqual([])
  })

  it('runs under the permission model of its Node', () => {
    expect(permissionFlags('20.19.0')).toEqual(['--experimental-permission'])
    expect(permissionFlags('22.12.0')).toEqual(['--experimental-permission'])
    expect(permissionFlags('22.13.0')).toEqual(['--permission'])
    expect(permissionFlags('23.4.0')).toEqual(['--experimental-permission'])
    expect(permissionFlags('24.0.0')).toEqual(['--permission'])
    expect(permissionFlags('25.0.0')).toEqual(['--permission', '--allow-net'])
  })
})
