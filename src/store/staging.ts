// Staging: the rows of a run before they are accounts. A table per run, unlogged, filled by COPY.
import { from as copyFrom } from 'pg-copy-streams'
import type { Writable } from 'node:stream'
import type { Connection, Queryable } from './database.ts'
import { dirtyName, planName, quoteName, stagingName } from './names.ts'
import { type RecordState, rowColumns, type RowShape } from './row-writer.ts'

/** Makes the staging table of a run anew. What a former attempt staged is dropped. */
export async function createStaging(q: Queryable, runNumber: number): Promise<string> {
  const name = stagingName(runNumber)
  await dropRunTables(q, runNumber)
  await q.query(
    `create unlogged table ${quoteName(name)} (
       id uuid not null, fingerprint bigint, key_hash integer not null,
       native_identity text collate "C" not null, name text collate "C",
       attributes text collate "C" not null, stable_key text collate "C",
       disabled boolean not null default false, locked boolean not null default false,
       deleted boolean not null default false, position bigint not null)`,
  )
  return name
}

/** Drops what a run made: staging, plan, dirty buckets. */
export async function dropRunTables(q: Queryable, runNumber: number): Promise<void> {
  const names = [stagingName(runNumber), planName(runNumber), dirtyName(runNumber)].map(quoteName)
  await q.query(`drop table if exists ${names.join(', ')}`)
}

/** Drops the tables of runs that have ended, which a killed process left; gives their number. */
export async function dropOrphanTables(q: Queryable): Promise<number> {
  const { rows } = await q.query<{ number: number }>(
    `select distinct substring(relname from '_([0-9]+)$')::bigint as number
     from pg_class
     where relkind = 'r' and relnamespace = quote_ident(current_schema())::regnamespace
       and relname ~ '^(staging|plan|dirty)_[0-9]+$'
       and not exists (select from task where completed_at is null
         and task.number = substring(relname from '_([0-9]+)$')::bigint)`,
  )
  for (const row of rows) await dropRunTables(q, row.number)
  return rows.length
}

/**
 * Opens a COPY of binary rows of a shape into a table. Rows that are not staged go into a table that this transaction
 * made, as a first load does. Destroying the stream fails the COPY.
 */
export function copyRows(
  connection: Connection,
  table: string,
  shape: RowShape,
): Writable & { rowCount: number } {
  const columns = rowColumns(shape).join(', ')
  const options = shape.staged ? 'format binary' : 'format binary, freeze'
  return connection.raw.query(
    copyFrom(`copy ${quoteName(table)} (${columns}) from stdin (${options})`),
  )
}

/** Keeps the dirty buckets of a run, so that the plan looks only there. */
export async function createDirtyBuckets(
  q: Queryable,
  runNumber: number,
  dirty: readonly number[],
): Promise<void> {
  const name = quoteName(dirtyName(runNumber))
  await q.query(`create unlogged table ${name} (bucket integer not null)`)
  const batch = 50_000
  for (let at = 0; at < dirty.length; at += batch) {
    await q.query(`insert into ${name} select unnest($1::integer[])`, [dirty.slice(at, at + batch)])
  }
  await q.query(`analyze ${name}`)
}

/** How many rows are staged, counted. */
export function countStaged(q: Queryable, runNumber: number): Promise<number> {
  return countRows(q, stagingName(runNumber))
}

/** How many staged rows say that their account is gone. */
export async function countDeleted(q: Queryable, runNumber: number): Promise<number> {
  const { rows } = await q.query<{ rows: number }>(
    `select count(*) as rows from ${quoteName(stagingName(runNumber))} where deleted`,
  )
  return rows[0]?.rows ?? 0
}

/** How many buckets are dirty, counted. */
export function countDirtyBuckets(q: Queryable, runNumber: number): Promise<number> {
  return countRows(q, dirtyName(runNumber))
}

async function countRows(q: Queryable, table: string): Promise<number> {
  const { rows } = await q.query<{ rows: number }>(
    `select count(*) as rows from ${quoteName(table)}`,
  )
  return rows[0]?.rows ?? 0
}

/** Gives staging its index, for plans that go from account to account. */
export async function indexStaging(q: Queryable, runNumber: number): Promise<void> {
  await q.query(`create index on ${quoteName(stagingName(runNumber))} (id)`)
}

/** Without statistics the diff of a million rows takes a nested loop. */
export async function analyzeStaging(q: Queryable, runNumber: number): Promise<void> {
  await q.query(`analyze ${quoteName(stagingName(runNumber))}`)
}

/** A staged row, as merging needs it. */
export interface StagedRow {
  readonly id: string
  readonly fingerprint: string | null
  readonly keyHash: number
  readonly nativeIdentity: string
  readonly name: string
  readonly attributes: string
  readonly stableKey: string | null
  readonly state: RecordState
  readonly position: number
}

const stagedColumns = `s.id, s.fingerprint::text as fingerprint, s.key_hash, s.native_identity, s.name, s.attributes,
  s.stable_key, s.disabled, s.locked, s.deleted, s.position`

/** Whether an account stands in staging more than once. */
export async function hasDuplicates(q: Queryable, runNumber: number): Promise<boolean> {
  const { rows } = await q.query<{ found: boolean }>(
    `select exists (select from ${quoteName(stagingName(runNumber))}
       group by id having count(*) > 1) as found`,
  )
  return rows[0]?.found === true
}

/** How many accounts stand in staging more than once, and the identity of the first of them. */
export async function findRepeated(
  q: Queryable,
  runNumber: number,
): Promise<{ readonly count: number; readonly first: string }> {
  const { rows } = await q.query<{ count: number; first: string }>(
    `select count(*) as count, min(identity) as first from (
       select min(native_identity) as identity from ${quoteName(stagingName(runNumber))}
       group by id having count(*) > 1) repeated`,
  )
  return rows[0] ?? { count: 0, first: '' }
}

/** A row of an account that stands in staging before. `first`: the line of the first row of that account id. */
export interface LaterRow {
  readonly position: number
  readonly nativeIdentity: string
  readonly stableKey: string | null
  readonly first: number
  /** The key of that row. */
  readonly firstKey: string
}

/** Calls `take` with pages of the rows whose account stands earlier in the file, in the order of the file. */
export async function eachLaterRow(
  tx: Connection,
  runNumber: number,
  take: (rows: readonly LaterRow[]) => Promise<void>,
): Promise<void> {
  const staging = quoteName(stagingName(runNumber))
  await eachPage(
    tx,
    `select position, native_identity, stable_key, first, first_key from (
       select s.position, s.native_identity, s.stable_key, first_value(s.position) over earlier as first,
         first_value(coalesce(s.stable_key, s.native_identity)) over earlier as first_key
       from ${staging} s
       where s.id in (select id from ${staging} group by id having count(*) > 1)
       window earlier as (partition by s.id order by s.position)) numbered
     where position > first order by position`,
    [],
    (rows) =>
      take(
        rows.map((row) => ({
          position: Number(row['position']),
          nativeIdentity: String(row['native_identity']),
          stableKey: row['stable_key'] as string | null,
          first: Number(row['first']),
          firstKey: String(row['first_key']),
        })),
      ),
    20_000,
  )
}

/** Takes those rows out of staging; gives their number. */
export async function dropLaterRows(tx: Queryable, runNumber: number): Promise<number> {
  const staging = quoteName(stagingName(runNumber))
  const { rowCount } = await tx.query(
    `delete from ${staging} s
     using (select id, min(position) as first from ${staging} group by id having count(*) > 1) d
     where s.id = d.id and s.position > d.first`,
  )
  return rowCount
}

/** Leaves of every account the row that was read last, as the later of two changes counts; gives the number of those dropped. */
export async function dropEarlierRows(tx: Queryable, runNumber: number): Promise<number> {
  const staging = quoteName(stagingName(runNumber))
  const { rowCount } = await tx.query(
    `delete from ${staging} s
     using (select id, max(position) as last from ${staging} group by id having count(*) > 1) d
     where s.id = d.id and s.position < d.last`,
  )
  return rowCount
}

/** Calls `take` with pages of the rows of accounts that stand in staging more than once, an account's rows in file order. */
export async function eachDuplicateRow(
  tx: Connection,
  runNumber: number,
  take: (rows: readonly StagedRow[]) => Promise<void>,
): Promise<void> {
  const staging = quoteName(stagingName(runNumber))
  await eachPage(
    tx,
    `select ${stagedColumns} from ${staging} s
     where s.id in (select id from ${staging} group by id having count(*) > 1)
     order by s.id, s.position`,
    [],
    (rows) => take(rows.map(toStagedRow)),
  )
}

/** Puts merged rows in the place of all staged rows of their accounts. */
export async function replaceStaged(
  tx: Queryable,
  runNumber: number,
  rows: readonly StagedRow[],
): Promise<void> {
  const staging = quoteName(stagingName(runNumber))
  await tx.query(`delete from ${staging} where id = any($1::uuid[])`, [rows.map((row) => row.id)])
  await tx.query(
    `insert into ${staging} (id, fingerprint, key_hash, native_identity, name, attributes, position,
       stable_key, disabled, locked, deleted)
     select * from unnest($1::uuid[], $2::bigint[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::bigint[],
       $8::text[], $9::boolean[], $10::boolean[], $11::boolean[])`,
    [
      rows.map((row) => row.id),
      rows.map((row) => row.fingerprint),
      rows.map((row) => row.keyHash),
      rows.map((row) => row.nativeIdentity),
      rows.map((row) => row.name),
      rows.map((row) => row.attributes),
      rows.map((row) => row.position),
      rows.map((row) => row.stableKey),
      rows.map((row) => row.state.disabled),
      rows.map((row) => row.state.locked),
      rows.map((row) => row.state.deleted),
    ],
  )
}

/** Calls `take` with pages of staged rows whose account exists, together with the stored name and attributes. */
export async function eachKnownRow(
  tx: Connection,
  runNumber: number,
  range: { readonly low: string; readonly high: string },
  take: (
    rows: readonly { staged: StagedRow; storedName: string | null; storedAttributes: string }[],
  ) => Promise<void>,
): Promise<void> {
  await eachPage(
    tx,
    `select ${stagedColumns}, a.name as stored_name, a.attributes as stored_attributes
     from ${quoteName(stagingName(runNumber))} s join account a on a.id = s.id
     where a.id >= $1::uuid and a.id < $2::uuid`,
    [range.low, range.high],
    (rows) =>
      take(
        rows.map((row) => ({
          staged: toStagedRow(row),
          storedName: row['stored_name'] as string | null,
          storedAttributes: String(row['stored_attributes']),
        })),
      ),
  )
}

function toStagedRow(row: Readonly<Record<string, unknown>>): StagedRow {
  return {
    id: String(row['id']),
    fingerprint: row['fingerprint'] as string | null,
    keyHash: Number(row['key_hash']),
    nativeIdentity: String(row['native_identity']),
    name: String(row['name']),
    attributes: String(row['attributes']),
    stableKey: row['stable_key'] as string | null,
    state: {
      disabled: row['disabled'] === true,
      locked: row['locked'] === true,
      deleted: row['deleted'] === true,
    },
    position: Number(row['position']),
  }
}

/** Reads a query by a cursor, some rows at a time: memory stays flat, and the API gets its turns in between. */
async function eachPage(
  tx: Connection,
  query: string,
  values: readonly unknown[],
  take: (rows: readonly Readonly<Record<string, unknown>>[]) => Promise<void>,
  pageRows = 2000,
): Promise<void> {
  await tx.query(`declare pages no scroll cursor for ${query}`, values)
  for (;;) {
    const { rows } = await tx.query(`fetch ${pageRows} from pages`)
    if (rows.length === 0) break
    await take(rows)
  }
  await tx.query('close pages')
}

/** What the source's loader needs to know before it reads. */
export async function hasPartition(q: Queryable, partition: string): Promise<boolean> {
  const { rows } = await q.query<{ found: boolean }>(
    'select to_regclass($1) is not null as found',
    [quoteName(partition)],
  )
  return rows[0]?.found === true
}
