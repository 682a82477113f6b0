import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { attribute } from '../../src/core/schema.ts'
import { toWireId } from '../../src/core/id.ts'
import { removeAccount, removeAccounts, removeSource } from '../../src/run/removal.ts'
import { accountId } from '../../src/store/account-id.ts'
import { countChanges } from '../../src/store/changes.ts'
import type { Database } from '../../src/store/database.ts'
import { getReadState } from '../../src/store/read-states.ts'
import { dropEmptyPartition } from '../../src/store/remove-accounts.ts'
import { getSource } from '../../src/store/sources.ts'
import {
  accountsOf,
  caller,
  changesOf,
  historyOf,
  type Laboratory,
  openLaboratory,
  runOf,
  sourceNow,
} from '../support/aggregation.ts'
import { testDatabase } from '../support/database.ts'

let database: Awaited<ReturnType<typeof testDatabase>>
let lab: Laboratory

beforeAll(async () => {
  database = await testDatabase()
  lab = await openLaboratory(database.db)
})

afterAll(async () => {
  await lab.close()
  await database.drop()
})

function file(rows: number): string {
  const lines = Array.from({ length: rows }, (_, index) => `${index},User ${index},u${index}@x`)
  return `id,name,mail\n${lines.join('\n')}\n`
}

describe('the deletion of a source', () => {
  it('is done before the answer when the source is small', async () => {
    const { db } = lab
    const source = await lab.createSource()
    await lab.load(source.id, file(100))
    const task = await removeSource(db, source.id, { caller, trackingId: 'a'.repeat(32) })
    expect(task.completionStatus).toBe('SUCCESS')
    expect(await getSource(db, source.id)).toBeNull()
  })

  it('is worked off by a worker when the source is large, and keeps the accounts as history', async () => {
    const { db } = lab
    const source = await lab.createSource()
    await lab.load(source.id, file(10_001))
    const queued = await removeSource(db, source.id, { caller, trackingId: 'b'.repeat(32) })
    expect(queued.completionStatus).toBeNull()
    const task = await lab.ended(queued.id)
    expect(task).toMatchObject({ completionStatus: 'SUCCESS', attributes: { deleted: 10_001 } })
    expect(await getSource(db, source.id)).toBeNull()
    expect(await accountsOf(db, source.id)).toEqual([])
    const history = await historyOf(db, source.id)
    expect(history).toHaveLength(10_001)
    expect(history.every((version) => version.removed && version.closed === task.number)).toBe(true)
    const left = await db.query('select to_regclass($1) as found', [
      `account_${source.id.slice(0, 12)}`,
    ])
    expect(left.rows).toEqual([{ found: null }])
  })

  it('is refused while a deletion of the source is queued', async () => {
    const { db } = lab
    const source = await lab.createSource()
    await lab.load(source.id, file(10_001))
    await lab.stopWorker()
    const queued = await removeSource(db, source.id, { caller, trackingId: 'c'.repeat(32) })
    await expect(
      removeSource(db, source.id, { caller, trackingId: 'd'.repeat(32) }),
    ).rejects.toMatchObject({
      code: 'conflict',
    })
    lab.startWorker()
    expect((await lab.ended(queued.id)).completionStatus).toBe('SUCCESS')
  })
})

const call = { caller, trackingId: 'e'.repeat(32) }

async function hasTable(db: Database, source: string): Promise<boolean> {
  const { rows } = await db.query<{ found: boolean }>(
    'select to_regclass($1) is not null as found',
    [`account_${source.slice(0, 12)}`],
  )
  return rows[0]?.found ?? false
}

describe('the removal of all accounts of a source', () => {
  it.each([
    ['before the answer', 100],
    ['by a worker', 10_001],
  ])('keeps the source, and the accounts as history: %s', async (_when, rows) => {
    const { db } = lab
    const source = await lab.createSource({ deleteThreshold: 0 })
    await lab.load(source.id, file(rows))
    const asked = await removeAccounts(db, source.id, call)
    expect(asked.completionStatus === null).toBe(rows > 10_000)
    const task = await lab.ended(asked.id)
    // No guard: a threshold of 0 forbids the removals of runs, not what somebody asks for.
    expect(task.completionStatus).toBe('SUCCESS')
    expect(task.attributes).toEqual({ appId: source.id, total: rows, deleted: rows })
    expect(await sourceNow(db, source.id)).toMatchObject({ accounts: 0 })
    expect(await accountsOf(db, source.id)).toEqual([])
    const history = await historyOf(db, source.id)
    expect(history).toHaveLength(rows)
    expect(history.every((version) => version.removed && version.closed === task.number)).toBe(true)
    expect(await countChanges(db, await runOf(db, task.id), 'removed')).toBe(rows)
    await expect.poll(() => hasTable(db, source.id)).toBe(false)
  })

  it.each([true, false])(
    'is undone by the same file, which makes each account anew (the empty table dropped: %s)',
    async (dropped) => {
      const { db } = lab
      const source = await lab.createSource()
      await lab.load(source.id, file(50))
      const before = await accountsOf(db, source.id)
      // A reader of any source keeps the table from being dropped; then the load goes another way.
      const reader = await db.connect()
      try {
        if (!dropped) await reader.query('begin; select count(*) from account')
        await removeAccounts(db, source.id, call)
      } finally {
        await reader.query('rollback')
        reader.release()
      }
      expect(await hasTable(db, source.id)).toBe(!dropped)
      const task = await lab.load(source.id, file(50))
      expect(task).toMatchObject({
        completionStatus: 'SUCCESS',
        attributes: { created: 50, updated: 0, deleted: 0 },
      })
      expect(await accountsOf(db, source.id)).toEqual(before)
      expect(await countChanges(db, await runOf(db, task.id), 'created')).toBe(50)
      expect(await lab.load(source.id, file(50))).toMatchObject({
        completionStatus: 'SUCCESS',
        attributes: { created: 0, updated: 0, deleted: 0, optimized: 50 },
      })
    },
  )

  it('makes the next read of a system full, though the source reads only changes', async () => {
    const { db } = lab
    const source = await lab.createSource({
      connector: 'chaos',
      connectorAttributes: { records: 8 },
      readMode: 'delta',
      attributes: [attribute('id'), attribute('name')],
    })
    await lab.read(source.id)
    expect((await lab.read(source.id)).attributes).toMatchObject({ rowsRead: 0 })
    await removeAccounts(db, source.id, call)
    expect(await getReadState(db, source.id)).toBeNull()
    expect((await lab.read(source.id)).attributes).toMatchObject({ rowsRead: 8, created: 8 })
    expect((await lab.read(source.id)).attributes).toMatchObject({ rowsRead: 0, deleted: 0 })
  })

  it('is refused while a task of the source is open, and then leaves everything as it was', async () => {
    const { db } = lab
    const source = await lab.createSource()
    await lab.load(source.id, file(10))
    await lab.stopWorker()
    const { task } = await lab.submit(source.id, file(20))
    await expect(removeAccounts(db, source.id, call)).rejects.toMatchObject({ code: 'conflict' })
    await expect(
      removeAccount(db, source.id, toWireId(accountId(source.id, '1')), call),
    ).rejects.toMatchObject({ code: 'conflict' })
    lab.startWorker()
    expect((await lab.ended(task.id)).completionStatus).toBe('SUCCESS')
    expect(await accountsOf(db, source.id)).toHaveLength(20)
  })

  it('never drops a table that a run has filled since', async () => {
    const { db } = lab
    const source = await lab.createSource()
    await lab.load(source.id, file(10))
    expect(await dropEmptyPartition(db, source.id)).toBe(false)
    expect(await accountsOf(db, source.id)).toHaveLength(10)
  })
})

describe('the removal of one account', () => {
  it('leaves the others, and the next file that lists it makes it anew', async () => {
    const { db } = lab
    const source = await lab.createSource()
    await lab.load(source.id, file(3))
    const task = await removeAccount(db, source.id, toWireId(accountId(source.id, '1')), call)
    expect(task).toMatchObject({ completionStatus: 'SUCCESS', attributes: { deleted: 1 } })
    expect(await changesOf(db, task.number)).toEqual({ removed: ['1'] })
    expect((await accountsOf(db, source.id)).map((one) => one.nativeIdentity)).toEqual(['0', '2'])
    expect((await sourceNow(db, source.id)).accounts).toBe(2)
    const again = await lab.load(source.id, file(3))
    expect(again.attributes).toMatchObject({ created: 1, updated: 0, deleted: 0 })
    expect(await changesOf(db, again.number)).toEqual({ created: ['1'] })
  })

  it('makes the next read of a system full', async () => {
    const { db } = lab
    const source = await lab.createSource({
      connector: 'chaos',
      connectorAttributes: { records: 4 },
      readMode: 'delta',
      attributes: [attribute('id'), attribute('name')],
    })
    await lab.read(source.id)
    await removeAccount(db, source.id, toWireId(accountId(source.id, 'user-2')), call)
    expect((await lab.read(source.id)).attributes).toMatchObject({ rowsRead: 4, created: 1 })
  })

  it('is not found the second time, and then leaves no task', async () => {
    const { db } = lab
    const source = await lab.createSource()
    await lab.load(source.id, file(2))
    const account = toWireId(accountId(source.id, '1'))
    const { number } = await removeAccount(db, source.id, account, call)
    await expect(removeAccount(db, source.id, account, call)).rejects.toMatchObject({
      code: 'not_found',
    })
    const { rows } = await db.query('select from task where source_id = $1::uuid and number > $2', [
      source.id,
      number,
    ])
    expect(rows).toEqual([])
    expect((await sourceNow(db, source.id)).accounts).toBe(1)
  })
})
