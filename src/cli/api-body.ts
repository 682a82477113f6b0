// The bodies of `muster api`: a text, a file, or a form of fields and files.
import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import type { RawRequest } from '../client/index.ts'
import { CliError, exitCodes } from './exit-code.ts'

/** What the options say of a body. */
export interface BodyOptions {
  readonly body?: string
  readonly bodyFile?: string
  readonly form: readonly string[]
  readonly contentType?: string
}

/** A body with the headers that it needs. */
export interface Body {
  readonly maker: NonNullable<RawRequest['body']>
  readonly headers: Record<string, string>
  readonly isFile: boolean
}

/** The body that the options describe; undefined for none. Standard input is read only where `-` names it: a pipe that nobody closes would hold a script for ever. */
export async function bodyOf(verb: string, options: BodyOptions): Promise<Body | undefined> {
  const ways = [options.body, options.bodyFile, options.form.length > 0 || undefined]
  if (ways.filter((way) => way !== undefined).length > 1) {
    throw new CliError(exitCodes.usage, 'A body comes from --body, --body-file or --form.')
  }
  if (options.form.length > 0) return formBody(options)
  const content =
    options.body ??
    (options.bodyFile === undefined
      ? ''
      : options.bodyFile === '-'
        ? await readInput()
        : await readBody(options.bodyFile))
  if (content.length === 0) {
    // Servers tell an empty form from no form at all by the type alone.
    const type = options.contentType
    if (type === undefined) return undefined
    return textBody('', type)
  }
  const usual = verb === 'patch' ? 'application/json-patch+json' : 'application/json'
  return textBody(content, options.contentType ?? usual)
}

function textBody(content: string | Uint8Array<ArrayBuffer>, type: string): Body {
  return {
    maker: { repeatable: true, make: () => content },
    headers: { 'content-type': type },
    isFile: false,
  }
}

async function readInput(): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array)
  return new Uint8Array(Buffer.concat(chunks))
}

async function readBody(path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(path))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CliError(exitCodes.usage, `The body cannot be read: ${reason}.`)
  }
}

interface Part {
  readonly head: Uint8Array
  /** A text, or the file that holds the content. */
  readonly content: Uint8Array | { readonly path: string }
  readonly bytes: number
}

/** A form that is streamed, so that a file of any size takes no memory. */
async function formBody(options: BodyOptions): Promise<Body> {
  const boundary = `muster-${crypto.randomUUID()}`
  const parts: Part[] = []
  for (const field of options.form) parts.push(await partOf(field, boundary))
  const end = Buffer.from(`--${boundary}--\r\n`)
  const length = parts.reduce((sum, { head, bytes }) => sum + head.length + bytes + 2, end.length)
  const isFile = parts.some(({ content }) => 'path' in content)
  return {
    maker: { repeatable: true, make: () => ReadableStream.from(chunksOf(parts, end)) },
    headers: {
      'content-type': options.contentType ?? `multipart/form-data; boundary=${boundary}`,
      'content-length': String(length),
    },
    isFile,
  }
}

async function* chunksOf(parts: readonly Part[], end: Uint8Array): AsyncGenerator<Uint8Array> {
  for (const { head, content } of parts) {
    yield head
    if ('path' in content) yield* createReadStream(content.path) as AsyncIterable<Uint8Array>
    else yield content
    yield Buffer.from('\r\n')
  }
  yield end
}

async function partOf(field: string, boundary: string): Promise<Part> {
  const at = field.indexOf('=')
  if (at < 1) throw new CliError(exitCodes.usage, `-F takes name=value, not "${field}".`)
  const name = quoted(field.slice(0, at))
  const value = field.slice(at + 1)
  const disposition = `--${boundary}\r\nContent-Disposition: form-data; name="${name}"`
  if (!value.startsWith('@')) {
    const content = Buffer.from(value)
    return { head: Buffer.from(`${disposition}\r\n\r\n`), content, bytes: content.length }
  }
  const path = value.slice(1)
  const info = await stat(path).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CliError(exitCodes.usage, `-F ${field}: ${reason}.`)
  })
  if (!info.isFile()) throw new CliError(exitCodes.usage, `-F ${field}: it is no file.`)
  const type = path.toLowerCase().endsWith('.csv') ? 'text/csv' : 'application/octet-stream'
  const head = `${disposition}; filename="${quoted(basename(path))}"\r\nContent-Type: ${type}\r\n\r\n`
  return { head: Buffer.from(head), content: { path }, bytes: info.size }
}

/** As browsers write names in the head of a part. */
function quoted(name: string): string {
  return name.replaceAll('"', '%22').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}
