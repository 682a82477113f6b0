// The command `muster`: its commands, its errors and its exit code.
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { ApiError, ConnectionError, ReadOnlyError, WaitTimeout } from '../client/index.ts'
import { addAccountCommands } from './account-command.ts'
import { addAggregateCommand } from './aggregate-command.ts'
import { addApiCommands } from './api-command.ts'
import { addApplyCommand } from './apply-command.ts'
import { addBackupCommands } from './backup-command.ts'
import { paint } from './colour.ts'
import { readOnlyHint } from './confirm.ts'
import { addCompletionCommands } from './completion-command.ts'
import { addDoctorCommand } from './doctor-command.ts'
import { addEnvCommands } from './env-command.ts'
import { addExportCommand } from './export-command.ts'
import { exitCodeOf, exitCodes } from './exit-code.ts'
import { goesOn } from './follow-task.ts'
import { helpLayout } from './help-text.ts'
import { addRunCommands } from './run-command.ts'
import { addServerCommands } from './server-command.ts'
import { addSourceCommands } from './source-command.ts'
import { addTaskCommands } from './task-command.ts'
import { note, plain } from './terminal.ts'
import { addTokenCommands } from './token-command.ts'

/** Runs one command line; the process then ends by itself with the exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  // A reader that has seen enough, such as `head`, closes our output: that is no error.
  process.stdout.on('error', (error: Error & { code?: string }) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.ok)
    throw error
  })
  try {
    await program().parseAsync([...argv])
  } catch (error) {
    process.exitCode = fail(error)
  }
}

/** The command with all its commands and options. */
export function program(): Command {
  const root = new Command('muster')
    .description(
      'Collect accounts from sources: plan what changed, guard it, apply it in one step.',
    )
    .version(ownVersion())
    .showHelpAfterError('Run the command with --help to see its options.')
    .addHelpText(
      'after',
      '\nEnvironment: SAIL_BASE_URL, SAIL_CLIENT_ID, SAIL_CLIENT_SECRET (or SAIL_CLIENT_SECRET_FILE, or SAIL_ACCESS_TOKEN); else the environments of `muster env`.' +
        '\nData goes to standard output, everything else to standard error.' +
        '\nExit codes: 0 ok, 1 failed, 2 usage, 3 not allowed, 4 not found, 5 stopped by a guard, 6 timed out, 130 interrupted.' +
        '\n\nExamples:\n  muster serve\n  muster source create HR --from hr.csv\n  muster aggregate hr.csv --source HR',
    )
    .configureHelp(helpLayout)
    .exitOverride()
  addServerCommands(root)
  addBackupCommands(root)
  addSourceCommands(root)
  addAggregateCommand(root)
  addTaskCommands(root)
  addRunCommands(root)
  addExportCommand(root)
  addApplyCommand(root)
  addAccountCommands(root)
  addTokenCommands(root)
  addEnvCommands(root)
  addApiCommands(root)
  addDoctorCommand(root)
  addCompletionCommands(root)
  return root
}

function fail(error: unknown): number {
  if (error instanceof CommanderError) {
    // Commander has printed what it has to say; asking for help is no error.
    return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  }
  const message = error instanceof Error ? error.message : String(error)
  note(`${paint(process.stderr, 'red', 'muster:')} ${plain(message)}`)
  const hint = hintOf(error)
  if (hint !== null) note(`        ${plain(hint)}`)
  return exitCodeOf(error)
}

function hintOf(error: unknown): string | null {
  if (error instanceof WaitTimeout) return goesOn(error.taskId)
  if (error instanceof ReadOnlyError) return readOnlyHint
  if (error instanceof ConnectionError) return '`muster doctor` looks at what is wrong.'
  if (error instanceof ApiError) {
    if (error.status === 401)
      return 'Check SAIL_CLIENT_ID and SAIL_CLIENT_SECRET; `muster doctor` looks at them.'
    if (error.trackingId !== null && error.status >= 500) return `Tracking id ${error.trackingId}.`
    return null
  }
  // The errors of the server say what to do in a field of their own.
  const hint: unknown = error instanceof Error ? Reflect.get(error, 'hint') : null
  return typeof hint === 'string' ? hint : null
}

function ownVersion(): string {
  // The file stands at the root of the package, two above both src/cli/ and dist/cli/.
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  const { version } = JSON.parse(text) as { version: string }
  return version
}
