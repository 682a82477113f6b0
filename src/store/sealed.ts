// Secrets at rest: each sealed under a key of its own, which the master key wraps; and the table that keeps them.
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import type { Database, Queryable } from './database.ts'
import { StoreError } from './store-error.ts'

/** The key of MUSTER_KEY. Opaque, so that no log line and no JSON ever shows it. */
export type MasterKey = KeyObject

/** A sealed secret as the table keeps it; both parts begin with a format byte and hold nonce, tag and sealed bytes. */
export interface Sealed {
  readonly wrappedKey: Buffer
  readonly ciphertext: Buffer
}

const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16
const format = 1
// Sealed on an empty database, so that every later start can tell whether it has the right key.
const checkId = 'key-check'
const checkText = 'muster'

/** Reads 32 bytes written as base64, base64url or hexadecimal digits. The error never shows the text. */
export function parseMasterKey(text: string): MasterKey {
  const trimmed = text.trim()
  const bytes = decodeKey(trimmed)
  if (bytes === undefined) {
    throw new StoreError(
      'master_key_invalid',
      `The master key is not 32 bytes as base64 or hexadecimal digits (it has ${trimmed.length} characters).`,
      { hint: 'Make one with: openssl rand -base64 32' },
    )
  }
  if (bytes.every((byte) => byte === bytes[0])) {
    throw new StoreError('master_key_invalid', 'The master key repeats one byte: a placeholder.', {
      hint: 'Make one with: openssl rand -base64 32',
    })
  }
  return createSecretKey(bytes)
}

/** Draws a new master key, written as base64. */
export function generateMasterKey(): string {
  return randomBytes(keyBytes).toString('base64')
}

/** Seals `plaintext` for the record `id`; it opens under that id only. */
export function seal(key: MasterKey, id: string, plaintext: string): Sealed {
  const dataKey = randomBytes(keyBytes)
  return {
    wrappedKey: encrypt(key, keyContext(id), dataKey),
    ciphertext: encrypt(createSecretKey(dataKey), textContext(id), Buffer.from(plaintext, 'utf8')),
  }
}

/** Opens a sealed secret. Throws `secret_unreadable`, naming the id, for a changed bit, another id or another key. */
export function unseal(key: MasterKey, id: string, sealed: Sealed): string {
  const dataKey = unwrap(key, id, sealed)
  const bytes = decrypt(createSecretKey(dataKey), textContext(id), sealed.ciphertext)
  if (bytes === undefined) throw unreadable(id, 'its content was changed')
  return bytes.toString('utf8')
}

/** Wraps the data key of a sealed secret by another master key; the secret itself is not opened. */
export function rewrap(oldKey: MasterKey, newKey: MasterKey, id: string, sealed: Sealed): Sealed {
  const dataKey = unwrap(oldKey, id, sealed)
  return { ...sealed, wrappedKey: encrypt(newKey, keyContext(id), dataKey) }
}

/**
 * Stores a secret under `id`, over the one that was there. Throws `master_key_wrong` when the keys were rotated since this
 * process started: a secret under the old key would be lost to everybody else.
 */
export async function putSecret(
  q: Queryable,
  key: MasterKey,
  id: string,
  plaintext: string,
): Promise<void> {
  const check = await checkKey(q, key)
  const { wrappedKey, ciphertext } = seal(key, id, plaintext)
  // The key check is compared in the same statement, because a rotation may commit in between.
  const { rowCount } = await q.query(
    `insert into sealed_secret (id, wrapped_key, ciphertext)
     select $1::text, $2::bytea, $3::bytea from sealed_secret
     where id = $4::text and wrapped_key = $5::bytea
     on conflict (id) do update set
       wrapped_key = excluded.wrapped_key, ciphertext = excluded.ciphertext, modified_at = now()`,
    [id, wrappedKey, ciphertext, checkId, check.wrappedKey],
  )
  if (rowCount !== 1) throw wrongKey()
}

/** Reads a secret; undefined when there is none. Throws `secret_unreadable` when there is one that does not open. */
export async function getSecret(
  q: Queryable,
  key: MasterKey,
  id: string,
): Promise<string | undefined> {
  const sealed = await readSealed(q, id)
  return sealed === undefined ? undefined : unseal(key, id, sealed)
}

/** Deletes every secret whose id begins with `idPrefix` and gives their number; end it with "/" to mean one thing only. */
export async function deleteSecrets(q: Queryable, idPrefix: string): Promise<number> {
  if (idPrefix === '') throw new Error('deleteSecrets needs a prefix: an empty one means all')
  const { rowCount } = await q.query(
    `delete from sealed_secret where starts_with(id, $1::text) and id <> $2::text`,
    [idPrefix, checkId],
  )
  return rowCount
}

/**
 * Wraps every secret by `newKey` in one transaction and gives their number. All or nothing: one that does not open under
 * `oldKey` keeps every other as it was. Processes that run with the old key have to be restarted with the new one.
 */
export async function rotateSecrets(
  db: Database,
  oldKey: MasterKey,
  newKey: MasterKey,
): Promise<number> {
  return db.transaction(async (tx) => {
    // Readers go on; a writer waits, and then sees that its key is the old one.
    await tx.query('lock table sealed_secret in share row exclusive mode')
    const { rows } = await tx.query<SealedRow & { id: string }>(
      'select id, wrapped_key, ciphertext from sealed_secret order by id',
    )
    const wrapped = rows.map((row) => rewrap(oldKey, newKey, row.id, fromRow(row)).wrappedKey)
    await tx.query(
      `update sealed_secret as s set wrapped_key = n.wrapped_key, modified_at = now()
       from unnest($1::text[], $2::bytea[]) as n (id, wrapped_key) where s.id = n.id`,
      [rows.map((row) => row.id), wrapped],
    )
    return rows.length
  })
}

/**
 * Makes sure that `key` is the one that this database's secrets are sealed with; on a database without secrets it becomes
 * that one. Throws `master_key_wrong` otherwise: a start with a wrong key must not look like a start without secrets.
 */
export async function verifyMasterKey(db: Queryable, key: MasterKey): Promise<void> {
  await checkKey(db, key)
}

/** The record that tells whether a key is the right one; undefined before the first secret. It gives nothing away. */
export function readKeyCheck(q: Queryable): Promise<Sealed | undefined> {
  return readSealed(q, checkId)
}

/** Whether `key` is the one that a record of `readKeyCheck` was sealed with. */
export function fitsKeyCheck(key: MasterKey, check: Sealed): boolean {
  return opens(key, check)
}

async function checkKey(q: Queryable, key: MasterKey): Promise<Sealed> {
  const found = (await readSealed(q, checkId)) ?? (await writeCheck(q, key))
  if (found === undefined || !opens(key, found)) throw wrongKey()
  return found
}

async function writeCheck(q: Queryable, key: MasterKey): Promise<Sealed | undefined> {
  const { wrappedKey, ciphertext } = seal(key, checkId, checkText)
  // Secrets without a check are a damaged table: whatever key we have, it is not proven to be theirs.
  await q.query(
    `insert into sealed_secret (id, wrapped_key, ciphertext)
     select $1::text, $2::bytea, $3::bytea where not exists (select from sealed_secret)
     on conflict (id) do nothing`,
    [checkId, wrappedKey, ciphertext],
  )
  // Read back, because another process may have been first, perhaps with another key.
  return readSealed(q, checkId)
}

function opens(key: MasterKey, check: Sealed): boolean {
  try {
    return unseal(key, checkId, check) === checkText
  } catch (error) {
    if (error instanceof StoreError) return false
    throw error
  }
}

interface SealedRow {
  readonly wrapped_key: Buffer
  readonly ciphertext: Buffer
}

async function readSealed(q: Queryable, id: string): Promise<Sealed | undefined> {
  const { rows } = await q.query<SealedRow>(
    'select wrapped_key, ciphertext from sealed_secret where id = $1::text',
    [id],
  )
  const [row] = rows
  return row === undefined ? undefined : fromRow(row)
}

function fromRow(row: SealedRow): Sealed {
  return { wrappedKey: row.wrapped_key, ciphertext: row.ciphertext }
}

function decodeKey(text: string): Buffer | undefined {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex')
  // Node's base64 reads both alphabets, and skips what it does not know: so the shape is checked first.
  if (!/^([A-Za-z0-9+/]{43}|[A-Za-z0-9_-]{43})=?$/.test(text)) return undefined
  const bytes = Buffer.from(text, 'base64')
  return bytes.length === keyBytes ? bytes : undefined
}

// The two contexts differ, so that neither part can stand in the place of the other.
function keyContext(id: string): Buffer {
  return Buffer.from(`muster data key\0${id}`, 'utf8')
}

function textContext(id: string): Buffer {
  return Buffer.from(`muster secret\0${id}`, 'utf8')
}

function encrypt(key: KeyObject, context: Buffer, plaintext: Buffer): Buffer {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes })
  cipher.setAAD(context)
  const sealed = Buffer.concat([cipher.update(plaintext), cipher.final()])
  return Buffer.concat([Buffer.of(format), nonce, cipher.getAuthTag(), sealed])
}

/** The plaintext; undefined when key, context or a single bit is not what it was sealed with. */
function decrypt(key: KeyObject, context: Buffer, bytes: Buffer): Buffer | undefined {
  const start = 1 + nonceBytes + tagBytes
  if (bytes.length < start || bytes[0] !== format) return undefined
  const nonce = bytes.subarray(1, 1 + nonceBytes)
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes })
  decipher.setAAD(context)
  decipher.setAuthTag(bytes.subarray(1 + nonceBytes, start))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(start)), decipher.final()])
  } catch {
    // OpenSSL says no more than "unable to authenticate data".
    return undefined
  }
}

function unwrap(key: MasterKey, id: string, sealed: Sealed): Buffer {
  const dataKey = decrypt(key, keyContext(id), sealed.wrappedKey)
  if (dataKey?.length === keyBytes) return dataKey
  throw unreadable(id, 'it was changed, moved from another record, or sealed by another master key')
}

function unreadable(id: string, reason: string): StoreError {
  return new StoreError('secret_unreadable', `The secret ${id} cannot be opened: ${reason}.`, {
    hint: 'Enter the secret again, or restore the database and MUSTER_KEY from the same backup.',
  })
}

function wrongKey(): StoreError {
  return new StoreError(
    'master_key_wrong',
    'The master key is not the one that the secrets of this database are sealed with.',
    {
      hint: 'Set MUSTER_KEY to the key that this database was first started with, or to the new one after a rotation. Secrets were not changed.',
    },
  )
}
