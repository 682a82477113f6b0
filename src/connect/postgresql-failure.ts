// What an error of PostgreSQL, of its driver or of the socket means for a run.
import { RunError } from '../core/errors.ts'
import { columnTwice } from './sql-columns.ts'
import {
  isBrokenConnection,
  isCertificateError,
  noCommonTls,
  said,
  sqlError,
  type SqlTrouble,
} from './sql-failure.ts'

/** The error of whatever was thrown. */
export function postgresqlFailure(error: unknown): RunError {
  if (error instanceof RunError) return error
  const code = error instanceof Error ? String(Reflect.get(error, 'code') ?? '') : ''
  const message = error instanceof Error ? said(error.message) : 'an unknown error'
  if (/^[0-9A-Z]{5}$/.test(code) && !/^E[A-Z]{4}$/.test(code)) {
    return serverFailure(code, message, error)
  }
  if (isCertificateError(code)) {
    return sqlError(
      'certificate_refused',
      `The certificate of the server is not trusted: ${message}.`,
      error,
    )
  }
  if (code.startsWith('ERR_SSL_') || code === 'EPROTO') return noCommonTls(message, error)
  if (message.includes('does not support SSL')) {
    return sqlError('tls_unavailable', 'The server does not offer TLS.', error)
  }
  // The driver calls everything of a login that it cannot go through with by this name.
  if (message.startsWith('SASL')) {
    return sqlError(
      'credentials_refused',
      'The server refused the login: it wants a password that fits.',
      error,
    )
  }
  if (isBrokenConnection(code) || /^Connection terminated|timeout expired/.test(message)) {
    return sqlError(
      'connection_lost',
      `The connection to the server broke off (${message}).`,
      error,
    )
  }
  return sqlError('connection_lost', `The conversation with the server failed: ${message}.`, error)
}

/** By SQLSTATE; https://www.postgresql.org/docs/current/errcodes-appendix.html has the list. */
function serverFailure(code: string, message: string, cause: unknown): RunError {
  const fail = (trouble: SqlTrouble, text: string): RunError => sqlError(trouble, text, cause)
  switch (code) {
    case '28P01':
    case '28000':
      return fail('credentials_refused', `The server refused the login: ${message}.`)
    case '3D000':
      return fail('database_unknown', `The server refused the login: ${message}.`)
    case '42501':
      return fail('permission_denied', `The login may not do what the query needs: ${message}.`)
    case '25006':
      return fail('query_refused', `The query wants to change something: ${message}.`)
    case '42701':
    case '42702':
      return columnTwice(/"([^"]*)"/.exec(message)?.[1] ?? '?', cause)
    case '57014':
      return fail('query_timeout', `The server ended the query: ${message}.`)
    case '40001':
    case '40P01':
    case '55P03':
      return fail('server_busy', `The query got in the way of others: ${message}.`)
    default:
      return byClass(code, message, cause)
  }
}

function byClass(code: string, message: string, cause: unknown): RunError {
  switch (code.slice(0, 2)) {
    case '42':
    case '0A':
      return sqlError('query_refused', `The server refuses the query: ${message}.`, cause)
    case '53':
      return sqlError('server_busy', `The server is busy: ${message}.`, cause)
    case '57':
    case '08':
    case '58':
      return sqlError('connection_lost', `The server ended the connection: ${message}.`, cause)
    default:
      // Messages about data hold the data.
      return sqlError('query_failed', `The query failed with SQLSTATE ${code}.`, cause)
  }
}
