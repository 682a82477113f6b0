// A connection whose statement under way is cancelled when a signal aborts.
import type { Connection, Database } from '../store/database.ts'
import { backendId, cancelBackend } from '../store/backends.ts'

/**
 * Gives `work` a connection. An abort cancels the statement that runs on it and makes the result the reason of the
 * signal; the connection is closed then, whatever state it is in.
 */
export async function cancellable(
  db: Database,
  signal: AbortSignal,
  work: (connection: Connection) => Promise<void>,
): Promise<void> {
  signal.throwIfAborted()
  const connection = await db.connect()
  let broken = true
  const onAbort = (): void => {
    cancelBackend(db, backend).catch(() => undefined)
  }
  let backend = 0
  try {
    backend = await backendId(connection)
    signal.addEventListener('abort', onAbort)
    await work(connection)
    broken = false
  } catch (error) {
    // The statement that was cancelled fails with an error of its own; why it was cancelled says more.
    if (signal.aborted) throw signal.reason
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
    connection.release(broken)
  }
}
