// What a run survives: lost connections, staging that was emptied, a worker that lost its lease (F2, F6, I1 to I6).
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fromWireId } from '../../src/core/id.ts'
import type { Step, Ways } from '../../src/run/job.ts'
import { planName, stagingName } from '../../src/store/names.ts'
import {
  accountsOf,
  allWays,
  historyOf,
  type Laboratory,
  openLaboratory,
  pause,
  rejectsOf,
  sourceNow,
} from '../support/aggregation.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

let test: TestDatabase
const laboratories: Laboratory[] = []
const folders: string[] = []

beforeEach(async () => {
  test = await testDatabase()
})
afterEach(async () => {
  for (const lab of laboratories.splice(0)) await lab.close()
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true })
  await test.drop()
})

async function open(options: Parameters<typeof openLaboratory>[1] = {}): Promise<Laboratory> {
  const lab = await openLaboratory(test.db, options)
  laboratories.push(lab)
  return lab
}

function people(count: number, mail: string): string {
  const rows = Array.from({ length: count }, (_, index) => `k${index},N${index},${mail}\n`)
  return `id,name,mail\n${rows.join('')}`
}

/** Runs `fault` at the first time a run comes to a step. */
function once(lab: Laboratory, wanted: Step, fault: () => Promise<void>): void {
  let done = false
  lab.onStep = async (step) => {
    if (step !== wanted || done) return
    done = true
    await fault()
  }
}

/** Ends the server processes of connections that are inside of a run. */
async function terminate(where: string): Promise<number> {
  const { rowCount } = await test.db.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and ${where}`,
  )
  return rowCount
}

const ways: [string, Ways][] = [
  ['buckets', allWays],
  ['plain staging', { firstLoad: false, buckets: false }],
]

describe('a run whose connection is cut', () => {
  it.each([
    ['applied', allWays],
    ['applied', { firstLoad: false, buckets: false }],
  ] as [Step, Ways][])(
    'within the apply transaction (%s, %o) has one effect',
    async (step, way) => {
      const lab = await open({ ways: way })
      const source = (await lab.createSource()).id
      for (const [text, expected] of [
        [people(20, 'a'), { created: 20, updated: 0, deleted: 0 }],
        [people(15, 'b'), { created: 0, updated: 15, deleted: 5 }],
      ] as const) {
        let killed = 0
        once(lab, step, async () => {
          killed = await terminate(`state = 'idle in transaction'`)
        })
        const task = await lab.load(source, text)
        expect(killed).toBe(1)
        expect(task).toMatchObject({ completionStatus: 'SUCCESS', attempt: 2 })
        expect(task.attributes).toMatchObject(expected)
      }
      expect(await accountsOf(lab.db, source)).toHaveLength(15)
      expect(await historyOf(lab.db, source)).toHaveLength(20)
      expect((await sourceNow(lab.db, source)).accounts).toBe(15)
    },
  )

  it('while it copies rows is tried again', async () => {
    const lab = await open()
    const source = (await lab.createSource()).id
    const lines = people(300_000, 'x'.repeat(80))
    const { task } = await lab.submit(source, lines)
    let killed = 0
    for (let turn = 0; turn < 1000 && killed === 0; turn += 1) {
      await pause(5)
      killed = await terminate(`query like 'copy %' and state = 'active'`)
    }
    expect(killed).toBe(1)
    expect(await lab.ended(task.id, 50_000)).toMatchObject({
      completionStatus: 'SUCCESS',
      attempt: 2,
    })
    expect((await sourceNow(lab.db, source)).accounts).toBe(300_000)
  })

  it('while it reads the stored fingerprints is tried again', async () => {
    const lab = await open()
    const source = (await lab.createSource()).id
    await lab.load(source, people(5, 'a'))
    let killed = 0
    const lock = await lab.db.connect()
    // The reader waits for this lock, so it is surely there when its connection is cut.
    await lock.query('begin')
    await lock.query('lock table account in access exclusive mode')
    const { task } = await lab.submit(source, people(5, 'b'))
    for (let turn = 0; turn < 1000 && killed === 0; turn += 1) {
      await pause(5)
      killed = await terminate(`wait_event_type = 'Lock'`)
    }
    await lock.query('rollback')
    lock.release()
    expect(killed).toBeGreaterThan(0)
    const ended = await lab.ended(task.id)
    expect(ended).toMatchObject({ completionStatus: 'SUCCESS' })
    expect(ended.attributes).toMatchObject({ created: 0, updated: 5, deleted: 0 })
  })

  it('every time ends TEMPERROR after three attempts, and nothing was changed', async () => {
    const lab = await open()
    const source = (await lab.createSource()).id
    await lab.load(source, people(5, 'a'))
    const before = await accountsOf(lab.db, source)
    lab.onStep = async (step) => {
      if (step === 'applied') await terminate(`state = 'idle in transaction'`)
    }
    const task = await lab.load(source, people(3, 'b'))
    expect(task).toMatchObject({ state: 'failed', completionStatus: 'TEMPERROR', attempt: 3 })
    expect(await accountsOf(lab.db, source)).toEqual(before)
    expect(await historyOf(lab.db, source)).toEqual([])
    // No sentence of the server in what clients see.
    expect(task.messages[0]?.key).toBe(
      'The run failed 3 times for a reason of the server; its log has the details.',
    )
    lab.onStep = () => undefined
    const next = await lab.load(source, people(3, 'b'))
    expect(next.attributes).toMatchObject({ updated: 3, deleted: 2 })
  })
})

describe('staging that a crash of the server emptied', () => {
  const emptied = ['staging', 'plan', 'both'] as const
  const cases = ways.flatMap(([name, way]) =>
    (['staged', 'planned'] as const).flatMap((step) =>
      emptied.map((what) => [what, step, name, way] as const),
    ),
  )

  it.each(cases)(
    '(%s, when %s, %s) fails the attempt, and nothing is removed wrongly',
    async (what, step, _, way) => {
      const lab = await open({ ways: way })
      const source = (await lab.createSource({ deleteThreshold: 100 })).id
      await lab.load(source, people(20, 'a'))
      const before = await accountsOf(lab.db, source)
      let truncated = 0
      once(lab, step, async () => {
        const { rows } = await lab.db.query<{ number: number }>(
          'select number from task where completed_at is null',
        )
        const number = rows[0]?.number ?? 0
        const names =
          what === 'both'
            ? [stagingName(number), planName(number)]
            : [what === 'plan' ? planName(number) : stagingName(number)]
        for (const name of names) {
          const found = await lab.db.query('select where to_regclass($1) is not null', [name])
          if (found.rowCount === 0) continue
          truncated += 1
          await lab.db.query(`truncate ${name}`)
        }
      })
      const task = await lab.load(source, people(19, 'b'))
      // Before the plan is made there is no plan to empty.
      expect(truncated > 0 || (what === 'plan' && step === 'staged')).toBe(true)
      expect(task).toMatchObject({ completionStatus: 'SUCCESS', attempt: truncated > 0 ? 2 : 1 })
      expect(task.attributes).toMatchObject({ created: 0, updated: 19, deleted: 1 })
      const history = await historyOf(lab.db, source)
      expect(
        history.map(({ nativeIdentity, attributes }) => ({ nativeIdentity, attributes })),
      ).toEqual(before.map(({ nativeIdentity, attributes }) => ({ nativeIdentity, attributes })))
      expect(history.filter((version) => version.removed)).toHaveLength(1)
    },
  )

  it('that lost only some rows fails the attempt too', async () => {
    const lab = await open()
    const source = (await lab.createSource({ deleteThreshold: 100 })).id
    await lab.load(source, people(20, 'a'))
    once(lab, 'staged', async () => {
      const { rows } = await lab.db.query<{ number: number }>(
        'select number from task where completed_at is null',
      )
      await lab.db.query(
        `delete from ${stagingName(rows[0]?.number ?? 0)} where native_identity = 'k7'`,
      )
    })
    const task = await lab.load(source, people(20, 'b'))
    expect(task).toMatchObject({ completionStatus: 'SUCCESS', attempt: 2 })
    expect(task.attributes).toMatchObject({ updated: 20, deleted: 0 })
  })
})

describe('a worker that lost its lease', () => {
  const steps: Step[] = ['staging', 'staged', 'planned', 'applied']
  const cases = steps.flatMap((step) =>
    (
      [
        ['a reload', 20],
        ['a first load', 0],
      ] as const
    ).map(([name, count]) => [step, name, count] as const),
  )

  it.each(cases)(
    'when %s (%s) writes nothing any more, and the run has one effect',
    async (step, _, count) => {
      const sharedDir = await mkdtemp(join(tmpdir(), 'muster-shared-'))
      folders.push(sharedDir)
      const stale = await open({ sharedDir })
      const source = (await stale.createSource({ deleteThreshold: 100 })).id
      if (count > 0) await stale.load(source, people(count, 'a'))
      let taskId = ''
      let over: Promise<unknown> = Promise.resolve()
      once(stale, step, async () => {
        // Its own heartbeat would renew the lease; a process that stands still does not.
        await stale.db.query(
          `update lease set holder = 'stands still', expires_at = clock_timestamp() - interval '1 second'`,
        )
        const second = await open({ sharedDir })
        over = second.ended(taskId, 20_000)
        // In the apply transaction the first one holds the lock of the source until it lets go.
        await Promise.race([over, pause(step === 'applied' ? 1500 : 20_000)])
      })
      const text = `${people(15, 'b')}bad,"x"y,z\n`
      taskId = (await stale.submit(source, text)).task.id
      const task = await stale.ended(taskId, 40_000)
      await over
      expect(task).toMatchObject({ completionStatus: 'WARNING', attempt: 2 })
      expect(task.attributes).toMatchObject(
        count > 0
          ? { created: 0, updated: 15, deleted: 0, rejected: 1 }
          : { created: 15, updated: 0, deleted: 0, rejected: 1 },
      )
      await stale.stopWorker()
      expect(await rejectsOf(test.db, taskId)).toHaveLength(1)
      expect(await accountsOf(test.db, source)).toHaveLength(Math.max(15, count))
      expect(await historyOf(test.db, source)).toHaveLength(count > 0 ? 15 : 0)
      const { rows } = await test.db.query<{ ends: number }>(
        `select count(*) as ends from audit where action = 'SOURCE_ACCOUNT_AGGREGATION_PASSED' and after ->> 'task' = $1`,
        [taskId],
      )
      expect(rows[0]?.ends).toBe(1)
    },
    60_000,
  )

  it('because the process is gone is followed by another within the time of a lease', async () => {
    const lab = await open({ worker: false })
    const source = (await lab.createSource()).id
    const { task } = await lab.submit(source, people(3, 'a'))
    await lab.db.query(
      `with taken as (update task set state = 'applying', attempt = 1 where id = $1::uuid returning id)
       insert into lease (task_id, holder, fence, expires_at)
       select id, 'dead', 1, clock_timestamp() + interval '1 second' from taken`,
      [fromWireId(task.id)],
    )
    lab.startWorker()
    expect(await lab.ended(task.id, 10_000)).toMatchObject({
      completionStatus: 'SUCCESS',
      attempt: 2,
    })
  })
})
