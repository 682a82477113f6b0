// Who may do what with folders and files, read from their mode bits; matters when root starts a server that must not be root.
import { chmod, chown, lchown, lstat, mkdir, readdir, realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { StoreError, systemCode } from './store-error.ts'

/** The uid and gid that PostgreSQL runs with. */
export interface ServerUser {
  readonly uid: number
  readonly gid: number
}

const read = 4
const enter = 1

/** True when `user` may enter `path` and every folder above it; ACLs are not asked. */
export async function mayEnter(path: string, user: ServerUser): Promise<boolean> {
  let folder = await realpath(path)
  for (;;) {
    if (!(await allows(folder, user, enter))) return false
    const parent = dirname(folder)
    if (parent === folder) return true
    folder = parent
  }
}

/** True when `user` may read a file, or read and enter a folder. */
export async function mayRead(path: string, user: ServerUser): Promise<boolean> {
  const wanted = (await stat(path)).isDirectory() ? read | enter : read
  return allows(path, user, wanted)
}

/** Lets everybody read what lies below `path`, whatever umask it was made with. */
export async function openToRead(path: string): Promise<void> {
  const found = await lstat(path)
  if (found.isSymbolicLink()) return
  if (!found.isDirectory()) {
    await chmod(path, (found.mode & 0o777) | 0o444 | ((found.mode & 0o100) === 0 ? 0 : 0o111))
    return
  }
  await chmod(path, 0o755)
  for (const name of await readdir(path)) await openToRead(join(path, name))
}

/** Gives everything below `path` to `user`. */
export async function giveTo(path: string, user: ServerUser): Promise<void> {
  const found = await lstat(path)
  await lchown(path, user.uid, user.gid)
  if (!found.isDirectory()) return
  for (const name of await readdir(path)) await giveTo(join(path, name), user)
}

/** Makes a folder that only `user` may enter, or makes an existing one so. */
export async function makePrivate(path: string, user: ServerUser | undefined): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  if (user === undefined) return
  const found = await stat(path)
  if (found.uid !== user.uid || found.gid !== user.gid) await chown(path, user.uid, user.gid)
  if ((found.mode & 0o7777) !== 0o700) await chmod(path, 0o700)
}

/** Runs `work` on a folder and turns refusals of the file system into one error that names the folder and the way out. */
export async function onFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const reason = reasons[systemCode(error) ?? '']
    if (reason === undefined || !(error instanceof Error)) throw error
    throw new StoreError(
      'folder_unusable',
      `The data folder ${folder} cannot be used: ${reason} (${error.message}).`,
      {
        hint: 'Set MUSTER_DATA_DIR to a folder on a local disk that the user who starts Muster may write, or set DATABASE_URL to a PostgreSQL of your own.',
        cause: error,
      },
    )
  }
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'this user may not write it',
  EPERM: 'the system does not permit it',
  EROFS: 'it lies on a read-only file system',
  ENOTDIR: 'a part of its path is a file',
  EEXIST: 'a file has its name',
  ENOENT: 'a part of its path does not exist',
  ELOOP: 'its path goes in a circle',
  ENAMETOOLONG: 'its path is too long',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EIO: 'the disk reports errors',
  EINVAL: 'the owner of its files cannot be set',
}

async function allows(path: string, user: ServerUser, wanted: number): Promise<boolean> {
  const { mode, uid, gid } = await stat(path)
  // The first class that fits decides alone: an owner without the bit is refused even if everybody else has it.
  const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0
  return ((mode >> shift) & wanted) === wanted
}
