// Lists under a time limit: a filter or an order that no index serves reads everything, and may do so for this long.
import { RequestError } from '../core/errors.ts'
import type { Connection, Database } from './database.ts'

/** Milliseconds that a statement of a list may take. */
export const listTimeoutMs = 10_000

/**
 * Reads a list in one transaction. Throws `bad_request` with this hint when a statement takes too long: what the client
 * can do about it is not the same for each list.
 */
export async function readList<T>(
  db: Database,
  hint: string,
  read: (tx: Connection) => Promise<T>,
): Promise<T> {
  try {
    return await db.transaction(async (tx) => {
      await tx.query(`set local statement_timeout = ${listTimeoutMs}`)
      return read(tx)
    })
  } catch (error) {
    throw isTimeout(error) ? tooSlow(hint, error) : error
  }
}

/** 57014: the statement was cancelled. */
function isTimeout(error: unknown): boolean {
  return error instanceof Error && Reflect.get(error, 'code') === '57014'
}

function tooSlow(hint: string, cause: unknown): RequestError {
  return new RequestError(
    'bad_request',
    `This list was not found within ${listTimeoutMs / 1000} seconds, because no index serves its filter or its order.`,
    { hint, cause },
  )
}
