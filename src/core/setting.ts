// Reads the settings of a connector (`connectorAttributes`) into types; a value that cannot be used is an error that names its key.
import { RunError } from './errors.ts'

/** Settings as they are kept; those of readers with their secrets in place. */
export type Settings = Readonly<Record<string, unknown>>

/** The error of a setting: `reason` completes the sentence "The setting connectorAttributes.<key> …". */
export function settingError(key: string, reason: string, hint: string): RunError {
  return new RunError('bad_setting', `The setting connectorAttributes.${key} ${reason}.`, { hint })
}

/** A text; null when it is absent or empty. */
export function readText(given: Settings, key: string): string | null {
  const value = given[key]
  if (value === undefined || value === null || value === '') return null
  if (typeof value === 'string') return value
  throw settingError(key, 'is not a text', 'Write it as a text.')
}

/** A text that must be there. `example` is shown in the hint. */
export function requireText(given: Settings, key: string, example: string): string {
  const value = readText(given, key)
  if (value !== null) return value
  throw settingError(key, 'is missing', `Set it, for example to ${example}.`)
}

/** true or false, also as text. */
export function readFlag(given: Settings, key: string, fallback: boolean): boolean {
  const value = given[key]
  if (value === undefined || value === null || value === '') return fallback
  if (value === true || value === 'true') return true
  if (value === false || value === 'false') return false
  throw settingError(key, 'is neither true nor false', 'Write true or false.')
}

/** A whole number from `least` to `most`, also as text. */
export function readInteger(
  given: Settings,
  key: string,
  fallback: number,
  least: number,
  most: number,
): number {
  const value = given[key]
  if (value === undefined || value === null || value === '') return fallback
  const number = typeof value === 'number' || typeof value === 'string' ? Number(value) : Number.NaN
  if (Number.isInteger(number) && number >= least && number <= most) return number
  throw settingError(
    key,
    `is not a whole number from ${least} to ${most}`,
    `Set a number in that range, or remove it for ${fallback}.`,
  )
}

/** A list of texts; one text with commas is taken apart unless `whole` says that commas belong to its values. */
export function readList(given: Settings, key: string, whole = false): readonly string[] {
  const value = given[key]
  if (value === undefined || value === null || value === '') return []
  if (typeof value === 'string') {
    return whole ? [value] : value.split(',').map((name) => name.trim())
  }
  if (Array.isArray(value) && value.every((name) => typeof name === 'string')) return value
  throw settingError(key, 'is not a list of texts', 'Write it as a list of texts.')
}

/** One of a few words. */
export function readChoice<T extends string>(
  given: Settings,
  key: string,
  choices: readonly T[],
  fallback: T,
): T {
  const value = readText(given, key) ?? fallback
  const chosen = choices.find((choice) => choice === value)
  if (chosen !== undefined) return chosen
  throw settingError(key, `is "${value}"`, `Set one of ${choices.join(', ')}.`)
}
