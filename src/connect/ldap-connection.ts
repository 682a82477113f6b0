// One connection to an LDAP server: requests go out, their answers come back by number. Messages are written and read by ldapts; its client is not used, because it ends a paged search at an empty page, hides the cookies, and opens sockets itself.
import type { Socket } from 'node:net'
import {
  BerReader,
  BerWriter,
  BindRequest,
  BindResponse,
  ExtendedRequest,
  ExtendedResponse,
  PagedResultsControl,
  SearchResponse,
  UnbindRequest,
} from 'ldapts'
import { RunError } from '../core/errors.ts'
import { type LdapResult, protocolError, resultError } from './ldap-errors.ts'
import { type Frame, openFrames } from './ldap-frames.ts'

const tags = { bind: 0x61, entry: 0x64, done: 0x65, reference: 0x73, extended: 0x78 } as const
const startTlsName = '1.3.6.1.4.1.1466.20037'

/** Where a search looks. */
export const scopes = ['base', 'one', 'sub'] as const
export type Scope = (typeof scopes)[number]

/** A control of a request, besides that of paged results. */
export interface GivenControl {
  readonly name: string
  readonly critical: boolean
}

export interface SearchRequest {
  readonly base: string
  readonly scope: Scope
  /** A filter as bytes. */
  readonly filter: Buffer
  /** Names of attributes; `1.1`: none. */
  readonly attributes: readonly string[]
  /** The server ends the search after so many entries; 0: no limit. */
  readonly sizeLimit?: number
  /** A page of that size behind the cookie; null: all at once. */
  readonly page: { readonly size: number; readonly cookie: Buffer } | null
  readonly controls?: readonly GivenControl[]
}

/** What becomes of the messages of a search. */
export interface SearchSink {
  readonly entry: (bytes: Buffer, start: number, end: number) => void
  /** A place where the search should go on, on another server. */
  readonly reference: () => void
}

export interface LdapConnection {
  bind(dn: string, password: string): Promise<void>
  /** Asks for TLS and hands the socket to `upgrade`; everything after goes over what that gives. */
  startTls(upgrade: (socket: Socket) => Promise<Socket>): Promise<void>
  /** The end of the search, whatever its result. Rejects when the connection breaks. */
  search(request: SearchRequest, sink: SearchSink): Promise<LdapResult>
  isOpen(): boolean
  /** Ends the connection; what still waits for an answer fails with the reason. */
  close(reason?: Error): void
}

interface Waiting {
  readonly sink: SearchSink | null
  readonly resolve: (result: LdapResult) => void
  readonly reject: (error: Error) => void
}

/** A connection over a connected socket. A request without any byte from the server for `timeoutMs` breaks it. */
export function openConnection(connected: Socket, timeoutMs: number): LdapConnection {
  const waiting = new Map<number, Waiting>()
  let socket = connected
  let lastId = 0
  let broken: Error | null = null
  let heard = performance.now()

  const breakWith = (error: Error, endSocket = (): unknown => socket.destroy()): void => {
    broken ??= error
    clearInterval(clock)
    endSocket()
    for (const request of waiting.values()) request.reject(broken)
    waiting.clear()
  }
  const frames = openFrames((frame) => dispatch(frame, waiting))
  const take = (bytes: Buffer): void => {
    heard = performance.now()
    try {
      frames.push(bytes)
    } catch (error) {
      breakWith(error instanceof Error ? error : new Error(String(error)))
    }
  }
  const fail = (cause: Error): void => breakWith(lostError(cause))
  const end = (): void => breakWith(lostError(null))
  const listen = (): void => {
    socket.on('data', take).on('error', fail).on('close', end).on('end', end)
  }
  const isSilent = (): boolean => waiting.size > 0 && performance.now() - heard >= timeoutMs
  const look = (): void => {
    // What came while this thread was busy is heard before the look after next.
    if (isSilent()) setImmediate(() => isSilent() && breakWith(silentError(timeoutMs)))
  }
  const clock = setInterval(look, Math.min(1000, timeoutMs))
  clock.unref()
  listen()

  const send: Send = (write, sink) =>
    new Promise((resolve, reject) => {
      if (broken !== null) {
        reject(broken)
        return
      }
      lastId += 1
      heard = performance.now()
      waiting.set(lastId, { sink, resolve, reject })
      socket.write(write(lastId))
    })

  return {
    bind: (dn, password) => bindBy(send, dn, password),
    startTls: async (upgrade) => {
      await askForTls(send)
      // Bytes that came before the encryption began could be anybody's.
      if (frames.waiting()) throw protocolError('bytes before the encryption began')
      socket.off('data', take).off('error', fail).off('close', end).off('end', end)
      socket = await upgrade(socket)
      listen()
    },
    search: (request, sink) => send((id) => writeSearch(id, request), sink),
    isOpen: () => broken === null,
    close: (reason = new Error('The connection was closed.')) => {
      if (broken !== null) return
      socket.off('data', take).off('close', end).off('end', end)
      // Destroyed once the farewell is written.
      socket.end(new UnbindRequest({ messageId: lastId + 1 }).write())
      const rest = socket
      breakWith(reason, () => rest.destroySoon())
    },
  }
}

type Send = (write: (id: number) => Buffer, sink: SearchSink | null) => Promise<LdapResult>

async function bindBy(send: Send, dn: string, password: string): Promise<void> {
  const write = (messageId: number) => new BindRequest({ messageId, dn, password }).write()
  const result = await send(write, null)
  if (result.code === 0) return
  throw resultError(result, dn === '' ? 'The anonymous login' : `The login as "${dn}"`)
}

async function askForTls(send: Send): Promise<void> {
  const write = (messageId: number) => new ExtendedRequest({ messageId, oid: startTlsName }).write()
  const result = await send(write, null)
  if (result.code !== 0) throw startTlsError(result)
}

function dispatch(frame: Frame, waiting: Map<number, Waiting>): void {
  if (frame.id === 0) throw noticeError(frame)
  const request = waiting.get(frame.id)
  // An answer to nothing: of a request that nobody waits for any more.
  if (request === undefined) return
  if (frame.tag === tags.entry && request.sink !== null) {
    request.sink.entry(frame.bytes, frame.start, frame.end)
  } else if (frame.tag === tags.reference && request.sink !== null) {
    request.sink.reference()
  } else {
    const result = readResult(frame)
    waiting.delete(frame.id)
    request.resolve(result)
  }
}

function readResult(frame: Frame): LdapResult {
  const reader = new BerReader(frame.bytes.subarray(frame.from, frame.to))
  try {
    reader.readSequence()
    reader.readInt()
    reader.readSequence()
    const response = responseOf(frame)
    response.parse(reader, [])
    const paged = response.controls?.find((control) => control instanceof PagedResultsControl)
    return {
      code: response.status,
      message: response.errorMessage,
      matchedDn: response.matchedDN,
      // A copy: the cookie outlives the bytes that it came with.
      cookie: paged === undefined ? null : Buffer.from(paged.value?.cookie ?? []),
    }
  } catch (cause) {
    if (cause instanceof RunError) throw cause
    throw protocolError('a result that cannot be read')
  }
}

function responseOf(frame: Frame): SearchResponse | BindResponse | ExtendedResponse {
  const messageId = frame.id
  switch (frame.tag) {
    case tags.done:
      return new SearchResponse({ messageId })
    case tags.bind:
      return new BindResponse({ messageId })
    case tags.extended:
      return new ExtendedResponse({ messageId })
    default:
      throw protocolError(`an answer of an unknown kind (0x${frame.tag.toString(16)})`)
  }
}

/** The server tells of itself why it will close the connection. */
function noticeError(frame: Frame): RunError {
  const result = readResult(frame)
  const error = resultError(result, 'The connection')
  const temporary = error.temporary || result.code === 0
  return new RunError(error.code, error.message, { hint: error.hint, temporary })
}

function writeSearch(id: number, request: SearchRequest): Buffer {
  const writer = new BerWriter()
  writer.startSequence()
  writer.writeInt(id)
  writer.startSequence(0x63)
  writer.writeString(request.base)
  writer.writeEnumeration(scopes.indexOf(request.scope))
  // Aliases are entries of their own: whoever wants what they point at names its base.
  writer.writeEnumeration(0)
  writer.writeInt(request.sizeLimit ?? 0)
  writer.writeInt(0)
  writer.writeBoolean(false)
  for (const byte of request.filter) writer.writeByte(byte)
  writer.startSequence()
  for (const name of request.attributes) writer.writeString(name)
  writer.endSequence()
  writer.endSequence()
  writeControls(writer, request)
  writer.endSequence()
  return writer.buffer
}

function writeControls(writer: BerWriter, request: SearchRequest): void {
  const { page, controls = [] } = request
  if (page === null && controls.length === 0) return
  writer.startSequence(0xa0)
  if (page !== null) new PagedResultsControl({ value: page }).write(writer)
  for (const { name, critical } of controls) {
    writer.startSequence()
    writer.writeString(name)
    if (critical) writer.writeBoolean(true)
    writer.endSequence()
  }
  writer.endSequence()
}

function startTlsError(result: LdapResult): RunError {
  const error = resultError(result, 'The request for TLS')
  return new RunError('tls_refused', error.message, {
    hint: 'Use an ldaps:// url, or give the server a certificate; without TLS remove startTls.',
    temporary: error.temporary,
  })
}

function lostError(cause: Error | null): RunError {
  const code = cause === null ? undefined : Reflect.get(cause, 'code')
  const reason = typeof code === 'string' ? ` (${code})` : ''
  return new RunError('connection_lost', `The connection to the LDAP server broke off${reason}.`, {
    hint: 'Look in the log of the server why it ended; the next run reads from the beginning.',
    temporary: true,
    cause,
  })
}

function silentError(timeoutMs: number): RunError {
  return new RunError(
    'silent',
    `The LDAP server sent nothing for ${Math.round(timeoutMs / 1000)} s.`,
    {
      hint: 'Raise timeoutSeconds when the server needs longer for a page, or index the attributes of the filter.',
      temporary: true,
    },
  )
}
