// Connectors for tests: built into bundles, and run by the official runner.
import { execFile, spawn } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { openOutbound } from '../../src/connect/outbound.ts'
import type {
  Page,
  ReadEnd,
  Reader,
  ReaderTools,
  ReadRecord,
  ReadRequest,
} from '../../src/connect/reader.ts'

const here = dirname(fileURLToPath(import.meta.url))
const checkout = dirname(dirname(here))
const connectors = join(here, 'connectors')

/** A folder with `bundles/directory/index.js` and `bundles/faulty/index.js`, as a bundler makes them of our connectors. */
export async function buildBundles(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-bundles-'))
  const root = join(folder, 'bundles')
  await mkdir(root)
  const bundler = join(checkout, 'node_modules', '.bin', 'rolldown')
  for (const name of ['directory', 'faulty']) {
    await mkdir(join(root, name))
    const output = ['--platform', 'node', '-f', 'cjs', '-o', join(root, name, 'index.js')]
    await promisify(execFile)(bundler, [join(connectors, `${name}.js`), ...output])
  }
  await copyFile(
    join(connectors, 'connector-spec.json'),
    join(root, 'directory', 'connector-spec.json'),
  )
  return folder
}

/** A connector under the official runner. */
export interface Running {
  readonly url: string
  /** Ends it, as often as it is called. */
  stop(): Promise<void>
}

/** Starts `spcx run` with a connector of this folder (or another) on a free port. */
export async function runConnector(name: string, folder = connectors): Promise<Running> {
  const port = await freePort()
  const runner = join(checkout, 'node_modules', '@sailpoint', 'connector-sdk', 'dist', 'bin')
  const child = spawn(
    process.execPath,
    [join(runner, 'spcx.js'), 'run', `${name}.js`, String(port)],
    // It looks for tsc on the path and would start it.
    { cwd: folder, env: { PATH: '' }, stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  await new Promise<void>((resolve, reject) => {
    child.once('exit', () => reject(new Error('spcx ended')))
    child.stdout.on('data', (text: Buffer) => {
      if (String(text).includes('listening')) resolve()
    })
  })
  return {
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      child.kill('SIGKILL')
      await exited
    },
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

/** Tools that may reach this machine; what is logged is kept in `logged`. */
export function openTools(): ReaderTools & { readonly logged: readonly string[] } {
  const logged: string[] = []
  return {
    outbound: openOutbound({ allowLoopback: true, allowed: [] }),
    log: (_, message) => void logged.push(message),
    logged,
  }
}

/** A request for some attributes. */
export function wish(names: readonly string[], given: Partial<ReadRequest> = {}): ReadRequest {
  return {
    objectType: 'account',
    attributes: names.map((name) => ({
      name,
      nativeName: null,
      type: 'STRING',
      isMulti: name === 'groups',
      isEntitlement: false,
    })),
    identityAttribute: 'id',
    cursor: null,
    limit: null,
    signal: new AbortController().signal,
    ...given,
  }
}

/** Everything that a read gives. */
export interface Drained {
  readonly records: readonly ReadRecord[]
  readonly pages: number
  readonly end: ReadEnd
}

/** Reads to the end; `slowMs` is what the consumer takes for each page. */
export async function drain(
  pages: AsyncGenerator<Page, ReadEnd> | undefined,
  slowMs = 0,
): Promise<Drained> {
  if (pages === undefined) throw new Error('The reader cannot do this.')
  const records: ReadRecord[] = []
  let count = 0
  for (;;) {
    const next = await pages.next()
    if (next.done === true) return { records, pages: count, end: next.value }
    count += 1
    records.push(...next.value.records)
    if (slowMs > 0) await new Promise((resolve) => setTimeout(resolve, slowMs))
  }
}

/** Uses a reader and closes it. */
export async function using<T>(
  opening: Promise<Reader>,
  work: (reader: Reader) => Promise<T>,
): Promise<T> {
  const reader = await opening
  try {
    return await work(reader)
  } finally {
    await reader.close()
  }
}

/** Removes what `buildBundles` made. */
export async function removeBundles(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true })
}
