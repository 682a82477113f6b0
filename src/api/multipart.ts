// Reads a multipart/form-data body: fields into memory, the one file into the spool, and nothing kept that did not arrive whole.
import { Dicer } from '@fastify/busboy'
import type { IncomingMessage } from 'node:http'
import type { RequestError } from '../core/errors.ts'
import type { ReceivedFile, Spool, SpooledFile } from '../run/spool.ts'
import { tooLarge } from '../run/spool.ts'
import { chunkQueue } from './chunk-queue.ts'
import type { ChunkQueue } from './chunk-queue.ts'
import {
  badForm,
  label,
  maxHeaderBytes,
  maxHeaderPairs,
  parameter,
  readPartHeader,
} from './part-header.ts'
import type { PaceRule } from './request-body.ts'
import { announcedBytes, receiveBody } from './request-body.ts'

/** What a form held. */
export interface Form {
  readonly fields: ReadonlyMap<string, string>
  readonly file: SpooledFile | null
}

/** What is taken from a form, and where its file goes. */
export interface FormRules {
  /** Names of the parts that are the file, whether they carry a file name or not. */
  readonly fileParts: readonly string[]
  /** The longest file, in bytes. */
  readonly limitBytes: number
  readonly spool: Pick<Spool, 'receive' | 'remove'>
  /** What is thrown when a file begins in a form that may have none. */
  readonly refuseFile?: () => RequestError
  readonly pace?: PaceRule
}

/** Bytes that framing and fields may add to the file. */
export const formOverheadBytes = 256 * 1024

const maxParts = 20
const maxFieldBytes = 64 * 1024
const aheadBytes = 1024 * 1024

/**
 * Reads the form of a request. Throws `bad_multipart`, `too_large` or `no_space`, and then nothing is left of the
 * file. A form without any part, and a body of no bytes, are a form without fields.
 */
export async function readForm(request: IncomingMessage, rules: FormRules): Promise<Form> {
  if (announcedBytes(request) === 0) return { fields: new Map(), file: null }
  const boundary = parameter(request.headers['content-type'] ?? '', 'boundary')
  if (boundary === null || !/^[\x20-\x7e]{1,200}$/.test(boundary)) {
    return readBoundless(request, rules)
  }
  const parts = openParts(boundary, rules)
  try {
    const tail = keepTail(Buffer.from(`\r\n--${boundary}`))
    const bytes = await receiveBody(
      request,
      {
        limitBytes: rules.limitBytes + formOverheadBytes,
        tooLarge: () => tooLarge(rules.limitBytes),
        signal: parts.stopped,
        ...(rules.pace && { pace: rules.pace }),
      },
      (chunk) => {
        tail.see(chunk)
        return parts.feed(chunk)
      },
    )
    if (bytes === 0) return { fields: new Map(), file: null }
    // Clients that write their form by hand leave out the last two dashes (contract.md section 8.12). The transport
    // says that everything came, and it ends with a delimiter, so no part can be cut: the dashes are added for them.
    if (tail.isDelimiter()) await parts.feed(Buffer.from('--\r\n'))
    return await parts.finish()
  } catch (error) {
    await parts.undo(error)
    throw error
  }
}

/** A form without a boundary is fine as long as it is empty: Go clients send the header alone (contract.md section 6.2). */
async function readBoundless(request: IncomingMessage, rules: FormRules): Promise<Form> {
  const refuse = (): RequestError =>
    badForm(
      'The Content-Type of the request names no usable boundary, so the parts of its body cannot be told apart.',
      'Let the HTTP library write the Content-Type of the form: it adds "; boundary=…" by itself.',
    )
  await receiveBody(
    request,
    { limitBytes: 0, tooLarge: refuse, ...(rules.pace && { pace: rules.pace }) },
    () => undefined,
  )
  return { fields: new Map(), file: null }
}

/** Remembers the last bytes of a body, to tell whether they are the delimiter. */
function keepTail(delimiter: Buffer): { see(chunk: Buffer): void; isDelimiter(): boolean } {
  let tail: Buffer = Buffer.alloc(0)
  return {
    see: (chunk) => {
      const seen = chunk.length < delimiter.length ? Buffer.concat([tail, chunk]) : chunk
      tail = Buffer.from(seen.subarray(-delimiter.length))
    },
    isDelimiter: () => tail.equals(delimiter),
  }
}

interface Parts {
  /** Aborted, with the reason, as soon as a part is wrong. */
  readonly stopped: AbortSignal
  /** Takes the next bytes of the body; a promise asks for a pause. */
  feed(chunk: Buffer): Promise<void> | undefined
  /** The body is complete: waits until the file is durable. */
  finish(): Promise<Form>
  /** Throws away what was received. */
  undo(error: unknown): Promise<void>
}

interface ArrivingFile {
  readonly fileName: string | null
  readonly done: Promise<ReceivedFile>
  readonly queue: ChunkQueue
}

function openParts(boundary: string, rules: FormRules): Parts {
  const stop = new AbortController()
  const stopped = stop.signal
  const fail = (error: unknown): void => stop.abort(error)
  const fields = new Map<string, Promise<string>>()
  let file: ArrivingFile | null = null
  let count = 0
  let headless = false

  const take = (part: Dicer.PartStream, header: object): void => {
    const { name, fileName } = readPartHeader(header, count)
    if (rules.fileParts.includes(name)) {
      if (rules.refuseFile !== undefined) throw rules.refuseFile()
      if (file !== null) throw badForm('The form holds more than one file.')
      file = takeFile(part, fileName, rules, fail)
    } else if (fileName !== null && fileName !== '') {
      const expected = rules.fileParts[0] ?? 'file'
      throw badForm(
        `The file is in the part "${label(name)}"; it must be in the part "${expected}".`,
      )
    } else if (fields.has(name)) {
      throw badForm(`The form holds the field "${label(name)}" twice.`)
    } else fields.set(name, takeField(part, name, fail))
  }

  // Dicer is the parser inside Busboy. Busboy itself drops what it does not understand in silence (a part without a
  // name, a header cut at its limit) and takes a file without a file name for a field, which it cuts at 1 MiB.
  const dicer = new Dicer(dicerOptions(boundary))
  dicer.on('part', (part) => {
    // An early end raises an error on the part as well as on the parser; the parser's is the one that counts.
    part.on('error', () => {})
    if (headless) fail(badForm(`Part ${count} of the form has no complete header.`))
    count += 1
    if (count > maxParts) fail(badForm(`The form has more than ${maxParts} parts.`))
    if (stopped.aborted) return void part.resume()
    headless = true
    part.on('header', (header) => {
      headless = false
      try {
        take(part, header)
      } catch (error) {
        part.resume()
        fail(error)
      }
    })
  })
  dicer.on('error', () => fail(cutOff(count)))
  const ended = new Promise<void>((resolve) => {
    dicer.on('finish', resolve)
  })
  const aborted = new Promise<never>((_, reject) => {
    stopped.addEventListener('abort', () => reject(stopped.reason))
  })
  aborted.catch(() => {})

  return {
    stopped,
    feed: (chunk) => {
      // Without a pause of its own (see dicerOptions) the parser is done with the chunk when `write` returns.
      dicer.write(chunk)
      return file?.queue.full()
    },
    finish: async () => {
      dicer.end()
      await Promise.race([ended, aborted])
      if (headless) throw badForm(`Part ${count} of the form has no complete header.`)
      const entries = [...fields].map(async ([name, text]) => [name, await text] as const)
      const values = await Promise.race([Promise.all(entries), aborted])
      const received = await file?.done
      stopped.throwIfAborted()
      if (received === undefined) return { fields: new Map(values), file: null }
      return { fields: new Map(values), file: checkFile(received, file?.fileName ?? null) }
    },
    undo: async (error) => {
      fail(error)
      file?.queue.fail(error)
      const received = await file?.done.catch(() => undefined)
      if (received !== undefined) await rules.spool.remove(received.name)
    },
  }
}

/** The options of Dicer, with those that its types leave out. */
function dicerOptions(boundary: string): Dicer.Config {
  const options = {
    boundary,
    maxHeaderPairs,
    maxHeaderSize: maxHeaderBytes,
    // Never full: a pause that begins while a delimiter is met at the very start of a chunk is never lifted by Dicer.
    // The queue between it and the spool does the holding back instead.
    partHwm: Number.MAX_SAFE_INTEGER,
  }
  return options
}

function takeFile(
  part: Dicer.PartStream,
  fileName: string | null,
  rules: FormRules,
  fail: (error: unknown) => void,
): ArrivingFile {
  const queue = chunkQueue(aheadBytes)
  const done = rules.spool.receive(queue.chunks, rules.limitBytes)
  done.catch((error: unknown) => {
    queue.fail(error)
    fail(error)
  })
  part.on('data', (chunk) => queue.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk))
  part.on('end', () => queue.end())
  return { fileName, done, queue }
}

function takeField(
  part: Dicer.PartStream,
  name: string,
  fail: (error: unknown) => void,
): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  part.on('data', (chunk) => {
    bytes += chunk.length
    // The parser reuses the memory that it holds back between two chunks.
    if (bytes <= maxFieldBytes) chunks.push(Buffer.from(chunk))
    else fail(badForm(`The field "${label(name)}" is longer than ${maxFieldBytes} bytes.`))
  })
  return new Promise((resolve) => {
    part.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
  })
}

function checkFile(received: ReceivedFile, fileName: string | null): SpooledFile {
  // What some SDKs send for a stream: the text that JavaScript makes of an object (contract.md section 1.1).
  if (
    received.bytes === 15 &&
    Buffer.from(received.head).toString('latin1') === '[object Object]'
  ) {
    throw badForm(
      'The file is the text "[object Object]" instead of its content.',
      'The SDK cannot send a stream: pass it a File or a Blob, for example from fs.openAsBlob.',
    )
  }
  const { name, bytes, sha256 } = received
  return { name, bytes, sha256, fileName: fileName === '' ? null : fileName }
}

function cutOff(count: number): RequestError {
  return count === 0
    ? badForm('The boundary that the Content-Type names does not occur in the body.')
    : badForm(`The form ends inside part ${count}, before its closing delimiter.`)
}
