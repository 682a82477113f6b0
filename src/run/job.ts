// What one attempt of a run works with: the source as it is now, its file, and what the columns of the file mean.
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { cellText, maximumCells } from '../connect/delimited-scanner.ts'
import { openRecords } from '../connect/delimited-reader.ts'
import { type ColumnDrift, columnDrift, dataColumns } from '../core/drift.ts'
import { type Dialect, readDialect, spoolDialect } from '../core/dialect.ts'
import { findConnector } from '../connect/registry.ts'
import { RunError } from '../core/errors.ts'
import { hashKey } from '../core/fingerprint.ts'
import { type Layout, planLayout } from '../core/layout.ts'
import { openRecordFilter } from '../core/record-filter-match.ts'
import type { Schema } from '../core/schema.ts'
import type { Source } from '../core/source.ts'
import type { Task } from '../core/task.ts'
import { readLoadState } from '../store/apply.ts'
import type { Connection, Database } from '../store/database.ts'
import { claimSetting } from '../store/deployment.ts'
import { accountRange, partitionName } from '../store/names.ts'
import { getColumnsBefore, getRun, type Run, updateRun } from '../store/runs.ts'
import { listSchemas } from '../store/schemas.ts'
import { getSource } from '../store/sources.ts'
import type { Lease } from '../store/tasks.ts'
import type { SystemServices } from './ask-system.ts'
import type { RowKeys } from './encode-record.ts'
import { readSystem, type SpooledRead } from './read-system.ts'
import type { Spool } from './spool.ts'
import { isGzip, unpack } from './unpack.ts'

/** Raised when the reader would make other accounts of the same bytes: fingerprints of before then match no row. */
const readerVersion = 1

/** Which of the optimised ways may be taken; each is held equal to the plain one by a test. */
export interface Ways {
  /** A first load is copied into what becomes the partition. */
  readonly firstLoad: boolean
  /** A reload compares sums of fingerprints and stages only what may have changed. */
  readonly buckets: boolean
}

/** The moments of an upload and its run at which a test cuts them off, in their order. */
export type Step =
  | 'stored'
  | 'submitted'
  | 'claimed'
  | 'reading'
  | 'staging'
  | 'staged'
  | 'planned'
  | 'applied'
  | 'committed'
  | 'cleaning'

/** What runs need of the process. */
export interface RunServices {
  readonly db: Database
  readonly spool: Spool
  readonly ways: Ways
  readonly system: SystemServices
  /** Called at each step; a test ends the process there. */
  readonly onStep: (step: Step) => void | Promise<void>
}

/** One attempt of one run. */
export interface Job {
  readonly services: RunServices
  /** What was read of the system of a direct source; null for an upload. */
  readonly system: SpooledRead | null
  /** Whether only changes were read: absence means nothing then. */
  readonly delta: boolean
  /** Whether the records tell more than attributes: a stable key, disabled, locked, gone. */
  readonly stateful: boolean
  readonly task: Task
  readonly lease: Lease
  readonly run: Run
  readonly source: Source
  readonly schema: Schema
  readonly dialect: Dialect
  readonly layout: Layout
  /** How the columns differ from the schema and from the run before. */
  readonly drift: ColumnDrift
  readonly keys: RowKeys
  /** What the row fingerprints are seeded with. */
  readonly seed: Buffer
  /** The file that is collected, and its length in bytes; 0 where it is still being written. */
  readonly path: string
  readonly bytes: number
  /** Removes what the attempt wrote for itself, and ends what still reads. */
  readonly forget: () => Promise<void>
  readonly optimized: boolean
  readonly partition: string
  readonly range: { readonly low: string; readonly high: string }
  /** The first 6 bytes of the account ids. */
  readonly prefix: Uint8Array
  /** The accounts before, and the version that the plan is made against. */
  readonly before: {
    readonly accounts: number
    readonly accountsVersion: number
    readonly seed: Buffer | null
  }
  /** The connection that every statement of the attempt goes through, so that it can be cancelled. */
  readonly connection: Connection
  readonly signal: AbortSignal
}

/** Gathers all that an attempt needs; what cannot be used is an error, and nothing was changed. */
export async function openJob(
  services: RunServices,
  claimed: { readonly task: Task; readonly lease: Lease },
  connection: Connection,
  signal: AbortSignal,
  onRead: Parameters<typeof readSystem>[3],
): Promise<Job> {
  const { task, lease } = claimed
  const run = await getRun(connection, task.id)
  if (run === null || task.sourceId === null) throw new Error(`task ${task.id} has no run`)
  const source = await getSource(connection, task.sourceId)
  const before = await readLoadState(connection, task.sourceId)
  if (source === null || before === null) {
    throw new RunError('source_gone', 'The source was deleted before the run began.', {
      hint: 'Create the source again and send the file again.',
    })
  }
  const schemas = await listSchemas(connection, source.id)
  const schema = schemas.find((candidate) => candidate.name === 'account')
  if (schema === undefined) {
    // A source whose connector is not installed was made without schemas: that is what to begin with.
    if (source.connectionType === 'direct') {
      await findConnector(source.connector, services.system.packages)
    }
    throw new RunError('no_schema', 'The source has no schema named "account".', {
      hint: 'Create the account schema of the source.',
    })
  }
  const secret = await fingerprintSecret(connection)
  const input =
    source.connectionType === 'file'
      ? await openUpload(services, { run, source, schema }, signal, onRead)
      : await openSystem(
          services,
          { connection, source, schema, run, accounts: before.accounts },
          signal,
          onRead,
        )
  const { dialect, layout } = input
  const drift = await keepColumns(connection, lease, run, schema, input).catch(
    async (error: unknown) => {
      await input.forget()
      throw error
    },
  )
  const seed = seedOf(dialect, layout)
  const derive = (label: string | Buffer) =>
    hashKey(createHmac('sha256', secret).update(label).digest().subarray(0, 8))
  return {
    services,
    task,
    lease,
    run,
    source,
    schema,
    ...input,
    drift,
    keys: { row: derive(seed), key: derive('key-hash') },
    seed,
    optimized: run.fields['disableOptimization'] !== 'true',
    partition: partitionName(source.id),
    range: accountRange(source.id),
    prefix: Buffer.from(source.id.slice(0, 12), 'hex'),
    before,
    connection,
    signal,
  }
}

/** What an attempt reads its records from. */
type Input = Pick<
  Job,
  'path' | 'bytes' | 'dialect' | 'layout' | 'system' | 'delta' | 'stateful' | 'forget'
>

/** Opens an upload; what is gzip is unpacked into a file of the attempt first. */
async function openUpload(
  services: RunServices,
  { run, source, schema }: Pick<Job, 'run' | 'source' | 'schema'>,
  signal: AbortSignal,
  onRead: Parameters<typeof readSystem>[3],
): Promise<Input> {
  if (run.spoolFile === null) {
    throw new RunError('no_file', 'The run has no file.', { hint: 'Send the file again.' })
  }
  const sent = services.spool.path(run.spoolFile)
  const dialect = readDialect(source.connectorAttributes)
  const place = isGzip(sent) ? services.spool.reserve() : null
  const forget = async (): Promise<void> => place?.forget()
  try {
    let bytes = run.spoolBytes ?? 0
    if (place !== null) {
      let packed = 0
      onRead(() => ({ rows: 0, bytes: packed }))
      const limit = services.system.maxReadBytes
      bytes = await unpack(sent, place.path, limit, signal, (read) => (packed = read))
    }
    const path = place?.path ?? sent
    const header = readHeader(path, dialect)
    const layout = planLayout(header, schema, dialect)
    // The thread makes its own; here it is asked for its columns, before anything is read.
    if (dialect.filter !== null) openRecordFilter(dialect.filter, header)
    const plain = { system: null, delta: false, stateful: false }
    return { path, bytes, dialect, layout, ...plain, forget }
  } catch (error) {
    await forget()
    throw error
  }
}

/** Reads the system into the spool; from there on it is a file like any other. */
async function openSystem(
  services: RunServices,
  read: Parameters<typeof readSystem>[1],
  signal: AbortSignal,
  onRead: Parameters<typeof readSystem>[3],
): Promise<Input> {
  const dialect = spoolDialect(read.source.connectorAttributes)
  const system = await readSystem(services, read, signal, onRead)
  try {
    const layout = planLayout(system.columns, read.schema, dialect, system)
    return {
      path: system.path,
      bytes: 0,
      dialect,
      layout: { ...layout, extra: [...new Set([...layout.extra, ...system.extra])] },
      system,
      delta: system.mode === 'delta',
      stateful: layout.keyColumn >= 0 || layout.flagsColumn >= 0,
      forget: () => system.close(),
    }
  } catch (error) {
    await system.close()
    throw error
  }
}

/** Writes down by which settings and columns the run collects, and tells how the columns have moved. */
async function keepColumns(
  connection: Connection,
  lease: Lease,
  run: Run,
  schema: Schema,
  { dialect, layout }: Pick<Input, 'dialect' | 'layout'>,
): Promise<ColumnDrift> {
  const columns = dataColumns(layout.header)
  const drift = columnDrift(columns, layout, await getColumnsBefore(connection, run))
  const { identityAttribute, displayAttribute, attributes } = schema
  const settings = { dialect, identityAttribute, displayAttribute, attributes, columns, drift }
  await updateRun(connection, lease, { settings })
  return drift
}

/** The names in the first record of a file, without the spaces around them. */
export function readHeader(path: string, dialect: Dialect): string[] {
  const reader = openFile(path, dialect)
  try {
    for (;;) {
      const scan = reader.next()
      if (scan === 'more') return []
      if (scan === 'record') break
    }
    const { scanner } = reader
    if (scanner.malformed) {
      throw new RunError('bad_header', 'Text follows a closing quote in the header.', {
        hint: 'Correct the first line of the file.',
      })
    }
    if (scanner.cells > maximumCells) {
      throw new RunError(
        'bad_header',
        `The header names ${scanner.cells} columns; ${maximumCells} are the most.`,
        { hint: 'Look for a line ending that is missing, or leave out columns.' },
      )
    }
    return Array.from({ length: scanner.cells }, (_, index) => cellText(scanner, index).trim())
  } finally {
    reader.close()
  }
}

function openFile(path: string, dialect: Dialect): ReturnType<typeof openRecords> {
  try {
    return openRecords(path, dialect)
  } catch (cause) {
    if (cause instanceof RunError) throw cause
    throw new RunError('spool_unreadable', 'The uploaded file can no longer be read.', {
      hint: 'Send the file again; look at the spool folder and its disk.',
      temporary: true,
      cause,
    })
  }
}

/** Everything besides its bytes that decides what a row becomes. */
function seedOf(dialect: Dialect, layout: Layout): Buffer {
  return createHash('sha256')
    .update(JSON.stringify([readerVersion, dialect, layout]))
    .digest()
}

/** The secret of this deployment's fingerprints; drawn once. */
async function fingerprintSecret(connection: Connection): Promise<Buffer> {
  const text = await claimSetting(connection, 'fingerprint-key', randomBytes(32).toString('hex'))
  return Buffer.from(text, 'hex')
}
