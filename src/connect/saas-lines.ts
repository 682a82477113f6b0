// The lines of an answer: bytes become JSON, line by line, and whatever is no JSON ends the read.
import { complaintLimit, limitError, recordError } from './saas-errors.ts'

/** One line. Older SDKs send the bare data, which counts as output. */
export interface SaasLine {
  /** `output`, `state`, `keepAlive` or `config`; anything else is for the transport to know. */
  readonly type: string
  readonly data: unknown
}

/** The lines of one piece of the answer. */
export interface Batch {
  readonly lines: readonly SaasLine[]
  /** How many bytes they were. */
  readonly bytes: number
}

export interface LineLimits {
  readonly maximumLineBytes: number
  readonly maximumBytes: number
}

/**
 * Reads lines of JSON. `complain` makes the error of what is none, from its first characters.
 * A last line without a line break counts when it is whole: half an object is no JSON.
 */
export async function* readLines(
  chunks: AsyncIterable<Uint8Array>,
  limits: LineLimits,
  complain: (text: string) => Error,
): AsyncGenerator<Batch, void> {
  const iterator = chunks[Symbol.asyncIterator]()
  let rest: Uint8Array[] = []
  let restBytes = 0
  let total = 0
  try {
    for (;;) {
      const next = await iterator.next()
      const chunk = next.done === true ? new Uint8Array() : next.value
      total += chunk.length
      if (total > limits.maximumBytes) {
        throw limitError(
          `sent more than ${limits.maximumBytes / 1024 / 1024} MB`,
          'Look whether it ever ends its list; or raise connectorAttributes.maximumMegabytes.',
        )
      }
      const end = next.done === true ? 0 : chunk.lastIndexOf(10) + 1
      if (end === 0 && next.done !== true) {
        rest.push(chunk)
        restBytes += chunk.length
        if (restBytes > limits.maximumLineBytes) throw await tooLong(rest, limits, complain)
        continue
      }
      const text = decode([...rest, chunk.subarray(0, end)])
      const bytes = restBytes + end
      rest = end < chunk.length ? [chunk.subarray(end)] : []
      restBytes = chunk.length - end
      const { lines, wrong } = parseLines(text, limits)
      if (lines.length > 0) yield { lines, bytes }
      if (wrong !== null) {
        throw complain(wrong + (await moreText(rest, next.done === true ? null : iterator)))
      }
      if (next.done === true) return
    }
  } finally {
    await iterator.return?.()
  }
}

/** What is too long for a line is either a record or no JSON at all. */
async function tooLong(
  rest: readonly Uint8Array[],
  limits: LineLimits,
  complain: (text: string) => Error,
): Promise<Error> {
  const head = await moreText(rest, null)
  if (!head.trimStart().startsWith('{')) return complain(head)
  return lineTooLong(limits)
}

function lineTooLong(limits: LineLimits): Error {
  return limitError(
    `sent a line of more than ${limits.maximumLineBytes} bytes`,
    'Raise connectorAttributes.maximumLineBytes if its records are really so large.',
  )
}

function decode(parts: readonly Uint8Array[]): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(parts))
  } catch {
    throw recordError('sent bytes that are not UTF-8')
  }
}

/** The lines up to the first that is no JSON, and the text from there on. */
function parseLines(
  text: string,
  limits: LineLimits,
): { readonly lines: readonly SaasLine[]; readonly wrong: string | null } {
  const lines: SaasLine[] = []
  let start = 0
  while (start < text.length) {
    const found = text.indexOf('\n', start)
    const end = found === -1 ? text.length : found
    const line = text.slice(start, end)
    // UTF-8 needs at most three bytes for a character of a JavaScript text.
    if (line.length * 3 > limits.maximumLineBytes) {
      if (Buffer.byteLength(line) > limits.maximumLineBytes) throw lineTooLong(limits)
    }
    if (line.trim() !== '') {
      const parsed = parseLine(line)
      if (parsed === null) return { lines, wrong: text.slice(start, start + complaintLimit) }
      lines.push(parsed)
    }
    start = end + 1
  }
  return { lines, wrong: null }
}

/** The rest of what a connector complains: its reason stands on a second line, which may come later. */
async function moreText(
  rest: readonly Uint8Array[],
  iterator: AsyncIterator<Uint8Array> | null,
): Promise<string> {
  const decoder = new TextDecoder()
  let text = rest.map((part) => decoder.decode(part, { stream: true })).join('')
  while (iterator !== null && text.length < complaintLimit) {
    const next = await iterator.next().catch(() => null)
    if (next === null || next.done === true) break
    text += decoder.decode(next.value, { stream: true })
  }
  return text.slice(0, complaintLimit)
}

/** The line; null when it is no JSON object. */
export function parseLine(line: string): SaasLine | null {
  const value = parseObject(line)
  if (value === null) return null
  const { type, data } = value
  if (data === undefined) return { type: 'output', data: exact(line, value) }
  if (type === undefined || type === 'output') {
    return { type: 'output', data: Reflect.get(exact(line, value), 'data') }
  }
  if (typeof type !== 'string') return null
  // A state goes back to the connector as it came, so its numbers cannot be kept as texts.
  if (type === 'state' && exact(line, value) !== value) {
    throw recordError('sent a state with a number that JavaScript cannot hold exactly')
  }
  return { type, data }
}

/** A parsed object; its members are unknown. */
type Parsed = Readonly<Record<string, unknown>>

function parseObject(text: string): Parsed | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Parsed)
    : null
}

/** Sixteen digits or more that no quote precedes, with a point or not: only such numbers can lose digits in JSON.parse. */
const manyDigits = /[\s:,[-]\d[\d.]{15}/
/** A text of JSON, or a number with many digits. */
const textOrNumber = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.]{15,}(?:[eE][+-]?\d+)?/g

/** The same line with the digits of long numbers kept: as texts, which they become anyway. */
function exact(line: string, parsed: Parsed): Parsed {
  if (!manyDigits.test(line)) return parsed
  let changed = false
  const quoted = line.replaceAll(textOrNumber, (token) => {
    if (token.startsWith('"') || String(Number(token)) === token) return token
    changed = true
    return `"${token}"`
  })
  return changed ? (parseObject(quoted) ?? parsed) : parsed
}
