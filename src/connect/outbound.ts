// The only way out: every socket that a connector opens comes from here, after a look at the address that its name resolves to.
import type { Socket } from 'node:net'

/** Where connectors may connect to. */
export interface OutboundPolicy {
  /** Whether loopback addresses may be reached (MUSTER_ALLOW_PRIVATE_ADDRESSES). Private ranges may, link-local never. */
  readonly allowLoopback: boolean
  /** When not empty, only these networks (CIDR), addresses and host names may be reached (MUSTER_ALLOWED_ADDRESSES). */
  readonly allowed: readonly string[]
}

/** TLS of a connection. */
export interface OutboundTls {
  /** Certificates in PEM that are trusted besides those of Node. */
  readonly ca?: string
  /** The name in the certificate, where it is not the host. */
  readonly servername?: string
}

export interface ConnectOptions {
  readonly host: string
  readonly port: number
  /** Null: no TLS. */
  readonly tls: OutboundTls | null
  /** Until the connection stands; default 10 s. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** One HTTP request. */
export interface OutboundRequest {
  readonly url: string
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly tls?: OutboundTls
  /** Without a byte for so long the request fails; default 60 s. */
  readonly silenceMs?: number
  /** A longer body fails the request; default 64 MiB. */
  readonly limitBytes?: number
  readonly signal?: AbortSignal
}

/** The answer. A redirect within the same origin was followed; any other is an error. */
export interface OutboundAnswer {
  readonly status: number
  /** In lower case; of repeated headers all, joined by `, `. */
  readonly headers: Readonly<Record<string, string>>
  /** The body as it comes; it must be read to its end or `close`d. Throws `temporary` when it breaks off. */
  readonly body: AsyncIterable<Uint8Array>
  /** The whole body as UTF-8. */
  text(): Promise<string>
  close(): void
}

/**
 * Throws `RunError`: `address_refused`, `name_unknown`, `connect_failed`, `certificate_refused`, `redirect_refused`,
 * `answer_too_large`, `answer_broken`, `silent`.
 */
export interface Outbound {
  readonly policy: OutboundPolicy
  /** A connected socket; with TLS only after the certificate was checked. */
  connect(options: ConnectOptions): Promise<Socket>
  request(options: OutboundRequest): Promise<OutboundAnswer>
}
