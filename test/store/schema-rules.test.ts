// The rules that keep the schema ready for a distributed PostgreSQL, and a comment on everything, asked of the catalogue.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Step } from '../../src/run/job.ts'
import { type Laboratory, openLaboratory } from '../support/aggregation.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

let test: TestDatabase
let lab: Laboratory
/** What the catalogue showed inside of runs, when their own tables are there. */
const seen = new Map<Step, Awaited<ReturnType<typeof accountTables>>>()

beforeAll(async () => {
  test = await testDatabase()
  lab = await openLaboratory(test.db)
  lab.onStep = async (step) => {
    if (step === 'planned') seen.set(step, await accountTables())
  }
  // One partition from a first load, one that a reload made, one that came after all accounts were removed.
  const first = (await lab.createSource()).id
  await lab.load(first, 'id,name,mail\na,Ann,\nb,Bob,\n')
  await lab.load(first, 'id,name,mail\na,New,\nc,Cid,\n')
  const staged = await openLaboratory(test.db, { ways: { firstLoad: false, buckets: false } })
  try {
    const second = (await staged.createSource()).id
    await staged.load(second, 'id,name,mail\na,Ann,\n')
  } finally {
    await staged.close()
  }
})
afterAll(async () => {
  await lab.close()
  await test.drop()
})

/** Tables whose rows are accounts or belong to one: they are distributed by the account id one day. */
const isAccountTable = `(relname in ('account', 'account_history', 'account_link', 'account_link_history', 'account_change')
  or relname ~ '^(account|staging|plan)_[0-9a-f]+$')`
const inSchema = `relnamespace = current_schema()::regnamespace`

async function accountTables(): Promise<readonly string[]> {
  const { rows } = await test.db.query<{ relname: string }>(
    `select relname from pg_class where relkind in ('r', 'p') and ${inSchema} and ${isAccountTable} order by 1`,
  )
  return rows.map((row) => row.relname)
}

describe('the schema', () => {
  it('is looked at with partitions of both kinds, and with the tables of a run', async () => {
    const tables = await accountTables()
    expect(tables.filter((name) => /^account_[0-9a-f]{12}$/.test(name))).toHaveLength(2)
    expect(seen.get('planned')?.some((name) => name.startsWith('staging_'))).toBe(true)
    expect(seen.get('planned')?.some((name) => name.startsWith('plan_'))).toBe(true)
  })

  it('has no unique index on an account table that lacks the account id', async () => {
    const { rows } = await test.db.query<{ index: string; columns: string[] }>(
      `select i.relname as index, array(select attname::text from pg_attribute
         where attrelid = x.indrelid and attnum = any(x.indkey)) as columns
       from pg_index x join pg_class t on t.oid = x.indrelid join pg_class i on i.oid = x.indexrelid
       where x.indisunique and t.${inSchema} and ${isAccountTable.replaceAll('relname', 't.relname')}`,
    )
    expect(rows.length).toBeGreaterThan(5)
    const breaches = rows.filter(
      (row) => !row.columns.includes('id') && !row.columns.includes('account_id'),
    )
    expect(breaches).toEqual([])
  })

  it('has the account id in the primary key of every account table', async () => {
    const { rows } = await test.db.query<{ relname: string }>(
      `select t.relname from pg_class t where t.relkind in ('r', 'p') and t.${inSchema}
         and ${isAccountTable.replaceAll('relname', 't.relname')}
         and not exists (select from pg_index x join pg_attribute a on a.attrelid = x.indrelid and a.attnum = any(x.indkey)
           where x.indrelid = t.oid and x.indisprimary and a.attname in ('id', 'account_id'))`,
    )
    expect(rows).toEqual([])
  })

  it('has no foreign key from or to an account table, but between them by account id', async () => {
    const { rows } = await test.db.query<{ name: string }>(
      `select c.conname as name from pg_constraint c
         join pg_class f on f.oid = c.conrelid join pg_class t on t.oid = c.confrelid
       where c.contype = 'f' and f.${inSchema}
         and (${isAccountTable.replaceAll('relname', 'f.relname')} or ${isAccountTable.replaceAll('relname', 't.relname')})
         and not (${isAccountTable.replaceAll('relname', 'f.relname')} and ${isAccountTable.replaceAll('relname', 't.relname')}
           and exists (select from pg_attribute a where a.attrelid = c.conrelid and a.attnum = any(c.conkey)
             and a.attname in ('id', 'account_id')))`,
    )
    expect(rows).toEqual([])
  })

  it('has no trigger on an account table', async () => {
    const { rows } = await test.db.query<{ name: string }>(
      `select g.tgname as name from pg_trigger g join pg_class t on t.oid = g.tgrelid
       where not g.tgisinternal and ${isAccountTable.replaceAll('relname', 't.relname')}`,
    )
    expect(rows).toEqual([])
  })

  it('has a comment on every table and every column, partitions included', async () => {
    const tables = await test.db.query<{ relname: string }>(
      `select relname from pg_class where relkind in ('r', 'p') and ${inSchema}
         and relname not like 'migration%' and obj_description(oid, 'pg_class') is null order by 1`,
    )
    expect(tables.rows.map((row) => row.relname)).toEqual([])
    const columns = await test.db.query<{ name: string }>(
      `select relname || '.' || attname as name from pg_attribute join pg_class on pg_class.oid = attrelid
       where relkind in ('r', 'p') and ${inSchema} and relname not like 'migration%' and attnum > 0
         and not attisdropped and col_description(attrelid, attnum) is null order by 1`,
    )
    expect(columns.rows.map((row) => row.name)).toEqual([])
  })

  it('has partitions that are like the table they belong to, without a default that names a run', async () => {
    const { rows } = await test.db.query<{ relname: string; columns: string }>(
      `select relname, string_agg(attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull || ' ' ||
         coalesce(collname, '') || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), ''), ', ' order by attnum) as columns
       from pg_class join pg_attribute a on a.attrelid = pg_class.oid
         left join pg_collation c on c.oid = attcollation and collname <> 'default'
         left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
       where ${inSchema} and attnum > 0 and not attisdropped and relkind in ('r', 'p')
         and (relname = 'account' or relname ~ '^account_[0-9a-f]{12}$')
       group by relname`,
    )
    expect(rows).toHaveLength(3)
    expect(new Set(rows.map((row) => row.columns)).size).toBe(1)
  })
})
