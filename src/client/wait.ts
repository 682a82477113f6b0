// Follows a task to its end.
import { ApiError, ConnectionError } from './api-error.ts'
import type { TaskStatus } from './models.ts'
import { sleep } from './retry.ts'

export interface WaitOptions {
  /** Give up after this long; the task itself goes on. Default: never. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** Called with every status that was read. */
  readonly onProgress?: (status: TaskStatus) => void
  /** The longest pause between two looks; default 2 s. The first ones are shorter. */
  readonly maxPauseMs?: number
}

/** The task did not end in time. */
export class WaitTimeout extends Error {
  readonly taskId: string
  readonly lastStatus: TaskStatus | null

  constructor(taskId: string, timeoutMs: number, lastStatus: TaskStatus | null) {
    super(
      `Task ${taskId} did not end within ${(timeoutMs / 1000).toFixed(timeoutMs < 10_000 ? 1 : 0)} s.`,
    )
    this.name = 'WaitTimeout'
    this.taskId = taskId
    this.lastStatus = lastStatus
  }
}

/**
 * Looks until the task has ended. A server that restarts meanwhile is waited for: tasks survive that. Throws
 * `WaitTimeout`, the reason of the signal, and what the server refuses for good, as 401, 403 and 404.
 */
export async function waitForTask(
  id: string,
  look: (signal: AbortSignal | undefined) => Promise<TaskStatus>,
  options: WaitOptions = {},
): Promise<TaskStatus> {
  const { timeoutMs, signal, onProgress, maxPauseMs = 2_000 } = options
  const deadline = timeoutMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + timeoutMs
  let last: TaskStatus | null = null
  for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 1.4, maxPauseMs)) {
    try {
      last = await look(signal)
      onProgress?.(last)
      // ISC leaves a field out where others write null, so an absent one means the same.
      if ((last.completionStatus ?? null) !== null) return last
    } catch (error) {
      if (!passes(error)) throw error
    }
    const leftMs = deadline - Date.now()
    if (leftMs <= 0) throw new WaitTimeout(id, timeoutMs ?? 0, last)
    await sleep(Math.min(pauseMs, leftMs), signal)
  }
}

function passes(error: unknown): boolean {
  if (error instanceof ConnectionError) return true
  return error instanceof ApiError && (error.status === 429 || error.status >= 500)
}
