// What is asked of the directory for a schema, and how an entry becomes a record.
import { RunError } from '../core/errors.ts'
import type { RawEntry, ReadAttribute } from './ldap-entry.ts'
import { isAttributeName } from './ldap-filter.ts'
import { type LdapSettings, membershipWays } from './ldap-settings.ts'
import { foldDn } from './ldap-text.ts'
import {
  directoryState,
  formOf,
  ldapState,
  stateAttributes,
  toBooleanText,
  toIsoTime,
} from './ldap-values.ts'
import type { ReadRecord, ReadRequest, ReadValue, WantedAttribute } from './reader.ts'

/** Gives the groups of an entry; null when nobody asks for them. */
export type GroupsOf = ((dn: string, uid: readonly string[]) => readonly string[]) | null

/** How entries are read. */
export interface Shape {
  readonly attributes: readonly ReadAttribute[]
  /** Whether groups are to be found by a search of their own. */
  readonly joinsGroups: boolean
  /** Whether an attribute of the schema holds groups, from wherever. */
  readonly wantsGroups: boolean
  readonly record: (entry: RawEntry, groups: GroupsOf) => ReadRecord
  /** The values of uid, which some groups name their members by. */
  readonly uidOf: (entry: RawEntry) => readonly string[]
  /** The name in the directory of the attribute that is the identity; null: it is the DN. */
  readonly identityName: string | null
  /** The value of an attribute that is read besides those of the schema. */
  readonly extra: (entry: RawEntry, name: string) => string | null
  /** Whether entries are told apart by their DN, as they have no lasting id. Null before the first one. */
  readonly keyedByDn: () => boolean | null
}

/** Values that the reader knows without asking for them. */
const ownNames = new Set(['dn', 'distinguishedname'])

/** The shape of what is wanted. `extras`: further names in the directory that are needed. */
export function shapeOf(
  settings: LdapSettings,
  request: Pick<ReadRequest, 'objectType' | 'attributes' | 'identityAttribute'>,
  extras: readonly string[],
): Shape {
  const isAccount = request.objectType === 'account'
  const slots = new Map<string, number>()
  const attributes: ReadAttribute[] = []
  const slotOf = (name: string): number => {
    const lower = name.toLowerCase()
    const known = slots.get(lower)
    if (known !== undefined) return known
    slots.set(lower, attributes.length)
    attributes.push({ name, form: formOf(name, settings.binaryAttributes) })
    return attributes.length - 1
  }
  let joinsGroups = false
  let wantsGroups = false
  const columns = request.attributes.map((wanted): Column => {
    const source = sourceOf(settings, wanted, isAccount)
    wantsGroups ||= isAccount && wanted.name === settings.groupAttribute
    if (source === 'dn') return (entry) => entry.dn
    if (source === 'groups') {
      joinsGroups = true
      return (entry, groups) => {
        const found = groups?.(entry.dn, uidOf(entry)) ?? []
        return found.length === 0 ? null : found
      }
    }
    // The server must not be asked for what cannot be a name, `*` for one.
    if (!isAttributeName(source.name)) return () => null
    return columnOf(wanted, slotOf(source.name))
  })
  const identity = request.attributes.findIndex(({ name }) => name === request.identityAttribute)
  const named = request.attributes[identity]
  const identitySource = named === undefined ? 'dn' : sourceOf(settings, named, isAccount)
  const uid = joinsGroups ? slotOf('uid') : -1
  const uidOf = (entry: RawEntry): readonly string[] => textsOf(entry.values[uid] ?? null)
  const key = settings.keyAttribute.toLowerCase() === 'dn' ? null : slotOf(settings.keyAttribute)
  const states = isAccount ? stateAttributes[settings.kind].map(slotOf) : []
  for (const name of extras) slotOf(name)
  const keyOf = keyReader(settings.keyAttribute, key)
  return {
    attributes,
    joinsGroups,
    wantsGroups: wantsGroups && settings.membership !== 'none',
    uidOf,
    identityName: typeof identitySource === 'string' ? null : identitySource.name,
    keyedByDn: keyOf.byDn,
    extra: (entry, name) => firstOf(entry.values[slots.get(name.toLowerCase()) ?? -1] ?? null),
    record: (entry, groups) => {
      const values = columns.map((column) => column(entry, groups))
      const own = identity < 0 ? entry.dn : (firstOf(values[identity] ?? null) ?? '')
      const lasting = keyOf.read(entry)
      if (!isAccount) return { identity: own, key: lasting, values }
      const { disabled, locked } = stateOf(settings, states, entry)
      return { identity: own, key: lasting, disabled, locked, values }
    },
  }
}

type Column = (entry: RawEntry, groups: GroupsOf) => ReadValue

/** Where the value of an attribute of the schema comes from. */
function sourceOf(
  settings: LdapSettings,
  wanted: WantedAttribute,
  isAccount: boolean,
): 'dn' | 'groups' | { readonly name: string } {
  const mapped = settings.attributeMap.get(wanted.name) ?? wanted.nativeName
  const name = mapped === null || mapped === '' ? wanted.name : mapped
  if (ownNames.has(name.toLowerCase())) return 'dn'
  if (!isAccount || wanted.name !== settings.groupAttribute) return { name }
  const [onAccount, bySearch] = membershipWays
  if (settings.membership === bySearch) return 'groups'
  if (settings.membership === onAccount) return { name: name === wanted.name ? onAccount : name }
  return { name }
}

/** An attribute that is single in the schema may have several values here: the run takes the first, and says so. */
function columnOf(wanted: WantedAttribute, slot: number): Column {
  const convert = converterOf(wanted)
  return (entry) => {
    const value = entry.values[slot] ?? null
    if (value === null) return null
    if (typeof value === 'string' && !wanted.isMulti)
      return convert === null ? value : convert(value)
    const texts = typeof value === 'string' ? [value] : value
    return convert === null ? texts : texts.map(convert).filter((text) => text !== null)
  }
}

function converterOf(wanted: WantedAttribute): ((text: string) => string | null) | null {
  switch (wanted.type) {
    case 'BOOLEAN':
      return toBooleanText
    case 'DATE':
      return toIsoTime
    case 'STRING':
    case 'INT':
    case 'LONG':
      return null
  }
}

function textsOf(value: ReadValue): readonly string[] {
  return value === null ? [] : [value].flat()
}

function firstOf(value: ReadValue): string | null {
  return value === null || typeof value === 'string' ? value : (value[0] ?? null)
}

/** The lasting id of an entry in lower case. The first entry decides whether there is one; the others must agree. */
function keyReader(
  name: string,
  slot: number | null,
): { readonly read: (entry: RawEntry) => string; readonly byDn: () => boolean | null } {
  let byDn: boolean | null = slot === null ? true : null
  return {
    byDn: () => byDn,
    read: (entry) => {
      const key = slot === null ? null : firstOf(entry.values[slot] ?? null)
      byDn ??= key === null
      if (byDn !== (key === null)) throw keyMissing(name)
      return key === null ? foldDn(entry.dn) : key.toLowerCase()
    },
  }
}

function keyMissing(name: string): RunError {
  return new RunError('key_missing', `Some entries have "${name}" and others do not.`, {
    hint: `Let the account of bindDn read ${name} of all entries, or set keyAttribute to dn.`,
  })
}

function stateOf(
  settings: LdapSettings,
  slots: readonly number[],
  entry: RawEntry,
): { disabled: boolean; locked: boolean } {
  const value = (place: number): string | null => firstOf(entry.values[slots[place] ?? -1] ?? null)
  return settings.kind === 'ldap'
    ? ldapState(value(0), value(1))
    : directoryState(value(0), value(1), value(2))
}
