// The difference of two sets of accounts, and what a run tells of it at its end.
import { describe, expect, it } from 'vitest'
import { diff } from '../../src/core/plan.ts'
import { finalAttributes, finalMessages, planAttributes } from '../../src/core/report.ts'
import { aggregationReturns } from '../../src/core/task.ts'

const account = (nativeIdentity: string, name: string | null = 'N', attributes = '{}') => ({
  nativeIdentity,
  name,
  attributes,
})

describe('diff', () => {
  it('tells what was created, updated and removed, and nothing of what is equal', () => {
    const before = new Map([
      ['1', account('a')],
      ['2', account('b')],
      ['3', account('c')],
      ['4', account('d')],
      ['5', account('e')],
    ])
    const read = new Map([
      ['1', account('a')],
      ['2', account('b', 'New')],
      ['3', account('c', null)],
      ['4', account('d', 'N', '{"x":1}')],
      ['6', account('f')],
    ])
    expect([...diff(before, read, new Set())]).toEqual([
      ['2', 'updated'],
      ['3', 'updated'],
      ['4', 'updated'],
      ['6', 'created'],
      ['5', 'removed'],
    ])
  })

  it('neither updates nor removes a protected account, but creates one', () => {
    const before = new Map([
      ['1', account('a')],
      ['2', account('b')],
    ])
    const read = new Map([
      ['1', account('a', 'New')],
      ['3', account('c')],
    ])
    expect([...diff(before, read, new Set(['1', '2', '3']))]).toEqual([['3', 'created']])
  })
})

describe('the report of a run', () => {
  const outcome = {
    counts: { before: 10, created: 3, updated: 2, removed: 4, unchanged: 5 },
    records: 13,
    ignored: 2,
    rejects: 1,
    removalsMade: true,
    optimized: true,
    sourceName: 'HR',
  }

  it('has all 28 counters of ISC, and those of the status of an aggregation', () => {
    const attributes = finalAttributes(outcome)
    for (const [name] of aggregationReturns) expect(attributes).toHaveProperty(name)
    expect(attributes).toMatchObject({
      applications: 'HR',
      optimizedAggregation: 'enabled',
      total: 10,
      ignored: 3,
      optimized: 5,
      created: 3,
      updated: 2,
      deleted: 4,
      totalAccounts: 9,
      processedAccounts: 9,
      totalAccountsMarkedForDeletion: 4,
      deletedAccounts: 4,
    })
  })

  it('counts no removal that was not made, and nothing as optimized that was compared', () => {
    expect(finalAttributes({ ...outcome, removalsMade: false, optimized: false })).toMatchObject({
      optimizedAggregation: 'disabled',
      optimized: 0,
      deleted: 0,
      totalAccounts: 5,
      totalAccountsMarkedForDeletion: 4,
      deletedAccounts: 0,
    })
    expect(planAttributes(outcome.counts, false)).toMatchObject({
      totalAccounts: 5,
      processedAccounts: 0,
      totalAccountsMarkedForDeletion: 4,
      deletedAccounts: 0,
    })
  })

  it('is a WARNING when anything warns, with the gravest first and the first rejects by line', () => {
    const verdict = { outcome: 'go' as const, findings: [] }
    const none = { total: 0, first: [] }
    expect(finalMessages([], verdict, none)).toEqual({ status: 'SUCCESS', messages: [] })
    expect(finalMessages([{ type: 'INFO', key: 'i' }], verdict, none).status).toBe('SUCCESS')
    const rejects = { total: 3, first: [{ position: 7, reason: 'It is bad.' }] }
    const told = finalMessages(
      [
        { type: 'INFO', key: 'i' },
        { type: 'WARN', key: 'w' },
      ],
      verdict,
      rejects,
    )
    expect(told.status).toBe('WARNING')
    expect(told.messages.map((message) => message.type)).toEqual(['WARN', 'WARN', 'INFO'])
    expect(told.messages[0]?.key).toBe('3 records were rejected. line 7: It is bad. And 2 more.')
  })
})
