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

/** Account ids from `low`, included, to `high`, excluded; written as uuids. */
export interface IdRange {
  readonly low: string
  readonly high: string
}

/** The account ids of a source. */
export function accountRange(sourceId: string): IdRange {
  const prefix = sourceId.slice(0, 12)
  const next = (BigInt(`0x${prefix}`) + 1n).toString(16).padStart(12, '0')
  return { low: uuid(prefix), high: uuid(next) }
}

/** The range of one account, by its wire id. No account has the last id there is: see the ids of sources. */
export function singleRange(accountId: string): IdRange {
  const next = (BigInt(`0x${accountId}`) + 1n).toString(16).padStart(32, '0')
  return { low: uuid(accountId), high: uuid(next) }
}

function uuid(digits: string): string {
  const hex = digits.padEnd(32, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
