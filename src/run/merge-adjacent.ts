// Merges rows of one account that stand next to each other in a file, before they are staged.
// Rows that stand apart are merged in staging; both ways end in core/attributes.ts `mergeAttributes`.
import { mergeAttributes, readAttributes, writeAttributes } from '../core/attributes.ts'
import type { Reject } from '../core/source-record.ts'
import type { AccountRow, RowWriter } from '../store/row-writer.ts'
import type { RecordEncoder } from './encode-record.ts'

/** Accounts of which two rows say different things in a single-valued attribute. */
export interface Conflicts {
  accounts: number
  readonly names: Set<string>
}

/** An encoder that merges: `encode` as in RecordEncoder, `finish` writes the last account. */
export interface Merger {
  encode(): Reject | null
  finish(): void
  readonly conflicts: Conflicts
}

type Pending = AccountRow & { readonly identity: Buffer }

/** Wraps an encoder. An account with a single row is written in place; only further rows take the way over values. */
export function createMerger(encoder: RecordEncoder, writer: RowWriter): Merger {
  const conflicts: Conflicts = { accounts: 0, names: new Set() }
  // The account that may go on: written in place already (`open`), or merged from several rows (`pending`).
  let open: Buffer | null = null
  let pending: Pending | null = null

  const finish = (): void => {
    if (pending !== null) writer.write(pending)
    pending = null
    open = null
  }

  const encode = (): Reject | null => {
    const identity = encoder.identity()
    const current = pending?.identity ?? open
    if (identity === null || current === null || !current.equals(identity)) {
      finish()
      const reject = encoder.encode()
      open = reject === null && identity !== null ? Buffer.from(identity) : null
      return reject
    }
    const former: Pending = pending ?? { ...encoder.takeBack(), identity: current }
    pending = former
    const reject = encoder.encode()
    if (reject === null)
      pending = { ...mergeRows(former, encoder.takeBack(), conflicts), identity: current }
    return reject
  }

  return { encode, finish, conflicts }
}

/** Merges a later row of an account into the earlier ones. */
export function mergeRows(first: AccountRow, later: AccountRow, conflicts: Conflicts): AccountRow {
  const merged = mergeAttributes(readAttributes(first.attributes), readAttributes(later.attributes))
  const { fingerprint } = first
  if (merged.conflicts.length > 0) {
    if (fingerprint !== null) conflicts.accounts += 1
    for (const name of merged.conflicts) conflicts.names.add(name)
  }
  // Where the order of rows decides, no sum may stand for them: sums do not see the order.
  const summable =
    merged.conflicts.length === 0 && fingerprint !== null && later.fingerprint !== null
  return {
    ...first,
    name: first.name === first.nativeIdentity ? later.name : first.name,
    attributes: writeAttributes(merged.attributes),
    fingerprint:
      summable && later.fingerprint !== null
        ? [(fingerprint[0] + later.fingerprint[0]) | 0, (fingerprint[1] + later.fingerprint[1]) | 0]
        : null,
  }
}
