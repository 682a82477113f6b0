// The guard of reads: a good reader passes, and every way of the chaos connector to go wrong is told from a clean end.
import { describe, expect, it } from 'vitest'
import { guardedRead } from '../../src/connect/guarded-read.ts'
import type {
  Page,
  Reader,
  ReadEnd,
  ReadRecord,
  ReadRequest,
  WantedAttribute,
} from '../../src/connect/reader.ts'
import { loadPackage } from '../../src/connect/registry.ts'
import { openOutbound } from '../../src/connect/outbound.ts'
import { RunError } from '../../src/core/errors.ts'
import { readerSuite } from './reader-suite.ts'

const chaosPath = new URL('chaos-connector.mjs', import.meta.url).href
const { activity } = (await import(chaosPath)) as { activity: { reads: number; given: number } }
const outbound = openOutbound({ allowLoopback: true, allowed: [] })

async function openChaos(settings: Readonly<Record<string, unknown>>): Promise<Reader> {
  const connector = await loadPackage(chaosPath)
  return connector.open(settings, { outbound, log: () => {} })
}

function wanted(name: string, isMulti = false): WantedAttribute {
  return { name, nativeName: null, type: 'STRING', isMulti, isEntitlement: false }
}

const attributes = [
  wanted('id'),
  wanted('name'),
  wanted('title'),
  wanted('number'),
  wanted('groups', true),
]
const titles = ['clerk', 'engineer', 'manager']

function request(more: Partial<ReadRequest> = {}): ReadRequest {
  const signal = new AbortController().signal
  const identityAttribute = 'id'
  return {
    objectType: 'account',
    attributes,
    identityAttribute,
    cursor: null,
    limit: null,
    signal,
    ...more,
  }
}

function account(number: number): ReadRecord {
  const [identity, group] = [`user-${number}`, `group-${number % 3}`]
  const title = titles[number % 3] ?? ''
  const values = [identity, `User ${number}`, title, String(number), [group]]
  return { identity, key: `key-${number}`, values }
}

readerSuite('chaos that behaves', async () => {
  const settings: Record<string, unknown> = { records: 35, pageSize: 10, keyed: true }
  const groups = ['group-0', 'group-1', 'group-2']
  return {
    open: () => openChaos(settings),
    attributes,
    identityAttribute: 'id',
    accounts: Array.from({ length: 35 }, (_, index) => account(index + 1)),
    pageSize: 10,
    facts: ['version', 'records'],
    faults: [
      {
        name: 'a wrong password',
        open: () => openChaos({ password: 'wrong-secret' }),
        code: 'login_refused',
        secrets: ['wrong-secret'],
      },
    ],
    delta: true,
    change: async () => {
      Object.assign(settings, { changed: ['user-2'], removed: ['user-3'] })
      return { changed: ['user-2'], removed: ['user-3'] }
    },
    entitlements: {
      objectType: 'group',
      attributes: [wanted('id'), wanted('name')],
      identityAttribute: 'id',
      records: groups.map((identity, index) => ({
        identity,
        values: [identity, `Group ${index}`],
      })),
    },
    missingIdentity: 'user-0',
    openConnections: () => activity.reads,
    recordsSent: () => activity.given,
    close: () => {},
  }
})

interface Outcome {
  readonly error: unknown
  readonly records: number
}

/** How a guarded read ends. */
async function outcomeOf(
  pages: AsyncGenerator<Page, ReadEnd>,
  settings: Readonly<Record<string, unknown>>,
  asked = request(),
): Promise<Outcome> {
  let records = 0
  try {
    for await (const page of guardedRead(pages, { request: asked, settings })) {
      records += page.records.length
    }
  } catch (error) {
    return { error, records }
  }
  return { error: null, records }
}

async function chaosOutcome(settings: Readonly<Record<string, unknown>>): Promise<Outcome> {
  const reader = await openChaos({ records: 30, pageSize: 10, ...settings })
  const asked = request()
  return outcomeOf(reader.read(asked), settings, asked)
}

function told(error: unknown): unknown {
  if (!(error instanceof RunError)) return error
  expect(error.hint).not.toBe('')
  return [error.code, error.temporary]
}

describe('a guarded read', () => {
  it.each([
    ['truncated', 15, 'incomplete_read', true],
    ['wrongExpected', 30, 'incomplete_read', true],
    ['pageDrift', 29, 'incomplete_read', true],
    ['errorAfter', 10, 'connector_failed', false],
    ['temporaryErrorAfter', 10, 'system_away', true],
    ['hugeRecord', 10, 'record_too_long', false],
    ['badValues', 10, 'connector_failed', false],
    ['stateThenError', 30, 'connector_failed', false],
  ])('fails when chaos is %s', async (behaviour, records, code, temporary) => {
    const outcome = await chaosOutcome({ behaviour })
    expect([told(outcome.error), outcome.records]).toEqual([[code, temporary], records])
    expect(activity.reads).toBe(0)
  })

  it('takes slow pages as signs of life', async () => {
    const settings = { behaviour: 'slow', delayMs: 600, silenceSeconds: 1 }
    expect(await chaosOutcome(settings)).toEqual({ error: null, records: 30 })
  })

  it('leaves doubled pages to the comparison of keys', async () => {
    expect(await chaosOutcome({ behaviour: 'duplicatePages' })).toEqual({
      error: null,
      records: 60,
    })
  })

  it('fails when nothing comes for too long', async () => {
    const before = activity.reads
    const outcome = await chaosOutcome({ behaviour: 'silent', silenceSeconds: 1 })
    expect([told(outcome.error), outcome.records]).toEqual([['silent', true], 10])
    // What hangs for ever cannot be closed; it ends with its thread.
    activity.reads = before
  })

  it('does not count the time that the consumer takes as silence', async () => {
    const settings = { silenceSeconds: 1 }
    const reader = await openChaos({ records: 3, pageSize: 1 })
    const asked = request()
    const pages = guardedRead(reader.read(asked), { request: asked, settings })
    await pages.next()
    await new Promise((resolve) => setTimeout(resolve, 1200))
    expect((await pages.next()).done).toBe(false)
    await pages.return({ proof: null, expected: null, mode: 'full', cursor: null })
  })

  it('ends an endless read by the signal, and closes it', async () => {
    const abort = new AbortController()
    const reader = await openChaos({ behaviour: 'endless' })
    const asked = request({ signal: abort.signal })
    setTimeout(() => abort.abort(new Error('nobody waits')), 50)
    const outcome = await outcomeOf(reader.read(asked), {}, asked)
    expect(outcome.error).toHaveProperty('message', 'nobody waits')
    expect(outcome.records).toBeGreaterThan(0)
    expect(activity.reads).toBe(0)
  })

  it('asks for nothing more after an abort, also of a reader that does not look at the signal', async () => {
    const abort = new AbortController()
    const asked = request({ signal: abort.signal })
    let made = 0
    async function* deaf(): AsyncGenerator<Page, ReadEnd> {
      for (;;) {
        made += 1
        yield { records: [] }
      }
    }
    const pages = guardedRead(deaf(), { request: asked, settings: {} })
    await pages.next()
    abort.abort(new Error('nobody waits'))
    await expect(pages.next()).rejects.toThrow('nobody waits')
    expect(made).toBe(1)
  })

  it('closes the read when its consumer stops', async () => {
    let closed = false
    async function* forever(): AsyncGenerator<Page, ReadEnd> {
      try {
        for (;;) yield { records: [] }
      } finally {
        closed = true
      }
    }
    for await (const page of guardedRead(forever(), { request: request(), settings: {} })) {
      expect(page.records).toEqual([])
      break
    }
    expect(closed).toBe(true)
  })

  it('needs neither proof nor number for a limited read', async () => {
    const limited = request({ limit: 2 })
    const pages = pagesOf([pageWith({}), pageWith({})], end({ proof: null, expected: 100 }))
    expect(await outcomeOf(pages, {}, limited)).toEqual({ error: null, records: 2 })
  })
})

async function* pagesOf(pages: readonly unknown[], last: unknown): AsyncGenerator<Page, ReadEnd> {
  for (const one of pages) yield one as Page
  return last as ReadEnd
}

function end(more: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> {
  return { proof: 'this was all', expected: null, mode: 'full', cursor: null, ...more }
}

function pageWith(more: Readonly<Record<string, unknown>>): unknown {
  return { records: [{ ...account(1), ...more }] }
}

describe('the contract of records and ends', () => {
  it.each([
    ['a page without a list', {}],
    ['a record that is none', { records: ['user-1'] }],
    ['an identity that is a number', pageWith({ identity: 7 })],
    ['an identity that is missing', pageWith({ identity: undefined })],
    ['a blank key', pageWith({ key: ' ' })],
    ['a key with NUL', pageWith({ key: 'a\0b' })],
    ['a flag that is a text', pageWith({ deleted: 'no' })],
    ['too few values', pageWith({ values: ['user-1'] })],
    ['a value that is a number', pageWith({ values: ['1', '2', '3', 4, []] })],
    ['a value that is missing', pageWith({ values: ['1', '2', '3', undefined, []] })],
    ['a list with a number', pageWith({ values: ['1', '2', '3', '4', ['a', 5]] })],
  ])('does not allow %s', async (_, broken) => {
    const { error } = await outcomeOf(pagesOf([broken], end()), {})
    expect(told(error)).toEqual(['connector_failed', false])
  })

  it.each([
    ['no end', undefined, 'connector_failed'],
    ['an end without a mode', end({ mode: undefined }), 'connector_failed'],
    ['a number as text', end({ expected: '1' }), 'connector_failed'],
    ['a cursor that is no object', end({ cursor: 'x' }), 'connector_failed'],
    ['a delta that nobody asked for', end({ mode: 'delta' }), 'connector_failed'],
    ['an empty proof', end({ proof: ' ' }), 'incomplete_read'],
    ['another number of records', end({ expected: 0 }), 'incomplete_read'],
  ])('does not take %s as the end', async (_, last, code) => {
    const { error } = await outcomeOf(pagesOf([pageWith({})], last), {})
    expect(error).toHaveProperty('code', code)
  })

  it('takes any lawful record, a blank identity too, which becomes a reject', async () => {
    const pages = [
      pageWith({ key: undefined }),
      pageWith({ identity: ' ', values: [null, '', 'x', [], ['a', '']] }),
    ]
    expect(await outcomeOf(pagesOf(pages, end({ expected: 2 })), {})).toEqual({
      error: null,
      records: 2,
    })
  })

  it('measures records and pages in bytes of UTF-8', async () => {
    const name = 'ä'.repeat(1000)
    const big = pageWith({ values: [name, null, null, null, null] })
    const fits = { maximumRecordBytes: 2100 }
    expect((await outcomeOf(pagesOf([big], end()), fits)).error).toBe(null)
    const { error } = await outcomeOf(pagesOf([big], end()), { maximumRecordBytes: 1900 })
    expect(told(error)).toEqual(['record_too_long', false])
    const list = pageWith({ values: [null, null, null, null, ['x'.repeat(1500), name]] })
    expect((await outcomeOf(pagesOf([list], end()), { maximumRecordBytes: 3600 })).error).toBe(null)
    const long = await outcomeOf(pagesOf([list], end()), { maximumRecordBytes: 3400 })
    expect(told(long.error)).toEqual(['record_too_long', false])
    const two = { records: [account(1), account(2)] }
    const small = await outcomeOf(pagesOf([two], end()), { maximumPageBytes: 60 })
    expect(told(small.error)).toEqual(['page_too_large', false])
    expect((await outcomeOf(pagesOf([two], end()), { maximumPageBytes: 120 })).error).toBe(null)
    const many = { records: Array.from({ length: 100_001 }, () => account(1)) }
    expect(told((await outcomeOf(pagesOf([many], end()), {})).error)).toEqual([
      'page_too_large',
      false,
    ])
  })

  it('refuses limits that are none', async () => {
    for (const settings of [{ silenceSeconds: 0 }, { maximumRecordBytes: 1 << 30 }]) {
      const { error } = await outcomeOf(pagesOf([], end()), settings)
      expect(told(error)).toEqual(['bad_setting', false])
    }
  })
})

describe('errors of connectors', () => {
  async function* failing(error: unknown): AsyncGenerator<Page, ReadEnd> {
    yield { records: [] }
    throw error
  }

  it('are taken at their word when they have a code and a hint', async () => {
    const own = Object.assign(new Error('It is away.'), {
      code: 'away',
      hint: 'Wait.',
      temporary: true,
    })
    const { error } = await outcomeOf(failing(own), {})
    expect(error).toMatchObject({
      code: 'away',
      message: 'It is away.',
      hint: 'Wait.',
      temporary: true,
    })
    expect(error).toBeInstanceOf(RunError)
  })

  it('are faults of the connector otherwise, temporary only for the network', async () => {
    const cases: readonly (readonly [unknown, boolean])[] = [
      [new Error('bug'), false],
      ['a text', false],
      [null, false],
      [Object.assign(new Error('x'), { code: 'ECONNRESET' }), true],
      [Object.assign(new Error('x'), { code: 'Not A Code', hint: 'x', temporary: true }), false],
    ]
    for (const [thrown, temporary] of cases) {
      const { error } = await outcomeOf(failing(thrown), {})
      expect(told(error)).toEqual(['connector_failed', temporary])
    }
  })

  it('lose the secrets of the settings', async () => {
    const settings = { bindPassword: 'hunter-22', config: { api_key: 'key-4711' }, user: 'admin' }
    const thrown = new Error('cannot log in as admin with hunter-22 and key-4711')
    const { error } = await outcomeOf(failing(thrown), settings)
    expect(error).toHaveProperty(
      'message',
      'The connector failed: cannot log in as admin with ****** and ******',
    )
  })
})
