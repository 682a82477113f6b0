// Guards: what they let a plan do, and what they say (contract.md sections 8.5 to 8.7, F25, F26).
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Judged, judge } from '../../src/core/guard.ts'

function judged(given: {
  before?: number
  removed?: number
  records?: number
  ignored?: number
  untrusted?: number
  direct?: boolean
  delta?: boolean
  threshold?: number
  disabled?: boolean
}): Judged {
  const { before = 100, removed = 0 } = given
  return {
    counts: { before, created: 0, updated: 0, removed, unchanged: before - removed },
    records: given.records ?? 1,
    ignored: given.ignored ?? 0,
    untrustedRejects: given.untrusted ?? 0,
    direct: given.direct ?? false,
    delta: given.delta ?? false,
    deleteThreshold: given.threshold ?? 10,
    checkDeletedDisabled: given.disabled ?? false,
  }
}

const outcome = (given: Parameters<typeof judged>[0]): string => judge(judged(given)).outcome

describe('the guard of removals', () => {
  it('lets exactly the threshold pass and not one more', () => {
    expect(outcome({ removed: 10 })).toBe('go')
    expect(outcome({ removed: 11 })).toBe('skip removals')
    expect(outcome({ before: 1000, removed: 101 })).toBe('skip removals')
    expect(outcome({ before: 3, removed: 1, threshold: 33 })).toBe('skip removals')
    expect(outcome({ before: 3, removed: 1, threshold: 34 })).toBe('go')
  })

  it('makes no exception for small sources', () => {
    expect(outcome({ before: 10, removed: 1 })).toBe('go')
    expect(outcome({ before: 9, removed: 1 })).toBe('skip removals')
    expect(outcome({ before: 1, removed: 1 })).toBe('skip removals')
  })

  it('forbids all removals at 0 and none at 100', () => {
    expect(outcome({ removed: 1, threshold: 0 })).toBe('skip removals')
    expect(outcome({ removed: 0, threshold: 0 })).toBe('go')
    expect(outcome({ removed: 100, threshold: 100 })).toBe('go')
  })

  it('skips removals of an incomplete read at any threshold, and warns', () => {
    const verdict = judge(judged({ removed: 1, untrusted: 1, threshold: 100 }))
    expect(verdict.outcome).toBe('skip removals')
    expect(verdict.findings).toMatchObject([
      { guard: 'incompleteRead', value: 1, message: { type: 'WARN' } },
    ])
  })

  it('is silent where nothing would be removed', () => {
    expect(judge(judged({ untrusted: 5, disabled: true }))).toEqual({ outcome: 'go', findings: [] })
  })

  it('tells a disabled deletion without a warning', () => {
    const verdict = judge(judged({ removed: 1, disabled: true }))
    expect(verdict.outcome).toBe('skip removals')
    expect(verdict.findings.map((finding) => finding.message.type)).toEqual(['INFO'])
  })

  it('removes nothing after a read without records: a warning for a file, a refusal for a direct read', () => {
    expect(outcome({ records: 0, removed: 100, threshold: 100 })).toBe('skip removals')
    expect(outcome({ records: 0, removed: 100, threshold: 100, direct: true })).toBe('refuse')
    expect(outcome({ before: 0, records: 0 })).toBe('go')
    const [finding] = judge(judged({ records: 0, ignored: 50, removed: 100 })).findings
    expect(finding?.message.key).toContain('no records but 50 that were ignored')
    expect(outcome({ before: 0, records: 0, direct: true })).toBe('go')
  })

  it('lets removals go only when every guard does', () => {
    const given = fc.record({
      before: fc.integer({ min: 1, max: 50 }),
      removed: fc.integer({ min: 1, max: 50 }),
      records: fc.integer({ min: 0, max: 2 }),
      untrusted: fc.integer({ min: 0, max: 2 }),
      threshold: fc.integer({ min: 0, max: 100 }),
      disabled: fc.boolean(),
    })
    fc.assert(
      fc.property(given, (one) => {
        const free =
          one.records > 0 &&
          one.untrusted === 0 &&
          !one.disabled &&
          (one.removed / one.before) * 100 <= one.threshold + 1e-9
        expect(outcome(one) === 'go').toBe(free)
      }),
    )
  })
})
