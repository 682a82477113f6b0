// muster run list|show|changes|rejects: what Muster tells of runs beyond their tasks.
import { Option } from 'commander'
import type { Command } from 'commander'
import type { Change, Page, Reject, Run, TaskStatus } from '../client/index.ts'
import { connect, withCommonOptions } from './connection.ts'
import type { CommonOptions } from './connection.ts'
import { findSource } from './find-source.ts'
import { printView } from './output.ts'
import { note, number, plain, print, printFields, printTable, show, size } from './terminal.ts'
import { wholeNumber } from './whole-number.ts'

interface ListOptions extends CommonOptions {
  readonly source?: string
  readonly limit: number
}
interface ChangesOptions extends CommonOptions {
  readonly kind?: string
  readonly limit: number
}
interface RejectsOptions extends CommonOptions {
  readonly limit: number
  readonly rows?: boolean
}

const pageSize = 250
const shownChanges = 4

/** Adds the commands. */
export function addRunCommands(program: Command): void {
  const run = program
    .command('run')
    .description('show runs, what they changed and rejected (Muster only)')
  withCommonOptions(run.command('list'))
    .description('list runs, the newest first')
    .option('--source <source>', 'only of this source, by name or id')
    .option('--limit <number>', 'at most so many', wholeNumber(1, 250), 25)
    .addHelpText('after', '\nExample:\n  muster run list --source HR')
    .action((options: ListOptions) => list(options))
  withCommonOptions(run.command('show'))
    .argument('<id>', 'the id of the run, which is that of its task')
    .description('show a run: its phases, counters and what the guards said')
    .addHelpText('after', '\nExample:\n  muster run show 2c9180835d2e5168015d32f890ca1581')
    .action((id: string, options: CommonOptions) => showRun(id, options))
  withCommonOptions(run.command('changes'))
    .argument('<id>', 'the id of the run')
    .description('list the accounts that a run created, updated or removed, before and after')
    .addOption(new Option('--kind <kind>', 'only these').choices(['created', 'updated', 'removed']))
    .option('--limit <number>', 'at most so many', wholeNumber(1, 10_000_000), 50)
    .addHelpText(
      'after',
      '\nExample:\n  muster run changes 2c9180835d2e5168015d32f890ca1581 --kind removed -o csv',
    )
    .action((id: string, options: ChangesOptions) => changes(id, options))
  withCommonOptions(run.command('rejects'))
    .argument('<id>', 'the id of the run')
    .description('list the rows that a run could not take, with line and reason')
    .option('--rows', 'print the rows as they were read, to find and mend them in their file')
    .option('--limit <number>', 'at most so many', wholeNumber(1, 10_000_000), 1000)
    .addHelpText(
      'after',
      '\nExample:\n  muster run rejects 2c9180835d2e5168015d32f890ca1581 -o csv > rejects.csv',
    )
    .action((id: string, options: RejectsOptions) => rejects(id, options))
}

async function list(options: ListOptions): Promise<void> {
  const client = connect(options)
  const ofSource =
    options.source === undefined
      ? ''
      : ` and sourceId eq "${(await findSource(client, options.source)).id}"`
  const { items } = await client.tasks.list({
    limit: options.limit,
    sorters: '-created',
    filters: `type eq "CLOUD_ACCOUNT_AGGREGATION"${ofSource}`,
  })
  const runs = items.map(listed)
  printView(options, {
    data: runs,
    table: () =>
      printTable(
        ['ID', 'BEGAN', 'SOURCE', 'STATUS', 'CREATED', 'UPDATED', 'REMOVED', 'REJECTED'],
        runs.map((run) => [
          run.id,
          run.created,
          show(run.sourceName),
          run.completionStatus ?? 'running',
          ...[run.accountsCreated, run.accountsUpdated, run.accountsRemoved, run.rejected].map(
            (count) => (count === null ? '' : number(count)),
          ),
        ]),
      ),
  })
}

/** A run as its task tells it: one call for a whole list. docs/reference/cli.md describes it. */
function listed(task: TaskStatus) {
  const count = (name: string): number | null => {
    const value = task.attributes[name]
    return typeof value === 'number' ? value : null
  }
  return {
    id: task.id,
    sourceId: task.target?.id ?? null,
    sourceName: task.target?.name ?? null,
    created: task.created,
    completed: task.completed ?? null,
    completionStatus: task.completionStatus ?? null,
    accountsCreated: count('created'),
    accountsUpdated: count('updated'),
    accountsRemoved: count('deleted'),
    rejected: count('rejected'),
  }
}

async function showRun(id: string, options: CommonOptions): Promise<void> {
  const run = await connect(options).runs.get(id)
  printView(options, { data: run, table: () => showFields(run) })
}

function showFields(run: Run): void {
  const { verdict, read } = run
  printFields([
    ['run', run.id],
    ['state', run.state],
    ['source', run.sourceId],
    ...(run.fileName === null
      ? []
      : ([['file', `${run.fileName} (${size(run.bytes ?? 0)})`]] as const)),
    ...(run.sha256 === null ? [] : ([['sha256', run.sha256]] as const)),
    ...(read === null
      ? []
      : ([['read', `${read.mode}, ${number(read.records)} records: ${read.proof}`]] as const)),
    ...Object.entries(run.counters).map(
      ([name, value]) => [name, typeof value === 'number' ? number(value) : show(value)] as const,
    ),
    ...(verdict === null ? [] : ([['guards', verdict.outcome]] as const)),
    ...run.phases.map(({ name, started, ended, rows }) => {
      const seconds = (Date.parse(ended) - Date.parse(started)) / 1000
      return [`  ${name}`, `${seconds.toFixed(1)} s, ${number(rows)} rows`] as const
    }),
  ])
  for (const { guard, ...others } of verdict?.findings ?? []) {
    const text: unknown = Reflect.get(others, 'message')
    note(`${plain(guard)}: ${plain(typeof text === 'string' ? text : show(others))}`)
  }
}

/** Pages of a list until there are no more or enough. */
async function collected<T>(
  limit: number,
  read: (query: { limit: number; offset: number; count: boolean }) => Promise<Page<T>>,
): Promise<{ readonly items: readonly T[]; readonly total: number | null }> {
  const items: T[] = []
  let total: number | null = null
  while (items.length < limit) {
    const pageLimit = Math.min(pageSize, limit - items.length)
    const page = await read({ limit: pageLimit, offset: items.length, count: items.length === 0 })
    total ??= page.total
    items.push(...page.items)
    if (page.items.length < pageLimit) break
  }
  return { items, total }
}

async function changes(id: string, options: ChangesOptions): Promise<void> {
  const client = connect(options)
  const { kind } = options
  const { items, total } = await collected<Change>(options.limit, (query) =>
    client.runs.changes(id, { ...query, ...(kind !== undefined && { kind }) }),
  )
  printView(options, {
    data: items,
    columns: ['kind', 'accountId', 'nativeIdentity'],
    table: () =>
      printTable(
        ['KIND', 'NATIVE IDENTITY', 'WHAT'],
        items.map((change) => [change.kind, change.nativeIdentity, difference(change)]),
      ),
  })
  sayMore(items.length, total, 'changes')
}

/** What an update changed, as `mail: a@x → b@x`; the rest of a line is for JSON. */
function difference({ before, after }: Change): string {
  if (before === null || after === null) return ''
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (name) => show(before[name]) !== show(after[name]),
  )
  const shown = names
    .slice(0, shownChanges)
    .map((name) => `${name}: ${show(before[name])} → ${show(after[name])}`)
  const more = names.length - shown.length
  return `${shown.join('; ')}${more > 0 ? `; and ${more} more` : ''}`
}

async function rejects(id: string, options: RejectsOptions): Promise<void> {
  const client = connect(options)
  const { items, total } = await collected<Reject>(options.limit, (query) =>
    client.runs.rejects(id, query),
  )
  // The rows as they were: whoever looks for them in a file wants every byte of them.
  if (options.rows === true)
    for (const { raw } of items) print(process.stdout.isTTY ? plain(raw) : raw)
  else {
    printView(options, {
      data: items,
      columns: ['position', 'code', 'reason', 'raw', 'nativeIdentity'],
      table: () =>
        printTable(
          ['LINE', 'IDENTITY', 'REASON'],
          items.map(({ position, nativeIdentity, reason }) => [
            String(position),
            show(nativeIdentity),
            reason,
          ]),
        ),
    })
  }
  sayMore(items.length, total, 'rejected rows')
}

function sayMore(shownCount: number, total: number | null, what: string): void {
  if (total === null || total <= shownCount) return
  note(`${number(shownCount)} of ${number(total)} ${what}; --limit shows more.`)
}
