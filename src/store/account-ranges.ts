// Conditions on account ids: those of a source are one range, so a filter by sources is a filter by ids.
import { accountRange } from './names.ts'
import { parameter } from './filter-sql.ts'
import type { Parameters } from './filter-sql.ts'

/**
 * Accounts of these sources, as ranges of their ids: so the other partitions are not even looked at, and the primary key
 * gives the order. A join with `source` would hide the range from the planner.
 */
export function inSources(sourceIds: readonly string[], parameters: Parameters): string {
  const ranges = sourceIds.map((id) => {
    const { low, high } = accountRange(id)
    return `(a.id >= ${parameter(parameters, low, 'uuid')} and a.id < ${parameter(parameters, high, 'uuid')})`
  })
  return ranges.length === 0 ? 'false' : `(${ranges.join(' or ')})`
}
