// Takes the values of a file of configuration apart: each is what it should be, or an error with its place.
import { variablePattern } from './configuration-text.ts'
import type { CliError } from './exit-code.ts'
import type { Place } from './located-yaml.ts'

export type Members = Readonly<Record<string, unknown>>

/** The error of a value, with its line. */
export type Fail = (path: Place, message: string, hint?: string) => CliError

/** Takes values apart and says what is wrong with them. */
export interface Reader {
  readonly fail: Fail
  object(value: unknown, path: Place, keys: readonly string[] | null): Members
  list(value: unknown, path: Place): readonly unknown[]
  text(value: unknown, path: Place): string
  flag(value: unknown, path: Place): boolean
  texts(value: unknown, path: Place): readonly string[]
  /** One of some texts. */
  choice<T extends string>(value: unknown, path: Place, choices: readonly T[]): T
  /** The value with its variables in place. */
  filled(value: unknown, path: Place): unknown
}

/** A reader whose errors are those of `fail`, with the variables of `environment`. */
export function openReader(
  fail: Fail,
  environment: Readonly<Record<string, string | undefined>>,
): Reader {
  const filled = (value: unknown, path: Place): unknown => {
    if (Array.isArray(value)) return value.map((item, index) => filled(item, [...path, index]))
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(
        Object.entries(value).map(([key, item]: [string, unknown]) => [
          key,
          filled(item, [...path, key]),
        ]),
      )
    }
    const match = typeof value === 'string' ? variablePattern.exec(value) : null
    if (match === null) return value
    const [whole, dollars = ''] = match
    if (dollars.length > 1) return whole.slice(1)
    const variable = match[2] ?? match[3] ?? ''
    const found = environment[variable]
    if (found !== undefined && found !== '') return found
    throw fail(
      path,
      `the environment variable ${variable} is not set.`,
      'Set it, or write two dollars for a text that begins with one.',
    )
  }
  const list: Reader['list'] = (value, path) => {
    if (Array.isArray(value)) return value
    throw fail(path, 'must be a list.')
  }
  const text: Reader['text'] = (value, path) => {
    if (typeof value === 'string') return value
    throw fail(path, 'must be a text.', 'Write it in double quotes.')
  }
  return {
    fail,
    filled,
    list,
    text,
    texts: (value, path) => list(value, path).map((one, index) => text(one, [...path, index])),
    choice: (value, path, choices) => {
      const found = choices.find((one) => one === value)
      if (found !== undefined) return found
      const others = choices.slice(0, -1).join(', ')
      throw fail(path, `must be ${others} or ${choices.at(-1) ?? ''}.`)
    },
    object: (value, path, keys) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        throw fail(path, 'must be a mapping of keys to values.')
      }
      const unknown = Object.keys(value).find((key) => keys !== null && !keys.includes(key))
      if (unknown !== undefined) {
        throw fail([...path, unknown], 'is not known here.', `Known are ${keys?.join(', ') ?? ''}.`)
      }
      return value as Members
    },
    flag: (value, path) => {
      if (typeof value === 'boolean') return value
      throw fail(path, 'must be true or false.')
    },
  }
}
