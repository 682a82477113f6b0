// Server processes: which one serves a connection, cancelling its statement, and ending those of a lost attempt.
import type { Connection, Queryable } from './database.ts'

/** The process id of the server process behind a connection. */
export async function backendId(connection: Queryable): Promise<number> {
  const { rows } = await connection.query<{ pid: number }>('select pg_backend_pid() as pid')
  return rows[0]?.pid ?? 0
}

/** Cancels what a server process is doing; nothing happens when it does nothing. */
export async function cancelBackend(q: Queryable, backend: number): Promise<void> {
  await q.query('select pg_cancel_backend($1)', [backend])
}

/** Names a connection as one of a run, for whoever looks at pg_stat_activity and for `endOtherBackends`. */
export async function nameBackend(connection: Connection, runNumber: number | null): Promise<void> {
  const name = runNumber === null ? 'muster' : backendName(runNumber)
  await connection.query(`select set_config('application_name', $1, false)`, [name])
}

/**
 * Ends the other server processes of a run: those of an earlier attempt whose process stands still or whose host is out
 * of reach. Its transaction may hold locks that the attempt which takes over would wait for without end.
 */
export async function endOtherBackends(connection: Connection, runNumber: number): Promise<void> {
  await connection.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where application_name = $1 and datname = current_database() and usename = current_user
       and pid <> pg_backend_pid()`,
    [backendName(runNumber)],
  )
}

function backendName(runNumber: number): string {
  return `muster run ${runNumber}`
}
