// The first client: without one nobody could make another.
import { createHash } from 'node:crypto'
import { fromWireId } from '../core/id.ts'
import { recordAudit } from '../store/audit.ts'
import { getClient, insertClient, upsertClient } from '../store/clients.ts'
import type { NewClient } from '../store/clients.ts'
import type { Connection, Database } from '../store/database.ts'
import { claimSetting } from '../store/deployment.ts'
import { insertIdentity } from '../store/identities.ts'
import { drawClientId, drawSecret, hashSecret, verifySecret } from './client-secret.ts'

export interface Bootstrap {
  readonly clientId: string
  /** The secret when it was drawn now: shown once, kept by nobody. Null when it was given or drawn before. */
  readonly clientSecret: string | null
}

const name = 'Bootstrap client'
const identityName = 'Muster Administrator'

/**
 * Makes sure that there is a client with all rights. One that is named by the settings gets that secret at every start;
 * else the very first start on a database draws one. Any number of processes may start at once.
 */
export async function ensureBootstrapClient(
  db: Database,
  given: { readonly id: string; readonly secret: string } | undefined,
): Promise<Bootstrap> {
  if (given !== undefined) {
    await keepGiven(db, given.id, given.secret)
    return { clientId: given.id, clientSecret: null }
  }
  const secret = drawSecret()
  const hashed = await hashSecret(secret)
  return db.transaction(async (tx) => {
    // The row of the setting is locked until the client is there, so the loser of a race finds it complete.
    const id = await claimSetting(tx, 'bootstrap_client', drawClientId())
    const existing = await getClient(tx, id)
    if (existing !== null) return { clientId: existing.id, clientSecret: null }
    const client = await prepare(tx, id, hashed)
    await insertClient(tx, client)
    await note(tx, client)
    return { clientId: client.id, clientSecret: secret }
  })
}

async function keepGiven(db: Database, id: string, secret: string): Promise<void> {
  const existing = await getClient(db, id)
  const unchanged =
    existing !== null &&
    existing.revoked === null &&
    existing.level === 'ORG_ADMIN' &&
    (await verifySecret(secret, existing.secret))
  if (unchanged) return
  const hashed = await hashSecret(secret)
  await db.transaction(async (tx) => {
    const client = await prepare(tx, id, hashed)
    await upsertClient(tx, client)
    await note(tx, client)
  })
}

async function prepare(
  tx: Connection,
  id: string,
  secret: NewClient['secret'],
): Promise<NewClient> {
  const identityId = identityOf(id)
  await insertIdentity(tx, { id: identityId, name: identityName, alias: 'muster.administrator' })
  return {
    id,
    name,
    secret,
    identityId,
    level: 'ORG_ADMIN',
    scopes: ['sp:scopes:all'],
    sourceIds: null,
  }
}

/** Derived from the client id, so that two processes that start at once make one identity. */
function identityOf(clientId: string): string {
  const hex = createHash('sha256').update(`bootstrap identity of ${clientId}`).digest('hex')
  const id = fromWireId(hex.slice(0, 32))
  if (id === null) throw new Error('A digest is not hexadecimal.')
  return id
}

async function note(tx: Connection, client: NewClient): Promise<void> {
  await recordAudit(tx, {
    action: 'CLIENT_BOOTSTRAPPED',
    outcome: 'success',
    caller: null,
    targetType: 'CLIENT',
    targetId: client.id,
    targetName: client.name,
    detail: 'Made from the settings of this server, or drawn at its first start.',
  })
}
