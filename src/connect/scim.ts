// The connector `scim`: reads the users and groups of a SCIM 2.0 server (RFC 7643, 7644, 9865).
import { createHash } from 'node:crypto'
import { RunError } from '../core/errors.ts'
import { scimKind } from '../core/scim-kind.ts'
import type { Connector, Cursor, Page, ReadEnd, Reader, ReadRecord } from './reader.ts'
import type { ReaderTools, ReadRequest } from './reader.ts'
import { openClient, type ScimClient, type ScimPace } from './scim-client.ts'
import { chooseMethod, readConfig, type ScimConfig } from './scim-config.ts'
import { ScimRefused } from './scim-errors.ts'
import { openHighWater } from './scim-high-water.ts'
import { isJsonObject, lookUp } from './scim-json.ts'
import { readMemberships, withGroups, type Memberships } from './scim-members.ts'
import { listPages, type Listing, type Resource } from './scim-pages.ts'
import { openRecordMaker, type RecordMaker } from './scim-records.ts'
import { discoverSchemas } from './scim-schemas.ts'
import { readScimSettings, type ScimSettings } from './scim-settings.ts'

/** The connector of SCIM 2.0 servers. */
export const scimConnector: Connector = {
  ...scimKind,
  open: (given, tools) => Promise.resolve(openScimReader(readScimSettings(given), tools)),
}

/** What the methods of a reader share. */
interface Session {
  readonly settings: ScimSettings
  readonly client: ScimClient
  readonly log: ReaderTools['log']
  /** The configuration of the server, read once. */
  config(signal: AbortSignal): Promise<ScimConfig>
}

/** A reader of a SCIM server; nothing is sent before it is asked. */
export function openScimReader(
  settings: ScimSettings,
  tools: ReaderTools,
  pace: ScimPace = { baseMs: 500, signOfLifeMs: 15_000 },
): Reader {
  const client = openClient(settings, tools, pace)
  let known: ScimConfig | null = null
  const session: Session = {
    settings,
    client,
    log: tools.log,
    config: async (signal) => {
      known ??= await readConfig(client, signal)
      return known
    },
  }
  return {
    check: (signal) => check(session, signal),
    discover: (signal) => discoverSchemas(client, signal),
    read: (request) => readUsers(session, request),
    entitlements: (request) => readGroups(session, request),
    readOne: (identity, request) => readUser(session, identity, request),
    close: () => Promise.resolve(),
  }
}

async function check(
  session: Session,
  signal: AbortSignal,
): Promise<Readonly<Record<string, string | number | boolean>>> {
  const { settings, client, log } = session
  const config = await session.config(signal)
  const method = chooseMethod(settings, config)
  const listing = { method, pageSize: 1, limit: 1, signal, log }
  const count = async (path: string, query: Readonly<Record<string, string>>): Promise<number> => {
    let found = 0
    for await (const page of listPages(client, { ...listing, path, query })) found += page.length
    return found
  }
  const users = await count('/Users', userQuery(settings.userFilter))
  if (settings.groupMembership === 'group') await count('/Groups', {})
  return {
    configurationFound: config.known,
    filterSupported: config.filters,
    pagination: method,
    userFound: users > 0,
  }
}

async function* readUsers(session: Session, request: ReadRequest): AsyncGenerator<Page, ReadEnd> {
  const { settings } = session
  const maker = openRecordMaker(request, settings)
  const config = await session.config(request.signal)
  const scope = scopeOf(settings, request)
  const since = config.filters ? readCursor(request.cursor, scope) : null
  const listing = commonListing(session, config, request)
  const memberships =
    settings.groupMembership === 'group' && maker.wants('groups')
      ? yield* pagesOf(readMemberships(session.client, { ...listing, pageSize: settings.pageSize }))
      : null
  const read = { session, request, maker, config, scope, memberships, listing }
  if (since !== null) {
    const end = yield* readChanged(read, since)
    if (end !== null) return end
    session.log('warn', 'The SCIM server refuses to filter by meta.lastModified: all is read.')
  }
  return yield* readList(read, null)
}

interface UserRead {
  readonly session: Session
  readonly request: ReadRequest
  readonly maker: RecordMaker
  readonly config: ScimConfig
  readonly scope: string
  readonly memberships: Memberships | null
  readonly listing: CommonListing
}

type CommonListing = Omit<Listing, 'path' | 'query'>

/** A delta; null when the server refuses its filter. Nothing came then. */
async function* readChanged(read: UserRead, since: number): AsyncGenerator<Page, ReadEnd | null> {
  const pages = readList(read, since)
  try {
    let next = await pages.next().catch((error: unknown) => {
      // Only the first answer can say so: a later refusal has another reason.
      if (error instanceof ScimRefused && [400, 403, 501].includes(error.status)) return null
      throw error
    })
    if (next === null) return null
    for (; next.done !== true; next = await pages.next()) yield next.value
    return next.value
  } finally {
    await pages.return(undefined as never)
  }
}

async function* readList(read: UserRead, since: number | null): AsyncGenerator<Page, ReadEnd> {
  const { session, maker, memberships, listing } = read
  const { userFilter } = session.settings
  const highWater = openHighWater(since)
  const query = userQuery(since === null ? userFilter : changedSince(userFilter, since))
  const pages = listPages(session.client, { ...listing, path: '/Users', query })
  const end = yield* recordsOf(pages, listing.limit, (resource) => {
    highWater.note(resource)
    return maker.record(memberships === null ? resource : withGroups(resource, memberships))
  })
  if (highWater.sawOlder) {
    session.log('warn', 'The SCIM server sent users that did not change: it ignores the filter.')
  }
  const next = read.config.filters ? highWater.next(end.begunAtMs) : null
  return {
    proof: end.proof,
    expected: end.expected,
    // Also when the filter was ignored: a server that filters in its own way would seem to have lost the others.
    mode: since === null ? 'full' : 'delta',
    cursor: next === null ? null : { lastModified: next, scope: read.scope },
    extra: maker.extra(),
  }
}

async function* readGroups(session: Session, request: ReadRequest): AsyncGenerator<Page, ReadEnd> {
  if (request.objectType.toLowerCase() !== 'group') {
    throw new RunError(
      'object_type_unknown',
      `SCIM has no entitlements of the type "${request.objectType}".`,
      { hint: 'Its entitlements are groups: name the schema "group".' },
    )
  }
  const maker = openRecordMaker(request, session.settings)
  const config = await session.config(request.signal)
  const listing = commonListing(session, config, request)
  // The members of all groups are most of what a server would send.
  const query: Record<string, string> = maker.wants('members')
    ? {}
    : { excludedAttributes: 'members' }
  const pages = listPages(session.client, { ...listing, path: '/Groups', query })
  const end = yield* recordsOf(pages, listing.limit, (resource) => maker.record(resource))
  const { proof, expected } = end
  return { proof, expected, mode: 'full', cursor: null, extra: maker.extra() }
}

async function readUser(
  session: Session,
  identity: string,
  request: ReadRequest,
): Promise<ReadRecord | null> {
  const { settings, client } = session
  const { signal } = request
  const maker = openRecordMaker(request, settings)
  const found =
    maker.identityPath === null && settings.userFilter === null
      ? await getUser(client, identity, signal)
      : await findUser(session, `${maker.identityPath ?? 'id'} eq ${quote(identity)}`, signal)
  if (found === null) return null
  if (settings.groupMembership !== 'group' || !maker.wants('groups')) return maker.record(found)
  const listing = commonListing(session, await session.config(signal), request)
  const groups = readMemberships(client, { ...listing, pageSize: settings.pageSize })
  for (;;) {
    const next = await groups.next()
    if (next.done === true) return maker.record(withGroups(found, next.value))
  }
}

async function getUser(
  client: ScimClient,
  id: string,
  signal: AbortSignal,
): Promise<Resource | null> {
  // They would lead to another address.
  if (id === '' || id === '.' || id === '..') return null
  try {
    const path = `/Users/${encodeURIComponent(id)}`
    const { body } = await client.get(path, new URLSearchParams(), signal)
    if (isJsonObject(body) && lookUp(body, 'id') === id) return { id, body }
  } catch (error) {
    if (error instanceof ScimRefused && error.status === 404) return null
    throw error
  }
  throw new RunError(
    'not_scim',
    'The SCIM server answered with another user than it was asked for.',
    {
      hint: 'Check connectorAttributes.url.',
    },
  )
}

async function findUser(
  { settings, client, log }: Session,
  condition: string,
  signal: AbortSignal,
): Promise<Resource | null> {
  const filter =
    settings.userFilter === null ? condition : `(${settings.userFilter}) and ${condition}`
  const query = userQuery(filter)
  const listing = { path: '/Users', query, pageSize: 2, limit: 2, signal, log }
  for await (const page of listPages(client, { ...listing, method: 'index' })) {
    if (page[0] !== undefined) return page[0]
  }
  return null
}

function commonListing(session: Session, config: ScimConfig, request: ReadRequest): CommonListing {
  return {
    method: chooseMethod(session.settings, config),
    pageSize: Math.min(session.settings.pageSize, config.maxPageSize ?? Number.MAX_SAFE_INTEGER),
    limit: request.limit,
    signal: request.signal,
    log: session.log,
  }
}

/** Pages of records from pages of resources, up to the limit. */
async function* recordsOf<T>(
  pages: AsyncGenerator<readonly Resource[], T>,
  limit: number | null,
  make: (resource: Resource) => ReadRecord,
): AsyncGenerator<Page, T> {
  let given = 0
  try {
    for (;;) {
      const next = await pages.next()
      if (next.done === true) return next.value
      const wanted = limit === null ? next.value : next.value.slice(0, limit - given)
      given += wanted.length
      yield { records: wanted.map((resource) => make(resource)) }
    }
  } finally {
    // Whoever stops early ends the request that is under way.
    await pages.return(undefined as never)
  }
}

/** Signs of life as pages. */
async function* pagesOf<T>(pages: AsyncGenerator<readonly Resource[], T>): AsyncGenerator<Page, T> {
  for (;;) {
    const next = await pages.next()
    if (next.done === true) return next.value
    yield { records: [] }
  }
}

function userQuery(filter: string | null): Readonly<Record<string, string>> {
  return filter === null ? {} : { filter }
}

/** What changed at that time counts as changed: its moment may not have been over when it was read. */
function changedSince(userFilter: string | null, since: number): string {
  const condition = `meta.lastModified ge ${quote(new Date(since).toISOString())}`
  return userFilter === null ? condition : `(${userFilter}) and ${condition}`
}

/** A text in a filter is written as in JSON (RFC 7644, section 3.4.2.2). */
function quote(text: string): string {
  return JSON.stringify(text)
}

/** A delta completes only what was read in the same way; anything else is read in full. */
function scopeOf(settings: ScimSettings, request: ReadRequest): string {
  const parts = [
    settings.url,
    settings.userFilter,
    settings.groupMembership,
    [...settings.attributeMap],
    request.identityAttribute,
    request.attributes.map(({ name, nativeName }) => [name, nativeName]),
  ]
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 22)
}

function readCursor(cursor: Cursor | null, scope: string): number | null {
  if (cursor === null || cursor['scope'] !== scope) return null
  const since = cursor['lastModified']
  return typeof since === 'number' && Number.isInteger(since) ? since : null
}
