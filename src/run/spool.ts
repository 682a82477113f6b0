// The folder that uploads lie in between their arrival and their run: written once, hashed and synced, then removed.
import { createHash, randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { RequestError } from '../core/errors.ts'
import { type FolderLock, lockFolder } from '../store/folder-lock.ts'
import { StoreError } from '../store/store-error.ts'

/** An upload that lies in the spool and belongs to a run. */
export interface SpooledFile {
  /** The name inside the spool folder, which `Spool.path` makes a path of. */
  readonly name: string
  readonly bytes: number
  /** 64 lower-case hex digits. */
  readonly sha256: string
  /** What the client called its file; a label for people, never a path. */
  readonly fileName: string | null
}

/** What `receive` wrote. */
export interface ReceivedFile {
  readonly name: string
  readonly bytes: number
  readonly sha256: string
  /** The first bytes, 64 at most, for checks of what was sent. */
  readonly head: Uint8Array
}

/** A place in the spool that one attempt writes to and reads from. */
export interface SpoolPlace {
  readonly path: string
  forget(): Promise<void>
}

/** The spool folder of this host. */
export interface Spool {
  /** The id of this host's spool, the same after a restart; `shared` when every host sees the same folder. */
  readonly node: string
  /**
   * Writes a stream to a new file and resolves when it survives a power loss. Throws `too_large` above `limitBytes`,
   * `no_space` when the disk is full, and the error of the stream when that fails; nothing is left in these cases.
   */
  receive(stream: AsyncIterable<Uint8Array>, limitBytes: number): Promise<ReceivedFile>
  /** A path to write a file to that belongs to an attempt: kept from the sweep until `forget` removes it. */
  reserve(): SpoolPlace
  /** Where a received file lies. */
  path(name: string): string
  /** Removes a received file; it is no error when it is gone. */
  remove(name: string): Promise<void>
  /**
   * Removes files that are not in `keep` and were last written more than `olderThanMs` ago; gives their number. In a
   * folder that is ours alone, what lay there when it was opened was left by a dead process and goes at once.
   */
  sweep(keep: ReadonlySet<string>, olderThanMs: number): Promise<number>
  /** The files of uploads and reads that lie there now, whole or not. */
  usage(): Promise<{ readonly files: number; readonly bytes: number }>
}

const nodeIdFile = 'node-id'
const finalName = /^upload-[0-9a-f]{32}$/
const partialName = /^incoming-[0-9a-f]{32}\.part$/
// One write per MiB: single writes of 64 KiB spend more time in the thread pool's queue than in the kernel.
const writeBytes = 1024 * 1024
// A client may send its file byte by byte; more buffers than this are written before the MiB is full.
const writeBuffers = 512

/**
 * Keeps other processes off a folder that is not shared: each would take the uploads and the runs of the other for those
 * of its dead predecessor. Throws a StoreError that names the pid.
 */
export async function lockSpool(dir: string): Promise<FolderLock> {
  await prepare(dir)
  try {
    return await lockFolder(dir)
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'folder_locked') throw error
    throw new StoreError(error.code, error.message.replace('data folder', 'spool folder'), {
      hint: 'Stop that process, give each process a MUSTER_DATA_DIR or MUSTER_SPOOL_DIR of its own, or set MUSTER_SPOOL_SHARED=true for all of them.',
      cause: error,
    })
  }
}

/** Opens the folder, making it where it is missing. Throws when this process cannot write there. */
export async function openSpool(options: {
  readonly dir: string
  readonly shared: boolean
}): Promise<Spool> {
  const { dir, shared } = options
  await prepare(dir)
  const node = shared ? 'shared' : await nodeId(dir)
  const left = new Set(shared ? [] : await readdir(dir))
  const receiving = new Set<string>()
  return {
    node,
    receive: async (stream, limitBytes) => {
      const id = randomUUID().replaceAll('-', '')
      const partial = `incoming-${id}.part`
      receiving.add(partial)
      try {
        const written = await write(stream, join(dir, partial), limitBytes)
        const name = `upload-${id}`
        await rename(join(dir, partial), join(dir, name))
        await syncFolder(dir)
        return { name, ...written }
      } catch (error) {
        await rm(join(dir, partial), { force: true })
        await rm(join(dir, `upload-${id}`), { force: true })
        throw readable(error)
      } finally {
        receiving.delete(partial)
      }
    },
    reserve: () => {
      const name = `incoming-${randomUUID().replaceAll('-', '')}.part`
      receiving.add(name)
      return {
        path: join(dir, name),
        forget: async () => {
          await rm(join(dir, name), { force: true })
          receiving.delete(name)
        },
      }
    },
    path: (name) => {
      if (!finalName.test(name)) throw new Error(`"${name}" is not the name of a spooled file`)
      return join(dir, name)
    },
    remove: async (name) => {
      if (finalName.test(name)) await rm(join(dir, name), { force: true })
    },
    sweep: async (keep, olderThanMs) => {
      const oldest = Date.now() - olderThanMs
      let removed = 0
      for (const name of await readdir(dir)) {
        const orphan = finalName.test(name) ? !keep.has(name) : partialName.test(name)
        if (!orphan || receiving.has(name)) continue
        const info = await stat(join(dir, name)).catch(() => null)
        if (info === null || (info.mtimeMs > oldest && !left.has(name))) continue
        await rm(join(dir, name), { force: true })
        removed += 1
      }
      return removed
    },
    usage: async () => {
      const names = (await readdir(dir)).filter(
        (name) => finalName.test(name) || partialName.test(name),
      )
      const sizes = await Promise.all(
        // One that is removed meanwhile holds nothing any more.
        names.map((name) =>
          stat(join(dir, name)).then(
            ({ size }) => size,
            () => 0,
          ),
        ),
      )
      return { files: names.length, bytes: sizes.reduce((sum, size) => sum + size, 0) }
    },
  }
}

async function prepare(dir: string): Promise<void> {
  const probe = join(dir, `probe-${randomUUID()}`)
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    await writeFile(probe, '', { mode: 0o600 })
    await rm(probe)
  } catch (error) {
    throw new Error(`The spool folder ${dir} cannot be written: ${reason(error)}`, { cause: error })
  }
}

/** Reads the id of this spool, drawing it on the first start; two processes that start at once get the same. */
async function nodeId(dir: string): Promise<string> {
  const path = join(dir, nodeIdFile)
  const known = await readFile(path, 'utf8').catch(() => '')
  if (/^[0-9a-f]{32}$/.test(known.trim())) return known.trim()
  const drawn = randomUUID().replaceAll('-', '')
  const draft = `${path}-${drawn}`
  await writeFile(draft, `${drawn}\n`, { mode: 0o600, flush: true })
  try {
    // A link fails where the name exists, so of two processes exactly one decides; a rename would replace the other's id.
    if (known === '') await link(draft, path)
    else await rename(draft, path)
  } catch (error) {
    const other = await readFile(path, 'utf8').catch(() => '')
    if (!/^[0-9a-f]{32}$/.test(other.trim())) throw error
    return other.trim()
  } finally {
    await rm(draft, { force: true })
  }
  await syncFolder(dir)
  return drawn
}

/** Writes, hashes and syncs one file. While a block is on its way to the disk, the next is received and hashed. */
async function write(
  stream: AsyncIterable<Uint8Array>,
  path: string,
  limitBytes: number,
): Promise<{ bytes: number; sha256: string; head: Uint8Array }> {
  // Hashing here costs 2.8–4.3 ms per MiB without the SHA instructions of newer processors (2026-11-22), in steps
  // of one socket read (64 KiB, 0.2 ms), so the event loop is never held for long.
  const hash = createHash('sha256')
  const head: Uint8Array[] = []
  let headBytes = 0
  let bytes = 0
  let pending: Uint8Array[] = []
  let pendingBytes = 0
  const file = await open(path, 'wx', 0o600)
  let writing: Promise<void> = Promise.resolve()
  try {
    for await (const chunk of stream) {
      bytes += chunk.length
      if (bytes > limitBytes) throw tooLarge(limitBytes)
      if (headBytes < 64) {
        head.push(chunk.slice(0, 64 - headBytes))
        headBytes += chunk.length
      }
      hash.update(chunk)
      pending.push(chunk)
      pendingBytes += chunk.length
      if (pendingBytes < writeBytes && pending.length < writeBuffers) continue
      await writing
      writing = writeAll(file, pending)
      // The failure is met at the next await; until then it must not count as unhandled.
      writing.catch(() => {})
      pending = []
      pendingBytes = 0
    }
    await writing
    if (pendingBytes > 0) await writeAll(file, pending)
    await file.datasync()
  } finally {
    await writing.catch(() => {})
    await file.close()
  }
  return { bytes, sha256: hash.digest('hex'), head: Buffer.concat(head) }
}

async function writeAll(file: FileHandle, buffers: readonly Uint8Array[]): Promise<void> {
  const { bytesWritten } = await file.writev(buffers)
  const total = buffers.reduce((sum, buffer) => sum + buffer.length, 0)
  if (bytesWritten === total) return
  // The kernel took a part only, as on a disk that is just becoming full: the rest says why, or goes through.
  const rest = Buffer.concat(buffers).subarray(bytesWritten)
  for (let at = 0; at < rest.length;) at += (await file.write(rest, at)).bytesWritten
}

/** Makes names in the folder durable. Windows cannot open a folder and keeps names durable by itself. */
async function syncFolder(dir: string): Promise<void> {
  if (process.platform === 'win32') return
  const folder = await open(dir, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** The error of a file above the limit. */
export function tooLarge(limitBytes: number): RequestError {
  return new RequestError(
    'too_large',
    `The file is larger than the limit of ${limitBytes} bytes.`,
    {
      hint: 'Split the file, or let the operator raise the upload limit of this server.',
    },
  )
}

function readable(error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error
  return new RequestError('no_space', 'The disk of the spool folder is full.', { cause: error })
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
