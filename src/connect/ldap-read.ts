// Reads accounts or groups of a directory, all or what changed, to the proven end of every base.
import type { RawEntry } from './ldap-entry.ts'
import { type Delta, fingerprint, later, planDelta } from './ldap-delta.ts'
import { toGuid } from './ldap-values.ts'
import { digestGroups, type Memberships, readMemberships } from './ldap-groups.ts'
import { controlNames, readRoot, type Root } from './ldap-root.ts'
import { searchPages, type Session } from './ldap-search.ts'
import type { LdapSettings, Place } from './ldap-settings.ts'
import { type GroupsOf, type Shape, shapeOf } from './ldap-shape.ts'
import { isWithin } from './ldap-text.ts'
import type { Page, ReadEnd, ReadRecord, ReadRequest } from './reader.ts'

/** Entries are given on in blocks of so many, however many come in one answer. */
const blockSize = 1000

/** How often a reader gives a sign of life while it reads something else than accounts. */
const aliveMs = 20_000

/** More entries than this are joined with all groups, not with those that name them. */
const fewEntries = 100

/** Reads accounts. */
export async function* readAccounts(
  session: Session,
  settings: LdapSettings,
  request: ReadRequest,
): AsyncGenerator<Page, ReadEnd> {
  const stamp = settings.kind === 'ldap' ? ['modifyTimestamp'] : []
  const shape = shapeOf(settings, request, stamp)
  const whole = request.limit === null
  const root = await readRoot(session)
  const joined = shape.joinsGroups && whole
  const memberships = joined ? yield* aliveUntil(readMemberships(session, settings)) : null
  const digest = whole ? yield* aliveUntil(digestOf(session, settings, shape, memberships)) : null
  const about = fingerprint(settings, request)
  const cursor = whole ? request.cursor : null
  const delta = await planDelta(session, settings, root, { cursor, about, digest })
  let latest: string | null = null
  const join = async (entries: readonly RawEntry[]): Promise<GroupsOf> => {
    for (const entry of entries) latest = later(latest, shape.extra(entry, 'modifyTimestamp'))
    if (!shape.joinsGroups || memberships !== null) return memberships?.groupsOf ?? null
    return joinFew(session, settings, shape, entries)
  }
  const complete = yield* readPlace(session, shape, {
    ...settings.accounts,
    filter: narrowed(settings.accounts.filter, delta),
    limit: request.limit,
    join,
  })
  if (settings.kind === 'active-directory' && delta.filter !== null) {
    yield* readDeleted(session, settings, root, request, delta.filter)
  }
  report(session, settings, shape)
  return {
    proof: complete ? proofOf(settings.accounts) : null,
    expected: null,
    mode: delta.filter === null ? 'full' : 'delta',
    cursor: complete && whole ? delta.next(latest, digest) : null,
  }
}

/** Reads groups: always all of them. */
export async function* readGroups(
  session: Session,
  settings: LdapSettings,
  request: ReadRequest,
): AsyncGenerator<Page, ReadEnd> {
  const shape = shapeOf(settings, request, [])
  const join = (): Promise<GroupsOf> => Promise.resolve(null)
  const complete = yield* readPlace(session, shape, {
    ...settings.groups,
    limit: request.limit,
    join,
  })
  report(session, settings, shape)
  const proof = complete ? proofOf(settings.groups) : null
  return { proof, expected: null, mode: 'full', cursor: null }
}

/**
 * Empty pages until some work is done, so that nobody takes it for silence. A server that is silent is found out by the
 * connection.
 */
async function* aliveUntil<T>(work: Promise<T>): AsyncGenerator<Page, T> {
  const done = work.then((outcome) => ({ outcome }))
  for (;;) {
    let timer: NodeJS.Timeout | undefined
    const pause = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, aliveMs, null)
    })
    const first = await Promise.race([done, pause]).finally(() => clearTimeout(timer))
    if (first !== null) return first.outcome
    yield { records: [] }
  }
}

interface ReadPlace extends Place {
  readonly limit: number | null
  readonly join: (entries: readonly RawEntry[]) => Promise<GroupsOf>
}

/** Gives the records of a place; whether all of its bases came to their end. */
async function* readPlace(
  session: Session,
  shape: Shape,
  place: ReadPlace,
): AsyncGenerator<Page, boolean> {
  const { scope, filter, join } = place
  let left = place.limit
  const few: RawEntry[] = []
  for (const base of place.bases) {
    const search = { base, scope, filter, attributes: shape.attributes, limit: left }
    const pages = searchPages(session, search)
    for (;;) {
      const { value, done } = await pages.next()
      if (done === true) break
      if (left === null) {
        const groups = await join(value)
        for (let at = 0; at < value.length; at += blockSize) {
          const block = value.slice(at, at + blockSize)
          yield { records: block.map((entry) => shape.record(entry, groups)) }
        }
      } else {
        left -= value.length
        few.push(...value)
      }
    }
    if (left !== null && left <= 0) break
  }
  if (left === null) return true
  // Joined at the end: a search for groups between two pages would take the place of the search they belong to.
  const groups = await join(few)
  yield { records: few.map((entry) => shape.record(entry, groups)) }
  return false
}

/** Entries that were deleted; Active Directory keeps their id for some months. */
async function* readDeleted(
  session: Session,
  settings: LdapSettings,
  root: Root,
  request: ReadRequest,
  changed: string,
): AsyncGenerator<Page> {
  if (!root.controls.includes(controlNames.showDeleted)) {
    session.log(
      'warn',
      'The server does not show deleted entries: only a full read finds removals.',
    )
  }
  const contexts = new Set(settings.accounts.bases.map((base) => contextOf(root, base)))
  const attributes = [{ name: settings.keyAttribute, form: toGuid }]
  for (const base of contexts) {
    const search = {
      base,
      scope: 'sub',
      filter: `(&(isDeleted=TRUE)${changed})`,
      attributes,
      controls: [{ name: controlNames.showDeleted, critical: false }],
      limit: null,
    } as const
    for await (const entries of searchPages(session, search)) {
      yield { records: entries.flatMap((entry) => deletedRecord(entry, request)) }
    }
  }
}

function deletedRecord(entry: RawEntry, request: ReadRequest): readonly ReadRecord[] {
  const key = entry.values[0]
  if (typeof key !== 'string') return []
  const values = request.attributes.map(() => null)
  return [{ identity: entry.dn, key: key.toLowerCase(), deleted: true, values }]
}

/** The naming context that a base belongs to: deleted entries are kept there, outside the base. */
function contextOf(root: Root, base: string): string {
  const around = root.namingContexts.filter((context) => context !== '' && isWithin(base, context))
  return around.toSorted((one, other) => other.length - one.length)[0] ?? base
}

function narrowed(filter: string, delta: Delta): string {
  if (delta.filter === null) return filter
  const whole = filter.trim().startsWith('(') ? filter : `(${filter})`
  return `(&${whole}${delta.filter})`
}

/** What tells that memberships changed; null when nobody wants to know. */
async function digestOf(
  session: Session,
  settings: LdapSettings,
  shape: Shape,
  memberships: Memberships | null,
): Promise<string | null> {
  if (!shape.wantsGroups || settings.groupChanges === 'ignore') return null
  if (memberships !== null) return memberships.digest
  // entryCSN tells changes within one second apart.
  const stamps = settings.kind === 'ldap' ? ['entryCSN', 'modifyTimestamp'] : ['uSNChanged']
  return digestGroups(session, settings, stamps)
}

/** The groups of a few entries. */
export async function joinFew(
  session: Session,
  settings: LdapSettings,
  shape: Shape,
  entries: readonly RawEntry[],
): Promise<GroupsOf> {
  const members = entries.map((entry) => ({ dn: entry.dn, uid: shape.uidOf(entry) }))
  const named = members.length > 0 && members.length <= fewEntries ? members : null
  return (await readMemberships(session, settings, named)).groupsOf
}

function proofOf({ bases }: Place): string {
  const where = bases.length === 1 ? 'the base' : `each of ${bases.length} bases`
  return `the server ended the search of ${where} with success and an empty cookie`
}

/** Tells the log what was left out or changed on the way. */
function report({ oddities, log }: Session, settings: LdapSettings, shape: Shape): void {
  if (oddities.references > 0) {
    log('info', `${oddities.references} references to other servers were not followed.`)
  }
  for (const [name, values] of oddities.notText) {
    log(
      'warn',
      `${values} values of "${name}" are no text and were given as base64: add it to binaryAttributes.`,
    )
  }
  if (shape.keyedByDn() === true && settings.keyAttribute.toLowerCase() !== 'dn') {
    log('warn', `Entries have no "${settings.keyAttribute}": one that is moved counts as another.`)
  }
}
