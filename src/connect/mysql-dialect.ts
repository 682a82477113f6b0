// How MySQL and MariaDB write names, values, lists and comparisons.
import type { SqlColumn, SqlDialect } from './sql-session.ts'

/** A name in back quotes, which no mode of the server gives another meaning. */
function quoteName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``
}

function column(given: SqlColumn): string {
  return `q.${quoteName(given.name)}`
}

function text(given: SqlColumn): string {
  const value = column(given)
  switch (given.kind) {
    case 'bytes':
      // to_base64() breaks its lines after 76 characters.
      return `convert(replace(to_base64(${value}), char(10), '') using utf8mb4)`
    case 'boolean':
      return `case when ${value} is null then null when ${value} then 'true' else 'false' end`
    case 'date':
      return dateText(value, given.type)
    case 'integer':
    case 'long':
    case 'json':
    case 'text':
      // Columns of several character sets become one text.
      return given.type === 'bit'
        ? `convert(${value} + 0 using utf8mb4)`
        : `convert(${value} using utf8mb4)`
  }
}

function dateText(value: string, type: string): string {
  const plain = `convert(${value} using utf8mb4)`
  if (type === 'date') return plain
  // The session is in UTC: a timestamp is a moment, a datetime is what a clock on some wall said.
  return type === 'timestamp'
    ? `concat(replace(${plain}, ' ', 'T'), 'Z')`
    : `replace(${plain}, ' ', 'T')`
}

function list(given: SqlColumn): string {
  const value = text(given)
  const one = `case when ${column(given)} is not null then json_array(${value}) end`
  if (given.kind !== 'json') return one
  return `case when json_type(${column(given)}) = 'ARRAY' then ${value} when json_type(${column(given)}) <> 'NULL' then json_array(${unquoted(given)}) end`
}

function unquoted(given: SqlColumn): string {
  return `json_unquote(${column(given)})`
}

function flag(given: SqlColumn): string {
  const value = column(given)
  if (given.kind === 'boolean') return `coalesce(${value} <> 0, false)`
  return `coalesce(lower(${text(given)}) in ('true', 't', 'yes', 'y', 'on', '1'), false)`
}

/** The dialect of MySQL and MariaDB. */
export const mysqlDialect: SqlDialect = {
  quoteTable: (parts) => parts.map(({ name }) => quoteName(name)).join('.'),
  column,
  text,
  list,
  flag,
  // Nothing for null, and text always in quotes, which is cheaper than to look whether it needs them.
  cell: (expression, isPlain) =>
    isPlain
      ? `coalesce(${expression}, '')`
      : `coalesce(concat('"', replace(${expression}, '"', '""'), '"'), '')`,
  letters: (flags) =>
    `concat(${flags.map(({ letter, when }) => `if(${when}, '${letter}', '')`).join(', ')})`,
  // Compared with a column the text becomes a value of the column's type.
  parameter: () => '?',
  greatest: (given) => `convert(max(${column(given)}), char)`,
  numbered: false,
}
