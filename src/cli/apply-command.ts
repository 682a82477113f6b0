// muster apply: makes a server be configured as a file says, after showing what that changes.
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import {
  applySource,
  type Client,
  ConfigurationError,
  planConfiguration,
  type PlanLine,
  readConfiguration,
  type SourcePlan,
} from '../client/index.ts'
import { type Style, paint } from './colour.ts'
import { type ConfigurationFile, readConfigurationFile } from './configuration-file.ts'
import { confirm, requireChanges, requireDecision } from './confirm.ts'
import { connect, withCommonOptions } from './connection.ts'
import type { CommonOptions } from './connection.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { printView } from './output.ts'
import { note, plain, print } from './terminal.ts'

interface ApplyOptions extends CommonOptions {
  readonly prune?: boolean
  readonly dryRun?: boolean
  readonly yes?: boolean
  readonly secrets?: boolean
}

/** Adds the command. */
export function addApplyCommand(program: Command): void {
  withCommonOptions(program.command('apply'))
    .argument('<file>', 'what `muster export` wrote, or - for standard input')
    .description('make the sources of a server be as a file says')
    .option('--dry-run', 'show what would change, and change nothing')
    .option(
      '--prune',
      'remove sources and schemas that the file does not have, with their accounts',
    )
    .option('--secrets', 'write given secrets also where the server keeps one')
    .option('--yes', 'do not ask before sources are removed')
    .addHelpText(
      'after',
      '\nExamples:\n  muster apply muster.yaml --dry-run\n  muster export | muster apply -',
    )
    .action((file: string, options: ApplyOptions) => apply(file, options))
}

async function apply(name: string, options: ApplyOptions): Promise<void> {
  // The whole file is looked at before the server is asked, and the server before anything is changed.
  const file = readConfigurationFile(read(name), name === '-' ? 'The input' : name, process.env)
  const client = connect(options)
  if (options.dryRun !== true) requireChanges(client, 'Applying a configuration')
  const plans = await plan(client, file, options)
  printView(options, { data: plans.map(dataOf), table: () => printPlans(plans) })
  if (plans.length === 0 || options.dryRun === true) return
  const removed = plans.filter(({ kind }) => kind === 'delete').map((one) => `"${plain(one.name)}"`)
  if (removed.length > 0) {
    // Standard input is the file, so that it cannot answer.
    if (name === '-') requireDecision(options.yes === true)
    await confirm(`Remove ${removed.join(', ')} with all accounts?`, options.yes === true)
  }
  await applyAll(client, plans)
}

async function plan(
  client: Client,
  file: ConfigurationFile,
  options: ApplyOptions,
): Promise<readonly SourcePlan[]> {
  const current = await readConfiguration(client)
  const rules = { prune: options.prune === true, secrets: options.secrets === true }
  try {
    const { plans, unlisted } = planConfiguration(current, file.sources, rules)
    if (unlisted.length > 0 && !rules.prune) {
      const names = unlisted.map(({ configuration }) => `"${plain(configuration.name)}"`)
      note(`Not in the file, and left as it is without --prune: ${names.join(', ')}.`)
    }
    return plans
  } catch (error) {
    if (error instanceof ConfigurationError) throw file.fail(error.path, error.message, error.hint)
    throw error
  }
}

async function applyAll(client: Client, plans: readonly SourcePlan[]): Promise<void> {
  const done = { create: 'created', update: 'changed', delete: 'removed' }
  for (const [index, one] of plans.entries()) {
    try {
      await applySource(client, one)
    } catch (error) {
      if (index > 0) note(`${index} of ${plans.length} sources were done before this one.`)
      const reason = error instanceof Error ? error.message : String(error)
      // A new source is taken back, and a removal is all or nothing; a change takes several calls.
      const part = one.kind === 'update' ? ' as a whole; parts of it may be' : ''
      note(`The source "${plain(one.name)}" was not ${done[one.kind]}${part}.`)
      throw new CliError(exitCodes.failed, reason, 'Mend it and apply again: what is done stays.')
    }
    note(`${done[one.kind]}: ${plain(one.name)}`)
  }
}

function read(name: string): string {
  try {
    return readFileSync(name === '-' ? 0 : name, 'utf8')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CliError(exitCodes.usage, `${name} cannot be read: ${reason}`)
  }
}

function printPlans(plans: readonly SourcePlan[]): void {
  if (plans.length === 0) print('No changes.')
  for (const { kind, name, lines, wanted } of plans) {
    if (kind === 'create')
      printLine({ sign: '+', text: `source "${name}" (${wanted?.connector ?? ''})` }, '')
    else if (kind === 'delete')
      printLine({ sign: '-', text: `source "${name}" and its accounts` }, '')
    else printLine({ sign: '~', text: `source "${name}"` }, '')
    for (const line of lines) printLine(line, '    ')
  }
}

function printLine({ sign, text }: PlanLine, indent: string): void {
  const styles: Readonly<Record<PlanLine['sign'], Style>> = {
    '+': 'green',
    '~': 'yellow',
    '-': 'red',
    '!': 'yellow',
  }
  print(`${indent}${paint(process.stdout, styles[sign], sign)} ${plain(text)}`)
}

function dataOf({ kind, name, lines }: SourcePlan): object {
  return { kind, source: name, changes: lines.map(({ sign, text }) => `${sign} ${text}`) }
}
