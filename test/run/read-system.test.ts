// Runs of direct sources against a connector that misbehaves as it is told: what was not proven to be whole changes nothing.
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { attribute } from '../../src/core/schema.ts'
import type { Task } from '../../src/core/task.ts'
import { listChanges } from '../../src/store/changes.ts'
import { deleteReadState, getReadState } from '../../src/store/read-states.ts'
import { openSettings } from '../../src/store/source-secrets.ts'
import { requestCancel } from '../../src/store/tasks.ts'
import { updateConnectorAttributes } from '../../src/store/sources.ts'
import {
  accountsOf,
  changesOf,
  historyOf,
  type Laboratory,
  openLaboratory,
  pause,
  rejectsOf,
  runOf,
  sourceNow,
} from '../support/aggregation.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { testSystem } from '../support/system.ts'

let test: TestDatabase
let lab: Laboratory
beforeAll(async () => {
  test = await testDatabase()
  lab = await openLaboratory(test.db)
})
afterAll(async () => {
  await lab.close()
  await test.drop()
})

const attributes = [
  attribute('id'),
  attribute('name'),
  attribute('title'),
  attribute('number', { type: 'INT' }),
  attribute('groups', { isMulti: true, isEntitlement: true }),
]

async function chaos(
  settings: Readonly<Record<string, unknown>>,
  given: Parameters<Laboratory['createSource']>[0] = {},
): Promise<string> {
  const source = await lab.createSource({
    connector: 'chaos',
    connectorAttributes: settings,
    attributes,
    ...given,
  })
  return source.id
}

async function change(source: string, settings: Readonly<Record<string, unknown>>): Promise<void> {
  await updateConnectorAttributes(test.db, source, settings)
}

async function identities(source: string): Promise<string[]> {
  return (await accountsOf(test.db, source)).map((account) => account.nativeIdentity)
}

function errorOf(task: Task): unknown {
  return task.attributes['errorCode']
}

describe('a full read', () => {
  it('makes accounts with lists, numbers and names of what the system gave', async () => {
    const source = await chaos({ records: 3 })
    const task = await lab.read(source)
    expect(task).toMatchObject({ completionStatus: 'SUCCESS', attributes: { created: 3 } })
    expect((await accountsOf(test.db, source))[0]).toMatchObject({
      nativeIdentity: 'user-1',
      name: 'User 1',
      attributes:
        '{"groups":["group-1"],"id":"user-1","name":"User 1","number":1,"title":"engineer"}',
    })
    const run = await runOf(test.db, task.id)
    expect(run.phases.map((phase) => phase.name)).toEqual([
      'Reading',
      'Collecting',
      'Planning',
      'Applying',
    ])
    expect(await sourceNow(test.db, source)).toMatchObject({ healthy: true, accounts: 3 })
  })

  it.each([true, false])(
    'that brings the same again changes nothing, optimised %s',
    async (optimized) => {
      const source = await chaos({ records: 3000, pageSize: 500 })
      await lab.read(source)
      expect(await lab.read(source, { optimized })).toMatchObject({
        completionStatus: 'SUCCESS',
        attributes: { created: 0, updated: 0, deleted: 0, total: 3000 },
      })
    },
  )

  it('finds out what changed, came and went', async () => {
    const source = await chaos({ records: 200 })
    await lab.read(source)
    await change(source, { records: 201, changed: ['user-3'], removed: ['user-7'] })
    const task = await lab.read(source)
    expect(task).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 1, updated: 1, deleted: 1 },
    })
    expect(await changesOf(test.db, task.number)).toEqual({
      created: ['user-201'],
      updated: ['user-3'],
      removed: ['user-7'],
    })
  })

  it('takes a record with another name under the same key for the same account', async () => {
    const source = await chaos({ records: 5, keyed: true })
    await lab.read(source)
    const before = await accountsOf(test.db, source)
    await change(source, { records: 5, keyed: true, renamed: { 'user-2': 'user-zwei' } })
    const task = await lab.read(source)
    expect(task.attributes).toMatchObject({ created: 0, updated: 1, deleted: 0 })
    const renamed = (await accountsOf(test.db, source)).find(
      (account) => account.nativeIdentity === 'user-zwei',
    )
    expect(renamed?.id).toBe(before.find((account) => account.nativeIdentity === 'user-2')?.id)
    expect(await historyOf(test.db, source)).toMatchObject([{ nativeIdentity: 'user-2' }])
    const [updated] = await listChanges(test.db, await runOf(test.db, task.id), null, 10, 0)
    expect(updated).toMatchObject({
      kind: 'updated',
      stateBefore: { nativeIdentity: 'user-2', disabled: false },
      stateAfter: { nativeIdentity: 'user-zwei', disabled: false },
    })
  })

  it('does not take another name without a key for the same account', async () => {
    const source = await chaos({ records: 5 })
    await lab.read(source)
    await change(source, { records: 5, renamed: { 'user-2': 'user-zwei' } })
    expect((await lab.read(source)).attributes).toMatchObject({ created: 1, deleted: 1 })
  })

  it('rejects a value that is no value of its type, and protects that account', async () => {
    const source = await chaos({ records: 4 })
    await lab.read(source)
    const wrong = await chaos(
      { records: 4 },
      { attributes: [attribute('id'), attribute('name', { type: 'INT' })] },
    )
    const task = await lab.read(wrong)
    expect(task).toMatchObject({ completionStatus: 'WARNING', attributes: { rejected: 4 } })
    expect(await rejectsOf(test.db, task.id)).toHaveLength(4)
    expect((await rejectsOf(test.db, task.id))[0]).toMatchObject({
      code: 'type',
      nativeIdentity: 'user-1',
      trusted: true,
    })
  })

  it('keeps the first of several values of a single-valued attribute, and says so', async () => {
    const source = await chaos(
      { records: 2 },
      { attributes: [attribute('id'), attribute('name'), attribute('groups')] },
    )
    const task = await lab.read(source)
    // Every record of the chaos connector has one group.
    expect(task.completionStatus).toBe('SUCCESS')
    expect((await accountsOf(test.db, source))[0]?.attributes).toContain('"groups":"group-1"')
    const several = await modelSource(
      { a: ['here', 1] },
      { attributes: [attribute('id'), attribute('groups')] },
    )
    const warned = await lab.read(several)
    expect(warned.completionStatus).toBe('WARNING')
    expect(warned.messages[0]?.key).toContain('"groups"')
    expect((await accountsOf(test.db, several))[0]?.attributes).toBe('{"groups":"staff","id":"a"}')
  })

  it('of a source without an identity attribute ends with an error that says what to do', async () => {
    const source = await chaos({ records: 2 }, { identityAttribute: 'missing' })
    const task = await lab.read(source)
    // The reader gives the identity by itself.
    expect(task.completionStatus).toBe('SUCCESS')
    expect(await identities(source)).toEqual(['user-1', 'user-2'])
  })
})

describe('a read that does not come to its proven end', () => {
  const faults: readonly (readonly [
    behaviour: string,
    settings: object,
    status: string,
    code: string,
  ])[] = [
    ['duplicatePages', {}, 'ERROR', 'repeated_record'],
    ['pageDrift', { pageSize: 20 }, 'TEMPERROR', 'incomplete_read'],
    ['truncated', {}, 'TEMPERROR', 'incomplete_read'],
    ['wrongExpected', {}, 'TEMPERROR', 'incomplete_read'],
    ['errorAfter', {}, 'ERROR', 'connector_failed'],
    ['temporaryErrorAfter', {}, 'TEMPERROR', 'system_away'],
    ['hugeRecord', {}, 'ERROR', 'record_too_long'],
    ['badValues', {}, 'ERROR', 'connector_failed'],
    ['loops', { silenceSeconds: 1 }, 'ERROR', 'silent'],
    ['silent', { silenceSeconds: 1 }, 'TEMPERROR', 'silent'],
    ['stateThenError', {}, 'ERROR', 'connector_failed'],
  ]

  it.each(faults)(
    '(%s) changes nothing, keeps the cursor, and the next one works',
    async (behaviour, settings, status, code) => {
      const source = await chaos({ records: 100 })
      await lab.read(source)
      const state = await getReadState(test.db, source)
      await change(source, { records: 90, changed: ['user-5'], behaviour, ...settings })
      const task = await lab.read(source)
      expect([task.completionStatus, errorOf(task)]).toEqual([status, code])
      expect(task.messages[0]?.key).toMatch(/\. \S/)
      expect((await identities(source)).length).toBe(100)
      expect(await changesOf(test.db, task.number)).toEqual({})
      expect(await getReadState(test.db, source)).toEqual(state)
      expect(await sourceNow(test.db, source)).toMatchObject({
        healthy: false,
        status: 'SOURCE_STATE_ERROR_SOURCE',
      })
      await change(source, { records: 90, changed: ['user-5'] })
      expect(await lab.read(source)).toMatchObject({
        completionStatus: 'SUCCESS',
        attributes: { created: 0, updated: 1, deleted: 10 },
      })
      await expect.poll(spoolFiles).toEqual([])
    },
    30_000,
  )

  it('(no records at all) is refused, whatever the threshold', async () => {
    const source = await chaos({ records: 50 }, { deleteThreshold: 100 })
    await lab.read(source)
    await change(source, { records: 0 })
    const task = await lab.read(source)
    expect([task.completionStatus, errorOf(task)]).toEqual(['ERROR', 'refused'])
    expect((await identities(source)).length).toBe(50)
  })

  it('(endless) ends at the limit of what is read', async () => {
    const small = await openLaboratory(test.db, { system: { maxReadBytes: 3 << 20 } })
    await lab.stopWorker()
    try {
      const source = await chaos({ records: 10, behaviour: 'endless', pageSize: 5000 })
      const task = await small.read(source)
      expect([task.completionStatus, errorOf(task)]).toEqual(['ERROR', 'read_too_large'])
    } finally {
      await small.close()
      lab.startWorker()
    }
  })

  it('(a connector that is not installed) names it', async () => {
    const source = await chaos({}, { connector: 'unheard-of' })
    const task = await lab.read(source)
    expect(errorOf(task)).toBe('connector_missing')
    expect(task.messages[0]?.key).toContain('unheard-of')
  })
})

describe('a run that is cancelled', () => {
  it.each(['slow', 'loops', 'endless'])(
    'while a connector reads (%s) ends soon',
    async (behaviour) => {
      const source = await chaos({
        records: 100_000,
        pageSize: 100,
        delayMs: 50,
        after: 10,
        behaviour,
      })
      const { task } = await lab.submitRead(source)
      await expect.poll(async () => (await runOf(test.db, task.id)).id).toBe(task.id)
      await pause(1500)
      const began = performance.now()
      await requestCancel(test.db, task.id, 'Tester')
      expect((await lab.ended(task.id)).completionStatus).toBe('TERMINATED')
      expect(performance.now() - began).toBeLessThan(6000)
      expect(await identities(source)).toEqual([])
      await expect.poll(spoolFiles).toEqual([])
    },
  )
})

describe('a read of changes', () => {
  it('is full the first time, and then brings what changed and what is gone', async () => {
    const source = await chaos({ records: 100 }, { readMode: 'delta' })
    expect((await lab.read(source)).attributes).toMatchObject({ created: 100, rowsRead: 100 })
    await change(source, { records: 100 })
    const quiet = await lab.read(source)
    expect(quiet).toMatchObject({ completionStatus: 'SUCCESS', attributes: { rowsRead: 0 } })
    expect((await identities(source)).length).toBe(100)
  })

  it('makes, changes and removes what the system says, and nothing else', async () => {
    const source = await modelSource({ a: ['x', 1], b: ['x', 1], c: ['x', 1], d: ['x', 1] })
    expect((await lab.read(source)).attributes).toMatchObject({ created: 4 })
    await system({ a: ['x', 1], b: ['y', 2], d: ['x', 1], e: ['x', 2] }, { c: 2 }, 2)
    const task = await lab.read(source)
    expect(task).toMatchObject({
      completionStatus: 'SUCCESS',
      attributes: { created: 1, updated: 1, deleted: 1, rowsRead: 3 },
    })
    expect(await changesOf(test.db, task.number)).toEqual({
      created: ['e'],
      updated: ['b'],
      removed: ['c'],
    })
    expect(await identities(source)).toEqual(['a', 'b', 'd', 'e'])
    expect((await getReadState(test.db, source))?.cursor).toEqual({ revision: 2 })
    // A full read agrees with what the deltas have made.
    expect(await lab.read(source, { fields: { mode: 'full' } })).toMatchObject({
      attributes: { created: 0, updated: 0, deleted: 0, total: 4 },
    })
  })

  it('of which the delete threshold is exceeded removes nothing', async () => {
    const source = await modelSource(
      { a: ['x', 1], b: ['x', 1], c: ['x', 1], d: ['x', 1] },
      { deleteThreshold: 10 },
    )
    await lab.read(source)
    await system({ a: ['y', 2], d: ['x', 1] }, { b: 2, c: 2 }, 2)
    expect(await lab.read(source)).toMatchObject({
      completionStatus: 'WARNING',
      attributes: { updated: 1, deleted: 0, totalAccountsMarkedForDeletion: 2 },
    })
    expect(await identities(source)).toEqual(['a', 'b', 'c', 'd'])
    // Else nobody would hear of those removals again.
    expect((await getReadState(test.db, source))?.cursor).toEqual({ revision: 1 })
  })

  it('keeps what the system wants changed in its settings, secrets sealed, with the effect only', async () => {
    const source = await modelSource({ a: ['x', 1] })
    await lab.read(source)
    const patches = [
      { op: 'add', path: '/connectorAttributes/config', value: { token: 'fresh secret', page: 2 } },
    ]
    await writeFile(
      modelPath,
      JSON.stringify({ revision: 2, accounts: { a: ['y', 2] }, gone: {}, patches }),
    )
    expect((await lab.read(source)).attributes).toMatchObject({ updated: 1 })
    const { connectorAttributes } = await sourceNow(test.db, source)
    expect(connectorAttributes).toEqual({
      path: modelPath,
      config: { token: '******', page: 2 },
    })
    const opened = await openSettings(
      test.db,
      testSystem().masterKey,
      await sourceNow(test.db, source),
    )
    expect(opened).toMatchObject({ config: { token: 'fresh secret' } })
    // The change was the system's own, so the next read may still be one of changes.
    expect((await lab.read(source)).attributes).toMatchObject({ rowsRead: 0 })
    const wrong = [{ op: 'replace', path: '/name', value: 'stolen' }]
    await writeFile(
      modelPath,
      JSON.stringify({ revision: 3, accounts: { a: ['z', 3] }, gone: {}, patches: wrong }),
    )
    expect(errorOf(await lab.read(source))).toBe('connector_failed')
    expect((await getReadState(test.db, source))?.cursor).toEqual({ revision: 2 })
    expect((await accountsOf(test.db, source))[0]?.attributes).toContain('"y"')
  })

  it('that fails does not move the cursor, and the next one brings what it missed', async () => {
    const source = await modelSource({ a: ['x', 1], b: ['x', 1] })
    await lab.read(source)
    await writeFile(modelPath, 'no JSON')
    expect((await lab.read(source)).completionStatus).toBe('ERROR')
    expect((await getReadState(test.db, source))?.cursor).toEqual({ revision: 1 })
    await system({ a: ['x', 1] }, { b: 2 }, 2)
    expect((await lab.read(source)).attributes).toMatchObject({ deleted: 1, rowsRead: 1 })
  })

  it('after the state was reset, or after a change of settings or schema, is full again', async () => {
    const source = await modelSource({ a: ['x', 1], b: ['x', 1] })
    await lab.read(source)
    expect((await lab.read(source)).attributes).toMatchObject({ rowsRead: 0 })
    await deleteReadState(test.db, source)
    expect((await lab.read(source)).attributes).toMatchObject({ rowsRead: 2, deleted: 0 })
    expect((await lab.read(source)).attributes).toMatchObject({ rowsRead: 0 })
    await change(source, { path: modelPath, delayMs: 1 })
    expect((await lab.read(source)).attributes).toMatchObject({ rowsRead: 2, deleted: 0 })
  })

  it('is what the form asks for, whatever the setting says', async () => {
    const source = await chaos({ records: 10 })
    await lab.read(source)
    const delta = await lab.read(source, { fields: { mode: 'delta' } })
    expect(delta.attributes).toMatchObject({ rowsRead: 0, deleted: 0 })
    const full = await lab.read(source, { fields: { mode: 'full' } })
    expect(full.attributes).toMatchObject({ rowsRead: 10, deleted: 0 })
  })
})

const modelPath = join(tmpdir(), `muster-model-${process.pid}.json`)

/** Writes what the system of the model connector holds: identity → location and revision; identity → revision of its end. */
async function system(accounts: object, gone: object, revision: number): Promise<void> {
  await writeFile(modelPath, JSON.stringify({ revision, accounts, gone }))
}

async function modelSource(
  accounts: object,
  given: Parameters<Laboratory['createSource']>[0] = {},
): Promise<string> {
  await system(accounts, {}, 1)
  const source = await lab.createSource({
    connector: 'model',
    connectorAttributes: { path: modelPath },
    readMode: 'delta',
    attributes: [attribute('id'), attribute('location')],
    displayAttribute: null,
    ...given,
  })
  return source.id
}

async function spoolFiles(): Promise<string[]> {
  const folder = join(lab.spool.path(`upload-${'0'.repeat(32)}`), '..')
  await mkdir(folder, { recursive: true })
  return (await readdir(folder)).filter((name) => !name.startsWith('node-id'))
}
