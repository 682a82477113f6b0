// Uploads that are gzip: unpacked into a file beside them before the run reads them, with a limit, in little memory.
import { closeSync, createReadStream, openSync, readSync } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { createGunzip } from 'node:zlib'
import { RunError } from '../core/errors.ts'

/** In blocks of 16 KiB, which is what streams begin with, unpacking is mostly waiting. */
const blockBytes = 1 << 18

/**
 * Whether a file begins as gzip does. Its bytes decide: clients name their files as they like, or not at all. A file that
 * cannot be opened is none; whoever reads it then says why.
 */
export function isGzip(path: string): boolean {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    return false
  }
  try {
    const head = Buffer.alloc(2)
    return readSync(file, head, 0, 2, 0) === 2 && head[0] === 0x1f && head[1] === 0x8b
  } finally {
    closeSync(file)
  }
}

/**
 * Unpacks a gzip file, of one member or several, into a new file, and gives the length of that. Throws `bad_gzip` when it
 * is cut, damaged, or followed by something else, `unpacked_too_large` above the limit, `no_space` when the disk is full,
 * and the reason of the signal. What was written until then is left for the caller to remove.
 */
export async function unpack(
  path: string,
  target: string,
  limitBytes: number,
  signal: AbortSignal,
  onProgress: (packed: number) => void,
): Promise<number> {
  const { size } = await stat(path)
  const file = await open(target, 'wx', 0o600).catch((error: unknown) => {
    throw readable(error)
  })
  const gunzip = createGunzip({ chunkSize: blockBytes })
  const source = createReadStream(path, { highWaterMark: blockBytes })
  source.on('error', (error) => gunzip.destroy(error))
  const stop = (): void => {
    gunzip.destroy(new Error('stopped'))
  }
  signal.addEventListener('abort', stop)
  let bytes = 0
  try {
    // By hand, because a pipeline that fails sometimes says no more than that it was aborted (Node.js 20.20).
    for await (const chunk of source.pipe(gunzip)) {
      signal.throwIfAborted()
      const block = chunk as Buffer
      bytes += block.length
      if (bytes > limitBytes) throw tooLarge(limitBytes)
      for (let at = 0; at < block.length;) at += (await file.write(block, at)).bytesWritten
      onProgress(gunzip.bytesWritten)
    }
  } catch (error) {
    signal.throwIfAborted()
    throw readable(error)
  } finally {
    signal.removeEventListener('abort', stop)
    source.destroy()
    gunzip.destroy()
    await file.close()
  }
  // What follows the last member is an error of its own, but for zeros, which zlib leaves lying without a word.
  if (gunzip.bytesWritten !== size) {
    throw badGzip(`Behind its end are ${size - gunzip.bytesWritten} more bytes.`)
  }
  return bytes
}

function badGzip(reason: string, cause?: unknown): RunError {
  return new RunError('bad_gzip', `The gzip file cannot be unpacked. ${reason}`, {
    hint: 'Pack the file again, test it with "gzip -t", and send it again.',
    cause,
  })
}

function tooLarge(limitBytes: number): RunError {
  return new RunError(
    'unpacked_too_large',
    `The gzip file holds more than the limit of ${limitBytes} bytes.`,
    {
      hint: 'Split the file, or raise MUSTER_MAX_UPLOAD_BYTES, which counts what a packed file holds too.',
    },
  )
}

/** What zlib and the disk say, in words. */
function readable(error: unknown): unknown {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  switch (code) {
    case 'Z_BUF_ERROR':
      return badGzip('It ends too early: it was cut.', error)
    case 'Z_DATA_ERROR': {
      const message = error instanceof Error ? error.message : ''
      return message === 'incorrect data check' || message === 'incorrect length check'
        ? badGzip('Its checksum is wrong: it was damaged on its way.', error)
        : badGzip(`It is damaged, or something follows its end (${message}).`, error)
    }
    case 'Z_NEED_DICT':
      return badGzip('It needs a dictionary.', error)
    case 'ENOSPC':
    case 'EDQUOT':
      return new RunError('no_space', 'The disk of the spool folder is full.', {
        hint: 'Free space on the disk of the spool folder and run again.',
        temporary: true,
        cause: error,
      })
    default:
      return error
  }
}
