// muster source test|discover|peek|reset-state: questions to the system of a source, and where the next read begins.
import type { Command } from 'commander'
import type {
  Client,
  Discovery,
  ResourceObjectsResponse,
  SchemaProposal,
  StatusResponse,
} from '../client/index.ts'
import { connect, withCommonOptions } from './connection.ts'
import type { CommonOptions } from './connection.ts'
import { exitCodes } from './exit-code.ts'
import { findSource } from './find-source.ts'
import { formatOf, printView } from './output.ts'
import { note, number, plain, print, printFields, printTable, show } from './terminal.ts'
import { wholeNumber } from './whole-number.ts'

interface TestOptions extends CommonOptions {
  readonly connection?: boolean
}
interface DiscoverOptions extends CommonOptions {
  readonly apply?: boolean
  readonly prune?: boolean
}
interface PeekOptions extends CommonOptions {
  readonly type: string
  readonly limit: number
}

/** What fits on a line; `--json` shows all. */
const shownColumns = 5
const shownCharacters = 30
const longestPatch = 250

/** Adds the commands to `muster source`. */
export function addSourceProbeCommands(source: Command): void {
  withCommonOptions(source.command('test'))
    .argument('<source>', 'name or id')
    .description('check whether an aggregation of a source would work')
    .option('--connection', 'only connect to the system and log in')
    .addHelpText(
      'after',
      '\nExample:\n  muster source test Directory\n\nExit codes: 0 success, 1 failure.',
    )
    .action((nameOrId: string, options: TestOptions) => test(nameOrId, options))
  withCommonOptions(source.command('discover'))
    .argument('<source>', 'name or id')
    .description('show what the system of a source has that its schemas lack (Muster only)')
    .option('--apply', 'add and change attributes as proposed; nothing is removed')
    .option('--prune', 'with --apply: also remove attributes that are not in the system')
    .addHelpText('after', '\nExample:\n  muster source discover Directory --apply')
    .action((nameOrId: string, options: DiscoverOptions) => discover(nameOrId, options))
  withCommonOptions(source.command('peek'))
    .argument('<source>', 'name or id')
    .description('show a few accounts of a source as a run would read them')
    .option('--type <name>', 'the schema: account, group, …', 'account')
    .option('--limit <number>', 'how many, at most 250', wholeNumber(1, 250), 10)
    .addHelpText('after', '\nExample:\n  muster source peek Directory --type group --limit 5')
    .action((nameOrId: string, options: PeekOptions) => peek(nameOrId, options))
  withCommonOptions(source.command('reset-state'))
    .argument('<source>', 'name or id')
    .description('forget where the last read ended, so that the next one is full (Muster only)')
    .addHelpText('after', '\nExample:\n  muster source reset-state Directory')
    .action((nameOrId: string, options: CommonOptions) => resetState(nameOrId, options))
}

async function test(nameOrId: string, options: TestOptions): Promise<void> {
  const client = connect(options)
  const source = await findSource(client, nameOrId)
  const answer = await (options.connection === true
    ? client.probes.checkConnection(source.id)
    : client.probes.testConfiguration(source.id))
  printView(options, { data: answer, table: () => showStatus(answer) })
  process.exitCode = answer.status === 'SUCCESS' ? exitCodes.ok : exitCodes.failed
}

function showStatus({ status, elapsedMillis, details }: StatusResponse): void {
  const { hint, ...others } = details
  printFields([
    ['status', `${status} after ${(elapsedMillis / 1000).toFixed(1)} s`],
    ...Object.entries(others).flatMap(([name, value]) => fieldsOf(name, value)),
  ])
  if (typeof hint === 'string') note(plain(hint))
}

/** An object one level deep as fields of its own. */
function fieldsOf(name: string, value: unknown): (readonly [string, string])[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [[plain(name), Array.isArray(value) ? value.map(show).join(', ') : show(value)]]
  }
  return Object.entries(value).map(([inner, one]: [string, unknown]) => [
    plain(`${name} ${inner}`),
    Array.isArray(one) ? one.map(show).join(', ') : show(one),
  ])
}

async function discover(nameOrId: string, options: DiscoverOptions): Promise<void> {
  const client = connect(options)
  const source = await findSource(client, nameOrId)
  const found = await client.probes.discover(source.id)
  printView(options, { data: found, table: () => showDiscovery(found) })
  const prune = options.prune === true
  const open = found.schemas.filter(
    ({ patch, create, removal }) =>
      patch.length > 0 || create !== null || (prune && removal.length > 0),
  )
  if (open.length === 0) return note('The schemas have all that the system describes.')
  if (options.apply !== true) return note('Nothing was changed; --apply adds and changes this.')
  for (const proposal of open) {
    await apply(client, source.id, proposal, prune)
    note(
      `The schema "${plain(proposal.name)}" was ${proposal.create === null ? 'changed' : 'made'}.`,
    )
  }
}

async function apply(
  client: Client,
  sourceId: string,
  { schemaId, create, patch, removal }: SchemaProposal,
  prune: boolean,
): Promise<void> {
  if (create !== null) await client.schemas.create(sourceId, create)
  if (schemaId === null) return
  const steps = prune ? [...patch, ...removal] : patch
  // Two calls where one patch would be longer than a server takes.
  if (steps.length <= longestPatch) await client.schemas.patch(sourceId, schemaId, steps)
  else {
    await client.schemas.patch(sourceId, schemaId, patch)
    await client.schemas.patch(sourceId, schemaId, removal)
  }
}

function showDiscovery({ schemas, unknown }: Discovery): void {
  const rows = schemas.flatMap(({ name, schemaId, added, changed, roles, missing }) => [
    ...added.map((one) => [
      name,
      schemaId === null ? 'new schema' : 'add',
      one.name,
      kindOf(one.type, one.isMulti),
    ]),
    ...changed.map((one) => [
      name,
      'change',
      one.name,
      `${kindOf(one.before.type, one.before.isMulti)} → ${kindOf(one.after.type, one.after.isMulti)}`,
    ]),
    ...roles.map(({ role, before, after }) => [
      name,
      role === 'identityAttribute' ? 'identity' : 'name',
      after,
      before === null ? '' : `instead of ${before}`,
    ]),
    ...missing.map((one) => [name, 'not in the system', one, '']),
  ])
  if (rows.length > 0) printTable(['SCHEMA', 'PROPOSAL', 'ATTRIBUTE', 'TYPE'], rows)
  for (const name of unknown) note(`The system describes no schema "${plain(name)}".`)
}

function kindOf(type: string | undefined, isMulti: boolean | undefined): string {
  return `${type ?? 'STRING'}${isMulti === true ? ' multi' : ''}`
}

async function peek(nameOrId: string, options: PeekOptions): Promise<void> {
  const client = connect(options)
  const maxCount = options.limit
  const source = await findSource(client, nameOrId)
  const answer = await client.probes.peek(source.id, { objectType: options.type, maxCount })
  if (formatOf(options) === 'csv') {
    return printView(options, { data: answer.resourceObjects, table: () => {} })
  }
  printView(options, { data: answer, table: () => showObjects(answer) })
}

function showObjects(answer: ResourceObjectsResponse): void {
  const objects = answer.resourceObjects
  const names = [...new Set(objects.flatMap(({ attributes }) => Object.keys(attributes)))]
  const columns = names.slice(0, shownColumns)
  printTable(
    ['IDENTITY', ...columns.map(plain)],
    objects.map(({ identity, attributes }) => [
      identity,
      ...columns.map((name) => shortened(cell(attributes[name]))),
    ]),
  )
  const more = names.length - columns.length
  note(
    `${number(objects.length)} ${objects.length === 1 ? 'object' : 'objects'} after ${(answer.elapsedMillis / 1000).toFixed(1)} s` +
      `${more === 0 ? '' : `; ${more} more attributes with --json`}.`,
  )
}

function cell(value: unknown): string {
  return Array.isArray(value) ? value.map(show).join('; ') : show(value)
}

function shortened(text: string): string {
  return text.length > shownCharacters ? `${text.slice(0, shownCharacters - 1)}…` : text
}

async function resetState(nameOrId: string, options: CommonOptions): Promise<void> {
  const client = connect(options)
  const source = await findSource(client, nameOrId)
  const before = await client.sources.state(source.id)
  await client.sources.resetState(source.id)
  printView(options, {
    data: before,
    table: () =>
      print(
        before.hasCursor
          ? `Forgotten: the read of ${show(before.since)}. The next read is full.`
          : 'There was nothing to forget: the next read is full.',
      ),
  })
}
