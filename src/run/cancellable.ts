// A connection that a signal stops: its statement under way is cancelled, and no further one begins.
import type { Connection, Database } from '../store/database.ts'
import { backendId, cancelBackend } from '../store/backends.ts'

/** A cancel meets a server process only while it runs a statement, so it is repeated until the work has ended. */
const repeatMs = 200

/**
 * Gives `work` a connection. After an abort the statement that runs on it is cancelled, every other one but a rollback
 * is refused, and the result is the reason of the signal; the connection is closed then, whatever state it is in.
 */
export async function cancellable(
  db: Database,
  signal: AbortSignal,
  work: (connection: Connection) => Promise<void>,
): Promise<void> {
  signal.throwIfAborted()
  const connection = await db.connect()
  let broken = true
  let backend = 0
  let repeat: NodeJS.Timeout | undefined
  const cancel = (): void => {
    cancelBackend(db, backend).catch(() => undefined)
  }
  const onAbort = (): void => {
    cancel()
    repeat = setInterval(cancel, repeatMs)
  }
  try {
    backend = await backendId(connection)
    signal.addEventListener('abort', onAbort)
    signal.throwIfAborted()
    await work({
      raw: connection.raw,
      release: (closed) => connection.release(closed),
      query: async (text, values) => {
        if (text !== 'rollback') signal.throwIfAborted()
        return connection.query(text, values)
      },
    })
    broken = false
  } catch (error) {
    // The statement that was cancelled fails with an error of its own; why it was cancelled says more.
    if (signal.aborted) throw signal.reason
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
    clearInterval(repeat)
    // A cancel that is still on its way must not meet a statement of the next user of the connection.
    connection.release(broken || signal.aborted)
  }
}
