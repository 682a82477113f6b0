// The keys that sign access tokens: the public half in a table, the private half sealed.
import { randomBytes, webcrypto } from 'node:crypto'
import type { Connection, Database, Queryable } from './database.ts'
import { getSecret, putSecret } from './sealed.ts'
import type { MasterKey } from './sealed.ts'

export interface SigningKeys {
  /** The key that signs now. */
  readonly current: { readonly kid: string; readonly privateKey: webcrypto.CryptoKey }
  /** The public key of this id, or null when it is not ours or is retired. */
  find(kid: string): Promise<webcrypto.CryptoKey | null>
}

interface KeyRow {
  id: string
  public_jwk: webcrypto.JsonWebKey
}

const curve = { name: 'ECDSA', namedCurve: 'P-256' } as const
/** An unknown id asks the database at most this often: any stranger may name one. */
const reloadMs = 5_000

/** Loads the keys; the first process that ever starts on this database draws one, the others wait and take it. */
export async function loadSigningKeys(db: Database, masterKey: MasterKey): Promise<SigningKeys> {
  const current = await db.transaction(async (tx) => {
    // Two processes that start at once on an empty database must end with one key.
    await tx.query('lock table signing_key in share row exclusive mode')
    const [newest] = await goodKeys(tx)
    return newest === undefined ? drawKey(tx, masterKey) : openKey(tx, masterKey, newest.id)
  })
  let publicKeys = await importAll(await goodKeys(db))
  let loadedAt = performance.now()
  return {
    current,
    async find(kid) {
      if (!publicKeys.has(kid) && performance.now() - loadedAt > reloadMs) {
        loadedAt = performance.now()
        publicKeys = await importAll(await goodKeys(db))
      }
      return publicKeys.get(kid) ?? null
    },
  }
}

async function goodKeys(q: Queryable): Promise<KeyRow[]> {
  const { rows } = await q.query<KeyRow>(
    'select id, public_jwk from signing_key where retired_at is null order by created_at desc, id',
  )
  return rows
}

async function drawKey(tx: Connection, masterKey: MasterKey): Promise<SigningKeys['current']> {
  const pair = await webcrypto.subtle.generateKey(curve, true, ['sign', 'verify'])
  const kid = randomBytes(16).toString('hex')
  const secretJwk = await webcrypto.subtle.exportKey('jwk', pair.privateKey)
  const publicJwk = await webcrypto.subtle.exportKey('jwk', pair.publicKey)
  await putSecret(tx, masterKey, sealedId(kid), JSON.stringify(secretJwk))
  await tx.query('insert into signing_key (id, public_jwk) values ($1::text, $2::jsonb)', [
    kid,
    JSON.stringify(publicJwk),
  ])
  return { kid, privateKey: await importKey(secretJwk, 'sign') }
}

async function openKey(
  tx: Connection,
  masterKey: MasterKey,
  kid: string,
): Promise<SigningKeys['current']> {
  const text = await getSecret(tx, masterKey, sealedId(kid))
  if (text === undefined) throw new Error(`The private half of the signing key ${kid} is missing.`)
  const jwk = JSON.parse(text) as webcrypto.JsonWebKey
  return { kid, privateKey: await importKey(jwk, 'sign') }
}

function sealedId(kid: string): string {
  return `signing-key/${kid}`
}

async function importAll(rows: readonly KeyRow[]): Promise<Map<string, webcrypto.CryptoKey>> {
  const keys = new Map<string, webcrypto.CryptoKey>()
  for (const row of rows) keys.set(row.id, await importKey(row.public_jwk, 'verify'))
  return keys
}

function importKey(
  jwk: webcrypto.JsonWebKey,
  use: 'sign' | 'verify',
): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('jwk', jwk, curve, false, [use])
}
