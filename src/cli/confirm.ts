// Asks before what cannot be undone, where there is somebody to ask.
import { createInterface } from 'node:readline/promises'
import type { Client } from '../client/index.ts'
import { CliError, exitCodes } from './exit-code.ts'

/** Refuses at the beginning what the client would refuse at its first change. `what` begins the sentence. */
export function requireChanges({ readOnly }: Client, what: string): void {
  if (!readOnly) return
  throw new CliError(
    exitCodes.auth,
    `${what} is refused: the environment is read-only.`,
    readOnlyHint,
  )
}

/** What to do about an environment that is read-only. */
export const readOnlyHint =
  '`muster env show` shows it, `muster env set <name> --no-read-only` lifts it.'

/**
 * Throws with the code of wrong usage where somebody sits at the terminal who cannot be asked, because standard input is
 * data, and `yes` was not said. A script without a terminal has decided.
 */
export function requireDecision(yes: boolean): void {
  if (yes || process.stdin.isTTY || !process.stderr.isTTY) return
  throw new CliError(
    exitCodes.usage,
    'Sources would be removed, and nobody can be asked: standard input is the file. Nothing was changed.',
    'Give --yes to remove them, or the name of the file in the place of -.',
  )
}

/**
 * Asks at a terminal, unless `yes`; throws when the answer is not yes. Without a terminal nobody can answer, and whoever
 * wrote the script has decided.
 */
export async function confirm(question: string, yes: boolean): Promise<void> {
  if (yes || !process.stdin.isTTY || !process.stderr.isTTY) return
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  // The end of the input and Ctrl-C close it without an answer, and a question then waits for ever.
  const closed = new Promise<never>((_, reject) => {
    lines.once('close', () => {
      reject(new CliError(exitCodes.interrupted, 'There was no answer; nothing was changed.'))
    })
    lines.once('SIGINT', () => lines.close())
  })
  closed.catch(() => {})
  const answer = await Promise.race([lines.question(`${question} [y/N] `), closed]).catch(
    (error: unknown) => {
      // What is said next does not belong behind the question.
      process.stderr.write('\n')
      throw error
    },
  )
  lines.close()
  if (!/^y(?:es)?$/i.test(answer.trim())) {
    throw new CliError(exitCodes.usage, 'Nothing was changed.')
  }
}
