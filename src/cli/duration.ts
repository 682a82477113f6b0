// Options that are lengths of time: 90, 90s, 5m, 1h30m, 500ms.
import { InvalidArgumentError } from 'commander'

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const longestMs = 365 * unitMs.d

/** Parses a length of time to milliseconds; a bare number is seconds. */
export function duration(text: string): number {
  if (/^\d+(?:\.\d+)?$/.test(text)) return checked(Number(text) * 1000)
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)]
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) throw wrong()
  return checked(
    parts.reduce(
      (sum, [, amount, unit]) => sum + Number(amount) * unitMs[unit as keyof typeof unitMs],
      0,
    ),
  )
}

function checked(ms: number): number {
  if (ms <= longestMs) return Math.round(ms)
  throw new InvalidArgumentError('It must not be longer than 365 days.')
}

function wrong(): InvalidArgumentError {
  return new InvalidArgumentError('It must be seconds, or a length such as 90s, 5m or 1h30m.')
}
