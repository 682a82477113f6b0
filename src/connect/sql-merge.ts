// Makes one record of the rows of one account, where a single account is asked for.
import type { ReadRecord, ReadValue } from './reader.ts'

/** One record: of single values the first that is there, of lists every value once. Null when there is no row. */
export function mergeRecords(
  records: readonly ReadRecord[],
  attributes: readonly { readonly isMulti: boolean }[],
): ReadRecord | null {
  const [first, ...others] = records
  if (first === undefined) return null
  if (others.length === 0) return first
  const values = attributes.map((attribute, index) =>
    mergeValues(
      records.map((record) => record.values[index] ?? null),
      attribute.isMulti,
    ),
  )
  return { ...first, values }
}

function mergeValues(values: readonly ReadValue[], isMulti: boolean): ReadValue {
  const given = values.filter((value) => value !== null)
  if (!isMulti) return given[0] ?? null
  return given.length === 0 ? null : [...new Set(given.flat())]
}
