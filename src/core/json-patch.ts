// What a JSON Patch may be before it is applied: its operations and the paths that it may name (RFC 6902, RFC 6901).
import { RequestError } from './errors.ts'

/** One operation as it was sent, checked for its members. */
export type PatchOperation =
  | { readonly op: 'add' | 'replace' | 'test'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string }
  | { readonly op: 'move' | 'copy'; readonly path: string; readonly from: string }

/** A patch that needs more operations than this replaces the object: that is what PUT is for. */
export const patchLimit = 250

/** Names that reach into the prototypes of objects; they are refused wherever they stand. */
const forbiddenNames: readonly string[] = ['__proto__', 'constructor', 'prototype']

/** Reads the body of a PATCH. Throws `bad_request` naming the operation for everything that is not RFC 6902. */
export function readPatch(body: unknown): PatchOperation[] {
  if (!Array.isArray(body)) {
    throw new RequestError('bad_request', 'The body is not a list of JSON Patch operations.', {
      hint: 'Send [{"op":"replace","path":"/name","value":"…"}].',
    })
  }
  if (body.length > patchLimit) {
    throw new RequestError('bad_request', `The patch has more than ${patchLimit} operations.`)
  }
  return body.map((item: unknown, index) => readOperation(item, index + 1))
}

/** The decoded names of a JSON Pointer: `/a~1b/0` → `a/b`, `0`. */
export function pointerNames(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** The path of the first key, at any depth, that reaches into prototypes; null when there is none. */
export function forbiddenKey(value: unknown): string | null {
  const open: { readonly value: unknown; readonly path: string }[] = [{ value, path: '' }]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next.value !== 'object' || next.value === null) continue
    for (const [key, inner] of Object.entries(next.value)) {
      const path = `${next.path}/${key}`
      if (forbiddenNames.includes(key)) return path
      open.push({ value: inner, path })
    }
  }
  return null
}

function readOperation(item: unknown, number: number): PatchOperation {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) {
    throw refused(number, 'is not an object')
  }
  const given: Readonly<Record<string, unknown>> = { ...item }
  const path = readPointer(given['path'], 'path', number)
  const op = given['op']
  switch (op) {
    case 'add':
    case 'replace':
    case 'test': {
      if (!Object.hasOwn(given, 'value')) throw refused(number, `(${op}) has no value`)
      const key = forbiddenKey(given['value'])
      if (key !== null) throw refused(number, `(${op}) has the key "${key}" in its value`)
      return { op, path, value: given['value'] }
    }
    case 'remove':
      return { op, path }
    case 'move':
    case 'copy':
      return { op, path, from: readPointer(given['from'], 'from', number) }
    default:
      throw refused(number, 'has no op out of add, remove, replace, move, copy, test')
  }
}

function readPointer(given: unknown, member: 'path' | 'from', number: number): string {
  if (typeof given !== 'string') throw refused(number, `has no ${member}`)
  if (given === '') {
    throw refused(number, `has the ${member} of the whole object; name a field of it`)
  }
  if (!given.startsWith('/') || /~(?![01])/.test(given)) {
    throw refused(number, `has the ${member} "${given.slice(0, 100)}", which is no JSON Pointer`)
  }
  const forbidden = pointerNames(given).find((name) => forbiddenNames.includes(name))
  if (forbidden !== undefined) throw refused(number, `names "${forbidden}" in its ${member}`)
  return given
}

function refused(number: number, reason: string): RequestError {
  return new RequestError('bad_request', `Operation ${number} of the patch ${reason}.`)
}
