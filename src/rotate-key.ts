// Seals all secrets with a new master key while the server is off. A composition of its own beside app.ts: no API, no runs.
import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from './config.ts'
import { masterKey } from './master-key.ts'
import type { Config } from './config.ts'
import { openDatabase } from './store/database.ts'
import type { Database } from './store/database.ts'
import { startEmbedded } from './store/embedded.ts'
import {
  generateMasterKey,
  parseMasterKey,
  rotateSecrets,
  verifyMasterKey,
} from './store/sealed.ts'
import type { MasterKey } from './store/sealed.ts'
import { StoreError } from './store/store-error.ts'

/** What a rotation did. */
export interface Rotation {
  /** How many secrets were sealed anew; 0 when a rotation that was cut short had already done it. */
  readonly secrets: number
  /** The file that holds the new key now; null when keys come from the environment. */
  readonly keyFile: string | null
}

/**
 * Rotates the master key. The new one is MUSTER_NEW_KEY (or its _FILE) where MUSTER_KEY is set, else it is drawn and
 * replaces the file `key`. It may be cut at any point and run again: the new key is on the disk before the first
 * secret is sealed with it, and the old key leaves its place last.
 */
export async function rotateKey(config: Config, env: NodeJS.ProcessEnv): Promise<Rotation> {
  const oldKey = parseMasterKey(await masterKey(config))
  const keyFile = config.key === undefined ? join(config.dataDir, 'key') : null
  const opened = await openStore(config)
  try {
    const text = keyFile === null ? await givenKey(env) : await draftKey(`${keyFile}.next`)
    const newKey = parseMasterKey(text)
    const secrets = await rotate(opened.db, oldKey, newKey)
    if (keyFile !== null) {
      await rename(`${keyFile}.next`, keyFile)
      await syncFolder(config.dataDir)
    }
    return { secrets, keyFile }
  } finally {
    await opened.close()
  }
}

async function rotate(db: Database, oldKey: MasterKey, newKey: MasterKey): Promise<number> {
  try {
    await verifyMasterKey(db, oldKey)
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'master_key_wrong') throw error
    // Cut after the secrets were sealed: then the new key opens them, and only the file is left to be replaced.
    await verifyMasterKey(db, newKey)
    return 0
  }
  return rotateSecrets(db, oldKey, newKey)
}

/** The lock of the folder keeps us out while a server runs on it. */
async function openStore(config: Config): Promise<{ db: Database; close(): Promise<void> }> {
  if (config.databaseUrl !== undefined) {
    const db = openDatabase({ connectionString: config.databaseUrl }, ignore)
    return { db, close: () => db.close() }
  }
  const embedded = await startEmbedded({ dataDir: config.dataDir, log: ignore, onCrash: ignore })
  const db = openDatabase(embedded.settings, ignore)
  return {
    db,
    close: async () => {
      await db.close()
      await embedded.stop()
    },
  }
}

async function givenKey(env: NodeJS.ProcessEnv): Promise<string> {
  const direct = env['MUSTER_NEW_KEY']?.trim() ?? ''
  const file = env['MUSTER_NEW_KEY_FILE']?.trim() ?? ''
  const text = direct === '' && file !== '' ? (await readFile(file, 'utf8')).trim() : direct
  if (text !== '') return text
  throw new ConfigError(
    'MUSTER_KEY is set, and MUSTER_NEW_KEY is not.',
    'Make a key with "openssl rand -base64 32", keep it safe, and set MUSTER_NEW_KEY or MUSTER_NEW_KEY_FILE to it.',
  )
}

/** Draws a key into a file, or takes the one that a rotation before left there. */
async function draftKey(path: string): Promise<string> {
  const left = (await readFile(path, 'utf8').catch(() => '')).trim()
  if (left !== '' && isWhole(left)) return left
  await rm(path, { force: true })
  const drawn = generateMasterKey()
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(`${drawn}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  return drawn
}

function isWhole(text: string): boolean {
  try {
    parseMasterKey(text)
    return true
  } catch {
    return false
  }
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

function ignore(): void {}
