// muster aggregate: uploads a file or a folder of them or has a system read, waits for the run, prints what it changed; the exit code tells the outcome.
import { stat } from 'node:fs/promises'
import { Option } from 'commander'
import type { Command } from 'commander'
import type { Client, LoadAccountsTask, Run, TaskStatus, UploadFile } from '../client/index.ts'
import { aggregateFolder } from './aggregate-folder.ts'
import { requireChanges } from './confirm.ts'
import { connect, withCommonOptions } from './connection.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { findSource } from './find-source.ts'
import { followTask, reportMessages, withWaitOptions } from './follow-task.ts'
import type { WaitingOptions } from './follow-task.ts'
import { isForPrograms, printView } from './output.ts'
import { progressBar } from './progress-bar.ts'
import { outcome, runOf } from './run-outcome.ts'
import { note, number, plain, print, printFields, show, size } from './terminal.ts'
import { openUpload, upload } from './upload-file.ts'
import type { UploadOptions } from './upload-file.ts'
import { wholeNumber } from './whole-number.ts'

/** The options of the command. */
export interface AggregateOptions extends WaitingOptions, UploadOptions {
  readonly source?: string
  readonly failOnWarning?: boolean
  readonly recursive?: boolean
  readonly extension?: readonly string[]
  readonly parallel?: number
  readonly list?: boolean
}

const shownRejects = 5
const folderGroup = 'For a folder:'

/** Adds the command. */
export function addAggregateCommand(program: Command): void {
  withWaitOptions(withCommonOptions(program.command('aggregate')))
    .argument(
      '[file]',
      'the file to upload, - for standard input, or a folder of files; none for a source that reads its system itself',
    )
    .description('upload files or read a system, wait for the run and print what it changed')
    .option('--source <source>', 'name or id of the source; not for a folder')
    .option('--disable-optimization', 'compare and correlate every account anew')
    .addOption(
      new Option(
        '--mode <mode>',
        'what to read of a system, all or what changed; else what the source is set to (Muster only)',
      ).choices(['full', 'delta']),
    )
    .option('--strict', 'fail with a conflict when another run of the source is unfinished')
    .option(
      '--fail-on-warning',
      'exit with 1 when the run ends with warnings, as for rejected rows',
    )
    .addOption(
      new Option('--recursive', 'look into the folders of the folder too').helpGroup(folderGroup),
    )
    .addOption(
      new Option('--extension <extension...>', 'how names end; default csv and csv.gz').helpGroup(
        folderGroup,
      ),
    )
    .addOption(
      new Option('--parallel <number>', 'how many at once; default 4')
        .argParser(wholeNumber(1, 32))
        .helpGroup(folderGroup),
    )
    .addOption(
      new Option('--list', 'show what goes where and why not, and upload nothing').helpGroup(
        folderGroup,
      ),
    )
    .addHelpText(
      'after',
      '\nExamples:\n  muster aggregate hr.csv --source HR\n  id=$(muster aggregate hr.csv --source HR --no-wait)\n  muster aggregate --source Directory --mode delta\n' +
        '  muster aggregate exports --list      # files named "<id of the source> - any text.csv"\n' +
        '\nExit codes: 0 done, 1 failed, 3 not allowed, 4 no such source, 5 removals were skipped or the run was refused by a guard, 6 timed out. For a folder: the worst.',
    )
    .action((file: string | undefined, options: AggregateOptions) => aggregate(file, options))
}

async function aggregate(path: string | undefined, options: AggregateOptions): Promise<void> {
  if (path !== undefined && path !== '-' && (await isFolder(path))) {
    if (options.source !== undefined) {
      throw new CliError(
        exitCodes.usage,
        '--source is for one file; the files of a folder say their sources by their names.',
      )
    }
    return aggregateFolder(path, options)
  }
  refuseStray(options)
  if (options.source === undefined) {
    throw new CliError(exitCodes.usage, '--source <source> is missing.', seeSources)
  }
  const client = connect(options)
  requireChanges(client, 'An aggregation')
  const file = path === undefined ? undefined : await openUpload(path)
  const source = await findSource(client, options.source)
  const begin = performance.now()
  const sent = await sendWithBar(client, source.id, file, options)
  const { task } = sent
  if (!options.wait) {
    return printView(options, { data: task, table: () => print(task.id) })
  }
  const ended = await followTask(client, task.id, options)
  const seconds = (performance.now() - begin) / 1000
  const run = await runOf(client, task.id)
  printView(options, { data: ended, table: () => report(ended, run, seconds) })
  reportMessages(ended)
  await reportRejects(client, ended)
  process.exitCode = outcome(ended, run, options.failOnWarning === true)
}

const seeSources = '`muster source list` shows the sources.'

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  )
}

/** What is for a folder does nothing for a file, and whoever gave it expects something else. */
function refuseStray(options: AggregateOptions): void {
  const stray = (['recursive', 'extension', 'parallel', 'list'] as const).find(
    (name) => options[name] !== undefined,
  )
  if (stray !== undefined) throw new CliError(exitCodes.usage, `--${stray} is for a folder.`)
}

async function sendWithBar(
  client: Client,
  sourceId: string,
  file: UploadFile | undefined,
  options: AggregateOptions,
): Promise<LoadAccountsTask> {
  const bar = progressBar(isForPrograms(options) || file === undefined)
  try {
    return await upload(client, sourceId, file, options, (sent, total) =>
      bar.show(
        total === null || total === 0 ? null : sent / total,
        `Uploading ${size(sent)}${total === null ? '' : ` of ${size(total)}`}`,
      ),
    )
  } finally {
    bar.clear()
  }
}

function report(task: TaskStatus, run: Run | null, seconds: number): void {
  // On ISC there is no run, and one that failed early has read nothing.
  const read = run?.read ?? null
  const count = (name: string): number => Number(task.attributes[name] ?? 0)
  // The counter of unchanged accounts is 0 by contract when optimization is off, though accounts are unchanged then too.
  const unchanged = Math.max(0, count('total') - count('created') - count('updated'))
  printFields([
    [
      'status',
      `${show(task.completionStatus)} after ${seconds.toFixed(1)} s (${number(count('total') / seconds)} accounts/s)`,
    ],
    ...(read === null
      ? []
      : ([['read', `${read.mode}, ${number(read.records)} records: ${read.proof}`]] as const)),
    ['created', number(count('created'))],
    ['updated', number(count('updated'))],
    ['removed', number(count('deleted'))],
    ['unchanged', number(unchanged)],
    ['ignored', number(count('ignored'))],
    ['task', task.id],
  ])
}

async function reportRejects(client: Client, task: TaskStatus): Promise<void> {
  if (Number(task.attributes['rejected'] ?? 0) === 0) return
  const page = await client.runs
    .rejects(task.id, { limit: shownRejects, count: true })
    .catch(() => null)
  if (page === null) return
  const total = page.total ?? page.items.length
  note(
    `${number(total)} ${total === 1 ? 'row was' : 'rows were'} rejected; what is known of these accounts stays as it was:`,
  )
  for (const { position, reason } of page.items)
    note(`  line ${number(position)}: ${plain(reason)}`)
  if (total > page.items.length) note(`  and ${number(total - page.items.length)} more.`)
  note(`All of them: muster run rejects ${task.id}`)
}
