// Reads a search to its proven end, page by page; the next page is on its way while the last is worked off.
import { RunError } from '../core/errors.ts'
import type { Budget } from './budget.ts'
import type { GivenControl, LdapConnection, Scope, SearchRequest } from './ldap-connection.ts'
import {
  type EntryDecoder,
  entryDecoder,
  type Oddities,
  type RawEntry,
  type ReadAttribute,
} from './ldap-entry.ts'
import { type LdapResult, protocolError, resultError } from './ldap-errors.ts'
import { encodeFilter } from './ldap-filter.ts'
import { retry } from './retry.ts'

/** What searches of one read share. */
export interface Session {
  readonly connection: LdapConnection
  readonly budget: Budget
  readonly signal: AbortSignal
  readonly log: (level: 'info' | 'warn', message: string) => void
  /** Entries per page; 0: the server has no paged results, or nobody wants them. */
  readonly pageSize: number
  /** Counted over all searches, for the log. */
  readonly oddities: Oddities & { references: number }
}

export interface Search {
  readonly base: string
  readonly scope: Scope
  readonly filter: string
  readonly attributes: readonly ReadAttribute[]
  readonly controls?: readonly GivenControl[]
  /** Entries that are enough; null: all. */
  readonly limit: number | null
}

interface SearchPage {
  readonly entries: RawEntry[]
  readonly result: LdapResult
}

/**
 * The pages of a search. It returns when the server proved that there is nothing more, or the limit is reached, and throws
 * otherwise.
 */
export async function* searchPages(
  session: Session,
  search: Search,
): AsyncGenerator<RawEntry[], void> {
  const { limit } = search
  const size = limit === null ? session.pageSize : Math.min(session.pageSize, limit)
  const decode = entryDecoder(search.attributes, session.oddities)
  const request = { ...search, filter: encodeFilter(search.filter), size, decode }
  const progress = watchProgress(search.base)
  let running = askAhead(session, request, Buffer.alloc(0))
  let left = limit ?? Number.POSITIVE_INFINITY
  for (;;) {
    const { entries, result } = await running
    const cookie = nextCookie(search.base, size, entries.length, result, progress.first())
    left -= entries.length
    if (cookie !== null) {
      progress.see(cookie, entries)
      if (left > 0) running = askAhead(session, request, cookie)
    }
    await fillRanges(session, search, entries)
    yield left < 0 ? entries.slice(0, left) : entries
    if (cookie === null || left <= 0) return
  }
}

interface PageRequest extends Omit<Search, 'filter'> {
  readonly filter: Buffer
  readonly size: number
  readonly decode: EntryDecoder
}

/** Asks for a page. */
function askAhead(session: Session, search: PageRequest, cookie: Buffer): Promise<SearchPage> {
  const page = askPage(session, search, cookie)
  // It may fail while the page before is worked off; whoever awaits it hears of it then.
  page.catch(() => undefined)
  return page
}

async function askPage(session: Session, search: PageRequest, cookie: Buffer): Promise<SearchPage> {
  const answer = await ask(session, `The search below "${search.base}"`, {
    decode: search.decode,
    request: {
      base: search.base,
      scope: search.scope,
      filter: search.filter,
      attributes: namesOf(search.attributes),
      sizeLimit: search.size === 0 ? (search.limit ?? 0) : 0,
      page: search.size === 0 ? null : { size: search.size, cookie },
      ...(search.controls === undefined ? {} : { controls: search.controls }),
    },
  })
  const { code } = answer.result
  if (code === 0 || (code === 4 && search.limit !== null && search.size === 0)) return answer
  throw resultError(answer.result, `The search below "${search.base}"`)
}

/**
 * Sends a search. A server that is busy is asked again as long as nothing of the answer has come; a connection that broke
 * is not, as it does not mend.
 */
function ask(
  session: Session,
  subject: string,
  search: { readonly decode: EntryDecoder; readonly request: SearchRequest },
): Promise<SearchPage> {
  const { connection, budget, signal, oddities } = session
  const attempt = async (): Promise<SearchPage | { readonly broken: Error }> => {
    await budget.take(signal)
    const entries: RawEntry[] = []
    const sink = {
      entry: (bytes: Buffer, start: number, end: number): void => {
        entries.push(search.decode(bytes, start, end))
      },
      reference: (): void => {
        oddities.references += 1
      },
    }
    const result = await connection.search(search.request, sink).catch((error: unknown) => error)
    if (result instanceof Error) return { broken: result }
    const page: SearchPage = { entries, result: result as LdapResult }
    const error = resultError(page.result, subject)
    if (entries.length === 0 && error.temporary) throw error
    return page
  }
  return retry(attempt, { signal, log: session.log }).then((outcome) => {
    if ('broken' in outcome) throw outcome.broken
    return outcome
  })
}

function namesOf(attributes: readonly ReadAttribute[]): readonly string[] {
  return attributes.length === 0 ? ['1.1'] : attributes.map(({ name }) => name)
}

/** The cookie of the next page; null at the end. */
function nextCookie(
  base: string,
  size: number,
  entries: number,
  result: LdapResult,
  first: boolean,
): Buffer | null {
  if (size === 0) return null
  if (result.cookie !== null) return result.cookie.length === 0 ? null : result.cookie
  // Without its control the server ignored paging and sent everything at once; a full page, or a later one, was cut.
  if (first && entries !== size) return null
  throw new RunError(
    'cookie_missing',
    `The server ended a page of the search below "${base}" without saying whether more follows.`,
    { hint: 'Set pageSize to 0 if the server knows no paged results.' },
  )
}

/** A server may need several requests to find the next entry, but not without end. */
const emptyPages = 100

/**
 * Watches that pages bring something new. A cookie that comes again is no fault by itself (389 Directory Server uses the
 * same one for all pages of a search), but no entry begins two pages, and empty pages have an end.
 */
function watchProgress(base: string): {
  readonly first: () => boolean
  readonly see: (cookie: Buffer, entries: readonly RawEntry[]) => void
} {
  const cookies = new Set<string>()
  const begins = new Set<string>()
  let [pages, empty] = [0, 0]
  return {
    first: () => pages === 0,
    see: (cookie, entries) => {
      pages += 1
      const written = cookie.toString('latin1')
      const begin = entries[0]?.dn ?? null
      empty = begin === null ? empty + 1 : 0
      const again = begin === null ? cookies.has(written) : begins.has(begin)
      if (again || empty > emptyPages) {
        throw new RunError(
          'cookie_repeated',
          `The server does not come to an end below "${base}": page ${pages} brings nothing new.`,
          { hint: 'Look for a fault of the server or of a proxy before it; try another pageSize.' },
        )
      }
      cookies.add(written)
      if (begin !== null) begins.add(begin)
    },
  }
}

/** Fetches values that the server holds back (ranges), entry by entry. */
async function fillRanges(session: Session, search: Search, entries: RawEntry[]): Promise<void> {
  for (const entry of entries) {
    for (const { slot, next } of entry.open ?? []) {
      const attribute = search.attributes[slot]
      if (attribute !== undefined) await fillRange(session, entry, slot, attribute, next)
    }
  }
}

async function fillRange(
  session: Session,
  entry: RawEntry,
  slot: number,
  attribute: ReadAttribute,
  first: number,
): Promise<void> {
  const values = [entry.values[slot] ?? []].flat()
  let next: number | null = first
  while (next !== null) {
    const asked = `${attribute.name};range=${next}-*`
    const more = await readEntry(session, entry.dn, [attribute], { ask: [asked] })
    const got = [more?.values[0] ?? []].flat()
    if (got.length === 0) {
      throw protocolError(`no more values of "${attribute.name}" although it had announced them`)
    }
    for (const value of got) values.push(value)
    const following: number | null = more?.open?.[0]?.next ?? null
    if (following !== null && following <= next) {
      throw protocolError(`the same range of "${attribute.name}" again`)
    }
    next = following
  }
  entry.values[slot] = values
}

/** One entry by its DN; null when there is none, or when it does not match the filter. */
export async function readEntry(
  session: Session,
  dn: string,
  attributes: readonly ReadAttribute[],
  options: { readonly filter?: string; readonly ask?: readonly string[] } = {},
): Promise<RawEntry | null> {
  const subject = dn === '' ? 'The search for the root entry' : 'The search for one entry'
  const { entries, result } = await ask(session, subject, {
    decode: entryDecoder(attributes, session.oddities),
    request: {
      base: dn,
      scope: 'base',
      filter: encodeFilter(options.filter ?? '(objectClass=*)'),
      attributes: options.ask ?? namesOf(attributes),
      page: null,
    },
  })
  // There is no such entry, or the text is no DN.
  if (result.code === 32 || result.code === 34) return null
  if (result.code !== 0) throw resultError(result, subject)
  const found = entries[0] ?? null
  if (found === null || options.ask !== undefined) return found
  await fillRanges(session, { base: dn, scope: 'base', filter: '', attributes, limit: 1 }, [found])
  return found
}
