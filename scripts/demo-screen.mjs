// What the demo prints: short lines on stdout, a bar that moves only on a terminal, colours only where they are wanted.
const terminal = process.stdout.isTTY
const coloured = terminal && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb'
const paint = (code) => (text) => (coloured ? `\u001B[${code}m${text}\u001B[0m` : text)

export const bold = paint('1')
export const dim = paint('2')
export const green = paint('32')
export const yellow = paint('33')
export const red = paint('31')

const barWidth = 28

/** One line. */
export function say(line = '') {
  process.stdout.write(`${line}\n`)
}

/** The head of a section. */
export function section(title, detail = '') {
  say()
  say(`${bold(title)}${detail === '' ? '' : `  ${dim(detail)}`}`)
}

/** A number with thousands separators. */
export function number(value) {
  return Math.round(value).toLocaleString('en-US')
}

/** A count and its word: `1 row`, `2 rows`. */
export function count(value, word) {
  return `${number(value)} ${word}${value === 1 ? '' : 's'}`
}

/**
 * A bar for one task. `show(percent, text)` may be called as often as one likes: on a terminal the line is drawn anew,
 * elsewhere a line is printed when the text changes, at most one a second. `clear()` takes the bar away.
 */
export function progressBar() {
  let lastText = ''
  let lastAt = 0
  return {
    show(percent, text) {
      if (terminal) {
        const filled = Math.round((Math.min(100, Math.max(0, percent)) / 100) * barWidth)
        const bar = `${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)}`
        const room = Math.max(20, (process.stdout.columns ?? 80) - barWidth - 12)
        process.stdout.write(
          `\r\u001B[K  ${green(bar)} ${String(Math.round(percent)).padStart(3)} %  ${text.slice(0, room)}`,
        )
        return
      }
      const now = performance.now()
      if (text === lastText || now - lastAt < 1_000) return
      lastText = text
      lastAt = now
      say(`  ${String(Math.round(percent)).padStart(3)} %  ${text}`)
    },
    clear() {
      if (terminal) process.stdout.write('\r\u001B[K')
    },
  }
}

/** Rows in columns that line up; the last column may be as long as it likes. */
export function table(rows) {
  const widths = rows.reduce(
    (known, row) => row.map((cell, index) => Math.max(known[index] ?? 0, cell.length)),
    [],
  )
  for (const row of rows) {
    say(
      `  ${row
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd()}`,
    )
  }
}
