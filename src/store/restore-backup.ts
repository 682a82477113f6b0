// A backup becomes a database again: schema, rows, partitions and numbers in one transaction, then the newer migrations.
import { pipeline } from 'node:stream/promises'
import { from as copyFrom } from 'pg-copy-streams'
import { attachPartition } from './apply.ts'
import type {
  BackupHeader,
  BackupReader,
  OpenSection,
  SectionSum,
  SequenceMark,
} from './backup-format.ts'
import type { Connection, Database, Queryable } from './database.ts'
import { addPrimaryKey, dropRangeCheck } from './first-load.ts'
import {
  checkServer,
  compareMigrations,
  lockMigrations,
  makeSchema,
  migrate,
  readMigrations,
} from './migrate.ts'
import { accountRange, quoteName } from './names.ts'
import { fitsKeyCheck, type MasterKey, verifyMasterKey } from './sealed.ts'
import { StoreError } from './store-error.ts'

/** What a restore did. */
export interface Restored {
  readonly sections: readonly SectionSum[]
  /** The migrations that were applied because the backup is of an older schema. */
  readonly migrated: readonly string[]
}

/** What happens while a backup is restored. */
export interface RestoreWatch {
  readonly onSection?: (name: string) => void
  readonly onProgress?: (name: string) => void
}

/** Refuses a backup of a newer schema, or of migrations that are others than those of this program. */
export async function checkSchema(header: BackupHeader): Promise<void> {
  try {
    compareMigrations(await readMigrations(), header.schema)
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    throw new StoreError(error.code, `The backup does not fit: ${error.message}`, {
      hint: `Muster ${header.muster} took it. Install that version or a later one. Nothing was changed.`,
      cause: error,
    })
  }
}

/** Refuses a key that does not open the secrets of a backup. */
export function checkBackupKey(header: BackupHeader, key: MasterKey): void {
  const { keyCheck } = header
  if (keyCheck === null) return
  const wrappedKey = Buffer.from(keyCheck.wrappedKey, 'base64')
  const ciphertext = Buffer.from(keyCheck.ciphertext, 'base64')
  if (fitsKeyCheck(key, { wrappedKey, ciphertext })) return
  throw new StoreError(
    'master_key_wrong',
    'The master key is not the one that the secrets in the backup are sealed with.',
    {
      hint: 'Set MUSTER_KEY to the key of the server that the backup was taken of, or copy the file "key" of its data folder into the new one. Nothing was changed.',
    },
  )
}

/** Reads a backup to its end and gives what it holds. Throws `backup_damaged`, naming the section, when it is not whole. */
export async function checkBackup(
  backup: BackupReader,
  watch: RestoreWatch = {},
): Promise<readonly SectionSum[]> {
  return eachSection(backup, watch, async (section) => {
    for await (const piece of section.rows()) {
      if (piece.length > 0) watch.onProgress?.(section.start.name)
    }
  })
}

/** With what key a backup is restored. */
export interface RestoreKey {
  /** The key of its secrets; a new one when these are dropped; null for a backup that has no secrets. */
  readonly key: MasterKey | null
  /** Leaves out what only a lost key would open. */
  readonly dropSecrets: boolean
}

/**
 * Restores a backup into an empty database: all in one transaction, which is committed when the whole backup has proven to
 * be what was written. Then it applies the migrations that the backup does not have, and gathers statistics. Throws
 * `target_not_empty`, naming what is there, for a database that holds tables.
 */
export async function restoreBackup(
  db: Database,
  backup: BackupReader,
  { key, dropSecrets }: RestoreKey,
  watch: RestoreWatch = {},
): Promise<Restored> {
  const files = await readMigrations()
  await checkServer(db)
  await checkEncoding(db)
  const sections = await db.transaction(async (tx) => {
    await tx.query('set local statement_timeout = 0')
    await tx.query('set local lock_timeout = 0')
    await tx.query('set local idle_in_transaction_session_timeout = 0')
    await lockMigrations(tx)
    await refuseFull(tx)
    await makeSchema(tx, files, backup.header.schema.length)
    const taken = await eachSection(backup, watch, async (section) => {
      await restoreSection(tx, section, watch)
    })
    for (const mark of backup.header.sequences) await continueAfter(tx, mark)
    // Tokens are signed by a key that is sealed too; the server draws a new one at its start.
    if (dropSecrets) for (const table of ['sealed_secret', 'signing_key']) await clear(tx, table)
    if (key !== null) await verifyMasterKey(tx, key)
    return taken
  })
  const { applied } = await migrate(db)
  // Without statistics the first reload of a million accounts takes a nested loop. Where this is cut off, autovacuum does it.
  for (const { name } of sections) await db.query(`analyze ${quoteName(name)}`)
  return { sections, migrated: applied }
}

async function eachSection(
  backup: BackupReader,
  watch: RestoreWatch,
  work: (section: OpenSection) => Promise<void>,
): Promise<readonly SectionSum[]> {
  const sections: SectionSum[] = []
  for (;;) {
    const section = await backup.next()
    if (section === null) return sections
    const { name } = section.start
    watch.onSection?.(name)
    await work(section)
    sections.push({ name, ...section.end() })
  }
}

async function restoreSection(
  tx: Connection,
  section: OpenSection,
  watch: RestoreWatch,
): Promise<void> {
  const { name, parent } = section.start
  if (parent === null) {
    await clear(tx, name)
    await copyIn(tx, section, watch)
    return
  }
  // As a first load does it: the table is filled without its key, and becomes a partition when it has one.
  const prefix = /^account_([0-9a-f]{12})$/.exec(name)?.[1]
  if (parent !== 'account' || prefix === undefined) throw odd(name)
  const { low, high } = accountRange(prefix)
  const table = quoteName(name)
  await tx.query(`create table ${table} (like account including defaults including comments)`)
  await tx.query(
    `alter table ${table} add constraint in_range check (id >= '${low}' and id < '${high}')`,
  )
  await copyIn(tx, section, watch)
  if (!(await addPrimaryKey(tx, name))) throw odd(name)
  await attachPartition(tx, prefix)
  await dropRangeCheck(tx, prefix)
}

/** Migrations put first rows into some tables; the audit, which refuses every removal, is not one of them. */
async function clear(tx: Queryable, table: string): Promise<void> {
  const { rows } = await tx.query<{ found: boolean }>(
    `select exists (select from ${quoteName(table)}) as found`,
  )
  if (rows[0]?.found === true) await tx.query(`delete from ${quoteName(table)}`)
}

async function copyIn(tx: Connection, section: OpenSection, watch: RestoreWatch): Promise<void> {
  const { name } = section.start
  const columns = section.start.columns.map(quoteName).join(', ')
  // Frozen rows need not be written again by a vacuum; the table was made in this transaction, so nobody sees them early.
  const copy = tx.raw.query(copyFrom(`copy ${quoteName(name)} (${columns}) from stdin (freeze)`))
  const rows = async function* (): AsyncGenerator<Buffer> {
    for await (const piece of section.rows()) {
      watch.onProgress?.(name)
      yield piece
    }
  }
  await pipeline(rows, copy)
  if (copy.rowCount !== section.end().rows) throw odd(name)
}

async function continueAfter(tx: Queryable, mark: SequenceMark): Promise<void> {
  const { table, column, last } = mark
  if (last === 0) return
  await tx.query(
    `select setval(pg_get_serial_sequence($1::text, $2::text)::regclass,
       greatest($3::bigint, (select max(${quoteName(column)}) from ${quoteName(table)})))`,
    [table, column, last],
  )
}

async function checkEncoding(q: Queryable): Promise<void> {
  const { rows } = await q.query<{ encoding: string }>(
    `select current_setting('server_encoding') as encoding`,
  )
  const encoding = rows[0]?.encoding ?? ''
  if (encoding === 'UTF8') return
  throw new StoreError('database_unusable', `The database has the encoding ${encoding}.`, {
    hint: `Make one with: create database muster template template0 encoding 'UTF8'`,
  })
}

/** Names what is there, so that nobody wonders what a restore would have taken away. */
async function refuseFull(tx: Queryable): Promise<void> {
  const { rows } = await tx.query<{ name: string }>(
    `select relname::text as name from pg_class
     where relnamespace = quote_ident(current_schema())::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f') and not relispartition
     order by relname`,
  )
  const names = rows.map(({ name }) => name)
  if (names.length === 0) return
  throw new StoreError(
    'target_not_empty',
    `The database is not empty: it holds ${await whatIsThere(tx, names)}.`,
    {
      hint: 'A backup is restored into nothing else than an empty database: set MUSTER_DATA_DIR to a new folder, or DATABASE_URL to a new database. Nothing was changed.',
    },
  )
}

async function whatIsThere(tx: Queryable, names: readonly string[]): Promise<string> {
  if (!names.includes('migration') || !names.includes('source') || !names.includes('client')) {
    return `${names.length} tables, among them ${names.slice(0, 3).join(', ')}`
  }
  const { rows } = await tx.query<{ sources: number; accounts: number; clients: number }>(
    `select count(*) as sources, coalesce(sum(accounts), 0)::bigint as accounts,
       (select count(*) from client) as clients
     from source where deleted_at is null`,
  )
  const { sources = 0, accounts = 0, clients = 0 } = rows[0] ?? {}
  return `a Muster with ${clients} clients, ${sources} sources and ${accounts} accounts`
}

function odd(section: string): StoreError {
  return new StoreError(
    'backup_damaged',
    `The backup is damaged in the section ${section}: its rows do not make the table that they are said to be.`,
    { hint: 'Take another copy of the file, or an older backup. Nothing was changed.' },
  )
}
