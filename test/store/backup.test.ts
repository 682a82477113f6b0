// Backups against a real server: what comes back, what is refused, and what happens beside a run.
import { afterEach, describe, expect, it } from 'vitest'
import type { Database } from '../../src/store/database.ts'
import { openBackup } from '../../src/store/backup-format.ts'
import { tablesOf } from '../../src/store/backup-tables.ts'
import { readMigrations } from '../../src/store/migrate.ts'
import { accountRange, partitionName } from '../../src/store/names.ts'
import {
  checkBackup,
  checkBackupKey,
  checkSchema,
  restoreBackup,
} from '../../src/store/restore-backup.ts'
import {
  generateMasterKey,
  getSecret,
  parseMasterKey,
  putSecret,
  verifyMasterKey,
} from '../../src/store/sealed.ts'
import { takeBackup } from '../../src/store/take-backup.ts'
import { accountsOf, type Laboratory, openLaboratory, pause } from '../support/aggregation.ts'
import { emptyDatabase, testDatabase, type TestDatabase } from '../support/database.ts'

const canary = 'canary-password-of-the-backup'
const key = parseMasterKey(generateMasterKey())

const undo: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
})

async function laboratory(): Promise<Laboratory> {
  const test = await testDatabase()
  undo.push(() => test.drop())
  const lab = await openLaboratory(test.db)
  undo.push(() => lab.close())
  return lab
}

async function emptyTarget(): Promise<TestDatabase> {
  const test = await emptyDatabase()
  undo.push(() => test.drop())
  return test
}

async function backUp(db: Database): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of takeBackup(db, '1.2.3')) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** The file in pieces of an odd size, as it comes out of a pipe. */
async function* inPieces(file: Buffer, size = 1_000): AsyncGenerator<Buffer> {
  for (let at = 0; at < file.length; at += size) yield file.subarray(at, at + size)
}

async function restore(file: Buffer, target: Database): Promise<void> {
  const backup = await openBackup(inPieces(file))
  await restoreBackup(target, backup, { key, dropSecrets: false })
}

async function check(file: Buffer): Promise<void> {
  await checkBackup(await openBackup(inPieces(file)))
}

const rows = (count: number, place: string): string =>
  `id,name,mail\n${Array.from({ length: count }, (_, at) => `u${at},User ${at} \\"\t\\N,${place}${at}\n`).join('')}`

/** Two sources with history, a removed one, rejects, a secret. */
async function fill(lab: Laboratory): Promise<string> {
  const source = await lab.createSource()
  await lab.load(source.id, rows(300, 'oslo'))
  await lab.load(source.id, `${rows(280, 'bergen')},Nobody,x\n`)
  await lab.load(source.id, rows(290, 'bergen'))
  const other = await lab.createSource({ whenBusy: 'queue', readMode: 'delta' })
  await lab.load(other.id, rows(20, 'oslo'))
  await verifyMasterKey(lab.db, key)
  await putSecret(lab.db, key, `source/${source.id}/password`, canary)
  await lab.db.query(`insert into audit (action, outcome, detail) values ('TEST', 'success', 'x')`)
  return source.id
}

const leftOut = ['lease', 'node', 'migration']

/** Every row of every table as text, by table. */
async function everything(db: Database): Promise<Record<string, unknown[]>> {
  const { rows: tables } = await db.query<{ name: string }>(
    `select relname::text as name from pg_class where relnamespace = current_schema()::regnamespace
       and relkind in ('r', 'p') and relpersistence = 'p' order by relname`,
  )
  const found: Record<string, unknown[]> = {}
  for (const { name } of tables.filter((table) => !leftOut.includes(table.name))) {
    const { rows: all } = await db.query<{ row: string }>(
      `select t::text as row from "${name}" t order by t::text collate "C"`,
    )
    found[name] = all.map(({ row }) => row)
  }
  return found
}

/** Tables, columns, constraints, indexes and bounds, as the catalogue has them. */
async function structure(db: Database): Promise<unknown[]> {
  const { rows: found } = await db.query(
    `select c.relname::text, c.relkind::text, c.relpersistence::text, pg_get_expr(c.relpartbound, c.oid) as bound,
       obj_description(c.oid) as comment,
       array(select a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || a.attnotnull::text || a.attidentity::text
         || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || coalesce(col_description(c.oid, a.attnum), '')
         from pg_attribute a left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
         where a.attrelid = c.oid and a.attnum > 0 order by a.attnum) as columns,
       array(select conname || pg_get_constraintdef(oid) from pg_constraint where conrelid = c.oid order by 1) as constraints,
       array(select pg_get_indexdef(indexrelid) from pg_index where indrelid = c.oid order by 1) as indexes
     from pg_class c where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p')
     order by relname`,
  )
  return found
}

describe('a backup', () => {
  it('comes back row by row, with the same partitions, keys and numbers', async () => {
    const lab = await laboratory()
    const sourceId = await fill(lab)
    const target = await emptyTarget()
    await lab.stopWorker()
    const before = await everything(lab.db)
    expect(Object.values(before).filter((table) => table.length === 0)).not.toHaveLength(
      Object.keys(before).length,
    )
    expect(before['account_history']).toHaveLength(300)
    await restore(await backUp(lab.db), target.db)
    expect(await everything(target.db)).toEqual(before)
    expect(await structure(target.db)).toEqual(await structure(lab.db))
    expect(await getSecret(target.db, key, `source/${sourceId}/password`)).toBe(canary)
    const next = (db: Database) =>
      db.query(
        `insert into task (id, type, state, launcher) values (gen_random_uuid(), 'X', 'queued', 'x') returning number`,
      )
    expect((await next(target.db)).rows).toEqual((await next(lab.db)).rows)
    await expect(target.db.query('delete from audit')).rejects.toThrow('append-only')
    expect(await numberOf(target.db)).toBe(await numberOf(lab.db))
  })

  it('lets the next reload of the same file find nothing to change, and a changed one its change', async () => {
    const lab = await laboratory()
    const sourceId = await fill(lab)
    const target = await emptyTarget()
    await restore(await backUp(lab.db), target.db)
    const again = await openLaboratory(target.db)
    undo.push(() => again.close())
    const same = await again.load(sourceId, rows(290, 'bergen'))
    expect(same).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 0, updated: 0, deleted: 0, total: 290 },
    })
    // Nothing was staged: the fingerprints that came back are those of the rows.
    const { rows: runs } = await target.db.query(
      'select staged_rows from run order by number desc limit 1',
    )
    expect(runs).toEqual([{ staged_rows: 0 }])
    const changed = await again.load(
      sourceId,
      rows(285, 'bergen').replace('User 7 ', 'User seven '),
    )
    expect(changed.attributes).toMatchObject({ created: 0, updated: 1, deleted: 5 })
    expect(await accountsOf(target.db, sourceId)).toHaveLength(285)
  })

  it('has no table of runs, no lease and no node, and every other table that a migration makes', async () => {
    const lab = await laboratory()
    await fill(lab)
    await lab.db.query('create unlogged table staging_99 (id uuid)')
    await lab.db.query('create table of_somebody_else (id uuid)')
    const { header } = await openBackup(inPieces(await backUp(lab.db)))
    const made = [...tablesOf(await readMigrations())]
    const partitions = header.sections.filter((name) => name.startsWith('account_'))
    expect(header.sections.toSorted()).toEqual(
      [
        ...new Set([
          ...made.filter((name) => !leftOut.includes(name) && name !== 'account'),
          ...partitions,
        ]),
      ].toSorted(),
    )
    expect(partitions.filter((name) => /^account_[0-9a-f]{12}$/.test(name))).toHaveLength(2)
  })

  it('holds no secret in the clear, packed or unpacked', async () => {
    const lab = await laboratory()
    await fill(lab)
    const file = await backUp(lab.db)
    const text = Buffer.concat([file, await unpacked(file)])
    expect(text.includes('bergen7')).toBe(true)
    for (const coded of [canary, Buffer.from(canary).toString('base64').slice(0, 20)]) {
      expect(text.includes(coded)).toBe(false)
      expect(text.includes(Buffer.from(coded).toString('hex'))).toBe(false)
    }
  })
})

describe('a backup beside a run', () => {
  it('is of before the apply or of after it, and never of between', async () => {
    const lab = await laboratory()
    const source = await lab.createSource()
    await lab.load(source.id, rows(400, 'oslo'))
    const files = new Map<string, Buffer>()
    lab.onStep = async (step) => {
      // The last step of the load before may come after its end.
      if (step === 'planned') files.clear()
      // "applied": everything is written, and the transaction is open.
      if (['planned', 'applied', 'committed'].includes(step)) files.set(step, await backUp(lab.db))
    }
    await lab.load(source.id, rows(350, 'bergen'))
    // The task has ended before its last step.
    while (files.size < 3) await pause(20)
    const seen: unknown[] = []
    for (const file of files.values()) {
      const target = await emptyTarget()
      await restore(file, target.db)
      const { rows: facts } = await target.db.query(
        `select (select count(*) from account) as accounts, (select max(accounts) from source) as said,
           (select count(*) from account_history) as history, (select count(*) from account_change) as changes,
           (select value from feed_counter) as feed`,
      )
      seen.push(facts[0])
    }
    const before = { accounts: 400, said: 400, history: 0, changes: 0, feed: 1 }
    const after = { accounts: 350, said: 350, history: 400, changes: 400, feed: 2 }
    expect(seen).toEqual([before, before, after])
  })

  it('does not see a source that is loaded while it is taken, and holds up nobody', async () => {
    const lab = await laboratory()
    const source = await lab.createSource()
    await lab.load(source.id, rows(50, 'oslo'))
    const taking = takeBackup(lab.db, '1.2.3')
    const first = await taking.next()
    const later = await lab.createSource()
    await lab.load(later.id, rows(60, 'oslo'))
    await lab.load(source.id, rows(70, 'oslo'))
    const pieces = [first.value as Buffer]
    for await (const piece of taking) pieces.push(piece)
    const target = await emptyTarget()
    await restore(Buffer.concat(pieces), target.db)
    expect(await accountsOf(target.db, source.id)).toHaveLength(50)
    expect(await accountsOf(target.db, later.id)).toHaveLength(0)
    expect(await accountsOf(lab.db, source.id)).toHaveLength(70)
  })

  it('waits for a table that is dropped and made again, and has the rows of the new one', async () => {
    const lab = await laboratory()
    const source = await lab.createSource()
    await lab.load(source.id, rows(50, 'oslo'))
    const name = partitionName(source.id)
    const { low, high } = accountRange(source.id)
    const taken = await lab.db.transaction(async (tx) => {
      await tx.query(`create table kept as select * from ${name} limit 7`)
      await tx.query(`drop table ${name}`)
      await tx.query(`create table ${name} (like account including all)`)
      await tx.query(`insert into ${name} select * from kept`)
      await tx.query('drop table kept')
      await tx.query(
        `alter table account attach partition ${name} for values from ('${low}') to ('${high}')`,
      )
      const file = backUp(lab.db)
      // On another connection: a transaction sees the same list of backends until its end.
      const waits = `select from pg_stat_activity where query ~ '^lock table' and wait_event_type = 'Lock'
        and datname = current_database()`
      while ((await lab.db.query(waits)).rowCount === 0) await pause(10)
      return { file }
    })
    const target = await emptyTarget()
    await restore(await taken.file, target.db)
    expect(await accountsOf(target.db, source.id)).toHaveLength(7)
  })

  it('gives its connection back when nobody takes the rest', async () => {
    const lab = await laboratory()
    await fill(lab)
    for (let round = 0; round < 15; round += 1) {
      for await (const piece of takeBackup(lab.db, '1.2.3')) if (piece.length > 0) break
    }
    expect((await backUp(lab.db)).length).toBeGreaterThan(1_000)
  })
})

describe('a damaged backup', () => {
  it('is refused wherever it was cut off, and names the section', async () => {
    const lab = await laboratory()
    await fill(lab)
    const file = await backUp(lab.db)
    const messages = new Set<string>()
    for (let length = 0; length < file.length; length += Math.ceil(file.length / 60)) {
      const error = await check(file.subarray(0, length)).catch((cause: unknown) => cause)
      expect(error, String(length)).toMatchObject({ name: 'StoreError' })
      if (error instanceof Error) messages.add(error.message)
    }
    await expect(check(file.subarray(0, -1))).rejects.toThrow('the file ends there')
    await expect(check(Buffer.concat([file, file]))).rejects.toThrow('something follows it')
    expect([...messages].join('\n')).toMatch(/in the section account_[0-9a-f]{12}: the file ends/)
    expect([...messages].join('\n')).toContain(
      'in the section account_history: the file ends there',
    )
    await check(file)
  })

  it('is refused wherever a bit was flipped', async () => {
    const lab = await laboratory()
    await fill(lab)
    const file = await backUp(lab.db)
    const step = Math.ceil(file.length / 150)
    for (let at = 0; at < file.length; at += step) {
      const bad = Buffer.from(file)
      bad.writeUInt8(bad.readUInt8(at) ^ (1 << (at % 8)), at)
      const error = await check(bad).catch((cause: unknown) => cause)
      expect(error, `byte ${at}`).toMatchObject({ name: 'StoreError' })
      const { message } = error as Error
      expect(message).toMatch(/^The backup is damaged in |^This is no backup|^This backup has the/)
    }
  })

  it('leaves the target empty when it is found out while it is restored, and the whole one is taken then', async () => {
    const lab = await laboratory()
    await fill(lab)
    const file = await backUp(lab.db)
    const target = await emptyTarget()
    const bad = Buffer.from(file)
    bad.writeUInt8(bad.readUInt8(file.length - 20) ^ 1, file.length - 20)
    await expect(restore(bad, target.db)).rejects.toMatchObject({ code: 'backup_damaged' })
    expect(await structure(target.db)).toEqual([])
    await expect(restore(file.subarray(0, 9_000), target.db)).rejects.toThrow('the file ends there')
    expect(await structure(target.db)).toEqual([])
    await restore(file, target.db)
    expect((await structure(target.db)).length).toBeGreaterThan(15)
  })

  it('is told from a file that is none, and from one of another format', async () => {
    await expect(check(Buffer.from('id,name\n1,Ada\n'))).rejects.toMatchObject({
      code: 'backup_unknown',
      message: expect.stringContaining('no backup of Muster'),
    })
    await expect(check(Buffer.from('MUSTER BACKUP 7\nand more'))).rejects.toMatchObject({
      code: 'backup_unknown',
      message: expect.stringContaining('has the format 7'),
    })
  })
})

describe('a target', () => {
  it('that holds a Muster is refused by what is there', async () => {
    const lab = await laboratory()
    await fill(lab)
    await lab.stopWorker()
    const before = await everything(lab.db)
    await expect(restore(await backUp(lab.db), lab.db)).rejects.toMatchObject({
      code: 'target_not_empty',
      message: expect.stringContaining('2 sources and 310 accounts'),
    })
    expect(await everything(lab.db)).toEqual(before)
  })

  it('that holds tables of others is refused by their names', async () => {
    const lab = await laboratory()
    const target = await emptyTarget()
    await target.db.query('create table payroll (id int)')
    await expect(restore(await backUp(lab.db), target.db)).rejects.toThrow('payroll')
  })

  it('that is of an older program refuses a newer schema before anything is made', async () => {
    const lab = await laboratory()
    const { header } = await openBackup(inPieces(await backUp(lab.db)))
    const newer = { number: header.schema.length + 1, name: '0099_later.sql', sha256: '' }
    await checkSchema(header)
    await expect(
      checkSchema({ ...header, schema: [...header.schema, newer] }),
    ).rejects.toMatchObject({
      code: 'schema_newer',
      message: expect.stringContaining('0099_later.sql'),
    })
  })
})

describe('the master key', () => {
  it('of another server is told before anything is written, and again inside the restore', async () => {
    const lab = await laboratory()
    await fill(lab)
    const file = await backUp(lab.db)
    const { header } = await openBackup(inPieces(file))
    const wrong = parseMasterKey(generateMasterKey())
    checkBackupKey(header, key)
    expect(() => checkBackupKey(header, wrong)).toThrow('The master key is not the one')
    const target = await emptyTarget()
    const backup = await openBackup(inPieces(file))
    await expect(
      restoreBackup(target.db, backup, { key: wrong, dropSecrets: false }),
    ).rejects.toMatchObject({ code: 'master_key_wrong' })
    expect(await structure(target.db)).toEqual([])
  })

  it('that is lost costs the secrets and nothing else', async () => {
    const lab = await laboratory()
    const sourceId = await fill(lab)
    const target = await emptyTarget()
    const another = parseMasterKey(generateMasterKey())
    const backup = await openBackup(inPieces(await backUp(lab.db)))
    await restoreBackup(target.db, backup, { key: another, dropSecrets: true })
    expect(await getSecret(target.db, another, `source/${sourceId}/password`)).toBeUndefined()
    expect(await accountsOf(target.db, sourceId)).toHaveLength(290)
    await putSecret(target.db, another, `source/${sourceId}/password`, 'entered again')
  })
})

/** The rows of all sections. */
async function unpacked(file: Buffer): Promise<Buffer> {
  const backup = await openBackup(inPieces(file))
  const pieces: Buffer[] = []
  for (let section = await backup.next(); section !== null; section = await backup.next()) {
    for await (const piece of section.rows()) pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

async function numberOf(db: Database): Promise<number> {
  const { rows: found } = await db.query<{ number: number }>(
    `insert into audit (action, outcome) values ('NEXT', 'success') returning number`,
  )
  return found[0]?.number ?? 0
}
