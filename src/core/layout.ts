// How the columns of a file meet the attributes of a schema (contract.md section 8.8).
import type { Dialect } from './dialect.ts'
import { RunError } from './errors.ts'
import type { AttributeType, Schema } from './schema.ts'

/** An attribute that a column delivers. */
export interface Field {
  readonly name: string
  readonly column: number
  readonly type: AttributeType
  /** Whether the value is a list. */
  readonly multi: boolean
}

/** What each column of a file means. */
export interface Layout {
  /** The names of the columns in the order of the file. */
  readonly header: readonly string[]
  readonly identityColumn: number
  readonly identityAttribute: string
  /** The column of the name; -1 when it is not delivered. */
  readonly displayColumn: number
  readonly displayAttribute: string | null
  /** In the order of their keys in the canonical JSON. */
  readonly fields: readonly Field[]
  /** Attributes without a column: their former values stay. */
  readonly undelivered: readonly string[]
  /** Columns that are no attribute: they are ignored. */
  readonly extra: readonly string[]
  readonly mergeRows: boolean
  /** The column of the stable key; -1 when the native identity is the key. */
  readonly keyColumn: number
  /** The column of the flags of a record, letters of `recordFlags`; -1 when there is none. */
  readonly flagsColumn: number
  /** Whether multi-valued cells are JSON lists of texts; otherwise a cell is one value. */
  readonly jsonLists: boolean
}

/** Columns that the spool of a direct source has besides attributes. */
export const identityName = '#identity'
export const keyName = '#key'
export const flagsName = '#flags'
/** What the letters of a flags cell say. */
export const recordFlags = { disabled: 'd', locked: 'l', deleted: 'x' } as const

/** The order of attribute names in canonical JSON: by UTF-16 code units. */
export function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Names in quotes for a message; of many only the first. */
export function quoteNames(names: readonly string[]): string {
  const shown = names
    .slice(0, 20)
    .map((name) => `"${name.length > 80 ? `${name.slice(0, 80)}…` : name}"`)
  return names.length > shown.length
    ? `${shown.join(', ')} and ${names.length - shown.length} more`
    : shown.join(', ')
}

/** Problems of a header by itself: names that are empty, stand twice, or differ only in case. Null when there is none. */
export function headerProblem(header: readonly string[]): string | null {
  const empty = header.findIndex((name) => name === '')
  if (header.length === 0 || (header.length === 1 && empty === 0)) return 'The file has no header.'
  // What is UTF-16 without a mark is read as UTF-8 with a NUL in every other byte.
  if (header.some((name) => name.includes('\0'))) {
    return 'The header holds NUL characters: the file is not UTF-8. Save it as UTF-8, or name its encoding in fileEncoding.'
  }
  if (empty >= 0) return `Column ${empty + 1} of the header has no name.`
  const seen = new Map<string, string>()
  for (const name of header) {
    const folded = name.toLowerCase()
    const other = seen.get(folded)
    if (other !== undefined) {
      return other === name
        ? `The header names the column "${name}" twice.`
        : `The header names the columns "${other}" and "${name}", which differ only in case.`
    }
    seen.set(folded, name)
  }
  return null
}

/**
 * Maps a header to a schema; a header that cannot be used is an error with nothing changed. `direct`: the header is that
 * of the spool of a direct source, and which attributes its system does not deliver.
 */
export function planLayout(
  header: readonly string[],
  schema: Pick<Schema, 'attributes' | 'identityAttribute' | 'displayAttribute'>,
  dialect: Pick<Dialect, 'indexColumn' | 'mergeColumns' | 'mergeRows'>,
  direct: { readonly undelivered: readonly string[] } | null = null,
): Layout {
  const problem = headerProblem(header)
  if (problem !== null) {
    throw new RunError('bad_header', problem, {
      hint: 'Give every column a name of its own in the first line of the file.',
    })
  }
  const identityAttribute = schema.identityAttribute ?? dialect.indexColumn
  if (identityAttribute === null) {
    throw new RunError('no_identity', 'The account schema names no identity attribute.', {
      hint: 'Set identityAttribute of the account schema to the column that identifies an account.',
    })
  }
  const spooled = (name: string): number => (direct === null ? -1 : header.indexOf(name))
  const ownIdentity = spooled(identityName)
  const identityColumn = ownIdentity < 0 ? header.indexOf(identityAttribute) : ownIdentity
  if (identityColumn < 0) {
    throw new RunError(
      'no_identity_column',
      `The header has no column "${identityAttribute}", which identifies the accounts; it has ${quoteNames(header)}.`,
      {
        hint: 'Name the column as the identity attribute of the account schema, or change the schema.',
      },
    )
  }
  const byColumn = new Map(header.map((name, column) => [name, column]))
  for (const name of direct?.undelivered ?? []) byColumn.delete(name)
  if (direct !== null) for (const name of [identityName, keyName, flagsName]) byColumn.delete(name)
  const fields: Field[] = []
  const undelivered: string[] = []
  for (const attribute of schema.attributes) {
    const column = byColumn.get(attribute.name)
    if (column === undefined) {
      undelivered.push(attribute.name)
      continue
    }
    fields.push({
      name: attribute.name,
      column,
      type: attribute.type,
      multi: attribute.isMulti || dialect.mergeColumns.includes(attribute.name),
    })
    byColumn.delete(attribute.name)
  }
  // The identity column may be no attribute of the schema; then it is kept as one all the same.
  if (ownIdentity < 0 && byColumn.delete(identityAttribute)) {
    fields.push({ name: identityAttribute, column: identityColumn, type: 'STRING', multi: false })
  }
  const { displayAttribute } = schema
  // A list is no name.
  const displayField = fields.find(
    (field) => field.name === displayAttribute && !(direct !== null && field.multi),
  )
  return {
    header,
    identityColumn,
    identityAttribute,
    displayColumn:
      displayField?.column ??
      (displayAttribute !== null && undelivered.includes(displayAttribute) ? -1 : identityColumn),
    displayAttribute,
    fields: fields.toSorted((a, b) => compareNames(a.name, b.name)),
    undelivered: undelivered.toSorted(compareNames),
    extra: [...byColumn.keys()],
    mergeRows: dialect.mergeRows,
    keyColumn: spooled(keyName),
    flagsColumn: spooled(flagsName),
    jsonLists: direct !== null,
  }
}
