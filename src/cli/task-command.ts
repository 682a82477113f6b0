// muster task list|get|wait|cancel.
import { Option } from 'commander'
import type { Command } from 'commander'
import { requireChanges } from './confirm.ts'
import { connect, withCommonOptions } from './connection.ts'
import type { CommonOptions } from './connection.ts'
import { duration } from './duration.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { findSource } from './find-source.ts'
import { followTask, reportTask, withWaitOptions } from './follow-task.ts'
import type { WaitingOptions } from './follow-task.ts'
import { printView } from './output.ts'
import { outcome, runOf } from './run-outcome.ts'
import { printTable, show } from './terminal.ts'
import { wholeNumber } from './whole-number.ts'

interface ListOptions extends CommonOptions {
  readonly source?: string
  readonly status?: string
  readonly limit: number
}

interface WaitOptions extends CommonOptions {
  readonly timeout?: number
  readonly failOnWarning?: boolean
}

/** Adds the commands of tasks. */
export function addTaskCommands(program: Command): void {
  const task = program.command('task').description('show, await and cancel tasks')
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
      reportTask(await connect(options).tasks.get(id), options)
    })
  withCommonOptions(task.command('wait'))
    .argument('<id>', 'the id of the task')
    .description('wait for the end of a task; the exit code tells it')
    .option('--timeout <duration>', 'stop waiting after this long; the task goes on', duration)
    .option('--fail-on-warning', 'exit with 1 when it ends with warnings')
    .addHelpText(
      'after',
      '\nExample:\n  id=$(muster aggregate hr.csv --source HR --no-wait)\n  muster task wait "$id" --timeout 10m',
    )
    .action((id: string, options: WaitOptions) => wait(id, options))
  withWaitOptions(withCommonOptions(task.command('cancel')))
    .argument('<id>', 'the id of the task')
    .description('stop a run; nothing of it is kept unless it was already applied')
    .addHelpText('after', '\nExample:\n  muster task cancel 2c9180835d2e5168015d32f890ca1581')
    .action((id: string, options: WaitingOptions) => cancel(id, options))
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
  printView(options, {
    data: items,
    columns: ['id', 'type', 'uniqueName', 'created', 'completed', 'completionStatus'],
    table: () =>
      printTable(
        ['ID', 'CREATED', 'NAME', 'SOURCE', 'STATUS'],
        items.map(({ id, created, uniqueName, target, completionStatus, progress }) => [
          id,
          created,
          uniqueName,
          show(target?.name),
          completionStatus ?? (show(progress) || 'running'),
        ]),
      ),
  })
}

async function wait(id: string, options: WaitOptions): Promise<void> {
  const client = connect(options)
  const task = await followTask(client, id, options)
  const run = await runOf(client, id)
  reportTask(task, options)
  process.exitCode = outcome(task, run, options.failOnWarning === true)
}

async function cancel(id: string, options: WaitingOptions): Promise<void> {
  const client = connect(options)
  requireChanges(client, `Cancelling task ${id}`)
  const asked = await client.tasks.cancel(id)
  const task = options.wait ? await followTask(client, id, { timeout: 60_000, ...options }) : asked
  reportTask(task, options)
  if (!options.wait || task.completionStatus === 'TERMINATED') return
  throw new CliError(
    exitCodes.failed,
    `The task had come to its end before it could be stopped: ${show(task.completionStatus)}.`,
  )
}
