// What must hold after every fault: the invariants of runs, asked of the database and the spool folder themselves.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { fromWireId } from '../../src/core/id.ts'
import type { ConnectionSettings, Database } from '../../src/store/database.ts'
import { openDatabase } from '../../src/store/database.ts'
import { accountRange } from '../../src/store/names.ts'
import { embeddedServer } from './server-process.ts'

/** The accounts that a file lists: id → location. */
export type Model = ReadonlyMap<string, string>

const filler = 'a street with a name so long that a few thousand rows fill several buffers '.repeat(
  2,
)

/** Accounts `from` to `to`, written as of `revision`. */
export function model(from: number, to: number, revision: string): Map<string, string> {
  return new Map(
    Array.from({ length: to - from }, (_, index) => [`u${from + index}`, revision] as const),
  )
}

/** The file of a model; every column of the default schema is there, so that a run has nothing to warn of. */
export function csvOf(accounts: Model): string {
  const lines = ['id,name,givenName,familyName,e-mail,location,manager,groups,startDate,endDate']
  for (const [id, location] of accounts) {
    lines.push(`${id},Name ${id},Given,Family,${id}@example.test,${location},,staff,2026-01-01,`)
    lines[lines.length - 1] += filler
  }
  return `${lines.join('\n')}\n`
}

/** How many accounts differ between two models. */
export function difference(before: Model, after: Model) {
  const created = [...after.keys()].filter((id) => !before.has(id)).length
  const deleted = [...before.keys()].filter((id) => !after.has(id)).length
  const updated = [...after].filter(
    ([id, location]) => before.has(id) && before.get(id) !== location,
  ).length
  return { created, updated, deleted }
}

/** Opens the embedded database of a running server, does the work, and closes it again. */
export async function withEmbedded<T>(
  dataDir: string,
  work: (db: Database) => Promise<T>,
): Promise<T> {
  const server = await embeddedServer(dataDir)
  if (server === null) throw new Error(`no database runs in ${dataDir}`)
  return withDatabase(server.settings, work)
}

export async function withDatabase<T>(
  settings: ConnectionSettings,
  work: (db: Database) => Promise<T>,
): Promise<T> {
  const db = openDatabase(settings, () => undefined, 2)
  try {
    return await work(db)
  } finally {
    await db.close()
  }
}

/** The accounts of a source as they are stored. */
export async function storedAccounts(db: Database, source: string): Promise<Model> {
  const { low, high } = accountRange(source)
  const { rows } = await db.query<{ native_identity: string; attributes: string }>(
    'select native_identity, attributes from account where id >= $1::uuid and id < $2::uuid',
    [low, high],
  )
  return new Map(
    rows.map((row) => {
      const attributes = JSON.parse(row.attributes) as { location: string }
      return [row.native_identity, attributes.location]
    }),
  )
}

/** I1: the accounts are exactly these, and the source has counted them. */
export async function expectAccounts(db: Database, source: string, wanted: Model): Promise<void> {
  const stored = await storedAccounts(db, source)
  expect(difference(wanted, stored)).toEqual({ created: 0, updated: 0, deleted: 0 })
  const { rows } = await db.query<{ accounts: number }>(
    'select accounts from source where id = $1::uuid',
    [fromWireId(source)],
  )
  expect(rows).toEqual([{ accounts: wanted.size }])
}

/** I3, I6, I7, I8 and the history, of everything in a database. `spools`: the folders that its servers use. */
export async function expectSound(db: Database, spools: readonly string[]): Promise<void> {
  const all = async (query: string): Promise<readonly object[]> => (await db.query(query)).rows
  expect(await all('select number, state from task where completed_at is null')).toEqual([])
  // What is cleaned after the end of a run, or by the first turn of the worker after a restart.
  await expect
    .poll(() => all(leftTables).then((rows) => JSON.stringify(rows)), { timeout: 12_000 })
    .toBe('[]')
  await expect
    .poll(() => Promise.all(spools.map(spoolFiles)).then((names) => names.flat()), {
      timeout: 12_000,
    })
    .toEqual([])
  await expect
    .poll(() => all('select * from lease').then((rows) => rows.length), { timeout: 12_000 })
    .toBe(0)
  expect(await all(wrongAudit)).toEqual([])
  expect(await all(wrongCounters)).toEqual([])
  expect(await all(wrongFeed)).toEqual([])
  expect(await all(brokenHistory)).toEqual([])
}

/** What lies in a spool folder but its own id. */
export async function spoolFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder)
  return names.filter((name) => !name.startsWith('node-id') && !name.includes('lock'))
}

export const spoolOf = (dataDir: string): string => join(dataDir, 'spool')

// Tables of runs, partitions that hang on nothing, and runs that still name a file.
const leftTables = `
  select relname from pg_class where relkind = 'r'
    and (relname ~ '^(staging|plan|dirty)_[0-9]'
      or (relname ~ '^account_[0-9a-f]{12}$' and not exists (select from pg_inherits where inhrelid = pg_class.oid)))
  union all select 'run ' || number from run where spool_file is not null`

// A task that was accepted has one start and one end; one that was born ended (the source was busy) has neither.
const wrongAudit = `
  select task.number, task.state,
    count(*) filter (where action like '%AGGREGATION_STARTED') as starts,
    count(*) filter (where action ~ 'AGGREGATION_(PASSED|FAILED|TERMINATED)$') as ends
  from task join run on run.task_id = task.id
    left join audit on after ->> 'task' = replace(task.id::text, '-', '')
  group by task.number, task.state
  having count(*) filter (where action like '%AGGREGATION_STARTED') <> 1
    or count(*) filter (where action ~ 'AGGREGATION_(PASSED|FAILED|TERMINATED)$') <> 1`

// The counters that clients read against the rows that name the run.
const wrongCounters = `
  with counted as (
    select task.number, run.baseline, task.state,
      (attributes ->> 'created')::bigint as created, (attributes ->> 'updated')::bigint as updated,
      (attributes ->> 'deleted')::bigint as deleted,
      (select count(*) from account_change c where c.run_number = task.number and kind = 'created') as in_created,
      (select count(*) from account_change c where c.run_number = task.number and kind = 'updated') as in_updated,
      (select count(*) from account_change c where c.run_number = task.number and kind = 'removed') as in_removed,
      (select count(*) from account a where a.opened_run = task.number)
        + (select count(*) from account_history h where h.opened_run = task.number) as opened,
      (select count(*) from account_history h where h.closed_run = task.number) as closed,
      (select count(*) from account_history h where h.closed_run = task.number and removed) as removed
    from task join run on run.task_id = task.id)
  select * from counted
  where case when state <> 'completed' then in_created + in_updated + in_removed + opened + closed > 0
    when baseline then opened <> created or closed > 0 or in_created + in_updated + in_removed > 0
    else (in_created, in_updated, in_removed) <> (created, updated, deleted)
      or opened <> created + updated or closed <> updated + deleted or removed <> deleted end`

const wrongFeed = `
  select number, state from task join run using (number)
  where (state = 'completed') <> (feed_number is not null)
  union all select max(feed_number), 'gap' from run having coalesce(max(feed_number), 0) <> count(feed_number)`

// Every version of an account ends where the next one begins, or with its removal.
const brokenHistory = `
  select h.id, h.opened_run, h.closed_run from account_history h
  where not h.removed
    and not exists (select from account a where a.id = h.id and a.opened_run = h.closed_run)
    and not exists (select from account_history n where n.id = h.id and n.opened_run = h.closed_run)`
