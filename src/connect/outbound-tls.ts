// TLS of outgoing connections: which certificates are trusted, and what an error of a handshake means.
import { X509Certificate } from 'node:crypto'
import { isIP, type Socket } from 'node:net'
import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  rootCertificates,
  type SecureContext,
} from 'node:tls'
import { RunError } from '../core/errors.ts'
import { abortReason } from './wait.ts'

/** TLS of a connection. */
export interface OutboundTls {
  /** Certificates in PEM that are trusted besides those of Node. */
  readonly ca?: string
  /** The name in the certificate, where it is not the host. */
  readonly servername?: string
}

/** The oldest TLS that is spoken. */
const minVersion = 'TLSv1.2'

/** What a handshake over a connected socket needs. */
export interface Handshake {
  readonly host: string
  readonly tls: OutboundTls
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** Host and port, for messages. */
  readonly target: string
}

/**
 * What `tls.connect` needs, for drivers that begin TLS on their own over a socket of `Outbound.connect`. The
 * certificate is always checked.
 */
export function tlsOptions(
  host: string,
  tls: OutboundTls,
): ConnectionOptions & { readonly secureContext: SecureContext } {
  const name = tls.servername ?? host
  return {
    host: name,
    // An address must not be sent as a name (RFC 6066); it is still held against the certificate, by `host`.
    ...(isIP(name) === 0 ? { servername: name } : {}),
    minVersion,
    rejectUnauthorized: true,
    secureContext: secureContext(tls.ca ?? ''),
  }
}

// To read all the roots of Node takes milliseconds, too long for every connection. A reader has one CA or two.
const contexts = new Map<string, SecureContext>()

function secureContext(ca: string): SecureContext {
  const kept = contexts.get(ca)
  if (kept !== undefined) return kept
  if (contexts.size >= 16) contexts.clear()
  const made =
    ca === ''
      ? createSecureContext({ minVersion })
      : createSecureContext({ minVersion, ca: [...rootCertificates, readCertificates(ca)] })
  contexts.set(ca, made)
  return made
}

/** The same text, if it holds certificates: Node passes over any other text, and then nothing is trusted. */
function readCertificates(ca: string): string {
  try {
    void new X509Certificate(ca)
    return ca
  } catch (cause) {
    throw new RunError('bad_setting', 'The CA certificate of the source is no certificate.', {
      hint: 'Give it as PEM text, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----.',
      cause,
    })
  }
}

/** A TLS socket over a connected one, after its certificate was checked. The socket below is destroyed on failure. */
export function shakeHands(socket: Socket, handshake: Handshake): Promise<Socket> {
  const { host, tls, timeoutMs, signal, target } = handshake
  const options = tlsOptions(host, tls)
  return new Promise((resolve, reject) => {
    const secure = connect({ ...options, socket })
    const finish = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', stop)
    }
    const fail = (error: Error): void => {
      finish()
      secure.destroy()
      socket.destroy()
      reject(error)
    }
    const stop = (): void => {
      if (signal !== undefined) fail(abortReason(signal))
    }
    const timer = setTimeout(() => fail(handshakeSilent(target, timeoutMs)), timeoutMs)
    signal?.addEventListener('abort', stop, { once: true })
    if (signal?.aborted === true) stop()
    // The listener stays: what breaks later must not end the process where nobody listens yet.
    secure.on('error', (cause) => fail(tlsError(target, cause, secure.authorizationError)))
    secure.once('close', () => fail(tlsError(target, new Error('closed'), undefined)))
    secure.once('secureConnect', () => {
      finish()
      resolve(secure)
    })
  })
}

function handshakeSilent(target: string, timeoutMs: number): RunError {
  return new RunError(
    'connect_failed',
    `${target} did not begin TLS within ${timeoutMs / 1000} seconds.`,
    { hint: 'Look whether this port speaks TLS from the first byte.', temporary: true },
  )
}

function tlsError(target: string, cause: Error, refused: unknown): RunError {
  const code = String(Reflect.get(cause, 'code') ?? '')
  // Node notes here what was wrong with the certificate, and nothing otherwise.
  if (refused !== null && refused !== undefined) {
    return new RunError(
      'certificate_refused',
      `The certificate of ${target} is not trusted: ${cause.message}.`,
      { hint: certificateHint(String(Reflect.get(cause, 'code') ?? refused)), cause },
    )
  }
  if (code.startsWith('ERR_SSL_') || code === 'EPROTO') {
    return new RunError(
      'tls_failed',
      `${target} and Muster have no TLS in common (${tlsReason(cause)}).`,
      {
        hint: 'The port must speak TLS 1.2 or later. Look at its number, and at the server.',
        cause,
      },
    )
  }
  return new RunError('connect_failed', `${target} broke off the handshake of TLS.`, {
    hint: 'Look whether this port speaks TLS, and at the log of the server.',
    temporary: true,
    cause,
  })
}

function tlsReason(cause: Error): string {
  const reason: unknown = Reflect.get(cause, 'reason')
  return typeof reason === 'string' ? reason : 'the handshake failed'
}

function certificateHint(code: string): string {
  switch (code) {
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
    case 'HOSTNAME_MISMATCH':
      return 'Use a host name that stands in the certificate.'
    case 'CERT_HAS_EXPIRED':
    case 'CERT_NOT_YET_VALID':
      return 'Renew the certificate of the server; look at the clocks of both machines.'
    default:
      return 'Give the certificate (PEM) of the authority that signed it in the settings of the source.'
  }
}
