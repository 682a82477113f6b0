// Every way of loading gives what the model gives: the shortcuts are held equal to the plain way and to core/.
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Task } from '../../src/core/task.ts'
import type { Ways } from '../../src/run/job.ts'
import { fromWireId } from '../../src/core/id.ts'
import {
  accountsOf,
  changesOf,
  historyOf,
  type Laboratory,
  openLaboratory,
  rejectsOf,
  sourceNow,
} from '../support/aggregation.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import {
  emptyState,
  type GivenFile,
  loadModel,
  modelAttributes,
  type ModelState,
  sequenceArbitrary,
  writeFile,
} from '../support/file-model.ts'

let test: TestDatabase
const laboratories: Laboratory[] = []

beforeAll(async () => {
  test = await testDatabase()
  for (const ways of allCombinations()) {
    laboratories.push(await openLaboratory(test.db, { ways, concurrency: 1 }))
  }
})

afterAll(async () => {
  for (const laboratory of laboratories) await laboratory.close()
  await test.drop()
})

function allCombinations(): Ways[] {
  return [false, true].flatMap((firstLoad) =>
    [false, true].map((buckets) => ({ firstLoad, buckets })),
  )
}

/** Everything that must be equal, with runs named by their place in the sequence. */
async function observe(
  laboratory: Laboratory,
  sourceId: string,
  task: Task,
  runs: readonly number[],
) {
  const place = (run: number): number => runs.indexOf(run)
  // The rate is that of the last heartbeat, and a short run has none.
  const counters = Object.fromEntries(
    Object.entries(task.attributes).filter(
      ([name, value]) => typeof value === 'number' && name !== 'rowsPerSecond',
    ),
  )
  const history = await historyOf(laboratory.db, sourceId)
  return {
    status: task.completionStatus,
    counters,
    messages: task.messages.map((message) => message.key),
    accounts: (await accountsOf(laboratory.db, sourceId)).map((account) => without(account, 'id')),
    history: history
      .map((version) => ({
        ...without(version, 'id'),
        opened: place(version.opened),
        closed: place(version.closed),
      }))
      .toSorted(byClosing),
    rejects: await rejectsOf(laboratory.db, task.id),
    healthy: (await sourceNow(laboratory.db, sourceId)).healthy,
    kept: (await sourceNow(laboratory.db, sourceId)).accounts,
  }
}

function without<T extends object, K extends keyof T>(given: T, key: K): Omit<T, K> {
  const { [key]: left, ...rest } = given
  void left
  return rest
}

function byClosing(
  a: { closed: number; nativeIdentity: string },
  b: { closed: number; nativeIdentity: string },
): number {
  return a.closed - b.closed || (a.nativeIdentity < b.nativeIdentity ? -1 : 1)
}

async function runSequence(
  laboratory: Laboratory,
  files: readonly GivenFile[],
  deleteThreshold: number,
) {
  const source = await laboratory.createSource({ attributes: modelAttributes, deleteThreshold })
  const observed = []
  const runs: number[] = []
  for (const file of files) {
    await laboratory.db.query(
      'update source set connector_attributes = $2::jsonb where id = $1::uuid',
      [fromWireId(source.id), JSON.stringify({ mergeRows: file.mergeRows })],
    )
    const task = await laboratory.load(source.id, writeFile(file).text, {
      optimized: file.optimized,
    })
    runs.push(task.number)
    const before = observed.at(-1)?.accounts ?? []
    const state = await observe(laboratory, source.id, task, runs)
    await checkChanges(laboratory, task, before, state.accounts)
    observed.push(state)
  }
  return observed
}

/** The counters are those of rows that changed in the store (I6), told from the accounts before and after. */
async function checkChanges(
  laboratory: Laboratory,
  task: Task,
  before: readonly { readonly nativeIdentity: string }[],
  after: readonly { readonly nativeIdentity: string }[],
): Promise<void> {
  if (task.completionStatus === 'ERROR') return
  const text = (list: typeof before) =>
    new Map(list.map((one) => [one.nativeIdentity, JSON.stringify(one)]))
  const [former, now] = [text(before), text(after)]
  const created = [...now.keys()].filter((identity) => !former.has(identity))
  const removed = [...former.keys()].filter((identity) => !now.has(identity))
  const updated = [...now.keys()].filter(
    (identity) => former.has(identity) && former.get(identity) !== now.get(identity),
  )
  expect(task.attributes).toMatchObject({
    created: created.length,
    updated: updated.length,
    deleted: removed.length,
  })
  const changes = await changesOf(laboratory.db, task.number)
  const { rows } = await laboratory.db.query<{ baseline: boolean }>(
    'select baseline from run where number = $1',
    [task.number],
  )
  if (rows[0]?.baseline === true) expect(changes).toEqual({})
  else {
    expect((changes['created'] ?? []).toSorted()).toEqual(created.toSorted())
    expect((changes['updated'] ?? []).toSorted()).toEqual(updated.toSorted())
    expect((changes['removed'] ?? []).toSorted()).toEqual(removed.toSorted())
  }
}

function expectModel(
  observed: Awaited<ReturnType<typeof observe>>,
  state: ModelState,
  outcome: ReturnType<typeof loadModel>['outcome'],
): void {
  expect(observed.status).toBe(outcome.status)
  expect(observed.counters).toMatchObject(outcome.counters)
  expect(observed.accounts.toSorted(byIdentity)).toEqual(
    [...state.accounts.values()]
      .map((account) => without(account, 'opened'))
      .toSorted((a, b) => byIdentity(a, b)),
  )
  expect(observed.history).toEqual(state.history.toSorted(byClosing))
  expect(observed.rejects.map((reject) => without(reject, 'reason'))).toEqual(outcome.rejects)
  expect(observed.kept).toBe(state.accounts.size)
}

function byIdentity(a: { nativeIdentity: string }, b: { nativeIdentity: string }): number {
  return a.nativeIdentity < b.nativeIdentity ? -1 : 1
}

describe('loading', () => {
  it('gives the same accounts, history, counters and rejects whichever way is taken, and those of the model', async () => {
    await fc.assert(
      fc.asyncProperty(sequenceArbitrary, async ({ deleteThreshold, files }) => {
        const all = await Promise.all(
          laboratories.map((laboratory) => runSequence(laboratory, files, deleteThreshold)),
        )
        const [plain] = all
        for (const other of all) expect(other).toEqual(plain)
        let state = emptyState
        for (const [index, file] of files.entries()) {
          const step = loadModel(state, file, index, deleteThreshold)
          state = step.state
          const observed = plain?.[index]
          if (observed === undefined) throw new Error('a run was not observed')
          expectModel(observed, state, step.outcome)
        }
      }),
      {
        numRuns: Number(process.env['MUSTER_TEST_SEQUENCES'] ?? 12),
        seed: Number(process.env['MUSTER_TEST_SEED'] ?? 20261122),
        interruptAfterTimeLimit: 240_000,
      },
    )
  }, 300_000)
})
