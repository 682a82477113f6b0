// Lists of SCIM, page by page, by index (RFC 7644, section 3.4.2.4) or cursor (RFC 9865): only a list that adds up ends well.
import { RunError } from '../core/errors.ts'
import type { ScimAnswer, ScimClient } from './scim-client.ts'
import { notScim, ScimRefused } from './scim-errors.ts'
import { isJsonObject, lookUp, type JsonObject } from './scim-json.ts'
import { createSeen, type Seen } from './scim-seen.ts'
import { wait } from './wait.ts'

/** More resources than this are not believed: with pages of 100 that would be 200,000 requests. */
const resourceLimit = 20_000_000
/** How often a list that changes while it is read is begun again. */
const restartLimit = 2
/** Empty pages in a row that a cursor may lead through. */
const emptyPageLimit = 20

/** A resource with its id. */
export interface Resource {
  readonly id: string
  readonly body: JsonObject
}

/** What is listed. */
export interface Listing {
  /** `/Users` or `/Groups`. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly pageSize: number
  readonly method: 'index' | 'cursor'
  /** More resources than this are not needed; null: all. */
  readonly limit: number | null
  readonly signal: AbortSignal
  readonly log: (level: 'info' | 'warn', message: string) => void
}

/** How a list ended. */
export interface ListEnd {
  /** Half a sentence for the ledger; null when the list was not read to its end. */
  readonly proof: string | null
  /** How many resources there had to be; null when the server does not say. */
  readonly expected: number | null
  /** The clock of the server when the list was begun. */
  readonly begunAtMs: number | null
}

interface ListPage {
  readonly resources: readonly Resource[]
  readonly total: number | null
  readonly nextCursor: string | null
  readonly serverTimeMs: number | null
  readonly place: string
}

/** What a pass through a list came to. */
interface PassEnd {
  readonly outcome: 'complete' | 'limited' | 'moved'
  readonly count: number
  readonly total: number | null
}

/** What all passes share. */
interface Passes {
  /** Ids that were given to the reader. */
  readonly given: Seen
  begunAtMs: number | null
}

/**
 * The resources of a list, each once. A list that changes while it is read is read again, twice at most; what was given
 * already is not given again. Throws `not_scim`, `total_missing`, `total_mismatch`, `empty_page`, `repeated_record`,
 * `cursor_repeated`, `cursor_expired`, `too_many_records`, `moving`, and what the client throws.
 */
export async function* listPages(
  client: ScimClient,
  listing: Listing,
): AsyncGenerator<readonly Resource[], ListEnd> {
  const passes: Passes = { given: createSeen(), begunAtMs: null }
  for (let pass = 1; ; pass += 1) {
    const { outcome, count, total } = yield* listOnce(client, listing, passes, pass)
    const { begunAtMs } = passes
    if (outcome === 'limited') return { proof: null, expected: null, begunAtMs }
    if (outcome === 'complete') {
      const proof =
        total === null
          ? `the last page, after ${count} resources, named no next one`
          : `all ${total} resources that the server announced came`
      // After another pass some were given that are gone by now: they belong to the outcome too.
      return { proof, expected: pass === 1 ? total : passes.given.size, begunAtMs }
    }
    if (pass > restartLimit) {
      throw new RunError('moving', `${listing.path} changed each time that it was read.`, {
        hint: 'Read it when fewer users are created and removed, or set connectorAttributes.pagination to cursor if the server can do that.',
        temporary: true,
      })
    }
    listing.log('info', `${listing.path} changed while it was read; it is read again.`)
  }
}

async function* listOnce(
  client: ScimClient,
  listing: Listing,
  passes: Passes,
  pass: number,
): AsyncGenerator<readonly Resource[], PassEnd> {
  const stop = new AbortController()
  const signal = AbortSignal.any([listing.signal, stop.signal])
  const ids = pass === 1 ? passes.given : createSeen()
  const cursors = createSeen()
  let total: number | null = null
  let count = 0
  let emptyPages = 0
  try {
    let coming = begin(client, listing, placeOf(listing, 1, ''), signal)
    for (let first = true; ; first = false) {
      const page = yield* patiently(coming, client)
      passes.begunAtMs ??= page.serverTimeMs
      if (first) total = page.total
      else if (hasMoved(listing, page.total, total)) return { outcome: 'moved', count, total }
      total ??= page.total
      const fresh = page.resources.filter(({ id }) => {
        if (!ids.add(id)) throw repeatedRecord(page.place, ids.size)
        return ids === passes.given || passes.given.add(id)
      })
      count += page.resources.length
      emptyPages = page.resources.length === 0 ? emptyPages + 1 : 0
      checkCount(listing, page, { total, count, emptyPages })
      const enough = listing.limit !== null && passes.given.size >= listing.limit
      const done = listing.method === 'index' ? count === total : page.nextCursor === null
      if (done || enough) {
        yield fresh
        if (first && (await goesOn(client, listing, page, { ids, signal }))) {
          return { outcome: 'moved', count, total }
        }
        return { outcome: listing.limit === null ? 'complete' : 'limited', count, total }
      }
      if (page.nextCursor !== null && !cursors.add(page.nextCursor)) throw cursorRepeated(page)
      // While this page is worked off the next one is under way: one, so that at most two are in memory.
      coming = begin(client, listing, placeOf(listing, count + 1, page.nextCursor ?? ''), signal)
      yield fresh
    }
  } finally {
    stop.abort(new Error('Nobody waits for the next page any more.'))
  }
}

/**
 * Whether a list that ended with its first page grew since. Some servers announce as many resources as there are in the
 * page, so that every list seems to be one page long: the next one is asked for too, and nobody new may come. (For a page
 * beyond the end some give the first one again, and some an error.)
 */
async function goesOn(
  client: ScimClient,
  listing: Listing,
  page: ListPage,
  { ids, signal }: { readonly ids: Seen; readonly signal: AbortSignal },
): Promise<boolean> {
  const { total, resources, place } = page
  if (listing.method !== 'index' || listing.limit !== null || total === null || total === 0) {
    return false
  }
  const query = placeOf(listing, total + 1, '')
  const beyond = await begin(client, listing, query, signal).catch((error: unknown) => {
    if (error instanceof ScimRefused && error.status !== 401) return null
    throw error
  })
  const more = beyond?.resources.filter(({ id }) => !ids.has(id)).length ?? 0
  if (more === 0) return false
  if ((beyond?.total ?? 0) > total) return true
  throw totalMismatch(place, total, resources.length + more)
}

/** The query of a page. */
function placeOf(listing: Listing, startIndex: number, cursor: string): URLSearchParams {
  const query = new URLSearchParams(listing.query)
  if (listing.method === 'index') query.set('startIndex', String(startIndex))
  else query.set('cursor', cursor)
  query.set('count', String(Math.min(listing.pageSize, listing.limit ?? listing.pageSize)))
  return query
}

function begin(
  client: ScimClient,
  listing: Listing,
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<ListPage> {
  const coming = client.get(listing.path, query, signal).then(readPage, (error: unknown) => {
    throw explainCursor(error)
  })
  // It may fail before anybody asks for it; whoever asks then gets the error.
  coming.catch(() => undefined)
  return coming
}

/** A cursor that ran out is no fault of the settings: the next read gets new ones. */
function explainCursor(error: unknown): unknown {
  if (!(error instanceof ScimRefused)) return error
  if (!/^(expired|invalid)Cursor$/i.test(error.scimType ?? '')) return error
  return new RunError('cursor_expired', error.message, {
    hint: 'Try again; if it stays so, lower connectorAttributes.pageSize, or set connectorAttributes.pagination to index.',
    temporary: true,
    cause: error,
  })
}

/** Waits for a page, with an empty page as a sign of life as long as the server makes us wait. */
async function* patiently(
  coming: Promise<ListPage>,
  client: ScimClient,
): AsyncGenerator<readonly Resource[], ListPage> {
  for (;;) {
    const stop = new AbortController()
    const tick = wait(client.pace.signOfLifeMs, stop.signal).then(
      () => null,
      () => null,
    )
    try {
      const page = await Promise.race([coming, tick])
      if (page !== null) return page
    } finally {
      stop.abort()
    }
    if (client.isWaiting) yield []
  }
}

function readPage({ body, serverTimeMs, place }: ScimAnswer): ListPage {
  if (!isJsonObject(body)) throw notScim(place, 'answered with a bare list')
  const list = lookUp(body, 'Resources') ?? []
  const total = readCount(lookUp(body, 'totalResults'))
  const cursor = lookUp(body, 'nextCursor')
  if (total === undefined || !Array.isArray(list)) {
    throw notScim(place, 'answered with JSON that is no list of SCIM')
  }
  if (total === null && cursor === undefined && lookUp(body, 'Resources') === undefined) {
    throw notScim(place, 'answered with JSON that is no list of SCIM')
  }
  const resources = list.map((resource: unknown): Resource => {
    const id = isJsonObject(resource) ? lookUp(resource, 'id') : null
    if (!isJsonObject(resource) || typeof id !== 'string' || !/^[^\0]*\S[^\0]*$/.test(id)) {
      throw notScim(place, 'answered with a resource that has no id')
    }
    return { id, body: resource }
  })
  const nextCursor = typeof cursor === 'string' && cursor !== '' ? cursor : null
  return { resources, total, nextCursor, serverTimeMs, place }
}

/** A count; null when there is none, undefined when it is something else. */
function readCount(value: unknown): number | null | undefined {
  if (value === undefined || value === null) return null
  const count = typeof value === 'string' && /^[0-9]{1,15}$/.test(value) ? Number(value) : value
  return typeof count === 'number' && Number.isInteger(count) && count >= 0 ? count : undefined
}

/** Whether the list changed. With cursors the number may be left out (RFC 9865, section 2.1), by index never. */
function hasMoved(listing: Listing, now: number | null, before: number | null): boolean {
  if (listing.method === 'cursor' && (now === null || before === null)) return false
  return now !== null && now !== before
}

interface Counted {
  readonly total: number | null
  readonly count: number
  readonly emptyPages: number
}

/** Holds what came against what the server announced. */
function checkCount(listing: Listing, page: ListPage, counted: Counted): void {
  const { place } = page
  const { total, count, emptyPages } = counted
  if (listing.method === 'index' && page.total === null) {
    throw new RunError('total_missing', `${place} did not say how many resources there are.`, {
      hint: 'Without totalResults nobody knows whether all came: set connectorAttributes.pagination to cursor if the server can do that.',
    })
  }
  if (Math.max(total ?? 0, count) > resourceLimit) {
    const said = total === null ? `sent ${count}` : `announced ${total}`
    throw new RunError(
      'too_many_records',
      `${place} ${said} resources, more than ${resourceLimit}.`,
      { hint: 'Ask for fewer by connectorAttributes.userFilter, or correct the server.' },
    )
  }
  if (total !== null && count > total) throw totalMismatch(place, total, count)
  if (listing.method === 'cursor') {
    if (page.nextCursor === null && total !== null && count < total) {
      throw totalMismatch(place, total, count)
    }
    if (emptyPages > emptyPageLimit) {
      throw emptyPage(`${place} sent ${emptyPages} empty pages, one after the other`)
    }
  } else if (emptyPages > 0 && total !== null && count < total) {
    throw emptyPage(`${place} announced ${total} resources and sent none after ${count}`)
  }
}

function totalMismatch(place: string, total: number, count: number): RunError {
  return new RunError(
    'total_mismatch',
    `${place} announced ${total} resources and sent ${count}.`,
    {
      hint: 'A list that does not add up removes nothing. Look whether the server counts right, and whether it pages as connectorAttributes.pagination says.',
    },
  )
}

function emptyPage(message: string): RunError {
  return new RunError('empty_page', `${message}.`, {
    hint: 'A list that does not add up removes nothing. Look whether the login may see all resources and whether the server limits how far it pages.',
  })
}

function repeatedRecord(place: string, count: number): RunError {
  return new RunError('repeated_record', `${place} sent a resource again, after ${count} others.`, {
    hint: 'The server may ignore startIndex, or list in no steady order: try connectorAttributes.pagination, or a larger pageSize.',
  })
}

function cursorRepeated({ place }: ListPage): RunError {
  return new RunError('cursor_repeated', `${place} named a next cursor that it had named before.`, {
    hint: 'Such a list has no end: set connectorAttributes.pagination to index, or correct the server.',
  })
}
