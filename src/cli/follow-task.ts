// Follows a task on the screen, and tells its end.
import type { Command } from 'commander'
import type { Client, TaskStatus } from '../client/index.ts'
import type { CommonOptions } from './connection.ts'
import { duration } from './duration.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { progressBar } from './progress-bar.ts'
import { isForPrograms, printView } from './output.ts'
import type { OutputOptions } from './output.ts'
import { note, plain, printFields, show } from './terminal.ts'

/** The options of every command that starts something and can wait for its end. */
export interface WaitingOptions extends CommonOptions {
  readonly wait: boolean
  /** In milliseconds. */
  readonly timeout?: number
}

/** Adds the options of waiting. */
export function withWaitOptions(command: Command): Command {
  return command
    .option('--wait', 'wait for the end; it is the default', true)
    .option('--no-wait', 'print the id of the task and do not wait')
    .option(
      '--timeout <duration>',
      'stop waiting after this long (90, 90s, 5m, 1h30m); the task goes on',
      duration,
    )
}

/** What to tell somebody who stops waiting for a task. */
export function goesOn(id: string): string {
  return `It goes on. \`muster task get ${id}\` shows it, \`muster task cancel ${id}\` stops it.`
}

/** Waits for a task with a bar on stderr. Ctrl-C ends the wait with its own exit code, not the task. */
export async function followTask(
  client: Client,
  id: string,
  options: OutputOptions & { readonly timeout?: number | undefined },
): Promise<TaskStatus> {
  const bar = progressBar(isForPrograms(options))
  const stop = new AbortController()
  const interrupt = (): void => {
    stop.abort(new CliError(exitCodes.interrupted, `Stopped waiting for task ${id}.`, goesOn(id)))
  }
  process.once('SIGINT', interrupt)
  try {
    return await client.waitForTask(id, {
      signal: stop.signal,
      ...(options.timeout !== undefined && { timeoutMs: options.timeout }),
      onProgress: (status) => {
        if ((status.completionStatus ?? null) !== null) return
        bar.show(share(status), status.progress ?? 'Waiting')
      },
    })
  } finally {
    process.off('SIGINT', interrupt)
    bar.clear()
  }
}

function share({ percentComplete }: TaskStatus): number | null {
  return percentComplete > 0 ? percentComplete / 100 : null
}

/** Prints a task; for people its messages go to stderr. */
export function reportTask(task: TaskStatus, options: OutputOptions): void {
  printView(options, { data: task, table: () => showTask(task) })
  if (!isForPrograms(options)) reportMessages(task)
}

function showTask(task: TaskStatus): void {
  const { attributes } = task
  const counters = ['total', 'created', 'updated', 'deleted', 'optimized', 'ignored']
    .filter((name) => typeof attributes[name] === 'number')
    .map((name) => [name === 'optimized' ? 'unchanged' : name, show(attributes[name])] as const)
  printFields([
    ['task', task.id],
    ['source', show(task.target?.name)],
    ['status', task.completionStatus ?? 'running'],
    ...(task.completionStatus === null ? ([['progress', task.progress ?? '']] as const) : []),
    ['created at', task.created],
    ['completed at', show(task.completed)],
    ...counters,
  ])
}

/** The messages of a task on stderr. */
export function reportMessages(task: TaskStatus): void {
  for (const { type, key } of task.messages) note(`${type}: ${plain(key)}`)
}
