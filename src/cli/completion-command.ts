// muster completion bash|zsh|fish|powershell, and the hidden command that the scripts ask.
import { Argument } from 'commander'
import type { Command } from 'commander'
import { complete } from './complete.ts'
import { completionScripts, shells } from './completion-scripts.ts'
import type { Shell } from './completion-scripts.ts'
import { shellWords } from './shell-words.ts'
import { plain, print } from './terminal.ts'

/** Adds the commands. */
export function addCompletionCommands(program: Command): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>', 'the shell').choices([...shells]))
    .description(
      'print a script that makes a shell complete commands, options and names of sources',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  source <(muster completion bash)                        # in ~/.bashrc\n' +
        '  source <(muster completion zsh)                         # in ~/.zshrc, after compinit\n' +
        '  muster completion fish > ~/.config/fish/completions/muster.fish\n' +
        '  muster completion powershell | Out-String | Invoke-Expression   # in $PROFILE',
    )
    .action((shell: Shell) => {
      process.stdout.write(completionScripts[shell])
    })
  program
    .command('__complete', { hidden: true })
    .argument('[words...]')
    .allowUnknownOption()
    .helpOption(false)
    .action((words: readonly string[]) => suggest(program, words))
}

async function suggest(program: Command, given: readonly string[]): Promise<void> {
  const [first, line = ''] = given
  const words =
    first === '--line'
      ? shellWords(line).slice(1)
      : given.map((word) => (word === '__empty__' ? '' : word))
  const found = await complete(program, words).catch(() => ({ words: [], files: false }))
  for (const { word, meaning } of found.words) {
    print(`${plain(word)}\t${plain(meaning.split('\n', 1)[0] ?? '')}`)
  }
  print(found.files ? ':files' : ':words')
}
