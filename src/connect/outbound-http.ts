// HTTP requests over judged connections: kept connections, caps on size and silence, redirects only within the origin.
import { setMaxListeners } from 'node:events'
import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { isIP, type Socket } from 'node:net'
import { RunError } from '../core/errors.ts'
import { openAnswer, type OutboundAnswer } from './outbound-answer.ts'
import type { ConnectOptions } from './outbound-socket.ts'
import type { OutboundTls } from './outbound-tls.ts'
import { openSlots, type Slots } from './slots.ts'
import { abortReason } from './wait.ts'

/** One HTTP request. */
export interface OutboundRequest {
  readonly url: string
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly tls?: OutboundTls
  /** Without a byte for so long the request fails; default 60 s. Time that the consumer takes does not count. */
  readonly silenceMs?: number
  /** A longer body fails the request; default 64 MiB. */
  readonly limitBytes?: number
  readonly signal?: AbortSignal
}

/** Sends requests over connections that `connect` opens. */
export interface Http {
  request(options: OutboundRequest): Promise<OutboundAnswer>
  close(): void
}

const maximumRedirects = 5
/** So many connections are kept open for one origin when they are not in use. */
const maximumFreeSockets = 4
/** So many requests of one reader may be under way; more wait. */
const maximumRequests = 16
const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

type Connect = (options: ConnectOptions) => Promise<Socket>
type Agents = Readonly<Record<'http:' | 'https:', HttpAgent>>
type Protocol = keyof Agents

/** Opens HTTP over a way to connect. */
export function openHttp(connect: Connect): Http {
  const settings = { keepAlive: true, maxFreeSockets: maximumFreeSockets }
  const agents: Agents = {
    'http:': overConnections(new HttpAgent(settings), connect, false),
    'https:': overConnections(new HttpsAgent(settings), connect, true),
  }
  const slots = openSlots(maximumRequests)
  return {
    request: (options) => follow(agents, slots, options),
    close: () => {
      agents['http:'].destroy()
      agents['https:'].destroy()
    },
  }
}

/** Options of a request as the agent hands them on to the connection. */
interface AgentOptions {
  readonly host?: string | null
  readonly port?: number | string | null
  readonly ca?: unknown
  readonly servername?: unknown
  readonly signal?: AbortSignal
}

/** The same agent, its connections made by `connect`. The agent keeps those with another CA or name apart. */
function overConnections(agent: HttpAgent, connect: Connect, secure: boolean): HttpAgent {
  const createConnection = (
    options: AgentOptions,
    done: (error: Error | null, socket?: Socket) => void,
  ): undefined => {
    const { ca, servername, signal } = options
    const tls = {
      ...(typeof ca === 'string' ? { ca } : {}),
      ...(typeof servername === 'string' && servername !== '' ? { servername } : {}),
    }
    const open = async (): Promise<void> => {
      let socket: Socket
      try {
        socket = await connect({
          host: options.host ?? '',
          port: Number(options.port),
          tls: secure ? tls : null,
          ...(signal === undefined ? {} : { signal }),
        })
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)))
        return
      }
      done(null, socket)
    }
    void open()
  }
  return Object.assign(agent, { createConnection })
}

/** Sends a request and follows redirects to where it may. */
async function follow(
  agents: Agents,
  slots: Slots,
  options: OutboundRequest,
): Promise<OutboundAnswer> {
  const { method = 'GET', silenceMs = 60_000, limitBytes = 64 << 20, signal } = options
  let url = readUrl(options.url)
  // Node takes more than ten listeners for a leak; one signal ends all requests of a read.
  if (signal !== undefined) setMaxListeners(0, signal)
  for (let followed = 0; ; followed += 1) {
    const release = await slots.take(signal)
    let message: IncomingMessage
    try {
      message = await sendTwice(agents, url, { ...options, method, silenceMs })
    } catch (error) {
      release()
      throw signal?.aborted === true ? abortReason(signal) : error
    }
    message.once('close', release)
    const status = message.statusCode ?? 0
    if (!redirects.has(status)) {
      return openAnswer(message, { target: url.origin, silenceMs, limitBytes, signal })
    }
    message.destroy()
    url = redirectTarget(url, message.headers.location, method, followed)
  }
}

function readUrl(text: string): URL {
  if (!URL.canParse(text)) {
    throw refused('The URL of the system is none.', 'Write it like https://host/path.')
  }
  const url = new URL(text)
  if (!isProtocol(url.protocol)) {
    throw refused(
      `A URL that begins with ${url.protocol} is not opened.`,
      'Use https:// (or http:// within a network that you trust).',
    )
  }
  if (url.username !== '' || url.password !== '') {
    throw refused(
      `The URL of ${url.host} holds a user or a password.`,
      'Take them out of the URL; the settings of the source have places for them.',
    )
  }
  return url
}

function isProtocol(protocol: string): protocol is Protocol {
  return protocol === 'http:' || protocol === 'https:'
}

function refused(message: string, hint: string): RunError {
  return new RunError('address_refused', message, { hint })
}

/** Where a redirect leads. Its path may hold a secret, so messages name only the host. */
function redirectTarget(
  from: URL,
  location: string | undefined,
  method: string,
  followed: number,
): URL {
  const refuse = (reason: string): RunError =>
    new RunError('redirect_refused', `${from.origin} answered with a redirect ${reason}.`, {
      hint: 'Give the URL that answers itself. A redirect to a login page means that the credentials are not accepted.',
    })
  if (location === undefined || !URL.canParse(location, from.href)) throw refuse('to nowhere')
  const to = new URL(location, from)
  if (to.origin !== from.origin) throw refuse(`to another origin (${to.host || to.protocol})`)
  if (to.username !== '' || to.password !== '') throw refuse('that holds credentials')
  if (method !== 'GET') throw refuse(`to a ${method}, which is not sent again`)
  if (followed >= maximumRedirects) throw refuse(`more than ${maximumRedirects} times in a row`)
  return to
}

type Sending = OutboundRequest & { readonly method: 'GET' | 'POST'; readonly silenceMs: number }

/** A kept connection may have been closed by the server in this moment; then a GET goes over another one. */
async function sendTwice(agents: Agents, url: URL, options: Sending): Promise<IncomingMessage> {
  try {
    return await send(agents, url, options)
  } catch (error) {
    const stale = error instanceof RunError && error.cause === staleConnection
    if (!stale || options.method !== 'GET') throw error
    return send(agents, url, options)
  }
}

/** The cause of a request that failed because its kept connection was no longer there. */
const staleConnection = new Error('The kept connection was closed.')

function send(agents: Agents, url: URL, options: Sending): Promise<IncomingMessage> {
  const { method, silenceMs, tls, signal, body } = options
  const protocol: Protocol = url.protocol === 'https:' ? 'https:' : 'http:'
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const given = {
    agent: agents[protocol],
    protocol,
    host,
    port: url.port === '' ? (protocol === 'https:' ? 443 : 80) : Number(url.port),
    path: `${url.pathname}${url.search}`,
    method,
    headers: requestHeaders(options),
    // Without a name of its own Node would take it from the header `Host`.
    servername: tls?.servername ?? (isIP(host) === 0 ? host : ''),
    ...(tls?.ca === undefined ? {} : { ca: tls.ca }),
    ...(signal === undefined ? {} : { signal }),
  }
  return new Promise((resolve, reject) => {
    let request: ReturnType<typeof httpRequest>
    try {
      request = protocol === 'https:' ? httpsRequest(given) : httpRequest(given)
    } catch (cause) {
      // Node refuses characters that would end a header; its message names the header and not the value.
      reject(
        new RunError('bad_setting', `The request to ${url.host} cannot be written.`, {
          hint: 'A token, user or header of the source holds characters that HTTP does not allow, such as a line break.',
          cause,
        }),
      )
      return
    }
    const timer = setTimeout(() => request.destroy(silent(url.origin, silenceMs)), silenceMs)
    request.once('response', (message) => {
      clearTimeout(timer)
      resolve(message)
    })
    request.on('error', (cause) => {
      clearTimeout(timer)
      reject(noAnswer(url.origin, cause, request.reusedSocket))
    })
    request.end(body)
  })
}

function requestHeaders(options: Sending): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    headers[name.toLowerCase()] = value
  }
  // A small compressed body can be large beyond every cap; identity lets bytes be counted as they come.
  headers['accept-encoding'] = 'identity'
  headers['user-agent'] ??= 'musterd'
  if (options.body !== undefined) {
    headers['content-length'] = String(new TextEncoder().encode(options.body).length)
  }
  return headers
}

/** The error of a system that sent nothing for so long. */
function silent(origin: string, silenceMs: number): RunError {
  return new RunError('silent', `${origin} did not answer for ${silenceMs / 1000} seconds.`, {
    hint: 'Look whether the system is overloaded; a smaller pageSize or a longer timeoutSeconds may help.',
    temporary: true,
  })
}

function noAnswer(origin: string, cause: Error, reused: boolean): Error {
  if (cause instanceof RunError) return cause
  const code = String(Reflect.get(cause, 'code') ?? '')
  const stale = reused && (code === 'ECONNRESET' || code === 'EPIPE')
  const reason = code.startsWith('HPE_')
    ? `what it sent is not HTTP (${code})`
    : `the connection was closed before (${code})`
  return new RunError('answer_broken', `${origin} did not answer: ${reason}.`, {
    hint: 'Look at the URL and its port, and at the log of the system.',
    temporary: true,
    cause: stale ? staleConnection : cause,
  })
}
