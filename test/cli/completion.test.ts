import { spawnSync } from 'node:child_process'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { completionScripts, shells } from '../../src/cli/completion-scripts.ts'
import { shellWords } from '../../src/cli/shell-words.ts'
import { openCommandLine } from '../support/command-line.ts'
import type { CommandLine } from '../support/command-line.ts'
import { clientId, clientSecret } from '../support/server-process.ts'

let line: CommandLine
const odd = 'HRX "$(touch pwned)`x`" \'it'

beforeAll(async () => {
  line = await openCommandLine({})
  await writeFile(join(line.folder, 'hr.csv'), 'id,name\n1,Ada\n')
  for (const name of ['HR', 'HR East', odd]) {
    const made = await line.run(['source', 'create', name, '--from', 'hr.csv'])
    expect(made.code).toBe(0)
  }
  await mkdir(join(line.folder, 'bin'))
  await symlink(line.bin, join(line.folder, 'bin', 'muster'))
}, 180_000)
afterAll(() => line.close())

const has = (name: string): boolean => spawnSync(name, ['-c', 'true']).status === 0

/** Runs a script in a shell that finds `muster`. */
function shell(command: string, script: string, env: NodeJS.ProcessEnv = {}) {
  const PATH = `${join(line.folder, 'bin')}:${process.env['PATH']}`
  const ended = spawnSync(command, ['-c', script], {
    cwd: line.folder,
    encoding: 'utf8',
    env: {
      PATH,
      HOME: line.folder,
      SAIL_BASE_URL: line.server.url,
      SAIL_CLIENT_ID: clientId,
      SAIL_CLIENT_SECRET: clientSecret,
      ...env,
    },
  })
  expect(ended.stderr).toBe('')
  return ended.stdout.split('\n').filter((word) => word !== '')
}

const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`

describe('completion', () => {
  it('knows commands, options, values, files, environments and sources, and leaves what is hidden', async () => {
    const words = async (...given: string[]): Promise<string[]> => {
      const { stdout, stderr, code } = await line.run(['__complete', ...given])
      expect([code, stderr]).toEqual([0, ''])
      return stdout
        .trimEnd()
        .split('\n')
        .map((row) => row.split('\t', 1)[0] ?? '')
    }
    expect(await words('')).toEqual(expect.arrayContaining(['aggregate', 'source', 'api', 'env']))
    expect(await words('')).not.toContain('__complete')
    expect(await words('source', 're')).toEqual(['reset-state', ':words'])
    expect(await words('aggregate', '--dis')).toEqual(['--disable-optimization', ':words'])
    expect(await words('run', 'list', '-o', 'y')).toEqual(['yaml', ':words'])
    expect(await words('run', 'list', '--output=c')).toEqual(['--output=csv', ':words'])
    expect(await words('aggregate', 'h')).toEqual([':files'])
    expect(await words('aggregate', '--source', 'hr e')).toEqual(['HR East', ':words'])
    expect(await words('source', 'get', '')).toEqual(['HR', 'HR East', odd, ':words'])
    expect(await words('completion', 'p')).toEqual(['powershell', ':words'])
    expect(await words('nonsense', '')).toEqual(expect.arrayContaining([':words']))
  }, 120_000)

  it('is silent where no server answers and nobody is known', async () => {
    for (const env of [
      { SAIL_BASE_URL: 'http://127.0.0.1:9' },
      { SAIL_CLIENT_SECRET: 'wrong' },
      { SAIL_CLIENT_ID: undefined, SAIL_CLIENT_SECRET: undefined },
    ]) {
      const found = await line.run(['__complete', 'aggregate', '--source', ''], '', env)
      expect(found).toEqual({ code: 0, stdout: ':words\n', stderr: '' })
    }
  })

  it('splits a line of bash as bash does', () => {
    expect(shellWords('muster a "b c" d\\ e \'f"g\'')).toEqual(['muster', 'a', 'b c', 'd e', 'f"g'])
    expect(shellWords('muster --x ')).toEqual(['muster', '--x', ''])
    expect(shellWords('muster "open end')).toEqual(['muster', 'open end'])
    expect(shellWords('')).toEqual([''])
  })

  it.runIf(has('bash'))(
    'works in bash, also with quotes and with names that bash would run',
    () => {
      const reply = (text: string, ...words: string[]): string[] =>
        shell(
          'bash',
          `source <(muster completion bash); COMP_LINE=${quoted(text)}; COMP_POINT=${text.length};
         COMP_WORDS=(${words.map(quoted).join(' ')}); COMP_CWORD=${words.length - 1}
         _muster_complete 2>/dev/null; printf '%s\\n' "\${COMPREPLY[@]}"`,
        )
      expect(reply('muster sou', 'muster', 'sou')).toEqual(['source'])
      const three = ['HR', String.raw`HR\ East`, expect.stringContaining('')]
      expect(reply('muster source get H', 'muster', 'source', 'get', 'H')).toEqual(three)
      const source = ['muster', 'aggregate', '--source']
      expect(reply('muster aggregate --source=H', ...source, '=', 'H')).toEqual(three)
      expect(reply('muster aggregate hr', 'muster', 'aggregate', 'hr')).toEqual(['hr.csv'])
      // What bash would make of the word is the name, and nothing was run.
      for (const open of ['', '"', "'"]) {
        const [, , word = ''] = reply(`muster aggregate --source ${open}H`, ...source, `${open}H`)
        expect(shell('bash', `printf '%s\\n' ${open}${word}${open}`)).toEqual([odd])
      }
      expect(shell('bash', 'ls pwned 2>/dev/null; true')).toEqual([])
    },
    120_000,
  )

  it.runIf(has('fish'))(
    'works in fish',
    () => {
      const reply = (text: string): string[] =>
        shell('fish', `muster completion fish | source; complete -C ${quoted(text)}`).map(
          (word) => word.split('\t', 1)[0] ?? '',
        )
      expect(reply('muster sou')).toEqual(['source'])
      expect(reply('muster aggregate --source H')).toEqual(['HR', 'HR East', odd])
      expect(reply('muster run list -o y')).toEqual(['yaml'])
      expect(reply('muster aggregate h')).toEqual(['hr.csv'])
    },
    120_000,
  )

  it.runIf(has('zsh'))(
    'works in zsh',
    () => {
      // Its editor needs a terminal; what the function is given by the editor is given by hand here.
      const reply = (...words: string[]): string[] =>
        shell(
          'zsh',
          `compdef() { :; }; _files() { print files; }; _describe() { print -rl -- "\${(@P)@[-1]}"; }
         source <(muster completion zsh); words=(${words.map(quoted).join(' ')}); CURRENT=$#words; _muster`,
        )
      expect(reply('muster', 'sou')).toEqual(['source:make, show and delete sources'])
      expect(reply('muster', 'aggregate', '--source', String.raw`HR\ E`)).toEqual(['HR East:'])
      expect(reply('muster', 'aggregate', 'h')).toEqual(['files'])
    },
    120_000,
  )

  it('has a script for PowerShell, which quotes whatever is more than a word', async () => {
    const { stdout, code } = await line.run(['completion', 'powershell'])
    expect(code).toBe(0)
    expect(stdout).toBe(completionScripts.powershell)
    expect(stdout).toMatchInlineSnapshot(`
      "# muster completion for PowerShell: muster completion powershell | Out-String | Invoke-Expression
      Register-ArgumentCompleter -Native -CommandName muster -ScriptBlock {
          param($wordToComplete, $commandAst, $cursorPosition)
          $words = @($commandAst.CommandElements |
              Where-Object { $_.Extent.StartOffset -lt $cursorPosition } |
              ForEach-Object { if ($_ -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $_.Value } else { $_.Extent.Text } })
          $command = $words[0]
          $words = @($words | Select-Object -Skip 1)
          # An empty word in front of the cursor is no element of the line, and PowerShell before 7.3 drops empty arguments.
          if ($wordToComplete -eq '') { $words += '__empty__' }
          foreach ($line in @(& $command __complete @words 2>$null)) {
              if ($line -eq ':files') {
                  [System.Management.Automation.CompletionCompleters]::CompleteFilename($wordToComplete)
                  continue
              }
              if ($line -eq ':words') { continue }
              $word, $meaning = $line -split "\`t", 2
              if (-not $meaning) { $meaning = $word }
              $text = if ($word -match '^[\\w./=-]+$') { $word } else { "'" + $word.Replace("'", "''") + "'" }
              [System.Management.Automation.CompletionResult]::new($text, $word, 'ParameterValue', $meaning)
          }
      }
      "
    `)
  })

  it('has a script for each shell, and says which there are', async () => {
    for (const name of shells) {
      const { stdout, code } = await line.run(['completion', name])
      expect([name, code, stdout.length > 300]).toEqual([name, 0, true])
    }
    const none = await line.run(['completion', 'tcsh'])
    expect(none).toMatchObject({ code: 2, stdout: '' })
    expect(none.stderr).toContain('bash, zsh, fish, powershell')
  })
})
