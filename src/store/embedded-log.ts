// The log file of the embedded server: bounded in size, and quoted when the server does not come up.
import { constants, copyFile, open, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import type { Place } from './embedded-place.ts'

/** An open log. The server writes to `descriptor` by itself, so it never waits for us. */
export interface ServerLog {
  readonly path: string
  readonly descriptor: number
  /** What was written since the last call of `mark`, at most 4 KB of its end. */
  tail(): Promise<string>
  mark(): Promise<void>
  close(): Promise<void>
}

const limitBytes = 8 * 2 ** 20
const tailBytes = 4096
const checkMs = 60_000

/**
 * Opens `postgres.log` beside the cluster for appending. Above 8 MB it is moved to `postgres.log.1`, looked at on opening
 * and once a minute, so both together stay small however long the server runs.
 */
export async function openLog(
  place: Place,
  onError: (error: unknown) => void,
  limit = { bytes: limitBytes, checkMs },
): Promise<ServerLog> {
  const path = join(place.home, 'postgres.log')
  // Root may write here into a folder of somebody else, so a link that they placed is not followed.
  const { O_APPEND, O_CREAT, O_WRONLY, O_NOFOLLOW } = constants
  const file = await open(path, O_APPEND | O_CREAT | O_WRONLY | (O_NOFOLLOW ?? 0), 0o600)
  if (place.spawnAs !== undefined) await file.chown(place.spawnAs.uid, place.spawnAs.gid)
  // The file is copied and emptied, not renamed, because the server keeps it open; O_APPEND lets it go on at the new end.
  const bound = async (): Promise<void> => {
    if ((await file.stat()).size <= limit.bytes) return
    await rm(`${path}.1`, { force: true })
    await copyFile(path, `${path}.1`, constants.COPYFILE_EXCL)
    await truncate(path, 0)
  }
  await bound()
  const timer = setInterval(() => void bound().catch(onError), limit.checkMs)
  timer.unref()
  let markBytes = 0
  return {
    path,
    descriptor: file.fd,
    mark: async () => {
      markBytes = (await file.stat()).size
    },
    tail: () => readEnd(path, markBytes),
    close: async () => {
      clearInterval(timer)
      await file.close()
    },
  }
}

async function readEnd(path: string, fromBytes: number): Promise<string> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const start = Math.max(size < fromBytes ? 0 : fromBytes, size - tailBytes)
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(size - start),
      0,
      size - start,
      start,
    )
    return buffer.toString('utf8', 0, bytesRead).trim()
  } finally {
    await file.close()
  }
}
