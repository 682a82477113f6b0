// What every reader has to do, as tests: a reader is done when it passes them against its real system.
//
//   readerSuite('ldap', async () => {
//     const server = await startSlapd(…)              // a real server with at least three pages of accounts
//     return {
//       open: () => ldapConnector.open({ url: server.url, pageSize: 10, … }, { outbound, log: () => {} }),
//       attributes, identityAttribute, accounts, pageSize: 10,
//       faults: [{ name: 'a wrong password', open: …, code: 'login_refused', secrets: ['wrong-1'] }],
//       delta: true, openConnections: () => server.connections(),
//       close: () => server.stop(),
//     }
//   })
//
// What is optional and not given is not tested. All reads go through guardedRead, as they do in a run.
import { parse } from 'csv-parse/sync'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { guardedRead } from '../../src/connect/guarded-read.ts'
import type {
  Cursor,
  Page,
  Reader,
  ReadEnd,
  ReadRecord,
  ReadRequest,
  WantedAttribute,
} from '../../src/connect/reader.ts'

/** Records of one kind, as they are in the system. */
export interface ExpectedRecords {
  readonly objectType: string
  readonly attributes: readonly WantedAttribute[]
  readonly identityAttribute: string
  /** In any order; the values in the order of `attributes`. */
  readonly records: readonly ReadRecord[]
}

/** A system that a reader is tested against. */
export interface SuiteSystem {
  /** Opens a reader with right settings. */
  open(): Promise<Reader>
  readonly attributes: readonly WantedAttribute[]
  readonly identityAttribute: string
  /** All accounts, at least three pages of them, in any order; the values in the order of `attributes`. */
  readonly accounts: readonly ReadRecord[]
  /** The page size of the settings. */
  readonly pageSize: number
  /** Names of facts that `check` gives; at least these. */
  readonly facts?: readonly string[]
  /** Wrong passwords, closed ports and the like; the error comes when it is opened or checked. */
  readonly faults: readonly SuiteFault[]
  /** Whether a delta is given after a full read. `overlap`: it may repeat accounts that did not change. */
  readonly delta?: boolean | 'overlap'
  /** Changes the system and tells the identities of accounts that a delta must then give. */
  change?(): Promise<{ readonly changed: readonly string[]; readonly removed: readonly string[] }>
  readonly entitlements?: ExpectedRecords
  /** Given when there is `readOne`: an identity that no account has. */
  readonly missingIdentity?: string
  /** Whether there is `copy`. */
  readonly copy?: boolean
  /** How many connections the system has open. */
  openConnections?(): number | Promise<number>
  /** How many records the system has sent in all; for the test of back-pressure. */
  recordsSent?(): number
  close(): Promise<void> | void
}

interface SuiteFault {
  readonly name: string
  open(): Promise<Reader>
  readonly code: string
  readonly temporary?: boolean
  /** Texts that must stand in no message. */
  readonly secrets: readonly string[]
}

const promptMs = 5_000

/** Describes the tests of a reader. `setup` starts its system. */
export function readerSuite(name: string, setup: () => Promise<SuiteSystem>): void {
  describe(`the reader of ${name}`, () => {
    let system: SuiteSystem
    beforeAll(async () => {
      system = await setup()
    })
    afterAll(async () => system.close())
    const given = (): SuiteSystem => system
    describeLogin(given)
    describeReads(given)
    describeEnds(given)
    describePowers(given)
  })
}

/** An open reader for the time of some work; afterwards it is closed, and has let go of the system. */
async function opened<T>(system: SuiteSystem, work: (reader: Reader) => Promise<T>): Promise<T> {
  const before = (await system.openConnections?.()) ?? 0
  const reader = await system.open()
  let outcome: T
  try {
    outcome = await work(reader)
  } finally {
    await reader.close()
  }
  if (system.openConnections !== undefined) {
    await expect.poll(() => system.openConnections?.(), { timeout: promptMs }).toBe(before)
  }
  return outcome
}

function ask(system: SuiteSystem, more: Partial<ReadRequest> = {}): ReadRequest {
  const { attributes, identityAttribute } = system
  return {
    objectType: 'account',
    attributes,
    identityAttribute,
    cursor: null,
    limit: null,
    signal: new AbortController().signal,
    ...more,
  }
}

function pagesOf(reader: Reader, request: ReadRequest): AsyncGenerator<Page, ReadEnd> {
  const pages =
    request.objectType === 'account' ? reader.read(request) : reader.entitlements?.(request)
  if (pages === undefined) throw new Error(`there is no reader of ${request.objectType}`)
  return guardedRead(pages, { request, settings: {} })
}

interface WholeRead {
  readonly records: readonly ReadRecord[]
  readonly pages: number
  readonly end: ReadEnd
}

async function readAll(reader: Reader, request: ReadRequest): Promise<WholeRead> {
  const pages = pagesOf(reader, request)
  const records: ReadRecord[] = []
  for (let count = 0; ; count += 1) {
    const step = await pages.next()
    if (step.done === true) return { records, pages: count, end: step.value }
    records.push(...step.value.records)
  }
}

/** The same records in an order that two reads have in common; an absent flag is the same as false. */
function sorted(records: readonly ReadRecord[]): readonly ReadRecord[] {
  return records
    .map((record) => ({ disabled: false, locked: false, deleted: false, ...record }))
    .toSorted((a, b) => (a.identity < b.identity ? -1 : 1))
}

async function errorOf(work: () => Promise<unknown>): Promise<unknown> {
  try {
    await work()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

/** The error of an operation that must end at once. */
async function promptErrorOf(work: () => Promise<unknown>): Promise<unknown> {
  const began = performance.now()
  const error = await errorOf(work)
  expect(performance.now() - began).toBeLessThan(promptMs)
  return error
}

function describeLogin(given: () => SuiteSystem): void {
  it('tells facts about the system when it is checked', async () => {
    const system = given()
    const signal = new AbortController().signal
    const facts = await opened(system, (reader) => reader.check(signal))
    expect(Object.keys(facts).length).toBeGreaterThan(0)
    for (const name of system.facts ?? []) expect(facts).toHaveProperty([name])
    for (const fact of Object.values(facts)) {
      expect(['string', 'number', 'boolean']).toContain(typeof fact)
    }
  })

  it('says what is wrong and what to do about it, without a secret', async () => {
    for (const fault of given().faults) {
      const error = await errorOf(async () => {
        const reader = await fault.open()
        try {
          await reader.check(AbortSignal.timeout(30_000))
        } finally {
          await reader.close()
        }
      })
      if (!(error instanceof Error)) throw error
      const told = { code: Reflect.get(error, 'code'), temporary: Reflect.get(error, 'temporary') }
      expect([fault.name, told]).toEqual([
        fault.name,
        { code: fault.code, temporary: fault.temporary ?? false },
      ])
      const hint: unknown = Reflect.get(error, 'hint')
      expect(typeof hint === 'string' && hint.length > 10).toBe(true)
      for (const secret of fault.secrets) {
        expect(`${error.message} ${String(hint)} ${error.stack}`).not.toContain(secret)
      }
    }
  })

  it('discovers schemas whose identity attribute is one of their attributes', async () => {
    const system = given()
    const signal = new AbortController().signal
    const schemas = await opened(system, (reader) => reader.discover(signal))
    const account = schemas.find((schema) => schema.name === 'account')
    expect(account?.identityAttribute).toBe(system.identityAttribute)
    for (const schema of schemas) {
      const names = schema.attributes.map((attribute) => attribute.name)
      expect(names).toContain(schema.identityAttribute)
      expect(names).toContain(schema.displayAttribute)
      expect(new Set(names).size).toBe(names.length)
    }
  })
}

function describeReads(given: () => SuiteSystem): void {
  it('reads exactly the accounts of the system, page by page, with a proof', async () => {
    const system = given()
    expect(system.accounts.length).toBeGreaterThan(2 * system.pageSize)
    const read = await opened(system, (reader) => readAll(reader, ask(system)))
    expect(sorted(read.records)).toEqual(sorted(system.accounts))
    expect(read.end.mode).toBe('full')
    expect(read.end.proof).not.toBe(null)
    expect(read.pages).toBeGreaterThan(2)
  })

  it('reads the same twice over one connection', async () => {
    const system = given()
    await opened(system, async (reader) => {
      const first = await readAll(reader, ask(system))
      const second = await readAll(reader, ask(system))
      expect(sorted(second.records)).toEqual(sorted(first.records))
    })
  })

  it('gives values in the order of the attributes that were asked for', async () => {
    const system = given()
    const attributes = system.attributes.toReversed()
    const read = await opened(system, (reader) => readAll(reader, ask(system, { attributes })))
    const turned = system.accounts.map((account) => ({
      ...account,
      values: account.values.toReversed(),
    }))
    expect(sorted(read.records)).toEqual(sorted(turned))
  })

  it('gives null for an attribute that the system does not know', async () => {
    const system = given()
    const unknown = { name: 'noSuchAttribute', nativeName: null, type: 'STRING' } as const
    const attributes = [{ ...unknown, isMulti: false, isEntitlement: false }, ...system.attributes]
    const read = await opened(system, (reader) => readAll(reader, ask(system, { attributes })))
    expect(read.records).toHaveLength(system.accounts.length)
    expect(read.records.every((record) => record.values[0] === null)).toBe(true)
  })

  it('gives no more than is needed under a limit', async () => {
    const system = given()
    await opened(system, async (reader) => {
      for (const limit of [1, system.pageSize + 1]) {
        const read = await readAll(reader, ask(system, { limit }))
        expect(read.records.length).toBeGreaterThanOrEqual(limit)
        expect(read.records.length).toBeLessThan(limit + system.pageSize)
      }
    })
  })
}

function describeEnds(given: () => SuiteSystem): void {
  it('stops at once when the signal is aborted, and can be used again', async () => {
    const system = given()
    await opened(system, async (reader) => {
      const abort = new AbortController()
      const pages = pagesOf(reader, ask(system, { signal: abort.signal }))
      expect((await pages.next()).done).toBe(false)
      abort.abort(new Error('nobody waits'))
      const error = await promptErrorOf(() => pages.next())
      expect(error).toHaveProperty('message', 'nobody waits')
      const read = await readAll(reader, ask(system))
      expect(read.records).toHaveLength(system.accounts.length)
    })
  })

  it('begins nothing when the signal was aborted before', async () => {
    const system = given()
    const signal = AbortSignal.abort(new Error('nobody waits'))
    await opened(system, async (reader) => {
      await promptErrorOf(() => reader.check(signal))
      await promptErrorOf(async () => {
        // Not through guardedRead, which would find out by itself.
        await reader.read(ask(system, { signal })).next()
      })
    })
  })

  it('lets go of the system when its consumer stops early, and can be used again', async () => {
    const system = given()
    await opened(system, async (reader) => {
      for (let time = 0; time < 3; time += 1) {
        for await (const page of pagesOf(reader, ask(system))) {
          expect(page.records.length).toBeLessThan(system.accounts.length)
          break
        }
      }
      const read = await readAll(reader, ask(system))
      expect(read.records).toHaveLength(system.accounts.length)
    })
  })

  it('does not run ahead of its consumer', async ({ skip }) => {
    const system = given()
    if (system.recordsSent === undefined) return skip('this system does not count what it sends')
    const sent = system.recordsSent
    await opened(system, async (reader) => {
      const before = sent()
      const pages = pagesOf(reader, ask(system))
      await pages.next()
      await new Promise((resolve) => setTimeout(resolve, 300))
      // The page that was taken, the next one, and one on the way.
      expect(sent() - before).toBeLessThanOrEqual(3 * system.pageSize)
      await pages.return({ proof: null, expected: null, mode: 'full', cursor: null })
    })
  })
}

function describePowers(given: () => SuiteSystem): void {
  it('gives no account in a delta when nothing has changed', async ({ skip }) => {
    const system = given()
    if (system.delta === undefined || system.delta === false) return skip('there is no delta')
    await opened(system, async (reader) => {
      const cursor = await cursorOf(reader, system)
      const { records, end } = await readAll(reader, ask(system, { cursor }))
      expect(end.mode).toBe('delta')
      expect(records.some((record) => record.deleted === true)).toBe(false)
      const known = new Map(system.accounts.map((account) => [account.identity, account]))
      for (const record of records)
        expect(sorted([record])).toEqual(sorted([known.get(record.identity) ?? record]))
      if (system.delta !== 'overlap') expect(records).toEqual([])
      // Where it ended is where the next one begins.
      expect((await readAll(reader, ask(system, { cursor: end.cursor }))).end.mode).toBe('delta')
    })
  })

  it('reads entitlements with a proof', async ({ skip }) => {
    const system = given()
    const { entitlements } = system
    if (entitlements === undefined) return skip('there are no entitlements')
    const read = await opened(system, (reader) => readAll(reader, ask(system, entitlements)))
    expect(sorted(read.records)).toEqual(sorted(entitlements.records))
  })

  it('reads one account, and null where there is none', async ({ skip }) => {
    const system = given()
    const { missingIdentity } = system
    if (missingIdentity === undefined) return skip('single accounts cannot be read')
    await opened(system, async (reader) => {
      for (const account of [...system.accounts.slice(0, 2), ...system.accounts.slice(-1)]) {
        const one = await reader.readOne?.(account.identity, ask(system))
        expect(sorted(one === null || one === undefined ? [] : [one])).toEqual(sorted([account]))
      }
      expect(await reader.readOne?.(missingIdentity, ask(system))).toBe(null)
    })
  })

  it('copies what it reads', async ({ skip }) => {
    const system = given()
    if (system.copy !== true) return skip('there is no copy')
    const blocks: Uint8Array[] = []
    const outcome = await opened(system, (reader) => {
      const { copy } = reader
      if (copy === undefined) throw new Error('there is no copy')
      return copy(ask(system), async (bytes) => {
        blocks.push(Uint8Array.from(bytes))
      })
    })
    expect(outcome.proof).not.toBe(null)
    const rows: string[][] = parse(Buffer.concat(blocks))
    expect(outcome.records).toBe(rows.length)
    const cellsOf = (account: ReadRecord): string[] =>
      outcome.columns.map((column) => {
        const index = system.attributes.findIndex((attribute) => attribute.name === column)
        const value = account.values[index] ?? null
        if (value === null) return ''
        return typeof value === 'string' ? value : JSON.stringify(value)
      })
    expect(rows.toSorted(byText)).toEqual(system.accounts.map(cellsOf).toSorted(byText))
  })

  // Last, because the accounts are others afterwards.
  it('gives in a delta what has changed', async ({ skip }) => {
    const system = given()
    if (system.change === undefined) return skip('this system cannot be changed')
    const { change } = system
    await opened(system, async (reader) => {
      const cursor = await cursorOf(reader, system)
      const { changed, removed } = await change()
      const { records, end } = await readAll(reader, ask(system, { cursor }))
      expect(end.mode).toBe('delta')
      const identities = (gone: boolean): readonly string[] =>
        records
          .filter((record) => (record.deleted === true) === gone)
          .map((record) => record.identity)
      if (system.delta === 'overlap') {
        expect(identities(false)).toEqual(expect.arrayContaining([...changed]))
      } else {
        expect(identities(false).toSorted()).toEqual(changed.toSorted())
      }
      expect(identities(true).toSorted()).toEqual(removed.toSorted())
    })
  })
}

/** The cursor of a full read, as the database gives it back. */
async function cursorOf(reader: Reader, system: SuiteSystem): Promise<Cursor> {
  const { end } = await readAll(reader, ask(system))
  expect(end.cursor).not.toBe(null)
  return JSON.parse(JSON.stringify(end.cursor)) as Cursor
}

function byText(a: readonly string[], b: readonly string[]): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1
}
