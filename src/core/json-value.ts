// What JSON may be stored: neither too deep nor with text that PostgreSQL cannot keep.

/** Deeper JSON than this is nobody's settings, and walking it by recursion would exhaust the stack. */
export const jsonDepthLimit = 32

/** Why a parsed JSON value cannot be stored, as the end of a sentence that begins with its name; null when it can be. */
export function jsonProblem(value: unknown): string | null {
  const open: { readonly value: unknown; readonly path: string; readonly depth: number }[] = [
    { value, path: '', depth: 0 },
  ]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value: part, path, depth } = next
    if (typeof part === 'string') {
      const problem = textProblem(part)
      if (problem !== null) return `holds ${problem}${path === '' ? '' : ` at ${path}`}`
    } else if (typeof part === 'object' && part !== null) {
      if (depth === jsonDepthLimit) return `is nested more than ${jsonDepthLimit} levels deep`
      for (const [key, inner] of Object.entries(part)) {
        const problem = textProblem(key)
        if (problem !== null) return `holds ${problem} in a key${path === '' ? '' : ` of ${path}`}`
        open.push({ value: inner, path: `${path}/${key.slice(0, 60)}`, depth: depth + 1 })
      }
    }
  }
  return null
}

/** What PostgreSQL refuses in text and jsonb: NUL, and half of a surrogate pair. */
export function textProblem(text: string): string | null {
  if (text.includes('\0')) return 'a NUL character'
  return /\p{Surrogate}/u.test(text) ? 'an unpaired surrogate' : null
}

/** Whether two parsed JSON values are equal, whatever the order of their keys. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const entries = Object.entries(a)
  if (entries.length !== Object.keys(b).length) return false
  return entries.every(
    ([key, value]) => Object.hasOwn(b, key) && sameJson(value, Reflect.get(b, key)),
  )
}
