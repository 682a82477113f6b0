// Search filters (RFC 4515) become the bytes of a request. The parser of ldapts takes no attribute options, no numeric names and no escaped bytes beyond ASCII.

/** Why a filter cannot be used; `reason` completes the sentence "The filter …". */
export class FilterError extends Error {
  readonly reason: string

  constructor(reason: string) {
    super(`The filter ${reason}.`)
    this.name = 'FilterError'
    this.reason = reason
  }
}

const maxDepth = 50
const attributeName = String.raw`(?:[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)(?:;[A-Za-z0-9-]+)*`
const simple = new RegExp(String.raw`^(${attributeName})\s*(=|~=|>=|<=)(.*)$`, 's')
const extensible = new RegExp(
  String.raw`^(${attributeName})?(:dn)?(?::([A-Za-z0-9.-]+))?:=(.*)$`,
  'is',
)

const tags = { and: 0xa0, or: 0xa1, not: 0xa2, equal: 0xa3, substrings: 0xa4 } as const
const comparisons: Readonly<Record<string, number>> = { '>=': 0xa5, '<=': 0xa6, '~=': 0xa8 }
const [presentTag, extensibleTag] = [0x87, 0xa9]

/** Whether a text can be the name of an attribute, with options. */
export function isAttributeName(text: string): boolean {
  return new RegExp(`^${attributeName}$`).test(text)
}

/** A filter as bytes; the parentheses around it may be left out. Throws `FilterError`. */
export function encodeFilter(text: string): Buffer {
  const trimmed = text.trim()
  const whole = trimmed.startsWith('(') ? trimmed : `(${trimmed})`
  const { bytes, end } = readFilter(whole, 0, 0)
  if (end < whole.length) throw new FilterError(`goes on after its end, at character ${end + 1}`)
  return bytes
}

interface Part {
  readonly bytes: Buffer
  /** The position behind the part. */
  readonly end: number
}

function readFilter(text: string, start: number, depth: number): Part {
  if (depth > maxDepth) throw new FilterError(`is nested deeper than ${maxDepth} levels`)
  const at = skipSpace(text, start)
  if (text[at] !== '(') throw new FilterError(`has no "(" at character ${at + 1}`)
  const inside = skipSpace(text, at + 1)
  const sign = text[inside]
  if (sign === '&' || sign === '|') return readSet(text, inside + 1, sign === '&', depth)
  if (sign === '!') {
    const inner = readFilter(text, inside + 1, depth + 1)
    return { bytes: encode(tags.not, inner.bytes), end: expectClose(text, inner.end) }
  }
  const close = text.indexOf(')', at)
  if (close < 0) throw new FilterError('lacks a ")"')
  return { bytes: readItem(text.slice(at + 1, close)), end: close + 1 }
}

function readSet(text: string, start: number, all: boolean, depth: number): Part {
  const members: Buffer[] = []
  let at = skipSpace(text, start)
  while (text[at] === '(') {
    const member = readFilter(text, at, depth + 1)
    members.push(member.bytes)
    at = skipSpace(text, member.end)
  }
  return { bytes: encode(all ? tags.and : tags.or, ...members), end: expectClose(text, at) }
}

function skipSpace(text: string, start: number): number {
  let at = start
  while (/\s/.test(text.charAt(at))) at += 1
  return at
}

function expectClose(text: string, start: number): number {
  const at = skipSpace(text, start)
  if (at >= text.length) throw new FilterError('lacks a ")"')
  if (text[at] !== ')') throw new FilterError(`has no ")" at character ${at + 1}`)
  return at + 1
}

function readItem(item: string): Buffer {
  const [, name, sign, value] = simple.exec(item.trimStart()) ?? []
  if (name !== undefined && sign !== undefined && value !== undefined) {
    if (sign !== '=') return encode(comparisons[sign] ?? 0, octets(name), octets(unescape(value)))
    if (value === '*') return encode(presentTag, Buffer.from(name))
    if (value.includes('*')) return readSubstrings(name, value)
    return encode(tags.equal, octets(name), octets(unescape(value)))
  }
  const [matched, type, dn, rule, asserted] = extensible.exec(item.trimStart()) ?? []
  if (matched === undefined || (type === undefined && rule === undefined)) {
    throw new FilterError(`has the part "${item}", which is no comparison`)
  }
  return encode(
    extensibleTag,
    ...(rule === undefined ? [] : [encode(0x81, Buffer.from(rule))]),
    ...(type === undefined ? [] : [encode(0x82, Buffer.from(type))]),
    encode(0x83, unescape(asserted ?? '')),
    ...(dn === undefined ? [] : [encode(0x84, Buffer.from([0xff]))]),
  )
}

function readSubstrings(name: string, value: string): Buffer {
  const pieces = value.split('*')
  const encoded = pieces.flatMap((piece, index) => {
    if (piece === '') return []
    const tag = index === 0 ? 0x80 : index === pieces.length - 1 ? 0x82 : 0x81
    return [encode(tag, unescape(piece))]
  })
  if (encoded.length === 0) return encode(presentTag, Buffer.from(name))
  return encode(tags.substrings, octets(name), encode(0x30, ...encoded))
}

/** The bytes of a value: `\c3\a4` is two bytes, whatever they mean. */
function unescape(value: string): Buffer {
  const pieces: Buffer[] = []
  let at = 0
  for (;;) {
    const escape = value.indexOf('\\', at)
    const plain = value.slice(at, escape < 0 ? value.length : escape)
    if (/[(\0]/.test(plain))
      throw new FilterError('has a value with a "(" or NUL that is not escaped')
    pieces.push(Buffer.from(plain))
    if (escape < 0) return Buffer.concat(pieces)
    const digits = value.slice(escape + 1, escape + 3)
    if (!/^[0-9a-fA-F]{2}$/.test(digits)) {
      throw new FilterError(`has a "\\" without two hexadecimal digits behind it in "${value}"`)
    }
    pieces.push(Buffer.from(digits, 'hex'))
    at = escape + 3
  }
}

function octets(content: string | Buffer): Buffer {
  return encode(0x04, typeof content === 'string' ? Buffer.from(content) : content)
}

function encode(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(content.length)
  return Buffer.concat([Buffer.from([tag, 0x84]), length, content])
}
