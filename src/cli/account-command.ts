// muster account list|get.
import type { Command } from 'commander'
import type { Account, Client } from '../client/index.ts'
import { connect, withCommonOptions } from './connection.ts'
import type { CommonOptions } from './connection.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { findSource } from './find-source.ts'
import { printView } from './output.ts'
import { note, number, printFields, printTable, show } from './terminal.ts'
import { wholeNumber } from './whole-number.ts'

interface ListOptions extends CommonOptions {
  readonly source?: string
  readonly filters?: string
  readonly limit: number
}

/** Adds the commands of accounts. */
export function addAccountCommands(program: Command): void {
  const account = program.command('account').description('show accounts')
  withCommonOptions(account.command('list'))
    .description('list accounts')
    .option('--source <source>', 'only of this source, by name or id')
    .option('--filters <filter>', 'a filter, for example: nativeIdentity eq "1001"')
    .option('--limit <number>', 'at most so many', wholeNumber(1, 10_000_000), 50)
    .addHelpText(
      'after',
      '\nExample:\n  muster account list --source HR --filters \'name sw "A"\' --json',
    )
    .action((options: ListOptions) => list(options))
  withCommonOptions(account.command('get'))
    .argument('<id>', 'the id of the account, or with --source its native identity')
    .option('--source <source>', 'the source, by name or id')
    .description('show an account with its attributes')
    .addHelpText('after', '\nExample:\n  muster account get 1001 --source HR')
    .action((id: string, options: CommonOptions & { readonly source?: string }) => get(id, options))
}

async function list(options: ListOptions): Promise<void> {
  const client = connect(options)
  const parts = [
    ...(options.source === undefined
      ? []
      : [`sourceId eq "${(await findSource(client, options.source)).id}"`]),
    ...(options.filters === undefined ? [] : [options.filters]),
  ]
  const filters = parts.length > 1 ? parts.map((part) => `(${part})`).join(' and ') : parts[0]
  const accounts: Account[] = []
  let total: number | null = null
  while (accounts.length < options.limit) {
    const limit = Math.min(250, options.limit - accounts.length)
    const page = await client.accounts.list({
      limit,
      offset: accounts.length,
      count: accounts.length === 0,
      ...(filters !== undefined && { filters }),
    })
    total ??= page.total
    accounts.push(...page.items)
    if (page.items.length < limit) break
  }
  printView(options, {
    data: accounts,
    columns: ['id', 'nativeIdentity', 'name', 'sourceId', 'sourceName'],
    table: () =>
      printTable(
        ['ID', 'NATIVE IDENTITY', 'NAME', 'SOURCE'],
        accounts.map(({ id, nativeIdentity, name, sourceName }) => [
          id,
          nativeIdentity,
          show(name),
          show(sourceName),
        ]),
      ),
  })
  if (total !== null && total > accounts.length) {
    note(`${number(accounts.length)} of ${number(total)} accounts; --limit shows more.`)
  }
}

async function get(
  id: string,
  options: CommonOptions & { readonly source?: string },
): Promise<void> {
  const client = connect(options)
  const account = await client.accounts.get(
    options.source === undefined ? id : await idOf(client, options.source, id),
  )
  printView(options, { data: account, table: () => showAccount(account) })
}

function showAccount(account: Account): void {
  printFields([
    ['id', account.id],
    ['native identity', account.nativeIdentity],
    ['name', show(account.name)],
    ['source', show(account.sourceName)],
    ['identity', show(account.identity?.name ?? account.identityId)],
    ['created', show(account.created)],
    ['modified', show(account.modified)],
    ...Object.entries(account.attributes ?? {}).map(
      ([name, value]) => [`  ${name}`, show(value)] as const,
    ),
  ])
}

async function idOf(client: Client, sourceName: string, nativeIdentity: string): Promise<string> {
  const source = await findSource(client, sourceName)
  const quoted = nativeIdentity.replaceAll('\\', '\\\\').replaceAll('"', String.raw`\"`)
  const { items } = await client.accounts.list({
    limit: 1,
    filters: `sourceId eq "${source.id}" and nativeIdentity eq "${quoted}"`,
  })
  const [account] = items
  if (account !== undefined) return account.id
  throw new CliError(
    exitCodes.notFound,
    `The source "${source.name}" has no account "${nativeIdentity}".`,
  )
}
