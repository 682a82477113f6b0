// SaaS sources of the benchmark: the people of generate.mjs as accounts of a connector.
// node bench/saas.mjs [--rows 100000]   compares the reader with a client that parses the lines and keeps nothing.
import { execFile, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parseArgs, promisify } from 'node:util'
import { columns, row } from './generate.mjs'

const childWord = '--as-connector'

/** What the accounts have; the first column is what a new source takes for the identity. */
const attributes = ['id', ...columns.slice(1)]

/**
 * A connector with `rows` accounts behind a URL: the settings of its source, how long a client takes that parses the
 * same answer and keeps nothing, and how to end it. Its lines are ready before it is asked, so that nothing but the reader
 * can be slow, and it waits for its reader, which the official runner does not: its clean end can be trusted.
 */
export async function prepareSaas(rows) {
  const child = fork(import.meta.filename, [childWord, String(rows)])
  const port = await new Promise((resolve, reject) => {
    child.once('message', resolve)
    child.once('exit', (code) => reject(new Error(`the connector ended with ${code}`)))
  })
  const url = `http://127.0.0.1:${port}/invoke`
  return {
    connector: 'saas',
    settings: { url, answerEnd: 'trust' },
    attributes,
    serveOnlyMs: () => fetchAll(url),
    close: () =>
      new Promise((resolve) => {
        child.once('exit', resolve)
        child.kill()
      }),
  }
}

async function fetchAll(url) {
  const began = performance.now()
  const asking = request(url, { method: 'POST', headers: { 'content-type': 'application/json' } })
  asking.end(JSON.stringify({ type: 'std:account:list', input: {}, config: {} }))
  const [response] = await once(asking, 'response')
  await parseAll(response)
  return performance.now() - began
}

/** What any client of such a stream has to do: take its lines apart and parse them. */
async function parseAll(stream) {
  let rest = ''
  let count = 0
  stream.setEncoding('utf8')
  for await (const text of stream) {
    const lines = (rest + text).split('\n')
    rest = lines.pop()
    for (const line of lines) JSON.parse(line)
    count += lines.length
  }
  return count
}

/** A person of the other benchmarks as the SDK sends an account. */
function accountOf(number) {
  const cells = row(number).trim().split(',')
  const values = Object.fromEntries(attributes.map((name, place) => [name, cells[place]]))
  return {
    key: { simple: { id: values.id } },
    disabled: values.status !== 'active',
    attributes: values,
  }
}

/** Answers with lines that were written before, as fast as they are taken. */
function serve(rows) {
  const pieces = []
  for (let start = 0; start < rows; start += 200) {
    const numbers = Array.from({ length: Math.min(200, rows - start) }, (_, index) => start + index)
    const line = (number) => `${JSON.stringify({ data: accountOf(number), type: 'output' })}\n`
    pieces.push(Buffer.from(numbers.map(line).join('')))
  }
  const answer = async (asked, response) => {
    let body = ''
    for await (const part of asked) body += part
    response.setHeader('content-type', 'application/x-ndjson')
    const { type } = JSON.parse(body)
    if (type !== 'std:account:list') return response.end('{"data":{},"type":"output"}\n')
    await pipeline(Readable.from(pieces), response).catch(() => undefined)
  }
  const server = createServer((asked, response) => void answer(asked, response))
  server.listen(0, '127.0.0.1', () => process.send(server.address().port))
  // The benchmark may be stopped in the middle.
  process.once('disconnect', () => process.exit())
}

/** A bundle made with the official SDK that sends the same accounts, and how long its process takes by itself. */
async function prepareBundle(rows) {
  const folder = await mkdtemp(join(tmpdir(), 'muster-bench-saas-'))
  const source = join(folder, 'connector.mjs')
  await writeFile(
    source,
    `import { createConnector } from ${JSON.stringify(import.meta.resolve('@sailpoint/connector-sdk'))}
import { row } from ${JSON.stringify(join(import.meta.dirname, 'generate.mjs'))}
const attributes = ${JSON.stringify(attributes)}
const accountOf = ${accountOf.toString()}
export const connector = createConnector().stdAccountList(async (context, input, res) => {
  for (let number = 0; number < ${rows}; number += 1) res.send(accountOf(number))
})
`,
  )
  await mkdir(join(folder, 'people'))
  await writeFile(join(folder, 'people', 'package.json'), '{}')
  const bundle = join(folder, 'people', 'index.js')
  const bundler = join(import.meta.dirname, '../node_modules/.bin/rolldown')
  await promisify(execFile)(bundler, [source, '--platform', 'node', '-f', 'cjs', '-o', bundle])
  return {
    settings: { bundleRoot: folder, bundle: 'people/index.js' },
    serveOnlyMs: () => runBare(bundle),
    close: () => rm(folder, { recursive: true }),
  }
}

/** The runner without limits. */
async function runBare(bundle) {
  const runner = join(import.meta.dirname, '../dist/connect/bundle-runner.js')
  const began = performance.now()
  const child = spawn(process.execPath, [runner, bundle], {
    stdio: ['pipe', 'ignore', 'ignore', 'pipe'],
  })
  const ended = once(child, 'close')
  child.stdin.write(
    `${JSON.stringify({ type: 'std:account:list', version: 1, input: {}, config: {} })}\n`,
  )
  const lines = await parseAll(child.stdio[3])
  await ended
  if (lines < 2) throw new Error('the bundle does not run')
  return performance.now() - began
}

/** The reader alone: no spool, no database. */
async function drainMs(settings, rows) {
  const { openOutbound } = await import('../dist/connect/outbound.js')
  const { saasConnector } = await import('../dist/connect/saas.js')
  const outbound = openOutbound({ allowLoopback: true, allowed: [] })
  const reader = await saasConnector.open(settings, { outbound, log: () => undefined })
  const plain = { nativeName: null, type: 'STRING', isMulti: false, isEntitlement: false }
  const wanted = attributes.map((name) => ({ ...plain, name }))
  const asked = { objectType: 'account', attributes: wanted, identityAttribute: 'id' }
  const { signal } = new AbortController()
  const began = performance.now()
  let records = 0
  for await (const page of reader.read({ ...asked, cursor: null, limit: null, signal })) {
    records += page.records.length
  }
  const elapsed = performance.now() - began
  await reader.close()
  outbound.close()
  if (records !== rows) throw new Error(`${records} records instead of ${rows}`)
  return elapsed
}

async function compare(rows) {
  const kinds = [
    { name: 'URL', prepare: prepareSaas, more: {} },
    { name: 'URL, confirmed', prepare: prepareSaas, more: { answerEnd: 'confirm' } },
    { name: 'bundle', prepare: prepareBundle, more: {} },
  ]
  for (const { name, prepare, more } of kinds) {
    const source = await prepare(rows)
    const settings = { ...source.settings, ...more }
    await source.serveOnlyMs()
    await drainMs(settings, rows)
    const pairs = []
    for (let round = 0; round < 3; round += 1) {
      pairs.push({ bare: await source.serveOnlyMs(), read: await drainMs(settings, rows) })
    }
    pairs.sort((a, b) => a.read / a.bare - b.read / b.bare)
    const { bare, read } = pairs[1]
    const each = (read / rows) * 1000
    console.log(
      `${name}, ${rows} accounts: bare ${bare.toFixed(0)} ms, read ${read.toFixed(0)} ms, ` +
        `${(read / bare).toFixed(2)} ×, ${each.toFixed(1)} µs an account`,
    )
    await source.close()
  }
}

if (process.argv[2] === childWord) {
  serve(Number(process.argv[3]))
} else if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({ options: { rows: { type: 'string', default: '100000' } } })
  await compare(Number(values.rows))
}
