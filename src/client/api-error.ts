// What a server refused, in one shape whatever the shape of its answer was (contract.md section 1.5).

/** An answer that is not a success. */
export class ApiError extends Error {
  readonly status: number
  /** For example `404 Not found`; empty where the answer has none. */
  readonly detailCode: string
  /** What the server says, for people. */
  readonly text: string
  /** What to tell the operator so that the entry in the log is found; null where the server names none. */
  readonly trackingId: string | null

  constructor(answer: {
    readonly status: number
    readonly detailCode: string
    readonly text: string
    readonly trackingId: string | null
    readonly request: string
  }) {
    super(`${answer.request} was answered ${answer.status}: ${answer.text}`)
    this.name = 'ApiError'
    this.status = answer.status
    this.detailCode = answer.detailCode
    this.text = answer.text
    this.trackingId = answer.trackingId
  }
}

/** No answer at all: the server was not reached, or the connection broke. */
export class ConnectionError extends Error {
  constructor(request: string, cause: unknown) {
    super(`${request} got no answer: ${rootMessage(cause)}`, { cause })
    this.name = 'ConnectionError'
  }
}

/** The client was opened to read only, and this call would change something; nothing was sent. */
export class ReadOnlyError extends Error {
  constructor(request: string) {
    super(`${request} would change something, and this client only reads.`)
    this.name = 'ReadOnlyError'
  }
}

/** Reads the error that a response holds. */
export async function readApiError(request: string, response: Response): Promise<ApiError> {
  const body = await response.text().catch(() => '')
  const fields = fieldsOf(body)
  const header = response.headers.get('slpt-request-id') ?? response.headers.get('x-request-id')
  return new ApiError({
    request,
    status: response.status,
    detailCode: textOf(fields['detailCode']),
    text: sayOf(fields) || response.statusText || `HTTP status ${response.status}`,
    trackingId: textOf(fields['trackingId']) || header,
  })
}

const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

/**
 * The error for an answer that is a redirect, with the server that it leads to; null for every other answer. Redirects are
 * not followed, because token or secret would go with them.
 */
export function readRedirect(request: string, url: string, response: Response): ApiError | null {
  // Outside of Node the answer to a redirect that is not followed is hidden.
  const isHidden = response.type === 'opaqueredirect'
  if (!isHidden && !redirects.has(response.status)) return null
  const location = response.headers.get('location') ?? ''
  const target = URL.canParse(location, url) ? new URL(location, url) : null
  // Without the query, which may hold what is nobody else's business.
  const where = target === null || location === '' ? 'elsewhere' : target.origin + target.pathname
  const question =
    target === null || target.origin === new URL(url).origin
      ? 'Give the URL that answers itself.'
      : `Is its URL ${target.origin}?`
  return new ApiError({
    request,
    status: response.status,
    detailCode: '',
    text: `the server redirects to ${where}, which is not followed, because the credentials would go with it. ${question}`,
    trackingId: null,
  })
}

function fieldsOf(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
    return {}
  } catch {
    // A proxy in between answers in HTML; its first lines are better than nothing.
    return {
      message: body
        .replaceAll(/<[^>]*>|\s+/g, ' ')
        .trim()
        .slice(0, 200),
    }
  }
}

/** The sentence of an error: `messages[]` (preferably English), or one of the single fields that other codes use. */
function sayOf(fields: Record<string, unknown>): string {
  const messages: unknown = fields['messages']
  if (Array.isArray(messages)) {
    const texts = messages.map((message: unknown) => {
      const { locale, text } = (message ?? {}) as { locale?: unknown; text?: unknown }
      return { locale: textOf(locale), text: textOf(text) }
    })
    const best = texts.find(({ locale }) => locale.startsWith('en')) ?? texts[0]
    if (best !== undefined && best.text !== '') return best.text
  }
  const single = ['errorMessage', 'error_description', 'error', 'message'].map((key) =>
    textOf(fields[key]),
  )
  return single.find((text) => text.trim() !== '')?.trim() ?? ''
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function rootMessage(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // fetch says "fetch failed" and keeps the reason in the cause, for two addresses in several of them.
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error.cause
  return inner === undefined ? error.message : rootMessage(inner)
}
