// What may come next on a command line: commands, options, their values, and the names of sources and environments.
import type { Argument, Command, Option } from 'commander'
import { connect } from './connection.ts'
import { readEnvironments } from './environments.ts'
import { allSources } from './find-source.ts'

/** A word that may come next, and what it means. */
export interface Suggestion {
  readonly word: string
  readonly meaning: string
}

/** What a shell shows. Where `files` is true it adds the names of files. */
export interface Suggestions {
  readonly words: readonly Suggestion[]
  readonly files: boolean
}

const patienceMs = 2_000
const files: Suggestions = { words: [], files: true }
const nothing: Suggestions = { words: [], files: false }

/** Suggestions for the last of these words, which may be empty; the words before it are complete. */
export async function complete(root: Command, words: readonly string[]): Promise<Suggestions> {
  const current = words.at(-1) ?? ''
  const { command, values, open, options } = walk(root, words.slice(0, -1))
  if (open !== null) return begins(await valuesOf(open, options), current)
  const joined = /^(--[a-z-]+)=(.*)$/s.exec(current)
  if (joined !== null) return joinedValues(command, joined, options)
  if (current.startsWith('-')) {
    return begins({ words: command.options.flatMap(spellings), files: false }, current)
  }
  const subcommands = command.commands
    .filter((one) => !isHidden(one))
    .map((one) => ({ word: one.name(), meaning: one.description() }))
  if (subcommands.length > 0) return begins({ words: subcommands, files: false }, current)
  const expected = command.registeredArguments
  const argument = expected[values] ?? (expected.at(-1)?.variadic === true ? expected.at(-1) : null)
  if (argument === null || argument === undefined) return nothing
  return begins(await valuesOf(argument, options), current)
}

interface Place {
  readonly command: Command
  /** How many arguments the command has already. */
  readonly values: number
  /** The option that waits for its value; null where none does. */
  readonly open: Option | null
  /** The values of options that were given before, by their long names: they tell which server to ask. */
  readonly options: ReadonlyMap<string, string>
}

/** Goes through the words that are complete. */
function walk(root: Command, words: readonly string[]): Place {
  let command = root
  let values = 0
  let open: Option | null = null
  let isOver = false
  const options = new Map<string, string>()
  for (const word of words) {
    if (open !== null) {
      options.set(open.long ?? '', word)
      open = null
    } else if (!isOver && word === '--') isOver = true
    else if (!isOver && word.startsWith('-')) {
      const [name = '', value] = word.split(/=(.*)/s)
      const option = command.options.find((one) => one.long === name || one.short === name)
      if (value !== undefined) options.set(name, value)
      else if (option !== undefined && takesValue(option)) open = option
    } else {
      const next = command.commands.find((one) => one.name() === word)
      if (next === undefined) values += 1
      else command = next
    }
  }
  return { command, values, open, options }
}

async function joinedValues(
  command: Command,
  [, name = '', begin = '']: RegExpExecArray,
  options: ReadonlyMap<string, string>,
): Promise<Suggestions> {
  const option = command.options.find((one) => one.long === name)
  if (option === undefined || !takesValue(option)) return nothing
  const found = begins(await valuesOf(option, options), begin)
  return {
    files: found.files,
    words: found.words.map(({ word, meaning }) => ({ word: `${name}=${word}`, meaning })),
  }
}

function takesValue(option: Option): boolean {
  return option.required || option.optional
}

function spellings(option: Option): readonly Suggestion[] {
  if (option.hidden || option.long === undefined || option.long === null) return []
  return [{ word: option.long, meaning: option.description }]
}

/** What the values of an option or an argument are, which its placeholder tells: `<source>`, `<file>`. */
async function valuesOf(
  of: Option | Argument,
  options: ReadonlyMap<string, string>,
): Promise<Suggestions> {
  const { argChoices, description } = of
  if (argChoices !== undefined) {
    return { words: argChoices.map((word) => ({ word, meaning: description })), files: false }
  }
  const kind = 'flags' in of ? (/<([^>.]+)/.exec(of.flags)?.[1] ?? '') : of.name()
  const isEnvironment = kind === 'environment' || ('flags' in of && of.long === '--env')
  if (isEnvironment) return { words: environmentNames(), files: false }
  if (kind === 'source') return { words: await sourceNames(options), files: false }
  return kind.includes('file') || kind.includes('folder') ? files : nothing
}

function environmentNames(): readonly Suggestion[] {
  try {
    return readEnvironments().all.map(({ name, baseUrl }) => ({
      word: name,
      meaning: baseUrl ?? '',
    }))
  } catch {
    return []
  }
}

/** Asks the server, as long as somebody waits who has just pressed a key; none where it does not answer. */
async function sourceNames(options: ReadonlyMap<string, string>): Promise<readonly Suggestion[]> {
  try {
    const given = (name: string): string | undefined => options.get(name)
    const [env, url, clientId] = ['--env', '--url', '--client-id'].map(given)
    const [clientSecretFile, caFile] = ['--client-secret-file', '--ca-file'].map(given)
    const client = connect(
      {
        ...(env !== undefined && { env }),
        ...(url !== undefined && { url }),
        ...(clientId !== undefined && { clientId }),
        ...(clientSecretFile !== undefined && { clientSecretFile }),
        ...(caFile !== undefined && { caFile }),
      },
      { attempts: 1, callTimeoutMs: patienceMs, onWait: () => {} },
    )
    const sources = await allSources(client)
    return sources.map(({ name, description }) => ({ word: name, meaning: description ?? '' }))
  } catch {
    return []
  }
}

function begins({ words, files: withFiles }: Suggestions, current: string): Suggestions {
  const wanted = current.toLowerCase()
  const found = words.filter(({ word }) => word.toLowerCase().startsWith(wanted))
  return { words: found, files: withFiles }
}

function isHidden(command: Command): boolean {
  return command.name().startsWith('__') || command.name() === 'help'
}
