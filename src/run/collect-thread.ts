// The thread that reads a spooled file: the reader's cells meet the store's row writer here, off the main thread.
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads'
import { openRecords, type RecordReader } from '../connect/delimited-reader.ts'
import { cellText, maximumCells, type RecordScanner } from '../connect/delimited-scanner.ts'
import {
  addRow,
  addStored,
  createBuckets,
  dirtyBuckets,
  isDirty,
  type Buckets,
} from '../core/buckets.ts'
import { RunError } from '../core/errors.ts'
import { openRecordFilter } from '../core/record-filter-match.ts'
import type { Reject } from '../core/source-record.ts'
import { readFingerprints } from '../store/fingerprints.ts'
import { type RowShape, RowWriter } from '../store/row-writer.ts'
import { blankCell, rawRecord } from './encode-cell.ts'
import { createEncoder, type RecordEncoder } from './encode-record.ts'
import { createMerger } from './merge-adjacent.ts'
import { createRowIndex, type RowIndex } from './row-index.ts'
import { endedBadly, endedWell, endWord, growthWord } from './system-messages.ts'
import {
  type Answer,
  bytesWord,
  chunkBytes,
  type Command,
  type ComparePass,
  maximumUnderway,
  type PickedRecord,
  type RowFilter,
  rowsWord,
  type StagePass,
  stopWord,
  type ThreadInput,
  underwayWord,
} from './thread-messages.ts'

const { input, returns } = workerData as { input: ThreadInput; returns: MessagePort }
const words = new Int32Array(input.shared)
const progress = new Float64Array(input.shared)
const port = parentPort
if (port === null) throw new Error('collect-thread.ts runs as a worker thread only')
const noShape: RowShape = { staged: false, stateful: false }
/** With more buckets than this there are more accounts than an index takes. */
const indexedBuckets = 1 << 20

/** What the comparison found out, for the pass that stages. */
let compared: {
  readonly buckets: Buckets
  readonly pass: ComparePass
  /** Null when the file has too many rows, or offsets that mean nothing. */
  readonly index: RowIndex | null
} | null = null

/** Thrown when the main thread asked to stop; the main thread knows why. */
class Stopped extends Error {}

function answer(message: Answer, transfer: ArrayBuffer[] = []): void {
  port?.postMessage(message, transfer)
}

function checkStop(): void {
  if (Atomics.load(words, stopWord) !== 0) throw new Stopped()
}

/** Sends data, and waits while too much of it is under way. */
function send(message: Answer, transfer: ArrayBuffer[] = []): void {
  Atomics.add(words, underwayWord, 1)
  answer(message, transfer)
  for (;;) {
    const underway = Atomics.load(words, underwayWord)
    if (underway < maximumUnderway) return
    checkStop()
    Atomics.wait(words, underwayWord, underway, 200)
  }
}

/** A buffer that came back from the main thread, or a new one. */
function nextBuffer(): Buffer {
  const returned = receiveMessageOnPort(returns)
  const buffer = returned === undefined ? null : (returned.message as ArrayBuffer)
  return Buffer.from(buffer ?? new ArrayBuffer(chunkBytes))
}

/** Asked where a file ends that is still being written: waits for more of it; false at its end. */
function openGrowth(): (() => boolean) | undefined {
  if (input.growing === null) return undefined
  const growth = new Int32Array(input.growing)
  let seen = Atomics.load(growth, growthWord)
  let whole = false
  return () => {
    while (!whole) {
      checkStop()
      const end = Atomics.load(growth, endWord)
      if (end === endedBadly) throw new Stopped()
      // What was written before the end may not have been read yet.
      whole = end === endedWell
      if (whole) return true
      Atomics.wait(growth, growthWord, seen, 200)
      const now = Atomics.load(growth, growthWord)
      if (now === seen) continue
      seen = now
      return true
    }
    return false
  }
}

/** Opens the file behind its header and the lines to skip. */
function openRows(): RecordReader {
  const reader = openRecords(input.path, input.dialect, undefined, openGrowth())
  let skip = (input.dialect.header ? 1 : 0) + input.dialect.linesToSkip
  while (skip > 0) {
    const scan = reader.next()
    if (scan === 'more') break
    if (scan === 'record') skip -= 1
  }
  progress[rowsWord] = 0
  progress[bytesWord] = 0
  return reader
}

/** Whether all cells of the record are blank. Most records show at their first byte that they are not. */
function isEmptyRecord(reader: RecordReader): boolean {
  const { scanner } = reader
  const { cells, malformed } = scanner
  for (let index = 0; index < cells; index += 1) if (!blankCell(scanner, index)) return false
  return !malformed && cells <= maximumCells
}

/** Whether the filterString drops a record; null when there is none, and the fast ways stay open. */
const isFiltered =
  input.dialect.filter === null ? null : openRecordFilter(input.dialect.filter, input.layout.header)

/**
 * Whether the record is dropped before anything is asked of it. One whose cells cannot be told apart, or are too many
 * or too few, is not asked: what stands in its columns may be another column's, and it becomes a reject.
 */
function isDropped(scanner: RecordScanner): boolean {
  if (isFiltered === null || scanner.malformed) return false
  if (scanner.cells !== input.layout.header.length) return false
  return isFiltered((column) => cellText(scanner, column))
}

interface Counts {
  records: number
  ignored: number
}

function showProgress(reader: RecordReader, counts: Counts): void {
  progress[rowsWord] = counts.records
  progress[bytesWord] = reader.bytesRead()
}

function countRecord(reader: RecordReader, counts: Counts): void {
  counts.records += 1
  if ((counts.records & 0x7ff) !== 0) return
  showProgress(reader, counts)
  checkStop()
}

/** Moves to the next record that counts; false at the end of the file. */
function nextRow(reader: RecordReader, counts: Counts): boolean {
  for (;;) {
    const scan = reader.next()
    if (scan === 'more') break
    if (scan === 'comment') counts.ignored += 1
    if (scan !== 'record') continue
    if (input.dialect.filterEmptyRecords && isEmptyRecord(reader)) {
      counts.ignored += 1
      continue
    }
    if (isFiltered !== null && isDropped(reader.scanner)) {
      counts.ignored += 1
      // A file may be filtered to its last record: it must stop when it is asked to.
      if ((counts.ignored & 0x7ff) === 0) checkStop()
      continue
    }
    countRecord(reader, counts)
    return true
  }
  showProgress(reader, counts)
  return false
}

/** The records that count, one after the other. */
function* rows(reader: RecordReader, counts: Counts): Generator<RecordScanner> {
  while (nextRow(reader, counts)) yield reader.scanner
}

function encoderFor(reader: RecordReader, writer: RowWriter): RecordEncoder {
  return createEncoder(reader.scanner, input.layout, input.prefix, input.keys, writer)
}

/** Whether a row is to be staged. */
function chooser(filter: RowFilter, encoder: RecordEncoder): () => boolean {
  if (filter === 'all') return () => true
  if (filter === 'buckets') {
    const { buckets } = comparison()
    return () => !encoder.hashKeyCell() || isDirty(buckets, encoder.keyHash())
  }
  const wanted = new Set(filter.keyHashes)
  return () => encoder.hashKeyCell() && wanted.has(encoder.keyHash())
}

function comparison(): NonNullable<typeof compared> {
  if (compared === null) throw new Error('stage by buckets came before compare')
  return compared
}

/** The rows of dirty buckets and those whose identity cannot be read, found by the index of the comparison. */
function* indexedRows(
  reader: RecordReader,
  { buckets, pass, index }: NonNullable<typeof compared>,
): Generator<RecordScanner> {
  if (index === null || (pass.dirty.length === 0 && pass.unkeyed === 0)) return
  let found = 0
  for (const { offset, line } of index.find((keyHash) => isDirty(buckets, keyHash))) {
    found += 1
    if ((found & 0x3ff) === 0) checkStop()
    reader.seek(offset, line)
    if (reader.next() !== 'record') throw new Error('a record is not where the comparison saw it')
    yield reader.scanner
  }
}

/** Whether going to the dirty rows one by one is cheaper than reading the whole file again. */
function isSparse({ pass, index }: NonNullable<typeof compared>): boolean {
  // Nothing to go to is the cheapest of all, with an index or without.
  if (pass.dirty.length === 0 && pass.unkeyed === 0) return true
  return index !== null && pass.dirtyStored <= pass.stored * 0.3
}

type StageCommand = Extract<Command, { command: 'stage' }>

function stage({ filter, shape, skipDeleted }: StageCommand): StagePass {
  const reader = openRows()
  try {
    const writer = new RowWriter(chunkBytes, shape, (full, length) => {
      const buffer = full.buffer as ArrayBuffer
      send({ kind: 'rows', buffer, length }, [buffer])
      return nextBuffer()
    })
    const encoder = encoderFor(reader, writer)
    const merger = input.layout.mergeRows
      ? createMerger(encoder, writer, input.layout.displayAttribute)
      : null
    const encode = merger === null ? encoder.encode : merger.encode
    const known = filter === 'buckets' && isSparse(comparison()) ? comparison() : null
    const isWanted = known === null ? chooser(filter, encoder) : () => true
    const counts = { records: known?.pass.records ?? 0, ignored: known?.pass.ignored ?? 0 }
    let rejects = 0
    let untrusted = 0
    let batch: Reject[] = []
    for (const _ of known === null ? rows(reader, counts) : indexedRows(reader, known)) {
      if (!isWanted()) continue
      if (skipDeleted && encoder.isDeleted()) {
        counts.ignored += 1
        continue
      }
      const reject = encode()
      if (reject === null) continue
      rejects += 1
      if (!reject.trusted) untrusted += 1
      batch.push(reject)
      if (batch.length >= 200) {
        send({ kind: 'rejects', rejects: batch })
        batch = []
      }
    }
    merger?.finish()
    if (batch.length > 0) send({ kind: 'rejects', rejects: batch })
    const staged = writer.rows
    writer.finish()
    const conflicts = {
      accounts: merger?.conflicts.accounts ?? 0,
      names: [...(merger?.conflicts.names ?? [])],
    }
    return { ...counts, staged, rejects, untrusted, conflicts }
  } finally {
    reader.close()
  }
}

/** Adds up the file while the stored fingerprints stream in; the two take turns, so that both processors work. */
async function compare(table: string, count: number): Promise<ComparePass> {
  const sums = createBuckets(count)
  let stored = 0
  const streamed = readFingerprints(input.database, table, (keyHash, low, high) => {
    addStored(sums, keyHash, low, high)
    stored += 1
  })
  // The file may fail first; the other promise is then waited for in `finally`.
  streamed.catch(() => undefined)
  const reader = openRows()
  try {
    const encoder = encoderFor(reader, new RowWriter(64, noShape, (full) => full))
    const counts = { records: 0, ignored: 0 }
    // Of a source that is too large for it, no index is begun: memory stays flat.
    let index: RowIndex | null = count > indexedBuckets ? null : createRowIndex()
    let unkeyed = 0
    let turn = 0
    const { scanner } = reader
    for (;;) {
      // Most records need no look at their cells. One with too few or too many is dirty by its own hash.
      const bounded = isFiltered === null && scanner.nextBounds()
      if (bounded) countRecord(reader, counts)
      else if (!nextRow(reader, counts)) break
      const readable = bounded ? encoder.hashPlainKey() : encoder.hashKeyCell()
      const keyHash = encoder.keyHash()
      const offset = reader.recordOffset()
      if (offset === null || index?.add(offset, scanner.recordLine, keyHash, readable) !== true) {
        index = null
      }
      if (readable) {
        encoder.hashRow()
        addRow(sums, keyHash, encoder.rowHash[0] ?? 0, encoder.rowHash[1] ?? 0)
      } else {
        unkeyed += 1
      }
      turn += 1
      if ((turn & 0xfff) === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    await streamed
    const { dirty, stored: dirtyStored } = dirtyBuckets(sums)
    const pass = { ...counts, unkeyed, dirty, dirtyStored, stored }
    compared = { buckets: sums, pass, index }
    return pass
  } finally {
    reader.close()
    await streamed.catch(() => undefined)
  }
}

function pick(positions: readonly number[]): PickedRecord[] {
  const wanted = new Set(positions)
  const picked: PickedRecord[] = []
  const reader = openRows()
  try {
    for (const scanner of rows(reader, { records: 0, ignored: 0 })) {
      if (!wanted.has(scanner.recordLine)) continue
      picked.push({ position: scanner.recordLine, raw: rawRecord(scanner) })
      if (picked.length === wanted.size) break
    }
  } finally {
    reader.close()
  }
  return picked
}

function fail(error: unknown): void {
  if (error instanceof Stopped) {
    answer({
      kind: 'failed',
      code: 'stopped',
      message: '',
      hint: '',
      temporary: true,
      stack: undefined,
    })
    return
  }
  const known = error instanceof RunError ? error : null
  answer({
    kind: 'failed',
    code: known?.code ?? null,
    message: error instanceof Error ? error.message : String(error),
    hint: known?.hint ?? '',
    temporary: known?.temporary ?? false,
    stack: error instanceof Error ? error.stack : undefined,
  })
}

async function obey(command: Command): Promise<void> {
  switch (command.command) {
    case 'compare':
      answer({ kind: 'compared', pass: await compare(command.table, command.buckets) })
      return
    case 'stage':
      answer({ kind: 'staged', pass: stage(command) })
      return
    case 'pick':
      answer({ kind: 'picked', records: pick(command.positions) })
      return
    case 'close':
      port?.close()
      returns.close()
  }
}

port.on('message', (command: Command) => {
  obey(command).catch(fail)
})
