// Bucket sums: what is equal looks equal in any order, and what differs is dirty.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  addRow,
  addStored,
  bucketCount,
  createBuckets,
  dirtyBuckets,
  isDirty,
} from '../../src/core/buckets.ts'

const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const entry = fc.tuple(
  word,
  word.filter((low) => low !== 0),
  word,
)

describe('bucket sums', () => {
  it('are clean when file and store hold the same in any order, and dirty where one row is missing or other', () => {
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 40 }), fc.nat(), (entries, place) => {
        const changed = entries[place % entries.length] ?? [0, 0, 0]
        const build = (rows: typeof entries): ReturnType<typeof createBuckets> => {
          const sums = createBuckets(8)
          for (const [key, low, high] of rows) addRow(sums, key, low, high)
          for (const [key, low, high] of entries.toReversed()) addStored(sums, key, low, high)
          return sums
        }
        expect(dirtyBuckets(build(entries))).toEqual({ dirty: [], stored: 0 })
        const bucket = changed[0] & 7
        const held = entries.filter(([key]) => (key & 7) === bucket).length
        const index = place % entries.length
        const less = build(entries.filter((_, at) => at !== index))
        expect(dirtyBuckets(less)).toEqual({ dirty: [bucket], stored: held })
        const other = build(
          entries.map(([key, low, high], at) => [key, low, at === index ? high ^ 1 : high]),
        )
        expect(dirtyBuckets(other)).toEqual({ dirty: [bucket], stored: held })
        expect(isDirty(other, changed[0])).toBe(true)
      }),
    )
  })

  it('add the rows of one account up to its stored sum, whose words overflow each by itself', () => {
    const sums = createBuckets(4)
    addRow(sums, 1, 0x7fffffff, -1)
    addRow(sums, 1, 1, -1)
    addStored(sums, 1, -(2 ** 31), -2)
    expect(isDirty(sums, 1)).toBe(false)
  })

  it('are dirty where a stored account has no fingerprint, whatever the file says', () => {
    const sums = createBuckets(4)
    addStored(sums, -3, 0, 0)
    expect(dirtyBuckets(sums)).toEqual({ dirty: [1], stored: 1 })
  })

  it('come in powers of two that grow with the accounts', () => {
    for (const accounts of [1, 100_000, 100_001, 1_000_000, 10_000_000]) {
      const count = bucketCount(accounts)
      expect(count & (count - 1)).toBe(0)
      expect(count * 4).toBeGreaterThan(accounts)
    }
  })
})
