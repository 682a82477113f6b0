// Brings the schema of the database up to this program: numbered files, forward only, safe to race.
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Database, Queryable } from './database.ts'
import { StoreError } from './store-error.ts'

/** What `migrate` did: the files that this call applied, and the number of the schema afterwards. */
export interface Migrated {
  readonly applied: string[]
  readonly version: number
}

/** A file of sql/. */
export interface Migration {
  readonly number: number
  readonly name: string
  readonly text: string
  readonly sha256: string
}

/** A file that was applied to a schema. */
export interface Applied {
  readonly number: number
  readonly name: string
  readonly sha256: string
}

// The folder stands at the root of the package, two above both src/store and dist/store.
const packagedFolder = fileURLToPath(new URL('../../sql', import.meta.url))
const oldestServer = 15

/**
 * Applies the files of `sqlDir` that the schema (the first of the search path) does not have yet, each in one transaction
 * with its row in `migration`. Any number of processes may call it at once: one applies, the others wait and find nothing
 * to do. Refuses a server before PostgreSQL 15, a schema that a newer program made, and a file that was changed after it
 * was applied.
 */
export async function migrate(db: Database, sqlDir = packagedFolder): Promise<Migrated> {
  const files = await readMigrations(sqlDir)
  await checkServer(db)
  const applied: string[] = []
  for (;;) {
    const name = await applyNext(db, files)
    if (name === undefined) return { applied, version: files.length }
    applied.push(name)
  }
}

// The lock belongs to the transaction, not to the session, so it works through PgBouncer too, and everything that it
// guards is looked at again under it.
async function applyNext(db: Database, files: readonly Migration[]): Promise<string | undefined> {
  return db.transaction(async (tx) => {
    await tx.query('set local statement_timeout = 0')
    await tx.query('set local lock_timeout = 0')
    await lockMigrations(tx)
    await makeTable(tx)
    const rows = await listApplied(tx)
    compareMigrations(files, rows)
    const next = files[rows.length]
    if (next === undefined) return undefined
    await apply(tx, next)
    return next.name
  })
}

/** Keeps every other migration and restore of this schema waiting until the transaction ends. */
export async function lockMigrations(tx: Queryable): Promise<void> {
  await tx.query(
    `select pg_advisory_xact_lock(hashtext('muster migration'), hashtext(current_schema()))`,
  )
}

/** The files that were applied to this schema, in order; the table has to be there. */
export async function listApplied(q: Queryable): Promise<Applied[]> {
  const { rows } = await q.query<Applied>(
    'select number, name, sha256 from migration order by number',
  )
  return rows
}

/**
 * Makes the schema of the first `count` files in the caller's transaction, which has locked the migrations of an empty
 * schema: a restore then leaves all or nothing.
 */
export async function makeSchema(
  tx: Queryable,
  files: readonly Migration[],
  count: number,
): Promise<void> {
  await makeTable(tx)
  for (const file of files.slice(0, count)) await apply(tx, file)
}

async function apply(tx: Queryable, file: Migration): Promise<void> {
  try {
    await tx.query(file.text)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    const place = lineOf(file.text, cause)
    throw new StoreError('migration_failed', `Migration ${file.name} failed${place}: ${reason}`, {
      hint: 'Nothing of this migration was kept. Correct what the message names and start again.',
      cause,
    })
  }
  await tx.query(
    `insert into migration (number, name, sha256, applied_at)
     values ($1::int, $2::text, $3::text, now())`,
    [file.number, file.name, file.sha256],
  )
}

// The server counts characters from 1 through the whole file.
function lineOf(text: string, error: unknown): string {
  const position: unknown = error instanceof Error ? Reflect.get(error, 'position') : undefined
  if (typeof position !== 'string') return ''
  return ` at line ${text.slice(0, Number(position)).split('\n').length}`
}

async function makeTable(tx: Queryable): Promise<void> {
  try {
    await tx.query(`create table if not exists migration (
      number int primary key,
      name text not null,
      sha256 text not null,
      applied_at timestamptz not null
    )`)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new StoreError('database_unusable', `Tables cannot be made in the database: ${reason}.`, {
      hint: 'Connect as the owner of the database, or grant create and usage on its schema to the role of DATABASE_URL.',
      cause,
    })
  }
  await tx.query(`comment on table migration is
    'The files of sql/ that were applied to this schema, one row each; written by migrate only'`)
  await tx.query(
    `comment on column migration.number is 'The number that the file name begins with'`,
  )
  await tx.query(`comment on column migration.name is 'The file name'`)
  await tx.query(`comment on column migration.sha256 is
    'Hash of the file, in hexadecimal digits; a file that was applied is never edited'`)
  await tx.query(`comment on column migration.applied_at is 'When it was applied'`)
}

/** Throws `schema_newer` where more was applied than there is, `migration_changed` where a file is another one now. */
export function compareMigrations(files: readonly Migration[], applied: readonly Applied[]): void {
  for (const [index, row] of applied.entries()) {
    const file = files[index]
    if (file === undefined) {
      const newest = applied.at(-1) ?? row
      throw new StoreError(
        'schema_newer',
        `The database's schema is at ${newest.name}, and this program knows it only up to ${files.length}.`,
        {
          hint: 'A newer Muster has used this database. Start that version or a later one; nothing was changed.',
        },
      )
    }
    if (file.number !== row.number || file.name !== row.name || file.sha256 !== row.sha256) {
      throw new StoreError(
        'migration_changed',
        `Migration ${row.name} was applied to this database with another content than ${file.name} has now.`,
        {
          hint: 'Install the released files again. A schema is changed by a new file with the next number, never by editing one.',
        },
      )
    }
  }
}

/** Refuses a server before PostgreSQL 15, and a search path that leads nowhere. */
export async function checkServer(db: Queryable): Promise<void> {
  const { rows } = await db.query<{ version: number; text: string; schema: string | null }>(
    `select current_setting('server_version_num')::int as version,
            current_setting('server_version') as text,
            current_schema() as schema`,
  )
  const [server] = rows
  if (server === undefined) throw new Error('the server gave no version')
  if (Math.floor(server.version / 10_000) < oldestServer) {
    throw new StoreError(
      'server_version',
      `The database server is PostgreSQL ${server.text}; Muster needs PostgreSQL ${oldestServer} or later.`,
      { hint: 'Upgrade the server, or unset DATABASE_URL to use the embedded PostgreSQL.' },
    )
  }
  if (server.schema === null) {
    throw new StoreError('database_unusable', 'No schema of the search_path exists.', {
      hint: 'Create the schema, or correct the search_path of the role or of DATABASE_URL.',
    })
  }
}

/** Reads the files, whose numbers run from 1 without a gap. */
export async function readMigrations(folder = packagedFolder): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).toSorted()
  const files = await Promise.all(names.map((name) => readMigration(folder, name)))
  for (const [index, file] of files.entries()) {
    if (file.number === index + 1) continue
    throw new StoreError(
      'migration_invalid',
      `${join(folder, file.name)} should have the number ${index + 1}: the numbers run from 1 without a gap.`,
      { hint: 'Install the released files again.' },
    )
  }
  return files
}

async function readMigration(folder: string, name: string): Promise<Migration> {
  const number = /^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)?.[1]
  if (number === undefined) {
    throw new StoreError('migration_invalid', `${join(folder, name)} is not named NNNN_name.sql.`, {
      hint: 'Install the released files again.',
    })
  }
  // A checkout on Windows may have other line ends; that is no change.
  const text = (await readFile(join(folder, name), 'utf8')).replaceAll('\r\n', '\n')
  const sha256 = createHash('sha256').update(text).digest('hex')
  return { number: Number(number), name, text, sha256 }
}
