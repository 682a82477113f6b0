// What an error of the driver means for a request: the server is away, its disk is full, or it was given a bad value.

export type DatabaseFailure = 'away' | 'full' | 'bad value'

/** Socket errors of an attempt to connect or of a connection that broke. */
const socketCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
])

/**
 * SQLSTATEs that pass by themselves: shutting down, starting up, too many connections, and a server that only reads
 * because it is a standby (25006).
 */
const passingStates = new Set(['57P01', '57P02', '57P03', '57P05', '53300', '25006'])

/** NUL in text, NUL in jsonb, a lone surrogate in jsonb. */
const badValueStates = new Set(['22021', '22P05', '22P02'])

/** The driver raises these without a code. */
const passingMessages =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end)/

/** Which failure of the database an error is; null when it is none of these. */
export function databaseFailure(error: unknown): DatabaseFailure | null {
  if (!(error instanceof Error)) return null
  // Connecting by name tries several addresses; the driver then gives all failures together.
  if (error instanceof AggregateError) {
    return error.errors.some((one: unknown) => databaseFailure(one) === 'away') ? 'away' : null
  }
  // FATAL ends the session: no such database, wrong password, too many clients, shutting down.
  if (Reflect.get(error, 'severity') === 'FATAL') return 'away'
  const code: unknown = Reflect.get(error, 'code')
  if (typeof code === 'string') {
    if (code === '53100') return 'full'
    if (code.startsWith('08') || passingStates.has(code)) return 'away'
    if (badValueStates.has(code)) return 'bad value'
    if (socketCodes.has(code)) return 'away'
    // A Unix socket that is gone; ENOENT of any other call is a missing file.
    if (code === 'ENOENT' && Reflect.get(error, 'syscall') === 'connect') return 'away'
  }
  return passingMessages.test(error.message) ? 'away' : null
}

/** Whether the server refused this user or has no such database: waiting does not help. */
export function isRefusedLogin(error: unknown): boolean {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  return typeof code === 'string' && (code.startsWith('28') || code === '3D000')
}
