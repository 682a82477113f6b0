// What the end of a run is to a script: its exit code.
import { ApiError, WaitTimeout } from '../client/index.ts'
import type { Client, Run, TaskStatus } from '../client/index.ts'
import { CliError, exitCodeOf, exitCodes } from './exit-code.ts'
import type { ExitCode } from './exit-code.ts'

/** What Muster knows of the run beyond the task; null on ISC, and for a run that never began. */
export async function runOf(client: Client, id: string): Promise<Run | null> {
  return client.runs.get(id).catch(() => null)
}

/** The exit code of a run that has ended. */
export function outcome(task: TaskStatus, run: Run | null, failOnWarning: boolean): ExitCode {
  if (run?.state === 'refused') return exitCodes.guarded
  if (task.completionStatus !== 'SUCCESS' && task.completionStatus !== 'WARNING')
    return exitCodes.failed
  // That deletion is disabled for the source is its owner's choice and no surprise.
  const skipped =
    run?.verdict?.findings.some(({ guard }) => guard !== 'checkDeletedDisabled') ?? false
  if (skipped) return exitCodes.guarded
  return failOnWarning && task.completionStatus === 'WARNING' ? exitCodes.failed : exitCodes.ok
}

/** From the best to the worst: what several outcomes are together is the last of them that there is. */
const order: readonly ExitCode[] = [
  exitCodes.ok,
  exitCodes.guarded,
  exitCodes.timeout,
  exitCodes.notFound,
  exitCodes.auth,
  exitCodes.usage,
  exitCodes.failed,
  exitCodes.interrupted,
]

/** The worst of several exit codes; 0 of none. */
export function worst(codes: readonly ExitCode[]): ExitCode {
  return order.findLast((code) => codes.includes(code)) ?? exitCodes.ok
}

/** An error on one line, and its exit code. */
export function failureOf(error: unknown): { readonly code: ExitCode; readonly text: string } {
  const text =
    error instanceof ApiError || error instanceof CliError || error instanceof WaitTimeout
      ? error.message
      : String(error instanceof Error ? error.message : error)
  return { code: exitCodeOf(error), text }
}
