// What went wrong in a connector, in one line that a person can act on and that holds no secret.
import { RunError } from '../core/errors.ts'
import { isSecretKey } from '../core/secret-keys.ts'

/** More of an error than this is not looked at. */
export const complaintLimit = 4096

/** What is shown of a connector's own words. */
const shownLength = 300

/** The error that a connector's own words mean. `kind` is the first word of the SDK: `generic`, `notFound`. */
export function connectorError(
  kind: string,
  words: string,
  config: Readonly<Record<string, unknown>>,
): RunError {
  const said = withoutSecrets(oneLine(words), secretsOf(config))
  if (kind === 'notFound') {
    return new RunError('connector_not_found', `The connector found nothing: ${said}`, {
      hint: 'Look whether the account is still there.',
    })
  }
  if (said.startsWith('unsupported command')) {
    return new RunError('connector_unsupported', `The connector has no such command: ${said}`, {
      hint: 'Use a connector that has this command, or do without what needs it.',
    })
  }
  return new RunError('connector_failed', `The connector failed: ${said}`, {
    hint: 'Look at the settings in connectorAttributes.config and at the system that the connector reads.',
  })
}

/** The error that text in the place of a JSON line means: what the official runner writes, a page of HTML, anything. */
export function textError(text: string, config: Readonly<Record<string, unknown>>): RunError {
  return officialError(text, config) ?? strangeError(text, config)
}

/** The error that the body of an answer means that is not 200: the reason of the connector, in whatever words. */
export function bodyError(text: string, config: Readonly<Record<string, unknown>>): RunError {
  return officialError(text, config) ?? connectorError('generic', text, config)
}

function strangeError(text: string, config: Readonly<Record<string, unknown>>): RunError {
  if (/^\s*<(!doctype|html)/i.test(text)) {
    return new RunError('connector_failed', 'A page of HTML came instead of lines of JSON.', {
      hint: 'Look at connectorAttributes.url: something else answers there, such as a proxy or a login page.',
    })
  }
  return connectorError('generic', `it sent something that is no line of JSON: ${text}`, config)
}

/** The official runner writes "<type> error: ", a line break, " + " and the error as Node shows it. */
function officialError(text: string, config: Readonly<Record<string, unknown>>): RunError | null {
  const official = /^\s*([A-Za-z]\w{0,40}) error:\s*(?:\+\s*)?([^\n]*)/.exec(text)
  return official === null ? null : connectorError(official[1] ?? '', official[2] ?? '', config)
}

/** The first line, without the name of the class and whatever a terminal would act on. */
function oneLine(words: string): string {
  const line = words.slice(0, complaintLimit).trim().split(/\r?\n/, 1)[0] ?? ''
  const plain = line
    .replaceAll(/\p{Cc}/gu, ' ')
    .replace(/^(\w*Error)(?: \[\w+\])?: /, '')
    .replace(/ \{$/, '')
  if (plain === '') return 'it gave no reason.'
  if (plain.length > shownLength) return `${plain.slice(0, shownLength)}…`
  return /[.!?…]$/.test(plain) ? plain : `${plain}.`
}

function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets.reduce((shown, secret) => shown.replaceAll(secret, '******'), text)
}

/** The texts under keys of secrets; the longest first, or a part of one would spoil the search for the whole. */
function secretsOf(config: Readonly<Record<string, unknown>>): readonly string[] {
  const found: string[] = []
  const open: { readonly value: unknown; readonly secret: boolean }[] = [
    { value: config, secret: false },
  ]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, secret } = next
    if (typeof value === 'string') {
      if (secret && value !== '') found.push(value)
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, inner] of Object.entries(value)) {
        open.push({ value: inner, secret: secret || isSecretKey(key) })
      }
    }
  }
  return found.toSorted((a, b) => b.length - a.length)
}

/** The error of a limit that the connector went over. */
export function limitError(reason: string, hint: string): RunError {
  return new RunError('connector_limit', `The connector ${reason}.`, { hint })
}

/** The error of a connector that gave no sign of life. */
export function silenceError(silenceMs: number): RunError {
  return new RunError('connector_silent', `The connector sent nothing for ${silenceMs / 1000} s.`, {
    hint: 'A connector that needs longer calls res.keepAlive(); or set connectorAttributes.silenceSeconds.',
    temporary: true,
  })
}

/** The error of an answer that cannot be what the protocol says. */
export function recordError(reason: string): RunError {
  return new RunError('connector_record_bad', `The connector ${reason}.`, {
    hint: 'Nothing was changed. This is a fault of the connector; tell its makers.',
  })
}
