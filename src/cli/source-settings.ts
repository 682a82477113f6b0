// Settings of a connector from the command line: values as `--set key=value`, secrets from a file or standard input.
import { readFileSync } from 'node:fs'
import { isSecretKey } from '../core/secret-keys.ts'
import { CliError, exitCodes } from './exit-code.ts'

/** Collects an option that may be given several times. */
export function collect(value: string, former: readonly string[]): readonly string[] {
  return [...former, value]
}

/**
 * The settings that `--set` and `--secret` describe. A dot in a key goes into an object: `config.region=eu`. Throws with
 * the code of wrong usage for what cannot be meant.
 */
export function readSettings(
  set: readonly string[],
  secret: readonly string[],
): Record<string, unknown> {
  const settings: Record<string, unknown> = {}
  for (const given of set) {
    const [key, value] = split('--set', given)
    // Other users of a machine can read the command lines of its processes, and shells keep them.
    if (isSecretKey(key)) {
      throw new CliError(
        exitCodes.usage,
        `--set ${key}: a secret does not belong on a command line.`,
        `Use --secret ${key}=<file>, or --secret ${key}=- and send it to standard input.`,
      )
    }
    put(settings, key, jsonOrText(value))
  }
  if (secret.filter((given) => given.endsWith('=-')).length > 1) {
    throw new CliError(exitCodes.usage, 'Only one secret can come from standard input.')
  }
  for (const given of secret) {
    const [key, file] = split('--secret', given)
    put(settings, key, secretOf(key, file))
  }
  return settings
}

function split(option: string, given: string): [key: string, value: string] {
  const at = given.indexOf('=')
  const key = given.slice(0, Math.max(at, 0)).trim()
  if (key !== '') return [key, given.slice(at + 1)]
  const shape = option === '--set' ? 'key=value' : 'key=file'
  throw new CliError(exitCodes.usage, `${option} takes ${shape}, not "${given}".`)
}

/** `500`, `true`, `["a","b"]` and `{…}` are what they are in JSON; everything else is a text. */
function jsonOrText(value: string): unknown {
  try {
    return JSON.parse(value) as unknown
  } catch {
    return value
  }
}

function put(settings: Record<string, unknown>, key: string, value: unknown): void {
  const names = key.split('.')
  if (names.some((name) => name === '' || name === '__proto__' || name === 'constructor')) {
    throw new CliError(exitCodes.usage, `"${key}" is no key of a setting.`)
  }
  let place = settings
  for (const name of names.slice(0, -1)) {
    const inner: unknown = place[name] ?? {}
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) {
      throw new CliError(exitCodes.usage, `"${key}": "${name}" was given another value before.`)
    }
    place[name] = inner
    place = inner as Record<string, unknown>
  }
  place[names.at(-1) ?? key] = value
}

function secretOf(key: string, file: string): string {
  let text: string
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CliError(exitCodes.usage, `--secret ${key}: the file cannot be read: ${reason}.`)
  }
  // Editors and echo end a file with a newline that is no part of the secret.
  const secret = text.replace(/\r?\n$/, '')
  if (secret !== '') return secret
  throw new CliError(exitCodes.usage, `--secret ${key}: there is nothing in it.`)
}
