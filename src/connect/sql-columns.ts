// Which column of a query is which attribute, and what else of a record it is.
import type { DescribedAttribute, DescribedSchema } from '../core/description.ts'
import { RunError } from '../core/errors.ts'
import type { AttributeType } from '../core/schema.ts'
import { settingError } from '../core/setting.ts'
import type { ReadRequest } from './reader.ts'
import type { SqlColumn, SqlKind } from './sql-session.ts'
import type { SqlSettings } from './sql-settings.ts'

/** Columns that say something of a record besides its attributes. */
export type SpecialColumns = Pick<
  SqlSettings,
  | 'indexColumn'
  | 'keyColumn'
  | 'disabledColumn'
  | 'lockedColumn'
  | 'watermarkColumn'
  | 'mergeColumns'
>

/** What of a query is read. */
export interface Selection {
  /** The column of the native identity. */
  readonly identity: SqlColumn
  /** For each attribute of the request its column; null where the query has none. */
  readonly attributes: readonly {
    readonly name: string
    readonly isMulti: boolean
    readonly column: SqlColumn | null
  }[]
  readonly key: SqlColumn | null
  readonly disabled: SqlColumn | null
  readonly locked: SqlColumn | null
  readonly watermark: SqlColumn | null
  readonly undelivered: readonly string[]
  readonly extra: readonly string[]
}

/** For queries that have nothing special. */
export const noSpecialColumns: SpecialColumns = {
  indexColumn: null,
  keyColumn: null,
  disabledColumn: null,
  lockedColumn: null,
  watermarkColumn: null,
  mergeColumns: [],
}

/** Finds what is wanted among the columns of a query; throws what is missing with the columns that there are. */
export function selectColumns(
  request: Pick<ReadRequest, 'attributes' | 'identityAttribute'>,
  columns: readonly SqlColumn[],
  special: SpecialColumns,
): Selection {
  refuseTwice(columns)
  const identity = identityColumn(request, columns, special)
  const attributes = request.attributes.map((wanted) => ({
    name: wanted.name,
    isMulti: wanted.isMulti || special.mergeColumns.includes(wanted.name),
    column:
      wanted.name === request.identityAttribute
        ? identity
        : findColumn(columns, wanted.nativeName ?? wanted.name),
  }))
  const others = {
    key: namedColumn(columns, special, 'keyColumn'),
    disabled: namedColumn(columns, special, 'disabledColumn'),
    locked: namedColumn(columns, special, 'lockedColumn'),
    watermark: namedColumn(columns, special, 'watermarkColumn'),
  }
  const used = new Set([
    ...attributes.map(({ column }) => column),
    identity,
    ...Object.values(others),
  ])
  return {
    identity,
    attributes,
    ...others,
    undelivered: attributes.filter(({ column }) => column === null).map(({ name }) => name),
    extra: columns.filter((column) => !used.has(column)).map(({ name }) => name),
  }
}

/** The column of a name: as it is written, or the only one that differs in nothing but case. Null when there is none. */
export function findColumn(columns: readonly SqlColumn[], name: string): SqlColumn | null {
  const exact = columns.find((column) => column.name === name)
  if (exact !== undefined) return exact
  // PostgreSQL writes employeeId as employeeid unless it stands in quotes.
  const alike = columns.filter((column) => column.name.toLowerCase() === name.toLowerCase())
  return alike.length === 1 ? (alike[0] ?? null) : null
}

/** The column that a setting names; null when the setting is not there. */
export function namedColumn(
  columns: readonly SqlColumn[],
  special: SpecialColumns,
  key: Exclude<keyof SpecialColumns, 'mergeColumns'>,
): SqlColumn | null {
  const name = special[key]
  if (name === null) return null
  const column = findColumn(columns, name)
  if (column !== null) return column
  throw settingError(
    key,
    `names the column "${name}", which the query does not have`,
    listed(columns),
  )
}

function identityColumn(
  request: Pick<ReadRequest, 'attributes' | 'identityAttribute'>,
  columns: readonly SqlColumn[],
  special: SpecialColumns,
): SqlColumn {
  const index = namedColumn(columns, special, 'indexColumn')
  if (index !== null) return index
  const { identityAttribute } = request
  if (identityAttribute === null) {
    throw new RunError('no_identity_attribute', 'The schema names no identity attribute.', {
      hint: 'Set identityAttribute of the schema, or indexColumn of the source, to the column that identifies an account.',
    })
  }
  const attribute = request.attributes.find(({ name }) => name === identityAttribute)
  const name = attribute?.nativeName ?? identityAttribute
  const column = findColumn(columns, name)
  if (column !== null) return column
  throw new RunError(
    'no_identity_column',
    `The query has no column "${name}", which identifies an account.`,
    { hint: `${listed(columns)} Name one of them that way in the query, or set indexColumn.` },
  )
}

function refuseTwice(columns: readonly SqlColumn[]): void {
  const names = columns.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice === undefined) return
  throw columnTwice(twice)
}

/** The error of a query that has a column twice. */
export function columnTwice(name: string, cause?: unknown): RunError {
  return new RunError('column_twice', `The query has more than one column "${name}".`, {
    hint: 'Name each column once: give one of them another name with "as".',
    cause,
  })
}

/** At most twenty names, as a sentence. */
function listed(columns: readonly SqlColumn[]): string {
  const names = columns.slice(0, 20).map(({ name }) => name)
  const more = columns.length > 20 ? ', …' : ''
  return `The columns of the query are ${names.join(', ')}${more}.`
}

/** Columns as a schema. The first column identifies an object unless `identity` names another. */
export function describeColumns(
  name: string,
  columns: readonly SqlColumn[],
  identity: SqlColumn | null,
): DescribedSchema {
  refuseTwice(columns)
  const identityAttribute = (identity ?? columns[0])?.name ?? 'id'
  const display = findColumn(columns, 'displayName') ?? findColumn(columns, 'name')
  return {
    name,
    nativeObjectType: name,
    identityAttribute,
    displayAttribute: display?.name ?? identityAttribute,
    attributes: columns.map(describeColumn),
  }
}

function describeColumn(column: SqlColumn): DescribedAttribute {
  return {
    name: column.name,
    type: attributeType(column.kind),
    description: `The column ${column.name} (${column.type}).`,
    // What JSON holds is not known before it is read; a list is what it is used for.
    isMulti: column.isList || column.kind === 'json',
    isEntitlement: false,
  }
}

function attributeType(kind: SqlKind): AttributeType {
  switch (kind) {
    case 'boolean':
      return 'BOOLEAN'
    case 'integer':
      return 'INT'
    case 'long':
      return 'LONG'
    case 'date':
      return 'DATE'
    case 'text':
    case 'bytes':
    case 'json':
      return 'STRING'
  }
}
