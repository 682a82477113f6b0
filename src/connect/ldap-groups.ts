// Which groups an account is in, found by reading the groups.
import type { RawEntry, ReadAttribute } from './ldap-entry.ts'
import { searchPages, type Session } from './ldap-search.ts'
import type { LdapSettings } from './ldap-settings.ts'
import type { GroupsOf } from './ldap-shape.ts'
import { escapeFilterValue, foldDn } from './ldap-text.ts'

/** Memberships, and a digest that differs when any of them does. */
export interface Memberships {
  readonly groupsOf: NonNullable<GroupsOf>
  readonly digest: string
}

/** An account that groups are looked for. */
export interface Member {
  readonly dn: string
  readonly uid: readonly string[]
}

/**
 * Reads the groups and whom they name. All of it is held in memory: the DN of each group once, and each member with a
 * list of its groups. `members`: only groups that name one of them.
 */
export async function readMemberships(
  session: Session,
  settings: LdapSettings,
  members: readonly Member[] | null = null,
): Promise<Memberships> {
  const attributes = settings.memberAttributes.map((name): ReadAttribute => ({ name, form: null }))
  const byName = attributes.map(({ name }) => name.toLowerCase() === 'memberuid')
  const byDn = new Map<string, string[]>()
  const byUid = new Map<string, string[]>()
  const sum = openDigest()
  const filter = members === null ? settings.groups.filter : namingFilter(settings, members)
  for await (const group of entriesOf(session, settings, filter, attributes)) {
    const listed: string[] = [foldDn(group.dn)]
    for (const [slot, value] of group.values.entries()) {
      const named = byName[slot] === true
      for (const member of [value ?? []].flat()) {
        const folded = named ? member : foldDn(withoutUid(member))
        listed.push(folded)
        remember(named ? byUid : byDn, folded, group.dn)
      }
    }
    sum.add(listed)
  }
  return {
    digest: sum.end(),
    groupsOf: (dn, uids) => {
      const groups = byDn.get(foldDn(dn)) ?? []
      const named = uids.flatMap((uid) => byUid.get(uid) ?? [])
      return named.length === 0 ? groups : [...new Set([...groups, ...named])]
    },
  }
}

/**
 * A digest over the groups that differs when one was made, changed or removed. A change of its members is a change of a
 * group, but not always one of its members.
 */
export async function digestGroups(
  session: Session,
  settings: LdapSettings,
  stamps: readonly string[],
): Promise<string> {
  const attributes = stamps.map((name): ReadAttribute => ({ name, form: null }))
  const sum = openDigest()
  for await (const group of entriesOf(session, settings, settings.groups.filter, attributes)) {
    sum.add([foldDn(group.dn), ...group.values.flat().map((value) => value ?? '')])
  }
  return sum.end()
}

async function* entriesOf(
  session: Session,
  settings: LdapSettings,
  filter: string,
  attributes: readonly ReadAttribute[],
): AsyncGenerator<RawEntry> {
  const { bases, scope } = settings.groups
  for (const base of bases) {
    for await (const page of searchPages(session, {
      base,
      scope,
      filter,
      attributes,
      limit: null,
    })) {
      yield* page
    }
  }
}

function namingFilter(settings: LdapSettings, members: readonly Member[]): string {
  const parts = members.flatMap(({ dn, uid }) =>
    settings.memberAttributes.flatMap((name) => {
      const values = name.toLowerCase() === 'memberuid' ? uid : [dn]
      return values.map((value) => `(${name}=${escapeFilterValue(value)})`)
    }),
  )
  return `(&${settings.groups.filter}(|${parts.join('')}))`
}

/** uniqueMember may carry a bit string behind the DN. */
function withoutUid(member: string): string {
  return member.replace(/#'[01]*'B$/, '')
}

function remember(groups: Map<string, string[]>, member: string, group: string): void {
  const known = groups.get(member)
  if (known === undefined) groups.set(member, [group])
  // The same member twice in one group, by two attributes perhaps.
  else if (known.at(-1) !== group) known.push(group)
}

/**
 * Adds up hashes of the first text of each list with each other one, so that the order of lists and of what is in them
 * does not count. 64 bits against chance; sorting large groups for a stronger hash took longer than reading them.
 */
function openDigest(): {
  readonly add: (texts: readonly string[]) => void
  readonly end: () => string
} {
  let [low, high] = [0, 0]
  const count = (text: string, seed: number): void => {
    low = (low + hashOf(text, seed)) >>> 0
    high = (high + hashOf(text, ~seed)) >>> 0
  }
  return {
    add: ([first = '', ...rest]) => {
      const seed = hashOf(first, 0)
      count(first, seed)
      for (const text of rest) count(text, seed)
    },
    end: () => [high, low].map((half) => half.toString(16).padStart(8, '0')).join(''),
  }
}

/** A hash of 32 bits: FNV-1a, and the last step of MurmurHash 3, as sums want bits that are well mixed. */
function hashOf(text: string, seed: number): number {
  let hash = 0x811c9dc5 ^ seed
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
