// muster source create|list|get|delete; source-probe-command.ts has the rest.
import type { Command } from 'commander'
import type { AttributeDefinition, Client, Schema, Source } from '../client/index.ts'
import { confirm, requireChanges } from './confirm.ts'
import { connect, withCommonOptions } from './connection.ts'
import type { CommonOptions } from './connection.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { chooseDisplay, chooseIdentity, sampleFile } from './file-sample.ts'
import type { FileSample } from './file-sample.ts'
import { allSources, findSource } from './find-source.ts'
import { followTask, reportTask, withWaitOptions } from './follow-task.ts'
import type { WaitingOptions } from './follow-task.ts'
import { addSourceProbeCommands } from './source-probe-command.ts'
import { isForPrograms, printView } from './output.ts'
import { collect, readSettings } from './source-settings.ts'
import { note, plain, print, printFields, printTable, show } from './terminal.ts'

interface CreateOptions extends CommonOptions {
  readonly from?: string
  readonly connector?: string
  readonly set: readonly string[]
  readonly secret: readonly string[]
  readonly idColumn?: string
  readonly nameColumn?: string
  readonly delimiter?: string
  readonly encoding?: string
  readonly merge?: readonly string[]
  readonly description?: string
  readonly deleteThreshold?: string
}

/** Adds the commands of sources. */
export function addSourceCommands(program: Command): void {
  const source = program.command('source').description('make, show and delete sources')
  withCommonOptions(source.command('create'))
    .argument('<name>', 'what the source is called')
    .description(
      'make a source, from the first line of a file or for a system that is read directly',
    )
    .option('--from <file>', 'the file whose first line names the columns')
    .option('--connector <kind>', 'what reads the system: ldap, postgresql, scim, …')
    .option('--set <key=value>', 'a setting of the connector, in JSON or as text', collect, [])
    .option('--secret <key=file>', 'a secret setting from a file, or - for input', collect, [])
    .option('--id-column <column>', 'the column that identifies an account')
    .option('--name-column <column>', 'the column that people know an account by')
    .option('--delimiter <character>', 'what stands between cells; \\t for a tab')
    .option('--encoding <name>', 'the encoding of the file, where it is not UTF-8 or UTF-16')
    .option('--merge <column...>', 'columns with several values, one row for each')
    .option('--description <text>', 'what the source is for')
    .option('--delete-threshold <percent>', 'skip removals above this share; default 10')
    .addHelpText(
      'after',
      '\nExamples:\n  muster source create HR --from hr.csv\n  muster source create Groups --from groups.csv --id-column id --merge groups\n' +
        '  muster source create Directory --connector ldap --set url=ldaps://ldap.example.com \\\n' +
        '    --set baseDns=\'["dc=example,dc=com"]\' --set bindDn=cn=reader,dc=example,dc=com --secret bindPassword=./password',
    )
    .action((name: string, options: CreateOptions) =>
      options.connector === undefined ? create(name, options) : createDirect(name, options),
    )
  withCommonOptions(source.command('list'))
    .description('list the sources')
    .addHelpText('after', '\nExample:\n  muster source list --json | jq -r ".[].name"')
    .action((options: CommonOptions) => list(options))
  withCommonOptions(source.command('get'))
    .argument('<source>', 'name or id')
    .description('show a source and its account schema')
    .addHelpText('after', '\nExample:\n  muster source get HR')
    .action((nameOrId: string, options: CommonOptions) => get(nameOrId, options))
  withWaitOptions(withCommonOptions(source.command('delete')))
    .argument('<source>', 'name or id')
    .description('delete a source with its accounts')
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  muster source delete HR --yes')
    .action((nameOrId: string, options: DeleteOptions) => remove(nameOrId, options))
  addSourceProbeCommands(source)
}

/** Options of `create` that say something of a file. */
const fileOptions = ['from', 'idColumn', 'nameColumn', 'delimiter', 'encoding', 'merge'] as const

async function createDirect(name: string, options: CreateOptions): Promise<void> {
  const client = connect(options)
  const stray = fileOptions.find((option) => options[option] !== undefined)
  if (stray !== undefined) {
    const spelled = stray.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
    throw new CliError(
      exitCodes.usage,
      `--${spelled} is for sources of files, not with --connector.`,
    )
  }
  const threshold = percent(options.deleteThreshold)
  const source = await client.sources.create({
    name,
    connector: options.connector ?? '',
    ...(options.description !== undefined && { description: options.description }),
    ...(threshold !== undefined && { deleteThreshold: threshold }),
    connectorAttributes: readSettings(options.set, options.secret),
  })
  const schemas = await client.schemas.list(source.id)
  const schema = schemas.find((one) => one.name === 'account') ?? null
  if (schema === null) note('It has no account schema yet: its connector is not known here.')
  else note('`muster source test` looks whether it works, `muster source discover` what it has.')
  printView(options, {
    data: { ...source, schema },
    table: () => showSource(source, schema),
  })
}

async function create(name: string, options: CreateOptions): Promise<void> {
  const { from } = options
  if (from === undefined) {
    throw new CliError(exitCodes.usage, 'Give --from <file> or --connector <kind>.')
  }
  if (options.set.length > 0 || options.secret.length > 0) {
    throw new CliError(exitCodes.usage, '--set and --secret need --connector.')
  }
  const client = connect(options)
  const given = options.delimiter === String.raw`\t` ? '\t' : options.delimiter
  if (given !== undefined && given.length !== 1) {
    throw new CliError(exitCodes.usage, '--delimiter must be one character.')
  }
  const threshold = percent(options.deleteThreshold)
  const sample = await sampleFile(from, given ?? null, options.encoding ?? null)
  const merge = options.merge ?? []
  for (const column of merge) requireColumn(sample, '--merge', column)
  const identity = options.idColumn ?? null
  if (identity !== null) requireColumn(sample, '--id-column', identity)
  const chosen =
    identity === null
      ? chooseIdentity(sample, merge.length > 0)
      : { column: identity, why: 'as given' }
  if (options.nameColumn !== undefined) requireColumn(sample, '--name-column', options.nameColumn)
  const display =
    options.nameColumn === undefined
      ? chooseDisplay(sample, chosen.column)
      : { column: options.nameColumn, why: 'as given' }

  const source = await client.sources.create(
    {
      name,
      connector: 'delimited-file-angularsc',
      ...(options.description !== undefined && { description: options.description }),
      ...(threshold !== undefined && { deleteThreshold: threshold }),
      connectorAttributes: {
        delimiter: sample.delimiter,
        mergeRows: merge.length > 0,
        mergeColumns: merge,
        ...(options.encoding !== undefined && { fileEncoding: options.encoding }),
      },
    },
    { provisionAsCsv: true },
  )
  const schema = await setSchema(client, source, {
    identityAttribute: chosen.column,
    displayAttribute: display.column,
    attributes: sample.columns.map((column) => attributeOf(column, merge.includes(column))),
  })
  note(`Identity column: ${plain(chosen.column)} (${chosen.why}).`)
  note(`Name column: ${plain(display.column)} (${display.why}).`)
  printView(options, {
    data: { ...source, schema },
    table: () => showSource(source, schema),
  })
}

/** Gives the new source its schema; a source that cannot have it is taken back, so that nothing is half made. */
async function setSchema(
  client: Client,
  source: Source,
  wanted: Pick<Schema, 'identityAttribute' | 'displayAttribute' | 'attributes'>,
): Promise<Schema> {
  try {
    const schemas = await client.schemas.list(source.id)
    const account = schemas.find(({ name }) => name === 'account')
    if (account === undefined) {
      return await client.schemas.create(source.id, {
        name: 'account',
        nativeObjectType: 'User',
        ...wanted,
      })
    }
    return await client.schemas.replace(source.id, { ...account, ...wanted })
  } catch (error) {
    await client.sources
      .delete(source.id)
      .catch(() => note(`The source ${source.id} could not be taken back.`))
    throw error
  }
}

function attributeOf(name: string, isMulti: boolean): AttributeDefinition {
  return {
    name,
    nativeName: null,
    type: 'STRING',
    schema: null,
    description: null,
    isMulti,
    isEntitlement: false,
    isGroup: false,
  }
}

function requireColumn(sample: FileSample, option: string, column: string): void {
  if (sample.columns.includes(column)) return
  throw new CliError(
    exitCodes.usage,
    `${option}: the file has no column "${column}".`,
    `Its columns are ${sample.columns.join(', ')}.`,
  )
}

function percent(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^\d{1,3}$/.test(text) && Number(text) <= 100) return Number(text)
  throw new CliError(exitCodes.usage, '--delete-threshold must be a whole number from 0 to 100.')
}

async function list(options: CommonOptions): Promise<void> {
  const sources = await allSources(connect(options))
  printView(options, {
    data: sources,
    columns: ['id', 'name', 'description', 'type', 'connector', 'connectionType', 'healthy'],
    table: () =>
      printTable(
        ['ID', 'NAME', 'TYPE', 'CONNECTION', 'HEALTHY'],
        sources.map(({ id, name, type, connectionType, healthy }) => [
          id,
          name,
          show(type),
          show(connectionType),
          show(healthy),
        ]),
      ),
  })
}

async function get(nameOrId: string, options: CommonOptions): Promise<void> {
  const client = connect(options)
  const source = await findSource(client, nameOrId)
  if (isForPrograms(options)) return printView(options, { data: source, table: () => {} })
  const schemas = await client.schemas.list(source.id)
  showSource(source, schemas.find(({ name }) => name === 'account') ?? null)
}

function showSource(source: Source, schema: Schema | null): void {
  const columns = schema?.attributes.map(({ name, type, isMulti }) => {
    const marks = [type === 'STRING' ? '' : show(type), isMulti === true ? 'multi' : ''].filter(
      Boolean,
    )
    return marks.length === 0 ? name : `${name} (${marks.join(', ')})`
  })
  printFields([
    ['id', source.id],
    ['name', source.name],
    ['type', show(source.type)],
    ['connector', source.connector],
    ['owner', source.owner?.name ?? ''],
    ['delete threshold', show(source.deleteThreshold ?? 10)],
    ['status', show(source.status)],
    ['identity column', show(schema?.identityAttribute)],
    ['name column', show(schema?.displayAttribute)],
    ['columns', columns?.join(', ') ?? ''],
  ])
}

interface DeleteOptions extends WaitingOptions {
  readonly yes?: boolean
}

async function remove(nameOrId: string, options: DeleteOptions): Promise<void> {
  const client = connect(options)
  const source = await findSource(client, nameOrId)
  const question = `Delete the source "${plain(source.name)}" and all its accounts?`
  requireChanges(client, `Deleting the source "${source.name}"`)
  await confirm(question, options.yes === true)
  const task = await client.sources.delete(source.id)
  if (!options.wait) {
    return printView(options, { data: task, table: () => print(task.id) })
  }
  const ended = await followTask(client, task.id, options)
  reportTask(ended, options)
  process.exitCode = ended.completionStatus === 'SUCCESS' ? exitCodes.ok : exitCodes.failed
}
