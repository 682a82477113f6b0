// What the process tells of its runs to whoever counts or traces them. Listeners decide nothing and never throw.
import type { CompletionStatus, TaskType } from '../core/task.ts'

/** What an attempt has done to the accounts and the rows it has seen. */
export interface RunCounts {
  readonly read: number
  readonly rejected: number
  readonly created: number
  readonly updated: number
  readonly removed: number
}

/** How an attempt ends: `ended` brought the task to its end, all others leave it to another attempt. */
export type AttemptResult = 'ended' | 'retried' | 'stopped' | 'lease_lost'

/** Told of one attempt. */
export interface AttemptWatch {
  /** A phase begins, and with it the one before ends. */
  phase(name: string): void
  /** The attempt took effect; it is told before `end`. */
  applied(status: CompletionStatus, counts: RunCounts): void
  /** The attempt is over, the last that is told of it. `status` is how the task ended, null when it has not. */
  end(result: AttemptResult, status: CompletionStatus | null): void
}

/** Told of the runs of this process. */
export interface RunWatch {
  begin(attempt: {
    readonly taskId: string
    readonly type: TaskType
    readonly sourceId: string | null
    readonly attempt: number
  }): AttemptWatch
  /** The sweep ended a run that nobody could bring to its end. */
  lost(type: TaskType, status: CompletionStatus): void
}

/** Nobody listens. */
export const unwatchedRuns: RunWatch = {
  begin: () => ({
    phase: () => undefined,
    applied: () => undefined,
    end: () => undefined,
  }),
  lost: () => undefined,
}
