// Makes the embedded cluster once and says with which settings its server runs.
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { open, readdir, readFile, rename, rm, rmdir, statfs, writeFile } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Binaries } from './embedded-files.ts'
import { isCluster, type Place } from './embedded-place.ts'
import { makePrivate, onFolder } from './folder-rights.ts'
import { StoreError, systemCode } from './store-error.ts'

/** How clients reach the server: a socket in a private folder, on Windows a loopback port with a password. */
export type Endpoint =
  | { readonly kind: 'socket'; readonly folder: string }
  | { readonly kind: 'loopback'; readonly port: number; readonly password: string }

/** The superuser and owner of everything in the embedded cluster. */
export const serverRole = 'muster'

const majorVersion = '18'
const draftPrefix = 'postgres.new-'
const passwordName = 'postgres.password'
const megabyte = 2 ** 20

/**
 * Makes the cluster when there is none (0.9 s, once) and tells whether it did. It is made beside its final name and
 * renamed, so a start that is killed halfway leaves nothing that looks like a cluster.
 */
export async function createCluster(place: Place, binaries: Binaries): Promise<boolean> {
  return onFolder(place.home, async () => {
    for (const name of await readdir(place.home)) {
      if (name.startsWith(draftPrefix)) await rm(join(place.home, name), { recursive: true })
    }
    if (await isCluster(place.cluster)) return false
    await removeEmpty(place.cluster)
    const draft = join(place.home, draftPrefix + randomBytes(6).toString('hex'))
    await makePrivate(draft, place.user)
    try {
      await initdb(place, binaries, draft)
      await rename(draft, place.cluster)
    } catch (error) {
      await rm(draft, { recursive: true, force: true })
      throw error
    }
    await syncFolder(place.home)
    return true
  })
}

/** Refuses a cluster that another major version of PostgreSQL made; the server would refuse it with less to go on. */
export async function checkVersion(place: Place): Promise<void> {
  const found = (await readFile(join(place.cluster, 'PG_VERSION'), 'utf8')).trim()
  if (found === majorVersion) return
  throw new StoreError(
    'cluster_version',
    `The database in ${place.cluster} was made by PostgreSQL ${found}, and this Muster carries PostgreSQL ${majorVersion}.`,
    {
      hint: `Take a backup with the Muster version that made it (muster backup), and restore it into a new data folder with this one. Nothing was changed.`,
    },
  )
}

/** The password of the loopback server on Windows, made with the cluster. */
export async function readPassword(place: Place): Promise<string> {
  return (await readFile(join(place.home, passwordName), 'utf8')).trim()
}

/** The command line of the server. Sizes follow the memory and the disk that there are. */
export async function serverArguments(place: Place, endpoint: Endpoint): Promise<string[]> {
  const settings: Record<string, string> = {
    ...reach(endpoint),
    max_connections: '60',
    // Stock sizes made a first load 20–25 % slower (2026-11-22, a million accounts).
    shared_buffers: `${sharedBuffersMb()}MB`,
    max_wal_size: `${await walMb(place.home)}MB`,
    random_page_cost: '1.1',
    wal_level: 'replica',
    // This build has no lz4, and pglz costs more time than the smaller log saves.
    wal_compression: 'off',
    // What was answered with success survives a power cut.
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    dynamic_shared_memory_type: await sharedMemoryType(),
    timezone: 'UTC',
    log_timezone: 'UTC',
    logging_collector: 'off',
    log_destination: 'stderr',
    log_line_prefix: '%m [%p] ',
    // Statements that fail are reported to Muster, which logs them; here they would put attribute values into a file.
    log_min_messages: 'log',
    log_min_error_statement: 'panic',
    log_error_verbosity: 'terse',
  }
  const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  return ['-D', place.cluster, ...options]
}

/** What the server and initdb see of our environment: no MUSTER_KEY, no PG* variable that would change what they do. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = ['PATH', 'SystemRoot', 'SystemDrive', 'TEMP', 'TMP', 'LD_LIBRARY_PATH']
  const environment: NodeJS.ProcessEnv = { TZ: 'UTC', LC_ALL: 'C' }
  for (const name of kept) {
    const value = process.env[name]
    if (value !== undefined) environment[name] = value
  }
  return environment
}

async function initdb(place: Place, binaries: Binaries, draft: string): Promise<void> {
  const common = ['-D', draft, '-U', serverRole, '-E', 'UTF8', '--no-locale', '--no-instructions']
  const authentication =
    place.user === undefined
      ? ['--auth=scram-sha-256', `--pwfile=${await makePassword(place)}`]
      : // Whoever can enter the socket's folder is the server's user or root; peer would refuse root.
        ['--auth-local=trust', '--auth-host=reject']
  // One syncfs makes the new files durable in no measurable time; file by file it takes 0.1 s more.
  const sync = process.platform === 'linux' ? ['--sync-method=syncfs'] : []
  try {
    await promisify(execFile)(binaries.initdb, [...common, ...authentication, ...sync], {
      cwd: place.home,
      env: serverEnvironment(),
      ...place.spawnAs,
    })
  } catch (cause) {
    throw new StoreError(
      'cluster_unusable',
      `The embedded database could not be made in ${place.home}: ${complaint(cause)}`,
      {
        hint: 'Set MUSTER_DATA_DIR to a folder on a local disk with 1 GB free, or set DATABASE_URL to a PostgreSQL of your own.',
        cause,
      },
    )
  }
}

/** The last words of a program that failed; for one that could not be run at all, the likely reason. */
export function complaint(error: unknown): string {
  if (systemCode(error) === 'ENOENT') {
    return 'the program does not run on this system (these binaries need glibc; Alpine has musl)'
  }
  if (systemCode(error) === 'EPERM' || systemCode(error) === 'EINVAL') {
    return 'root may not start a program as another user here; start Muster as an ordinary user instead'
  }
  if (error instanceof Error && 'stderr' in error && typeof error.stderr === 'string') {
    const lines = error.stderr.trim().split('\n')
    if (lines[0] !== '') return lines.slice(-5).join('; ')
  }
  return error instanceof Error ? error.message : String(error)
}

async function makePassword(place: Place): Promise<string> {
  const path = join(place.home, passwordName)
  await writeFile(path, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600 })
  return path
}

function reach(endpoint: Endpoint): Record<string, string> {
  if (endpoint.kind === 'loopback') {
    return { listen_addresses: '127.0.0.1', port: String(endpoint.port) }
  }
  return {
    listen_addresses: '',
    // The value is a list; the quotes keep a comma in the path from ending its first entry.
    unix_socket_directories: `"${endpoint.folder.replaceAll('"', '""')}"`,
    unix_socket_permissions: '0700',
  }
}

function sharedBuffersMb(): number {
  // A container's limit counts, not the memory of its host. Node says 0 or something huge when there is none.
  const limit = process.constrainedMemory()
  const memory = limit > 0 ? Math.min(limit, totalmem()) : totalmem()
  return Math.max(32, Math.min(1024, Math.floor(memory / 8 / megabyte)))
}

async function walMb(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  // The log may not fill a small disk: a full one stops the server.
  return Math.max(256, Math.min(4096, Math.floor((bavail * bsize) / 8 / megabyte)))
}

// A container has 64 MB of /dev/shm by default, and a parallel query then fails with "No space left on device".
async function sharedMemoryType(): Promise<string> {
  if (process.platform === 'win32') return 'windows'
  if (process.platform !== 'linux') return 'posix'
  try {
    const { blocks, bsize } = await statfs('/dev/shm')
    return blocks * bsize >= 256 * megabyte ? 'posix' : 'sysv'
  } catch {
    return 'sysv'
  }
}

async function removeEmpty(cluster: string): Promise<void> {
  try {
    await rmdir(cluster)
  } catch (cause) {
    const code = systemCode(cause)
    if (code === 'ENOENT') return
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw cause
    throw new StoreError('cluster_unusable', `${cluster} holds files but no database.`, {
      hint: 'Move them away, or set MUSTER_DATA_DIR to another folder.',
      cause,
    })
  }
}

async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
