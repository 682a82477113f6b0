// The things that readiness looks at: database, spool folder, disk and worker.
import { constants } from 'node:fs'
import { access, statfs } from 'node:fs/promises'
import type { Queryable } from '../store/database.ts'
import { readDatabaseState } from '../store/vitals.ts'
import type { Check } from './readiness.ts'

/** The name of the check that tells whether the database swallows statements. */
export const databaseCheckName = 'database'

/** A worker that has not come round for this long hangs; removing a large source takes it some seconds. */
const longestTurnMs = 120_000

/**
 * Looks whether the database answers, takes writes, and has the schema that this process was started with; a newer one is
 * no fault, for during an upgrade old and new processes run side by side.
 */
export function checkDatabase(db: Queryable, schemaVersion: number): Check {
  return {
    name: databaseCheckName,
    broken: 'It does not answer.',
    look: async () => {
      const state = await readDatabaseState(db)
      if (state.readOnly) return 'It takes no writes: it is a standby, or was told to be read-only.'
      return state.schemaVersion < schemaVersion
        ? 'Its schema is not the one of this server.'
        : null
    },
  }
}

/** Looks whether uploads can be written. */
export function checkSpool(folder: string): Check {
  return {
    name: 'spool',
    broken: 'The spool folder cannot be written.',
    look: async () => {
      await access(folder, constants.W_OK)
      return null
    },
  }
}

/** Looks whether there is space on the disks of these folders. */
export function checkDisk(folders: Readonly<Record<string, string>>, minFreeBytes: number): Check {
  return {
    name: 'disk',
    broken: 'The free space cannot be told.',
    look: async () => {
      if (minFreeBytes === 0) return null
      const free = await freeBytes(folders)
      const full = Object.entries(free).filter(([, bytes]) => bytes < minFreeBytes)
      if (full.length === 0) return null
      const names = full.map(([name]) => name).join(' and ')
      return `Less than ${minFreeBytes} bytes are free for ${names} (MUSTER_MIN_FREE_BYTES).`
    },
  }
}

/** Looks whether the worker still comes round to the queue. */
export function checkWorker(sinceTurnMs: () => number): Check {
  return {
    name: 'worker',
    broken: 'The worker cannot be asked.',
    look: async () =>
      sinceTurnMs() > longestTurnMs ? 'The worker has not looked at the queue for long.' : null,
  }
}

/** The bytes that an ordinary user may still write on the disk of each folder. */
export async function freeBytes(
  folders: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, number>>> {
  const found = await Promise.all(
    Object.entries(folders).map(async ([name, folder]) => {
      const { bavail, bsize } = await statfs(folder)
      return [name, bavail * bsize] as const
    }),
  )
  return Object.fromEntries(found)
}
