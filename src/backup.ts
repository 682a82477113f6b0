// Takes a backup, while the server runs or while it is off. A composition of its own beside app.ts: no API, no runs.
import { createHash, randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { access, link, open, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from './config.ts'
import type { BackupHeader, SectionSum } from './store/backup-format.ts'
import { openDatabase } from './store/database.ts'
import type { Database } from './store/database.ts'
import { startEmbedded } from './store/embedded.ts'
import { findRunning } from './store/embedded-running.ts'
import { StoreError, systemCode } from './store/store-error.ts'
import { takeBackup } from './store/take-backup.ts'

/** Where a backup goes and who watches. */
export interface BackupOrder {
  /** The file; null for standard output. */
  readonly file: string | null
  /** Whether a file of this name may be replaced. */
  readonly force: boolean
  readonly signal?: AbortSignal
  /** `done` is between 0 and 1. */
  readonly onProgress?: (section: string, done: number) => void
}

/** A backup that was written. */
export interface BackupTaken {
  /** The absolute path; null for standard output. */
  readonly file: string | null
  readonly bytes: number
  /** The digest of the file, as `sha256sum` prints it. */
  readonly sha256: string
  readonly header: BackupHeader
  readonly sections: readonly SectionSum[]
}

/** A server that starts or stops holds the folder and does not answer yet, or no more. */
const patienceMs = 30_000

/**
 * Takes a backup. A server that runs is asked while it runs; the embedded one of a server that is off is started for
 * it. The file appears under its name when it is whole and on the disk, readable by its owner only.
 */
export async function backUp(config: Config, order: BackupOrder): Promise<BackupTaken> {
  const file = order.file === null ? null : resolve(order.file)
  if (file !== null && !order.force) await refuseExisting(file)
  const store = await openStore(config, order.signal)
  try {
    if (file === null) {
      return { file, ...(await write(store.db, order, createWriteStream('', standardOutput))) }
    }
    return await onFile(file, () => writeFile(store.db, order, file))
  } finally {
    await store.close()
  }
}

// process.stdout takes a reader that went away for the wish to end; a backup that nobody has read has failed.
const standardOutput = { fd: 1, autoClose: false } as const

interface OpenStore {
  readonly db: Database
  close(): Promise<void>
}

async function openStore(config: Config, signal: AbortSignal | undefined): Promise<OpenStore> {
  const { databaseUrl, dataDir } = config
  if (databaseUrl !== undefined) {
    const db = openDatabase({ connectionString: databaseUrl }, ignore, 1)
    return { db, close: () => db.close() }
  }
  const deadline = performance.now() + patienceMs
  for (;;) {
    signal?.throwIfAborted()
    const running = await findRunning(dataDir)
    if (running !== null) {
      const db = openDatabase(running, ignore, 1)
      return { db, close: () => db.close() }
    }
    try {
      return await startOwn(dataDir)
    } catch (error) {
      const locked = error instanceof StoreError && error.code === 'folder_locked'
      if (!locked || performance.now() > deadline) throw error
    }
    await sleep(250)
  }
}

async function startOwn(dataDir: string): Promise<OpenStore> {
  const embedded = await startEmbedded({ dataDir, log: ignore, onCrash: ignore })
  const db = openDatabase(embedded.settings, ignore, 1)
  return {
    db,
    close: async () => {
      await db.close()
      await embedded.stop()
    },
  }
}

/** Writes beside the name, makes it durable, and gives it the name at last. */
async function writeFile(db: Database, order: BackupOrder, file: string): Promise<BackupTaken> {
  const draft = `${file}.partial-${randomBytes(4).toString('hex')}`
  const handle = await open(draft, 'wx', 0o600)
  try {
    // By its number: a stream of the handle itself would keep it from being closed.
    const stream = createWriteStream('', { fd: handle.fd, autoClose: false })
    const taken = await write(db, order, stream)
    await handle.sync()
    await handle.close()
    await publish(draft, file, order.force)
    await syncFolder(dirname(file))
    return { file, ...taken }
  } finally {
    await handle.close().catch(ignore)
    await rm(draft, { force: true })
  }
}

async function write(
  db: Database,
  order: BackupOrder,
  target: Writable,
): Promise<Omit<BackupTaken, 'file'>> {
  let header: BackupHeader | undefined
  let sections: readonly SectionSum[] = []
  const whole = createHash('sha256')
  let bytes = 0
  const pieces = takeBackup(db, await ownVersion(), {
    onHeader: (found) => (header = found),
    onEnd: (found) => (sections = found),
    ...(order.onProgress === undefined ? {} : { onProgress: order.onProgress }),
  })
  const measure = async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of source) {
      whole.update(piece)
      bytes += piece.length
      yield piece
    }
  }
  const { signal } = order
  await pipeline(pieces, measure, target, signal === undefined ? {} : { signal })
  if (header === undefined) throw new Error('the backup has no header')
  return { bytes, sha256: whole.digest('hex'), header, sections }
}

async function refuseExisting(file: string): Promise<void> {
  try {
    await access(file)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw error
  }
  throw existing(file)
}

function existing(file: string): StoreError {
  return new StoreError('backup_file', `The file ${file} exists.`, {
    hint: 'Give another name, or --force to replace it when the new backup is whole.',
  })
}

async function publish(draft: string, file: string, force: boolean): Promise<void> {
  if (force) return rename(draft, file)
  try {
    // A link is refused where a file of this name came up meanwhile; renaming would take its place.
    await link(draft, file)
  } catch (error) {
    if (systemCode(error) === 'EEXIST') throw existing(file)
    // Some file systems have no links.
    await refuseExisting(file)
    await rename(draft, file)
  }
}

async function onFile<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const reason = reasons[systemCode(error) ?? '']
    if (reason === undefined) throw error
    throw new StoreError('backup_file', `${basename(file)} cannot be written: ${reason}.`, {
      hint: `Name a file in another folder than ${dirname(file)}, or make it usable. Nothing is left under this name.`,
      cause: error,
    })
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'its folder does not exist',
  ENOTDIR: 'a part of its path is a file',
  EISDIR: 'it is a folder',
  EACCES: 'this user may not write there',
  EPERM: 'the system does not permit it',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file system takes no file of this size',
  EIO: 'the disk reports errors',
}

async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function ownVersion(): Promise<string> {
  // The file stands at the root of the package, one above both src/ and dist/.
  const text = await readFile(join(import.meta.dirname, '..', 'package.json'), 'utf8')
  const { version } = JSON.parse(text) as { version: string }
  return version
}

function ignore(): void {}
