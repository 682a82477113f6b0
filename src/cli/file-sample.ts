// Looks at the beginning of a delimited file: its delimiter, its columns, and which of them identify and name an account.
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { createGunzip } from 'node:zlib'
import { CliError, exitCodes } from './exit-code.ts'

/** The first records of a file. */
export interface FileSample {
  readonly delimiter: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

const sampleBytes = 1024 * 1024
const delimiters = [',', ';', '\t', '|']

/** Reads the beginning of a file. `delimiter` and `encoding` null mean: find out. */
export async function sampleFile(
  path: string,
  delimiter: string | null,
  encoding: string | null,
): Promise<FileSample> {
  const start = await beginning(path)
  // The server takes files that are gzip, and knows them by the same two bytes.
  const isPacked = start.bytes[0] === 0x1f && start.bytes[1] === 0x8b
  const { bytes, whole } = isPacked ? await unpackedBeginning(path) : start
  const text = decode(bytes, whole, encoding)
  const used = delimiter ?? guessDelimiter(text)
  const records = parse(text, used)
  // The last record of a part of a file is cut.
  if (!whole && records.length > 1) records.pop()
  const [columns, ...rows] = records
  if (columns === undefined) {
    throw new CliError(
      exitCodes.usage,
      `${path} is empty.`,
      'Its first line must name the columns.',
    )
  }
  checkColumns(path, columns)
  return { delimiter: used, columns, rows: rows.filter((row) => row.some((cell) => cell !== '')) }
}

async function beginning(path: string): Promise<{ bytes: Buffer; whole: boolean }> {
  try {
    const file = await open(path, 'r')
    try {
      const buffer = Buffer.alloc(sampleBytes)
      const { bytesRead } = await file.read(buffer, 0, sampleBytes, 0)
      return { bytes: buffer.subarray(0, bytesRead), whole: bytesRead < sampleBytes }
    } finally {
      await file.close()
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CliError(exitCodes.usage, `The file cannot be read: ${reason}.`)
  }
}

async function unpackedBeginning(path: string): Promise<{ bytes: Buffer; whole: boolean }> {
  const chunks: Buffer[] = []
  let length = 0
  const source = createReadStream(path)
  const gunzip = createGunzip()
  source.on('error', (error) => gunzip.destroy(error))
  try {
    for await (const chunk of source.pipe(gunzip)) {
      chunks.push(chunk as Buffer)
      length += (chunk as Buffer).length
      if (length >= sampleBytes) break
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CliError(exitCodes.usage, `The gzip file cannot be unpacked: ${reason}.`)
  } finally {
    source.destroy()
  }
  return { bytes: Buffer.concat(chunks).subarray(0, sampleBytes), whole: length < sampleBytes }
}

function decode(bytes: Buffer, whole: boolean, encoding: string | null): string {
  const mark = bytes.subarray(0, 2).toString('hex')
  const byMark = mark === 'fffe' ? 'utf-16le' : mark === 'feff' ? 'utf-16be' : 'utf-8'
  let decoder: InstanceType<typeof TextDecoder>
  try {
    decoder = new TextDecoder(encoding ?? byMark, { fatal: true })
  } catch {
    throw new CliError(exitCodes.usage, `"${encoding ?? ''}" is no known encoding.`)
  }
  try {
    // As a stream, a character that the sample cuts is no error.
    return decoder.decode(bytes, { stream: !whole })
  } catch {
    throw new CliError(
      exitCodes.usage,
      `The file is not in ${decoder.encoding}.`,
      'Name its encoding, for example --encoding windows-1252.',
    )
  }
}

/** The delimiter that the first line holds most of, outside of quotes. */
function guessDelimiter(text: string): string {
  const line = /^(?:"(?:[^"]|"")*"|[^"\r\n])*/.exec(text)?.[0] ?? ''
  const bare = line.replaceAll(/"(?:[^"]|"")*"/g, '')
  const counts = delimiters.map((delimiter) => bare.split(delimiter).length)
  return delimiters[counts.indexOf(Math.max(...counts))] ?? ','
}

function parse(text: string, delimiter: string): string[][] {
  const records: string[][] = []
  let record: string[] = []
  let cell = ''
  let quoted = false
  const endRecord = (): void => {
    record.push(cell)
    if (record.length > 1 || cell !== '') records.push(record)
    record = []
    cell = ''
  }
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at] ?? ''
    if (quoted) {
      if (character !== '"') cell += character
      else if (text[at + 1] === '"') {
        cell += '"'
        at += 1
      } else quoted = false
    } else if (character === '"' && cell === '') quoted = true
    else if (character === delimiter) {
      record.push(cell)
      cell = ''
    } else if (character === '\n' || character === '\r') {
      if (character === '\r' && text[at + 1] === '\n') at += 1
      endRecord()
    } else cell += character
  }
  if (cell !== '' || record.length > 0) endRecord()
  return records
}

function checkColumns(path: string, columns: readonly string[]): void {
  const refuse = (reason: string): never => {
    throw new CliError(
      exitCodes.usage,
      `The first line of ${path} ${reason}.`,
      'It must name every column once.',
    )
  }
  const blank = columns.findIndex((column) => column.trim() === '')
  if (blank >= 0) refuse(`has no name for column ${blank + 1}`)
  const folded = columns.map((column) => column.toLowerCase())
  const twice = columns.filter((_, at) => folded.indexOf(folded[at] ?? '') !== at)
  if (twice.length > 0)
    refuse(`names ${twice.map((column) => `"${column}"`).join(', ')} more than once`)
}

/** A column that was chosen, and why. */
export interface ChosenColumn {
  readonly column: string
  readonly why: string
}

const identityNames = [
  'id',
  'accountid',
  'nativeidentity',
  'employeeid',
  'employeenumber',
  'personnelnumber',
  'personid',
  'workerid',
  'userid',
  'uid',
  'uuid',
  'guid',
  'objectguid',
  'entryuuid',
  'objectid',
  'samaccountname',
  'username',
  'login',
  'loginname',
  'userprincipalname',
  'distinguishedname',
  'dn',
  'email',
  'mail',
]
const displayNames = [
  'displayname',
  'name',
  'fullname',
  'cn',
  'commonname',
  'accountname',
  'username',
  'login',
  'samaccountname',
  'email',
  'mail',
]

/**
 * The column that identifies an account: the first with a usual name whose values are there and differ, else the
 * first such column. With merged rows one account has several rows, so values may repeat.
 */
export function chooseIdentity(sample: FileSample, merged: boolean): ChosenColumn {
  const good = sample.columns.filter((column) => identifies(sample, column, merged))
  const known = usual(good, identityNames)
  const rows = sample.rows.length
  const seen =
    rows === 0
      ? 'the file has no rows yet'
      : `filled${merged ? '' : ' and different'} in ${rows} rows`
  if (known !== undefined) return { column: known, why: `a usual name, ${seen}` }
  const [first] = good
  if (first !== undefined && rows > 0)
    return { column: first, why: `the first column that is ${seen}` }
  throw new CliError(
    exitCodes.usage,
    'No column identifies an account: in each of them a value is missing or occurs twice.',
    'Name it with --id-column. If an account has several rows, name the columns that differ with --merge.',
  )
}

/** The column that people know an account by; the identity itself where there is none. */
export function chooseDisplay(sample: FileSample, identity: string): ChosenColumn {
  const known = usual(sample.columns, displayNames)
  if (known !== undefined) return { column: known, why: 'a usual name' }
  return { column: identity, why: 'no column has a usual name' }
}

function usual(columns: readonly string[], names: readonly string[]): string | undefined {
  const folded = columns.map((column) => column.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, ''))
  const name = names.find((candidate) => folded.includes(candidate))
  return name === undefined ? undefined : columns[folded.indexOf(name)]
}

function identifies(sample: FileSample, column: string, merged: boolean): boolean {
  const at = sample.columns.indexOf(column)
  const values = sample.rows.map((row) => row[at]?.trim() ?? '')
  if (values.includes('')) return false
  return merged || new Set(values).size === values.length
}
