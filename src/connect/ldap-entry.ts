// Takes the wanted values of an entry straight from the bytes of its message. Measured 2026-11-22: see docs/guides/ldap.md.
import { isUtf8 } from 'node:buffer'
import { protocolError } from './ldap-errors.ts'
import { contentSize, headSize, packHead } from './ldap-frames.ts'

/** How a value that is not a text becomes one. */
export type BinaryForm = (value: Buffer) => string

/** An attribute that is read. Its place in the list is its place in `RawEntry.values`. */
export interface ReadAttribute {
  /** The name in the directory, with its options. */
  readonly name: string
  /** Null: it is a text. */
  readonly form: BinaryForm | null
}

/** More values of an attribute than the server sends at once (Active Directory: `member;range=0-1499`). */
export interface OpenRange {
  readonly slot: number
  /** The first value that is still missing. */
  readonly next: number
}

/** An entry as it came: values in the order of the attributes; null where there is none. */
export interface RawEntry {
  readonly dn: string
  readonly values: (string | string[] | null)[]
  /** Attributes of which the server has more. */
  readonly open: OpenRange[] | null
}

/** Counts what was not as expected; for the log. */
export interface Oddities {
  /** Values of text attributes that are no UTF-8 and were given as base64, by attribute. */
  readonly notText: Map<string, number>
}

export type EntryDecoder = (bytes: Buffer, start: number, end: number) => RawEntry

/** Any bytes as text. */
export const toBase64: BinaryForm = (value) => value.toString('base64')

/** A decoder for entries with these attributes; names are compared without regard to case. */
export function entryDecoder(
  attributes: readonly ReadAttribute[],
  oddities: Oddities,
): EntryDecoder {
  const find = slotFinder(attributes)
  const forms = attributes.map(({ form }) => form)
  const empty = attributes.map(() => null)
  const odd = (bytes: Buffer, from: number, to: number, slot: number): string => {
    const text = decodeWide(bytes, from, to)
    if (text !== null) return text
    const name = attributes[slot]?.name ?? ''
    oddities.notText.set(name, (oddities.notText.get(name) ?? 0) + 1)
    return toBase64(bytes.subarray(from, to))
  }
  return (bytes, begin, end) => {
    const nameHead = packHead(bytes, begin, end)
    const nameStart = begin + headSize(nameHead)
    const nameEnd = nameStart + contentSize(nameHead)
    // One string for the whole entry, of which the values are slices: cheaper than one string per value.
    const latin = bytes.toString('latin1', begin, end)
    const dn = isPlain(bytes, nameStart, nameEnd)
      ? latin.slice(nameStart - begin, nameEnd - begin)
      : (decodeWide(bytes, nameStart, nameEnd) ?? refuseName())
    const values: (string | string[] | null)[] = empty.slice()
    let open: OpenRange[] | null = null
    const listHead = packHead(bytes, nameEnd, end)
    const listEnd = nameEnd + headSize(listHead) + contentSize(listHead)
    let at = nameEnd + headSize(listHead)
    while (at < listEnd) {
      const attributeHead = packHead(bytes, at, listEnd)
      const typeAt = at + headSize(attributeHead)
      const attributeEnd = typeAt + contentSize(attributeHead)
      const typeHead = packHead(bytes, typeAt, attributeEnd)
      const typeStart = typeAt + headSize(typeHead)
      const typeEnd = typeStart + contentSize(typeHead)
      at = attributeEnd
      const found = find(bytes, typeStart, typeEnd)
      if (found === null) continue
      const { slot, range } = found
      if (range !== null) (open ??= []).push({ slot, next: range })
      const form = forms[slot] ?? null
      const setHead = packHead(bytes, typeEnd, attributeEnd)
      const setEnd = typeEnd + headSize(setHead) + contentSize(setHead)
      let item = typeEnd + headSize(setHead)
      while (item < setEnd) {
        const itemHead = packHead(bytes, item, setEnd)
        const from = item + headSize(itemHead)
        const to = from + contentSize(itemHead)
        item = to
        let value: string
        if (form !== null) value = form(bytes.subarray(from, to))
        else if (isPlain(bytes, from, to)) value = latin.slice(from - begin, to - begin)
        else value = odd(bytes, from, to, slot)
        values[slot] = add(values[slot] ?? null, value)
      }
    }
    return { dn, values, open }
  }
}

/** Whether bytes are ASCII without NUL: most values are. */
function isPlain(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at += 1) {
    const byte = bytes[at] ?? 0
    if (byte >= 0x80 || byte === 0) return false
  }
  return true
}

function add(before: string | string[] | null, value: string): string | string[] {
  if (before === null) return value
  if (typeof before === 'string') return [before, value]
  before.push(value)
  return before
}

function refuseName(): never {
  throw protocolError('an entry whose DN is no text')
}

/** UTF-8; null when it is none. NUL is valid there but in no text that can be kept. */
function decodeWide(bytes: Buffer, from: number, to: number): string | null {
  const value = bytes.subarray(from, to)
  return isUtf8(value) && !value.includes(0) ? value.toString('utf8') : null
}

interface Found {
  readonly slot: number
  /** With an open range: the first value that is still missing. */
  readonly range: number | null
}

/**
 * Finds the place of an attribute by the bytes of its name. Servers write a name the same way in every entry, so bytes
 * seen before are found without making a string of them.
 */
function slotFinder(
  attributes: readonly ReadAttribute[],
): (bytes: Buffer, from: number, to: number) => Found | null {
  const slots = new Map<string, number>()
  for (const [slot, { name }] of attributes.entries()) slots.set(plainName(name), slot)
  const known: ({ readonly name: Buffer; readonly found: Found | null } | undefined)[] = []
  return (bytes, from, to) => {
    const length = to - from
    const hash = (length * 31 + (bytes[from] ?? 0) * 7 + (bytes[to - 1] ?? 0) * 3) & 0xff
    const candidate = known[hash]
    if (candidate !== undefined && candidate.name.length === length) {
      let same = 0
      while (same < length && candidate.name[same] === bytes[from + same]) same += 1
      if (same === length) return candidate.found
    }
    const name = bytes.toString('latin1', from, to)
    const range = /;range=\d+-(\d+|\*)/i.exec(name)
    const slot = slots.get(plainName(name.replace(/;range=[^;]*/i, '')))
    const last = range?.[1]
    const found =
      slot === undefined
        ? null
        : { slot, range: last === undefined || last === '*' ? null : Number(last) + 1 }
    // A range says something different in nearly every entry.
    if (range === null) known[hash] = { name: Buffer.from(name, 'latin1'), found }
    return found
  }
}

/** `;binary` says how a value is sent, not which attribute it is. */
function plainName(name: string): string {
  return name.toLowerCase().replace(/;binary$/, '')
}
