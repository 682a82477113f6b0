// The master key that seals secrets: out of the environment, or out of a file of the data folder that is made when it is missing.
import { randomBytes } from 'node:crypto'
import { chmod, link, mkdir, open, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Config, ConfigError, isKey, refuseLostKey } from './config.ts'

/**
 * The master key as text: MUSTER_KEY, else the file `key` of the data folder, which is made (0600) when it is not there.
 * Two processes that start at once get the same one. Only the embedded database has such a file.
 */
export async function masterKey(
  config: Pick<Config, 'dataDir' | 'databaseUrl' | 'key'>,
): Promise<string> {
  if (config.key !== undefined) return config.key
  refuseLostKey(config)
  const path = join(config.dataDir, 'key')
  try {
    const found = (await readKeyFile(path)) ?? (await makeKeyFile(config.dataDir, path))
    if (!isKey(found)) throw new ConfigError(`The key in ${path} is damaged.`, restoreKey)
    return found
  } catch (error) {
    if (error instanceof ConfigError || !(error instanceof Error)) throw error
    throw new ConfigError(
      `The key in ${path} cannot be read or made: ${error.message}.`,
      'Set MUSTER_DATA_DIR to a folder that the user who starts Muster may write, or set MUSTER_KEY.',
      error,
    )
  }
}

const restoreKey = 'Restore the file from a backup, or set MUSTER_KEY to the key it held.'

async function readKeyFile(path: string): Promise<string | undefined> {
  let content: string
  try {
    content = (await readFile(path, 'utf8')).trim()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
  // A copy or an unpacked backup may have opened it to others.
  if (process.platform !== 'win32' && ((await stat(path)).mode & 0o077) !== 0) {
    await chmod(path, 0o600)
  }
  return content
}

async function makeKeyFile(folder: string, path: string): Promise<string> {
  // Root lets others through, not in: the embedded server runs as another user and lives in a folder below.
  await mkdir(folder, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 })
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  const file = await open(draft, 'wx', 0o600)
  try {
    await file.writeFile(`${randomBytes(32).toString('base64')}\n`)
    // Secrets that were sealed with a key that a power cut took away are gone.
    await file.sync()
  } finally {
    await file.close()
  }
  try {
    await link(draft, path)
  } catch (error) {
    // Another process was first: its key counts.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
  } finally {
    await rm(draft)
  }
  return (await readFile(path, 'utf8')).trim()
}
