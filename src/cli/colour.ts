// Whether and how text is coloured: only on a terminal, and not where NO_COLOR or --no-color say so.

const codes = { red: 31, green: 32, yellow: 33, cyan: 36, bold: 1, dim: 2 } as const

export type Style = keyof typeof codes

/** Text in a colour, where the stream is a terminal that wants one; plain text everywhere else. */
export function paint(stream: NodeJS.WriteStream, style: Style, text: string): string {
  return isColoured(stream) ? `\u001B[${codes[style]}m${text}\u001B[0m` : text
}

/** Whether a stream is a terminal that obeys control sequences. */
export function isTerminal(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY && process.env['TERM'] !== 'dumb'
}

/** The colour of a word that tells how something ended; null where it has none. */
export function styleOf(word: string): Style | null {
  if (word === 'SUCCESS' || word === 'ok') return 'green'
  if (word === 'WARNING' || word === 'warn' || word === 'WARN') return 'yellow'
  return /^(?:ERROR|TERMINATED|TEMPERROR|FAILURE|fail|refused|failed)$/.test(word) ? 'red' : null
}

function isColoured(stream: NodeJS.WriteStream): boolean {
  // https://no-color.org: any value but an empty one. The option is looked for in the words, because errors of usage
  // are printed before options are parsed.
  const refused = (process.env['NO_COLOR'] ?? '') !== '' || process.argv.includes('--no-color')
  return isTerminal(stream) && !refused
}
