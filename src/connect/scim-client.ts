// Requests to one SCIM server: with its login, within its budget, tried again when that may help, read as JSON.
import { RunError } from '../core/errors.ts'
import { openBudget } from './budget.ts'
import type { OutboundAnswer } from './outbound.ts'
import type { ReaderTools } from './reader.ts'
import { readRetryAfter, retry } from './retry.ts'
import { readErrorBody, readJsonBody } from './scim-body.ts'
import { errorOfAnswer, notScim } from './scim-errors.ts'
import { isJsonObject, type JsonObject } from './scim-json.ts'
import { openLogin } from './scim-login.ts'
import type { ScimSettings } from './scim-settings.ts'
import { abortReason, wait } from './wait.ts'

/** How often a request is begun at most. */
const attempts = 6
/** No wait that the server asks for is longer. */
const longestWaitMs = 120_000
/** A body that trickles in is given up after this time, however steadily its bytes come. */
const longestRequestMs = 600_000
/** The beginning of an error's body that is looked at. */
const errorBytes = 65_536

/** An answer in JSON. */
export interface ScimAnswer {
  readonly body: JsonObject | readonly unknown[]
  /** The clock of the server, in milliseconds since 1970; null when it does not tell. */
  readonly serverTimeMs: number | null
  /** Method and address without its query, for messages. */
  readonly place: string
}

/** The client of one server. */
export interface ScimClient {
  get(path: string, query: URLSearchParams, signal: AbortSignal): Promise<ScimAnswer>
  /** Whether it waits because the server asked it to. */
  readonly isWaiting: boolean
  readonly pace: ScimPace
}

/** How long things take; tests give less. */
export interface ScimPace {
  /** The longest wait before the second attempt. */
  readonly baseMs: number
  /** How often to show a sign of life while the server makes us wait. */
  readonly signOfLifeMs: number
}

export function openClient(settings: ScimSettings, tools: ReaderTools, pace: ScimPace): ScimClient {
  const budget = openBudget(settings.requestsPerSecond)
  const tls = settings.tlsCa === null ? null : { ca: settings.tlsCa }
  const silenceMs = settings.timeoutMs
  const login = openLogin(settings.authentication, { outbound: tools.outbound, tls, silenceMs })
  let waits = 0

  const send = async (url: string, place: string, signal: AbortSignal): Promise<ScimAnswer> => {
    let header = await login.header(signal)
    let answer = await request(url, header, signal)
    if (answer.status === 401 && login.renew(header)) {
      answer.close()
      header = await login.header(signal)
      answer = await request(url, header, signal)
    }
    if (answer.status === 200) return readAnswer(answer, place)
    const retryAfterMs = readRetryAfter(answer.headers['retry-after'])
    const body = await readErrorBody(answer, errorBytes)
    const { status } = answer
    if (status < 400) throw notScim(place, `answered with the status ${status}`)
    throw errorOfAnswer({ place, status, body, retryAfterMs, secrets: login.secrets() })
  }

  const request = async (
    url: string,
    authorization: string | null,
    signal: AbortSignal,
  ): Promise<OutboundAnswer> => {
    await budget.take(signal)
    return tools.outbound.request({
      url,
      headers: {
        accept: 'application/scim+json, application/json;q=0.9',
        ...(authorization === null ? {} : { authorization }),
      },
      silenceMs,
      signal,
      ...(tls === null ? {} : { tls }),
    })
  }

  return {
    pace,
    get: (path, query, signal) => {
      const base = `${settings.url}${path}`
      const url = query.size === 0 ? base : `${base}?${query.toString()}`
      return retry(
        () => withinTime(signal, `GET ${base}`, (limited) => send(url, `GET ${base}`, limited)),
        {
          signal,
          attempts,
          baseMs: pace.baseMs,
          retryAfterCapMs: longestWaitMs,
          log: tools.log,
          sleep: async (milliseconds, until) => {
            waits += 1
            try {
              await wait(milliseconds, until)
            } finally {
              waits -= 1
            }
          },
        },
      )
    },
    get isWaiting() {
      return waits > 0
    },
  }
}

/** Work that may not take longer than a request may. */
async function withinTime<T>(
  signal: AbortSignal,
  place: string,
  work: (limited: AbortSignal) => Promise<T>,
): Promise<T> {
  // Not AbortSignal.any: with a signal that lives as long as the read, something of each request would stay.
  const limited = new AbortController()
  const stop = (): void => {
    limited.abort(abortReason(signal))
  }
  const timer = setTimeout(() => {
    limited.abort(tooSlow(place))
  }, longestRequestMs)
  signal.addEventListener('abort', stop, { once: true })
  try {
    if (signal.aborted) stop()
    return await work(limited.signal)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
}

function tooSlow(place: string): RunError {
  return new RunError('silent', `${place} took longer than ${longestRequestMs / 60_000} minutes.`, {
    hint: 'Lower connectorAttributes.pageSize, or look why the server is so slow.',
    temporary: true,
  })
}

async function readAnswer(answer: OutboundAnswer, place: string): Promise<ScimAnswer> {
  const type = (answer.headers['content-type'] ?? '').toLowerCase()
  if (type !== '' && !type.includes('json')) {
    answer.close()
    const shown = type
      .replace(/;.*$/s, '')
      .replaceAll(/[^\w/+.-]/g, '')
      .slice(0, 60)
    throw notScim(place, `answered with ${shown} instead of JSON`)
  }
  const body = await readJsonBody(answer, place)
  if (!isJsonObject(body) && !Array.isArray(body)) {
    throw notScim(place, 'answered with something that is not a JSON object')
  }
  const time = Date.parse(answer.headers['date'] ?? '')
  return { body, serverTimeMs: Number.isNaN(time) ? null : time, place }
}
