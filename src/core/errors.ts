// Every error that Muster raises on purpose: its code, the HTTP status, the detail code of the contract, and what to do about it.

interface ErrorKind {
  readonly status: number
  readonly detailCode: string
  readonly hint: string
}

/** The table of codes. docs/reference/errors.md lists the same codes; a test keeps the two equal. */
export const errorKinds = {
  bad_request: {
    status: 400,
    detailCode: '400.1 Bad request content',
    hint: 'Correct the named value and send the request again.',
  },
  bad_filter: {
    status: 400,
    detailCode: '400.1 Bad request content',
    hint: 'Correct the filter at the named position; docs/reference/filters.md lists fields and operators.',
  },
  bad_multipart: {
    status: 400,
    detailCode: '400.1 Bad request content',
    hint: 'Send multipart/form-data with a boundary and a closing delimiter, the CSV in the part named "file".',
  },
  file_required: {
    status: 400,
    detailCode: '400.1 Bad request content',
    hint: 'Attach the CSV as the multipart part named "file".',
  },
  file_not_allowed: {
    status: 400,
    detailCode: '400.1 Bad request content',
    hint: 'Send the request without a file: this source reads its system itself.',
  },
  immutable_field: {
    status: 400,
    detailCode: '400.1 Bad request content',
    hint: 'Leave the named field as it is; create a new object to have another value.',
  },
  unauthorized: {
    status: 401,
    detailCode: '401 Unauthorized',
    hint: 'Get a new access token from /oauth/token and send it as "Authorization: Bearer <token>".',
  },
  forbidden: {
    status: 403,
    detailCode: '403 Forbidden',
    hint: 'Use a client whose level and scopes allow this call.',
  },
  not_found: {
    status: 404,
    detailCode: '404 Not found',
    hint: 'Check the id; list the collection to see what there is.',
  },
  method_not_allowed: {
    status: 405,
    detailCode: '405 Method not allowed',
    hint: 'Use one of the methods of this path; /docs lists them.',
  },
  conflict: {
    status: 409,
    detailCode: '409 Conflict',
    hint: 'Read the current state and try again.',
  },
  too_large: {
    status: 413,
    detailCode: '413 Payload too large',
    hint: 'Send less, or raise the limit that the message names.',
  },
  unsupported_media_type: {
    status: 415,
    detailCode: '415 Unsupported media type',
    hint: 'Send one of the content types that the message names.',
  },
  too_many_requests: {
    status: 429,
    detailCode: '429 Too many requests',
    hint: 'Wait as long as the Retry-After header says.',
  },
  internal: {
    status: 500,
    detailCode: '500.0 Internal Fault',
    hint: 'Look in the log for the tracking id.',
  },
  unavailable: {
    status: 503,
    detailCode: '503 Service unavailable',
    hint: 'Wait as long as the Retry-After header says; /health/ready tells what is missing.',
  },
  no_space: {
    status: 507,
    detailCode: '507 Insufficient storage',
    hint: 'Free space on the disk of the spool folder and send the request again.',
  },
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorKinds

/** A deliberate error of a request. `message` is public: it names the thing and the reason, never a secret or a stack. */
export class RequestError extends Error {
  readonly code: ErrorCode
  /** What the caller should do; the hint of the code where the place that throws knows no better. */
  readonly hint: string

  constructor(code: ErrorCode, message: string, options?: { hint?: string; cause?: unknown }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'RequestError'
    this.code = code
    this.hint = options?.hint ?? errorKinds[code].hint
  }

  get status(): number {
    return errorKinds[this.code].status
  }

  get detailCode(): string {
    return errorKinds[this.code].detailCode
  }
}

/**
 * A reason why a run cannot come to its effect: what was read is wrong (`temporary` false, ERROR), or something
 * that may work later failed (`temporary` true, TEMPERROR). Nothing was changed when it is thrown.
 */
export class RunError extends Error {
  readonly code: string
  readonly temporary: boolean
  readonly hint: string

  constructor(
    code: string,
    message: string,
    options: { hint: string; temporary?: boolean; cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'RunError'
    this.code = code
    this.temporary = options.temporary ?? false
    this.hint = options.hint
  }
}
