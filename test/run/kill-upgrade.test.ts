// Upgrades of a server that was at work: killed halfway, started as a newer version, and as the older one again.
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { checkout } from '../support/build.ts'
import { emptyDatabase } from '../support/database.ts'
import {
  csvOf,
  expectAccounts,
  expectSound,
  model,
  spoolOf,
  withEmbedded,
} from '../support/kill-checks.ts'
import {
  buildServer,
  connectTo,
  databaseUrl,
  removeData,
  type ServerOptions,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts'

const later = `alter table source add column later text;
comment on column source.later is 'A column of a later version.';
`

let build = ''
const builds: string[] = []
beforeAll(async () => {
  build = await buildServer()
  await cp(join(checkout, 'bin'), join(build, 'bin'), { recursive: true })
  builds.push(build)
})
afterAll(() => Promise.all(builds.map((folder) => rm(folder, { recursive: true, force: true }))))

const undo: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
})

/** The same program with one migration more. */
async function laterBuild(migration: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-later-'))
  builds.push(folder)
  await cp(join(build, 'dist'), join(folder, 'dist'), { recursive: true })
  await cp(join(build, 'package.json'), join(folder, 'package.json'))
  await symlink(join(checkout, 'node_modules'), join(folder, 'node_modules'))
  await mkdir(join(folder, 'sql'))
  const names = (await readdir(join(checkout, 'sql'))).filter((name) => name.endsWith('.sql'))
  for (const name of names) await cp(join(checkout, 'sql', name), join(folder, 'sql', name))
  await writeFile(
    join(folder, 'sql', `${String(names.length + 1).padStart(4, '0')}_later.sql`),
    migration,
  )
  return folder
}

async function start(options: ServerOptions): Promise<ServerProcess> {
  const server = await startServer(options)
  undo.push(() => server.end('SIGKILL'))
  return server
}

async function dataFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-kill-'))
  undo.push(() => removeData(folder))
  return folder
}

/** Starts the older program as a person does, and gives its exit code and what it said. */
function serve(dataDir: string): Promise<{ readonly code: number; readonly said: string }> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [join(build, 'bin', 'muster.js'), 'serve', '--port', '0', '--data-dir', dataDir],
      { env: { PATH: process.env['PATH'] } },
      (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, said: stdout + stderr }),
    )
  })
}

describe('an upgrade', () => {
  it('of a server that was killed in a run brings the run to its end, and the way back is refused', async () => {
    const newer = await laterBuild(later)
    const dataDir = await dataFolder()
    const old = await start({ build, dataDir })
    const client = await connectTo(old.url)
    const source = await client.createSource('HR')
    const accounts = model(0, 400, 'first')
    old.at('staged', 'kill')
    const task = await client.upload(source, csvOf(accounts))
    await old.ended
    const upgraded = await start({ build: newer, dataDir })
    const again = await connectTo(upgraded.url)
    expect(await again.ended(task)).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 400 },
    })
    await withEmbedded(dataDir, async (db) => {
      await expectAccounts(db, source, accounts)
      await expectSound(db, [spoolOf(dataDir)])
      await db.query('select later from source')
    })
    await upgraded.end('SIGTERM')
    const back = await serve(dataDir)
    expect(back).toMatchObject({ code: 1, said: expect.stringContaining('_later.sql') })
    expect(back.said).toContain('Start that version or a later one; nothing was changed.')
    await start({ build: newer, dataDir })
  })

  it('whose migration fails changes nothing, and the version of before starts again', async () => {
    const broken = await laterBuild(`${later}select 1 / 0;`)
    const dataDir = await dataFolder()
    const old = await start({ build, dataDir })
    const source = await (await connectTo(old.url)).createSource('HR')
    await old.end('SIGTERM')
    await expect(startServer({ build: broken, dataDir })).rejects.toThrow(
      /_later\.sql failed.*division by zero.*Nothing of this migration was kept/s,
    )
    const again = await start({ build, dataDir })
    const client = await connectTo(again.url)
    expect((await client.call('GET', `/sources/${source}`)).status).toBe(200)
    await withEmbedded(dataDir, async (db) => {
      await expect(db.query('select later from source')).rejects.toThrow('does not exist')
    })
  })
})

it('two servers that start at once on an empty database both get ready, and one of them migrates', async () => {
  const database = await emptyDatabase()
  undo.push(() => database.drop())
  const env = { DATABASE_URL: databaseUrl(database.settings), MUSTER_KEY: generateMasterKey() }
  const folders = await Promise.all([dataFolder(), dataFolder()])
  const servers = await Promise.all(folders.map((dataDir) => start({ build, dataDir, env })))
  for (const server of servers) {
    expect((await fetch(`${server.url}/health/ready`)).status).toBe(200)
    const client = await connectTo(server.url)
    expect((await client.call('GET', '/sources')).status).toBe(200)
  }
  const names = (await readdir(join(checkout, 'sql'))).filter((name) => name.endsWith('.sql'))
  const { rows } = await database.db.query<{ name: string }>(
    'select name from migration order by number',
  )
  expect(rows.map(({ name }) => name)).toEqual(names.toSorted())
})
