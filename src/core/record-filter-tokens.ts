// The words of a filterString: cuts its text into tokens, each with its position.

/** One token; `at` is the place of its first character, counted from 1. */
export type RecordFilterToken =
  | { readonly kind: 'mark' | 'name' | 'end'; readonly text: string; readonly at: number }
  | { readonly kind: 'string'; readonly value: string; readonly text: string; readonly at: number }

/** A filterString that cannot be read. The sentence completes "… is wrong at character 12: ". */
export class RecordFilterError extends Error {
  readonly at: number
  readonly hint: string

  constructor(at: number, problem: string, hint: string) {
    super(problem)
    this.name = 'RecordFilterError'
    this.at = at
    this.hint = hint
  }
}

const whitespace = /\s/
/** Longest first: `<=` is no `<`. */
const marks = ['&&', '||', '==', '!=', '<=', '>=', '<', '>', '!', '(', ')', '{', '}', ','] as const
/** A name ends where another token begins; `.` belongs to it, and so does `-`, which the default schema has in a name. */
const nameEnd = /[\s"'(){},!=<>&|]/

/** Cuts a filter into tokens; the last one is always `end`. Its length is limited by the caller. */
export function recordFilterTokens(text: string): RecordFilterToken[] {
  const tokens: RecordFilterToken[] = []
  let index = 0
  while (index < text.length) {
    const at = index + 1
    if (whitespace.test(text.charAt(index))) {
      index += 1
      continue
    }
    if (text.charAt(index) === '"') {
      const { value, end } = readString(text, index)
      tokens.push({ kind: 'string', value, text: text.slice(index, end), at })
      index = end
      continue
    }
    const mark = marks.find((one) => text.startsWith(one, index))
    if (mark !== undefined) {
      tokens.push({ kind: 'mark', text: mark, at })
      index += mark.length
      continue
    }
    let end = index
    while (end < text.length && !nameEnd.test(text.charAt(end))) end += 1
    if (end === index) throw strayCharacter(text.charAt(index), at)
    tokens.push({ kind: 'name', text: text.slice(index, end), at })
    index = end
  }
  tokens.push({ kind: 'end', text: '', at: text.length + 1 })
  return tokens
}

function strayCharacter(character: string, at: number): RecordFilterError {
  const hints: Readonly<Record<string, string>> = {
    "'": 'Write texts in double quotes.',
    '=': 'Compare with ==.',
    '&': 'Write && for "and".',
    '|': 'Write || for "or".',
  }
  const hint = hints[character] ?? 'Remove it.'
  return new RecordFilterError(at, `${character} means nothing here.`, hint)
}

const escapes: Readonly<Record<string, string>> = { '"': '"', '\\': '\\', t: '\t', n: '\n' }

/** Reads the string that begins with the quote at `start`; `end` is the index after its closing quote. */
function readString(text: string, start: number): { value: string; end: number } {
  let value = ''
  let index = start + 1
  while (index < text.length) {
    const character = text.charAt(index)
    if (character === '"') return { value, end: index + 1 }
    if (character !== '\\') {
      value += character
      index += 1
      continue
    }
    const next = text.charAt(index + 1)
    const escaped = Object.hasOwn(escapes, next) ? escapes[next] : undefined
    if (escaped === undefined) {
      throw new RecordFilterError(
        index + 1,
        'a backslash in a text must be followed by ", by another backslash, t or n.',
        'Write \\\\ for one backslash and \\" for a quote inside a text.',
      )
    }
    value += escaped
    index += 2
  }
  throw new RecordFilterError(
    start + 1,
    'the text that begins here has no closing quote.',
    'Close it with ". Write \\" for a quote inside it.',
  )
}
