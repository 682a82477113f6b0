// What an error of MySQL or MariaDB, of the driver or of the socket means for a run.
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

/** By the numbers of the servers; their messages say which name or which word is meant. */
const troubles: ReadonlyMap<number, SqlTrouble> = new Map<number, SqlTrouble>([
  [1045, 'credentials_refused'],
  [1698, 'credentials_refused'],
  [1251, 'credentials_refused'],
  [1130, 'credentials_refused'],
  [1129, 'credentials_refused'],
  [3118, 'credentials_refused'],
  [4151, 'credentials_refused'],
  [1820, 'credentials_refused'],
  [1862, 'credentials_refused'],
  [3159, 'credentials_refused'],
  [1049, 'database_unknown'],
  [1044, 'permission_denied'],
  [1142, 'permission_denied'],
  [1143, 'permission_denied'],
  [1227, 'permission_denied'],
  [1370, 'permission_denied'],
  [1449, 'permission_denied'],
  // A query that is more, or other, than one SELECT.
  [1064, 'query_refused'],
  [1149, 'query_refused'],
  [1221, 'query_refused'],
  [1222, 'query_refused'],
  [1234, 'query_refused'],
  [1248, 'query_refused'],
  [1290, 'query_refused'],
  [1295, 'query_refused'],
  [1792, 'query_refused'],
  [3954, 'query_refused'],
  // Names that are not there.
  [1046, 'query_refused'],
  [1051, 'query_refused'],
  [1052, 'query_refused'],
  [1054, 'query_refused'],
  [1055, 'query_refused'],
  [1109, 'query_refused'],
  [1140, 'query_refused'],
  [1146, 'query_refused'],
  [1305, 'query_refused'],
  [1582, 'query_refused'],
  [1630, 'query_refused'],
  [1317, 'query_timeout'],
  [1969, 'query_timeout'],
  [3024, 'query_timeout'],
  [1040, 'server_busy'],
  [1041, 'server_busy'],
  [1037, 'server_busy'],
  [1038, 'server_busy'],
  [1203, 'server_busy'],
  [1226, 'server_busy'],
  [1205, 'server_busy'],
  [1213, 'server_busy'],
  [1021, 'server_busy'],
  [1412, 'server_busy'],
  [1053, 'connection_lost'],
  [1927, 'connection_lost'],
  [1158, 'connection_lost'],
  [1159, 'connection_lost'],
  [1160, 'connection_lost'],
  [1161, 'connection_lost'],
  [4031, 'connection_lost'],
])

const sentences: Readonly<Record<SqlTrouble, string>> = {
  credentials_refused: 'The server refused the login',
  database_unknown: 'The server refused the login',
  permission_denied: 'The login may not do what the query needs',
  query_refused: 'The server refuses the query',
  query_failed: 'The query failed',
  query_timeout: 'The server ended the query',
  server_busy: 'The server is busy',
  connection_lost: 'The server ended the connection',
  tls_unavailable: 'The server does not offer TLS',
  certificate_refused: 'The certificate of the server is not trusted',
}

/** The error of whatever was thrown. */
export function mysqlFailure(error: unknown): RunError {
  if (error instanceof RunError) return error
  const code = error instanceof Error ? String(Reflect.get(error, 'code') ?? '') : ''
  const number: unknown = error instanceof Error ? Reflect.get(error, 'errno') : undefined
  const message = error instanceof Error ? said(error.message) : 'an unknown error'
  if (isCertificateError(code)) {
    return sqlError('certificate_refused', `${sentences.certificate_refused}: ${message}.`, error)
  }
  // The driver puts this code over that of Node.
  if (code === 'HANDSHAKE_SSL_ERROR') return handshakeFailure(message, error)
  if (code === 'HANDSHAKE_NO_SSL_SUPPORT') {
    return sqlError('tls_unavailable', `${sentences.tls_unavailable}.`, error)
  }
  if (typeof number === 'number' && number >= 1_000) return serverFailure(number, message, error)
  if (isBrokenConnection(code) || code === 'PROTOCOL_CONNECTION_LOST') {
    return sqlError(
      'connection_lost',
      `The connection to the server broke off (${message}).`,
      error,
    )
  }
  return sqlError('connection_lost', `The conversation with the server failed: ${message}.`, error)
}

function handshakeFailure(message: string, cause: unknown): RunError {
  return /certificate|altnames/i.test(message)
    ? sqlError('certificate_refused', `${sentences.certificate_refused}: ${message}.`, cause)
    : noCommonTls(message, cause)
}

function serverFailure(number: number, message: string, cause: unknown): RunError {
  if (number === 1060) return columnTwice(/'([^']*)'/.exec(message)?.[1] ?? '?', cause)
  const trouble = troubles.get(number)
  // Messages about data hold the data.
  if (trouble === undefined) {
    return sqlError('query_failed', `The query failed with error ${number} of the server.`, cause)
  }
  return sqlError(trouble, `${sentences[trouble]}: ${message}.`, cause)
}
