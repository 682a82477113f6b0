// What is printed and where: data on stdout, everything else on stderr, nothing that a terminal would obey.
import { paint, styleOf } from './colour.ts'

/** Text of a server or a file made harmless: control characters and direction marks are spelled as escapes. */
export function plain(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Data: one line on stdout. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** A remark: one line on stderr. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** A value as JSON on stdout. What JSON leaves as it is but a terminal obeys is escaped; it stays the same JSON. */
export function printJson(value: unknown): void {
  print(jsonText(value))
}

/** A value as JSON in lines, in which nothing moves the cursor of a terminal. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, null, 2).replaceAll(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Rows in columns that line up, under their heads. */
export function printTable(heads: readonly string[], rows: readonly (readonly string[])[]): void {
  const lines = [heads, ...rows.map((row) => row.map(plain))]
  const widths = heads.map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  )
  for (const [row, line] of lines.entries()) {
    const last = line.length - 1
    const cells = line.map((cell, column) => {
      const padded = column === last ? cell : cell.padEnd(widths[column] ?? 0)
      return row === 0 ? paint(process.stdout, 'bold', padded) : coloured(cell, padded)
    })
    print(cells.join('  ').trimEnd())
  }
}

/** Names and values, one to a line. */
export function printFields(fields: readonly (readonly [name: string, value: string])[]): void {
  const width = Math.max(...fields.map(([name]) => name.length))
  for (const [name, value] of fields) {
    const text = plain(value)
    print(`${name.padEnd(width)}  ${coloured(text.split(' ', 1)[0] ?? '', text)}`.trimEnd())
  }
}

/** Words that tell how something ended stand out. */
function coloured(word: string, text: string): string {
  const style = styleOf(word)
  return style === null ? text : paint(process.stdout, style, text)
}

/** 1234567 → 1,234,567, the same in every locale. */
export function number(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

/** 131072000 → 131.1 MB. */
export function size(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`
}

/** Whatever a JSON value is, on one line. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}
