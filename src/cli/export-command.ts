// muster export: the configuration of a server as YAML, for `muster apply`.
import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { readConfiguration } from '../client/index.ts'
import { writeConfiguration } from './configuration-text.ts'
import { connect, withCommonOptions } from './connection.ts'
import type { CommonOptions } from './connection.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { formatOf } from './output.ts'
import { note, plain, printJson } from './terminal.ts'

/** Adds the command. */
export function addExportCommand(program: Command): void {
  withCommonOptions(program.command('export'))
    .argument('[file]', 'where to write it; standard output unless given')
    .description('write sources, settings and schemas as YAML; secrets are masked')
    .addHelpText('after', '\nExample:\n  muster export muster.yaml')
    .action((file: string | undefined, options: CommonOptions) => exportTo(file, options))
}

async function exportTo(file: string | undefined, options: CommonOptions): Promise<void> {
  const current = await readConfiguration(connect(options))
  const sources = current.map(({ configuration }) => configuration)
  if (formatOf(options) === 'json') {
    printJson({ version: 1, sources })
    return
  }
  const text = writeConfiguration(sources)
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
