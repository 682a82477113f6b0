// What a run tells at its end: counters under the names that clients read, messages, and the status.
import type { Verdict } from './guard.ts'
import type { PlanCounts } from './plan.ts'
import { aggregationReturns, type CompletionStatus, type TaskMessage } from './task.ts'

/** What a run has come to. */
export interface Outcome {
  readonly counts: PlanCounts
  /** Records of the file; of them comment lines and empty records; and rejects. */
  readonly records: number
  readonly ignored: number
  readonly rejects: number
  /** Whether the planned removals were made. */
  readonly removalsMade: boolean
  readonly optimized: boolean
  readonly sourceName: string
}

/** The counters of a run that are known once it is planned. */
export function planAttributes(counts: PlanCounts, removals: boolean): Record<string, unknown> {
  const removed = removals ? counts.removed : 0
  const changes = counts.created + counts.updated + removed
  return {
    totalAccounts: changes,
    processedAccounts: 0,
    totalAccountsMarkedForDeletion: counts.removed,
    deletedAccounts: 0,
  }
}

/** All that `TaskStatus.attributes` shows of a finished run (contract.md sections 1.3, 2.6 and 8.10). */
export function finalAttributes(outcome: Outcome): Record<string, unknown> {
  const { counts } = outcome
  const removed = outcome.removalsMade ? counts.removed : 0
  const changes = counts.created + counts.updated + removed
  const zeros = Object.fromEntries(aggregationReturns.map(([name]) => [name, 0]))
  return {
    ...zeros,
    applications: outcome.sourceName,
    optimizedAggregation: outcome.optimized ? 'enabled' : 'disabled',
    total: counts.created + counts.updated + counts.unchanged,
    ignored: outcome.ignored + outcome.rejects,
    optimized: outcome.optimized ? counts.unchanged : 0,
    created: counts.created,
    updated: counts.updated,
    deleted: removed,
    totalAccounts: changes,
    processedAccounts: changes,
    totalAccountsMarkedForDeletion: counts.removed,
    deletedAccounts: removed,
    rowsRead: outcome.records,
    rejected: outcome.rejects,
  }
}

/** The messages of a run, the gravest first, and its status: WARNING when anything warns. */
export function finalMessages(
  read: readonly TaskMessage[],
  verdict: Verdict,
  rejects: {
    readonly total: number
    readonly first: readonly { readonly position: number; readonly reason: string }[]
  },
): { readonly status: CompletionStatus; readonly messages: readonly TaskMessage[] } {
  const messages: TaskMessage[] = verdict.findings.map((finding) => finding.message)
  if (rejects.total > 0) {
    const shown = rejects.first.map((reject) => `line ${reject.position}: ${reject.reason}`)
    const rest = rejects.total - shown.length
    messages.push({
      type: 'WARN',
      key: `${rejects.total} ${rejects.total === 1 ? 'record was' : 'records were'} rejected. ${shown.join(' ')}${rest > 0 ? ` And ${rest} more.` : ''}`,
    })
  }
  messages.push(...read)
  const order = { ERROR: 0, WARN: 1, INFO: 2 }
  const sorted = messages.toSorted((a, b) => order[a.type] - order[b.type])
  const warns = sorted.some((message) => message.type !== 'INFO')
  return { status: warns ? 'WARNING' : 'SUCCESS', messages: sorted }
}
