// Filters and sorters as SQL: the fields of a list are data, every value is a parameter, nothing of the input becomes text of a statement.
import { RequestError } from '../core/errors.ts'
import { dateInstant } from '../core/filter.ts'
import type { CompareOp, Condition, Filter, FilterOp, FilterValue } from '../core/filter.ts'
import { filterError } from '../core/filter-tokens.ts'
import { fromWireId } from '../core/id.ts'
import { unknownSorter } from '../core/sorter.ts'
import type { Sorter } from '../core/sorter.ts'

/** The values of a statement in the order of their numbers. */
export interface Parameters {
  readonly values: unknown[]
}

/** Far below the 65,535 values that the protocol takes in a statement. */
const parameterLimit = 20_000

/**
 * Adds a value and gives its place, for example `$3::uuid`. Throws `bad_filter` when there are too many: conditions on
 * what a source has are asked for each source by itself.
 */
export function parameter(parameters: Parameters, value: unknown, type: string): string {
  if (parameters.values.length >= parameterLimit) {
    throw new RequestError('bad_filter', 'The filter asks about too many sources at once.', {
      hint: 'Add sourceId eq "…" to it, or use fewer conditions on hasEntitlements, entitlements and source.',
    })
  }
  parameters.values.push(value)
  return `$${parameters.values.length}::${type}`
}

/**
 * What the values of a field are, and so how they are compared:
 * - `id`: a uuid column, compared exactly in its wire form;
 * - `text`: letters A to Z without their case, everything else as it is. The embedded server has only the collation C,
 *   whose `lower` folds just these, so this is the one rule that holds on every server; values are folded the same way;
 * - `key`: a column that Node folded to lower case when it was written; the value is folded by Node too;
 * - `exact`: text compared as it is;
 * - `boolean`, `date`, and `list` (an array of texts, compared like `text`).
 */
export type FieldKind = 'id' | 'text' | 'key' | 'exact' | 'boolean' | 'date' | 'list'

export interface ListField {
  readonly kind: FieldKind
  /** The expression of the column. */
  readonly sql: string
  readonly ops: readonly FilterOp[]
  /** What clients may write for a value of the column: gives the stored text. */
  readonly alias?: (text: string) => string
  /** Makes the condition itself, for fields that are no column. */
  readonly translate?: (condition: Condition, parameters: Parameters) => string
}
export type ListFields = Readonly<Record<string, ListField>>

/** A filter as a condition of SQL. Throws `bad_filter` for a field, operator or value that the list does not take. */
export function filterToSql(filter: Filter, fields: ListFields, parameters: Parameters): string {
  switch (filter.kind) {
    case 'and':
    case 'or':
      return `(${filter.items.map((item) => filterToSql(item, fields, parameters)).join(` ${filter.kind} `)})`
    case 'not':
      // Not `not (…)`: a comparison with null is null, and so would its negation be; the row must then be listed.
      return `((${filterToSql(filter.item, fields, parameters)}) is not true)`
    case 'compare':
    case 'list':
    case 'presence':
      return conditionToSql(filter, fields, parameters)
  }
}

/**
 * The columns to order by. `tiebreak`, the unique column, is always last, so that pages neither overlap nor leave gaps;
 * `columns` are the expressions by the names of the wire.
 */
export function orderToSql(
  sorters: readonly Sorter[],
  columns: Readonly<Record<string, string>>,
  tiebreak: string,
): string {
  const order = sorters.map(({ field, descending }) => {
    const column = Object.hasOwn(columns, field) ? columns[field] : undefined
    if (column === undefined) throw unknownSorter(field, Object.keys(columns))
    return `${column}${descending ? ' desc' : ''}`
  })
  const isUnique = order.some((item) => item === tiebreak || item === `${tiebreak} desc`)
  return (isUnique ? order : [...order, tiebreak]).join(', ')
}

/** The expression of a text for ordering: without the case of A to Z, by code points, the same on every server. */
export function foldedText(sql: string): string {
  return `lower((${sql}) collate "C")`
}

/** The letters A to Z in lower case, as `lower` does under the collation C. */
export function foldAscii(text: string): string {
  return text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase())
}

/** The text of a value, or `bad_filter` when it is none. */
export function textOf(value: FilterValue, field: string): string {
  if (value.kind === 'string') return value.value
  throw filterError(
    value.at,
    `"${field}" is compared with text.`,
    'Write the value in double quotes.',
  )
}

/** The boolean of a value, or `bad_filter` when it is none. */
export function booleanOf(value: FilterValue, field: string): boolean {
  if (value.kind === 'boolean') return value.value
  throw filterError(value.at, `"${field}" is true or false.`, 'Write true or false without quotes.')
}

/** Wire ids exactly as they are written on the wire → uuids; everything else names nothing. */
export function uuidOf(text: string): string | null {
  return /^[0-9a-f]{32}$/.test(text) ? fromWireId(text) : null
}

function conditionToSql(condition: Condition, fields: ListFields, parameters: Parameters): string {
  const name = condition.field
  const field = Object.hasOwn(fields, name) ? fields[name] : undefined
  if (field === undefined) {
    const known = Object.keys(fields).join(', ')
    throw filterError(
      condition.at,
      `this list cannot be filtered by "${name.slice(0, 60)}".`,
      `Filter by ${known}.`,
    )
  }
  const wanted = condition.op === 'pr' ? 'isnull' : condition.op
  if (!field.ops.includes(wanted)) {
    throw filterError(
      condition.opAt,
      `"${name}" does not take the operator "${condition.op}".`,
      `"${name}" takes ${field.ops.join(', ')}.`,
    )
  }
  if (field.translate !== undefined) return field.translate(condition, parameters)
  switch (condition.kind) {
    case 'presence':
      return `(${field.sql}) is ${condition.op === 'pr' ? 'not ' : ''}null`
    case 'compare':
      return condition.value.kind === 'null'
        ? compareNull(condition, field)
        : compare(condition.op, condition.value, name, field, parameters)
    case 'list':
      return condition.op === 'ca'
        ? containsAll(condition.values, name, field, parameters)
        : anyOf(condition.values, name, field, parameters)
  }
}

function compareNull(condition: Condition & { kind: 'compare' }, field: ListField): string {
  const takesNull = field.ops.includes('isnull')
  if (!takesNull || (condition.op !== 'eq' && condition.op !== 'ne')) {
    throw filterError(
      condition.value.at,
      `"${condition.field}" ${condition.op} does not take null.`,
      takesNull ? `Write ${condition.field} isnull.` : 'Write a value.',
    )
  }
  return `(${field.sql}) is ${condition.op === 'ne' ? 'not ' : ''}null`
}

const sqlOps = { eq: '=', ne: 'is distinct from', gt: '>', ge: '>=', lt: '<', le: '<=' } as const

function compare(
  op: CompareOp,
  value: FilterValue,
  name: string,
  field: ListField,
  parameters: Parameters,
): string {
  const { kind, sql } = field
  switch (kind) {
    case 'id':
      return compareId(op, textOf(value, name), sql, parameters)
    case 'boolean':
      return compareBy(op, sql, parameter(parameters, booleanOf(value, name), 'boolean'))
    case 'date':
      return op === 'sw' || op === 'co'
        ? compareBy(op, isoText(sql), parameter(parameters, prefixOf(value, name), 'text'))
        : compareBy(op, instantOf(sql), parameter(parameters, instant(value, name), 'timestamptz'))
    case 'text':
    case 'key':
    case 'exact': {
      const text = storedText(textOf(value, name), field)
      return compareBy(op, textColumn(field), parameter(parameters, text, 'text'))
    }
    case 'list':
      return containsAll([value], name, field, parameters)
  }
}

function compareBy(op: CompareOp, column: string, place: string): string {
  // strpos and starts_with know no wildcards, so %, _ and \ in a value are themselves.
  if (op === 'co') return `strpos(${column}, ${place}) > 0`
  if (op === 'sw') return `starts_with(${column}, ${place})`
  return `${column} ${sqlOps[op]} ${place}`
}

function compareId(op: CompareOp, text: string, sql: string, parameters: Parameters): string {
  if (op === 'eq' || op === 'ne') {
    const uuid = uuidOf(text)
    if (uuid === null) return op === 'eq' ? 'false' : 'true'
    return compareBy(op, sql, parameter(parameters, uuid, 'uuid'))
  }
  const column = `(replace((${sql})::text, '-', '') collate "C")`
  return compareBy(op, column, parameter(parameters, text, 'text'))
}

function anyOf(
  values: readonly FilterValue[],
  name: string,
  field: ListField,
  parameters: Parameters,
): string {
  switch (field.kind) {
    case 'id': {
      const uuids = values
        .map((value) => uuidOf(textOf(value, name)))
        .filter((uuid) => uuid !== null)
      return `${field.sql} = any(${parameter(parameters, uuids, 'uuid[]')})`
    }
    case 'boolean': {
      const flags = values.map((value) => booleanOf(value, name))
      return `${field.sql} = any(${parameter(parameters, flags, 'boolean[]')})`
    }
    case 'date': {
      const instants = values.map((value) => instant(value, name))
      return `${instantOf(field.sql)} = any(${parameter(parameters, instants, 'timestamptz[]')})`
    }
    case 'text':
    case 'key':
    case 'exact': {
      const texts = values.map((value) => storedText(textOf(value, name), field))
      return `${textColumn(field)} = any(${parameter(parameters, texts, 'text[]')})`
    }
    case 'list':
      return containsAll(values, name, field, parameters)
  }
}

/** Every value is an element of the array. */
function containsAll(
  values: readonly FilterValue[],
  name: string,
  field: ListField,
  parameters: Parameters,
): string {
  const texts = values.map((value) => foldAscii(textOf(value, name)))
  const elements = `array(select ${foldedText('element')} from unnest(${field.sql}) as element)`
  return `${elements} @> ${parameter(parameters, texts, 'text[]')}`
}

function textColumn(field: ListField): string {
  if (field.kind === 'text') return foldedText(field.sql)
  return `((${field.sql}) collate "C")`
}

function storedText(text: string, field: ListField): string {
  const stored = field.alias === undefined ? text : field.alias(text)
  if (field.kind === 'text') return foldAscii(stored)
  return field.kind === 'key' ? foldKey(stored) : stored
}

/** How a name is folded by Node for a column of kind `key`: all letters of all scripts. */
export function foldKey(text: string): string {
  return text.normalize('NFC').toLowerCase()
}

/** Instants are shown in whole milliseconds, so they are compared so too: what a client read finds the row again. */
function instantOf(sql: string): string {
  return `date_trunc('milliseconds', ${sql})`
}

function isoText(sql: string): string {
  return `to_char((${sql}) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
}

function instant(value: FilterValue, field: string): string {
  const text = prefixOf(value, field)
  const iso = dateInstant(text)
  if (iso === null) {
    throw filterError(
      value.at,
      `"${field}" is compared with a date-time.`,
      'Write it as 2018-12-18T23:05:55Z; a part of it from the left, such as 2018-12, is the first instant of that time.',
    )
  }
  return iso
}

/** The text of a date-time: bare, a bare year, or in quotes. */
function prefixOf(value: FilterValue, field: string): string {
  if (value.kind === 'date' || value.kind === 'number') return value.text
  if (value.kind === 'string') return value.value
  throw filterError(value.at, `"${field}" is compared with a date-time.`)
}
