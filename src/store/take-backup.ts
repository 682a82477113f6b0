// A backup as a stream of bytes: every table by COPY out of one snapshot, compressed, each with its digest.
import { createHash, type Hash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { to as copyTo } from 'pg-copy-streams'
import {
  type BackupHeader,
  type FileEnd,
  firstLine,
  formatVersion,
  frame,
  jsonFrame,
  type MigrationMark,
  type SectionEnd,
  type SectionSum,
} from './backup-format.ts'
import { type KeptTable, listKept, listSequences, tablesOf } from './backup-tables.ts'
import type { Connection, Database } from './database.ts'
import { compareMigrations, listApplied, type Migration, readMigrations } from './migrate.ts'
import { quoteName } from './names.ts'
import { readKeyCheck } from './sealed.ts'
import { StoreError } from './store-error.ts'

/** What happens while a backup is taken. */
export interface BackupWatch {
  /** The snapshot is taken, and these sections follow. */
  readonly onHeader?: (header: BackupHeader) => void
  /** `done` is between 0 and 1, as far as statistics tell. */
  readonly onProgress?: (section: string, done: number) => void
  readonly onEnd?: (sections: readonly SectionSum[]) => void
}

// Level 1 makes 81 MB of 355 MB in 5.7 s of one processor, level 6 makes 72 MB in 12.3 s (a million accounts, 2026-11-23).
const gzipLevel = 1
const pieceBytes = 64 * 1024
/** Sources come and go while tables are listed; each attempt takes milliseconds. */
const maximumAttempts = 20
/** A migration may hold tables for a while; nothing of a server at work does. */
const patienceSeconds = 60

/**
 * Gives a backup of the database piece by piece; what is not taken is not read. The server may run and write meanwhile:
 * everything is of the instant at which the first piece is taken. Rows are written as text, which every version of
 * PostgreSQL reads, and a person with `gzip -dc` too; binary rows are as large and take a fifth less processor
 * (5.7 s and 4.5 s a million accounts, 2026-11-23).
 */
export async function* takeBackup(
  db: Database,
  muster: string,
  watch: BackupWatch = {},
): AsyncGenerator<Buffer> {
  const files = await readMigrations()
  const tx = await db.connect()
  let clean = false
  try {
    const { tables, applied } = await openSnapshot(tx, files)
    const header = await describe(tx, muster, tables, applied)
    watch.onHeader?.(header)
    const whole = createHash('sha256')
    const pass = (bytes: Buffer): Buffer => {
      whole.update(bytes)
      return bytes
    }
    yield pass(Buffer.from(firstLine))
    yield pass(jsonFrame('H', header))
    const sections: SectionSum[] = []
    const share = progressOf(tables)
    for (const table of tables) {
      const { name, parent, columns } = table
      yield pass(jsonFrame('S', { name, parent, columns }))
      const copied = startCopy(tx, table)
      for await (const piece of copied.pieces) {
        watch.onProgress?.(name, share(table, copied.bytes()))
        yield pass(frame('D', piece))
      }
      const end = await copied.end()
      yield pass(jsonFrame('E', end))
      sections.push({ name, ...end })
    }
    await tx.query('commit')
    clean = true
    const end: FileEnd = { sections, sha256: whole.digest('hex') }
    yield jsonFrame('Z', end)
    watch.onEnd?.(sections)
  } finally {
    // A COPY that is cut off leaves a connection that can be used for nothing else.
    tx.release(!clean)
  }
}

/**
 * Begins a snapshot whose tables are locked against being dropped or made anew. The locks come first, because they wait
 * and the snapshot must be younger than what they waited for: a partition that was dropped and made again under its name
 * in between would give the rows of another instant.
 */
async function openSnapshot(
  tx: Connection,
  files: readonly Migration[],
): Promise<{ readonly tables: readonly KeptTable[]; readonly applied: readonly MigrationMark[] }> {
  await refuseNothing(tx)
  const made = tablesOf(files)
  for (let attempt = 1; attempt <= maximumAttempts; attempt += 1) {
    const before = await listKept(tx, made)
    await tx.query('begin isolation level repeatable read, read only')
    await tx.query('set local statement_timeout = 0')
    await tx.query(`set local lock_timeout = '${patienceSeconds}s'`)
    await tx.query('set local idle_in_transaction_session_timeout = 0')
    await tx.query('set local bytea_output = hex')
    if (await lockTables(tx, before)) {
      const tables = await listKept(tx, made)
      if (sameTables(before, tables)) {
        const applied = await listApplied(tx)
        compareMigrations(files, applied)
        return { tables, applied }
      }
    }
    await tx.query('rollback')
  }
  throw new StoreError('database_unusable', 'The tables of the database change without an end.', {
    hint: 'Take the backup again when fewer sources are made and removed.',
  })
}

async function refuseNothing(tx: Connection): Promise<void> {
  const { rows } = await tx.query<{ found: boolean }>(
    `select to_regclass('migration') is not null as found`,
  )
  if (rows[0]?.found === true) return
  throw new StoreError('nothing_to_back_up', 'The database holds nothing of Muster.', {
    hint: 'Check DATABASE_URL or MUSTER_DATA_DIR: they have to be those that the server runs with.',
  })
}

/** False when a table is gone meanwhile. */
async function lockTables(tx: Connection, tables: readonly KeptTable[]): Promise<boolean> {
  const names = tables.map(({ name }) => quoteName(name)).join(', ')
  try {
    await tx.query(`lock table ${names} in access share mode`)
    return true
  } catch (error) {
    const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
    if (code === '42P01') return false
    if (code !== '55P03') throw error
    throw new StoreError(
      'database_unusable',
      `Another connection has held tables of the database for ${patienceSeconds} seconds.`,
      {
        hint: 'Look in pg_stat_activity who it is; a migration of a large database may take long. Then take the backup again.',
        cause: error,
      },
    )
  }
}

function sameTables(before: readonly KeptTable[], after: readonly KeptTable[]): boolean {
  const mark = (tables: readonly KeptTable[]): string => tables.map(({ oid }) => oid).join()
  return mark(before) === mark(after)
}

async function describe(
  tx: Connection,
  muster: string,
  tables: readonly KeptTable[],
  applied: readonly MigrationMark[],
): Promise<BackupHeader> {
  const { rows } = await tx.query<{ version: string; deployment: string | null; taken: Date }>(
    `select current_setting('server_version') as version, transaction_timestamp() as taken,
       (select value from setting where name = 'deployment_id') as deployment`,
  )
  const [facts] = rows
  if (facts === undefined) throw new Error('the server gave no version')
  const check = await readKeyCheck(tx)
  return {
    format: formatVersion,
    muster,
    postgresql: facts.version,
    deployment: facts.deployment,
    taken: facts.taken.toISOString(),
    schema: applied,
    keyCheck:
      check === undefined
        ? null
        : {
            wrappedKey: check.wrappedKey.toString('base64'),
            ciphertext: check.ciphertext.toString('base64'),
          },
    sequences: await listSequences(tx, tables),
    sections: tables.map(({ name }) => name),
  }
}

interface Copied {
  readonly pieces: AsyncIterable<Buffer>
  /** Bytes of rows so far. */
  bytes(): number
  /** What was copied; asked after the last piece. */
  end(): Promise<SectionEnd>
}

function startCopy(tx: Connection, table: KeptTable): Copied {
  const columns = table.columns.map((column) => `"${column}"`).join(', ')
  const copy = tx.raw.query(copyTo(`copy ${quoteName(table.name)} (${columns}) to stdout`))
  const hash = createHash('sha256')
  let bytes = 0
  const gzip = createGzip({ level: gzipLevel, chunkSize: pieceBytes })
  const filled = pipeline(copy, (source) => measure(source, hash, (more) => (bytes += more)), gzip)
  // It comes out of the loop over the pieces too; here nobody may be waiting for it.
  filled.catch(() => undefined)
  return {
    pieces: gzip as AsyncIterable<Buffer>,
    bytes: () => bytes,
    end: async () => {
      await filled
      // The last word of a COPY comes after its rows; an answer to another statement proves that it was heard.
      await tx.query('select')
      return { rows: copy.rowCount, bytes, sha256: hash.digest('hex') }
    },
  }
}

async function* measure(
  source: AsyncIterable<Buffer>,
  hash: Hash,
  count: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  for await (const piece of source) {
    hash.update(piece)
    count(piece.length)
    yield piece
  }
}

/** How far a backup is, when each row of a table has as many bytes as the others: about 350 of an account with 12 attributes. */
function progressOf(tables: readonly KeptTable[]): (table: KeptTable, bytes: number) => number {
  const usualRow = 350
  const all = tables.reduce((sum, { estimatedRows }) => sum + estimatedRows, 0)
  return (table, bytes) => {
    const before = tables
      .slice(0, tables.indexOf(table))
      .reduce((sum, { estimatedRows }) => sum + estimatedRows, 0)
    const here = Math.min(table.estimatedRows, bytes / usualRow)
    return all === 0 ? 0 : (before + here) / all
  }
}
