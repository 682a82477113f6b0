// Rows of MySQL and MariaDB as they come: in pages, or as lines that the server wrote. Who is slow makes the server wait.
import type mysql from 'mysql2'
import { collectBlocks } from './sql-blocks.ts'
import { sqlError } from './sql-failure.ts'
import type { SqlRow } from './sql-session.ts'

const nothing = (): void => undefined

/** The rows of a statement, in pages. With parameters it is prepared, so that no text of the query is taken for one. */
export async function* pageRows(
  connection: mysql.Connection,
  text: string,
  parameters: readonly string[],
  pageSize: number,
): AsyncGenerator<readonly SqlRow[], void> {
  let rows: SqlRow[] = []
  // An object: it changes in the events of the driver.
  const at: { ended: boolean; failure: Error | null } = { ended: false, failure: null }
  let wake = nothing
  const query =
    parameters.length === 0
      ? connection.query({ sql: text, rowsAsArray: true })
      : connection.execute({ sql: text, rowsAsArray: true, values: [...parameters] })
  query.on('result', (row: unknown) => {
    // The values are texts, by the expressions of our statements.
    rows.push(row as SqlRow)
    if (rows.length === pageSize) connection.pause()
    if (rows.length >= pageSize) wake()
  })
  const stopListening = onFailure(connection, query, (error) => {
    at.failure = error
    wake()
  })
  query.on('end', () => {
    at.ended = true
    wake()
  })
  try {
    for (;;) {
      if (rows.length < pageSize && !at.ended && at.failure === null) {
        await new Promise<void>((resolve) => (wake = resolve))
      }
      if (at.failure !== null) throw at.failure
      const page = rows
      rows = []
      if (page.length > 0) yield page
      if (at.ended) return
      connection.resume()
    }
  } finally {
    stopListening()
  }
}

/** An error of the server comes by the query, the loss of the connection by the connection only. */
function onFailure(
  connection: mysql.Connection,
  query: mysql.Query,
  listener: (error: Error) => void,
): () => void {
  query.on('error', listener)
  connection.on('error', listener)
  return () => void connection.removeListener('error', listener)
}

const newline = Buffer.from('\n')

/** Passes on what a statement of one column gives, a line for each row; gives their number. */
export function copyRows(
  connection: mysql.Connection,
  text: string,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    let records = 0
    const blocks = collectBlocks(connection, write, reject)
    const query = connection.query({ sql: text, rowsAsArray: true, typeCast: false })
    query.on('result', (row: unknown) => {
      const line: unknown = Array.isArray(row) ? row[0] : null
      if (!Buffer.isBuffer(line)) return reject(tooLong())
      records += 1
      blocks.add(line)
      blocks.add(newline)
    })
    const stopListening = onFailure(connection, query, reject)
    query.on('end', () => {
      stopListening()
      blocks.end().then(() => resolve(records), reject)
    })
  })
}

/** concat() gives null for what is longer than max_allowed_packet. */
function tooLong(): Error {
  return sqlError('query_failed', 'A row is longer than the server sends (max_allowed_packet).')
}
