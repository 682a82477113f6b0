// Rows of MySQL and MariaDB as they come: in pages, or as lines that the server wrote. Who is slow makes the server wait.
import type mysql from 'mysql2'
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

// Rows come one by one; single writes of them would cost more than all the rest.
const blockBytes = 1 << 20
const newline = 10

/** Passes on what a statement of one column gives, a line for each row; gives their number. */
export function copyRows(
  connection: mysql.Connection,
  text: string,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    let block = Buffer.allocUnsafe(blockBytes)
    let filled = 0
    let records = 0
    let pending = 0
    let written = Promise.resolve()
    const pass = (bytes: Uint8Array): void => {
      pending += 1
      connection.pause()
      written = written
        .then(() => write(bytes))
        .then(() => {
          pending -= 1
          if (pending === 0) connection.resume()
        })
      written.catch(reject)
    }
    const flush = (): void => {
      if (filled > 0) pass(block.subarray(0, filled))
      block = Buffer.allocUnsafe(blockBytes)
      filled = 0
    }
    const query = connection.query({ sql: text, rowsAsArray: true, typeCast: false })
    query.on('result', (row: unknown) => {
      const line: unknown = Array.isArray(row) ? row[0] : null
      if (!Buffer.isBuffer(line)) return reject(tooLong())
      records += 1
      if (filled + line.length + 1 > blockBytes) flush()
      if (line.length + 1 > blockBytes) return pass(Buffer.concat([line, Buffer.of(newline)]))
      filled += line.copy(block, filled)
      block[filled] = newline
      filled += 1
    })
    const stopListening = onFailure(connection, query, reject)
    query.on('end', () => {
      stopListening()
      flush()
      written.then(() => resolve(records), reject)
    })
  })
}

/** concat() gives null for what is longer than max_allowed_packet. */
function tooLong(): Error {
  return sqlError('query_failed', 'A row is longer than the server sends (max_allowed_packet).')
}
