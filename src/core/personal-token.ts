// What a personal access token may be: how many, how long, until when (contract.md section 2.13).
import { everyScope } from './access.ts'
import { RequestError } from './errors.ts'

/** How many tokens a person may have that are not deleted. */
export const mostTokens = 10
/** How long an access token may be good, in seconds; the longest is the default. */
export const tokenSecondsRange = { least: 15, most: 43_200 } as const

/** Until when a token is to be good, as a client says it. */
export interface GivenExpiry {
  readonly expirationDate?: string | null | undefined
  readonly userAwareTokenNeverExpires?: boolean | null | undefined
}

/** Until when a token is good: an instant, or null for ever, which somebody must have said to know. */
export interface Expiry {
  readonly expires: string | null
  readonly mayNeverExpire: boolean
}

/**
 * The end of a token. `presetMonths` is when it ends if nothing is said; null demands that something is said. Throws
 * `bad_request` for an end that is no instant or not ahead of `now`, and for a token without an end that nobody stands
 * for.
 */
export function tokenExpiry(given: GivenExpiry, now: Date, presetMonths: number | null): Expiry {
  const aware = given.userAwareTokenNeverExpires ?? null
  const text = given.expirationDate ?? ''
  if (text !== '') {
    const expires = instant(text)
    if (expires.getTime() <= now.getTime()) {
      throw new RequestError('bad_request', 'The expirationDate is not in the future.')
    }
    return { expires: expires.toISOString(), mayNeverExpire: aware ?? false }
  }
  if (aware === true) return { expires: null, mayNeverExpire: true }
  if (aware === null && presetMonths !== null) {
    const expires = new Date(now)
    expires.setUTCMonth(expires.getUTCMonth() + presetMonths)
    return { expires: expires.toISOString(), mayNeverExpire: false }
  }
  throw new RequestError('bad_request', 'The token would never expire.', {
    hint: 'Give an expirationDate, or say userAwareTokenNeverExpires: true.',
  })
}

/** Throws `forbidden` when a token would be good for longer than the one it is made or changed through. */
export function checkOutlives(expires: string | null, ofCaller: string | null): void {
  if (ofCaller === null) return
  if (expires !== null && Date.parse(expires) <= Date.parse(ofCaller)) return
  throw new RequestError(
    'forbidden',
    `The token would outlive the one that it is made with, which ends at ${ofCaller}.`,
    { hint: 'Give an expirationDate that is not later, or use a client that does not end.' },
  )
}

/** The scopes of a new client: those that are wanted, all when none are named. Nobody hands out what they do not hold. */
export function grantedScopes(
  held: readonly string[],
  wanted: readonly string[] | null,
): readonly string[] {
  const scopes = [...new Set(wanted ?? [everyScope])]
  if (held.includes(everyScope)) return scopes
  const missing = scopes.filter((scope) => !held.includes(scope))
  if (missing.length === 0) return scopes
  throw new RequestError(
    'forbidden',
    `The scopes ${missing.join(', ')} are beyond those of the calling client.`,
    { hint: 'Name only scopes that the calling client holds.' },
  )
}

function instant(text: string): Date {
  const date = new Date(text)
  const isWhole = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})$/i.test(
    text,
  )
  const day = new Date(`${text.slice(0, 10)}T00:00:00Z`)
  // Date takes 30 February for 2 March; a year of five digits is more than anybody stores.
  const exists = !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text.slice(0, 10))
  if (isWhole && exists && date.getUTCFullYear() <= 9999) return date
  throw new RequestError(
    'bad_request',
    `The expirationDate "${text.slice(0, 40)}" is no instant of ISO 8601.`,
    { hint: 'Write it like 2027-01-31T12:00:00Z.' },
  )
}
