// Who is in which group, read from the groups: for servers that do not tell it in their users.
import { RunError } from '../core/errors.ts'
import type { ScimClient } from './scim-client.ts'
import { isJsonObject, lookUp, type JsonObject } from './scim-json.ts'
import { listPages, type Listing, type Resource } from './scim-pages.ts'

/** The groups of each user by the user's id, in the shape of the attribute `groups`. */
export type Memberships = ReadonlyMap<string, readonly JsonObject[]>

/**
 * Reads all groups; gives empty pages as signs of life. One entry for each membership is in memory. Throws
 * `members_missing` when no group names its members: everybody would lose their groups.
 */
export async function* readMemberships(
  client: ScimClient,
  listing: Omit<Listing, 'path' | 'query' | 'limit'>,
): AsyncGenerator<readonly Resource[], Memberships> {
  const groupsOf = new Map<string, JsonObject[]>()
  let groups = 0
  let tell = false
  const pages = listPages(client, {
    ...listing,
    path: '/Groups',
    query: { attributes: 'displayName,members' },
    limit: null,
  })
  for (;;) {
    const next = await pages.next()
    if (next.done === true) break
    for (const { id, body } of next.value) {
      groups += 1
      const members = lookUp(body, 'members')
      if (members !== undefined) tell = true
      // One object for all members of the group.
      const group = { value: id, display: lookUp(body, 'displayName') }
      for (const member of Array.isArray(members) ? members : []) {
        const user = userOf(member)
        if (user === null) continue
        const held = groupsOf.get(user)
        if (held === undefined) groupsOf.set(user, [group])
        else if (held.at(-1) !== group) held.push(group)
      }
    }
    yield []
  }
  if (groups > 0 && !tell) {
    throw new RunError('members_missing', 'No group of the SCIM server names its members.', {
      hint: 'Set connectorAttributes.groupMembership to user, or let the server give the members of its groups.',
    })
  }
  return groupsOf
}

/** A resource with the groups that were found for it. */
export function withGroups(resource: Resource, memberships: Memberships): Resource {
  const groups = memberships.get(resource.id) ?? []
  return { id: resource.id, body: { ...resource.body, groups } }
}

/** The id of a member that is a user; groups in groups are not followed. */
function userOf(member: unknown): string | null {
  if (!isJsonObject(member)) return null
  const type = lookUp(member, 'type')
  if (typeof type === 'string' && type.toLowerCase() === 'group') return null
  const value = lookUp(member, 'value')
  return typeof value === 'string' ? value : null
}
