// How a command ends: the exit codes, and the error that carries one.
import { ApiError, ReadOnlyError, WaitTimeout } from '../client/index.ts'

/** The exit codes; docs/reference/cli.md explains them. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  auth: 3,
  notFound: 4,
  guarded: 5,
  timeout: 6,
  interrupted: 130,
} as const
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

/** An error that the command itself found. `hint` says what to do. */
export class CliError extends Error {
  readonly exitCode: ExitCode
  readonly hint: string | null

  constructor(exitCode: ExitCode, message: string, hint: string | null = null) {
    super(message)
    this.name = 'CliError'
    this.exitCode = exitCode
    this.hint = hint
  }
}

/** The exit code for anything that was thrown. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CliError) return error.exitCode
  if (error instanceof WaitTimeout) return exitCodes.timeout
  if (error instanceof ReadOnlyError) return exitCodes.auth
  if (!(error instanceof ApiError)) return exitCodes.failed
  if (error.status === 401 || error.status === 403) return exitCodes.auth
  if (error.status === 404) return exitCodes.notFound
  return exitCodes.failed
}
