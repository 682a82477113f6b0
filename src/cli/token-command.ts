// muster token create: makes an OAuth client of its own for a person or a program.
import { Option } from 'commander'
import type { Command } from 'commander'
import { levels } from '../core/access.ts'
import { connect, withCommonOptions } from './connection.ts'
import type { CommonOptions } from './connection.ts'
import { findSource } from './find-source.ts'
import { printView } from './output.ts'
import { note, plain, print } from './terminal.ts'

interface CreateOptions extends CommonOptions {
  readonly level: string
  readonly source?: readonly string[]
  readonly scope?: readonly string[]
  readonly name?: string
}

/** Adds the commands of tokens. */
export function addTokenCommands(program: Command): void {
  const token = program.command('token').description('make credentials')
  withCommonOptions(token.command('create'))
    .description('make a client id and secret with a level, confined to sources or not')
    .addOption(
      new Option('--level <level>', 'what it may do').choices([...levels]).makeOptionMandatory(),
    )
    .option('--source <source...>', 'the sources that it is confined to, by name or id')
    .option('--scope <scope...>', 'the scopes of its tokens; default all that the level allows')
    .option('--name <name>', 'what it is called')
    .addHelpText(
      'after',
      '\nExample:\n  muster token create --level SOURCE_SUBADMIN --source HR --name "HR export" > hr.env',
    )
    .action((options: CreateOptions) => create(options))
}

async function create(options: CreateOptions): Promise<void> {
  const client = connect(options)
  const sources = []
  for (const name of options.source ?? []) sources.push(await findSource(client, name))
  const names = sources.map(({ name }) => name).join(', ')
  const made = await client.clients.create({
    name: options.name ?? `${options.level}${names === '' ? '' : ` of ${names}`}`.slice(0, 128),
    level: options.level,
    sourceIds: sources.length === 0 ? null : sources.map(({ id }) => id),
    ...(options.scope !== undefined && { scopes: options.scope }),
  })
  note('The secret is shown now and never again.')
  printView(options, {
    data: made,
    table: () => {
      print(`SAIL_BASE_URL=${client.baseUrl}`)
      print(`SAIL_CLIENT_ID=${plain(made.id)}`)
      print(`SAIL_CLIENT_SECRET=${plain(made.secret ?? '')}`)
    },
  })
}
