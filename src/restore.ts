// Restores a backup into an empty database, or only looks whether it is whole. A composition of its own beside app.ts.
import { createReadStream } from 'node:fs'
import { access, constants, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { addAbortSignal } from 'node:stream'
import type { Config } from './config.ts'
import { masterKey } from './master-key.ts'
import { type BackupHeader, type BackupReader, openBackup } from './store/backup-format.ts'
import type { SectionSum } from './store/backup-format.ts'
import { openDatabase } from './store/database.ts'
import type { Database } from './store/database.ts'
import { startEmbedded } from './store/embedded.ts'
import {
  checkBackup,
  checkBackupKey,
  checkSchema,
  restoreBackup,
  type RestoreKey,
} from './store/restore-backup.ts'
import { parseMasterKey } from './store/sealed.ts'
import { StoreError, systemCode } from './store/store-error.ts'

/** What is restored and who watches. */
export interface RestoreOrder {
  /** The file; null for standard input. */
  readonly file: string | null
  /** Leaves out the secrets, where their key is lost. */
  readonly withoutSecrets: boolean
  readonly signal?: AbortSignal
  /** `done` is between 0 and 1, or null where the length of the input is not known. */
  readonly onProgress?: (what: string, done: number | null) => void
}

/** What a backup holds. */
export interface BackupContents {
  readonly header: BackupHeader
  readonly sections: readonly SectionSum[]
}

/** A backup that was restored. */
export interface RestoreDone extends BackupContents {
  /** The migrations that were applied because the backup is of an older schema. */
  readonly migrated: readonly string[]
}

const pieceBytes = 256 * 1024

/** Reads a backup to its end and says what it holds. Needs no database and no key. */
export async function inspectBackup(order: RestoreOrder): Promise<BackupContents> {
  return withBackup(order, async (backup, watch) => {
    const sections = await checkBackup(backup, watch('Checking'))
    return { header: backup.header, sections }
  })
}

/**
 * Restores a backup. A file is read twice: all of it is checked before anything is made. What comes by standard input
 * is checked while it is restored, and what is not whole is rolled back. Cut off at any point, it leaves an empty
 * database, and may be run again.
 */
export async function restore(config: Config, order: RestoreOrder): Promise<RestoreDone> {
  if (order.file !== null) await withBackup(order, (backup) => checkFits(config, order, backup))
  if (order.file !== null) await inspectBackup(order)
  return withBackup(order, async (backup, watch) => {
    if (order.file === null) await checkFits(config, order, backup)
    const key = await restoreKey(config, order, backup.header)
    const store = await openStore(config)
    try {
      const restored = await restoreBackup(store.db, backup, key, watch('Restoring'))
      return { header: backup.header, ...restored }
    } finally {
      await store.close()
    }
  })
}

async function checkFits(config: Config, order: RestoreOrder, backup: BackupReader): Promise<void> {
  await checkSchema(backup.header)
  if (order.withoutSecrets) return
  const { key } = await restoreKey(config, order, backup.header)
  if (key !== null) checkBackupKey(backup.header, key)
}

/** The key is never made up here: another one than that of the backup would make its secrets unreadable for ever. */
async function restoreKey(
  config: Config,
  order: RestoreOrder,
  header: BackupHeader,
): Promise<RestoreKey> {
  if (order.withoutSecrets) {
    return { key: parseMasterKey(await masterKey(config)), dropSecrets: true }
  }
  const text = config.key ?? (await readKeyFile(join(config.dataDir, 'key')))
  if (text !== undefined) return { key: parseMasterKey(text), dropSecrets: false }
  if (header.keyCheck === null) return { key: null, dropSecrets: false }
  throw new StoreError(
    'master_key_wrong',
    'The secrets in the backup are sealed, and the key that opens them is not here: a backup does not hold it.',
    {
      hint: `Copy the file "key" of the old data folder to ${join(config.dataDir, 'key')}, or set MUSTER_KEY. Where the key is lost, --without-secrets restores everything else. Nothing was changed.`,
    },
  )
}

async function readKeyFile(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

interface Watch {
  readonly onProgress: (section: string) => void
}

/** Opens the input, and closes it whatever happens. */
async function withBackup<T>(
  order: RestoreOrder,
  work: (backup: BackupReader, watch: (verb: string) => Watch) => Promise<T>,
): Promise<T> {
  const { file, signal, onProgress } = order
  const size = file === null ? null : await sizeOf(file)
  // A read of a file by its number cannot be interrupted, and a pipe may never say anything more; so process.stdin.
  const input =
    file === null ? process.stdin : createReadStream(file, { highWaterMark: pieceBytes })
  if (signal !== undefined) addAbortSignal(signal, input)
  try {
    const backup = await openBackup(input as AsyncIterable<Buffer>)
    return await work(backup, (verb) => ({
      onProgress: (section) =>
        onProgress?.(
          `${verb} ${section}`,
          size === null ? null : backup.position() / Math.max(1, size),
        ),
    }))
  } finally {
    input.destroy()
  }
}

async function sizeOf(file: string): Promise<number> {
  try {
    await access(file, constants.R_OK)
    const found = await stat(file)
    if (!found.isDirectory()) return found.size
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new StoreError('backup_file', `The backup cannot be read: ${reason}.`, {
      hint: 'Name a file that "muster backup" wrote.',
      cause: error,
    })
  }
  throw new StoreError('backup_file', `The backup cannot be read: ${file} is a folder.`, {
    hint: 'Name a file that "muster backup" wrote.',
  })
}

async function openStore(config: Config): Promise<{ db: Database; close(): Promise<void> }> {
  if (config.databaseUrl !== undefined) {
    const db = openDatabase({ connectionString: config.databaseUrl }, ignore, 1)
    return { db, close: () => db.close() }
  }
  const embedded = await startEmbedded({ dataDir: config.dataDir, log: ignore, onCrash: ignore })
  const db = openDatabase(embedded.settings, ignore, 1)
  return {
    db,
    close: async () => {
      await db.close()
      await embedded.stop()
    },
  }
}

function ignore(): void {}
