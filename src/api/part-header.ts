// Reads the header of one part of a form, as tolerant as the clients of contract.md section 6 need and no more.
import { RequestError } from '../core/errors.ts'

/** Which part of a form this is. */
export interface PartHeader {
  readonly name: string
  /** The file name as a label for people; null when the part has none. */
  readonly fileName: string | null
}

/** The longest header of a part, in bytes and in lines. The parser cuts at them without a word. */
export const maxHeaderBytes = 16 * 1024
export const maxHeaderPairs = 32

const maxNameLength = 100
const maxLabelLength = 255

/**
 * Reads a parsed header; `number` counts the parts from one and serves the message. Throws `bad_multipart` for
 * headers that are cut, nameless, nested, or in a transfer encoding that would have to be undone.
 */
export function readPartHeader(parsed: object, number: number): PartHeader {
  const header = parsed as Readonly<Record<string, readonly string[] | undefined>>
  // The parser hands out one character per byte, and cuts a long header in silence; what is left has nearly the limit.
  const lines = Object.entries(header).flatMap(([key, values = []]) =>
    values.map((value) => key.length + value.length + 4),
  )
  const bytes = lines.reduce((sum, length) => sum + length, 0)
  if (bytes > maxHeaderBytes - 64 || lines.length >= maxHeaderPairs) {
    throw badForm(`The header of part ${number} is longer than ${maxHeaderBytes} bytes.`)
  }
  const disposition = utf8(header['content-disposition']?.[0] ?? '')
  const name = parameter(disposition, 'name')
  if (name === null) {
    throw badForm(`Part ${number} of the form has no Content-Disposition that names it.`)
  }
  if (name.length > maxNameLength) {
    throw badForm(`The name of part ${number} is longer than ${maxNameLength} characters.`)
  }
  const contentType = header['content-type']?.[0] ?? ''
  // A utility in wide use puts "multipart/form-data; charset=utf-8" on its flag, so the type alone is no nested form.
  if (/^\s*multipart\//i.test(contentType) && parameter(contentType, 'boundary') !== null) {
    throw badForm(`The part "${label(name)}" is a form itself; nested forms are not read.`)
  }
  const encoding = (header['content-transfer-encoding']?.[0] ?? 'binary').trim().toLowerCase()
  if (encoding === 'base64' || encoding === 'quoted-printable') {
    throw badForm(`The part "${label(name)}" is in ${encoding}; send it as it is.`)
  }
  const fileName = extended(disposition) ?? parameter(disposition, 'filename')
  return { name, fileName: fileName === null ? null : label(lastSegment(fileName)) }
}

/**
 * The value of a parameter of a header such as `form-data; name="file"`, quoted or not; null when there is none.
 * What stands between a closing quote and the next semicolon is skipped: one client writes `filename="file.csv" "`.
 */
export function parameter(header: string, name: string): string | null {
  const pattern = /;\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"[^;]*|([^;]*))/gs
  for (const [, key, quoted, bare] of header.matchAll(pattern)) {
    if (key?.toLowerCase() !== name) continue
    return quoted === undefined ? (bare ?? '').trim() : quoted.replaceAll(/\\(["\\])/g, '$1')
  }
  return null
}

/** The form of RFC 5987, `filename*=UTF-8''na%C3%AFve.csv`; null when there is none or it is malformed. */
function extended(disposition: string): string | null {
  const value = parameter(disposition, 'filename*')
  const text = value === null ? null : /^utf-8'[^']*'(.*)$/is.exec(value)?.[1]
  if (text === null || text === undefined) return null
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}

function lastSegment(path: string): string {
  return path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)
}

/** Text of a client made fit to be shown: invisible characters are spelled as escapes, and it has an end. */
export function label(text: string): string {
  const cut = text.length > maxLabelLength ? `${text.slice(0, maxLabelLength - 1)}…` : text
  return cut.replaceAll(
    /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** An error of the form itself. */
export function badForm(message: string, hint?: string): RequestError {
  return new RequestError('bad_multipart', message, hint === undefined ? {} : { hint })
}

function utf8(oneCharacterPerByte: string): string {
  return Buffer.from(oneCharacterPerByte, 'latin1').toString('utf8')
}
