// Guards: limits on a plan, judged on the whole plan before the first write (contract.md sections 8.5 to 8.7).
import type { PlanCounts } from './plan.ts'
import type { TaskMessage } from './task.ts'

/** What the guards let a plan do. */
export type Outcome = 'go' | 'skip removals' | 'hold' | 'refuse'

/** What a guard found. */
export interface Finding {
  readonly guard: 'noRecords' | 'incompleteRead' | 'checkDeletedDisabled' | 'deleteThreshold'
  /** The limit and the value, in the unit of the guard. */
  readonly limit: number | null
  readonly value: number
  readonly message: TaskMessage
}

/** The verdict on a plan: the strictest outcome, and every finding. */
export interface Verdict {
  readonly outcome: Outcome
  readonly findings: readonly Finding[]
}

/** What the guards look at. */
export interface Judged {
  readonly counts: PlanCounts
  /** Records that were read, good or not. */
  readonly records: number
  /** Records that were passed over: comments, empty ones, and what filterString drops. */
  readonly ignored: number
  /** Rejects whose identity cannot be trusted. */
  readonly untrustedRejects: number
  readonly direct: boolean
  /** Whether only changes were read: then no records is a good answer. */
  readonly delta: boolean
  /** Percentage of removals above which none is made. */
  readonly deleteThreshold: number
  readonly checkDeletedDisabled: boolean
}

/**
 * Whether removals of a plan wait for somebody: a later read has to bring them again. Not where removing is switched off
 * altogether.
 */
export function isWithheld(verdict: Verdict): boolean {
  return verdict.findings.some((finding) => finding.guard !== 'checkDeletedDisabled')
}

/** Judges a plan. Guards that would not change anything (no removal is planned) are silent. */
export function judge(judged: Judged): Verdict {
  const { counts } = judged
  if (judged.records === 0 && counts.before > 0 && !judged.delta) {
    const outcome = judged.direct ? 'refuse' : 'skip removals'
    const passed = judged.ignored === 0 ? '' : ` but ${judged.ignored} that were ignored`
    const text = `The read brought no records${passed}, but the source has ${counts.before} accounts; none was removed.`
    const type = judged.direct ? 'ERROR' : 'WARN'
    return {
      outcome,
      findings: [
        { guard: 'noRecords', limit: null, value: counts.before, message: { type, key: text } },
      ],
    }
  }
  if (counts.removed === 0) return { outcome: 'go', findings: [] }
  const findings: Finding[] = []
  const skip = (
    guard: Finding['guard'],
    limit: number | null,
    value: number,
    key: string,
  ): void => {
    findings.push({ guard, limit, value, message: { type: 'WARN', key } })
  }
  if (judged.checkDeletedDisabled) {
    const key = `${counted(counts.removed, 'account was', 'accounts were')} not in the read; account deletion is disabled for this source, so none was removed.`
    // A choice of the owner, not a fault: it is told, but does not make the run a WARNING.
    findings.push({
      guard: 'checkDeletedDisabled',
      limit: null,
      value: counts.removed,
      message: { type: 'INFO', key },
    })
  }
  if (judged.untrustedRejects > 0) {
    skip(
      'incompleteRead',
      0,
      judged.untrustedRejects,
      `${counted(judged.untrustedRejects, 'rejected record has', 'rejected records have')} no trustworthy identity, so the read is incomplete: ${counted(counts.removed, 'removal was', 'removals were')} skipped. Correct the file and send it again.`,
    )
  }
  if (counts.removed * 100 > judged.deleteThreshold * counts.before) {
    const percent = (counts.removed * 100) / counts.before
    skip(
      'deleteThreshold',
      judged.deleteThreshold,
      percent,
      `${counts.removed} of ${counts.before} accounts (${percent.toFixed(1)} %) would be removed, more than the delete threshold of ${judged.deleteThreshold} %; none was removed. Check the file, or raise deleteThreshold of the source.`,
    )
  }
  return { outcome: findings.length > 0 ? 'skip removals' : 'go', findings }
}

function counted(count: number, one: string, many: string): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`
}
