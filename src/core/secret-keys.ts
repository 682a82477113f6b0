// Secrets in the settings of a connector: which keys hold them, and how they are taken out and shown as a mask.
import { RequestError } from './errors.ts'

/** What stands for a secret in everything that is read. Sent back, it means: keep the secret as it is. */
export const secretMask = '******'

/** Settings without their secrets. Paths name the place of a secret: its keys, escaped and joined with `/`. */
export interface SplitSettings {
  /** The settings with the mask in the place of each secret. */
  readonly masked: Readonly<Record<string, unknown>>
  /** New secrets by path. */
  readonly given: ReadonlyMap<string, string>
  /** Paths at which the mask was sent. */
  readonly kept: ReadonlySet<string>
}

const secretWords =
  /(password|passphrase|passwd|pwd|secret|token|credential|authorization|(api|private|access|shared|signing|encryption|account|subscription|tls|client)key)s?$/

/** Whether a key names a secret: `password`, `bindPassword`, `clientSecret`, `api_key`; not `tokenUrl`. */
export function isSecretKey(key: string): boolean {
  // Keys with a prefix, such as group.password, are judged by their last part.
  return secretWords.test(key.toLowerCase().replaceAll(/[_.-]/g, ''))
}

/** Takes the secrets out of settings, at any depth. Throws `bad_request` for a secret that is no text or hides in a URL. */
export function splitSecrets(settings: Readonly<Record<string, unknown>>): SplitSettings {
  const given = new Map<string, string>()
  const kept = new Set<string>()
  const walk = (value: unknown, path: readonly string[], secret: boolean): unknown => {
    if (Array.isArray(value)) {
      return value.map((item: unknown, index) => walk(item, [...path, String(index)], secret))
    }
    if (typeof value === 'object' && value !== null) {
      const entries = Object.entries(value).map(
        ([key, item]: [string, unknown]) =>
          [key, walk(item, [...path, key], secret || isSecretKey(key))] as const,
      )
      return Object.fromEntries(entries)
    }
    if (typeof value === 'string') {
      refusePasswordInUrl(value, path)
      if (!secret || value === '') return value
      const place = path.map(encodeURIComponent).join('/')
      if (value === secretMask) kept.add(place)
      else given.set(place, value)
      return secretMask
    }
    if (secret && typeof value === 'number') {
      throw new RequestError(
        'bad_request',
        `connectorAttributes.${path.join('.')} holds a secret and must be text.`,
        { hint: 'Write it in double quotes.' },
      )
    }
    return value
  }
  const masked = Object.fromEntries(
    Object.entries(settings).map(([key, value]) => [key, walk(value, [key], isSecretKey(key))]),
  )
  return { masked, given, kept }
}

/** A password inside a URL would be stored and shown in the clear. */
function refusePasswordInUrl(value: string, path: readonly string[]): void {
  // Only the beginning is looked at: the pattern is quadratic in the number of colons.
  const head = value.slice(0, 2_048)
  const inAuthority = /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s]*:[^/?#@\s]+@/i.test(head)
  if (!inAuthority && !hasSecretInQuery(head)) return
  throw new RequestError(
    'bad_request',
    `connectorAttributes.${path.join('.')} holds a password in its URL.`,
    { hint: 'Leave the password out of the URL and give it as the key "password".' },
  )
}

/** `postgres://host/db?password=…`: drivers take it from there too. */
function hasSecretInQuery(url: string): boolean {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(url)) return false
  const query = url.split('#', 1)[0]?.split('?').slice(1).join('?') ?? ''
  return query.split('&').some((pair) => {
    const [key = '', value = ''] = pair.split('=', 2)
    return value !== '' && isSecretKey(key)
  })
}
