// Opens sockets: the name is resolved once, every address is judged, and exactly the judged one is connected to.
import { lookup } from 'node:dns/promises'
import { connect as connectSocket, isIP, type Socket } from 'node:net'
import { type AddressKind, classifyAddress, isListed, parseAddress } from '../core/address.ts'
import { RunError } from '../core/errors.ts'
import { type OutboundTls, shakeHands } from './outbound-tls.ts'
import { abortReason, within } from './wait.ts'

/** Where connectors may connect to. */
export interface OutboundPolicy {
  /** Whether loopback addresses may be reached (MUSTER_ALLOW_PRIVATE_ADDRESSES). Private ranges may, link-local never. */
  readonly allowLoopback: boolean
  /** When not empty, only these networks (CIDR), addresses and host names may be reached (MUSTER_ALLOWED_ADDRESSES). */
  readonly allowed: readonly string[]
}

/** One connection. */
export interface ConnectOptions {
  readonly host: string
  readonly port: number
  /** Null: no TLS. */
  readonly tls: OutboundTls | null
  /** Until the connection stands; default 10 s. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** The addresses of a name, as the system would connect to them; also of odd spellings like `0x7f000001`. */
export type Resolve = (host: string) => Promise<readonly string[]>

const defaultTimeoutMs = 10_000

const resolveBySystem: Resolve = async (host) => {
  const found = await lookup(host, { all: true, order: 'verbatim' })
  return found.map(({ address }) => address)
}

/** Connects as `Outbound.connect` says. */
export async function openSocket(
  policy: OutboundPolicy,
  options: ConnectOptions,
  resolve: Resolve = resolveBySystem,
): Promise<Socket> {
  const { tls, timeoutMs = defaultTimeoutMs, signal } = options
  const host = options.host.replace(/^\[(.*)\]$/, '$1')
  const target = `${options.host}:${options.port}`
  const until = performance.now() + timeoutMs
  const left = (): number => Math.max(1, Math.round(until - performance.now()))
  if (signal?.aborted === true) throw abortReason(signal)
  const addresses = await judgedAddresses(policy, host, (name) =>
    within(resolve(name), left(), signal, () => unresolved(name, 'no answer')),
  )
  let failure: Error | null = null
  for (const [index, address] of addresses.entries()) {
    // Every address gets its share of the time, so that one that swallows packets does not take it from the next.
    const shareMs = Math.ceil(left() / (addresses.length - index))
    try {
      const socket = await dial(address, { target, port: options.port, timeoutMs: shareMs, signal })
      if (tls === null) return socket
      return await shakeHands(socket, { host, tls, timeoutMs: left(), signal, target })
    } catch (error) {
      if (!(error instanceof RunError) || error.code !== 'connect_failed') throw error
      failure ??= error
    }
  }
  throw failure ?? unresolved(host, 'no address')
}

/** The addresses of a host that may be reached; it is an error when none may. */
async function judgedAddresses(
  policy: OutboundPolicy,
  host: string,
  resolve: Resolve,
): Promise<readonly string[]> {
  const found = isIP(host) === 0 ? await resolveName(host, resolve) : [host]
  const refusals = found.map((address) => [address, refusalOf(policy, host, address)] as const)
  const good = refusals.filter(([, refusal]) => refusal === null).map(([address]) => address)
  const [first] = refusals
  if (good.length > 0 || first === undefined) return good
  const [address, refusal] = first
  const named = address === host ? host : `${host} (${address})`
  throw new RunError('address_refused', `${named} ${refusal?.reason}.`, {
    hint: refusal?.hint ?? '',
  })
}

async function resolveName(host: string, resolve: Resolve): Promise<readonly string[]> {
  let found: readonly string[]
  try {
    found = await resolve(host)
  } catch (cause) {
    if (cause instanceof RunError || !(cause instanceof Error) || !('syscall' in cause)) throw cause
    throw unresolved(host, String(Reflect.get(cause, 'code')), cause)
  }
  if (found.length === 0) throw unresolved(host, 'no address')
  return found
}

interface Refusal {
  /** Completes the sentence "<address> …". */
  readonly reason: string
  readonly hint: string
}

const neverHint = 'No setting allows this; name the system by another address.'

function refusalOf(policy: OutboundPolicy, host: string, text: string): Refusal | null {
  const address = parseAddress(text)
  if (address === null) return { reason: 'is no address', hint: neverHint }
  const kind = classifyAddress(address)
  const refusal = refusalOfKind(kind, policy)
  if (refusal !== null) return refusal
  if (policy.allowed.length === 0 || isListed(policy.allowed, host, address)) return null
  return {
    reason: 'is not among the addresses that connectors may reach',
    hint: 'Have the operator add its network or name to MUSTER_ALLOWED_ADDRESSES.',
  }
}

function refusalOfKind(kind: AddressKind, policy: OutboundPolicy): Refusal | null {
  switch (kind) {
    case 'public':
    case 'private':
      return null
    case 'loopback':
      return policy.allowLoopback
        ? null
        : {
            reason: 'is this machine itself (loopback), which connectors may not reach',
            hint: 'Name the system by its address in the network, or have the operator set MUSTER_ALLOW_PRIVATE_ADDRESSES=true.',
          }
    case 'link-local':
    case 'metadata':
    case 'unspecified':
    case 'multicast':
    case 'broadcast':
    case 'reserved':
      return { reason: `is a ${kind} address, which connectors never reach`, hint: neverHint }
  }
}

function unresolved(host: string, reason: string, cause?: unknown): RunError {
  return new RunError('name_unknown', `The name ${host} cannot be resolved (${reason}).`, {
    hint: 'Correct the host name, or look at the DNS of the machine that Muster runs on.',
    temporary: true,
    cause,
  })
}

interface Dial {
  readonly target: string
  readonly port: number
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
}

function dial(address: string, options: Dial): Promise<Socket> {
  const { target, port, timeoutMs, signal } = options
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ host: address, port })
    const finish = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', stop)
    }
    const fail = (error: Error): void => {
      finish()
      socket.destroy()
      reject(error)
    }
    const stop = (): void => {
      if (signal !== undefined) fail(abortReason(signal))
    }
    const timer = setTimeout(
      () => fail(unreachable(target, `no answer within ${timeoutMs / 1000} seconds`)),
      timeoutMs,
    )
    signal?.addEventListener('abort', stop, { once: true })
    // The listener stays: what breaks before its new owner listens must not end the process.
    socket.on('error', (cause) => fail(unreachable(target, reasonOf(cause), cause)))
    socket.once('connect', () => {
      finish()
      socket.setNoDelay(true)
      // A system that was unplugged is found out by the kernel where a driver waits for ever.
      socket.setKeepAlive(true, 30_000)
      resolve(socket)
    })
  })
}

function unreachable(target: string, reason: string, cause?: unknown): RunError {
  return new RunError('connect_failed', `There is no connection to ${target}: ${reason}.`, {
    hint: 'Look whether the system is up, the port is right, and no firewall stands between.',
    temporary: true,
    cause,
  })
}

function reasonOf(cause: Error): string {
  const code = String(Reflect.get(cause, 'code') ?? cause.message)
  switch (code) {
    case 'ECONNREFUSED':
      return 'nothing listens there (ECONNREFUSED)'
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `no way leads there (${code})`
    case 'ECONNRESET':
      return 'it was closed at once (ECONNRESET)'
    default:
      return code
  }
}
