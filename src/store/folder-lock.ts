// A lock file that keeps a second Muster process off a data folder, and that outlives no process: a stale one is recognised.
import { randomBytes } from 'node:crypto'
import { type FileHandle, link, open, readFile, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isAlive, processScope, startTime } from './process-table.ts'
import { StoreError, systemCode } from './store-error.ts'

/** A folder that this process holds until `release`, which may be called more than once. */
export interface FolderLock {
  readonly path: string
  release(): Promise<void>
}

/** How often a holder touches its lock, and how long a start watches for that where a pid cannot decide. */
interface Rhythm {
  readonly heartbeatMs: number
  readonly watchMs: number
}

interface LockOptions {
  /** Called when the start has to watch the heartbeat of another container or host, which takes up to 15 s. */
  readonly onWatch?: (holder: string) => void
  readonly rhythm?: Rhythm
}

interface Holder {
  readonly pid: number
  readonly host: string
  readonly startTime: string | undefined
  readonly scope: string | undefined
}

const fileName = 'muster.lock'
const takeoverMs = 3_000
// Watching lasts three heartbeats, so that a holder whose thread is busy for some seconds is not taken for dead.
const usualRhythm: Rhythm = { heartbeatMs: 5_000, watchMs: 15_000 }

/**
 * Takes the lock of `folder`, which must exist. Refused with `folder_locked`, naming the pid, while another process (or
 * another part of this one) holds it. A lock that a dead process left is taken over: at once where the process table
 * decides, else (another container or host wrote it) after a look whether its heartbeat still moves.
 */
export async function lockFolder(folder: string, options: LockOptions = {}): Promise<FolderLock> {
  const rhythm = options.rhythm ?? usualRhythm
  const path = join(folder, fileName)
  const mark = randomBytes(6).toString('hex')
  const draft = `${path}.${process.pid}.${mark}`
  const me: Holder & { mark: string } = {
    pid: process.pid,
    host: hostname(),
    startTime: await startTime(process.pid),
    scope: await processScope(),
    mark,
  }
  const content = `${JSON.stringify(me)}\n`
  await writeDurably(draft, content)
  try {
    while (!(await claim(draft, path, content))) {
      const found = await readLock(path)
      if (found === undefined) continue
      if (await isHeld(path, found, me, { ...options, rhythm })) throw locked(folder, path, found)
      await removeStale(path, draft, found.content)
    }
  } finally {
    await rm(draft, { force: true })
  }
  return holdLock(path, content, rhythm)
}

/**
 * Who holds the lock of a folder, without waiting: `isAlive` is null where only a look at its heartbeat would tell, as with
 * a lock of another container. Null where there is no lock, or only one that a dead process left.
 */
export async function findHolder(
  folder: string,
): Promise<{ readonly who: string; readonly isAlive: boolean | null } | null> {
  const found = await readLock(join(folder, fileName))
  if (found === undefined) return null
  const { holder } = found
  if (holder?.host !== hostname() || holder.scope !== (await processScope())) {
    return { who: describe(holder), isAlive: null }
  }
  const lives =
    (await isAlive(holder.pid)) &&
    (holder.startTime === undefined || holder.startTime === (await startTime(holder.pid)))
  return lives ? { who: describe(holder), isAlive: true } : null
}

async function writeDurably(path: string, content: string): Promise<void> {
  const file = await open(path, 'wx', 0o644)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}

// A link appears with its whole content or not at all, so nobody ever reads half a lock.
async function claim(draft: string, path: string, content: string): Promise<boolean> {
  try {
    await link(draft, path)
    return true
  } catch (error) {
    const code = systemCode(error)
    if (code === 'EEXIST') return false
    if (code === undefined || !['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(code))
      throw error
  }
  // Some file systems (FAT, some network shares) have no hard links; there the file is created and then filled.
  try {
    await writeDurably(path, content)
    return true
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false
    throw error
  }
}

interface Found {
  readonly content: string
  readonly holder: Holder | undefined
  readonly touchedMs: number
}

async function readLock(path: string): Promise<Found | undefined> {
  try {
    const [content, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)])
    return { content, holder: parseHolder(content), touchedMs: mtimeMs }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function parseHolder(content: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(content)
    if (typeof value !== 'object' || value === null || !('pid' in value)) return undefined
    const { pid, host, startTime: started, scope } = value as Partial<Record<string, unknown>>
    if (typeof pid !== 'number') return undefined
    return {
      pid,
      host: typeof host === 'string' ? host : 'unknown',
      startTime: typeof started === 'string' ? started : undefined,
      scope: typeof scope === 'string' ? scope : undefined,
    }
  } catch {
    return undefined
  }
}

async function isHeld(
  path: string,
  found: Found,
  me: Holder,
  options: { readonly rhythm: Rhythm; readonly onWatch?: (holder: string) => void },
): Promise<boolean> {
  const { holder } = found
  const sameScope = holder?.scope === me.scope && holder?.host === me.host
  if (holder !== undefined && sameScope) {
    if (!(await isAlive(holder.pid))) return false
    // The id alone proves nothing: after a restart of a container Muster itself has the id of its predecessor.
    if (holder.startTime !== undefined) {
      return holder.startTime === (await startTime(holder.pid))
    }
  }
  options.onWatch?.(describe(holder))
  return heartbeatMoves(path, found, options.rhythm)
}

// The clocks of two hosts may differ, so what counts is whether the time of the file moves, not how old it is.
async function heartbeatMoves(path: string, found: Found, rhythm: Rhythm): Promise<boolean> {
  const deadline = performance.now() + rhythm.watchMs
  while (performance.now() < deadline) {
    await sleep(Math.min(250, rhythm.watchMs / 4))
    const now = await readLock(path)
    if (now === undefined) return false
    if (now.content !== found.content || now.touchedMs !== found.touchedMs) return true
  }
  return false
}

// Many starts may judge the same lock stale at once, and a slow one must not remove the new lock of a fast one (a test with
// twenty saw four winners). So removing is done by one at a time, who looks again whether it still is the lock that was judged.
async function removeStale(path: string, draft: string, content: string): Promise<void> {
  const turn = `${path}.takeover`
  if (!(await claim(draft, turn, content))) return waitForTurn(turn)
  try {
    const now = await readLock(path)
    if (now?.content === content) await rm(path, { force: true })
  } finally {
    await rm(turn, { force: true })
  }
}

// A turn lasts a millisecond. Whoever dies within it leaves the file, which is removed when it stays the same for long.
async function waitForTurn(turn: string): Promise<void> {
  const first = await readLock(turn)
  const deadline = performance.now() + takeoverMs
  while (first !== undefined) {
    const now = await readLock(turn)
    if (now?.content !== first.content) return
    if (performance.now() > deadline) return rm(turn, { force: true })
    await sleep(20)
  }
}

function describe(holder: Holder | undefined): string {
  if (holder === undefined) return 'another process'
  return holder.pid === process.pid && holder.host === hostname()
    ? `this process itself (pid ${holder.pid})`
    : `process ${holder.pid} on host ${holder.host}`
}

function locked(folder: string, path: string, found: Found): StoreError {
  return new StoreError(
    'folder_locked',
    `The data folder ${folder} is in use by ${describe(found.holder)}.`,
    {
      hint: `Stop that process, or set MUSTER_DATA_DIR to another folder. Several processes may share data only through DATABASE_URL. The lock is the file ${path}.`,
    },
  )
}

async function holdLock(path: string, content: string, rhythm: Rhythm): Promise<FolderLock> {
  // The handle stays with the file even if somebody renames it, so a heartbeat never touches a lock of somebody else.
  const file: FileHandle = await open(path, 'r+')
  const heartbeat = setInterval(() => {
    const now = new Date()
    // A missed heartbeat is harmless: it only matters to a start in another container, and the next one follows.
    file.utimes(now, now).catch(() => undefined)
  }, rhythm.heartbeatMs)
  heartbeat.unref()
  let released: Promise<void> | undefined
  const release = async (): Promise<void> => {
    clearInterval(heartbeat)
    await file.close()
    const found = await readLock(path)
    if (found?.content === content) await rm(path, { force: true })
  }
  return {
    path,
    release: () => (released ??= release()),
  }
}
