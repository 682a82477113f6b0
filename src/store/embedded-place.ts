// Where the embedded cluster lives and who runs it: the data folder and the starting user, with the detours that root needs.
import { createHash } from 'node:crypto'
import {
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  realpath,
  rmdir,
  stat,
  writeFile,
} from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { giveTo, makePrivate, mayEnter, onFolder, type ServerUser } from './folder-rights.ts'
import { StoreError, systemCode } from './store-error.ts'

/** The folders of one embedded server. */
export interface Place {
  /** Holds the cluster, the lock and the log; the data folder itself but for the detour below. */
  readonly home: string
  readonly cluster: string
  /** Where a copy of the programs may go. */
  readonly copyFolder: string
  /** Who runs the server; undefined on Windows. */
  readonly user: ServerUser | undefined
  /** The same, but only when it is somebody else than the user of this process. */
  readonly spawnAs: ServerUser | undefined
}

/** The port in the name of the Unix socket; nothing listens on TCP. */
export const socketPort = 5432

// `postgres` refuses to run as root; 65534 is the id that every system keeps for the user without rights.
const nobody: ServerUser = { uid: 65_534, gid: 65_534 }
const pointerName = 'postgres.location'
// What other parts of Muster may have put into a new data folder before the database came.
const ours = new Set(['key', 'spool'])

/**
 * Decides where the cluster of `dataDir` lives: in `<dataDir>/postgres`. Only when root starts us and the server's user
 * could not enter that folder (a checkout below /root or another private home), it lives in a folder of its own below
 * `elsewhere`; the file `postgres.location` then says so and is followed from then on, also after the folder was moved.
 */
export async function placeCluster(dataDir: string, elsewhere: string): Promise<Place> {
  const folder = resolve(dataDir)
  return onFolder(folder, async () => {
    const asRoot = process.getuid?.() === 0
    await mkdir(folder, { recursive: true, mode: asRoot ? 0o711 : 0o700 })
    const real = await realpath(folder)
    const home = (await readPointer(real)) ?? real
    if (home !== real) return placeAt(home, dirname(home))
    if (!asRoot) return placeAt(home, home)
    if (await isCluster(join(home, 'postgres'))) return placeAt(home, elsewhere)
    if ((await readdir(home)).every((name) => ours.has(name))) await letThrough(home)
    if (await mayEnter(home, nobody)) return placeAt(home, elsewhere)
    const other = join(elsewhere, hashOf(home))
    await makeShared(elsewhere)
    await makeShared(other)
    await writePointer(home, other)
    return placeAt(other, elsewhere)
  })
}

/** Where the cluster of a data folder is, without making or changing anything; undefined where there is none. */
export async function findCluster(
  dataDir: string,
): Promise<{ readonly home: string; readonly cluster: string } | undefined> {
  try {
    const folder = await realpath(resolve(dataDir))
    const home = await realpath((await readPointer(folder)) ?? folder)
    const cluster = join(home, 'postgres')
    return (await isCluster(cluster)) ? { home, cluster } : undefined
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** True when the folder holds a cluster. */
export async function isCluster(cluster: string): Promise<boolean> {
  try {
    return (await stat(join(cluster, 'PG_VERSION'))).isFile()
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}

/**
 * Makes sure that the server's user owns the cluster: a copy that root made belongs to root and is given back to that
 * user; a cluster of another user is refused when we may not change that.
 */
export async function ownCluster(place: Place): Promise<void> {
  const { user, cluster, home } = place
  if (user === undefined) return
  const found = await stat(cluster)
  if (found.uid !== user.uid) {
    if (place.spawnAs === undefined) {
      throw new StoreError(
        'cluster_unusable',
        `The database in ${cluster} belongs to uid ${found.uid}, but Muster runs as uid ${user.uid}.`,
        { hint: `Start Muster as that user, or give it the folder: chown -R ${user.uid} ${home}` },
      )
    }
    await giveTo(cluster, user)
  }
  // The server refuses to start on a folder that others may enter, which is what a copy often looks like.
  if ((found.mode & 0o077) !== 0) await chmod(cluster, 0o700)
  if (!(await mayEnter(home, user))) {
    throw new StoreError(
      'cluster_unusable',
      `The database in ${cluster} belongs to uid ${user.uid}, who may not enter ${home}.`,
      { hint: 'Let that user through (chmod o+x on the folders of that path), or move the data.' },
    )
  }
}

/**
 * Gives a private folder for the Unix socket, beside the cluster where its path is short enough. The system takes at most
 * 107 bytes (103 on macOS) for a socket; a longer path gets a folder below /tmp that is ours and closed to others.
 */
export async function socketFolder(place: Place): Promise<string> {
  const limit = process.platform === 'linux' ? 107 : 103
  const beside = join(place.home, 'run')
  if (Buffer.byteLength(join(beside, `.s.PGSQL.${socketPort}`)) <= limit) {
    await onFolder(place.home, () => makePrivate(beside, place.user))
    return beside
  }
  const short = `/tmp/muster-${place.user?.uid ?? 0}-${hashOf(place.home)}`
  await onFolder(short, async () => {
    await mkdir(short, { mode: 0o700 }).catch((error: unknown) => {
      if (systemCode(error) !== 'EEXIST') throw error
    })
    await refuseForeign(short, place)
    await makePrivate(short, place.user)
  })
  return short
}

/** Removes a socket folder that `socketFolder` made, when the server has left it empty. */
export async function removeSocketFolder(folder: string): Promise<void> {
  await rmdir(folder).catch((error: unknown) => {
    const code = systemCode(error)
    if (code !== 'ENOTEMPTY' && code !== 'ENOENT') throw error
  })
}

// Anybody may put a folder of this name into /tmp; whoever owns it owns the connections made through it.
async function refuseForeign(folder: string, place: Place): Promise<void> {
  const found = await lstat(folder)
  const owners = [place.user?.uid, process.getuid?.()]
  if (found.isDirectory() && owners.includes(found.uid) && (found.mode & 0o077) === 0) return
  throw new StoreError(
    'folder_unusable',
    `The folder ${folder} for the database's socket exists and is not a private folder of ours.`,
    { hint: 'Remove it, or set MUSTER_DATA_DIR to a folder with a shorter path.' },
  )
}

async function placeAt(folder: string, copyFolder: string): Promise<Place> {
  // The system names a process's working folder without links, and orphans are recognised by it.
  const home = await realpath(folder)
  const cluster = join(home, 'postgres')
  const uid = process.getuid?.()
  const gid = process.getgid?.()
  if (uid === undefined || gid === undefined) {
    return { home, cluster, copyFolder, user: undefined, spawnAs: undefined }
  }
  if (uid !== 0) return { home, cluster, copyFolder, user: { uid, gid }, spawnAs: undefined }
  const user = await ownerOf(cluster)
  return { home, cluster, copyFolder, user, spawnAs: user }
}

// A cluster that an ordinary user made before stays theirs when root starts us.
async function ownerOf(cluster: string): Promise<ServerUser> {
  if (!(await isCluster(cluster))) return nobody
  const { uid, gid } = await stat(cluster)
  return uid === 0 ? nobody : { uid, gid }
}

async function makeShared(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  // Said once more for root with a strict umask.
  await chmod(folder, 0o755)
}

// A folder with nothing but our own files is ours to open; one with somebody's files in it is not.
async function letThrough(folder: string): Promise<void> {
  const found = await stat(folder)
  if (found.uid === 0) await chmod(folder, (found.mode & 0o777) | 0o011)
}

async function readPointer(folder: string): Promise<string | undefined> {
  try {
    const [first] = (await readFile(join(folder, pointerName), 'utf8')).split('\n')
    return first === undefined || first === '' ? undefined : first
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

async function writePointer(folder: string, home: string): Promise<void> {
  const text = `${home}
The database of this data folder lives in the folder above, because Muster was started by root and PostgreSQL, which
does not run as root, could not enter this folder. A backup needs both folders. Keep this file.
`
  // Another process that starts at the same moment writes the same text.
  await writeFile(join(folder, pointerName), text, { mode: 0o644 })
}

function hashOf(path: string): string {
  return createHash('sha256').update(path).digest('hex').slice(0, 16)
}
