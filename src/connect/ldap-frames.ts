// Cuts the bytes of a connection into LDAP messages.
import { protocolError } from './ldap-errors.ts'

/** A message larger than this is no entry of a directory any more, bytes. */
const maxMessage = 64 * 1024 * 1024

/** One message: the bytes of its operation without tag and length, within `bytes`. */
export interface Frame {
  readonly bytes: Buffer
  readonly id: number
  /** The tag of the operation. */
  readonly tag: number
  readonly start: number
  readonly end: number
  /** Where the whole message begins and ends. */
  readonly from: number
  readonly to: number
}

/** Takes bytes as they come and gives each whole message to `take`. Throws what `protocolError` makes. */
export function openFrames(take: (frame: Frame) => void): {
  readonly push: (bytes: Buffer) => void
  /** Whether bytes of an unfinished message wait. */
  readonly waiting: () => boolean
} {
  let kept: Buffer[] = []
  let [have, need] = [0, 0]
  return {
    waiting: () => have > 0,
    push: (arrived) => {
      let bytes = arrived
      if (have > 0) {
        kept.push(arrived)
        have += arrived.length
        // A long message is joined once, not anew with every piece.
        if (have < need) return
        bytes = Buffer.concat(kept, have)
        kept = []
        have = 0
      }
      let at = 0
      while (at < bytes.length) {
        const end = messageEnd(bytes, at)
        if (end === null || end > bytes.length) {
          kept = [bytes.subarray(at)]
          have = bytes.length - at
          need = end === null ? have + 1 : end - at
          return
        }
        take(readFrame(bytes, at, end))
        at = end
      }
    },
  }
}

/** Where the message ends that begins here; null when too little of it is there to tell. */
function messageEnd(bytes: Buffer, at: number): number | null {
  if (bytes[at] !== 0x30) throw protocolError('bytes that are no message of LDAP')
  const first = bytes[at + 1]
  if (first === undefined) return null
  if (first < 0x80) return at + 2 + first
  const count = first & 0x7f
  if (count === 0 || count > 4) throw protocolError('a message without a usable length')
  if (at + 2 + count > bytes.length) return null
  const length = bytes.readUIntBE(at + 2, count)
  if (length > maxMessage) throw protocolError(`a message of ${length} bytes`)
  return at + 2 + count + length
}

function readFrame(bytes: Buffer, from: number, to: number): Frame {
  const head = readHead(bytes, from, to)
  const id = readHead(bytes, head.start, to)
  if (id.tag !== 0x02 || id.end - id.start > 4 || id.end === id.start) {
    throw protocolError('a message without a number')
  }
  const operation = readHead(bytes, id.end, to)
  return {
    bytes,
    id: bytes.readUIntBE(id.start, id.end - id.start),
    tag: operation.tag,
    start: operation.start,
    end: operation.end,
    from,
    to,
  }
}

/** The tag at a position, and where its content begins and ends. */
function readHead(
  bytes: Buffer,
  at: number,
  limit: number,
): { readonly tag: number; readonly start: number; readonly end: number } {
  const head = packHead(bytes, at, limit)
  const start = at + headSize(head)
  return { tag: bytes[at] ?? 0, start, end: start + contentSize(head) }
}

/**
 * The sizes of the head (tag and length) and of the content at a position, in one number: a million of these are read in
 * a large directory, and objects would be most of the work. Throws when the content goes beyond the limit.
 */
export function packHead(bytes: Buffer, at: number, limit: number): number {
  if (at + 2 > limit) throw broken()
  const first = bytes[at + 1] ?? 0
  if (first < 0x80) {
    if (at + 2 + first > limit) throw broken()
    return first * 8 + 2
  }
  const count = first & 0x7f
  if (count === 0 || count > 4 || at + 2 + count > limit) throw broken()
  const length = bytes.readUIntBE(at + 2, count)
  if (at + 2 + count + length > limit) throw broken()
  return length * 8 + 2 + count
}

/** The size of the head out of `packHead`. */
export function headSize(packed: number): number {
  return packed & 7
}

/** The size of the content out of `packHead`. */
export function contentSize(packed: number): number {
  return packed >> 3
}

function broken(): Error {
  return protocolError('a message whose parts do not fit into it')
}
