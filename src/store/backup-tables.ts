// What belongs into a backup, read from the catalogue: tables with their columns, in an order that foreign keys allow.
import type { Queryable } from './database.ts'
import type { SequenceMark } from './backup-format.ts'
import type { Migration } from './migrate.ts'

/** A table whose rows are kept. */
export interface KeptTable {
  readonly name: string
  /** The table that it is a partition of. */
  readonly parent: string | null
  readonly oid: number
  readonly columns: readonly string[]
  /** What the statistics say; for progress only. */
  readonly estimatedRows: number
}

/**
 * Who has a task and which processes live is true of a moment, not of a deployment: after a restore no worker has anything.
 * `migration` is in the header of the backup.
 */
const leftOut: ReadonlySet<string> = new Set(['lease', 'node', 'migration'])

/** The tables that the migrations make. In a database that others use too, only these are ours. */
export function tablesOf(files: readonly Migration[]): ReadonlySet<string> {
  const made = files.flatMap(({ text }) =>
    [...text.matchAll(/^create table (?:if not exists )?(\w+)/gim)].map(([, name = '']) => name),
  )
  return new Set(made)
}

interface TableRow {
  readonly oid: number
  readonly name: string
  readonly parent: string | null
  readonly columns: readonly string[]
  readonly estimate: number
}

/**
 * Lists what a backup keeps, tables that others refer to first. Tables of runs are unlogged or not made by a migration,
 * and a partitioned table has no rows of its own.
 */
export async function listKept(
  q: Queryable,
  made: ReadonlySet<string>,
): Promise<readonly KeptTable[]> {
  const { rows } = await q.query<TableRow>(
    `select c.oid::bigint as oid, c.relname::text as name, parent.relname::text as parent,
       greatest(c.reltuples, 0)::bigint as estimate,
       array(select attname::text from pg_attribute
         where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = ''
         order by attnum) as columns
     from pg_class c
       left join pg_inherits i on i.inhrelid = c.oid
       left join pg_class parent on parent.oid = i.inhparent
     where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relkind = 'r' and c.relpersistence = 'p'
     order by c.relname`,
  )
  const kept = rows
    .filter(({ name, parent }) => made.has(parent ?? name) && !leftOut.has(parent ?? name))
    .map(({ estimate, ...row }) => ({ ...row, estimatedRows: estimate }))
  return inOrder(kept, await listReferences(q))
}

interface Reference {
  readonly from: number
  readonly to: number
}

async function listReferences(q: Queryable): Promise<readonly Reference[]> {
  const { rows } = await q.query<Reference>(
    `select conrelid::bigint as "from", confrelid::bigint as "to" from pg_constraint
     where contype = 'f' and connamespace = quote_ident(current_schema())::regnamespace and conrelid <> confrelid`,
  )
  return rows
}

function inOrder(
  tables: readonly KeptTable[],
  references: readonly Reference[],
): readonly KeptTable[] {
  const ordered: KeptTable[] = []
  const visited = new Set<number>()
  const visit = (table: KeptTable): void => {
    if (visited.has(table.oid)) return
    visited.add(table.oid)
    for (const { from, to } of references) {
      if (from !== table.oid) continue
      const other = tables.find(({ oid }) => oid === to)
      if (other !== undefined) visit(other)
    }
    ordered.push(table)
  }
  for (const table of tables) visit(table)
  return ordered
}

/** The identity columns of these tables with the last number that each has given; 0 where it has given none. */
export async function listSequences(
  q: Queryable,
  tables: readonly KeptTable[],
): Promise<readonly SequenceMark[]> {
  const { rows } = await q.query<{ table: string; column: string; sequence: string }>(
    `select c.relname::text as table, a.attname::text as column,
       pg_get_serial_sequence(quote_ident(c.relname), a.attname) as sequence
     from pg_attribute a join pg_class c on c.oid = a.attrelid
     where a.attidentity <> '' and c.oid = any($1::bigint[]::oid[])
     order by c.relname, a.attname`,
    [tables.map(({ oid }) => oid)],
  )
  const marks: SequenceMark[] = []
  for (const { table, column, sequence } of rows) {
    // The name comes quoted from the server.
    const state = await q.query<{ last: number; called: boolean }>(
      `select last_value as last, is_called as called from ${sequence}`,
    )
    const [row] = state.rows
    marks.push({ table, column, last: row?.called === true ? row.last : 0 })
  }
  return marks
}
