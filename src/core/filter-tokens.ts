// The words of a filter: cuts the text of the query parameter `filters` into tokens, each with its position.
import { RequestError } from './errors.ts'

/** One token; `at` is the place of its first character, counted from 1. */
export type FilterToken =
  | {
      readonly kind: 'open' | 'close' | 'comma' | 'end'
      readonly text: string
      readonly at: number
    }
  | { readonly kind: 'string'; readonly value: string; readonly text: string; readonly at: number }
  | { readonly kind: 'word'; readonly text: string; readonly at: number }

/** The error of every filter that cannot be read: names the place, what is wrong and, where it is known, what to write. */
export function filterError(at: number, problem: string, hint?: string): RequestError {
  return new RequestError(
    'bad_filter',
    `The filter is wrong at character ${at}: ${problem}`,
    hint === undefined ? undefined : { hint },
  )
}

const whitespace = /\s/
// A word ends where another token begins; everything else, also a stray bracket, is a word that the parser refuses by name.
const wordEnd = /[\s(),"]/

/** Cuts a filter into tokens; the last one is always `end`. Its length is limited by the caller. */
export function filterTokens(text: string): FilterToken[] {
  const tokens: FilterToken[] = []
  let index = 0
  while (index < text.length) {
    const char = text.charAt(index)
    const at = index + 1
    if (whitespace.test(char)) {
      index++
    } else if (char === '(' || char === ')' || char === ',') {
      const kind = char === '(' ? 'open' : char === ')' ? 'close' : 'comma'
      tokens.push({ kind, text: char, at })
      index++
    } else if (char === '"') {
      const { value, end } = readString(text, index)
      tokens.push({ kind: 'string', value, text: text.slice(index, end), at })
      index = end
    } else {
      let end = index + 1
      while (end < text.length && !wordEnd.test(text.charAt(end))) end++
      tokens.push({ kind: 'word', text: text.slice(index, end), at })
      index = end
    }
  }
  tokens.push({ kind: 'end', text: '', at: text.length + 1 })
  return tokens
}

/** Reads the string that begins with the quote at `start`; `end` is the index after its closing quote. */
function readString(text: string, start: number): { value: string; end: number } {
  let value = ''
  let index = start + 1
  while (index < text.length) {
    const char = text.charAt(index)
    if (char === '"') return { value, end: index + 1 }
    if (char === '\0') {
      throw filterError(index + 1, 'a NUL character can be in no value.')
    }
    if (char === '\\') {
      const escaped = text.charAt(index + 1)
      if (escaped !== '"' && escaped !== '\\') {
        throw filterError(
          index + 1,
          'a backslash in a string must be followed by " or another backslash.',
          'Write \\\\ for one backslash and \\" for a quote inside a string.',
        )
      }
      value += escaped
      index += 2
    } else {
      value += char
      index++
    }
  }
  throw filterError(
    start + 1,
    'the string that begins here has no closing quote.',
    'Close the string with ". Write \\" for a quote inside it.',
  )
}
