// Lists under a time limit: a filter or an order that no index serves reads everything, and may do so for this long.
import { RequestError } from '../core/errors.ts'
import type { Connection, Database } from './database.ts'

/** Milliseconds that a statement of a list may take. */
export const listTimeoutMs = 10_000

/** Lists that are read at a time: the other connections of the pool are for runs, logins and single things. */
const mostAtOnce = 4
/** Lists that may wait for their turn; more are told to come again. */
const mostWaiting = 64

interface Turns {
  reading: number
  readonly waiting: (() => void)[]
}

const turnsOf = new WeakMap<Database, Turns>()

/**
 * Reads a list in one transaction, four at a time. Throws `bad_request` with this hint when a statement takes too long: what the client
 * can do about it is not the same for each list.
 */
export async function readList<T>(
  db: Database,
  hint: string,
  read: (tx: Connection) => Promise<T>,
): Promise<T> {
  const done = await takeTurn(db)
  try {
    return await db.transaction(async (tx) => {
      await tx.query(`set local statement_timeout = ${listTimeoutMs}`)
      return read(tx)
    })
  } catch (error) {
    throw isTimeout(error) ? tooSlow(hint, error) : error
  } finally {
    done()
  }
}

/** Waits for a turn and gives what ends it. Throws `unavailable` when too many wait already. */
async function takeTurn(db: Database): Promise<() => void> {
  const turns = turnsOf.get(db) ?? { reading: 0, waiting: [] }
  turnsOf.set(db, turns)
  if (turns.reading < mostAtOnce) turns.reading += 1
  else if (turns.waiting.length < mostWaiting) {
    await new Promise<void>((resolve) => turns.waiting.push(resolve))
  } else {
    throw new RequestError('unavailable', 'Too many slow lists are being read.', {
      hint: 'Ask for fewer at a time, and narrow them by a filter.',
    })
  }
  return () => {
    const next = turns.waiting.shift()
    // The turn is handed on, so the number of those that read stays.
    if (next === undefined) turns.reading -= 1
    else next()
  }
}

/** 57014: the statement was cancelled. */
function isTimeout(error: unknown): boolean {
  return error instanceof Error && Reflect.get(error, 'code') === '57014'
}

function tooSlow(hint: string, cause: unknown): RequestError {
  return new RequestError(
    'bad_request',
    `This list was not found within ${listTimeoutMs / 1000} seconds. Mostly that is because no index serves its filter or its order.`,
    { hint, cause },
  )
}
