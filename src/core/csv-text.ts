// Text as CSV, and how a cell that a spreadsheet would take for a formula is made harmless.

/**
 * What begins so, after spaces and apostrophes, is a formula to a spreadsheet: `=`, `+`, `-`, `@`, their full-width
 * forms, a tab or a carriage return.
 */
const formula = /^[\s']*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r]/

/**
 * A text that no spreadsheet calculates: an apostrophe goes before what would be a formula, and before what begins with
 * an apostrophe, so that taking one leading apostrophe away gives every text back as it was.
 */
export function neutralised(text: string): string {
  return formula.test(text) || text.startsWith("'") ? `'${text}` : text
}

/**
 * One line of CSV, with commas and without its line end. Cells are quoted where they must be, and where they were made
 * harmless; `raw` leaves formulas as they are. Numbers and booleans are no text, so a negative number stays a number.
 */
export function csvLine(
  cells: readonly (string | number | boolean | null)[],
  options: { readonly raw: boolean },
): string {
  return cells
    .map((cell) => {
      if (typeof cell !== 'string') return cell === null ? '' : String(cell)
      const text = options.raw ? cell : neutralised(cell)
      // A space at an end is quoted too: readers disagree about spaces that are not.
      return text !== cell || /[",\r\n]|^\s|\s$/.test(text)
        ? `"${text.replaceAll('"', '""')}"`
        : text
    })
    .join(',')
}
