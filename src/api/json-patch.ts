// Applies a JSON Patch to the wire form of an object: all of it or nothing, and nothing but what the object itself holds.
import { applyPatch } from 'rfc6902'
import { RequestError } from '../core/errors.ts'
import { pointerNames, readPatch } from '../core/json-patch.ts'
import type { PatchOperation } from '../core/json-patch.ts'

/** The media types of a patch: the one of RFC 6902, and what clients that know only JSON send. */
export const patchTypes = ['application/json-patch+json', 'application/json'] as const

// A `copy` of an object into itself doubles it; 30 of these are a billion values.
const documentLimit = 1024 * 1024

/** The document after the patch in `body`; `document` itself stays as it is. Throws `bad_request` naming the operation. */
export function patched(
  document: Readonly<Record<string, unknown>>,
  body: unknown,
): Record<string, unknown> {
  const result = structuredClone({ ...document })
  for (const [index, operation] of readPatch(body).entries()) {
    const name = `Operation ${index + 1} of the patch (${operation.op} ${operation.path.slice(0, 100)})`
    checkPlace(result, operation, name)
    let failure: Error | null
    try {
      failure = applyPatch(result, [operation])[0] ?? null
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error))
    }
    if (failure !== null) {
      const reason =
        failure.name === 'TestError' ? 'found another value' : 'names a place that does not exist'
      throw new RequestError('bad_request', `${name} ${reason}.`, {
        hint: 'Nothing was changed. Read the object again and correct the operation.',
        cause: failure,
      })
    }
    if (operation.op === 'copy' && JSON.stringify(result).length > documentLimit) {
      throw new RequestError('bad_request', `${name} makes the object larger than 1 MiB.`)
    }
  }
  return result
}

/**
 * The library walks through inherited members too (`/length`, `/toString`) and takes any key as an index; so each
 * pointer is walked here first, by own members and by the rules of RFC 6901 for lists.
 */
function checkPlace(document: object, operation: PatchOperation, name: string): void {
  const mustExist =
    operation.op === 'remove' || operation.op === 'replace' || operation.op === 'test'
  if (!hasPlace(document, operation.path, mustExist) || !hasSource(document, operation)) {
    throw new RequestError('bad_request', `${name} names a place that does not exist.`, {
      hint: 'Nothing was changed. Use "add" for a field that is not there yet.',
    })
  }
}

function hasSource(document: object, operation: PatchOperation): boolean {
  if (operation.op !== 'move' && operation.op !== 'copy') return true
  return hasPlace(document, operation.from, true)
}

function hasPlace(document: object, pointer: string, mustExist: boolean): boolean {
  let parent: unknown = document
  const names = pointerNames(pointer)
  for (const [index, name] of names.entries()) {
    if (typeof parent !== 'object' || parent === null) return false
    const isLast = index === names.length - 1
    if (Array.isArray(parent)) {
      const isAppend = isLast && !mustExist && (name === '-' || name === String(parent.length))
      if (!isAppend && !(/^(0|[1-9]\d{0,8})$/.test(name) && Number(name) < parent.length))
        return false
    } else if (!Object.hasOwn(parent, name)) {
      return isLast && !mustExist
    }
    parent = Reflect.get(parent, name)
  }
  return true
}
