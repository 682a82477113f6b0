// Puts the statements of a read together: the query of the settings is always a derived table in one SELECT of ours.
import { recordFlags } from '../core/layout.ts'
import { settingError } from '../core/setting.ts'
import type { ReadRecord, ReadValue } from './reader.ts'
import type { Selection } from './sql-columns.ts'
import type { SqlColumn, SqlDialect, SqlRow } from './sql-session.ts'

/** What comes of a query inside a statement. The newline ends a comment at its end. */
export function derived(query: string): string {
  return `(\n${query}\n) q`
}

/** The expressions of a selection with what becomes of them. */
export interface RecordShape {
  readonly expressions: readonly string[]
  readonly record: (row: SqlRow) => ReadRecord
}

/** How records are read row by row. */
export function recordShape(selection: Selection, dialect: SqlDialect): RecordShape {
  const expressions = [dialect.text(selection.identity)]
  const add = (expression: string): number => expressions.push(expression) - 1
  const keyAt = selection.key === null ? -1 : add(dialect.text(selection.key))
  const flags = flagConditions(selection, dialect)
  const flagsAt = flags.length === 0 ? -1 : add(dialect.letters(flags))
  const cells = selection.attributes.map(({ isMulti, column }) => ({
    at: column === null ? -1 : add(valueOf(dialect, isMulti, column)),
    isMulti,
  }))
  const record = (row: SqlRow): ReadRecord => {
    const letters = flagsAt < 0 ? '' : (row[flagsAt] ?? '')
    return {
      identity: row[0] ?? '',
      ...(keyAt < 0 ? {} : { key: row[keyAt] ?? '' }),
      ...(selection.disabled === null ? {} : { disabled: letters.includes(recordFlags.disabled) }),
      ...(selection.locked === null ? {} : { locked: letters.includes(recordFlags.locked) }),
      values: cells.map(({ at, isMulti }): ReadValue => {
        const text = at < 0 ? null : (row[at] ?? null)
        return isMulti && text !== null ? readTexts(text) : text
      }),
    }
  }
  return { expressions, record }
}

/** The expressions of a copy with the names of its columns. `special` are the names of columns that are no attribute. */
export function copyShape(
  selection: Selection,
  identityAttribute: string | null,
  dialect: SqlDialect,
  special: { readonly identity: string; readonly key: string; readonly flags: string },
): { readonly expressions: readonly string[]; readonly columns: readonly string[] } {
  const expressions: string[] = []
  const columns: string[] = []
  const add = (name: string, expression: string, isPlain = false): void => {
    columns.push(name)
    expressions.push(dialect.cell(expression, isPlain))
  }
  if (selection.key !== null) add(special.key, dialect.text(selection.key))
  const own = selection.attributes.some(({ name }) => name === identityAttribute)
  if (!own) add(special.identity, dialect.text(selection.identity))
  const flags = flagConditions(selection, dialect)
  if (flags.length > 0) add(special.flags, dialect.letters(flags), true)
  for (const { name, isMulti, column } of selection.attributes) {
    if (column === null) continue
    add(name, valueOf(dialect, isMulti, column), !isMulti && needsNoQuotes(column))
  }
  return { expressions, columns }
}

/** What a delta reads: rows that changed at or after the mark, or all rows of an account that has such a row. */
export function changedRows(
  dialect: SqlDialect,
  query: string,
  columns: { readonly identity: SqlColumn; readonly watermark: SqlColumn },
  mergeRows: boolean,
): string {
  // Rows that have the very mark are read again: others with the same mark may have come since.
  const changed = `${dialect.column(columns.watermark)} >= ${dialect.parameter(1, columns.watermark)}`
  if (!mergeRows) return changed
  // An account of several rows is whole only with those that did not change.
  const identity = dialect.column(columns.identity)
  return `${identity} in (select ${identity} from ${derived(query)} where ${changed})`
}

// Not the cast `::watermark`.
const watermarkWord = /(?<![:\w]):watermark\b/g

/** The tombstone query with the mark in the place of each `:watermark`, and how often it has to be given. */
export function tombstoneStatement(
  dialect: SqlDialect,
  query: string,
  watermark: SqlColumn,
): { readonly query: string; readonly parameters: number } {
  let found = 0
  const text = query.replaceAll(watermarkWord, () => {
    found += 1
    return dialect.parameter(dialect.numbered ? 1 : found, watermark)
  })
  return { query: text, parameters: dialect.numbered ? Math.min(found, 1) : found }
}

/** The tombstone query as it is described: null is a value of every type. */
export function withoutMark(query: string): string {
  return query.replaceAll(watermarkWord, 'null')
}

/** The column of a tombstone query: the one that is named like the identity, or its only one. */
export function tombstoneColumn(columns: readonly SqlColumn[], identity: SqlColumn): SqlColumn {
  const named = columns.find(({ name }) => name.toLowerCase() === identity.name.toLowerCase())
  const column = named ?? (columns.length === 1 ? columns[0] : undefined)
  if (column !== undefined) return column
  throw settingError(
    'tombstoneQuery',
    `gives no column "${identity.name}"`,
    'Let it give the index column of the rows that are gone.',
  )
}

/** Whether the text of a value has letters, digits and little else. */
function needsNoQuotes(column: SqlColumn): boolean {
  return !column.isList && column.kind !== 'text' && column.kind !== 'json'
}

function valueOf(dialect: SqlDialect, isMulti: boolean, column: SqlColumn): string {
  return isMulti ? dialect.list(column) : dialect.text(column)
}

function flagConditions(
  selection: Selection,
  dialect: SqlDialect,
): readonly { readonly letter: string; readonly when: string }[] {
  const { disabled, locked } = selection
  return [
    ...(disabled === null ? [] : [{ letter: recordFlags.disabled, when: dialect.flag(disabled) }]),
    ...(locked === null ? [] : [{ letter: recordFlags.locked, when: dialect.flag(locked) }]),
  ]
}

/** The texts of a JSON list. What is a list or an object in it stays JSON, for the schema to judge. */
function readTexts(json: string): readonly string[] {
  const values: unknown = JSON.parse(json)
  if (!Array.isArray(values)) return [json]
  return values
    .filter((value: unknown) => value !== null)
    .map((value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value)))
}
