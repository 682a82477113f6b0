// Turns whatever was thrown into the answer that the contract prescribes (contract.md section 1.5).
import { randomBytes } from 'node:crypto'
import { RequestError } from '../core/errors.ts'
import { databaseFailure } from '../store/failure.ts'

/** Names that the wire gives to errors which are not written as ErrorResponseDto. */
const errorNames = { 405: 'NotSupportedException', 409: 'ConflictException' } as const

/** What is sent for an error. `cause` is set when the log must tell what really happened. */
export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Readonly<Record<string, unknown>>
  readonly fault: boolean
}

/** An error that passes: the answer carries `Retry-After` in whole seconds. */
export class RetryLater extends RequestError {
  readonly afterSeconds: number

  constructor(
    code: 'too_many_requests' | 'unavailable',
    message: string,
    afterSeconds: number,
    cause?: unknown,
  ) {
    super(code, message, { cause })
    this.name = 'RetryLater'
    this.afterSeconds = Math.max(1, Math.ceil(afterSeconds))
  }
}

/** A path that exists, called with a method that it does not have. */
export class WrongMethod extends RequestError {
  readonly allowed: readonly string[]

  constructor(method: string, allowed: readonly string[]) {
    super('method_not_allowed', `This path does not take ${method}, only ${allowed.join(', ')}.`)
    this.name = 'WrongMethod'
    this.allowed = allowed
  }
}

/** 32 hex digits: the same in the answer, the log and the audit. */
export function newTrackingId(): string {
  return randomBytes(16).toString('hex')
}

/** The answer for anything that was thrown. */
export function answerError(error: unknown, trackingId: string): ErrorAnswer {
  const known = recognise(error)
  const { status } = known
  return {
    status,
    headers: headersOf(known),
    body: bodyOf(known, trackingId),
    fault: status >= 500,
  }
}

/** Gives every error its place in the table of codes; what nobody expected is `internal` and says nothing. */
export function recognise(error: unknown): RequestError {
  if (error instanceof RequestError) return error
  if (error instanceof Error && error.message === 'aborted') {
    return new RequestError('bad_request', 'The request ended before its body did.', {
      cause: error,
    })
  }
  const failure = databaseFailure(error)
  if (failure === 'away') {
    // 25006: a standby after a failover, or a server that was told to be read-only.
    const readOnly = codeOf(error) === '25006'
    const message = `The database ${readOnly ? 'takes no writes at the moment' : 'does not answer'}.`
    return new RetryLater('unavailable', message, 5, error)
  }
  if (failure === 'full' || codeOf(error) === 'ENOSPC') {
    return new RequestError('no_space', 'There is no space left to store this.', { cause: error })
  }
  if (failure === 'bad value') {
    return new RequestError('bad_request', 'A value holds a character that cannot be stored.', {
      hint: 'Remove NUL characters and unpaired surrogates.',
      cause: error,
    })
  }
  return recogniseFramework(error)
}

/** Errors of Fastify while it routes, parses and validates. */
function recogniseFramework(error: unknown): RequestError {
  const code = codeOf(error)
  const status: unknown = error instanceof Error ? Reflect.get(error, 'statusCode') : undefined
  const options = { cause: error }
  switch (code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new RequestError(
        'unsupported_media_type',
        'The content type is not taken here.',
        options,
      )
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new RequestError(
        'too_large',
        `The body is larger than ${parsedBodyLimit} bytes.`,
        options,
      )
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new RequestError(
        'bad_request',
        'The body is not as long as Content-Length says.',
        options,
      )
    case 'FST_ERR_BAD_URL':
      return new RequestError('bad_request', 'The path holds a malformed percent escape.', options)
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new RequestError('not_found', 'There is nothing with an id of this length.', options)
    default:
      break
  }
  if (status === 404) return new RequestError('not_found', 'There is no such page.', options)
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return new RequestError('bad_request', 'The body could not be read.', options)
  }
  return new RequestError('internal', 'An internal fault occurred.', options)
}

/** The longest body that is parsed in memory, in bytes; uploads are streamed and have a limit of their own. */
export const parsedBodyLimit = 4 * 1024 * 1024

function headersOf(error: RequestError): Record<string, string> {
  if (error instanceof WrongMethod) return { allow: error.allowed.join(', ') }
  if (error instanceof RetryLater) return { 'retry-after': String(error.afterSeconds) }
  switch (error.code) {
    case 'unauthorized':
      return { 'www-authenticate': 'Bearer realm="muster", error="invalid_token"' }
    case 'too_many_requests':
      return { 'retry-after': '1' }
    case 'unavailable':
      return { 'retry-after': '5' }
    default:
      return {}
  }
}

function bodyOf(error: RequestError, trackingId: string): Record<string, unknown> {
  const text = `${error.message} ${error.hint}`
  switch (error.status) {
    case 401:
      return { error: error.message }
    case 405:
    case 409:
      return { errorName: errorNames[error.status], errorMessage: text, trackingId }
    case 429:
      // The spaces are in the contract, and clients compare the whole text.
      return { message: ' Rate Limit Exceeded ' }
    default:
      return {
        detailCode: error.detailCode,
        trackingId,
        messages: [
          { locale: 'und', localeOrigin: 'REQUEST', text },
          { locale: 'en-US', localeOrigin: 'DEFAULT', text },
        ],
        causes: [],
      }
  }
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const code: unknown = Reflect.get(error, 'code')
  return typeof code === 'string' ? code : undefined
}
