// What an IP address is (loopback, private, metadata …), and whether connectors may go there.

/** An address by its number. An IPv4 address within an IPv6 one is kept as the IPv6 address that was written. */
export interface Address {
  readonly family: 4 | 6
  readonly bits: bigint
}

/** What an address is for. Connectors may reach `public` and `private`, and `loopback` where it is allowed. */
export type AddressKind =
  | 'public'
  | 'private'
  | 'loopback'
  | 'link-local'
  | 'metadata'
  | 'unspecified'
  | 'multicast'
  | 'broadcast'
  | 'reserved'

interface Network {
  readonly family: 4 | 6
  readonly bits: bigint
  readonly prefix: number
}

// The first network that holds an address decides, so exceptions stand before what they are taken from. After the
// special-purpose registries of IANA (2026-11-22) and the clouds' own documents.
const kinds4 = rules([
  ['0.0.0.0/32', 'unspecified'],
  ['0.0.0.0/8', 'reserved'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local'],
  ['100.100.100.200/32', 'metadata'],
  ['168.63.129.16/32', 'metadata'],
  ['192.0.0.192/32', 'metadata'],
  ['10.0.0.0/8', 'private'],
  ['172.16.0.0/12', 'private'],
  ['192.168.0.0/16', 'private'],
  ['100.64.0.0/10', 'private'],
  // Meant for measurements, but in use within networks.
  ['198.18.0.0/15', 'private'],
  ['192.0.0.0/24', 'reserved'],
  ['192.0.2.0/24', 'reserved'],
  ['192.88.99.0/24', 'reserved'],
  ['198.51.100.0/24', 'reserved'],
  ['203.0.113.0/24', 'reserved'],
  ['224.0.0.0/4', 'multicast'],
  ['255.255.255.255/32', 'broadcast'],
  ['240.0.0.0/4', 'reserved'],
])

const kinds6 = rules([
  ['::/128', 'unspecified'],
  ['::1/128', 'loopback'],
  ['fd00:ec2::/32', 'metadata'],
  ['fd20:ce::254/128', 'metadata'],
  ['fc00::/7', 'private'],
  ['fe80::/10', 'link-local'],
  ['ff00::/8', 'multicast'],
  // Tunnels of Teredo and other assignments of the IETF.
  ['2001::/23', 'reserved'],
  ['2001:db8::/32', 'reserved'],
  ['3fff::/20', 'reserved'],
  ['2000::/3', 'public'],
])

/** Networks whose addresses carry an IPv4 address, and how far it stands from the right. */
const carriers = (
  [
    ['::ffff:0:0/96', 0n],
    ['::ffff:0:0:0/96', 0n],
    ['64:ff9b::/96', 0n],
    ['::/96', 0n],
    ['2002::/16', 80n],
  ] as const
).map(([text, shift]) => ({ network: requireNetwork(text), shift }))

/** The address that a text in the usual spelling says (a zone is left out); null for any other text. */
export function parseAddress(text: string): Address | null {
  const bits4 = parse4(text)
  if (bits4 !== null) return { family: 4, bits: bits4 }
  const bits6 = parse6(text.replace(/%[^%]+$/, ''))
  return bits6 === null ? null : { family: 6, bits: bits6 }
}

function parse4(text: string): bigint | null {
  const parts = text.split('.')
  if (parts.length !== 4) return null
  let bits = 0n
  for (const part of parts) {
    // A leading zero means octal to some and nothing to others, so such a text is no address here.
    if (!/^(?:0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return null
    bits = (bits << 8n) | BigInt(part)
  }
  return bits
}

function parse6(text: string): bigint | null {
  const halves = text.split('::')
  if (halves.length > 2) return null
  const left = wordsOf(halves[0] ?? '', halves.length === 1)
  const right = wordsOf(halves[1] ?? '', true)
  if (left === null || right === null) return null
  const missing = 8 - left.length - right.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null
  const words = [...left, ...Array.from({ length: missing }, () => 0n), ...right]
  return words.reduce((bits, word) => (bits << 16n) | word, 0n)
}

/** The words of a half of an IPv6 address; the last may be an IPv4 address where the text ends. */
function wordsOf(text: string, atEnd: boolean): readonly bigint[] | null {
  if (text === '') return []
  const words: bigint[] = []
  const parts = text.split(':')
  for (const [index, part] of parts.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(part)) {
      words.push(BigInt(`0x${part}`))
      continue
    }
    const inside = atEnd && index === parts.length - 1 ? parse4(part) : null
    if (inside === null) return null
    words.push(inside >> 16n, inside & 0xffffn)
  }
  return words
}

/** The address that a packet would go to: the IPv4 address within an IPv6 one, otherwise the address itself. */
export function innerAddress(address: Address): Address {
  // The two addresses that look as if they carried IPv4 and mean something else.
  if (address.family === 4 || address.bits <= 1n) return address
  const carrier = carriers.find(({ network }) => holds(network, address))
  return carrier === undefined
    ? address
    : { family: 4, bits: (address.bits >> carrier.shift) & 0xffffffffn }
}

/** What an address is for; one that carries an IPv4 address is what that one is. */
export function classifyAddress(address: Address): AddressKind {
  const inner = innerAddress(address)
  const found = (inner.family === 4 ? kinds4 : kinds6).find(({ network }) => holds(network, inner))
  // Of IPv6 only 2000::/3 has been given out.
  return found?.kind ?? (inner.family === 4 ? 'public' : 'reserved')
}

/** Whether an entry of an allow-list says something: a network (CIDR), an address or a host name. */
export function isAllowedEntry(text: string): boolean {
  if (parseNetwork(text) !== null) return true
  // What ends like a number is an address to the system, so it must not pass as a name here.
  return /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?$/i.test(
    text,
  )
}

/** Whether an allow-list names the host, or a network with its address. An entry that says nothing allows nothing. */
export function isListed(allowed: readonly string[], host: string, address: Address): boolean {
  const name = hostKey(host)
  const inner = innerAddress(address)
  return allowed.some((entry) => {
    const network = parseNetwork(entry)
    if (network === null) return hostKey(entry) === name
    return holds(network, address) || holds(network, inner)
  })
}

function hostKey(name: string): string {
  return name.toLowerCase().replace(/\.$/, '')
}

function parseNetwork(text: string): Network | null {
  const [start = '', prefix, ...rest] = text.split('/')
  const address = parseAddress(start)
  if (address === null || rest.length > 0) return null
  const most = address.family === 4 ? 32 : 128
  if (prefix === undefined) return { ...address, prefix: most }
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(prefix) || Number(prefix) > most) return null
  return { ...address, prefix: Number(prefix) }
}

function holds(network: Network, address: Address): boolean {
  if (network.family !== address.family) return false
  const rest = BigInt((network.family === 4 ? 32 : 128) - network.prefix)
  return network.bits >> rest === address.bits >> rest
}

function requireNetwork(text: string): Network {
  const network = parseNetwork(text)
  if (network === null) throw new Error(`${text} is no network`)
  return network
}

function rules(
  given: readonly (readonly [string, AddressKind])[],
): readonly { readonly network: Network; readonly kind: AddressKind }[] {
  return given.map(([text, kind]) => ({ network: requireNetwork(text), kind }))
}
