// How PostgreSQL writes names, values, lists and comparisons.
import type { SqlColumn, SqlDialect, SqlKind } from './sql-session.ts'

/** A name in double quotes. */
function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function column(given: SqlColumn): string {
  return `q.${quoteName(given.name)}`
}

/** A single value; with the settings of the session (ISO, UTC) the casts give one text for one value. */
function textOf(expression: string, given: Pick<SqlColumn, 'kind' | 'type'>): string {
  switch (given.kind) {
    case 'bytes':
      // encode() breaks its lines after 76 characters.
      return `replace(encode(${expression}, 'base64'), e'\\n', '')`
    case 'date':
      if (given.type === 'date') return `${expression}::text`
      // 2026-11-22 10:00:00+00 becomes 2026-11-22T10:00:00Z.
      return `replace(replace(${expression}::text, ' ', 'T'), '+00', 'Z')`
    case 'boolean':
    case 'integer':
    case 'long':
    case 'json':
    case 'text':
      return `${expression}::text`
  }
}

function list(given: SqlColumn): string {
  const value = column(given)
  const element = { kind: given.kind, type: given.type.replace(/\[\]$/, '') }
  if (given.isList) {
    if (needsNoMore(element.kind)) return `to_json(array_remove(${value}::text[], null))::text`
    const text = textOf('e', element)
    return `case when ${value} is not null then (select coalesce(json_agg(${text}), '[]') from unnest(${value}) e where e is not null)::text end`
  }
  if (given.kind === 'json') {
    const json = `${value}::jsonb`
    return (
      `case when jsonb_typeof(${json}) = 'array' then ` +
      `(select coalesce(json_agg(e), '[]') from jsonb_array_elements_text(${json}) e where e is not null)::text ` +
      `when jsonb_typeof(${json}) <> 'null' then to_json(array[${json} #>> '{}'])::text end`
    )
  }
  return `case when ${value} is not null then to_json(array[${textOf(value, given)}])::text end`
}

function needsNoMore(kind: SqlKind): boolean {
  return kind !== 'bytes' && kind !== 'date'
}

function flag(given: SqlColumn): string {
  const value = column(given)
  if (given.kind === 'boolean') return `coalesce(${value}, false)`
  return `coalesce(lower(${value}::text) in ('true', 't', 'yes', 'y', 'on', '1'), false)`
}

/** The dialect of PostgreSQL. */
export const postgresqlDialect: SqlDialect = {
  // As in SQL: a name without quotes is one in small letters.
  quoteTable: (parts) =>
    parts.map(({ name, quoted }) => quoteName(quoted ? name : name.toLowerCase())).join('.'),
  column,
  text: (given) =>
    given.isList ? `array_to_json(${column(given)})::text` : textOf(column(given), given),
  list,
  flag,
  // COPY quotes what needs it.
  cell: (expression) => expression,
  letters: (flags) =>
    flags.map(({ letter, when }) => `case when ${when} then '${letter}' else '' end`).join(' || '),
  parameter: (position, given) => `$${position}::text::${given.type}`,
  greatest: (given) => `max(${column(given)})::text`,
  numbered: true,
}
