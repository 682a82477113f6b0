// What it takes to give a connector one command, wherever it runs.
import type { Settings } from '../core/setting.ts'
import type { Batch } from './saas-lines.ts'

/** One command of the official SDK. */
export interface Command {
  /** For example `std:account:list`. */
  readonly type: string
  readonly input: Readonly<Record<string, unknown>>
  readonly config: Settings
}

/** A way to a connector. */
export interface SaasTransport {
  /** Whether the clean end of an answer shows that nothing of it is missing. */
  readonly provesEnd: boolean
  /** How often a command is sent when the way to the connector fails; it is never sent again after its first line. */
  run(command: Command, attempts: number, signal: AbortSignal): AsyncGenerator<Batch, void>
  close(): Promise<void>
}

/** The bytes of a request. The version is that of the command, which is 1 for all that we send. */
export function requestBody(command: Command): string {
  return JSON.stringify({
    type: command.type,
    version: 1,
    input: command.input,
    config: command.config,
  })
}
