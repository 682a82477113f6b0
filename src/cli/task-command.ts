// muster task list|get|cancel.
import { Option } from 'commander'
import type { Command } from 'commander'
import { connect, withCommonOptions } from './connection.ts'
import type { CommonOptions } from './connection.ts'
import { findSource } from './find-source.ts'
import { followTask, reportTask } from './follow-task.ts'
import { wholeNumber } from './whole-number.ts'
import { printJson, printTable, show } from './terminal.ts'

interface ListOptions extends CommonOptions {
  readonly source?: string
  readonly status?: string
  readonly limit: number
}

/** Adds the commands of tasks. */
export function addTaskCommands(program: Command): void {
  const task = program.command('task').description('show and cancel tasks')
  withCommonOptions(task.command('list'))
    .description('list tasks, the newest first')
    .option('--source <source>', 'only of this source, by name or id')
    .addOption(
      new Option('--status <status>', 'only those that ended so').choices([
        'SUCCESS',
        'WARNING',
        'ERROR',
        'TERMINATED',
        'TEMPERROR',
      ]),
    )
    .option('--limit <number>', 'at most so many', wholeNumber(1, 250), 25)
    .addHelpText('after', '\nExample:\n  muster task list --source HR --status ERROR')
    .action((options: ListOptions) => list(options))
  withCommonOptions(task.command('get'))
    .argument('<id>', 'the id of the task')
    .description('show a task')
    .addHelpText('after', '\nExample:\n  muster task get 2c9180835d2e5168015d32f890ca1581')
    .action(async (id: string, options: CommonOptions) => {
      reportTask(await connect(options).tasks.get(id), options.json === true)
    })
  withCommonOptions(task.command('cancel'))
    .argument('<id>', 'the id of the task')
    .description('stop a run; nothing of it is kept unless it was already applied')
    .option('--no-wait', 'do not wait until it has ended')
    .addHelpText('after', '\nExample:\n  muster task cancel 2c9180835d2e5168015d32f890ca1581')
    .action((id: string, options: CommonOptions & { readonly wait: boolean }) =>
      cancel(id, options),
    )
}

async function list(options: ListOptions): Promise<void> {
  const client = connect(options)
  const filters = [
    ...(options.source === undefined
      ? []
      : [`sourceId eq "${(await findSource(client, options.source)).id}"`]),
    ...(options.status === undefined ? [] : [`completionStatus eq "${options.status}"`]),
  ]
  const { items } = await client.tasks.list({
    limit: options.limit,
    sorters: '-created',
    ...(filters.length > 0 && { filters: filters.join(' and ') }),
  })
  if (options.json === true) return printJson(items)
  printTable(
    ['ID', 'CREATED', 'NAME', 'SOURCE', 'STATUS'],
    items.map(({ id, created, uniqueName, target, completionStatus, progress }) => [
      id,
      created,
      uniqueName,
      show(target?.name),
      completionStatus ?? (show(progress) || 'running'),
    ]),
  )
}

async function cancel(
  id: string,
  options: CommonOptions & { readonly wait: boolean },
): Promise<void> {
  const client = connect(options)
  const asked = await client.tasks.cancel(id)
  const quiet = options.json === true
  const task = options.wait ? await followTask(client, id, { quiet, timeoutMs: 60_000 }) : asked
  reportTask(task, quiet)
}
