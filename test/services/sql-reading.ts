// What the tests of both kinds of SQL database share: readers on them, and what they read as plain values.
import { parse } from 'csv-parse/sync'
import { openOutbound } from '../../src/connect/outbound.ts'
import type {
  Connector,
  Cursor,
  ReadCopy,
  ReadEnd,
  Reader,
  ReadRecord,
  ReadRequest,
  ReadValue,
  WantedAttribute,
} from '../../src/connect/reader.ts'
import type { RunError } from '../../src/core/errors.ts'
import type { Settings } from '../../src/core/setting.ts'

/** Opens a reader that may reach this machine. */
export function openReader(connector: Connector, settings: Settings): Promise<Reader> {
  return connector.open(settings, {
    outbound: openOutbound({ allowLoopback: true, allowed: [] }),
    log: () => undefined,
  })
}

/** An attribute by its name; `[]` after it makes it multi-valued. */
export function wants(...names: readonly string[]): readonly WantedAttribute[] {
  return names.map((name) => ({
    name: name.replace(/\[\]$/, ''),
    nativeName: null,
    type: 'STRING',
    isMulti: name.endsWith('[]'),
    isEntitlement: false,
  }))
}

/** A request for everything; the first attribute is the identity. */
export function asks(
  attributes: readonly WantedAttribute[],
  given: Partial<ReadRequest> = {},
): ReadRequest {
  return {
    objectType: 'account',
    attributes,
    identityAttribute: attributes[0]?.name ?? null,
    cursor: null,
    limit: null,
    signal: new AbortController().signal,
    ...given,
  }
}

/** All records of a read, with its end. */
export async function readAll(
  reader: Reader,
  request: ReadRequest,
): Promise<{ readonly records: readonly ReadRecord[]; readonly end: ReadEnd }> {
  return drain(reader.read(request))
}

/** All that a read gives. */
export async function drain(
  pages: ReturnType<Reader['read']>,
): Promise<{ readonly records: readonly ReadRecord[]; readonly end: ReadEnd }> {
  const records: ReadRecord[] = []
  for (;;) {
    const step = await pages.next()
    if (step.done === true) return { records, end: step.value }
    records.push(...step.value.records)
  }
}

/** A copy as rows of texts by column name, with its end. */
export async function copyAll(
  reader: Reader,
  request: ReadRequest,
): Promise<{ readonly rows: readonly Record<string, string>[]; readonly end: ReadCopy }> {
  if (reader.copy === undefined) throw new Error('this reader copies nothing')
  const blocks: Uint8Array[] = []
  const end = await reader.copy(request, async (bytes) => {
    blocks.push(Uint8Array.from(bytes))
  })
  const rows: string[][] = parse(Buffer.concat(blocks))
  return {
    rows: rows.map((cells) =>
      Object.fromEntries(end.columns.map((name, at) => [name, cells[at] ?? ''])),
    ),
    end,
  }
}

/** The values of each record by the names of the attributes. */
export function valuesOf(
  records: readonly ReadRecord[],
  attributes: readonly WantedAttribute[],
): readonly Record<string, ReadValue>[] {
  return records.map((record) =>
    Object.fromEntries(attributes.map(({ name }, at) => [name, record.values[at] ?? null])),
  )
}

/** Where a read ended. */
export function cursorAfter(end: ReadEnd): Cursor {
  if (end.cursor === null) throw new Error('there is no cursor')
  return end.cursor
}

/** The error that a work ends with; it is one itself when there is none. */
export async function failureOf(work: () => Promise<unknown>): Promise<RunError> {
  try {
    await work()
  } catch (error) {
    if (error instanceof Error) return error as RunError
    throw error
  }
  throw new Error('nothing was thrown')
}
