// muster export: the configuration of a server as YAML or JSON, for `muster apply`.
import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { readConfiguration } from '../client/index.ts'
import { configurationValue, writeConfiguration } from './configuration-text.ts'
import { connect, withCommonOptions } from './connection.ts'
import type { CommonOptions } from './connection.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { formatOf } from './output.ts'
import { jsonText, note, plain } from './terminal.ts'

/** Adds the command. */
export function addExportCommand(program: Command): void {
  withCommonOptions(program.command('export'))
    .argument('[file]', 'where to write it; standard output unless given')
    .description('write sources, settings and schemas as YAML or JSON; secrets are masked')
    .addHelpText('after', '\nExample:\n  muster export muster.yaml')
    .action((file: string | undefined, options: CommonOptions) => exportTo(file, options))
}

async function exportTo(file: string | undefined, options: CommonOptions): Promise<void> {
  const format = formatOf(options)
  // Without -o the form is that of the file. Lines of CSV and tables could not be applied.
  if (format === 'csv' || options.output === 'table') {
    throw new CliError(
      exitCodes.usage,
      `A configuration cannot be written with -o ${format}.`,
      'Use -o yaml, which it is unless told otherwise, or -o json.',
    )
  }
  const current = await readConfiguration(connect(options))
  const sources = current.map(({ configuration }) => configuration)
  const text =
    format === 'json' ? `${jsonText(configurationValue(sources))}\n` : writeConfiguration(sources)
  if (file === undefined || file === '-') {
    process.stdout.write(text)
    return
  }
  try {
    await writeFile(file, text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CliError(exitCodes.failed, `${file} cannot be written: ${reason}`)
  }
  note(`${sources.length === 1 ? '1 source' : `${sources.length} sources`} in ${plain(file)}.`)
}
