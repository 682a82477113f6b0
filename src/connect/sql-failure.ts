// The errors of SQL sources: one code for each thing that a person can do about them, whatever the server calls it.
import { RunError } from '../core/errors.ts'

const kinds = {
  credentials_refused: {
    hint: 'Correct the user in url and the password; look which logins the server lets in from here.',
    temporary: false,
  },
  database_unknown: {
    hint: 'Correct the name of the database at the end of url.',
    temporary: false,
  },
  permission_denied: {
    hint: 'Grant the login SELECT on what the query reads, and nothing more.',
    temporary: false,
  },
  query_refused: {
    hint: 'Write one SELECT that only reads, and try it with another client first.',
    temporary: false,
  },
  query_failed: {
    hint: 'Try the query with another client: one of its rows makes it fail.',
    temporary: false,
  },
  query_timeout: {
    hint: 'Make the query faster (an index, fewer rows), or raise statementTimeoutSeconds.',
    temporary: true,
  },
  server_busy: {
    hint: 'It is tried again later; look at the load and the limits of the database server.',
    temporary: true,
  },
  connection_lost: {
    hint: 'It is tried again later; look at the log of the database server and at the network.',
    temporary: true,
  },
  tls_unavailable: {
    hint: 'Switch TLS on in the server; or set tls to "disable" where the network is trusted.',
    temporary: false,
  },
  certificate_refused: {
    hint: 'Give the certificate of its authority as tlsCa (PEM), and use a host name that stands in it or tlsServerName.',
    temporary: false,
  },
} as const

/** The codes of what goes wrong with a database. */
export type SqlTrouble = keyof typeof kinds

/** The error of a trouble. `message` says what happened, without values of rows. */
export function sqlError(trouble: SqlTrouble, message: string, cause?: unknown): RunError {
  const { hint, temporary } = kinds[trouble]
  return new RunError(trouble, message, { hint, temporary, cause })
}

/** Whether an error of Node is about a certificate. */
export function isCertificateError(code: string): boolean {
  return (
    /^(?:CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_)/.test(code) ||
    code === 'HOSTNAME_MISMATCH'
  )
}

/** The error of a handshake that fails, though not for the certificate. */
export function noCommonTls(message: string, cause: unknown): RunError {
  return sqlError(
    'tls_unavailable',
    `The server and Muster have no TLS in common: ${message}.`,
    cause,
  )
}

/** Whether an error of Node says that the connection broke. */
export function isBrokenConnection(code: string): boolean {
  return ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTCONN', 'ERR_STREAM_DESTROYED'].includes(code)
}

/** What a server says, as the end of a sentence. */
export function said(message: string): string {
  return message.trim().replace(/\.$/, '')
}
