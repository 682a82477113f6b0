// The way to an embedded server that another process runs: found by its pid file, without the lock of the folder.
import { readFile } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import pg from 'pg'
import { clientOptions, type ConnectionSettings } from './database.ts'
import { serverRole } from './embedded-cluster.ts'
import { findCluster } from './embedded-place.ts'
import { StoreError, systemCode } from './store-error.ts'

/**
 * How to reach the embedded server of a data folder while it runs; null when it does not run. Throws
 * `nothing_to_back_up` where there is no database, and `folder_unusable` for a user who may not reach it.
 */
export async function findRunning(dataDir: string): Promise<ConnectionSettings | null> {
  const found = await asServer(dataDir, () => findCluster(dataDir))
  if (found === undefined) {
    throw new StoreError('nothing_to_back_up', `There is no database of Muster in ${dataDir}.`, {
      hint: 'Set MUSTER_DATA_DIR to the folder that the server runs with, or DATABASE_URL to its database.',
    })
  }
  const settings = await asServer(dataDir, () => readEndpoint(found.home, found.cluster))
  if (settings === null) return null
  const client = new pg.Client(clientOptions(settings))
  // A server that ends while we ask says so here too.
  client.on('error', () => undefined)
  try {
    await asServer(dataDir, () => client.connect())
    // A copy of a folder has the pid file of its original, and would lead there.
    const { rows } = await client.query<{ folder: string }>(
      `select current_setting('data_directory') as folder`,
    )
    const same = process.platform === 'win32' || rows[0]?.folder === found.cluster
    return same ? settings : null
  } catch (error) {
    const code = systemCode(error)
    // Nobody listens: the file was left by a server that was killed. 57P03: it starts or stops right now.
    if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === '57P03') return null
    throw error
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** The lines of postmaster.pid: 4 is the port, 5 the folder of the socket, 6 the address. */
async function readEndpoint(home: string, cluster: string): Promise<ConnectionSettings | null> {
  let lines: string[]
  try {
    lines = (await readFile(join(cluster, 'postmaster.pid'), 'utf8')).split('\n')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null
    throw error
  }
  const [port, folder = ''] = [Number(lines[3]), lines[4]?.trim()]
  if (!Number.isInteger(port) || port <= 0) return null
  const common = { user: serverRole, database: 'postgres', port }
  if (isAbsolute(folder)) return { ...common, host: folder }
  // A server that has just begun has not written it yet.
  if (process.platform !== 'win32') return null
  // There it is a loopback port and a password that only this user may read.
  const password = (await readFile(join(home, 'postgres.password'), 'utf8')).trim()
  return { ...common, host: '127.0.0.1', password }
}

async function asServer<T>(dataDir: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const code = systemCode(error)
    if (code !== 'EACCES' && code !== 'EPERM') throw error
    throw new StoreError('folder_unusable', `This user may not read the database in ${dataDir}.`, {
      hint: 'Run the command as the user who runs the server, or as root.',
      cause: error,
    })
  }
}
