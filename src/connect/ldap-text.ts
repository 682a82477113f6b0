// Texts of LDAP: values inside filters and DNs, placeholders, and the one form in which two DNs are compared.

/** A value as part of a filter, so that none of its characters means anything there (RFC 4515). */
export function escapeFilterValue(value: string): string {
  return value.replace(/[\\*()\0]/g, (character) => `\\${hexOf(character)}`)
}

/** A value as part of a DN, so that none of its characters means anything there (RFC 4514). */
export function escapeDnValue(value: string): string {
  return value
    .replace(/[\\",+;<>=\0]/g, (character) => (character === '\0' ? '\\00' : `\\${character}`))
    .replace(/^[ #]/, (character) => `\\${character}`)
    .replace(/(?<!\\) $/, '\\ ')
}

function hexOf(character: string): string {
  return character.charCodeAt(0).toString(16).padStart(2, '0')
}

/**
 * Puts values in the place of `{name}`, each escaped by `escape`. Gives the name that has no value instead of a text when
 * there is one.
 */
export function fillTemplate(
  template: string,
  values: ReadonlyMap<string, string>,
  escape: (value: string) => string,
): { readonly text: string } | { readonly missing: string } {
  let missing: string | null = null
  const text = template.replace(/\{([A-Za-z0-9_-]+)\}/g, (_, name: string) => {
    const value = values.get(name)
    if (value === undefined) missing ??= name
    return escape(value ?? '')
  })
  return missing === null ? { text } : { missing }
}

/**
 * A DN in the form in which DNs are compared: lower case, without spaces that mean nothing, characters escaped in one
 * way. Every attribute counts as one that ignores case, as the naming attributes of people and groups do.
 */
export function foldDn(dn: string): string {
  if (isFolded(dn)) return dn.toLowerCase()
  return splitUnescaped(dn, ',;')
    .map((rdn) => splitUnescaped(rdn, '+').map(foldPair).toSorted().join('+'))
    .join(',')
}

const [space, comma, equalsSign, backslash] = [0x20, 0x2c, 0x3d, 0x5c]
/** Quote, number sign, plus and semicolon. */
const special: ReadonlySet<number> = new Set([0x22, 0x23, 0x2b, 0x3b])

/**
 * Whether a DN lacks nothing of that form but the case: nearly every one that a server writes. A loop, as a regular
 * expression took most of the time of reading large groups.
 */
function isFolded(dn: string): boolean {
  let before = comma
  for (let at = 0; at < dn.length; at += 1) {
    const code = dn.charCodeAt(at)
    // Small letters and what comes after them mean nothing; most characters are.
    if (code <= backslash) {
      if (code === backslash || special.has(code)) return false
      const separates = code === comma || code === equalsSign
      // A space that does not stand alone between two other characters.
      if (before === space && (separates || code === space)) return false
      if (code === space && (before === comma || before === equalsSign)) return false
    }
    before = code
  }
  return before !== space
}

function foldPair(pair: string): string {
  const equals = pair.indexOf('=')
  if (equals < 0) return pair.trim().toLowerCase()
  const type = pair.slice(0, equals).trim().toLowerCase()
  return `${type}=${escapeDnValue(foldValue(pair.slice(equals + 1)))}`
}

function foldValue(written: string): string {
  const quoted = /^\s*"(.*)"\s*$/s.exec(written)
  const inner = quoted?.[1] ?? trimUnescaped(written)
  return unescapeDnValue(inner).replace(/ {2,}/g, ' ').toLowerCase()
}

function trimUnescaped(text: string): string {
  const start = text.replace(/^ +/, '')
  const end = start.replace(/ +$/, '')
  // A space after a backslash belongs to the value.
  return end.endsWith('\\') && !end.endsWith('\\\\') && start.length > end.length ? `${end} ` : end
}

/** Pairs of hexadecimal digits are bytes of UTF-8; any other character after a backslash is itself. */
function unescapeDnValue(text: string): string {
  return text.replace(/(?:\\[0-9a-fA-F]{2})+|\\(.)/gs, (escaped, character?: string) => {
    if (character !== undefined) return character
    const bytes = escaped.split('\\').slice(1)
    return new TextDecoder().decode(Uint8Array.from(bytes, (pair) => Number.parseInt(pair, 16)))
  })
}

/** The parts between separators that are neither escaped nor quoted. */
function splitUnescaped(text: string, separators: string): string[] {
  const parts: string[] = []
  let [begin, quoted] = [0, false]
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at)
    if (character === '\\') at += 1
    else if (character === '"') quoted = !quoted
    else if (!quoted && separators.includes(character)) {
      parts.push(text.slice(begin, at))
      begin = at + 1
    }
  }
  parts.push(text.slice(begin))
  return parts
}

/** Whether a DN is another one or lies below it. */
export function isWithin(dn: string, base: string): boolean {
  const [inner, outer] = [foldDn(dn), foldDn(base)]
  return outer === '' || inner === outer || inner.endsWith(`,${outer}`)
}

/** Whether a search of that scope from a base reaches a DN. */
export function isReached(dn: string, base: string, scope: 'base' | 'one' | 'sub'): boolean {
  if (!isWithin(dn, base)) return false
  if (scope === 'sub') return true
  const depth = (name: string): number => (name === '' ? 0 : splitUnescaped(name, ',').length)
  return depth(foldDn(dn)) - depth(foldDn(base)) === (scope === 'one' ? 1 : 0)
}

/** Whether a text has the form of a DN. The empty one, the root of a server, has it too. */
export function isDn(text: string): boolean {
  if (text === '') return true
  return splitUnescaped(text, ',;').every((rdn) =>
    splitUnescaped(rdn, '+').every((pair) => /^\s*[A-Za-z0-9][A-Za-z0-9.-]*\s*=/.test(pair)),
  )
}
