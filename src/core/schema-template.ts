// The template of a schema: a file with nothing but the header, written for people and read back (contract.md section 2.3).
import { neutralised } from './csv-text.ts'
import type { Dialect } from './dialect.ts'
import { RequestError } from './errors.ts'
import { headerProblem, quoteNames } from './layout.ts'
import { attribute } from './schema.ts'
import type { AttributeDefinition, Schema } from './schema.ts'

type Writing = Pick<Dialect, 'delimiter' | 'quote' | 'comment' | 'encoding'>

/**
 * The header of a file of this schema, in the dialect of its source, with the line end. A name that a spreadsheet would
 * calculate gets an apostrophe before it unless `raw`; `templateNames` takes it away.
 */
export function templateText(
  attributes: readonly AttributeDefinition[],
  dialect: Writing,
  raw: boolean,
): string {
  const line = attributes
    .map(({ name }, index) => writtenName(name, dialect, raw, index === 0))
    .join(dialect.delimiter)
  // The mark wins over the encoding of the source, in which the names would be read as something else.
  const mark = needsMark(dialect.encoding, line) ? '\ufeff' : ''
  return `${mark}${line}\n`
}

/** ASCII is the same in every encoding but the two of UTF-16. */
function needsMark(encoding: string | null, line: string): boolean {
  if (encoding === null) return false
  return /[^\x20-\x7e]/.test(line) || new TextDecoder(encoding).encoding.startsWith('utf-16')
}

function writtenName(name: string, dialect: Writing, raw: boolean, isFirst: boolean): string {
  const { delimiter, quote, comment } = dialect
  const text = raw ? name : neutralised(name)
  if (quote === null) return text
  const special =
    text !== name ||
    /[\r\n]|^\s|\s$/.test(text) ||
    text.includes(delimiter) ||
    text.includes(quote) ||
    // The line would be a comment.
    (isFirst && comment !== null && text.startsWith(comment))
  return special ? `${quote}${text.replaceAll(quote, quote + quote)}${quote}` : text
}

/** The names of a header as they were before `templateText`: an apostrophe that it put there is taken away. */
export function templateNames(header: readonly string[]): string[] {
  return header.map((cell) => {
    const name = cell.slice(1)
    return cell.startsWith("'") && neutralised(name) !== name ? name : cell
  })
}

/**
 * The attributes of a schema after its template was uploaded: those of the header in its order. Known ones keep their
 * type and flags, new ones are STRING, those that are not in the header are gone. Throws `bad_request` when a name cannot
 * be used, or when the attribute that identifies or names an account would be gone.
 */
export function attributesOfTemplate(
  schema: Pick<Schema, 'name' | 'attributes' | 'identityAttribute' | 'displayAttribute'>,
  names: readonly string[],
): AttributeDefinition[] {
  const problem = headerProblem(names)
  if (problem !== null) {
    throw new RequestError('bad_request', problem, {
      hint: 'Give every column a name of its own in the first line of the file.',
    })
  }
  const known = new Map(schema.attributes.map((one) => [one.name.toLowerCase(), one]))
  for (const name of names) {
    const former = known.get(name.toLowerCase())?.name ?? name
    if (former === name) continue
    throw new RequestError(
      'bad_request',
      `The column "${name}" differs only in case from the attribute "${former}".`,
      {
        hint: `Write it "${former}": a new attribute would lose the type and flags of the old one.`,
      },
    )
  }
  for (const key of ['identityAttribute', 'displayAttribute'] as const) {
    const needed = schema[key]
    if (needed === null || needed === '' || names.includes(needed)) continue
    throw new RequestError(
      'bad_request',
      `The header has no column "${needed}", the ${key} of the schema "${schema.name}"; it has ${quoteNames(names)}.`,
      { hint: `Add the column, or change ${key} with PATCH first. Nothing was changed.` },
    )
  }
  return names.map((name) => known.get(name.toLowerCase()) ?? attribute(name))
}
