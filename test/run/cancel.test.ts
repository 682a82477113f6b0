// Cancelling a run at each of its stages, and changes of the source under a run (F32, F33).
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fromWireId } from '../../src/core/id.ts'
import { attribute } from '../../src/core/schema.ts'
import type { Task } from '../../src/core/task.ts'
import type { Step } from '../../src/run/job.ts'
import { listSchemas, updateSchema } from '../../src/store/schemas.ts'
import { markSourceDeleted } from '../../src/store/sources.ts'
import { requestCancel } from '../../src/store/tasks.ts'
import {
  accountsOf,
  historyOf,
  type Laboratory,
  openLaboratory,
  pause,
  rejectsOf,
  sourceNow,
} from '../support/aggregation.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

let test: TestDatabase
let lab: Laboratory
const holds: (() => void)[] = []

beforeEach(async () => {
  test = await testDatabase()
  lab = await openLaboratory(test.db)
})
afterEach(async () => {
  lab.onStep = () => undefined
  for (const letGo of holds.splice(0)) letGo()
  await lab.close()
  await test.drop()
})

const before = 'id,name,mail\na,Ann,a@x\nb,Bob,b@x\n'
const after = 'id,name,mail\na,New,a@x\nc,Cid,c@x\n'

/** Holds the next run at a step until it is let go, and says when it is there. */
function holdAt(wanted: Step): { readonly reached: Promise<void>; letGo(): void } {
  let arrive: () => void = () => undefined
  let letGo: () => void = () => undefined
  const reached = new Promise<void>((resolve) => (arrive = resolve))
  const gone = new Promise<void>((resolve) => (letGo = resolve))
  holds.push(letGo)
  lab.onStep = async (step) => {
    if (step !== wanted) return
    arrive()
    await gone
  }
  return { reached, letGo: () => letGo() }
}

async function expectNothing(sourceId: string, task: Task, accounts: unknown): Promise<void> {
  expect(task).toMatchObject({ state: 'cancelled', completionStatus: 'TERMINATED' })
  expect(task.messages).toEqual([{ type: 'WARN', key: 'Cancelled by Carol; nothing was changed.' }])
  expect(await accountsOf(lab.db, sourceId)).toEqual(accounts)
  expect(await historyOf(lab.db, sourceId)).toEqual([])
  expect((await lab.db.query('select from account_change')).rowCount).toBe(0)
}

describe('a cancelled run', () => {
  const steps: Step[] = ['claimed', 'staging', 'staged', 'planned', 'applied']

  it.each(steps)('that is %s ends TERMINATED within seconds, and changes nothing', async (step) => {
    const source = (await lab.createSource()).id
    await lab.load(source, before)
    const accounts = await accountsOf(lab.db, source)
    const hold = holdAt(step)
    const { task } = await lab.submit(source, after)
    await hold.reached
    await requestCancel(lab.db, task.id, 'Carol')
    // The run goes on a little later, as one that was busy does; it must find that it is to stop.
    await pause(step === 'planned' ? 0 : 700)
    hold.letGo()
    await expectNothing(source, await lab.ended(task.id, 5000), accounts)
    lab.onStep = () => undefined
    const next = await lab.load(source, after)
    expect(next.attributes).toMatchObject({ created: 1, updated: 1, deleted: 1 })
  })

  it.each(steps)('that is %s for the first time of its source leaves no account', async (step) => {
    const source = (await lab.createSource()).id
    const hold = holdAt(step)
    const { task } = await lab.submit(source, after)
    await hold.reached
    await requestCancel(lab.db, task.id, 'Carol')
    hold.letGo()
    await expectNothing(source, await lab.ended(task.id, 5000), [])
    lab.onStep = () => undefined
    const next = await lab.load(source, after)
    expect(next.attributes).toMatchObject({ created: 2 })
  })

  it('that reads a large file stops reading', async () => {
    const source = (await lab.createSource()).id
    const line = `,${'x'.repeat(100)},\n`
    const lines: string[] = []
    for (let index = 0; index < 600_000; index += 1) lines.push(`k${index}${line}`)
    const { task } = await lab.submit(source, `id,name,mail\n${lines.join('')}`)
    for (;;) {
      const { rows } = await lab.db.query<{ state: string }>('select state from task')
      if (rows[0]?.state === 'collecting') break
      await pause(5)
    }
    await pause(100)
    const asked = performance.now()
    await requestCancel(lab.db, task.id, 'Carol')
    await expectNothing(source, await lab.ended(task.id, 10_000), [])
    expect(performance.now() - asked).toBeLessThan(3000)
  })

  it('that waits in the queue ends at once', async () => {
    const source = (await lab.createSource({ whenBusy: 'queue' })).id
    const hold = holdAt('planned')
    const first = await lab.submit(source, before)
    await hold.reached
    const second = await lab.submit(source, after)
    const ended = await requestCancel(lab.db, second.task.id, 'Carol')
    expect(ended).toMatchObject({ state: 'cancelled', completionStatus: 'TERMINATED', attempt: 0 })
    hold.letGo()
    expect((await lab.ended(first.task.id)).completionStatus).toBe('SUCCESS')
  })

  it('that nobody works on, because its worker died, ends with the next attempt', async () => {
    const source = (await lab.createSource()).id
    await lab.stopWorker()
    const { task } = await lab.submit(source, before)
    await lab.db.query(`update task set state = 'collecting', attempt = 1 where id = $1::uuid`, [
      fromWireId(task.id),
    ])
    await requestCancel(lab.db, task.id, 'Carol')
    lab.startWorker()
    await expectNothing(source, await lab.ended(task.id, 5000), [])
  })

  it('that has ended stays as it is', async () => {
    const source = (await lab.createSource()).id
    const task = await lab.load(source, before)
    expect(await requestCancel(lab.db, task.id, 'Carol')).toEqual(task)
    expect(await requestCancel(lab.db, '0'.repeat(32), 'Carol')).toBeNull()
  })

  it('gives back a connection that later statements are safe on', async () => {
    const source = (await lab.createSource()).id
    for (let turn = 0; turn < 5; turn += 1) {
      const hold = holdAt('planned')
      const { task } = await lab.submit(source, `${before}${turn},x,\n`)
      await hold.reached
      await requestCancel(lab.db, task.id, 'Carol')
      hold.letGo()
      await lab.ended(task.id, 5000)
      await Promise.all(Array.from({ length: 10 }, () => lab.db.query('select pg_sleep(0.05)')))
    }
  })
})

describe('a source that changes under a run', () => {
  it('ends the run with ERROR when it was deleted, and the accounts are as they were', async () => {
    const source = (await lab.createSource()).id
    await lab.load(source, before)
    const accounts = await accountsOf(lab.db, source)
    const hold = holdAt('planned')
    const { task } = await lab.submit(source, after)
    await hold.reached
    await markSourceDeleted(lab.db, source)
    hold.letGo()
    lab.onStep = () => undefined
    const ended = await lab.ended(task.id)
    expect(ended).toMatchObject({ state: 'failed', completionStatus: 'ERROR' })
    expect(ended.messages[0]?.key).toContain('The source was deleted')
    expect(await accountsOf(lab.db, source)).toEqual(accounts)
  })

  it('ends by the schema that the run began with when that changes, and the next run uses the new one', async () => {
    const source = (await lab.createSource()).id
    const hold = holdAt('staged')
    const { task } = await lab.submit(source, before)
    await hold.reached
    const [schema] = await listSchemas(lab.db, source)
    if (schema === undefined) throw new Error('no schema')
    await updateSchema(lab.db, schema, {
      ...schema,
      attributes: [attribute('id'), attribute('mail')],
      displayAttribute: 'mail',
    })
    hold.letGo()
    expect((await lab.ended(task.id)).completionStatus).toBe('SUCCESS')
    expect((await accountsOf(lab.db, source))[0]).toMatchObject({
      name: 'Ann',
      attributes: '{"id":"a","mail":"a@x","name":"Ann"}',
    })
    const next = await lab.load(source, before)
    expect(next.attributes).toMatchObject({ created: 0, updated: 2, deleted: 0 })
    expect((await accountsOf(lab.db, source))[0]).toMatchObject({
      name: 'a@x',
      attributes: '{"id":"a","mail":"a@x"}',
    })
  })

  it('makes the run plan again when accounts moved since its plan', async () => {
    const source = (await lab.createSource()).id
    await lab.load(source, before)
    let moved = false
    lab.onStep = async (step) => {
      if (step !== 'planned' || moved) return
      moved = true
      const id = fromWireId(source)
      await lab.db.query(
        `with gone as (delete from account where native_identity = 'b')
         update source set accounts = accounts - 1, accounts_version = accounts_version + 1 where id = $1::uuid`,
        [id],
      )
    }
    const task = await lab.load(source, `${before}x,"bad",y,z\n`)
    expect(task.attributes).toMatchObject({ created: 1, updated: 0, deleted: 0, rejected: 1 })
    expect(task.attempt).toBe(2)
    expect(await rejectsOf(lab.db, task.id)).toHaveLength(1)
    expect((await sourceNow(lab.db, source)).accounts).toBe(2)
  })
})
