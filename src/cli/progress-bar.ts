// A bar on stderr while something runs. It moves on a terminal; elsewhere only new texts are printed, and not often.
import { isTerminal } from './colour.ts'
import { note, plain } from './terminal.ts'

/** A bar. `done` is between 0 and 1, or null while nobody knows. */
export interface ProgressBar {
  show(done: number | null, text: string): void
  /** Takes the bar away. */
  clear(): void
}

const width = 24
const redrawMs = 80
const printMs = 5_000

/** Makes a bar; `quiet` makes one that shows nothing. */
export function progressBar(quiet: boolean): ProgressBar {
  if (quiet) return { show: () => {}, clear: () => {} }
  const terminal = isTerminal(process.stderr)
  // Elsewhere than on a terminal, what is over in a moment is not worth a line.
  let lastAt = terminal ? Number.NEGATIVE_INFINITY : performance.now()
  let lastText = ''
  const line = (text: string): void => {
    if (text === lastText || performance.now() - lastAt < printMs) return
    lastAt = performance.now()
    lastText = text
    note(plain(text))
  }
  const draw = (done: number | null, text: string): void => {
    if (performance.now() - lastAt < redrawMs) return
    lastAt = performance.now()
    const room = Math.max(20, process.stderr.columns - width - 10)
    process.stderr.write(`\r\u001B[K${bar(done)} ${plain(text).slice(0, room)}`)
  }
  return {
    show: terminal ? draw : (_done, text) => line(text),
    clear: () => {
      if (terminal) process.stderr.write('\r\u001B[K')
    },
  }
}

function bar(done: number | null): string {
  if (done === null) {
    const at = Math.floor(performance.now() / 120) % (width - 2)
    return `${'░'.repeat(at)}███${'░'.repeat(width - at - 3)}     `
  }
  const filled = Math.round(Math.min(1, Math.max(0, done)) * width)
  const percent = String(Math.round(done * 100)).padStart(3)
  return `${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${percent}%`
}
