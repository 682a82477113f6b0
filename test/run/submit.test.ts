// Submitting runs of one source: retries, a busy source, the queue, and many at once (contract.md section 8.2, F11, F12).
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { busyMessage } from '../../src/core/task.ts'
import {
  accountsOf,
  type Laboratory,
  openLaboratory,
  runOf,
  sourceNow,
} from '../support/aggregation.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

let test: TestDatabase
const laboratories: Laboratory[] = []

beforeEach(async () => {
  test = await testDatabase()
})
afterEach(async () => {
  for (const lab of laboratories.splice(0)) await lab.close()
  await test.drop()
})

async function open(options: Parameters<typeof openLaboratory>[1] = {}): Promise<Laboratory> {
  const lab = await openLaboratory(test.db, options)
  laboratories.push(lab)
  return lab
}

const text = 'id,name,mail\na,Ann,a@x\n'
const other = 'id,name,mail\nb,Bob,b@x\n'

describe('a submit', () => {
  it('that is sent again while its run is open is a retry: it gives the same task', async () => {
    const lab = await open({ worker: false })
    const source = (await lab.createSource()).id
    const first = await lab.submit(source, text, { fields: { note: 'x', also: 'y' } })
    expect(first.kind).toBe('accepted')
    const again = await lab.submit(source, text, { fields: { also: 'y', note: 'x' }, strict: true })
    expect(again).toEqual({ kind: 'retry', task: first.task })
  })

  it('is another one when client, source, fields or file differ', async () => {
    const lab = await open({ worker: false })
    const source = (await lab.createSource()).id
    await lab.submit(source, text, { fields: { note: 'x' } })
    const kinds = [
      await lab.submit(source, text, { fields: { note: 'y' } }),
      await lab.submit(source, text, { fields: { note: 'x' }, clientId: 'somebody else' }),
      await lab.submit(source, other, { fields: { note: 'x' } }),
    ].map((submitted) => submitted.kind)
    expect(kinds).toEqual(['busy', 'busy', 'busy'])
    const second = (await lab.createSource()).id
    expect((await lab.submit(second, text, { fields: { note: 'x' } })).kind).toBe('accepted')
  })

  it('after the end of the run is a new task, and its run changes nothing', async () => {
    const lab = await open()
    const source = (await lab.createSource()).id
    const first = await lab.load(source, text)
    const second = await lab.load(source, text)
    expect(second.id).not.toBe(first.id)
    expect(second.attributes).toMatchObject({ created: 0, updated: 0, deleted: 0, optimized: 1 })
  })

  it('to a busy source is a task that has ended with ERROR and the message of ISC', async () => {
    const lab = await open({ worker: false })
    const source = (await lab.createSource()).id
    await lab.submit(source, text)
    const { kind, task } = await lab.submit(source, other)
    expect(kind).toBe('busy')
    expect(task).toMatchObject({ state: 'failed', completionStatus: 'ERROR', percentComplete: 100 })
    expect(task.completed).not.toBeNull()
    expect(task.messages).toEqual([{ type: 'ERROR', key: busyMessage }])
    // It does not make the source busy, nor unhealthy.
    expect((await sourceNow(lab.db, source)).status).not.toContain('ERROR')
  })

  it('to a busy source is a conflict that names the open task where the caller or the source wants that', async () => {
    const lab = await open({ worker: false })
    for (const whenBusy of ['error', 'conflict'] as const) {
      const source = (await lab.createSource({ whenBusy })).id
      const first = await lab.submit(source, text)
      const second = await lab.submit(source, other, { strict: whenBusy === 'error' })
      expect(second).toEqual({ kind: 'conflict', task: first.task })
    }
  })

  it('to a busy source waits its turn where the source queues, and the runs go in their order', async () => {
    const lab = await open()
    const source = (await lab.createSource({ whenBusy: 'queue' })).id
    const tasks = []
    for (let index = 0; index < 6; index += 1) {
      const { kind, task } = await lab.submit(source, `id,name,mail\na,Ann,${index}\n`)
      expect(kind).toBe('accepted')
      tasks.push(task)
    }
    const feeds = []
    for (const task of tasks) {
      expect((await lab.ended(task.id)).completionStatus).toBe('SUCCESS')
      feeds.push((await runOf(lab.db, task.id)).feedNumber ?? 0)
    }
    expect(feeds).toEqual(feeds.toSorted((a, b) => a - b))
    expect((await accountsOf(lab.db, source))[0]?.attributes).toContain('"mail":"5"')
  })

  it('is accepted for exactly one of 50 at once, and the others are told', async () => {
    const lab = await open({ worker: false })
    const source = (await lab.createSource()).id
    const submitted = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        lab.submit(source, text, { clientId: `client ${index}` }),
      ),
    )
    const kinds = submitted.map((one) => one.kind)
    expect(kinds.filter((kind) => kind === 'accepted')).toHaveLength(1)
    expect(kinds.filter((kind) => kind === 'busy')).toHaveLength(49)
    const again = (await lab.createSource()).id
    const same = await Promise.all(Array.from({ length: 20 }, () => lab.submit(again, text)))
    expect(new Set(same.map((one) => one.task.id)).size).toBe(1)
    expect(same.filter((one) => one.kind === 'accepted')).toHaveLength(1)
  })
})

describe('several workers on one database', () => {
  it('never run one source at once, and apply every run of the queue exactly once', async () => {
    const sharedDir = await mkdtemp(join(tmpdir(), 'muster-shared-'))
    try {
      const inside = new Map<string, number>()
      let most = 0
      const labs: Laboratory[] = []
      for (let index = 0; index < 3; index += 1) {
        labs.push(await open({ sharedDir, concurrency: 3 }))
      }
      const [first] = labs
      if (first === undefined) throw new Error('no laboratory')
      for (const lab of labs) {
        lab.onStep = async (step) => {
          if (step !== 'planned' && step !== 'applied') return
          const { rows } = await test.db.query<{ source_id: string; open: number }>(
            `select source_id, count(*) as open from task
             where state in ('collecting', 'planned', 'applying') group by source_id`,
          )
          for (const row of rows) {
            inside.set(row.source_id, row.open)
            most = Math.max(most, row.open)
          }
        }
      }
      const sources = []
      for (let index = 0; index < 3; index += 1) {
        sources.push((await first.createSource({ whenBusy: 'queue' })).id)
      }
      const tasks: string[] = []
      for (let turn = 0; turn < 5; turn += 1) {
        for (const [index, source] of sources.entries()) {
          const lab = labs[(turn + index) % labs.length] ?? first
          const rows = Array.from({ length: turn + 1 }, (_, row) => `k${row},N,${turn}\n`).join('')
          tasks.push((await lab.submit(source, `id,name,mail\n${rows}`)).task.id)
        }
      }
      for (const task of tasks) {
        expect(await first.ended(task)).toMatchObject({ completionStatus: 'SUCCESS', attempt: 1 })
      }
      expect(inside.size).toBe(3)
      expect(most).toBe(1)
      for (const source of sources) {
        const accounts = await accountsOf(test.db, source)
        expect(accounts.map((account) => account.nativeIdentity)).toEqual([
          'k0',
          'k1',
          'k2',
          'k3',
          'k4',
        ])
        expect(accounts.every((account) => account.attributes.includes('"mail":"4"'))).toBe(true)
      }
      const feeds = await test.db.query<{ feed_number: number }>(
        'select feed_number from run order by feed_number',
      )
      expect(feeds.rows.map((row) => row.feed_number)).toEqual(
        Array.from({ length: 15 }, (_, index) => index + 1),
      )
    } finally {
      for (const lab of laboratories.splice(0)) await lab.close()
      await rm(sharedDir, { recursive: true, force: true })
    }
  })

  it('are refused a second open run of a source by the database itself', async () => {
    const lab = await open({ worker: false })
    const source = (await lab.createSource({ whenBusy: 'queue' })).id
    await lab.submit(source, text)
    await lab.submit(source, other)
    await expect(lab.db.query(`update task set state = 'collecting'`)).rejects.toMatchObject({
      code: '23505',
      constraint: 'task_one_run_per_source',
    })
  })
})
