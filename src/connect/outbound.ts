// The only way out: every socket that a connector opens comes from here, after a look at the address that its name resolves to.
import type { Socket } from 'node:net'
import type { OutboundAnswer } from './outbound-answer.ts'
import { openHttp, type OutboundRequest } from './outbound-http.ts'
import {
  type ConnectOptions,
  type OutboundPolicy,
  openSocket,
  type Resolve,
} from './outbound-socket.ts'
import { type OutboundTls, shakeHands } from './outbound-tls.ts'

export type { OutboundAnswer } from './outbound-answer.ts'
export type { OutboundRequest } from './outbound-http.ts'
export type { ConnectOptions, OutboundPolicy } from './outbound-socket.ts'
export type { OutboundTls } from './outbound-tls.ts'

/** StartTLS: what TLS over a connected socket needs. */
export interface UpgradeOptions {
  /** The name that stands in the certificate. */
  readonly host: string
  readonly tls: OutboundTls
  /** Until the handshake is done; default 10 s. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/**
 * Throws `RunError`: `address_refused`, `name_unknown`, `connect_failed`, `certificate_refused`, `tls_failed`,
 * `redirect_refused`, `answer_too_large`, `answer_broken`, `silent`, `bad_setting`; after an abort the reason of the
 * signal.
 */
export interface Outbound {
  readonly policy: OutboundPolicy
  /** A connected socket; with TLS only after the certificate was checked. */
  connect(options: ConnectOptions): Promise<Socket>
  /** TLS over a socket of `connect`, for protocols that begin without; nobody else may read from it any more. */
  upgrade(socket: Socket, options: UpgradeOptions): Promise<Socket>
  request(options: OutboundRequest): Promise<OutboundAnswer>
  /** Closes the connections that are kept for further requests. */
  close(): void
}

/** The way out under a policy. `resolve` is given by tests. */
export function openOutbound(policy: OutboundPolicy, resolve?: Resolve): Outbound {
  const connect = (options: ConnectOptions): Promise<Socket> => openSocket(policy, options, resolve)
  const http = openHttp(connect)
  return {
    policy,
    connect,
    upgrade: (socket, { host, tls, timeoutMs = 10_000, signal }) =>
      shakeHands(socket, { host, tls, timeoutMs, signal, target: host }),
    request: http.request,
    close: http.close,
  }
}
