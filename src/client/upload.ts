// The body of load-accounts: a form that is streamed, so that a file of any size takes no memory, and that tells how far it is.
import type { BodyMaker } from './transport.ts'

/** What can be uploaded. An iterable may come from `fs.createReadStream`. */
export type UploadContent = Blob | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>

export interface UploadFile {
  /** A function gives the same content from its beginning each time; the upload can then be tried again. */
  readonly content: UploadContent | (() => UploadContent)
  /** What the file is called; the base name is enough. */
  readonly name: string
  /** The length of the content where it is known; for a Blob it is. The server can then refuse a file that is too long at once. */
  readonly bytes?: number
}

/** How much of the file has been handed to the network. */
export type UploadProgress = (sentBytes: number, totalBytes: number | null) => void

export interface UploadForm {
  readonly headers: Readonly<Record<string, string>>
  readonly body: BodyMaker
}

/** A form of fields and at most one file. */
export function uploadForm(
  fields: readonly (readonly [name: string, value: string])[],
  file: UploadFile | null,
  onProgress: UploadProgress | undefined,
): UploadForm {
  const boundary = `muster-${crypto.randomUUID()}`
  const type = { 'content-type': `multipart/form-data; boundary=${boundary}` }
  const parts = fields.map(
    ([name, value]) => `--${boundary}\r\n${disposition(name)}\r\n\r\n${value}\r\n`,
  )
  const end = `--${boundary}--\r\n`
  if (file === null) {
    const text = parts.join('') + end
    return { headers: type, body: { repeatable: true, make: () => text } }
  }
  const head = `${parts.join('')}--${boundary}\r\n${disposition('file', file.name)}\r\nContent-Type: text/csv\r\n\r\n`
  const tail = `\r\n${end}`
  const { content } = file
  // Browsers send streams over HTTP/2 only, so there a Blob stays a Blob.
  if (content instanceof Blob && (onProgress === undefined || 'document' in globalThis)) {
    return {
      headers: type,
      body: { repeatable: true, make: () => new Blob([head, content, tail]) },
    }
  }
  const encoder = new TextEncoder()
  const [first, last] = [encoder.encode(head), encoder.encode(tail)]
  const bytes = content instanceof Blob ? content.size : (file.bytes ?? null)
  const length = bytes === null ? null : String(first.length + bytes + last.length)
  return {
    headers: { ...type, ...(length !== null && { 'content-length': length }) },
    body: {
      repeatable: content instanceof Blob || typeof content === 'function',
      make: () => {
        const begun = typeof content === 'function' ? content() : content
        return streamOf(formChunks(first, begun, last, bytes, onProgress))
      },
    },
  }
}

function disposition(name: string, fileName?: string): string {
  const escaped = (text: string): string =>
    text.replaceAll('"', '%22').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
  const file = fileName === undefined ? '' : `; filename="${escaped(fileName)}"`
  return `Content-Disposition: form-data; name="${escaped(name)}"${file}`
}

async function* formChunks(
  first: Uint8Array,
  content: UploadContent,
  last: Uint8Array,
  totalBytes: number | null,
  onProgress: UploadProgress | undefined,
): AsyncGenerator<Uint8Array> {
  yield first
  let sentBytes = 0
  onProgress?.(0, totalBytes)
  for await (const chunk of chunksOf(content)) {
    yield chunk
    sentBytes += chunk.length
    onProgress?.(sentBytes, totalBytes)
  }
  yield last
}

async function* chunksOf(content: UploadContent): AsyncGenerator<Uint8Array> {
  if (!(content instanceof Blob) && !(content instanceof ReadableStream)) {
    yield* content
    return
  }
  // Not every browser can iterate a stream.
  const reader = (content instanceof Blob ? content.stream() : content).getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}

function streamOf(chunks: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const { done, value } = await chunks.next()
        if (done === true) controller.close()
        else controller.enqueue(value)
      },
      cancel: async () => {
        await chunks.return(undefined)
      },
    },
    { highWaterMark: 0 },
  )
}
