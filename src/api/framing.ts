// Bodies that nobody reads, are not sent yet or never end: what the connection does then.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** An unread rest of this size is read and dropped, and the connection stays; more costs more than a new connection. */
const cheapRestBytes = 64 * 1024
/** How long a client may go on sending after it was answered, so that it gets to read the answer. */
const lingerMs = 5_000

const awaitingContinue = new WeakSet<IncomingMessage>()

/**
 * Answers `Expect: 100-continue` when something begins to read the body, not before: a call that is refused by its
 * token, its source or its media type is answered at once and the body is never sent.
 */
export function continueWhenRead(server: Server): void {
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    awaitingContinue.add(request)
    request.on('newListener', (event) => {
      // `pipe` and `on('data')` listen for data, `for await` for readable; dropping an unread body listens for neither.
      if (event !== 'data' && event !== 'readable') return
      if (awaitingContinue.delete(request) && !response.headersSent) response.writeContinue()
    })
    server.emit('request', request, response)
  })
}

/**
 * Called before an answer is sent. When much of the body is still to come, the connection ends after the answer: it is
 * closed for writing, what arrives is dropped for a few seconds, then it is destroyed. Closing it at once would make
 * the kernel reset the connection, and the client would see that in place of the answer.
 */
export function endUnreadBody(request: FastifyRequest, reply: FastifyReply): void {
  const { raw } = request
  // An injected request is never complete, but its body ends when it was read.
  if (raw.complete || raw.readableEnded || !hasBody(raw)) return
  const length = Number(raw.headers['content-length'])
  if (!awaitingContinue.has(raw) && length <= cheapRestBytes) {
    endWithoutRest(raw)
    return
  }
  reply.header('connection', 'close')
  lingerOnClose(raw)
}

/** Ends the connection of a body that takes more than `mostMs` though it is parsed in memory. */
export function limitParsedBody(request: FastifyRequest, mostMs: number): void {
  const { raw } = request
  if (raw.complete || !hasBody(raw)) return
  const timer = setTimeout(() => raw.destroy(), mostMs)
  timer.unref()
  raw.once('close', () => clearTimeout(timer))
  raw.once('end', () => clearTimeout(timer))
}

function hasBody(raw: IncomingMessage): boolean {
  if (raw.headers['transfer-encoding'] !== undefined) return true
  return Number(raw.headers['content-length'] ?? 0) > 0
}

/** A rest that does not come would hold the connection for ever: it was answered, and nothing else limits it. */
function endWithoutRest(raw: IncomingMessage): void {
  // An injected request has no connection.
  if (!(raw.socket instanceof Socket)) return
  const timer = setTimeout(() => {
    if (!raw.complete) raw.socket.destroy()
  }, lingerMs)
  timer.unref()
}

function lingerOnClose(raw: IncomingMessage): void {
  const socket: Socket = raw.socket
  // Node calls this once the last answer of the connection is written.
  socket.destroySoon = () => {
    raw.unpipe()
    raw.resume()
    socket.end()
    const timer = setTimeout(() => socket.destroy(), lingerMs)
    timer.unref()
    socket.once('close', () => clearTimeout(timer))
  }
}
