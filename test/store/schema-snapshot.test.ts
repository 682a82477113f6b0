// The schema as the migrations leave it, beside the one that was last looked at: a change shows itself in the review.
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import type { Database } from '../../src/store/database.ts'
import { testDatabase } from '../support/database.ts'

const snapshotPath = fileURLToPath(new URL('schema.snapshot.txt', import.meta.url))

/** Tables with columns, indexes and constraints, as text that is the same on every server version. */
async function describeSchema(db: Database): Promise<string> {
  const columns = await db.query<{ table: string; line: string }>(
    `select relname as table, attname || ' ' || format_type(atttypid, atttypmod)
       || case when collname is null then '' else ' collate ' || collname end
       || case when attnotnull then ' not null' else '' end
       || case attidentity when '' then '' else ' generated as identity' end
       || case when d.adbin is null then '' else ' default ' || pg_get_expr(d.adbin, d.adrelid) end as line
     from pg_class join pg_attribute a on attrelid = pg_class.oid
       left join pg_collation c on c.oid = attcollation and collname <> 'default'
       left join pg_attrdef d on d.adrelid = attrelid and d.adnum = attnum
     where relkind in ('r', 'p') and relnamespace = current_schema()::regnamespace and attnum > 0
       and not attisdropped and relname not like 'migration%'
     order by relname, attnum`,
  )
  const indexes = await db.query<{ table: string; line: string }>(
    `select tablename as table, replace(indexdef, schemaname || '.', '') as line
     from pg_indexes where schemaname = current_schema() and tablename not like 'migration%'
     order by tablename, indexname`,
  )
  // PostgreSQL 18 lists "not null" as constraints too; the columns tell it on every version.
  const constraints = await db.query<{ table: string; line: string }>(
    `select relname as table, conname || ' ' || pg_get_constraintdef(c.oid) as line
     from pg_constraint c join pg_class on pg_class.oid = conrelid
     where relnamespace = current_schema()::regnamespace and contype <> 'n' and relname not like 'migration%'
     order by relname, conname`,
  )
  const triggers = await db.query<{ table: string; line: string }>(
    `select relname as table, tgname || ' trigger' as line
     from pg_trigger join pg_class on pg_class.oid = tgrelid where not tgisinternal order by relname, tgname`,
  )
  const parts = [columns.rows, indexes.rows, constraints.rows, triggers.rows]
  const tables = [...new Set(columns.rows.map((row) => row.table))]
  return tables
    .map((table) => {
      const lines = parts.flatMap((rows) => rows.filter((row) => row.table === table))
      return `${table}\n${lines.map((row) => `  ${row.line}\n`).join('')}`
    })
    .join('\n')
}

it('is the schema of test/store/schema.snapshot.txt; UPDATE_SCHEMA_SNAPSHOT=1 writes that anew', async () => {
  const test = await testDatabase()
  try {
    const found = await describeSchema(test.db)
    if (process.env['UPDATE_SCHEMA_SNAPSHOT'] === '1') await writeFile(snapshotPath, found)
    expect(found).toBe(await readFile(snapshotPath, 'utf8'))
  } finally {
    await test.drop()
  }
})
