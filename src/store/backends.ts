// Server processes: which one serves a connection, and cancelling its statement.
import type { Queryable } from './database.ts'

/** The process id of the server process behind a connection. */
export async function backendId(connection: Queryable): Promise<number> {
  const { rows } = await connection.query<{ pid: number }>('select pg_backend_pid() as pid')
  return rows[0]?.pid ?? 0
}

/** Cancels what a server process is doing; nothing happens when it does nothing. */
export async function cancelBackend(q: Queryable, backend: number): Promise<void> {
  await q.query('select pg_cancel_backend($1)', [backend])
}
