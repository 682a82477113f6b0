// Sends one file to one source, for the commands that aggregate.
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Client, LoadAccountsTask, ReadMode, UploadFile } from '../client/index.ts'
import { CliError, exitCodes } from './exit-code.ts'

/** What the options of `aggregate` say of an upload. */
export interface UploadOptions {
  readonly disableOptimization?: boolean
  readonly mode?: ReadMode
  readonly strict?: boolean
}

// Uploads of a file in pieces of 1 MiB took 0.6 s per 131 MB, in those of 64 KiB 0.8 s (2026-11-22).
const pieceBytes = 1024 * 1024

/** The file to upload, `-` for standard input. It is read anew when an upload has to be repeated. */
export async function openUpload(path: string): Promise<UploadFile> {
  if (path === '-') return { content: process.stdin, name: 'stdin.csv' }
  try {
    const info = await stat(path)
    if (!info.isFile()) throw new Error(`${path} is no file`)
    const content = () => createReadStream(path, { highWaterMark: pieceBytes })
    return { content, name: basename(path), bytes: info.size }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CliError(exitCodes.usage, `The file cannot be read: ${reason}.`)
  }
}

/** Starts a run. Ctrl-C stops it as long as not all of the file has been sent, and says what became of it. */
export async function upload(
  client: Client,
  sourceId: string,
  file: UploadFile | undefined,
  options: UploadOptions,
  onProgress: (sentBytes: number, totalBytes: number | null) => void,
): Promise<LoadAccountsTask> {
  const stop = new AbortController()
  let isSent = file === undefined
  const interrupt = (): void => {
    const [message, hint] = isSent
      ? (['Stopped before the server answered; a run may have begun.', seeTasks] as const)
      : (['The upload was stopped; nothing was changed.', null] as const)
    stop.abort(new CliError(exitCodes.interrupted, message, hint))
  }
  process.once('SIGINT', interrupt)
  try {
    return await client.loadAccounts(sourceId, {
      signal: stop.signal,
      ...(file !== undefined && { file }),
      ...(options.disableOptimization === true && { disableOptimization: true }),
      ...(options.mode !== undefined && { mode: options.mode }),
      ...(options.strict === true && { strict: true }),
      onProgress: (sent, total) => {
        isSent = sent === total
        onProgress(sent, total)
      },
    })
  } finally {
    process.off('SIGINT', interrupt)
  }
}

const seeTasks = '`muster task list` shows it, `muster task cancel <id>` stops it.'
