// Where a delta begins and where the next one will: times of change (LDAP), numbers of change (Active Directory).
import { createHash } from 'node:crypto'
import { type Root, readInvocation } from './ldap-root.ts'
import type { Session } from './ldap-search.ts'
import type { LdapSettings } from './ldap-settings.ts'
import type { Cursor, ReadRequest } from './reader.ts'

/** How a read begins, and what it leaves behind. */
export interface Delta {
  /** The filter of what changed; null: everything is read. */
  readonly filter: string | null
  /** Where the next delta begins, after a read in which entries were changed at these times. */
  readonly next: (latestChange: string | null, digest: string | null) => Cursor | null
}

/** Entries that were changed at nearly the same time may become visible in another order, seconds. */
const overlapSeconds = 60

/** What a cursor belongs to: with other settings it says nothing. */
export function fingerprint(settings: LdapSettings, request: ReadRequest): string {
  const { accounts, groups, membership, groupAttribute, memberAttributes, attributeMap } = settings
  const attributes = request.attributes.map((wanted) => [wanted, attributeMap.get(wanted.name)])
  const parts = [
    [accounts, membership === 'none' ? null : [groups, groupAttribute, memberAttributes]],
    [membership, settings.keyAttribute, settings.binaryAttributes, settings.host, settings.port],
    [attributes, request.identityAttribute],
  ]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32)
}

/**
 * Decides between a delta and a full read, before anything else of the read is asked for: what changes from now on belongs
 * to the next delta. `digest`: of the groups, null when they do not matter.
 */
export async function planDelta(
  session: Session,
  settings: LdapSettings,
  root: Root,
  given: { readonly cursor: Cursor | null; readonly about: string; readonly digest: string | null },
): Promise<Delta> {
  const { cursor, about, digest } = given
  const reason = cursor === null ? null : reasonForFull(cursor, about, digest)
  if (reason !== null) session.log('info', `Everything is read, as ${reason}.`)
  const usable = reason === null ? cursor : null
  return settings.kind === 'ldap'
    ? planByTime(usable, about)
    : planByNumber(session, root, usable, about)
}

function reasonForFull(cursor: Cursor, about: string, digest: string | null): string | null {
  if (cursor['about'] !== about) return 'the settings or the schema of the source changed'
  if (digest !== null && cursor['groups'] !== digest) return 'a group changed'
  return null
}

function planByTime(cursor: Cursor | null, about: string): Delta {
  const began = performance.now()
  const since = typeof cursor?.['since'] === 'string' ? cursor['since'] : null
  return {
    filter: since === null ? null : `(modifyTimestamp>=${since})`,
    next: (latest, groups) => {
      const next = nextSince(since, latest, performance.now() - began)
      return next === null ? null : { by: 'modifyTimestamp', since: next, about, groups }
    },
  }
}

/**
 * The time from which the next delta reads. The clock of the server alone counts: at the begin of a read it stood no later
 * than at the latest change that was read less the time that the read took.
 */
export function nextSince(
  since: string | null,
  latest: string | null,
  tookMs: number,
): string | null {
  const seconds = Math.ceil(tookMs / 1000) + overlapSeconds
  return later(since, latest === null ? null : secondsBefore(latest, seconds))
}

async function planByNumber(
  session: Session,
  root: Root,
  cursor: Cursor | null,
  about: string,
): Promise<Delta> {
  const { service, highestChange } = root
  if (service === null || highestChange === null) {
    session.log('info', 'The server shows no number of its last change: every read is a full one.')
    return { filter: null, next: () => null }
  }
  const invocation = await readInvocation(session, service)
  const same = cursor?.['server'] === service && cursor['invocation'] === invocation
  if (cursor !== null && !same) {
    session.log('info', 'Everything is read, as another domain controller answers.')
  }
  const since = same && typeof cursor?.['usn'] === 'string' ? cursor['usn'] : null
  const next = { by: 'uSNChanged', usn: highestChange, server: service, invocation, about }
  return {
    filter: since === null ? null : `(uSNChanged>=${(BigInt(since) + 1n).toString()})`,
    next: (_, groups) => ({ ...next, groups }),
  }
}

/** The later of two times in the form of the server. */
export function later(one: string | null, other: string | null): string | null {
  if (one === null || other === null) return one ?? other
  return one > other ? one : other
}

/** A GeneralizedTime so many seconds earlier; null when it is none. */
function secondsBefore(time: string, seconds: number): string | null {
  const parts = /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(?:[.,]\d+)?Z$/.exec(time)
  if (parts === null) return null
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts
    .slice(1)
    .map(Number)
  const earlier = new Date(Date.UTC(year, month - 1, day, hour, minute, second - seconds))
  return `${earlier.toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`
}
