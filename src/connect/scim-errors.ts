// What goes wrong with a SCIM server, in words that name the reason and what to do.
import { RunError } from '../core/errors.ts'
import { isJsonObject, lookUp, parseJson } from './scim-json.ts'

/** An error whose answer said how long to wait. */
export class ScimBusy extends RunError {
  readonly retryAfterMs: number | null

  constructor(code: string, message: string, hint: string, retryAfterMs: number | null) {
    super(code, message, { hint, temporary: true })
    this.retryAfterMs = retryAfterMs
  }
}

/** An answer that refused the request (4xx). */
export class ScimRefused extends RunError {
  readonly status: number
  /** The `scimType` of the error (RFC 7644, section 3.12); null when there is none. */
  readonly scimType: string | null

  constructor(code: string, message: string, hint: string, given: RefusedAnswer) {
    super(code, message, { hint })
    this.status = given.status
    this.scimType = given.scimType
  }
}

interface RefusedAnswer {
  readonly status: number
  readonly scimType: string | null
}

/** What an error answer says. */
export interface ErrorAnswer {
  /** Method and address without its query. */
  readonly place: string
  readonly status: number
  readonly body: string
  readonly retryAfterMs: number | null
  /** Texts that must not be shown. */
  readonly secrets: readonly string[]
}

/** The error of an answer with a status of 400 or more. */
export function errorOfAnswer(answer: ErrorAnswer): RunError {
  const { place, status, secrets } = answer
  const parsed = parseJson(answer.body)
  const detail = readDetail(parsed, secrets)
  const said = `${place} answered ${status}${detail === null ? '' : `: ${detail}`}.`
  if (status === 429) {
    const hint =
      'Wait, or lower connectorAttributes.requestsPerSecond so that the server is asked less often.'
    return new ScimBusy('too_many_requests', said, hint, answer.retryAfterMs)
  }
  if (status >= 500 || status === 408) {
    const hint = 'Try again later; if it stays so, look in the log of the SCIM server.'
    return new ScimBusy('server_failed', said, hint, answer.retryAfterMs)
  }
  const scimType = isJsonObject(parsed) ? lookUp(parsed, 'scimType') : null
  const given = { status, scimType: typeof scimType === 'string' ? scimType : null }
  const [code, hint] = refusal(status)
  return new ScimRefused(code, said, hint, given)
}

function refusal(status: number): readonly [code: string, hint: string] {
  switch (status) {
    case 401:
      return [
        'credentials_refused',
        'Check connectorAttributes.authentication and the credentials that belong to it.',
      ]
    case 403:
      return [
        'access_refused',
        'Give the login of the source the right to read users, groups and the configuration of the server.',
      ]
    case 404:
      return [
        'endpoint_missing',
        'Check connectorAttributes.url: it is the part of the address before /Users.',
      ]
    default:
      return [
        'request_refused',
        'Correct what the server names; connectorAttributes.userFilter and pagination change what it is asked.',
      ]
  }
}

/** The sentence of a SCIM or OAuth error: short, in one line, and without secrets. */
function readDetail(body: unknown, secrets: readonly string[]): string | null {
  if (!isJsonObject(body)) return null
  for (const name of ['detail', 'error_description', 'message', 'error', 'scimType']) {
    const value = lookUp(body, name)
    if (typeof value !== 'string' || value.trim() === '') continue
    // A server may repeat what it was sent.
    const safe = secrets.reduce((text, secret) => text.replaceAll(secret, '******'), value)
    const line = safe.replaceAll(/[\p{Cc}\s]+/gu, ' ').trim()
    return (line.length > 300 ? `${line.slice(0, 300)}…` : line).replace(/\.$/, '')
  }
  return null
}

/** The error of an answer with status 200 that is not what SCIM says. `reason` ends a sentence that begins with the place. */
export function notScim(place: string, reason: string): RunError {
  return new RunError('not_scim', `${place} ${reason}.`, {
    hint: 'Check connectorAttributes.url: a login page, a proxy or another service answers there instead of SCIM 2.0.',
  })
}
