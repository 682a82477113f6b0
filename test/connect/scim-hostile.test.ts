// The SCIM reader against a server that misbehaves (faults F23, inputs S15): no read ends well that was not whole.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startHostileScim, type HostileScim, type Misbehaviour } from './hostile-scim.ts'
import { makeAuthority } from '../support/certificates.ts'
import { drain, type Drained, errorOf, openReader, requestFor, wanted } from './scim-drain.ts'

let server: HostileScim
beforeAll(async () => {
  server = await startHostileScim()
})
afterAll(async () => {
  await server.close()
})

const few = { attributes: [wanted('userName')] }

function readAll(settings: object = {}, request: object = {}): Promise<Drained> {
  const reader = openReader({ url: server.url, pageSize: 10, ...settings })
  return drain(reader.read(requestFor({ ...few, ...request })))
}

/** Requests for users. */
function asked(): number {
  return server.requests.filter((path) => path.startsWith('/scim/Users')).length
}

describe('a list that does not add up', () => {
  it.each<[Misbehaviour, string, boolean]>([
    ['announcesAndSendsNone', 'empty_page', false],
    ['announcesWithoutResources', 'empty_page', false],
    ['nothingPerPage', 'empty_page', false],
    ['samePageForEver', 'repeated_record', false],
    ['repeatsAnId', 'repeated_record', false],
    ['announcesTooMuch', 'too_many_records', false],
    ['noTotal', 'total_missing', false],
    ['badTotal', 'not_scim', false],
    ['sendsMore', 'total_mismatch', false],
    ['announcesItsPage', 'total_mismatch', false],
    ['noIds', 'not_scim', false],
    ['growsAlways', 'moving', true],
  ])('ends with an error when the server %s', async (misbehaviour, code, temporary) => {
    server.behave(misbehaviour)
    const error = await errorOf(readAll())
    expect(error).toMatchObject({ code, temporary })
    expect(error.message).not.toContain('user1')
    expect(error.hint).not.toBe('')
    expect(asked()).toBeLessThan(10)
  })

  it.each<[Misbehaviour, string, boolean]>([
    ['repeatsCursor', 'cursor_repeated', false],
    ['emptyCursorPages', 'empty_page', false],
    ['cursorsWithWrongTotal', 'total_mismatch', false],
    ['cursorExpires', 'cursor_expired', true],
  ])('ends with an error when a server with cursors %s', async (misbehaviour, code, temporary) => {
    server.behave(misbehaviour)
    const error = await errorOf(readAll({ pagination: 'cursor' }))
    expect(error).toMatchObject({ code, temporary })
    expect(asked()).toBeLessThan(30)
  })

  it('is found out by the total when a server that is asked for cursors pages by index', async () => {
    server.behave(null)
    const error = await errorOf(readAll({ pagination: 'cursor' }))
    expect(error.code).toBe('total_mismatch')
  })

  it('is read as long as it lasts when every page is new', async () => {
    server.behave('endlessPages')
    const reader = openReader({ url: server.url, pageSize: 10 })
    const pages = reader.read(requestFor(few))
    let records = 0
    while (records < 2000) {
      const next = await pages.next()
      if (next.done === true) break
      records += next.value.records.length
    }
    await pages.return({ proof: null, expected: null, mode: 'full', cursor: null })
    expect(records).toBe(2000)
    const before = asked()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(asked()).toBe(before)
    // One page was on its way, no more.
    expect(before).toBeLessThanOrEqual(201)
  })
})

describe('a list of one page', () => {
  it.each<[Misbehaviour | null]>([[null], ['repeatsBeyondTheEnd'], ['refusesBeyondTheEnd']])(
    'is whole when nobody new comes after it (%s)',
    async (misbehaviour) => {
      server.behave(misbehaviour, 10)
      const { records, end } = await readAll()
      expect(records).toHaveLength(10)
      expect(end.expected).toBe(10)
      expect(asked()).toBe(2)
    },
  )

  it('is read again when it grows right then', async () => {
    server.behave('growsAfterItsPage', 8)
    const { records, end } = await readAll()
    expect(records).toHaveLength(9)
    expect(end.expected).toBe(9)
  })
})

describe('a list by cursor', () => {
  it.each<[Misbehaviour, number | null]>([
    ['cursors', null],
    ['cursorsWithTotal', 25],
    ['someEmptyCursorPages', null],
  ])('is whole when its last page names no next one (%s)', async (misbehaviour, expected) => {
    server.behave(misbehaviour)
    const { records, end } = await readAll({ pagination: 'cursor' })
    expect(records.map(({ identity }) => identity)).toEqual(
      Array.from({ length: 25 }, (_, index) => `u${index}`),
    )
    expect(end).toMatchObject({ expected, mode: 'full' })
    expect(end.proof).toMatch(expected === null ? /last page/ : /all 25/)
  })
})

describe('the way to page', () => {
  afterEach(() => {
    server.says({ cursor: false, index: true })
  })

  it.each<[object | null, Misbehaviour | null, boolean]>([
    [{ cursor: true, index: true }, 'cursors', true],
    [{ cursor: true, index: true, defaultPaginationMethod: 'index' }, null, false],
    [{ cursor: false, index: true }, null, false],
    [{}, null, false],
    [null, null, false],
  ])('is what the configuration says (%j)', async (pagination, misbehaviour, byCursor) => {
    server.behave(misbehaviour)
    server.says(pagination)
    const { records, end } = await readAll()
    expect(records).toHaveLength(25)
    expect(server.requests.some((path) => path.includes('cursor='))).toBe(byCursor)
    // Without a configuration nobody knows whether a delta can be asked for.
    expect(end.cursor === null).toBe(pagination === null)
  })

  it('asks for no larger pages than the server gives', async () => {
    server.behave(null)
    server.says({ index: true, maxPageSize: 4 })
    expect((await readAll()).records).toHaveLength(25)
    expect(server.requests.filter((path) => path.includes('count=4'))).toHaveLength(7)
  })
})

describe('a list that changes while it is read', () => {
  it('is read again, and nobody is given twice', async () => {
    server.behave('growsOnce')
    const { records, end } = await readAll()
    expect(new Set(records.map(({ key }) => key)).size).toBe(25)
    expect(records).toHaveLength(25)
    expect(end.expected).toBe(25)
    expect(end.proof).toContain('25')
  })

  it('keeps whom only the first pass saw', async () => {
    server.behave('losesOne', 9)
    const { records, end } = await readAll({ pageSize: 5 })
    const found = records.map(({ identity }) => identity)
    expect(new Set(found)).toEqual(
      new Set(['u999', ...Array.from({ length: 9 }, (_, index) => `u${index}`)]),
    )
    expect(found).toHaveLength(10)
    // The proof is about the last pass; what is counted is what was given.
    expect(end).toMatchObject({ expected: 10, proof: expect.stringContaining('all 9') as string })
  })
})

describe('an answer that is not SCIM', () => {
  it.each<[Misbehaviour, string]>([
    ['html', 'not_scim'],
    ['htmlAsJson', 'not_scim'],
    ['htmlOnPage2', 'not_scim'],
    ['cutJson', 'not_scim'],
    ['notUtf8', 'not_scim'],
    ['otherJson', 'not_scim'],
    ['bareList', 'not_scim'],
    ['noContent', 'not_scim'],
    ['redirectToLogin', 'not_scim'],
    ['redirectElsewhere', 'redirect_refused'],
    ['refusesAccess', 'access_refused'],
    ['refusesLogin', 'credentials_refused'],
    ['refusesLoginOnPage2', 'credentials_refused'],
    ['knowsNoUsers', 'endpoint_missing'],
  ])('ends the read at once (%s)', async (misbehaviour, code) => {
    server.behave(misbehaviour)
    const error = await errorOf(readAll())
    expect(error).toMatchObject({ code, temporary: false })
    expect(error.hint).not.toBe('')
    expect(asked()).toBeLessThan(4)
  })

  it('is shown without the credentials that it repeats, in one line and cut', async () => {
    server.behave('repeatsCredentials')
    const login = { authentication: 'basic', user: 'me', password: 'a password' }
    const error = await errorOf(readAll(login))
    expect(error.code).toBe('request_refused')
    expect(error.message).toContain('you sent Basic ******')
    expect(error.message).not.toContain(Buffer.from('me:a password').toString('base64'))
    expect(error.message).not.toContain('\n')
    expect(error.message.length).toBeLessThan(500)
  })
})

describe('a server that is down or busy', () => {
  it.each<[Misbehaviour, number, number]>([
    ['failsOnce', 0, 500],
    ['busyWithoutTime', 0, 500],
    ['busySeconds', 1000, 2500],
    ['busyDate', 900, 3500],
  ])('is asked again (%s), after the wait that it wants', async (misbehaviour, least, most) => {
    server.behave(misbehaviour)
    const began = performance.now()
    const { records } = await readAll()
    expect(records).toHaveLength(25)
    expect(performance.now() - began).toBeGreaterThanOrEqual(least - 20)
    expect(performance.now() - began).toBeLessThan(most)
  })

  it.each<[Misbehaviour, string]>([
    ['failsAlways', 'server_failed'],
    ['failsFromPage2', 'server_failed'],
    ['busyAlways', 'too_many_requests'],
    ['diesOnPage3', 'answer_broken'],
    ['breaksOffOnPage2', 'answer_broken'],
  ])('ends the read for this time when it stays so (%s)', async (misbehaviour, code) => {
    server.behave(misbehaviour)
    if (misbehaviour === 'breaksOffOnPage2') {
      // Once is forgiven.
      expect((await readAll()).records).toHaveLength(25)
      return
    }
    expect(await errorOf(readAll())).toMatchObject({ code, temporary: true })
    expect(asked()).toBeLessThan(15)
  })

  it.each<[Misbehaviour]>([['silent'], ['silentInTheBody']])(
    'is given up after the timeout (%s)',
    async (misbehaviour) => {
      server.behave(misbehaviour)
      const stop = new AbortController()
      const reading = readAll({ timeoutSeconds: 1 }, { signal: stop.signal })
      // All attempts would take as many seconds: the second one shows that the first was given up.
      const deadline = performance.now() + 5000
      while (asked() < 2 && performance.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      expect(asked()).toBe(2)
      stop.abort(new Error('enough'))
      await expect(reading).rejects.toThrow('enough')
    },
  )

  it('can be left while it makes us wait for a day', async () => {
    server.behave('busyForLong')
    const stop = new AbortController()
    const reading = readAll({}, { signal: stop.signal })
    setTimeout(() => stop.abort(new Error('enough')), 200)
    await expect(reading).rejects.toThrow('enough')
    expect(asked()).toBe(2)
  })
})

describe('a sign of life', () => {
  it('is given while the server makes us wait, and not while it is silent', async () => {
    server.behave('busySeconds')
    const waiting = await readAll()
    // Three pages, and one every 50 ms of a second.
    expect(waiting.pages).toBeGreaterThan(10)
    expect(waiting.records).toHaveLength(25)

    server.behave('silent')
    const stop = new AbortController()
    const reader = openReader({ url: server.url, timeoutSeconds: 30 })
    const pages = reader.read(requestFor({ ...few, signal: stop.signal }))
    const first = pages.next()
    const outcome = await Promise.race([
      first.then(() => 'a page'),
      new Promise((resolve) => setTimeout(resolve, 500, 'nothing')),
    ])
    expect(outcome).toBe('nothing')
    stop.abort(new Error('enough'))
    await expect(first).rejects.toThrow('enough')
  })
})

describe('a certificate', () => {
  it('is trusted when the settings name who issued it, and only then', async () => {
    const authority = makeAuthority()
    const secure = await startHostileScim(authority.issue(['IP:127.0.0.1']))
    try {
      const error = await errorOf(readAll({ url: secure.url }))
      expect(error).toMatchObject({ code: 'certificate_refused', temporary: false })
      expect(secure.requests).toHaveLength(0)
      const { records } = await readAll({ url: secure.url, tlsCa: authority.ca })
      expect(records).toHaveLength(25)
    } finally {
      await secure.close()
      authority.close()
    }
  })
})

describe('an answer without an end', () => {
  it.each<[Misbehaviour, string]>([
    ['giant', 'answer_too_large'],
    ['giantText', 'answer_too_large'],
    ['giantByItsHeader', 'answer_too_large'],
    ['giantRefusal', 'request_refused'],
    ['deep', 'answer_too_large'],
    ['manyValues', 'answer_too_large'],
  ])('is left at the limit, and memory stays flat (%s)', async (misbehaviour, code) => {
    server.behave(misbehaviour)
    const before = process.memoryUsage().rss
    let peak = before
    const watch = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss)
    }, 5)
    try {
      expect(await errorOf(readAll())).toMatchObject({ code, temporary: false })
    } finally {
      clearInterval(watch)
    }
    expect(asked()).toBe(1)
    // The body up to the limit, once, and what the server of the test has in its buffers.
    expect((peak - before) / 1_048_576).toBeLessThan(160)
    expect(server.written / 1_048_576).toBeLessThan(100)
  })
})

describe('a delta', () => {
  it('becomes a full read where the server refuses its filter', async () => {
    server.behave(null)
    const { end } = await readAll()
    expect(end.cursor).not.toBeNull()
    server.behave('refusesFilter')
    const second = await readAll({}, { cursor: end.cursor })
    expect(second.end.mode).toBe('full')
    expect(second.records).toHaveLength(25)
  })

  it('stays a delta where the server ignores its filter: absence must mean nothing', async () => {
    server.behave(null)
    const { end } = await readAll()
    const since = { ...end.cursor, lastModified: Date.parse('2026-06-01T00:00:00Z') }
    server.behave('ignoresFilter')
    const second = await readAll({}, { cursor: since })
    expect(second.end).toMatchObject({ mode: 'delta', cursor: since })
    expect(second.records).toHaveLength(25)
  })
})
