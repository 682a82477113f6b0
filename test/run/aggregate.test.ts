// What a run makes of a file, scenario by scenario, on a real database (contract.md sections 3.1, 3.3 and 8.5 to 8.10).
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fromWireId } from '../../src/core/id.ts'
import { attribute } from '../../src/core/schema.ts'
import type { Task } from '../../src/core/task.ts'
import {
  accountsOf,
  changesOf,
  historyOf,
  type Laboratory,
  openLaboratory,
  rejectsOf,
  runOf,
  type SourceGiven,
  sourceNow,
} from '../support/aggregation.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

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

const header = 'id,name,mail\n'

/** A file of accounts k1…kn, `change` says what their mail is. */
function people(count: number, change: (index: number) => string = () => 'm'): string {
  const lines = Array.from(
    { length: count },
    (_, index) => `k${index},N${index},${change(index)}\n`,
  )
  return header + lines.join('')
}

function counts(task: Task): Record<string, unknown> {
  const { created, updated, deleted, optimized, total, ignored, rejected } = task.attributes
  return { created, updated, deleted, optimized, total, ignored, rejected }
}

async function identities(sourceId: string): Promise<string[]> {
  return (await accountsOf(lab.db, sourceId)).map((account) => account.nativeIdentity)
}

async function newSource(given: SourceGiven = {}): Promise<string> {
  return (await lab.createSource(given)).id
}

function keys(task: Task): string {
  return task.messages.map((message) => `${message.type}: ${message.key}`).join('\n')
}

describe('the life of an account', () => {
  it('is created, updated, removed and comes back with its id, and every version is kept', async () => {
    const source = await newSource()
    const first = await lab.load(source, `${header}a,Ann,a@x\nb,Bob,b@x\n`)
    expect(first.completionStatus).toBe('SUCCESS')
    expect(counts(first)).toMatchObject({ created: 2, updated: 0, deleted: 0, total: 2 })
    const [ann] = await accountsOf(lab.db, source)

    const second = await lab.load(source, `${header}a,Ann,new@x\nc,Cid,\n`)
    expect(counts(second)).toMatchObject({ created: 1, updated: 1, deleted: 1, total: 2 })
    expect(await changesOf(lab.db, second.number)).toEqual({
      created: ['c'],
      updated: ['a'],
      removed: ['b'],
    })

    const third = await lab.load(source, `${header}b,Bob,b@x\nc,Cid,\n`)
    expect(counts(third)).toMatchObject({ created: 1, updated: 0, deleted: 1, optimized: 1 })
    const fourth = await lab.load(source, `${header}b,Bob,b@x\nc,Cid,\na,Ann,back@x\n`)
    expect(counts(fourth)).toMatchObject({ created: 1, updated: 0, deleted: 0, optimized: 2 })

    const accounts = await accountsOf(lab.db, source)
    expect(accounts.find((one) => one.nativeIdentity === 'a')).toEqual({
      id: ann?.id,
      nativeIdentity: 'a',
      name: 'Ann',
      attributes: '{"id":"a","mail":"back@x","name":"Ann"}',
    })
    const history = await historyOf(lab.db, source)
    expect(history.map((one) => [one.nativeIdentity, one.opened, one.closed, one.removed])).toEqual(
      [
        ['a', first.number, second.number, false],
        ['b', first.number, second.number, true],
        ['a', second.number, third.number, true],
      ],
    )
    expect((await sourceNow(lab.db, source)).accounts).toBe(3)
  })

  it('stays as it is when the same file is loaded again, shuffled or in other quotes', async () => {
    const source = await newSource()
    await lab.load(source, people(50))
    const before = await accountsOf(lab.db, source)
    const version = (await sourceNow(lab.db, source)).accountsVersion
    const again = await lab.load(source, people(50))
    expect(counts(again)).toMatchObject({ created: 0, updated: 0, deleted: 0, optimized: 50 })
    const lines = people(50).trimEnd().split('\n')
    const shuffled = [lines[0], ...lines.slice(1).toReversed()].join('\n')
    expect(counts(await lab.load(source, shuffled))).toMatchObject({ updated: 0, optimized: 50 })
    // Nothing was written, so other plans still hold.
    expect((await sourceNow(lab.db, source)).accountsVersion).toBe(version)
    const quoted = people(50).replaceAll('m\n', '"m"\n')
    expect(counts(await lab.load(source, quoted))).toMatchObject({ updated: 0, optimized: 50 })
    expect(await accountsOf(lab.db, source)).toEqual(before)
    expect(await historyOf(lab.db, source)).toEqual([])
  })

  it('has no key for a blank value, and loses the value when it becomes blank', async () => {
    const source = await newSource()
    await lab.load(source, `${header}a,Ann,a@x\n`)
    const task = await lab.load(source, `${header}a, ,\t\n`)
    expect(counts(task)).toMatchObject({ updated: 1 })
    const [account] = await accountsOf(lab.db, source)
    expect(account).toMatchObject({ name: 'a', attributes: '{"id":"a"}' })
  })

  it('keeps an identity of 10,000 characters, also when it is loaded again', async () => {
    const source = await newSource()
    const long = 'é'.repeat(10_000)
    await lab.load(source, `${header}${long},Long,\n`)
    const again = await lab.load(source, `${header}"${long}",Longer,\n`)
    expect(counts(again)).toMatchObject({ created: 0, updated: 1, deleted: 0 })
    expect(await identities(source)).toEqual([long])
  })

  it('keeps the columns __proto__, constructor and toString as plain keys', async () => {
    const names = ['id', '__proto__', 'constructor', 'toString']
    const source = await newSource({
      attributes: names.map((name) => attribute(name)),
      displayAttribute: null,
    })
    const text = `${names.join(',')}\na,p,c,t\na2,,,\n`
    const task = await lab.load(source, text)
    expect(task.completionStatus).toBe('SUCCESS')
    const [account] = await accountsOf(lab.db, source)
    expect(account?.attributes).toBe('{"__proto__":"p","constructor":"c","id":"a","toString":"t"}')
    const { x } = { x: ({} as Record<string, unknown>)['p'] }
    expect(x).toBeUndefined()
    expect(counts(await lab.load(source, text))).toMatchObject({ updated: 0, optimized: 2 })
  })

  it('has values of their types in canonical form, integers beyond 2^53 with all their digits', async () => {
    const source = await newSource({
      attributes: [
        attribute('id'),
        attribute('number', { type: 'LONG' }),
        attribute('small', { type: 'INT' }),
        attribute('flag', { type: 'BOOLEAN' }),
        attribute('day', { type: 'DATE' }),
        attribute('numbers', { type: 'LONG', isMulti: true }),
      ],
      connectorAttributes: { mergeRows: true },
    })
    await lab.load(
      source,
      'id,number,small,flag,day,numbers\na,9007199254740993,+007,Yes,22.11.2026,9007199254740993\na,,,,,10\n',
    )
    expect((await accountsOf(lab.db, source))[0]?.attributes).toBe(
      '{"day":"22.11.2026","flag":true,"id":"a","number":9007199254740993,"numbers":[10,9007199254740993],"small":7}',
    )
  })

  it('is not made from a row whose account id belongs to another account', async () => {
    const source = await newSource()
    await lab.load(source, `${header}a,Ann,\nb,Bob,\n`)
    // A second preimage of 80 bits cannot be made here, so the stored account takes another identity.
    await lab.db.query(`update account set native_identity = 'other' where native_identity = 'a'
      and id >= (select id from source where id = '${fromWireId(source) ?? ''}')`)
    const task = await lab.load(source, `${header}a,Ann,x\nb,Bob,x\n`)
    expect(task.completionStatus).toBe('WARNING')
    expect(counts(task)).toMatchObject({ created: 0, updated: 1, deleted: 0, rejected: 1 })
    expect(await rejectsOf(lab.db, task.id)).toMatchObject([
      { position: 2, code: 'collision', raw: 'a,Ann,x', nativeIdentity: 'a' },
    ])
    expect(await identities(source)).toEqual(['b', 'other'])
  })
})

describe('rejects', () => {
  it('have the line, the reason and the raw text, and the other records are taken', async () => {
    const source = await newSource({
      attributes: [attribute('id'), attribute('name'), attribute('level', { type: 'INT' })],
    })
    const lines = [
      'id,name,level',
      'a,"two\nlines",1',
      'b,Bob,high',
      '# remark',
      'c,Cid',
      ',No one,3',
      '"d"x,Dan,4',
      'e,N\0L,5',
      'f,Fay,6',
      'f,Fred,7',
    ]
    const task = await lab.load(source, `${lines.join('\n')}\n`)
    expect(task.completionStatus).toBe('WARNING')
    expect(counts(task)).toMatchObject({ created: 2, rejected: 6, ignored: 7, total: 2 })
    expect(await rejectsOf(lab.db, task.id)).toEqual([
      {
        position: 4,
        code: 'type',
        reason: 'The column "level" should be a whole number of 32 bits, but it is "high".',
        raw: 'b,Bob,high',
        nativeIdentity: 'b',
        trusted: true,
      },
      {
        position: 6,
        code: 'cell_count',
        reason: 'The record has 2 cells, the header names 3.',
        raw: 'c,Cid',
        nativeIdentity: 'c',
        trusted: false,
      },
      {
        position: 7,
        code: 'blank_identity',
        reason: 'The column "id" is blank.',
        raw: ',No one,3',
        nativeIdentity: null,
        trusted: false,
      },
      {
        position: 8,
        code: 'quote',
        reason: 'Text follows a closing quote within a cell.',
        raw: '"d"x,Dan,4',
        nativeIdentity: 'd',
        trusted: false,
      },
      {
        position: 9,
        code: 'nul',
        reason: 'The column "name" holds a NUL character.',
        raw: 'e,N␀L,5',
        nativeIdentity: 'e',
        trusted: true,
      },
      {
        position: 11,
        code: 'duplicate',
        reason:
          'The record on line 10 has the same "id", and rows are not merged (mergeRows is off).',
        raw: 'f,Fred,7',
        nativeIdentity: 'f',
        trusted: true,
      },
    ])
    expect(keys(task)).toContain('6 records were rejected. line 4: The column "level"')
    expect(keys(task)).toContain('And 1 more.')
    expect(await identities(source)).toEqual(['a', 'f'])
  })

  it('protect their account: it is neither updated nor removed', async () => {
    const source = await newSource({
      attributes: [attribute('id'), attribute('name'), attribute('level', { type: 'INT' })],
      connectorAttributes: { mergeRows: true },
    })
    await lab.load(source, 'id,name,level\na,Ann,1\nb,Bob,1\nc,Cid,1\nd,Dan,1\n')
    const task = await lab.load(source, 'id,name,level\na,Ann,bad\nb,New,2\nb,New,bad\nc,Cid,3\n')
    expect(counts(task)).toMatchObject({ created: 0, updated: 1, deleted: 1, rejected: 2 })
    const accounts = await accountsOf(lab.db, source)
    expect(accounts.map((account) => account.attributes)).toEqual([
      '{"id":"a","level":1,"name":"Ann"}',
      '{"id":"b","level":1,"name":"Bob"}',
      '{"id":"c","level":3,"name":"Cid"}',
    ])
  })

  it('without a trustworthy identity make the read incomplete: nothing is removed, the rest is done', async () => {
    const source = await newSource()
    await lab.load(source, people(20))
    const task = await lab.load(source, `${header}k1,New,m\n,Nobody,m\n`)
    expect(task.completionStatus).toBe('WARNING')
    expect(counts(task)).toMatchObject({ updated: 1, deleted: 0 })
    expect(task.attributes).toMatchObject({
      totalAccountsMarkedForDeletion: 19,
      deletedAccounts: 0,
    })
    expect(keys(task)).toContain('WARN: 1 rejected record has no trustworthy identity')
    expect(await identities(source)).toHaveLength(20)
    expect((await sourceNow(lab.db, source)).accounts).toBe(20)
  })

  it('may be many: 20,000 of them are all kept', async () => {
    const source = await newSource({
      attributes: [attribute('id'), attribute('name'), attribute('level', { type: 'INT' })],
    })
    const bad = Array.from({ length: 20_000 }, (_, index) => `b${index},N,bad${index}\n`).join('')
    const before = process.memoryUsage().rss
    const task = await lab.load(source, `id,name,level\n${bad}good,G,1\n`)
    expect(counts(task)).toMatchObject({ created: 1, rejected: 20_000 })
    expect(await rejectsOf(lab.db, task.id)).toHaveLength(20_000)
    expect(process.memoryUsage().rss - before).toBeLessThan(300 * 2 ** 20)
  }, 60_000)
})

describe('removals', () => {
  const remove = async (given: {
    accounts: number
    kept: number
    threshold: number | null
    settings?: Record<string, unknown>
  }) => {
    const source = await newSource({
      deleteThreshold: given.threshold,
      connectorAttributes: given.settings ?? {},
    })
    await lab.load(source, people(given.accounts))
    const task = await lab.load(source, people(given.kept))
    return { source, task, left: (await identities(source)).length }
  }

  it.each([
    ['exactly the threshold', { accounts: 20, kept: 18, threshold: 10 }, 18],
    ['one more than the threshold', { accounts: 20, kept: 17, threshold: 10 }, 20],
    ['10 % where no threshold is set', { accounts: 20, kept: 18, threshold: null }, 18],
    ['more than 10 % where no threshold is set', { accounts: 20, kept: 17, threshold: null }, 20],
    ['one where the threshold is 0', { accounts: 20, kept: 19, threshold: 0 }, 20],
    ['all but one where the threshold is 100', { accounts: 20, kept: 1, threshold: 100 }, 1],
    ['one of ten with a threshold of 9', { accounts: 10, kept: 9, threshold: 9 }, 10],
    ['one of one with a threshold of 100', { accounts: 2, kept: 1, threshold: 50 }, 1],
  ])('of %s', async (_, given, left) => {
    const { task, left: found } = await remove(given)
    const made = given.accounts - left
    expect(found).toBe(left)
    expect(counts(task)).toMatchObject({ deleted: made })
    expect(task.attributes).toMatchObject({
      totalAccountsMarkedForDeletion: given.accounts - given.kept,
    })
    expect(task.completionStatus).toBe(made > 0 ? 'SUCCESS' : 'WARNING')
    if (made === 0) expect(keys(task)).toContain('more than the delete threshold')
  })

  it('are skipped and the rest is done when the threshold is passed, also when all ids are renamed', async () => {
    const source = await newSource({ deleteThreshold: 10 })
    await lab.load(source, people(20))
    const task = await lab.load(source, people(20).replaceAll('k', 'r'))
    expect(task.completionStatus).toBe('WARNING')
    expect(counts(task)).toMatchObject({ created: 20, deleted: 0 })
    expect(await identities(source)).toHaveLength(40)
  })

  it('are never made where checkDeletedDisabled is set; that is a choice and no warning', async () => {
    const { task, left } = await remove({
      accounts: 20,
      kept: 19,
      threshold: 10,
      settings: { checkDeletedDisabled: 'true' },
    })
    expect(left).toBe(20)
    expect(task.completionStatus).toBe('SUCCESS')
    expect(keys(task)).toContain(
      'INFO: 1 account was not in the read; account deletion is disabled',
    )
  })

  it('come after the guard in every later run too: skipped ones are planned again', async () => {
    const source = await newSource({ deleteThreshold: 10 })
    await lab.load(source, people(20))
    expect(counts(await lab.load(source, people(5)))).toMatchObject({ deleted: 0, optimized: 5 })
    const again = await lab.load(source, people(5))
    expect(counts(again)).toMatchObject({ deleted: 0, optimized: 5 })
    expect(again.completionStatus).toBe('WARNING')
    expect(counts(await lab.load(source, people(20)))).toMatchObject({ created: 0, optimized: 20 })
  })

  it('are none when a file is only a header, whatever the threshold', async () => {
    const source = await newSource({ deleteThreshold: 100 })
    await lab.load(source, people(3))
    for (const [text, ignored] of [
      ['id,name,mail', ''],
      [`${header}# nothing\n\n,,\n`, ' but 2 that were ignored'],
    ] as const) {
      const task = await lab.load(source, text)
      expect(task.completionStatus).toBe('WARNING')
      expect(counts(task)).toMatchObject({ deleted: 0 })
      const said = `The read brought no records${ignored}, but the source has 3 accounts`
      expect(keys(task)).toContain(said)
    }
    expect(await identities(source)).toHaveLength(3)
  })

  it('are none in a source that is empty and stays so', async () => {
    const source = await newSource()
    const task = await lab.load(source, header)
    expect(task.completionStatus).toBe('SUCCESS')
    expect(counts(task)).toMatchObject({ created: 0, deleted: 0, total: 0 })
  })
})

describe('a file that cannot be read', () => {
  it.each([
    ['is empty', '', 'The file has no header.'],
    ['has no identity column', 'key,name\na,b\n', 'The header has no column "id"'],
    ['names a column twice', 'id,name,name\na,b,c\n', 'names the column "name" twice'],
    ['has columns that differ in case', 'id,Name,name\na,b,c\n', 'differ only in case'],
    ['has a column without a name', 'id,,name\na,b,c\n', 'Column 2 of the header has no name'],
    ['ends within quotes', `${header}k0,N,m\nk9,"open\n`, 'quote that opens on line 3'],
    ['has text behind a quote in its header', '"id"x,name\na,b\n', 'in the header'],
    ['is UTF-16 without a mark', Buffer.from(people(2), 'utf16le'), 'NUL characters'],
    [
      'has bytes that are no UTF-8 in its last record',
      Buffer.concat([Buffer.from(people(2)), Buffer.from([0xff])]),
      'offset 29 ',
    ],
  ])('ends with ERROR and changes nothing when it %s', async (_, content, text) => {
    const source = await newSource({ deleteThreshold: 100 })
    await lab.load(source, people(5))
    const before = await accountsOf(lab.db, source)
    const task = await lab.load(source, content)
    expect(task.completionStatus).toBe('ERROR')
    expect(task.state).toBe('failed')
    expect(task.attempt).toBe(1)
    expect(keys(task)).toContain(text)
    expect(await accountsOf(lab.db, source)).toEqual(before)
    expect(await sourceNow(lab.db, source)).toMatchObject({
      accounts: 5,
      healthy: false,
      status: 'SOURCE_STATE_ERROR_ACCOUNT_FILE_IMPORT',
    })
    // The next good file makes it healthy again, and finds everything as it was.
    const next = await lab.load(source, people(5))
    expect(counts(next)).toMatchObject({ created: 0, updated: 0, deleted: 0, optimized: 5 })
    expect(await sourceNow(lab.db, source)).toMatchObject({
      healthy: true,
      status: 'SOURCE_STATE_HEALTHY',
    })
  })

  it('ends with ERROR on a first load too, and leaves no accounts and no tables', async () => {
    const source = await newSource()
    const task = await lab.load(source, `${header}k0,N,m\nk9,"open\n`)
    expect(task.completionStatus).toBe('ERROR')
    expect(await identities(source)).toEqual([])
    expect(counts(await lab.load(source, people(2)))).toMatchObject({ created: 2 })
  })

  it('is an ERROR when a setting cannot be used', async () => {
    const source = await newSource({ connectorAttributes: { delimiter: ';;' } })
    const task = await lab.load(source, people(1))
    expect(task.completionStatus).toBe('ERROR')
    expect(keys(task)).toContain('connectorAttributes.delimiter')
  })
})

describe('columns', () => {
  it('that are missing leave the former values and are told', async () => {
    const source = await newSource()
    await lab.load(source, `${header}a,Ann,a@x\nb,Bob,b@x\n`)
    const task = await lab.load(source, 'id,mail\na,new@x\nb,b@x\nc,c@x\n')
    expect(task.completionStatus).toBe('WARNING')
    expect(counts(task)).toMatchObject({ created: 1, updated: 1 })
    expect(keys(task)).toContain('WARN: The file has no column for "name"')
    expect(
      (await accountsOf(lab.db, source)).map(({ name, attributes }) => [name, attributes]),
    ).toEqual([
      ['Ann', '{"id":"a","mail":"new@x","name":"Ann"}'],
      ['Bob', '{"id":"b","mail":"b@x","name":"Bob"}'],
      ['c', '{"id":"c","mail":"c@x"}'],
    ])
    const again = await lab.load(source, 'id,mail\na,new@x\nb,b@x\nc,c@x\n')
    expect(counts(again)).toMatchObject({ created: 0, updated: 0, optimized: 3 })
  })

  it('that are no attributes are ignored and told', async () => {
    const source = await newSource()
    const task = await lab.load(source, 'id,name,mail,shoe\na,Ann,a@x,42\n')
    expect(task.completionStatus).toBe('WARNING')
    expect(keys(task)).toContain('WARN: The columns "shoe" are no attributes')
    // Another value there is no change.
    const again = await lab.load(source, 'id,name,mail,shoe\na,Ann,a@x,43\n')
    expect(counts(again)).toMatchObject({ updated: 0, optimized: 1 })
  })

  it('may stand in another order', async () => {
    const source = await newSource()
    await lab.load(source, `${header}a,Ann,a@x\n`)
    const task = await lab.load(source, 'mail,id,name\na@x,a,Ann\n')
    expect(counts(task)).toMatchObject({ updated: 0, optimized: 1 })
  })
})

describe('rows of one account', () => {
  const attributes = [
    attribute('id'),
    attribute('name'),
    attribute('groups', { isMulti: true }),
    attribute('mail'),
  ]
  const head = 'id,name,groups,mail\n'

  it('are merged wherever they stand: lists are united, the first single value stays', async () => {
    const source = await newSource({ attributes, connectorAttributes: { mergeRows: true } })
    const text = `${head}a,Ann,z,\nb,Bob,x,\na,,y,a@x\na,Ann,z,b@x\nb,Bob,w,\nc,,,\n`
    const task = await lab.load(source, text)
    expect(task.completionStatus).toBe('WARNING')
    expect(keys(task)).toContain('in single-valued attributes ("mail")')
    expect(counts(task)).toMatchObject({ created: 3, rejected: 0, total: 3 })
    const merged = [
      '{"groups":["y","z"],"id":"a","mail":"a@x","name":"Ann"}',
      '{"groups":["w","x"],"id":"b","name":"Bob"}',
      '{"id":"c"}',
    ]
    expect((await accountsOf(lab.db, source)).map((one) => one.attributes)).toEqual(merged)
    const again = await lab.load(source, text)
    expect(counts(again)).toMatchObject({ updated: 0, optimized: 3 })
    // In another order the first mail is another one.
    const lines = text.trimEnd().split('\n')
    const turned = [lines[0], ...lines.slice(1).toReversed()].join('\n')
    expect(counts(await lab.load(source, turned))).toMatchObject({ updated: 1, optimized: 2 })
    expect((await accountsOf(lab.db, source))[0]?.attributes).toContain('"mail":"b@x"')
  })

  it('are merged by mergeColumns where the schema says nothing of lists', async () => {
    const source = await newSource({
      attributes: [attribute('id'), attribute('name'), attribute('groups')],
      connectorAttributes: { mergeRows: true, mergeColumns: ['groups'] },
    })
    await lab.load(source, 'id,name,groups\na,Ann,x\na,Ann,y\n')
    expect((await accountsOf(lab.db, source))[0]?.attributes).toBe(
      '{"groups":["x","y"],"id":"a","name":"Ann"}',
    )
  })

  it('are merged across the blocks of a file and by thousands', async () => {
    const source = await newSource({ attributes, connectorAttributes: { mergeRows: true } })
    const filler = 'f'.repeat(200)
    const rows: string[] = []
    for (const group of ['x', 'y', 'z']) {
      for (let index = 0; index < 3000; index += 1) rows.push(`k${index},${filler},${group},\n`)
    }
    const task = await lab.load(source, head + rows.join(''))
    expect(counts(task)).toMatchObject({ created: 3000, total: 3000, rejected: 0 })
    const accounts = await accountsOf(lab.db, source)
    expect(accounts.every((one) => one.attributes.includes('["x","y","z"]'))).toBe(true)
    const again = await lab.load(source, head + rows.toReversed().join(''))
    expect(counts(again)).toMatchObject({ created: 0, updated: 0, deleted: 0, optimized: 3000 })
  })

  it('are rejected but for the first where rows are not merged, on a first load and on a reload', async () => {
    const source = await newSource({ attributes })
    const text = `${head}a,Ann,x,\nb,Bob,x,\na,Ann,y,\n`
    const first = await lab.load(source, text)
    expect(counts(first)).toMatchObject({ created: 2, rejected: 1 })
    expect(await rejectsOf(lab.db, first.id)).toMatchObject([
      { position: 4, code: 'duplicate', raw: 'a,Ann,y,' },
    ])
    const again = await lab.load(source, text)
    expect(counts(again)).toMatchObject({ created: 0, updated: 0, deleted: 0, rejected: 1 })
    // The reject protects the account: its first row is not taken either.
    const changed = await lab.load(source, `${head}a,New,x,\nb,New,x,\na,Ann,y,\n`)
    expect(counts(changed)).toMatchObject({ updated: 1, rejected: 1 })
    expect((await accountsOf(lab.db, source)).map((one) => one.name)).toEqual(['Ann', 'New'])
  })

  it('may all stand twice: every later one is a reject, page by page', async () => {
    const source = await newSource({ attributes })
    const rows = Array.from({ length: 25_000 }, (_, index) => `k${index},N,x,\n`).join('')
    const task = await lab.load(source, head + rows + rows)
    expect(counts(task)).toMatchObject({ created: 25_000, rejected: 25_000 })
    const rejects = await rejectsOf(lab.db, task.id)
    expect(rejects[0]).toMatchObject({ position: 25_002, raw: 'k0,N,x,' })
    expect(new Set(rejects.map((reject) => reject.raw)).size).toBe(25_000)
  }, 60_000)
})

describe('the dialect of a source', () => {
  it('says the delimiter, the quote, the comment, the encoding and the lines to skip', async () => {
    const source = await newSource({
      connectorAttributes: {
        delimiter: '\\u0009',
        quoteCharacter: "'",
        commentCharacter: '!',
        linesToSkip: 1,
        fileEncoding: 'windows-1252',
      },
    })
    const text = "id\tname\tmail\nskipped\tS\t\n! remark\n'a\tb'\tZo\xeb\t#1\n"
    const task = await lab.load(source, Buffer.from(text, 'latin1'))
    expect(task.completionStatus).toBe('SUCCESS')
    expect(counts(task)).toMatchObject({ created: 1, ignored: 1 })
    expect(await accountsOf(lab.db, source)).toMatchObject([
      {
        nativeIdentity: 'a\tb',
        name: 'Zoë',
        attributes: '{"id":"a\\tb","mail":"#1","name":"Zoë"}',
      },
    ])
  })

  it('passes over empty records, but not over one whose cell is a quote', async () => {
    const source = await newSource()
    const task = await lab.load(source, `${header},,\n"","",""\n \t,,\n"""","",\n`)
    expect(counts(task)).toMatchObject({ created: 1, ignored: 3, rejected: 0 })
    expect(await identities(source)).toEqual(['"'])
  })

  it('makes rejects of empty records where filterEmptyRecords is off', async () => {
    const source = await newSource({ connectorAttributes: { filterEmptyRecords: false } })
    const task = await lab.load(source, `${header},,\nk,N,\n`)
    expect(counts(task)).toMatchObject({ created: 1, ignored: 1, rejected: 1 })
  })

  it('decides anew what rows are when it changes, though the bytes are the same', async () => {
    const source = await newSource()
    const text = `${header}a,"x;y",\n`
    await lab.load(source, text)
    await lab.db.query('update source set connector_attributes = $2::jsonb where id = $1::uuid', [
      fromWireId(source),
      JSON.stringify({ quoteCharacter: '' }),
    ])
    expect(counts(await lab.load(source, text))).toMatchObject({ updated: 1 })
    expect((await accountsOf(lab.db, source))[0]?.name).toBe('"x;y"')
  })
})

describe('a run', () => {
  it('loads 50,000 rows of 2 MB whole', async () => {
    const source = await newSource()
    const text = people(50_000, (index) => `someone${index}@mail.example.org`)
    expect(text.length).toBeGreaterThan(2_000_000)
    const task = await lab.load(source, text)
    expect(counts(task)).toMatchObject({ created: 50_000, total: 50_000 })
    expect(await identities(source)).toHaveLength(50_000)
    const changed = await lab.load(
      source,
      people(
        50_000,
        (index) => `someone${index}@mail.example.${index % 100 === 0 ? 'com' : 'org'}`,
      ),
    )
    expect(counts(changed)).toMatchObject({
      created: 0,
      updated: 500,
      deleted: 0,
      optimized: 49_500,
    })
    expect(await historyOf(lab.db, source)).toHaveLength(500)
  }, 60_000)

  it.each(['utf8', 'utf16le'] as const)(
    'that reads again only what changed has the right lines, values and rejects (%s)',
    async (encoding) => {
      const source = await newSource({ connectorAttributes: { mergeRows: true } })
      const rows = Array.from(
        { length: 3000 },
        (_, index) => `k${index},"two\r\nlines ${index} \u00e9",m\r\n`,
      )
      const write = (lines: readonly string[]): Buffer =>
        Buffer.from(`\ufeffid,name,mail\r\n${lines.join('')}`, encoding)
      await lab.load(source, write(rows))
      const changed = [...rows]
      changed[1500] = 'k1500,New,m\r\n'
      changed[2000] = 'k2000,short\r\n'
      changed.splice(100, 0, '# remark\r\n', '\r\n', 'k7,,\r\n')
      const task = await lab.load(source, write([...changed, 'k3000,"Last ""one""",m']))
      expect(counts(task)).toEqual({
        created: 1,
        updated: 1,
        deleted: 0,
        optimized: 2998,
        total: 3000,
        ignored: 2,
        rejected: 1,
      })
      // The header, 2,000 records of two lines of which one has become one line, and three lines between them.
      expect(await rejectsOf(lab.db, task.id)).toMatchObject([
        { position: 4004, code: 'cell_count', raw: 'k2000,short', nativeIdentity: 'k2000' },
      ])
      const accounts = await accountsOf(lab.db, source)
      expect(accounts.find((one) => one.nativeIdentity === 'k1500')?.name).toBe('New')
      expect(accounts.find((one) => one.nativeIdentity === 'k3000')?.name).toBe('Last "one"')
      expect(accounts.find((one) => one.nativeIdentity === 'k7')?.name).toBe(
        'two\r\nlines 7 \u00e9',
      )
    },
  )

  it('compares every account again where optimization is disabled, and counts only those that differ', async () => {
    const source = await newSource()
    await lab.load(source, people(10))
    // Digests are not trusted: a value that changed behind them is found.
    await lab.db.query(`update account set attributes = '{"id":"k3"}' where native_identity = 'k3'`)
    const optimized = await lab.load(source, people(10))
    expect(counts(optimized)).toMatchObject({ updated: 0, optimized: 10 })
    const full = await lab.load(source, people(10), { optimized: false })
    expect(counts(full)).toMatchObject({ updated: 1, optimized: 0, total: 10 })
    expect(full.attributes).toMatchObject({ optimizedAggregation: 'disabled' })
  })

  it('has a feed number in the order of commits, an instant, phases, a verdict and an end in the audit', async () => {
    const source = await newSource()
    const first = await lab.load(source, people(3))
    const second = await lab.load(source, people(3))
    const [one, two] = [await runOf(lab.db, first.id), await runOf(lab.db, second.id)]
    expect(one.baseline).toBe(true)
    expect(two.baseline).toBe(false)
    expect(two.feedNumber).toBe((one.feedNumber ?? 0) + 1)
    expect(one.applied).not.toBeNull()
    expect(one.phases.map((phase) => phase.name)).toContain('Applying')
    expect(two.verdict).toMatchObject({ outcome: 'go' })
    expect(two.counters).toMatchObject({ before: 3, unchanged: 3 })
    const { rows } = await lab.db.query<{ action: string }>(
      `select action from audit where after ->> 'task' = $1 order by number`,
      [first.id],
    )
    expect(rows.map((row) => row.action)).toEqual([
      'SOURCE_ACCOUNT_AGGREGATION_STARTED',
      'SOURCE_ACCOUNT_AGGREGATION_PASSED',
    ])
  })

  it('leaves no table of its own, no lease and no spool file', async () => {
    const source = await newSource()
    await lab.load(source, people(3))
    await lab.load(source, people(2))
    await lab.load(source, 'id,"open')
    await lab.stopWorker()
    lab.startWorker()
    const tables = await lab.db.query(
      `select relname from pg_class where relname ~ '^(staging|plan|dirty)_'`,
    )
    expect(tables.rows).toEqual([])
    expect((await lab.db.query('select from lease')).rowCount).toBe(0)
    expect((await lab.db.query('select from run where spool_file is not null')).rowCount).toBe(0)
  })
})

describe('the columns of a run', () => {
  it('are compared with the schema and with the last run that had an effect, and the drift is kept and told', async () => {
    const source = await newSource()
    const first = await lab.load(source, 'id,name,mail,room\na,Ann,x,1\n')
    expect((await runOf(lab.db, first.id))?.drift).toEqual({
      comparedWith: null,
      added: [],
      removed: [],
      missing: [],
      extra: ['room'],
    })
    expect(keys(first)).not.toContain('Since the last')

    // A run without effect is nothing to compare with.
    const failed = await lab.load(source, 'name,floor\nAnn,x\n')
    expect(failed.completionStatus).toBe('ERROR')

    const second = await lab.load(source, 'floor,id,name\n3,a,Ann\n')
    expect((await runOf(lab.db, second.id))?.drift).toEqual({
      comparedWith: first.id,
      added: ['floor'],
      removed: ['mail', 'room'],
      missing: ['mail'],
      extra: ['floor'],
    })
    expect(keys(second)).toContain(
      'WARN: Since the last completed run the columns have lost "mail", "room" and gained "floor".',
    )

    const third = await lab.load(source, 'id,name,mail\na,Ann,x\n')
    expect(third.completionStatus).toBe('SUCCESS')
    expect(keys(third)).toContain(
      'INFO: Since the last completed run the columns have lost "floor" and gained "mail".',
    )
    const fourth = await lab.load(source, 'mail,id,name\nx,a,Ann\n')
    expect(fourth.messages).toEqual([])
    expect((await runOf(lab.db, fourth.id))?.drift).toMatchObject({ added: [], removed: [] })
  })
})
