// The log: one JSON line an event, without credentials and without the values of accounts.
import { pino } from 'pino'
import type { DestinationStream, Logger } from 'pino'

export type { Logger } from 'pino'

/** Query parameters whose values say nothing about a person and open nothing; all others are redacted. */
const harmlessParameters = new Set([
  'limit',
  'offset',
  'count',
  'sorters',
  'detailLevel',
  'defaultFilter',
  'grant_type',
  'provisionAsCsv',
  'disableOptimization',
  'include-types',
  'include-names',
  'includeIDNSource',
  'pageSize',
  'kind',
  'action',
])

const longestUrl = 1_000

/** Opens the log at `level`; it writes to standard output unless a `destination` is given. */
export function openLog(level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    // Fastify would log a request with its whole URL, and that may carry a client secret.
    serializers: {
      req: () => undefined,
      res: () => undefined,
      err: describeError,
      error: describeError,
    },
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}

/** A destination for people at a terminal: one short line an event. */
export function plainLines(write = (line: string) => void process.stdout.write(line)): {
  write(line: string): void
} {
  return { write: (line) => write(plainLine(line)) }
}

function plainLine(line: string): string {
  const event = JSON.parse(line) as Record<string, unknown>
  const { level, time, msg, err, error, ...rest } = event
  const fault = err ?? error
  const fields = Object.entries(rest).map(([name, value]) => ` ${name}=${shown(value)}`)
  const label = typeof level === 'number' ? (pino.levels.labels[level] ?? '') : ''
  const stack = fault === undefined ? '' : `\n  ${printable(JSON.stringify(fault))}`
  return `${shown(time).slice(11, 19)} ${label.padEnd(5)} ${shown(msg)}${fields.join('')}${stack}\n`
}

function shown(value: unknown): string {
  return printable(typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))
}

/** A name that was made to move the cursor or to fake a line of the log shows its bytes instead. */
function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  )
}

/**
 * A URL fit for the log. Filters hold values of accounts and the query of a token request holds a secret, so only the
 * values of a list of harmless parameters stay; an unknown parameter is never trusted. Of the path stay words and ids;
 * an address or a DN that somebody took for an id does not.
 */
export function redactUrl(url: string): string {
  const cut = url.length > longestUrl ? `${url.slice(0, longestUrl)}…` : url
  const mark = cut.indexOf('?')
  const path = redactPath(mark === -1 ? cut : cut.slice(0, mark))
  if (mark === -1) return path
  const query = cut
    .slice(mark + 1)
    .split('&')
    .map((pair) => {
      const equals = pair.indexOf('=')
      if (equals === -1) return harmlessParameters.has(pair) ? pair : '[redacted]'
      const name = pair.slice(0, equals)
      return harmlessParameters.has(name) ? pair : `${name}=[redacted]`
    })
  return `${path}?${query.join('&')}`
}

function redactPath(path: string): string {
  const isPlain = (segment: string): boolean => /^[\w.~-]*…?$/.test(segment)
  return path
    .split('/')
    .map((segment) => (isPlain(segment) ? segment : '[redacted]'))
    .join('/')
}

/**
 * What the log says of an error. An error of PostgreSQL carries rows in `detail` and `where`, and its message quotes
 * values for the class of data exceptions (22), so only its code and the names it speaks of are kept then.
 */
export function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { type: typeof error }
  const code = textOf(error, 'code')
  const quotesValues = code !== undefined && /^2[23][0-9A-Z]{3}$/.test(code)
  const frames = (error.stack ?? '')
    .split('\n')
    .filter((line) => line.startsWith('    at '))
    .join('\n')
  return {
    type: error.name,
    message: quotesValues ? 'A value was refused by the database.' : error.message,
    ...(code === undefined ? {} : { code }),
    ...named(error, 'table'),
    ...named(error, 'constraint'),
    ...named(error, 'routine'),
    stack: frames,
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  }
}

function named(error: Error, key: string): Record<string, string> {
  const value = textOf(error, key)
  return value === undefined ? {} : { [key]: value }
}

function textOf(error: Error, key: string): string | undefined {
  const value: unknown = Reflect.get(error, key)
  return typeof value === 'string' ? value : undefined
}
