// What a reader yields, and how it becomes a lawful account or a reject. The byte path of run/encode-record.ts is held equal to this.
import { mergeAttributes, readAttributes, writeAttributes, writeList } from './attributes.ts'
import { type Layout, recordFlags } from './layout.ts'
import { canonicalJson, canonicalList, expectation, isBlank } from './value.ts'

/** A record as read: its cells by column, and where it stands. */
export interface SourceRecord {
  readonly cells: readonly string[]
  readonly position: number
}

/** Why a record cannot be taken. */
export const rejectCodes = [
  'cell_count',
  'quote',
  'blank_identity',
  'nul',
  'type',
  'duplicate',
  'collision',
] as const
export type RejectCode = (typeof rejectCodes)[number]

/** A record that could not be taken. `trusted`: whether the identity, if it is readable, is surely that of the record. */
export interface Reject {
  readonly position: number
  readonly code: RejectCode
  readonly reason: string
  readonly raw: string
  readonly nativeIdentity: string | null
  /** What the account id is made of, where that is not the native identity. */
  readonly key?: string | null
  readonly trusted: boolean
}

/** A record that the schema takes. */
export interface LawfulRecord {
  readonly nativeIdentity: string
  /** The display name; the native identity where it is blank. */
  readonly name: string
  /** Canonical JSON. */
  readonly attributes: string
}

/** What a cell count that does not fit says. */
export function cellCountReason(cells: number, columns: number): string {
  return `The record has ${cells} ${cells === 1 ? 'cell' : 'cells'}, the header names ${columns}.`
}

/** What a value that is not of its type says; a long value is cut. */
export function typeReason(name: string, value: string, expected: string): string {
  const shown = value.length > 60 ? `${value.slice(0, 60)}…` : value
  return `The column "${name}" should be ${expected}, but it is "${shown}".`
}

/** Makes a record lawful by the layout, or says why it is a reject. */
export function normalise(
  record: SourceRecord,
  layout: Layout,
): LawfulRecord | Omit<Reject, 'raw' | 'position'> {
  const { cells } = record
  const identity = cells[layout.identityColumn] ?? ''
  const readable = isBlank(identity) || identity.includes('\0') ? null : identity
  const refuse = (code: RejectCode, reason: string, trusted: boolean) => ({
    code,
    reason,
    nativeIdentity: readable,
    trusted: trusted && readable !== null,
  })
  if (cells.length !== layout.header.length) {
    return refuse('cell_count', cellCountReason(cells.length, layout.header.length), false)
  }
  if (isBlank(identity)) {
    return refuse('blank_identity', `The column "${layout.identityAttribute}" is blank.`, false)
  }
  const attributes = new Map<string, string>()
  for (const field of layout.fields) {
    const cell = cells[field.column] ?? ''
    if (cell.includes('\0')) {
      return refuse('nul', `The column "${field.name}" holds a NUL character.`, true)
    }
    if (isBlank(cell)) continue
    if (layout.jsonLists && field.multi) {
      const list = canonicalList(cell, field.type)
      if ('wrong' in list) {
        return list.wrong === 'nul'
          ? refuse('nul', `The column "${field.name}" holds a NUL character.`, true)
          : refuse('type', typeReason(field.name, list.text, expectation(field.type)), true)
      }
      if (list.values.length > 0) attributes.set(field.name, writeList(list.values))
      continue
    }
    const json = canonicalJson(cell, field.type)
    if (json === null) {
      return refuse('type', typeReason(field.name, cell, expectation(field.type)), true)
    }
    attributes.set(field.name, field.multi ? writeList([json]) : json)
  }
  const name = layout.displayColumn < 0 ? '' : (cells[layout.displayColumn] ?? '')
  return {
    nativeIdentity: identity,
    name: isBlank(name) ? identity : name,
    attributes: writeAttributes(attributes),
  }
}

/** What the flags cell of a record says. */
export function readFlags(cell: string): {
  readonly disabled: boolean
  readonly locked: boolean
  readonly deleted: boolean
} {
  return {
    disabled: cell.includes(recordFlags.disabled),
    locked: cell.includes(recordFlags.locked),
    deleted: cell.includes(recordFlags.deleted),
  }
}

/** The outcome of merging a later record of an account into the earlier ones. */
export interface MergedRecord {
  readonly name: string
  /** Canonical JSON. */
  readonly attributes: string
  /** Names of single-valued attributes in which the later record says something else. */
  readonly conflicts: readonly string[]
  /** Whether the records in another order would give something else: sums of fingerprints do not see the order. */
  readonly ordered: boolean
}

/** Merges records of one account (contract.md section 8.9): of single values, the name among them, the first stays. */
export function mergeRecords(
  first: LawfulRecord,
  later: LawfulRecord,
  displayAttribute: string | null,
): MergedRecord {
  const [earlier, added] = [readAttributes(first.attributes), readAttributes(later.attributes)]
  const merged = mergeAttributes(earlier, added)
  // The name alone does not tell: a name that is the same as the identity and a blank one look alike there.
  const isNamed = (attributes: ReadonlyMap<string, string>): boolean =>
    displayAttribute !== null && attributes.has(displayAttribute)
  const named = isNamed(earlier)
  return {
    name: named ? first.name : later.name,
    attributes: writeAttributes(merged.attributes),
    conflicts: merged.conflicts,
    // The name of a list, or of a number, is the text of the first record even where the values agree.
    ordered: merged.conflicts.length > 0 || (named && isNamed(added) && first.name !== later.name),
  }
}
