// A session in MySQL or MariaDB: a connection of ours, a login, and a read-only transaction on one snapshot.
import { isIP, type Socket } from 'node:net'
import { rootCertificates } from 'node:tls'
import mysql from 'mysql2'
import { settingError } from '../core/setting.ts'
import { describeFields } from './mysql-columns.ts'
import { mysqlFailure } from './mysql-failure.ts'
import { copyRows, pageRows } from './mysql-rows.ts'
import type { ReaderTools } from './reader.ts'
import { sqlError } from './sql-failure.ts'
import { endWhenSilent, type SqlColumn, type SqlSession } from './sql-session.ts'
import type { SqlSettings } from './sql-settings.ts'
import { derived } from './sql-statement.ts'

/** Opens one. */
export async function openMysql(
  settings: SqlSettings,
  tools: ReaderTools,
  signal: AbortSignal,
): Promise<SqlSession> {
  const { host, port } = settings
  const secure = tlsOf(settings)
  const socket = await tools.outbound.connect({ host, port, tls: null, signal })
  endWhenSilent(socket, settings)
  const abort = (): void => void socket.destroy(new Error('nobody waits for the answer any more'))
  signal.addEventListener('abort', abort, { once: true })
  const connection = newConnection(settings, socket, secure)
  // Statements that are under way see the error too; in between there is nobody to tell.
  connection.on('error', () => undefined)
  const close = async (): Promise<void> => {
    signal.removeEventListener('abort', abort)
    connection.destroy()
    socket.destroy()
  }
  const during = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      signal.throwIfAborted()
      throw mysqlFailure(error)
    }
  }
  try {
    await during(async () => {
      await login(connection, socket, settings.loginTimeoutMs)
      await beginReading(connection, settings)
    })
  } catch (error) {
    await close()
    throw error
  }
  return {
    facts: () => during(() => readFacts(connection)),
    describe: (query) => during(() => describeQuery(connection, query)),
    pages: async function* pages(statement, parameters, pageSize) {
      try {
        yield* pageRows(connection, statement, parameters, pageSize)
      } catch (error) {
        signal.throwIfAborted()
        throw mysqlFailure(error)
      }
    },
    copy: (cells, from, write) =>
      during(() => {
        // One text for each row: Node then needs 1.0 s of CPU for a million rows of 12 columns, and 3.3 s where the driver
        // takes the cells apart (2026-11-22).
        const line = cells.join(`, ',', `)
        // A row whose only cell is null would be an empty line, which readers of CSV pass over.
        const row = cells.length === 1 ? `if(${line} = '', '""', ${line})` : line
        return copyRows(connection, `select concat(${row}) from ${from}`, write)
      }),
    close,
  }
}

function tlsOf({ tls, host }: SqlSettings): {
  readonly host: string
  readonly ssl?: mysql.SslOptions
} {
  if (tls === null) return { host }
  const name = tls.servername ?? host
  if (isIP(name) !== 0) {
    throw settingError(
      'url',
      'names the server by its address, which its certificate cannot be held against',
      'Use the host name that stands in the certificate, or give that name as tlsServerName.',
    )
  }
  // The driver checks who the server is only when it is told to.
  const ssl = { rejectUnauthorized: true, verifyIdentity: true, minVersion: 'TLSv1.2' as const }
  return {
    host: name,
    ssl: tls.ca === undefined ? ssl : { ...ssl, ca: [...rootCertificates, tls.ca] },
  }
}

function newConnection(
  { user, password, database }: SqlSettings,
  socket: Socket,
  secure: { readonly host: string; readonly ssl?: mysql.SslOptions },
): mysql.Connection {
  return mysql.createConnection({
    ...secure,
    user,
    password,
    database,
    stream: socket,
    charset: 'utf8mb4',
    // The server could otherwise ask for files of this machine.
    flags: ['-LOCAL_FILES'],
    multipleStatements: false,
    rowsAsArray: true,
    // Values are made into texts by the server; what comes besides are facts about it.
    supportBigNumbers: true,
    bigNumberStrings: true,
    dateStrings: true,
    jsonStrings: true,
    connectTimeout: 0,
  })
}

function login(connection: mysql.Connection, socket: Socket, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.destroy()
      reject(sqlError('connection_lost', 'The server did not answer to the login in time.'))
    }, timeoutMs)
    connection.connect((error) => {
      clearTimeout(timer)
      if (error === null) resolve()
      else reject(error)
    })
  })
}

/** Runs a statement of ours. */
function run(connection: mysql.Connection, text: string): Promise<readonly (readonly unknown[])[]> {
  return new Promise((resolve, reject) => {
    connection.query<mysql.RowDataPacket[][]>({ sql: text, rowsAsArray: true }, (error, rows) => {
      if (error === null) resolve(Array.isArray(rows) ? rows : [])
      else reject(error)
    })
  })
}

/**
 * Begins the transaction that everything happens in. What the query may do is the business of the login's rights; that it
 * changes nothing and comes to an end is ours.
 */
async function beginReading(connection: mysql.Connection, settings: SqlSettings): Promise<void> {
  const rows = await run(connection, 'select version()')
  const isMariadb = String(rows[0]?.[0]).toLowerCase().includes('mariadb')
  const seconds = settings.statementTimeoutSeconds
  const own = [
    "time_zone = '+00:00'",
    isMariadb ? `max_statement_time = ${seconds}` : `max_execution_time = ${seconds * 1_000}`,
    'lock_wait_timeout = 60',
    'innodb_lock_wait_timeout = 60',
    // The server hangs up when nobody takes its rows for so long; the collecting side may be busy.
    `net_write_timeout = ${Math.max(600, seconds)}`,
    // Otherwise lists that are made in the query are cut off at 1,024 bytes, and nobody is told.
    'group_concat_max_len = 16777216',
    // A limit on the server would end a read early, as if there were no more rows.
    'sql_select_limit = default',
  ]
  await run(connection, `set ${own.map((setting) => `session ${setting}`).join(', ')}`)
  await run(connection, 'set session transaction isolation level repeatable read')
  await run(connection, 'start transaction with consistent snapshot, read only')
}

async function readFacts(
  connection: mysql.Connection,
): Promise<Readonly<Record<string, string | number | boolean>>> {
  const rows = await run(connection, 'select version(), database(), current_user()')
  const [version, database, user] = rows[0] ?? []
  return { version: String(version), database: String(database), user: String(user) }
}

/**
 * Prepares the query and runs nothing: the server parses it, looks at rights and names, and describes the columns. (With
 * `limit 0` MariaDB still called functions that stand in the query without a table.)
 */
function describeQuery(connection: mysql.Connection, query: string): Promise<readonly SqlColumn[]> {
  return new Promise((resolve, reject) => {
    connection.prepare(`select * from ${derived(query)}`, (error, statement) => {
      if (error !== null) return reject(error)
      // The types of the driver leave it out.
      const columns: unknown = Reflect.get(statement, 'columns')
      statement.close()
      resolve(describeFields(Array.isArray(columns) ? columns : []))
    })
  })
}
