// What a connector sends of an account or entitlement becomes a record: its key, its state and its values as texts.
import type { ReadRecord, ReadRequest, ReadValue, WantedAttribute } from './reader.ts'
import { recordError } from './saas-errors.ts'

/** The names of an object. `stable` is what stays the same when the identity changes. */
export interface ObjectNames {
  readonly identity: string
  readonly stable: string | null
}

/** Turns objects into records for one read. */
export interface Mapping {
  /** Throws `connector_record_bad`: half a list is no list. */
  record(data: unknown): ReadRecord
  /** Names of attributes that came and nobody asked for. */
  extra(): readonly string[]
}

/** So many names of attributes are told; what makes up names of its own must not fill the memory. */
const extraLimit = 200

type Members = Readonly<Record<string, unknown>>

/** Opens a mapping. `log` hears once of what is left out. */
export function openMapping(request: ReadRequest, log: (message: string) => void): Mapping {
  const wanted = request.attributes.map((attribute) => ({ attribute, name: nativeName(attribute) }))
  const asked = new Set(wanted.map(({ name }) => name))
  const extra = new Set<string>()
  let withKey: boolean | null = null
  let permissionsSeen = false
  return {
    record: (data) => {
      const members = readMembers(data, 'a record that is no object')
      const { identity, stable } = objectNames(members)
      withKey ??= stable !== null
      if (withKey !== (stable !== null)) {
        throw recordError('sent records with a stable id and records without one in one list')
      }
      if (members['incomplete'] === true) {
        // Its values would blank what is known, and without it the account would seem to be gone.
        throw recordError('marked a record as incomplete; it could not read all of it')
      }
      if (!permissionsSeen && 'permissions' in members) {
        permissionsSeen = true
        log('The connector sends permissions; they are not kept.')
      }
      const deleted = members['deleted'] === true
      const attributes = readAttributes(members, deleted)
      for (const name of Object.keys(attributes)) {
        if (!asked.has(name) && extra.size < extraLimit) extra.add(name)
      }
      return {
        identity,
        ...(stable === null ? {} : { key: stable }),
        ...flag(members, 'disabled'),
        ...flag(members, 'locked'),
        ...(deleted ? { deleted } : {}),
        values: wanted.map(({ attribute, name }) => {
          const value = Object.hasOwn(attributes, name) ? attributes[name] : undefined
          // Many connectors give the identity only as the key.
          if (value === undefined && attribute.name === request.identityAttribute) return identity
          return readValue(value)
        }),
      }
    },
    extra: () => [...extra],
  }
}

/** The names of an object in each of the forms of the SDK: `key.simple`, `key.compound`, or `identity` and `uuid`. */
export function objectNames(data: unknown): ObjectNames {
  const members = readMembers(data, 'a record that is no object')
  const key = members['key']
  if (key === undefined || key === null) {
    return { identity: readName(members['identity']), stable: readStable(members['uuid']) }
  }
  const { simple, compound } = readMembers(key, 'a key that is no object')
  if (compound !== undefined) {
    const { lookupId, uniqueId } = readMembers(compound, 'a compound key that is no object')
    return { identity: readName(lookupId), stable: readName(uniqueId) }
  }
  return {
    identity: readName(readMembers(simple, 'a key that is neither simple nor compound')['id']),
    stable: null,
  }
}

/** The name of an attribute in the system. */
export function nativeName(attribute: WantedAttribute): string {
  return attribute.nativeName ?? attribute.name
}

function readMembers(value: unknown, problem: string): Members {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Members
  throw recordError(`sent ${problem}`)
}

function readName(value: unknown): string {
  if (typeof value === 'string' && value !== '') return value
  if (typeof value === 'number') return String(value)
  throw recordError('sent a record without an id')
}

function readStable(value: unknown): string | null {
  return value === undefined || value === null || value === '' ? null : readName(value)
}

function readAttributes(members: Members, deleted: boolean): Members {
  const attributes = members['attributes']
  if ((attributes === undefined || attributes === null) && deleted) return {}
  return readMembers(attributes, 'a record without attributes')
}

function flag(members: Members, name: 'disabled' | 'locked'): Partial<Record<string, boolean>> {
  const value = members[name]
  return typeof value === 'boolean' ? { [name]: value } : {}
}

function readValue(value: unknown): ReadValue {
  if (value === undefined || value === null) return null
  if (!Array.isArray(value)) return asText(value)
  return value.filter((item) => item !== null && item !== undefined).map(asText)
}

/** An object is not foreseen by the SDK; its JSON loses nothing. */
function asText(value: unknown): string {
  if (typeof value === 'string') return value
  const simple = typeof value === 'number' || typeof value === 'boolean'
  return simple ? String(value) : JSON.stringify(value)
}
