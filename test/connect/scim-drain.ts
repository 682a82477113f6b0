// Reads from a SCIM reader to its end, for tests.
import { openOutbound } from '../../src/connect/outbound.ts'
import type { Page, ReadEnd, Reader, ReadRecord, ReadRequest } from '../../src/connect/reader.ts'
import { openScimReader } from '../../src/connect/scim.ts'
import { readScimSettings } from '../../src/connect/scim-settings.ts'
import { scimKind } from '../../src/core/scim-kind.ts'
import type { Settings } from '../../src/core/setting.ts'
import { RunError } from '../../src/core/errors.ts'

const outbound = openOutbound({ allowLoopback: true, allowed: [] })

/** What the readers of this file logged. */
export const logged: string[] = []

/** A reader whose waits between attempts are short. */
export function openReader(settings: Settings): Reader {
  const log = (_level: string, message: string): void => {
    logged.push(message)
  }
  return openScimReader(
    readScimSettings(settings),
    { outbound, log },
    {
      baseMs: 10,
      signOfLifeMs: 50,
    },
  )
}

/** A wanted attribute by its name. */
export function wanted(name: string, isMulti = false): ReadRequest['attributes'][number] {
  return { name, nativeName: null, type: 'STRING', isMulti, isEntitlement: false }
}

/** A request for users; by default for the attributes of the default schema. */
export function requestFor(given: Partial<ReadRequest> = {}): ReadRequest {
  const schema = scimKind.schemas[0]
  return {
    objectType: 'account',
    attributes: (schema?.attributes ?? []).map((attribute) => ({ nativeName: null, ...attribute })),
    identityAttribute: 'id',
    cursor: null,
    limit: null,
    signal: new AbortController().signal,
    ...given,
  }
}

/** What a read came to. */
export interface Drained {
  readonly records: readonly ReadRecord[]
  readonly pages: number
  readonly end: ReadEnd
}

/** Reads to the end. */
export async function drain(pages: AsyncGenerator<Page, ReadEnd>): Promise<Drained> {
  const records: ReadRecord[] = []
  for (let count = 0; ; count += 1) {
    const next = await pages.next()
    if (next.done === true) return { records, pages: count, end: next.value }
    records.push(...next.value.records)
  }
}

/** The deliberate error that work ends with. */
export async function errorOf(work: Promise<unknown>): Promise<RunError> {
  try {
    await work
  } catch (error) {
    if (error instanceof RunError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
