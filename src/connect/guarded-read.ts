// What the engine demands of every reader: signs of life, lawful records within limits, and an end that is proven.
import { RunError } from '../core/errors.ts'
import { readInteger, type Settings } from '../core/setting.ts'
import { connectorError } from './connector-error.ts'
import type { Page, ReadEnd, ReadRecord, ReadRequest } from './reader.ts'
import { within } from './wait.ts'

const mebibyte = 1 << 20
const maximumPageRecords = 100_000
/** So long a reader may take to clean up after a read that nobody waits for any more. */
const closeMs = 2_000

interface Limits {
  readonly silenceMs: number
  readonly recordBytes: number
  readonly pageBytes: number
}

/**
 * The same pages, held against the contract of reader.ts. `settings` may hold `silenceSeconds` (180: without a page for
 * so long the read fails; the time that the consumer takes does not count), `maximumRecordBytes` (16 MiB) and
 * `maximumPageBytes` (64 MiB). The generator below is closed however this ends. Throws `RunError`: `silent`,
 * `record_too_long`, `page_too_large`, `incomplete_read`, `connector_failed` for a breach of the contract, and what the
 * reader throws; after an abort the reason of the signal.
 */
export async function* guardedRead(
  pages: AsyncGenerator<Page, ReadEnd>,
  options: { readonly request: ReadRequest; readonly settings: Settings },
): AsyncGenerator<Page, ReadEnd> {
  const { request, settings } = options
  const { signal } = request
  const limits = readLimits(settings)
  let records = 0
  let ended = false
  try {
    for (;;) {
      // A reader that never waits would keep the signal from being seen.
      signal.throwIfAborted()
      const step = await within(pages.next(), limits.silenceMs, signal, () => silent(limits))
      if (step.done === true) {
        ended = true
        return provenEnd(step.value, request, records)
      }
      checkPage(step.value, request, limits, records)
      records += step.value.records.length
      yield step.value
    }
  } catch (error) {
    signal.throwIfAborted()
    throw connectorError(error, settings)
  } finally {
    if (!ended) await closePages(pages)
  }
}

function readLimits(settings: Settings): Limits {
  // What is read is spooled, and a record of the spool is read back with a limit of 16 MiB.
  const most = 16 * mebibyte
  return {
    silenceMs: readInteger(settings, 'silenceSeconds', 180, 1, 86_400) * 1000,
    recordBytes: readInteger(settings, 'maximumRecordBytes', most, 1, most),
    pageBytes: readInteger(settings, 'maximumPageBytes', 64 * mebibyte, 1, 128 * mebibyte),
  }
}

/** Ends the generator, so that its connection is freed. One that hangs is left to the end of its thread. */
async function closePages(pages: AsyncGenerator<Page, ReadEnd>): Promise<void> {
  // The value is never looked at. What goes wrong here must not stand in the place of why it is closed.
  const closing = pages.return({ proof: null, expected: null, mode: 'delta', cursor: null })
  await within(closing, closeMs, undefined, () => new Error('late')).catch(() => {})
}

/** The end of a read as its reader tells it; an error when it does not show that nothing is missing. */
function provenEnd(end: unknown, request: ReadRequest, records: number): ReadEnd {
  if (!isReadEnd(end)) {
    throw breach('The read of the connector ended without saying how.')
  }
  // Who asks for a few records takes what comes.
  if (request.limit !== null) return end
  if (end.proof === null || end.proof.trim() === '') {
    throw incomplete('The read ended without a proof that nothing is missing.')
  }
  if (end.expected !== null && end.expected !== records) {
    throw incomplete(`The system said that there are ${end.expected} records, and ${records} came.`)
  }
  if (request.cursor === null && end.mode === 'delta') {
    throw breach('The connector was asked for everything and gave only what has changed.')
  }
  return end
}

function isReadEnd(end: unknown): end is ReadEnd {
  if (!isObject(end)) return false
  const { proof, expected, mode, cursor } = end
  return (
    (proof === null || typeof proof === 'string') &&
    (expected === null || typeof expected === 'number') &&
    (mode === 'full' || mode === 'delta') &&
    (cursor === null || isObject(cursor)) &&
    [end['undelivered'], end['extra']].every((names) => names === undefined || isTexts(names)) &&
    (end['patches'] === undefined || Array.isArray(end['patches']))
  )
}

/** `before`: how many records came in earlier pages, for messages. */
function checkPage(page: unknown, request: ReadRequest, limits: Limits, before: number): void {
  const records: unknown = isObject(page) ? page['records'] : undefined
  if (!Array.isArray(records)) throw breach('A page of the connector holds no list of records.')
  if (records.length > maximumPageRecords) {
    throw tooLarge(`A page has ${records.length} records, more than ${maximumPageRecords}`)
  }
  let pageUnits = 0
  for (const [index, record] of records.entries()) {
    const units = unitsOf(record, request)
    if (typeof units === 'string') throw breach(`Record ${before + index + 1} ${units}.`)
    pageUnits += units
    if (exceeds([record as ReadRecord], units, limits.recordBytes)) {
      throw new RunError(
        'record_too_long',
        `Record ${before + index + 1} is longer than ${limits.recordBytes} bytes.`,
        {
          hint: 'Leave the attribute that is so long out of the schema, or raise maximumRecordBytes of the source (16 MiB at most).',
        },
      )
    }
  }
  if (exceeds(records as readonly ReadRecord[], pageUnits, limits.pageBytes)) {
    throw tooLarge(`A page is longer than ${limits.pageBytes} bytes`)
  }
}

/**
 * The length of a record in units of UTF-16, with what separates its texts; or what is wrong with it, completing the
 * sentence "Record 7 …", without values of accounts. One plain loop: every value of every read comes by here.
 */
function unitsOf(record: unknown, request: ReadRequest): number | string {
  if (!isObject(record)) return 'is no object'
  const { identity, key, values, disabled, locked, deleted } = record
  // A blank identity is a bad record and becomes a reject; one of another type is a bad connector.
  if (typeof identity !== 'string') return 'has an identity that is no text'
  if (key !== undefined && !isKey(key)) return 'has a key that is no text, is blank, or holds NUL'
  if (!isFlag(disabled) || !isFlag(locked) || !isFlag(deleted)) {
    return 'has a flag that is not true or false'
  }
  if (!Array.isArray(values)) return 'has no list of values'
  const { attributes } = request
  if (values.length !== attributes.length) {
    return `has ${values.length} values for ${attributes.length} attributes`
  }
  let units = identity.length + (key?.length ?? 0) + values.length
  for (let index = 0; index < values.length; index += 1) {
    const value: unknown = values[index]
    if (typeof value === 'string') units += value.length
    else if (value !== null) {
      if (!isTexts(value)) {
        return `has a value of the attribute "${attributes[index]?.name}" that is no text, list of texts, or null`
      }
      for (const text of value) units += text.length + 1
    }
  }
  return units
}

function isKey(value: unknown): value is string {
  return typeof value === 'string' && /\S/.test(value) && !value.includes('\0')
}

function isFlag(value: unknown): boolean {
  return value === undefined || typeof value === 'boolean'
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === 'string')
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Whether records are longer than that in UTF-8. A unit of UTF-16 is at most three bytes, so that the bytes of nearly all
 * records need not be counted.
 */
function exceeds(records: readonly ReadRecord[], units: number, limitBytes: number): boolean {
  if (units * 3 <= limitBytes) return false
  let bytes = 0
  for (const record of records) {
    bytes += Buffer.byteLength(record.identity) + Buffer.byteLength(record.key ?? '')
    for (const value of record.values) {
      bytes += 1
      if (typeof value === 'string') bytes += Buffer.byteLength(value)
      else if (value !== null) for (const text of value) bytes += Buffer.byteLength(text) + 1
    }
  }
  return bytes > limitBytes
}

function silent({ silenceMs }: Limits): RunError {
  return new RunError('silent', `The system sent nothing for ${silenceMs / 1000} seconds.`, {
    hint: 'Look whether it is overloaded; a smaller pageSize or a longer silenceSeconds may help.',
    temporary: true,
  })
}

function incomplete(message: string): RunError {
  return new RunError('incomplete_read', message, {
    hint: 'Nothing was changed. Records may have changed during the read: read again, at a quieter time if it repeats.',
    temporary: true,
  })
}

function tooLarge(reason: string): RunError {
  return new RunError('page_too_large', `${reason}.`, {
    hint: 'Set a smaller pageSize in the settings of the source.',
  })
}

function breach(message: string): RunError {
  return new RunError('connector_failed', message, {
    hint: 'This is a fault of the connector: tell its maker. docs/guides/connectors.md says what a reader must give.',
  })
}
