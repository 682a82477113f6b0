import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeSource } from '../../src/run/remove-source.ts'
import { getSource } from '../../src/store/sources.ts'
import {
  accountsOf,
  caller,
  historyOf,
  type Laboratory,
  openLaboratory,
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
    const task = await removeSource(db, source.id, caller, 'a'.repeat(32))
    expect(task.completionStatus).toBe('SUCCESS')
    expect(await getSource(db, source.id)).toBeNull()
  })

  it('is worked off by a worker when the source is large, and keeps the accounts as history', async () => {
    const { db } = lab
    const source = await lab.createSource()
    await lab.load(source.id, file(10_001))
    const queued = await removeSource(db, source.id, caller, 'b'.repeat(32))
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
    const queued = await removeSource(db, source.id, caller, 'c'.repeat(32))
    await expect(removeSource(db, source.id, caller, 'd'.repeat(32))).rejects.toMatchObject({
      code: 'conflict',
    })
    lab.startWorker()
    expect((await lab.ended(queued.id)).completionStatus).toBe('SUCCESS')
  })
})
