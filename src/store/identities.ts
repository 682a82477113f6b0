// Identities: people and agents. So far only those that act through a client.
import type { Queryable } from './database.ts'

export interface NewIdentity {
  readonly id: string
  readonly name: string
  readonly alias: string
}

/** Adds an identity; one with this id that is there already stays as it is, so that two starts may race. */
export async function insertIdentity(q: Queryable, identity: NewIdentity): Promise<void> {
  await q.query(
    `insert into identity (id, name, alias) values ($1::uuid, $2::text, $3::text)
     on conflict (id) do nothing`,
    [identity.id, identity.name, identity.alias],
  )
}
