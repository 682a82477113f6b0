// Turns whatever a connector throws into a RunError, without the secrets of its settings.
import { RunError } from '../core/errors.ts'
import { isSecretKey, secretMask } from '../core/secret-keys.ts'
import type { Settings } from '../core/setting.ts'

/** Errors of sockets and names: the network is at fault, and it may be back later. */
const networkCodes: ReadonlySet<string> = new Set([
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
])

/**
 * The error of a connector as a `RunError`. Packages of others have a RunError of their own, or throw any error with
 * `code`, `hint` and `temporary`: such an error is taken at its word. Of any other nobody knows whether a later attempt
 * does better, so it is not temporary, but for the errors of the network.
 */
export function connectorError(error: unknown, settings: Settings): RunError {
  if (error instanceof RunError) return error
  const message = hideSecrets(error instanceof Error ? error.message : String(error), settings)
  const code = textOf(error, 'code')
  const hint = textOf(error, 'hint')
  if (code !== null && hint !== null && /^[a-z][a-z0-9_]{0,62}$/.test(code)) {
    const temporary = Reflect.get(error as object, 'temporary') === true
    return new RunError(code, message, {
      hint: hideSecrets(hint, settings),
      temporary,
      cause: error,
    })
  }
  return new RunError('connector_failed', `The connector failed: ${message}`, {
    hint: 'Look in the log for the error as it was. If it repeats, tell the maker of the connector.',
    temporary: networkCodes.has(code ?? ''),
    cause: error,
  })
}

function textOf(error: unknown, name: string): string | null {
  if (typeof error !== 'object' || error === null) return null
  const value: unknown = Reflect.get(error, name)
  return typeof value === 'string' ? value : null
}

/** The same text with the mask in the place of every secret of the settings: drivers put connection strings into messages. */
export function hideSecrets(text: string, settings: Settings): string {
  let hidden = text
  const walk = (value: unknown, secret: boolean): void => {
    if (typeof value === 'string') {
      // What is so short is a word of any message.
      if (secret && value.length >= 4) hidden = hidden.replaceAll(value, secretMask)
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, inner] of Object.entries(value)) walk(inner, secret || isSecretKey(key))
    }
  }
  walk(settings, false)
  return hidden
}
