// Reads the body of a request as it arrives: with a limit, back-pressure, a minimum rate, and an end that is known to be the real one.
import type { IncomingMessage } from 'node:http'
import { RequestError } from '../core/errors.ts'

/** How slow a body may be: less than `bytes` in any `windowMs` ends the request. */
export interface PaceRule {
  readonly windowMs: number
  readonly bytes: number
}

/**
 * Two minutes, 32 KiB: 270 bytes a second. A client that stalls or drips is cut in two minutes; an upload over the
 * slowest line that anybody uses goes through, however long it takes.
 */
export const defaultPace: PaceRule = { windowMs: 120_000, bytes: 32 * 1024 }

/** What `receiveBody` needs besides the request. */
export interface BodyRules {
  /** Bytes of the whole body; above it the request ends with `tooLarge`. */
  readonly limitBytes: number
  readonly tooLarge: () => RequestError
  readonly pace?: PaceRule
  /** Aborted by the taker of the chunks when it wants no more; its reason is what `receiveBody` throws. */
  readonly signal?: AbortSignal
}

/** The client went away before its body was complete. Nobody is left to read an answer. */
export class BodyCutOff extends RequestError {
  constructor() {
    super('bad_request', 'The connection ended before the body did.', {
      hint: 'Send the whole body again.',
    })
    this.name = 'BodyCutOff'
  }
}

/**
 * Gives every chunk to `take` and resolves with the number of bytes when the body is complete: when Content-Length
 * is reached or the last chunk has come. A promise from `take` holds back the client until it resolves. When this
 * throws, what still comes of the body is dropped.
 */
export function receiveBody(
  request: IncomingMessage,
  rules: BodyRules,
  take: (chunk: Buffer) => Promise<void> | undefined,
): Promise<number> {
  return new Promise((resolve, reject) => {
    let received = 0
    let holding = false
    let open = true

    const settle = (finish: () => void): void => {
      if (!open) return
      open = false
      stopWatching()
      request.off('data', onData).off('end', onEnd).off('close', onClose)
      rules.signal?.removeEventListener('abort', onAbort)
      finish()
    }
    const fail = (error: unknown): void =>
      settle(() => {
        // What still comes is dropped: a paused rest would be in the way of the next request on the connection.
        request.resume()
        reject(error instanceof Error ? error : new Error(String(error)))
      })
    const release = (): void => {
      holding = false
      if (open) request.resume()
    }
    const onData = (chunk: Buffer): void => {
      received += chunk.length
      if (received > rules.limitBytes) return fail(rules.tooLarge())
      const wait = take(chunk)
      if (wait === undefined) return
      holding = true
      request.pause()
      wait.then(release, fail)
    }
    const onEnd = (): void =>
      request.complete ? settle(() => resolve(received)) : fail(new BodyCutOff())
    const onClose = (): void => fail(new BodyCutOff())
    const onAbort = (): void => fail(rules.signal?.reason)
    const stopWatching = watchPace(
      rules.pace ?? defaultPace,
      () => (holding ? null : received),
      fail,
    )

    // A reset connection raises `error` before `close`; without a listener it would end the process.
    if (request.listenerCount('error') === 0) request.on('error', ignore)
    request.on('data', onData).on('end', onEnd).on('close', onClose)
    rules.signal?.addEventListener('abort', onAbort)
    // What happened before we listened raises no event any more.
    if (rules.signal?.aborted === true) onAbort()
    else if (request.readableEnded) onEnd()
    else if (request.destroyed) onClose()
  })
}

/** Calls `fail` when less than the rule's bytes came in a window; `count` is null while we are the ones who wait. */
function watchPace(
  rule: PaceRule,
  count: () => number | null,
  fail: (error: Error) => void,
): () => void {
  const steps = 8
  let past: number[] = []
  const timer = setInterval(() => {
    const now = count()
    if (now === null) {
      past = []
      return
    }
    past.push(now)
    if (past.length <= steps) return
    const before = past.shift() ?? 0
    if (now - before >= rule.bytes) return
    const seconds = Math.round(rule.windowMs / 1000)
    fail(
      new RequestError(
        'bad_request',
        `The upload stalled: ${now - before} bytes arrived in the last ${seconds} seconds.`,
        { hint: `Send at least ${rule.bytes} bytes every ${seconds} seconds.` },
      ),
    )
  }, rule.windowMs / steps)
  timer.unref()
  return () => clearInterval(timer)
}

/** Reads a small body into memory. Throws `too_large` above the limit. */
export async function readSmallBody(
  request: IncomingMessage,
  limitBytes: number,
  pace?: PaceRule,
): Promise<Buffer> {
  const chunks: Buffer[] = []
  const tooLarge = (): RequestError =>
    new RequestError('too_large', `The body is larger than ${limitBytes} bytes.`)
  await receiveBody(request, { limitBytes, tooLarge, ...(pace && { pace }) }, (chunk) => {
    chunks.push(chunk)
    return undefined
  })
  return Buffer.concat(chunks)
}

/** The length that the client announced; null when it sends chunks and says nothing. */
export function announcedBytes(request: IncomingMessage): number | null {
  const header = request.headers['content-length']
  if (header !== undefined) return Number(header)
  return request.headers['transfer-encoding'] === undefined ? 0 : null
}

function ignore(): void {}
