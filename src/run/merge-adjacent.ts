// Merges rows of one account that stand next to each other in a file, before they are staged.
// Rows that stand apart are merged in staging; both ways end in core/source-record.ts `mergeRecords`.
import { mergeRecords, type Reject } from '../core/source-record.ts'
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

type Pending = AccountRow & { readonly identity: Buffer; readonly conflicted: boolean }

/** Wraps an encoder. An account with a single row is written in place; only further rows take the way over values. */
export function createMerger(
  encoder: RecordEncoder,
  writer: RowWriter,
  displayAttribute: string | null,
): Merger {
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
    const identity = encoder.key()
    const current = pending?.identity ?? open
    if (identity === null || current === null || !current.equals(identity)) {
      finish()
      const reject = encoder.encode()
      open = reject === null && identity !== null ? Buffer.from(identity) : null
      return reject
    }
    const former: Pending = pending ?? {
      ...encoder.takeBack(),
      identity: current,
      conflicted: false,
    }
    pending = former
    const reject = encoder.encode()
    if (reject === null) pending = merge(former, encoder.takeBack())
    return reject
  }

  const merge = (first: Pending, later: AccountRow): Pending => {
    const merged = mergeRecords(first, later, displayAttribute)
    const conflicted = merged.conflicts.length > 0
    if (conflicted && !first.conflicted) conflicts.accounts += 1
    for (const name of merged.conflicts) conflicts.names.add(name)
    return {
      ...first,
      name: merged.name,
      attributes: merged.attributes,
      fingerprint: merged.ordered ? null : addWords(first.fingerprint, later.fingerprint),
      conflicted: conflicted || first.conflicted,
    }
  }

  return { encode, finish, conflicts }
}

/** Adds the two words of fingerprints, each by itself, as the sums of buckets do. */
function addWords(a: AccountRow['fingerprint'], b: AccountRow['fingerprint']): typeof a {
  return a === null || b === null ? null : [(a[0] + b[0]) | 0, (a[1] + b[1]) | 0]
}
