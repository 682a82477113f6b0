// Follows a task on the screen, and tells its end.
import type { Client, TaskStatus } from '../client/index.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { progressBar } from './progress-bar.ts'
import { note, plain, printFields, printJson, show } from './terminal.ts'

/** Waits for a task with a bar on stderr. Ctrl-C ends the wait with its own exit code, not the task. */
export async function followTask(
  client: Client,
  id: string,
  options: { readonly quiet: boolean; readonly timeoutMs?: number | undefined },
): Promise<TaskStatus> {
  const bar = progressBar(options.quiet)
  const stop = new AbortController()
  const interrupt = (): void => {
    const hint = `It goes on. \`muster task get ${id}\` shows it, \`muster task cancel ${id}\` stops it.`
    stop.abort(new CliError(exitCodes.interrupted, `Stopped waiting for task ${id}.`, hint))
  }
  process.once('SIGINT', interrupt)
  try {
    return await client.waitForTask(id, {
      signal: stop.signal,
      ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
      onProgress: (status) => bar.show(share(status), status.progress ?? 'Waiting'),
    })
  } finally {
    process.off('SIGINT', interrupt)
    bar.clear()
  }
}

function share({ percentComplete }: TaskStatus): number | null {
  return percentComplete > 0 ? percentComplete / 100 : null
}

/** Prints a task: as JSON, or its fields with its messages on stderr. */
export function reportTask(task: TaskStatus, json: boolean): void {
  if (json) return printJson(task)
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
  reportMessages(task)
}

/** The messages of a task on stderr. */
export function reportMessages(task: TaskStatus): void {
  for (const { type, key } of task.messages) note(`${type}: ${plain(key)}`)
}
