// Runs one command of a connector bundle: the entry of a child process. It is copied beside the bundle, so it imports
// nothing of Muster. The request comes as a line on stdin, the answer goes to descriptor 3 as lines of JSON, the last of
// them `muster:end` or `muster:error`; what the connector prints is none of it.
import { writeSync } from 'node:fs'
import { Writable } from 'node:stream'
import { pathToFileURL } from 'node:url'

interface RunnerRequest {
  readonly type: string
  readonly version: number
  readonly input: unknown
  readonly config: unknown
}

/** The method of the SDK that runs a command. */
type Execute = (
  type: string,
  context: { readonly version: number; readonly commandType: string },
  input: unknown,
  out: Writable,
  customizer: unknown,
) => Promise<unknown>

const answer = 3
const flushSize = 64 * 1024
/** How long a connector may still be busy after its end before nobody waits any more. */
const graceMs = 2000

let pending: string[] = []
let pendingSize = 0
let scheduled = false
let ended = false

/** Waits until the reader has taken what it wants: a full pipe holds the connector instead of filling the memory. */
function writeAll(text: string): void {
  let bytes: Uint8Array = Buffer.from(text)
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(answer, bytes))
    } catch (error) {
      if (Reflect.get(Object(error), 'code') !== 'EAGAIN') process.exit(3)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
  }
}

function flush(): void {
  scheduled = false
  if (pendingSize === 0) return
  const text = pending.join('')
  pending = []
  pendingSize = 0
  writeAll(text)
}

function send(value: unknown): void {
  const line = `${JSON.stringify(value)}\n`
  pending.push(line)
  pendingSize += line.length
  if (pendingSize >= flushSize) flush()
  else if (!scheduled) {
    scheduled = true
    setImmediate(flush)
  }
}

function fail(error: unknown): never {
  const type: unknown = Reflect.get(Object(error), 'type')
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  send({
    type: 'muster:error',
    data: { type: typeof type === 'string' ? type : 'generic', message: message.slice(0, 4096) },
  })
  flush()
  process.exit(1)
}

function end(): never {
  send({ type: 'muster:end', data: {} })
  flush()
  process.exit(0)
}

/** Takes what the connector sends. It is an object stream because the SDK writes objects. */
function openOutput(): Writable {
  return new Writable({
    objectMode: true,
    write: (value: unknown, _, done) => {
      if (ended) fail(new Error('it sent something after its end; it must await what it begins'))
      try {
        send(value)
        done()
      } catch (error) {
        fail(error)
      }
    },
  })
}

async function readRequest(): Promise<RunnerRequest> {
  let text = ''
  process.stdin.setEncoding('utf8')
  await new Promise<void>((resolve) => {
    process.stdin.on('data', (part: string) => {
      text += part
      if (text.endsWith('\n')) resolve()
    })
    // Nobody reads the answer when Muster is gone.
    process.stdin.on('end', () => process.exit(3))
  })
  // It stays open to show that Muster lives, and must not keep this process alive by itself.
  Reflect.get(process.stdin, 'unref')?.call(process.stdin)
  return JSON.parse(text) as RunnerRequest
}

/** What the bundle exports under a name; the SDK allows an object or a function that makes it. */
async function exported(module: unknown, name: string): Promise<unknown> {
  const whole: unknown = Reflect.get(Object(module), 'default')
  const found: unknown = Reflect.get(Object(whole), name) ?? Reflect.get(Object(module), name)
  return typeof found === 'function' ? await found() : found
}

/** How a connector of the SDK runs a command; null when it is something else. */
function executeOf(connector: unknown): Execute | null {
  const execute: unknown = Reflect.get(Object(connector), '_exec')
  return typeof execute === 'function' ? (execute.bind(connector) as Execute) : null
}

async function main(bundle: string): Promise<void> {
  const { type, version, input, config } = await readRequest()
  // Where readConfig() of the SDK looks.
  process.env['CONNECTOR_CONFIG'] = Buffer.from(JSON.stringify(config)).toString('base64')
  const module: unknown = await import(pathToFileURL(bundle).href)
  const execute = executeOf(await exported(module, 'connector'))
  if (execute === null) throw new Error('the bundle exports no connector of the SDK')
  const customizer = await exported(module, 'connectorCustomizer')
  await execute(type, { version, commandType: type }, input, openOutput(), customizer)
  ended = true
  // A connector that forgot to await sends more: it must be heard, or its list would seem to be whole.
  process.once('beforeExit', end)
  setTimeout(end, graceMs).unref()
}

// Signals to other processes are none of a connector's business. (This is tidiness; the wall is the user and the process.)
process.kill = (): never => {
  throw new Error('A connector sends no signals.')
}
process.on('uncaughtException', fail)
process.on('unhandledRejection', fail)
main(process.argv[2] ?? '').catch(fail)
