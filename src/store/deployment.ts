// Facts about this deployment that are drawn once and never change.
import { randomBytes } from 'node:crypto'
import type { Queryable } from './database.ts'

/** The id of this deployment, 32 hex digits: the tenant_id of its tokens. Whoever starts first draws it. */
export async function deploymentId(q: Queryable): Promise<string> {
  return claimSetting(q, 'deployment_id', randomBytes(16).toString('hex'))
}

/** Keeps a fact if there is none of this name yet, and gives the one that is kept; safe to race. */
export async function claimSetting(q: Queryable, name: string, value: string): Promise<string> {
  await q.query(
    'insert into setting (name, value) values ($1::text, $2::text) on conflict (name) do nothing',
    [name, value],
  )
  const { rows } = await q.query<{ value: string }>(
    'select value from setting where name = $1::text',
    [name],
  )
  return rows[0]?.value ?? value
}
