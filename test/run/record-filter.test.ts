// A filterString in runs: a dropped record is as if it were not in the file, whichever way is taken, and guards hold.
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fromWireId } from '../../src/core/id.ts'
import { attribute } from '../../src/core/schema.ts'
import type { Task } from '../../src/core/task.ts'
import {
  accountsOf,
  changesOf,
  type Laboratory,
  openLaboratory,
  rejectsOf,
  type SourceGiven,
} from '../support/aggregation.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

let test: TestDatabase
const laboratories: Laboratory[] = []
beforeAll(async () => {
  test = await testDatabase()
  for (const [firstLoad, buckets] of [
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ] as const) {
    laboratories.push(
      await openLaboratory(test.db, { ways: { firstLoad, buckets }, concurrency: 1 }),
    )
  }
})
afterAll(async () => {
  for (const one of laboratories) await one.close()
  await test.drop()
})

function lab(): Laboratory {
  const [first] = laboratories
  if (first === undefined) throw new Error('no laboratory')
  return first
}

async function set(sourceId: string, attributes: Readonly<Record<string, unknown>>): Promise<void> {
  await test.db.query('update source set connector_attributes = $2::jsonb where id = $1::uuid', [
    fromWireId(sourceId),
    JSON.stringify(attributes),
  ])
}

function counts(task: Task): Record<string, unknown> {
  const { created, updated, deleted, optimized, total, ignored, rejected, rowsRead } =
    task.attributes
  return { created, updated, deleted, optimized, total, ignored, rejected, rowsRead }
}

async function identities(sourceId: string): Promise<string[]> {
  return (await accountsOf(test.db, sourceId)).map((account) => account.nativeIdentity)
}

async function newSource(filterString: string, given: SourceGiven = {}): Promise<string> {
  const connectorAttributes = { filterString, ...given.connectorAttributes }
  return (await lab().createSource({ ...given, connectorAttributes })).id
}

const file = 'id,name,mail\na,Ann,x\nb,Bob,y\nc,Cid,\n'

describe('a source with a filterString', () => {
  it('drops the records that match, counts them as ignored, and keeps the others', async () => {
    const source = await newSource('name == "Bob" || mail.isNull()')
    const task = await lab().load(source, file)
    expect(task.completionStatus).toBe('SUCCESS')
    expect(counts(task)).toMatchObject({ created: 1, total: 1, ignored: 2, rowsRead: 1 })
    expect(await identities(source)).toEqual(['a'])
  })

  it('reads everything anew after a change of the filter, though the file is the same', async () => {
    const source = await newSource('id == "b"')
    await lab().load(source, file)
    expect(await identities(source)).toEqual(['a', 'c'])
    const same = await lab().load(source, file)
    expect(counts(same)).toMatchObject({ created: 0, deleted: 0, optimized: 2, ignored: 1 })

    await set(source, { filterString: 'id == "a"' })
    const changed = await lab().load(source, file)
    expect(counts(changed)).toMatchObject({ created: 1, deleted: 1, optimized: 1, ignored: 1 })
    expect(await changesOf(test.db, changed.number)).toEqual({ created: ['b'], removed: ['a'] })

    await set(source, {})
    expect(counts(await lab().load(source, file))).toMatchObject({ created: 1, ignored: 0 })
    expect(await identities(source)).toEqual(['a', 'b', 'c'])
  })

  it('removes nobody when it drops more accounts than the threshold allows, or all of them', async () => {
    const source = await newSource('id == "nobody"', { deleteThreshold: 10 })
    await lab().load(source, file)
    await set(source, { filterString: 'id != "a"' })
    const most = await lab().load(source, file)
    expect(most.completionStatus).toBe('WARNING')
    expect(counts(most)).toMatchObject({ deleted: 0, ignored: 2 })
    await set(source, { filterString: 'id.notNull()' })
    const all = await lab().load(source, file)
    expect(all.completionStatus).toBe('WARNING')
    expect(counts(all)).toMatchObject({ deleted: 0, ignored: 3, rowsRead: 0 })
    expect(await identities(source)).toEqual(['a', 'b', 'c'])
  })

  it('ends in ERROR and changes nothing when the file has no such column, which it names with those there are', async () => {
    const source = await newSource('id == "b"')
    await lab().load(source, file)
    await set(source, { filterString: 'Name == "Ann"' })
    const task = await lab().load(source, 'id,name,mail\nz,Zoe,z\n')
    expect(task.completionStatus).toBe('ERROR')
    expect(task.messages[0]?.key).toContain(
      'The filterString names "Name", but the header has only "id", "name", "mail".',
    )
    expect(task.attributes['errorCode']).toBe('no_filter_column')
    expect(await identities(source)).toEqual(['a', 'c'])
  })

  it('drops a record before it can be a reject, unless its cells cannot be told apart', async () => {
    const source = await newSource('mail == "drop"', {
      attributes: [attribute('id'), attribute('name', { type: 'INT' }), attribute('mail')],
    })
    const task = await lab().load(
      source,
      // No number, a blank identity, a second time a: dropped. Too many cells, and a broken quote: rejects.
      'id,name,mail\na,1,x\nb,no,drop\n,2,drop\na,3,drop\nc,4,drop,5\nd,"6"7,drop\n',
    )
    expect(counts(task)).toMatchObject({ created: 1, rejected: 2, ignored: 5 })
    expect(
      (await rejectsOf(test.db, task.id)).map(({ position, code }) => [position, code]),
    ).toEqual([
      [6, 'cell_count'],
      [7, 'quote'],
    ])
  })

  it('looks at the rows of an account one by one before they are merged', async () => {
    const source = await newSource('groups.startsWith("tmp")', {
      attributes: [attribute('id'), attribute('name'), attribute('groups', { isMulti: true })],
      connectorAttributes: { mergeRows: true },
    })
    const rows = 'id,name,groups\na,Ann,g1\na,Ann,tmp1\nb,Bob,tmp2\na,Ann,g2\n'
    await lab().load(source, rows)
    expect((await accountsOf(test.db, source)).map((account) => account.attributes)).toEqual([
      '{"groups":["g1","g2"],"id":"a","name":"Ann"}',
    ])
  })

  it('reads columns that are no attribute, quoted cells, and names with dashes and spaces', async () => {
    const source = await newSource(
      '"Cost Center" == "a ""quoted""" || e-mail.contains(",")'.replaceAll('""', '\\"'),
    )
    const task = await lab().load(
      source,
      'id,name,Cost Center,e-mail\na,Ann,"a ""quoted""",x\nb,Bob,c,"x,y"\nc,Cid,c,x\n',
    )
    expect(counts(task)).toMatchObject({ created: 1, ignored: 2 })
    expect(await identities(source)).toEqual(['c'])
  })
})

const filters = [
  { text: 'name == "x"', holds: (row: readonly string[]) => row[1] === 'x' },
  { text: '!( id.contains( "2" ) )', holds: (row: readonly string[]) => !row[0]?.includes('2') },
  {
    text: 'mail.isNull() || id i== "K1"',
    holds: (row: readonly string[]) => (row[2] ?? '').trim() === '' || row[0] === 'k1',
  },
  {
    text: 'id.in({"k3","k4"})',
    holds: (row: readonly string[]) => row[0] === 'k3' || row[0] === 'k4',
  },
]

const rowArbitrary = fc.tuple(
  fc.constantFrom('k1', 'k2', 'k3', 'k4', 'k5', 'k12', ''),
  fc.constantFrom('x', 'y', '"', ''),
  fc.constantFrom('g1', 'g2', ' ', 'ü,ü'),
  fc.oneof({ weight: 8, arbitrary: fc.constant(false) }, fc.constant(true)),
)
const sequences = fc.array(
  fc.record({
    filter: fc.constantFrom(...filters),
    rows: fc.array(rowArbitrary, { maxLength: 12 }),
    mergeRows: fc.boolean(),
    optimized: fc.boolean(),
  }),
  { minLength: 2, maxLength: 4 },
)

function line(row: readonly string[]): string {
  return row.map((cell) => (/[",]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(',')
}

describe('random files with random filters', () => {
  it('give by every way what the files give in which the records are comments', async () => {
    let dropped = 0
    await fc.assert(
      fc.asyncProperty(sequences, async (steps) => {
        const given: SourceGiven = {
          attributes: [attribute('id'), attribute('name'), attribute('mail', { isMulti: true })],
          deleteThreshold: 60,
        }
        const outcomes = await Promise.all(
          laboratories.map(async (one) => {
            const filtered = (await one.createSource(given)).id
            const plain = (await one.createSource(given)).id
            const seen = []
            for (const { filter, rows, mergeRows, optimized } of steps) {
              const written = rows.map(([id, name, mail, broken]) => {
                const text = line([id, name, mail])
                // A record of too many cells is no record to filter.
                const matches = !broken && filter.holds([id, name, mail])
                if (matches) dropped += 1
                return { text: broken ? `${text},surplus` : text, matches }
              })
              const whole = written.map(({ text }) => text)
              const without = written.map(({ text, matches }) => (matches ? '# dropped' : text))
              await set(filtered, { mergeRows, filterString: filter.text })
              await set(plain, { mergeRows })
              const header = 'id,name,mail'
              const left = await one.load(filtered, [header, ...whole].join('\n'), { optimized })
              const right = await one.load(plain, [header, ...without].join('\n'), { optimized })
              const state = async (source: string, task: Task) => ({
                status: task.completionStatus,
                counts: counts(task),
                messages: task.messages.map((message) => message.key),
                accounts: (await accountsOf(test.db, source)).map(
                  ({ nativeIdentity, name, attributes }) => ({ nativeIdentity, name, attributes }),
                ),
                rejects: await rejectsOf(test.db, task.id),
                changes: await changesOf(test.db, task.number),
              })
              const observed = await state(filtered, left)
              expect(observed).toEqual(await state(plain, right))
              // A first load lists no changes.
              seen.push({ ...observed, changes: null })
            }
            return seen
          }),
        )
        for (const other of outcomes) expect(other).toEqual(outcomes[0])
      }),
      { numRuns: 5, seed: 20261123, interruptAfterTimeLimit: 120_000 },
    )
    expect(dropped).toBeGreaterThan(20)
  }, 180_000)
})
