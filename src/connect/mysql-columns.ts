// What MySQL and MariaDB say of the columns of a query.
import mysql from 'mysql2'
import type { SqlColumn, SqlKind } from './sql-session.ts'

const { Types } = mysql

/** The charset of bytes that are no text. */
const binaryCharset = 63

/** The columns of a result. */
export function describeFields(fields: readonly mysql.FieldPacket[]): readonly SqlColumn[] {
  return fields.map((field) => {
    const [kind, type] = describeType(field)
    return { name: field.name, kind, type, isList: false }
  })
}

function describeType(field: mysql.FieldPacket): readonly [SqlKind, string] {
  const length = field.columnLength ?? 0
  switch (field.columnType ?? field.type) {
    case Types.TINY:
      // BOOLEAN is another word for tinyint(1), here and in every client.
      return length === 1 ? ['boolean', 'tinyint(1)'] : ['integer', 'tinyint']
    case Types.SHORT:
    case Types.INT24:
    case Types.YEAR:
      return ['integer', 'int']
    case Types.LONG:
      // An unsigned int does not fit into 32 bits with a sign.
      return isUnsigned(field) ? ['long', 'int unsigned'] : ['integer', 'int']
    case Types.LONGLONG:
      return ['long', 'bigint']
    case Types.BIT:
      return length === 1 ? ['boolean', 'bit'] : ['long', 'bit']
    case Types.DATE:
    case Types.NEWDATE:
      return ['date', 'date']
    case Types.DATETIME:
      return ['date', 'datetime']
    case Types.TIMESTAMP:
      return ['date', 'timestamp']
    case Types.JSON:
      return ['json', 'json']
    case Types.GEOMETRY:
      return ['bytes', 'geometry']
    case Types.VARCHAR:
    case Types.VAR_STRING:
    case Types.STRING:
    case Types.BLOB:
    case Types.TINY_BLOB:
    case Types.MEDIUM_BLOB:
    case Types.LONG_BLOB:
      return describeText(field)
    default:
      return ['text', 'text']
  }
}

function describeText(field: mysql.FieldPacket): readonly [SqlKind, string] {
  // MariaDB keeps JSON as text and says so beside the type.
  if (field.extendedFormat === 'json') return ['json', 'json']
  if (field.extendedTypeName !== undefined && field.extendedTypeName !== '') {
    return ['text', field.extendedTypeName]
  }
  return field.characterSet === binaryCharset ? ['bytes', 'binary'] : ['text', 'text']
}

function isUnsigned(field: mysql.FieldPacket): boolean {
  const unsigned = 32
  return typeof field.flags === 'number' && (field.flags & unsigned) !== 0
}
