// Options that are whole numbers.
import { InvalidArgumentError } from 'commander'

/** Parses a whole number of this range, and says what is wrong with anything else. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= least && value <= most) return value
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`)
  }
}
