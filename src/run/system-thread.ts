// The thread that talks to the system of a source: opens its connector, answers one question, and ends.
import { parentPort, workerData } from 'node:worker_threads'
import { connectorError } from '../connect/connector-error.ts'
import { guardedRead } from '../connect/guarded-read.ts'
import { openOutbound } from '../connect/outbound.ts'
import type {
  Connector,
  Page,
  ReadCopy,
  Reader,
  ReadEnd,
  ReadRecord,
  ReadRequest,
} from '../connect/reader.ts'
import { findConnector } from '../connect/registry.ts'
import { RunError } from '../core/errors.ts'
import { readInteger } from '../core/setting.ts'
import { openSpoolWriter, type SpoolWriter } from './spool-writer.ts'
import {
  beatMs,
  beatWord,
  bytesWord,
  growthWord,
  recordsWord,
  stopWord,
  type SystemAnswer,
  type SystemAsk,
  type SystemInput,
  type SystemMessage,
  type SystemRead,
  type Wanted,
} from './system-messages.ts'

const input = workerData as SystemInput
const words = new Int32Array(input.shared)
const progress = new Float64Array(input.shared)
const port = parentPort
if (port === null) throw new Error('system-thread.ts runs as a worker thread only')
const stopping = new AbortController()

function say(message: SystemMessage): void {
  port?.postMessage(message)
}

async function work(): Promise<SystemAnswer> {
  const connector = await findConnector(input.connector, input.packages)
  const reader = await connector.open(input.settings, {
    outbound: openOutbound(input.outbound),
    log: (level, message) => say({ kind: 'log', level, message }),
  })
  try {
    return await answer(connector, reader, input.ask)
  } finally {
    // What was read counts, also when the farewell fails.
    await reader.close().catch((error: unknown) => {
      say({ kind: 'log', level: 'warn', message: `The connector did not close: ${String(error)}` })
    })
  }
}

async function answer(connector: Connector, reader: Reader, ask: SystemAsk): Promise<SystemAnswer> {
  switch (ask.what) {
    case 'check':
      return { what: 'check', facts: await reader.check(stopping.signal) }
    case 'discover':
      return { what: 'discover', schemas: await reader.discover(stopping.signal) }
    case 'peek':
      return peek(reader, ask.request, ask.limit)
    case 'readOne': {
      const record = await reader.readOne?.(ask.identity, request(ask.request, null, 1))
      const records = record === undefined || record === null ? [] : [record]
      return { what: 'readOne', records, attributes: names(ask.request) }
    }
    case 'read':
      return { what: 'read', read: await readAll(connector, reader, ask) }
  }
}

function request(wanted: Wanted, cursor: ReadRequest['cursor'], limit: number | null): ReadRequest {
  return { ...wanted, cursor, limit, signal: stopping.signal }
}

function names(wanted: Wanted): readonly string[] {
  return wanted.attributes.map((attribute) => attribute.name)
}

function pagesOf(reader: Reader, wanted: ReadRequest): AsyncGenerator<Page, ReadEnd> {
  if (wanted.objectType === 'account') return reader.read(wanted)
  if (reader.entitlements !== undefined) return reader.entitlements(wanted)
  throw new RunError(
    'no_entitlements',
    `The connector "${input.connector}" cannot read objects of type "${wanted.objectType}".`,
    { hint: 'Ask for objects of type "account".' },
  )
}

/** Characters of values in a look, beyond which it ends: all of it goes through memory into one answer. */
const peekCharacters = 8 << 20

/** The first records, as a look at what a read would bring. */
async function peek(reader: Reader, wanted: Wanted, limit: number): Promise<SystemAnswer> {
  const records: ReadRecord[] = []
  const asked = request(wanted, null, limit)
  let characters = 0
  const isFull = (): boolean => records.length >= limit || characters > peekCharacters
  for await (const page of guardedRead(pagesOf(reader, asked), guards(asked))) {
    for (const record of page.records) {
      if (isFull()) break
      records.push(record)
      characters += record.values.flat().reduce((sum, value) => sum + (value?.length ?? 0), 0)
    }
    if (isFull()) break
  }
  return { what: 'peek', records, attributes: names(wanted) }
}

function guards(asked: ReadRequest): Parameters<typeof guardedRead>[1] {
  return { request: asked, settings: input.settings }
}

/** Reads everything (or what changed) into the spool. */
async function readAll(
  connector: Connector,
  reader: Reader,
  ask: Extract<SystemAsk, { what: 'read' }>,
): Promise<SystemRead> {
  const asked = request(ask.request, ask.cursor, null)
  const writer = openSpoolWriter({
    path: ask.path,
    attributes: asked.attributes,
    foldsCase: connector.foldsCase,
    limitBytes: ask.limitBytes,
    onProgress: (records, bytes) => {
      progress[recordsWord] = records
      progress[bytesWord] = bytes
      Atomics.add(words, growthWord, 1)
      Atomics.notify(words, growthWord)
      // A connector that never waits would not let the message through.
      if (Atomics.load(words, stopWord) !== 0) stopping.abort(new Error('stopped'))
      stopping.signal.throwIfAborted()
    },
  })
  try {
    const { end, copied } = await drain(reader, asked, writer)
    return {
      ...writer.finish(),
      ...copied,
      mode: end.mode,
      proof: provenBy(end),
      cursor: end.cursor,
      undelivered: end.undelivered ?? [],
      extra: end.extra ?? [],
      patches: end.patches ?? [],
    }
  } finally {
    writer.close()
  }
}

async function drain(
  reader: Reader,
  asked: ReadRequest,
  writer: SpoolWriter,
): Promise<{ end: ReadEnd; copied?: { records: number; columns: readonly string[] } }> {
  if (reader.copy !== undefined && asked.cursor === null) {
    const end = await copyAll(reader.copy, asked, writer)
    return { end, copied: { records: end.records, columns: end.columns } }
  }
  const pages = guardedRead(reader.read(asked), guards(asked))
  for (;;) {
    const step = await pages.next()
    if (step.done === true) return { end: step.value }
    for (const record of step.value.records) writer.write(record)
  }
}

/** A copy under the same watch for silence as pages have. */
async function copyAll(
  copy: NonNullable<Reader['copy']>,
  asked: ReadRequest,
  writer: SpoolWriter,
): Promise<ReadCopy> {
  const silenceMs = readInteger(input.settings, 'silenceSeconds', 180, 1, 86_400) * 1000
  let heard = performance.now()
  let watch: NodeJS.Timeout | undefined
  const silence = new Promise<never>((_resolve, reject) => {
    watch = setInterval(() => {
      if (performance.now() - heard < silenceMs) return
      reject(
        new RunError('silent', `The system sent nothing for ${silenceMs / 1000} seconds.`, {
          hint: 'Look whether it is overloaded; a longer silenceSeconds gives it more time.',
          temporary: true,
        }),
      )
    }, beatMs)
  })
  const write = async (bytes: Uint8Array): Promise<void> => {
    heard = performance.now()
    writer.writeRaw(bytes)
  }
  try {
    const copied = copy(asked, write, (start) => say({ kind: 'began', start }))
    const end = await Promise.race([copied, silence])
    if (end.expected === null || end.expected === end.records) return end
    throw new RunError(
      'incomplete_read',
      `The system said that there are ${end.expected} records, and ${end.records} came.`,
      { hint: 'Nothing was changed. Read again.', temporary: true },
    )
  } finally {
    clearInterval(watch)
  }
}

function provenBy(end: ReadEnd): string {
  if (end.proof !== null) return end.proof
  throw new RunError('incomplete_read', 'The read ended without a proof that nothing is missing.', {
    hint: 'Nothing was changed. Read again; look at what the connector reports.',
    temporary: true,
  })
}

/** An error as a message, without secrets of the settings in it. */
function fail(error: unknown): void {
  const { code, message, hint, temporary, stack } = connectorError(error, input.settings)
  say({ kind: 'failed', code, message, hint, temporary, stack })
}

// A connector in a loop is told from one that waits by this.
setInterval(() => Atomics.add(words, beatWord, 1), beatMs).unref()
port.on('message', () => stopping.abort(new Error('stopped')))
work().then(
  (given) => say({ kind: 'answer', answer: given }),
  (error: unknown) => fail(error),
)
