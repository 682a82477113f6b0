// How a delimited file is written: the settings of contract.md sections 2.2, 3.1 and 8.15, made typed.
import { RecordFilterError } from './record-filter-tokens.ts'
import { parseRecordFilter } from './record-filter.ts'
import { readFlag, readList, readText, settingError } from './setting.ts'

/** The dialect of a delimited file and how its rows become accounts. */
export interface Dialect {
  /** One ASCII character. */
  readonly delimiter: string
  /** One ASCII character; null when nothing is quoted. */
  readonly quote: string | null
  /** One ASCII character that begins a comment line; null when there are none. */
  readonly comment: string | null
  /** Whether the first record names the columns; the spool of a direct source has no such record. */
  readonly header: boolean
  /** Records after the header that are skipped. */
  readonly linesToSkip: number
  /** A label that TextDecoder knows; null means UTF-8. A byte order mark wins over it. */
  readonly encoding: string | null
  readonly filterEmptyRecords: boolean
  /** Whether rows of one account are merged; otherwise a later row of an account is a reject. */
  readonly mergeRows: boolean
  /** The column of the native identity; null means the identity attribute of the schema. */
  readonly indexColumn: string | null
  /** Columns that collect several values besides the multi-valued attributes of the schema. */
  readonly mergeColumns: readonly string[]
  /** A filterString that can be read: records that match it are dropped. Null when none are. */
  readonly filter: string | null
}

/**
 * The dialect in which the records of a direct source are spooled: comma, double quotes, nothing else. Of its settings
 * only those of merging count: rows of one account are merged when columns to merge are named, or when `mergeRows` says so.
 */
export function spoolDialect(given: Readonly<Record<string, unknown>>): Dialect {
  const mergeColumns = readList(given, 'mergeColumns')
  return {
    delimiter: ',',
    quote: '"',
    comment: null,
    header: false,
    linesToSkip: 0,
    encoding: null,
    filterEmptyRecords: false,
    mergeRows: readFlag(given, 'mergeRows', mergeColumns.length > 0),
    indexColumn: readText(given, 'indexColumn'),
    mergeColumns,
    filter: null,
  }
}

/** Reads the dialect out of `connectorAttributes`; a value that cannot be used is an error that names its key. */
export function readDialect(given: Readonly<Record<string, unknown>>): Dialect {
  if (!readFlag(given, 'hasHeader', true)) {
    throw settingError('hasHeader', 'is false', 'The first line of a file must name its columns.')
  }
  const delimiter = character(given, 'delimiter') ?? ','
  const quote = given['quoteCharacter'] === '' ? null : (character(given, 'quoteCharacter') ?? '"')
  const comment =
    given['commentCharacter'] === '' ? null : (character(given, 'commentCharacter') ?? '#')
  if (new Set([delimiter, quote, comment]).size < 3 && (quote !== null || comment !== null)) {
    throw settingError(
      'delimiter',
      'is the same character as quoteCharacter or commentCharacter',
      'Choose three different characters.',
    )
  }
  const skip = Number(given['linesToSkip'] ?? 0)
  if (!Number.isInteger(skip) || skip < 0) {
    throw settingError('linesToSkip', 'is not a whole number from 0', 'Write it as 0, 1, 2 ….')
  }
  return {
    delimiter,
    quote,
    comment,
    header: true,
    linesToSkip: skip,
    encoding: readEncoding(given),
    filterEmptyRecords: readFlag(given, 'filterEmptyRecords', true),
    mergeRows: readFlag(given, 'mergeRows', false),
    indexColumn: readText(given, 'indexColumn'),
    mergeColumns: readList(given, 'mergeColumns'),
    filter: readFilter(given),
  }
}

/** A label that TextDecoder knows, as it was written. */
function readEncoding(given: Readonly<Record<string, unknown>>): string | null {
  const label = readText(given, 'fileEncoding')
  if (label === null || label.trim() === '') return null
  try {
    // Asked for nothing but its error.
    void new TextDecoder(label)
    return label
  } catch {
    throw settingError(
      'fileEncoding',
      `names an encoding that is not known: ${label}`,
      'Write a label of the WHATWG Encoding Standard, for example windows-1252.',
    )
  }
}

function readFilter(given: Readonly<Record<string, unknown>>): string | null {
  const text = readText(given, 'filterString')
  if (text === null || text.trim() === '') return null
  try {
    parseRecordFilter(text)
    return text
  } catch (error) {
    if (!(error instanceof RecordFilterError)) throw error
    const problem = error.message.replace(/\.$/, '')
    throw settingError('filterString', `is wrong at character ${error.at}: ${problem}`, error.hint)
  }
}

/** One ASCII character, written as itself or as `\u0009` or `\t`. */
function character(given: Readonly<Record<string, unknown>>, key: string): string | null {
  const value = readText(given, key)
  if (value === null) return null
  const escape = /^\\u([0-9a-fA-F]{4})$/.exec(value)
  const found = escape
    ? String.fromCharCode(Number.parseInt(escape[1] ?? '', 16))
    : value === '\\t'
      ? '\t'
      : value
  const code = found.charCodeAt(0)
  if (found.length !== 1 || code > 0x7e || code === 10 || code === 13 || code === 0) {
    throw settingError(
      key,
      'is not a single ASCII character',
      'Write one character, a tab as \\u0009.',
    )
  }
  return found
}
