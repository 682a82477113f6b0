// The answer to an HTTP request: its body with a cap, a limit on silence, and a look whether it came whole.
import type { IncomingMessage } from 'node:http'
import { RunError } from '../core/errors.ts'
import { abortReason } from './wait.ts'

/** The answer. A redirect within the same origin was followed; any other is an error. */
export interface OutboundAnswer {
  readonly status: number
  /** In lower case; of repeated headers all, joined by `, `. */
  readonly headers: Readonly<Record<string, string>>
  /** The body as it comes; it must be read to its end or `close`d. Throws `temporary` when it breaks off. */
  readonly body: AsyncIterable<Uint8Array>
  /** The whole body as UTF-8. */
  text(): Promise<string>
  close(): void
}

interface AnswerLimits {
  /** The origin, for messages. */
  readonly target: string
  readonly silenceMs: number
  readonly limitBytes: number
  readonly signal: AbortSignal | undefined
}

/** The answer that a message of Node is. Throws, and closes it, when its headers already show that it cannot be taken. */
export function openAnswer(message: IncomingMessage, limits: AnswerLimits): OutboundAnswer {
  const status = message.statusCode ?? 0
  const headers = joinHeaders(message)
  // What breaks while nobody reads is found by the next reader; without a listener it would end the process.
  message.on('error', () => {})
  const refusal = refusalOf(headers, limits)
  if (refusal !== null) {
    message.destroy()
    throw refusal
  }
  const body = readBody(message, limits)
  return {
    status,
    headers,
    body,
    text: () => readText(body, status, limits.target),
    close: () => {
      message.destroy()
    },
  }
}

function joinHeaders(message: IncomingMessage): Readonly<Record<string, string>> {
  const joined: Record<string, string> = {}
  for (const [name, values] of Object.entries(message.headersDistinct)) {
    if (values !== undefined) joined[name] = values.join(', ')
  }
  return joined
}

function refusalOf(
  headers: Readonly<Record<string, string>>,
  limits: AnswerLimits,
): RunError | null {
  const encoding = headers['content-encoding']?.trim().toLowerCase() ?? ''
  if (encoding !== '' && encoding !== 'identity') {
    return new RunError(
      'answer_broken',
      `${limits.target} sent a compressed body (${encoding.slice(0, 40)}), which it was asked not to.`,
      { hint: 'Switch compression off on the server, or on the proxy before it.' },
    )
  }
  // A body that says that it is too large need not be read to find out.
  return Number(headers['content-length'] ?? 0) > limits.limitBytes ? tooLarge(limits) : null
}

function tooLarge({ target, limitBytes }: AnswerLimits): RunError {
  return new RunError(
    'answer_too_large',
    `${target} sent a body of more than ${limitBytes} bytes.`,
    { hint: 'Look whether the URL is the right one; a smaller pageSize makes answers smaller.' },
  )
}

/** The chunks of a body. One timer and one listener for all of them: they come by the hundred thousand. */
async function* readBody(
  message: IncomingMessage,
  limits: AnswerLimits,
): AsyncGenerator<Uint8Array, void> {
  const { target, silenceMs, limitBytes, signal } = limits
  const state: { wake: (() => void) | null; failure: Error | null } = { wake: null, failure: null }
  const stir = (): void => {
    state.wake?.()
    state.wake = null
  }
  const fail = (error: Error): void => {
    // An abort of the signal destroys the request, and with it the message.
    state.failure ??= signal?.aborted === true ? abortReason(signal) : error
    stir()
  }
  // The clock runs only while the system is waited for, not while the consumer works.
  const timer = setTimeout(() => {
    if (state.wake !== null) fail(silent(target, silenceMs))
  }, silenceMs)
  message.on('readable', stir)
  message.on('end', stir)
  message.on('error', (cause) => fail(brokenOff(target, cause)))
  message.on('close', () => {
    if (!message.readableEnded) fail(brokenOff(target))
  })
  if (signal?.aborted === true || message.destroyed) fail(brokenOff(target))
  let bytes = 0
  try {
    while (!message.readableEnded) {
      if (state.failure !== null) throw state.failure
      const chunk: Uint8Array | null = message.read()
      if (chunk === null) {
        timer.refresh()
        await new Promise<void>((resolve) => {
          state.wake = resolve
        })
        continue
      }
      bytes += chunk.length
      if (bytes > limitBytes) throw tooLarge(limits)
      yield chunk
    }
    if (!message.complete) throw brokenOff(target)
  } finally {
    clearTimeout(timer)
    // After a whole body this keeps the connection; of any other it closes it.
    message.destroy()
  }
}

function silent(target: string, silenceMs: number): RunError {
  return new RunError(
    'silent',
    `${target} stopped in its answer and sent nothing for ${silenceMs / 1000} seconds.`,
    {
      hint: 'Look whether the system is overloaded; a smaller pageSize or a longer timeoutSeconds may help.',
      temporary: true,
    },
  )
}

function brokenOff(target: string, cause?: unknown): RunError {
  return new RunError('answer_broken', `${target} broke off its answer before the end.`, {
    hint: 'Look at the log of the system and of a proxy before it.',
    temporary: true,
    cause,
  })
}

async function readText(
  body: AsyncIterable<Uint8Array>,
  status: number,
  target: string,
): Promise<string> {
  // Of an error any text will do for a person; of records a wrong character would be a wrong value.
  const decoder = new TextDecoder('utf-8', { fatal: status < 400 })
  const parts: string[] = []
  try {
    for await (const chunk of body) parts.push(decoder.decode(chunk, { stream: true }))
    parts.push(decoder.decode())
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause
    throw new RunError('answer_broken', `${target} sent a body that is not UTF-8.`, {
      hint: 'The system must send UTF-8; look at its settings.',
      cause,
    })
  }
  return parts.join('')
}
