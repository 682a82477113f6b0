// An LDAP server that does what a test says, for faults that a real one cannot be made to have. It speaks bytes, not a library.
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'

/** A request as it came. */
export interface ScriptRequest {
  readonly id: number
  /** The tag of the operation: 0x60 login, 0x63 search, 0x77 extended. */
  readonly tag: number
  readonly base: string
  readonly attributes: readonly string[]
  /** The whole filter and all controls, as text with one character per byte. */
  readonly filter: string
  readonly controls: string
  /** The cookie of paged results; null without that control. */
  readonly cookie: string | null
  /** How many searches with a base other than the root came before, on all connections. */
  readonly search: number
}

type Values = Readonly<Record<string, readonly (string | Buffer)[]>>

/** What a script answers with. */
export interface ScriptAnswer {
  entry(dn: string, values: Values): void
  reference(url: string): void
  /** The end of a search. `cookie`: paged results; absent without. */
  done(code: number, given?: { readonly cookie?: string; readonly message?: string }): void
  /** The answer to an extended request, with bytes right behind it. */
  extended(code: number, behind: Buffer): void
  raw(bytes: Buffer): void
  /** Says by itself that the connection ends. */
  notice(code: number): void
  drop(): void
}

export interface ScriptServer {
  readonly port: number
  readonly requests: readonly ScriptRequest[]
  close(): Promise<void>
}

export interface ScriptOptions {
  /** Attributes of the root entry. */
  readonly root?: Values
  /** Sends answers in pieces of so many bytes. */
  readonly pieces?: number
  /** What follows the consent to StartTLS. */
  readonly behindStartTls?: Buffer
  /** The answer to a login. */
  readonly login?: { readonly code: number; readonly message: string }
}

/** Paged results are among the controls of the root entry. */
const usualRoot: Values = { supportedControl: ['1.2.840.113556.1.4.319'] }

/** Starts a server that answers logins and the root entry, and leaves other searches to `script`. */
export async function startScript(
  script: (request: ScriptRequest, answer: ScriptAnswer) => void,
  options: ScriptOptions = {},
): Promise<ScriptServer> {
  const { root = usualRoot, pieces = 0, login = { code: 0, message: '' } } = options
  const sockets = new Set<Socket>()
  const requests: ScriptRequest[] = []
  let searches = 0
  const serve = (socket: Socket, bytes: Buffer): void => {
    const request = readRequest(bytes, searches)
    requests.push(request)
    const answer = answerOf(socket, request.id, pieces)
    if (request.tag === 0x60) {
      answer.raw(message(request.id, tlv(0x61, resultBody(login.code, login.message))))
    } else if (request.tag === 0x63 && request.base === '') {
      answer.entry('', root)
      answer.done(0)
    } else if (request.tag === 0x77) {
      answer.extended(0, options.behindStartTls ?? Buffer.alloc(0))
    } else if (request.tag === 0x63) {
      searches += 1
      script(request, answer)
    }
  }
  const server = createServer((socket) => {
    socket.setNoDelay(true)
    sockets.add(socket)
    let kept = Buffer.alloc(0)
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => {
      kept = Buffer.concat([kept, bytes])
      for (;;) {
        const whole = kept.length < 2 ? null : headOf(kept, 0)
        if (whole === null || whole.end > kept.length) return
        serve(socket, kept.subarray(0, whole.end))
        kept = kept.subarray(whole.end)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('there is no port')
  return {
    port: address.port,
    requests,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function answerOf(socket: Socket, id: number, pieces: number): ScriptAnswer {
  const raw = (bytes: Buffer): void => {
    if (pieces === 0) socket.write(bytes)
    for (let at = 0; pieces > 0 && at < bytes.length; at += pieces) {
      socket.write(bytes.subarray(at, at + pieces))
    }
  }
  return {
    raw,
    entry: (dn, values) => {
      const lists = Object.entries(values).map(([name, given]) =>
        tlv(0x30, octets(name), tlv(0x31, ...given.map(octets))),
      )
      raw(message(id, tlv(0x64, octets(dn), tlv(0x30, ...lists))))
    },
    extended: (code, behind) =>
      raw(Buffer.concat([message(id, tlv(0x78, resultBody(code, ''))), behind])),
    reference: (url) => raw(message(id, tlv(0x73, octets(url)))),
    done: (code, { cookie, message: text = '' } = {}) => {
      const value = tlv(0x30, integer(0), octets(cookie ?? ''))
      const control = tlv(0x30, octets('1.2.840.113556.1.4.319'), octets(value))
      const controls = cookie === undefined ? [] : [tlv(0xa0, control)]
      raw(message(id, tlv(0x65, resultBody(code, text)), ...controls))
    },
    notice: (code) => {
      const name = tlv(0x8a, Buffer.from('1.3.6.1.4.1.1466.20036'))
      raw(message(0, tlv(0x78, resultBody(code, 'shutting down'), name)))
    },
    drop: () => socket.destroy(),
  }
}

function resultBody(code: number, text: string): Buffer {
  return Buffer.concat([tlv(0x0a, Buffer.from([code])), octets(''), octets(text)])
}

function message(id: number, ...parts: readonly Buffer[]): Buffer {
  return tlv(0x30, integer(id), ...parts)
}

function integer(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return tlv(0x02, bytes)
}

function octets(value: string | Buffer): Buffer {
  return tlv(0x04, typeof value === 'string' ? Buffer.from(value) : value)
}

/** One element of BER, with its length always in four bytes, as Active Directory writes it. */
export function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const head = Buffer.from([tag, 0x84, 0, 0, 0, 0])
  head.writeUInt32BE(content.length, 2)
  return Buffer.concat([head, content])
}

interface Head {
  readonly tag: number
  readonly start: number
  readonly end: number
}

function headOf(bytes: Buffer, at: number): Head {
  const tag = bytes[at] ?? 0
  const first = bytes[at + 1] ?? 0
  const count = first < 0x80 ? 0 : first & 0x7f
  const length = count === 0 ? first : bytes.readUIntBE(at + 2, count)
  return { tag, start: at + 2 + count, end: at + 2 + count + length }
}

function partsOf(bytes: Buffer, start: number, end: number): readonly Head[] {
  const parts: Head[] = []
  for (let at = start; at < end; at = parts.at(-1)?.end ?? end) parts.push(headOf(bytes, at))
  return parts
}

function readRequest(bytes: Buffer, search: number): ScriptRequest {
  const whole = headOf(bytes, 0)
  const [id, operation, controls] = partsOf(bytes, whole.start, whole.end)
  if (id === undefined || operation === undefined) throw new Error('a broken request')
  const text = (head: Head | undefined): string =>
    head === undefined ? '' : bytes.toString('latin1', head.start, head.end)
  const parts = operation.tag === 0x63 ? partsOf(bytes, operation.start, operation.end) : []
  const [base, , , , , , filter, attributes] = parts
  const named = attributes === undefined ? [] : partsOf(bytes, attributes.start, attributes.end)
  return {
    id: bytes.readUIntBE(id.start, id.end - id.start),
    tag: operation.tag,
    base: text(base),
    attributes: named.map(text),
    filter: text(filter),
    controls: text(controls),
    cookie: controls === undefined ? null : cookieOf(bytes, controls),
    search,
  }
}

function cookieOf(bytes: Buffer, controls: Head): string | null {
  for (const control of partsOf(bytes, controls.start, controls.end)) {
    const [name, ...rest] = partsOf(bytes, control.start, control.end)
    const value = rest.at(-1)
    if (name === undefined || value === undefined) continue
    if (bytes.toString('latin1', name.start, name.end) !== '1.2.840.113556.1.4.319') continue
    const [, cookie] = partsOf(bytes, headOf(bytes, value.start).start, value.end)
    return cookie === undefined ? '' : bytes.toString('latin1', cookie.start, cookie.end)
  }
  return null
}
