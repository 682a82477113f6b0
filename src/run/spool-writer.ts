// Writes what a reader gives into a spool file as CSV without a header, as it was read; the collecting thread takes it from there.
import { createHash } from 'node:crypto'
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import type { ReadRecord, ReadValue, WantedAttribute } from '../connect/reader.ts'
import { RunError } from '../core/errors.ts'
import { flagsName, identityName, keyName, recordFlags } from '../core/layout.ts'
import type { SystemRead } from './system-messages.ts'

const flushBytes = 1 << 20

/** A spool file that is being written. */
export interface SpoolWriter {
  write(record: ReadRecord): void
  /** Takes rows that are CSV already. */
  writeRaw(bytes: Uint8Array): void
  /** Makes the file durable and tells what is in it; the records and columns are those that were written here. */
  finish(): Pick<SystemRead, 'records' | 'bytes' | 'sha256' | 'columns' | 'shortened'>
  close(): void
}

/** Opens a new file. `onProgress` is called after each MiB and may throw to end the read. */
export function openSpoolWriter(options: {
  readonly path: string
  readonly attributes: readonly WantedAttribute[]
  /** Whether a record without a key of its own is known by its identity in lower case. */
  readonly foldsCase: boolean
  readonly limitBytes: number
  readonly onProgress: (records: number, bytes: number) => void
}): SpoolWriter {
  const { attributes, foldsCase, limitBytes } = options
  const file = openSync(options.path, 'wx', 0o600)
  const hash = createHash('sha256')
  const shortened = new Set<string>()
  let keyed: boolean | null = null
  let rows: string[] = []
  let length = 0
  let records = 0
  let bytes = 0

  const put = (block: Uint8Array): void => {
    bytes += block.length
    if (bytes > limitBytes) throw tooLong(limitBytes)
    hash.update(block)
    try {
      for (let at = 0; at < block.length;) at += writeSync(file, block, at)
    } catch (error) {
      throw fullDisk(error)
    }
    options.onProgress(records, bytes)
  }

  const flush = (): void => {
    if (rows.length > 0) put(Buffer.from(rows.join('')))
    rows = []
    length = 0
  }

  const cell = (value: ReadValue | undefined, index: number): string => {
    if (value === null || value === undefined) return ''
    const attribute = attributes[index]
    if (attribute?.isMulti === true) {
      const list = typeof value === 'string' ? [value] : value
      return list.length === 0 ? '' : quoted(JSON.stringify(list))
    }
    if (typeof value === 'string') return quoted(value)
    if (value.length > 1 && attribute !== undefined) shortened.add(attribute.name)
    return quoted(value[0] ?? '')
  }

  const line = (record: ReadRecord): string => {
    const key = record.key ?? (foldsCase ? record.identity.toLowerCase() : undefined)
    keyed ??= key !== undefined
    if (keyed !== (key !== undefined)) {
      throw new RunError('connector_failed', 'Only some of the records have a key of their own.', {
        hint: 'This is a fault of the connector: a reader gives keys for all records or for none.',
      })
    }
    let text = `${key === undefined ? '' : `${quoted(key)},`}${quoted(record.identity)},${flagsOf(record)}`
    for (let index = 0; index < attributes.length; index += 1) {
      text += `,${cell(record.values[index], index)}`
    }
    return `${text}\n`
  }

  return {
    write: (record) => {
      const text = line(record)
      rows.push(text)
      length += text.length
      records += 1
      if (length >= flushBytes) flush()
    },
    writeRaw: put,
    finish: () => {
      flush()
      fdatasyncSync(file)
      const columns = [
        ...(keyed === true ? [keyName] : []),
        identityName,
        flagsName,
        ...attributes.map((attribute) => attribute.name),
      ]
      const read = { records, bytes, columns, shortened: [...shortened] }
      options.onProgress(records, bytes)
      return { ...read, sha256: hash.digest('hex') }
    },
    close: () => closeSync(file),
  }
}

/** A cell of RFC 4180. */
function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

function flagsOf(record: ReadRecord): string {
  return (
    (record.disabled === true ? recordFlags.disabled : '') +
    (record.locked === true ? recordFlags.locked : '') +
    (record.deleted === true ? recordFlags.deleted : '')
  )
}

function tooLong(limitBytes: number): RunError {
  return new RunError(
    'read_too_large',
    `The system gave more than the limit of ${limitBytes} bytes.`,
    {
      hint: 'Read less (a filter, fewer attributes), or raise MUSTER_MAX_UPLOAD_BYTES.',
    },
  )
}

function fullDisk(error: unknown): unknown {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error
  return new RunError('no_space', 'The disk of the spool folder is full.', {
    hint: 'Free space on the disk of the spool folder and run again.',
    temporary: true,
    cause: error,
  })
}
