// A backup moves between versions of PostgreSQL: from the embedded one to that of the system, and back.
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { backUp } from '../../src/backup.ts'
import { readConfig } from '../../src/config.ts'
import { inspectBackup, restore } from '../../src/restore.ts'
import { type Database, openDatabase } from '../../src/store/database.ts'
import { generateMasterKey, getSecret, parseMasterKey, putSecret } from '../../src/store/sealed.ts'
import { openLaboratory } from '../support/aggregation.ts'
import { testDatabase, emptyDatabase } from '../support/database.ts'
import { databaseUrl } from '../support/server-process.ts'
import { startSystemServer, type SystemServer } from './debian-postgresql.ts'

const key = generateMasterKey()
let server: SystemServer
let folder = ''
beforeAll(async () => {
  server = await startSystemServer()
  folder = await mkdtemp(join(tmpdir(), 'muster-move-'))
})
afterAll(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

const settings = (url: string) =>
  readConfig({ DATABASE_URL: url, MUSTER_KEY: key, MUSTER_DATA_DIR: folder })

/** The digests of all sections: equal rows in an equal order have equal ones. */
async function digests(file: string): Promise<Record<string, string>> {
  const { sections } = await inspectBackup({ file, withoutSecrets: false })
  return Object.fromEntries(sections.map(({ name, rows, sha256 }) => [name, `${rows} ${sha256}`]))
}

it('moves to an older PostgreSQL and back, and every row is the same', async () => {
  expect(server.version).toMatch(/^1[5-7]\./)
  const test = await testDatabase()
  const lab = await openLaboratory(test.db)
  const source = await lab.createSource()
  const file = (count: number, place: string): string =>
    `id,name,mail\n${Array.from({ length: count }, (_, at) => `u${at},"Ünï \\N ${at}\n2",${place}\n`).join('')}`
  await lab.load(source.id, file(500, 'oslo'))
  await lab.load(source.id, file(450, 'bergen'))
  await lab.stopWorker()
  await putSecret(test.db, parseMasterKey(key), 'source/x/password', 'a secret')
  const first = await backUp(settings(databaseUrl(test.settings)), {
    file: join(folder, 'first.backup'),
    force: false,
  })
  const older = settings(await server.make('moved'))
  await restore(older, { file: join(folder, 'first.backup'), withoutSecrets: false })
  const second = await backUp(older, { file: join(folder, 'second.backup'), force: false })
  expect(second.header.postgresql).toBe(server.version)
  expect(first.header.postgresql).not.toBe(second.header.postgresql)
  const back = await emptyDatabase()
  await restore(settings(databaseUrl(back.settings)), {
    file: join(folder, 'second.backup'),
    withoutSecrets: false,
  })
  const before = await digests(join(folder, 'first.backup'))
  expect(Object.keys(before).length).toBeGreaterThan(15)
  expect(await digests(join(folder, 'second.backup'))).toEqual(before)
  await withDatabase(server.url('moved'), async (db) => {
    const again = await openLaboratory(db)
    const task = await again.load(source.id, file(450, 'bergen'))
    expect(task.attributes).toMatchObject({ created: 0, updated: 0, deleted: 0, total: 450 })
    await again.close()
  })
  expect(await getSecret(back.db, parseMasterKey(key), 'source/x/password')).toBe('a secret')
  expect((await readdir(folder)).toSorted()).toEqual(['first.backup', 'second.backup'])
  await lab.close()
  await test.drop()
  await back.drop()
})

it('refuses a database of another encoding', async () => {
  const latin = settings(await server.make('latin', 'LATIN1'))
  await expect(
    restore(latin, { file: join(folder, 'first.backup'), withoutSecrets: false }),
  ).rejects.toMatchObject({
    code: 'database_unusable',
    message: expect.stringContaining('LATIN1'),
    hint: expect.stringContaining('template0'),
  })
})

async function withDatabase(url: string, work: (db: Database) => Promise<void>): Promise<void> {
  const db = openDatabase({ connectionString: url }, () => undefined)
  try {
    await work(db)
  } finally {
    await db.close()
  }
}
