// Names of the tables that are made while Muster runs: partitions, staging, plans.

/** A name quoted for SQL; only names made here come in, never one a client gave. */
export function quoteName(name: string): string {
  if (!/^[a-z][a-z0-9_]{0,62}$/.test(name)) throw new Error(`not a table name of Muster: ${name}`)
  return `"${name}"`
}

/** The partition of `account` that holds a source: named by the 6 bytes its account ids begin with. */
export function partitionName(sourceId: string): string {
  return `account_${sourceId.slice(0, 12)}`
}

/** Rows of a run before they are accounts. */
export function stagingName(runNumber: number): string {
  return `staging_${runNumber}`
}

/** What a run would change. */
export function planName(runNumber: number): string {
  return `plan_${runNumber}`
}

/** The dirty buckets of a run. */
export function dirtyName(runNumber: number): string {
  return `dirty_${runNumber}`
}

/** The account ids of a source as a range: `low` included, `high` excluded. Ids are written as uuids. */
export function accountRange(sourceId: string): { readonly low: string; readonly high: string } {
  const prefix = sourceId.slice(0, 12)
  const next = (BigInt(`0x${prefix}`) + 1n).toString(16).padStart(12, '0')
  const uuid = (text: string): string =>
    `${text.slice(0, 8)}-${text.slice(8, 12)}-0000-0000-000000000000`
  return { low: uuid(prefix), high: uuid(next) }
}
