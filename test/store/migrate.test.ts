// Migrations against a real server: races, changed files, newer schemas.
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/store/database.ts'
import { migrate } from '../../src/store/migrate.ts'
import { buildSource } from '../support/build.ts'
import { emptyDatabase, type TestDatabase } from '../support/database.ts'

let test: TestDatabase
let folder = ''

beforeEach(async () => {
  test = await emptyDatabase()
  folder = await mkdtemp(join(tmpdir(), 'muster-migrate-'))
  await writeFile(
    join(folder, '0001_first.sql'),
    'create table first (n int); select pg_sleep(0.2)',
  )
  await writeFile(join(folder, '0002_second.sql'), 'create table second (n int)')
})

afterEach(async () => {
  await test.drop()
  await rm(folder, { recursive: true })
})

describe('migrate', () => {
  it('applies the files of the package to an empty database, and nothing the second time', async () => {
    const first = await migrate(test.db)
    expect(first.applied[0]).toBe('0001_foundation.sql')
    expect(first.version).toBe(first.applied.length)
    expect(await migrate(test.db)).toEqual({ applied: [], version: first.version })
  })

  it('records number, name, hash and instant of each file', async () => {
    await migrate(test.db, folder)
    const { rows } = await test.db.query('select * from migration order by number')
    expect(rows).toEqual([row(1, '0001_first.sql'), row(2, '0002_second.sql')])
  })

  it('applies only what is new', async () => {
    await migrate(test.db, folder)
    await writeFile(join(folder, '0003_third.sql'), 'create table third (n int)')
    expect(await migrate(test.db, folder)).toEqual({ applied: ['0003_third.sql'], version: 3 })
  })

  it('lets one of many callers apply each file while the others wait', async () => {
    const results = await Promise.all(Array.from({ length: 6 }, () => migrate(test.db, folder)))
    const applied = results.flatMap((result) => result.applied)
    expect(applied.toSorted()).toEqual(['0001_first.sql', '0002_second.sql'])
    expect(results.map((result) => result.version)).toEqual([2, 2, 2, 2, 2, 2])
  })

  it('lets two processes start at once on an empty database', async () => {
    const build = await buildSource()
    try {
      const code = `
        import { openDatabase } from ${JSON.stringify(join(build, 'dist/store/database.js'))}
        import { migrate } from ${JSON.stringify(join(build, 'dist/store/migrate.js'))}
        const db = openDatabase(JSON.parse(process.argv[1]), () => undefined)
        console.log(JSON.stringify(await migrate(db, process.argv[2])))
        await db.close()`
      const settings = JSON.stringify(test.settings)
      const run = (): Promise<{ stdout: string }> =>
        promisify(execFile)(process.execPath, ['--input-type=module', '-e', code, settings, folder])
      const results = await Promise.all([run(), run()])
      const migrated = results.map(({ stdout }) => JSON.parse(stdout) as { applied: string[] })
      expect(migrated.flatMap(({ applied }) => applied).toSorted()).toEqual([
        '0001_first.sql',
        '0002_second.sql',
      ])
    } finally {
      await rm(build, { recursive: true })
    }
  })

  it('refuses a schema that a newer program made', async () => {
    await migrate(test.db, folder)
    await rm(join(folder, '0002_second.sql'))
    await expect(migrate(test.db, folder)).rejects.toMatchObject({
      code: 'schema_newer',
      message: expect.stringContaining('0002_second.sql'),
    })
  })

  it('refuses a file that was changed after it was applied', async () => {
    await migrate(test.db, folder)
    await writeFile(join(folder, '0002_second.sql'), 'create table second (n bigint)')
    await writeFile(join(folder, '0003_third.sql'), 'create table third (n int)')
    await expect(migrate(test.db, folder)).rejects.toMatchObject({
      code: 'migration_changed',
      message: expect.stringContaining('0002_second.sql'),
    })
    await expect(test.db.query('select from third')).rejects.toThrow('does not exist')
  })

  it('takes other line ends for no change', async () => {
    await writeFile(join(folder, '0002_second.sql'), 'create table second (\n  n int\n)\n')
    await migrate(test.db, folder)
    await writeFile(join(folder, '0002_second.sql'), 'create table second (\r\n  n int\r\n)\r\n')
    expect((await migrate(test.db, folder)).applied).toEqual([])
  })

  it('keeps nothing of a file that fails, and the files before it', async () => {
    await writeFile(join(folder, '0003_third.sql'), 'create table third (n int);\nselect 1 / 0')
    await expect(migrate(test.db, folder)).rejects.toMatchObject({
      code: 'migration_failed',
      message: 'Migration 0003_third.sql failed: division by zero',
    })
    await expect(test.db.query('select from third')).rejects.toThrow('does not exist')
    await writeFile(join(folder, '0003_third.sql'), 'create table third (n int)')
    expect((await migrate(test.db, folder)).applied).toEqual(['0003_third.sql'])
  })

  it('tells the line of a mistake', async () => {
    await writeFile(join(folder, '0003_third.sql'), '-- a comment\ncreate tabel third (n int)')
    await expect(migrate(test.db, folder)).rejects.toThrow(
      'Migration 0003_third.sql failed at line 2: syntax error at or near "tabel"',
    )
  })

  it('refuses a gap in the numbers and a name without number', async () => {
    await writeFile(join(folder, '0004_fourth.sql'), '')
    await expect(migrate(test.db, folder)).rejects.toThrow('should have the number 3')
    await rm(join(folder, '0004_fourth.sql'))
    await writeFile(join(folder, 'notes.sql'), '')
    await expect(migrate(test.db, folder)).rejects.toThrow('is not named NNNN_name.sql')
  })

  it('works in the schema of the search path, apart from other schemas', async () => {
    await migrate(test.db, folder)
    await test.db.query('create schema other')
    await withDefault('search_path = other, public', async (db) => {
      expect((await migrate(db, folder)).applied).toHaveLength(2)
    })
  })

  it('says so when no schema of the search path exists', async () => {
    await withDefault('search_path = missing', async (db) => {
      await expect(migrate(db, folder)).rejects.toThrow('No schema of the search_path exists')
    })
  })

  it('says what is missing when the role may not make tables', async () => {
    const role = `weak_${randomBytes(8).toString('hex')}`
    await test.db.query(`create role ${role}`)
    try {
      await withDefault(`role = ${role}`, async (db) => {
        await expect(migrate(db, folder)).rejects.toMatchObject({
          code: 'database_unusable',
          hint: expect.stringContaining('grant create'),
        })
      })
    } finally {
      await test.db.query(`drop role ${role}`)
    }
  })
})

function row(number: number, name: string): object {
  return {
    number,
    name,
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    applied_at: expect.any(Date),
  }
}

// The pool of src/ keeps its own `options`, so another search path or role comes as a default of the database.
async function withDefault(setting: string, work: (db: Database) => Promise<void>): Promise<void> {
  await test.db.query(`do $$ begin
    execute format('alter database %I set ${setting}', current_database());
  end $$`)
  const db = openDatabase(test.settings, () => undefined)
  try {
    await work(db)
  } finally {
    await db.close()
  }
}
