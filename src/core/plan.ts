// The plan: what a run would change. `diff` says what a difference means; store/plans.ts does the same set-wise.

/** How an account changes. */
export const changeKinds = ['created', 'updated', 'removed'] as const
export type ChangeKind = (typeof changeKinds)[number]

/** What the diff compares of an account. */
export interface AccountValues {
  readonly nativeIdentity: string
  readonly name: string | null
  /** Canonical JSON. */
  readonly attributes: string
}

/** The counts of a plan. */
export interface PlanCounts {
  /** Accounts there were before. */
  readonly before: number
  readonly created: number
  readonly updated: number
  /** Accounts that the read did not show and that no reject protects. */
  readonly removed: number
  /** Accounts that were read and are as they were. */
  readonly unchanged: number
}

/**
 * The changes from the accounts there are to those that were read, by account id. A protected account (a reject speaks
 * of it) is neither updated nor removed (contract.md section 8.7).
 */
export function diff(
  before: ReadonlyMap<string, AccountValues>,
  read: ReadonlyMap<string, AccountValues>,
  protectedIds: ReadonlySet<string>,
): ReadonlyMap<string, ChangeKind> {
  const changes = new Map<string, ChangeKind>()
  for (const [id, values] of read) {
    const former = before.get(id)
    if (former === undefined) changes.set(id, 'created')
    else if (!protectedIds.has(id) && !equalValues(former, values)) changes.set(id, 'updated')
  }
  for (const id of before.keys()) {
    if (!read.has(id) && !protectedIds.has(id)) changes.set(id, 'removed')
  }
  return changes
}

function equalValues(a: AccountValues, b: AccountValues): boolean {
  return a.nativeIdentity === b.nativeIdentity && a.name === b.name && a.attributes === b.attributes
}
