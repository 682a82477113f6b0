// Sealing of secrets: what opens, what must not, and the table behind it.
import { inspect } from 'node:util'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  deleteSecrets,
  generateMasterKey,
  getSecret,
  parseMasterKey,
  putSecret,
  rewrap,
  rotateSecrets,
  seal,
  unseal,
  verifyMasterKey,
} from '../../src/store/sealed.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

const key = parseMasterKey(generateMasterKey())
const otherKey = parseMasterKey(generateMasterKey())

describe('the master key', () => {
  it('is read as base64, base64url and hexadecimal digits', () => {
    const bytes = Buffer.from(generateMasterKey(), 'base64')
    const texts = [bytes.toString('base64'), bytes.toString('base64url'), bytes.toString('hex')]
    for (const text of texts) {
      expect(parseMasterKey(` ${text}\n`).export()).toEqual(bytes)
    }
  })

  it.each(['', 'secret', 'a'.repeat(63), '%'.repeat(44), Buffer.alloc(31, 'x').toString('base64')])(
    'is refused when it is %j, without being shown',
    (text) => {
      expect(() => parseMasterKey(text)).toThrow('is not 32 bytes')
      if (text !== '') expect(() => parseMasterKey(text)).not.toThrow(text)
    },
  )

  it('is refused when it is a placeholder', () => {
    expect(() => parseMasterKey('0'.repeat(64))).toThrow('a placeholder')
  })

  it('does not show in logs', () => {
    const text = generateMasterKey()
    const shown = inspect(parseMasterKey(text)) + JSON.stringify(parseMasterKey(text))
    expect(shown).not.toContain(text)
    expect(shown).not.toContain(Buffer.from(text, 'base64').toString('hex'))
  })
})

describe('a sealed secret', () => {
  it('opens with its key and id, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string(), (text, id) => {
        expect(unseal(key, id, seal(key, id, text))).toBe(text)
      }),
    )
  })

  it('is different each time and shows nothing of the text', () => {
    const [one, two] = [seal(key, 'a', 'canary'), seal(key, 'a', 'canary')]
    expect(one.ciphertext.equals(two.ciphertext)).toBe(false)
    expect(one.wrappedKey.equals(two.wrappedKey)).toBe(false)
    expect(one.ciphertext.includes('canary')).toBe(false)
  })

  it('does not open after any single bit was flipped', () => {
    const sealed = seal(key, 'source/1/password', 'canary')
    for (const part of ['wrappedKey', 'ciphertext'] as const) {
      for (let bit = 0; bit < sealed[part].length * 8; bit += 1) {
        const bytes = Buffer.from(sealed[part])
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        const open = (): string => unseal(key, 'source/1/password', { ...sealed, [part]: bytes })
        expect(open).toThrow('The secret source/1/password cannot be opened')
      }
    }
  })

  it('does not open when it is cut short or its parts change places', () => {
    const { wrappedKey, ciphertext } = seal(key, 'a', 'x'.repeat(32))
    const cut = { wrappedKey, ciphertext: ciphertext.subarray(0, 20) }
    expect(() => unseal(key, 'a', cut)).toThrow('The secret a cannot be opened')
    const swapped = { wrappedKey: ciphertext, ciphertext: wrappedKey }
    expect(() => unseal(key, 'a', swapped)).toThrow('The secret a cannot be opened')
  })

  it('does not open under another id or with another key', () => {
    const sealed = seal(key, 'a', 'text')
    expect(() => unseal(key, 'b', sealed)).toThrow('The secret b cannot be opened')
    expect(() => unseal(otherKey, 'a', sealed)).toThrow('sealed by another master key')
  })

  it('opens with the new key only after it was wrapped anew', () => {
    const rewrapped = rewrap(key, otherKey, 'a', seal(key, 'a', 'text'))
    expect(unseal(otherKey, 'a', rewrapped)).toBe('text')
    expect(() => unseal(key, 'a', rewrapped)).toThrow('cannot be opened')
  })
})

describe('the table of secrets', () => {
  let test: TestDatabase

  beforeEach(async () => {
    test = await testDatabase()
  })

  afterEach(() => test.drop())

  it('gives back what was put, the latest, and undefined for what was not', async () => {
    await putSecret(test.db, key, 'source/1/password', 'first')
    await putSecret(test.db, key, 'source/1/password', 'second')
    expect(await getSecret(test.db, key, 'source/1/password')).toBe('second')
    expect(await getSecret(test.db, key, 'source/2/password')).toBeUndefined()
  })

  it('deletes the secrets of one thing and keeps the others', async () => {
    for (const id of ['source/1/a', 'source/1/b', 'source/10/a']) {
      await putSecret(test.db, key, id, 'text')
    }
    expect(await deleteSecrets(test.db, 'source/1/')).toBe(2)
    expect(await getSecret(test.db, key, 'source/10/a')).toBe('text')
    expect(await deleteSecrets(test.db, 'key-check')).toBe(0)
    await expect(deleteSecrets(test.db, '')).rejects.toThrow('an empty one means all')
  })

  it('refuses a record that was moved to another id', async () => {
    await putSecret(test.db, key, 'source/1/a', 'text')
    await test.db.query(`update sealed_secret set id = 'source/2/a' where id = 'source/1/a'`)
    await expect(getSecret(test.db, key, 'source/2/a')).rejects.toMatchObject({
      code: 'secret_unreadable',
      message: expect.stringContaining('source/2/a'),
    })
  })

  it('holds no secret in the clear', async () => {
    await putSecret(test.db, key, 'source/1/a', 'canary')
    const { rows } = await test.db.query('select s::text as text from sealed_secret s')
    const shown = JSON.stringify(rows)
    expect(shown).not.toContain('canary')
    expect(shown).not.toContain(Buffer.from('canary').toString('hex'))
  })

  it('keeps the first key and refuses another one', async () => {
    await verifyMasterKey(test.db, key)
    await verifyMasterKey(test.db, key)
    await expect(verifyMasterKey(test.db, otherKey)).rejects.toMatchObject({
      code: 'master_key_wrong',
    })
    await expect(putSecret(test.db, otherKey, 'a', 'text')).rejects.toThrow('not the one')
  })

  it('lets one of two different keys win when both start at once', async () => {
    const results = await Promise.allSettled([
      verifyMasterKey(test.db, key),
      verifyMasterKey(test.db, otherKey),
    ])
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  })

  it('refuses secrets whose key check is missing', async () => {
    await putSecret(test.db, key, 'a', 'text')
    await test.db.query(`delete from sealed_secret where id = 'key-check'`)
    await expect(verifyMasterKey(test.db, otherKey)).rejects.toThrow('not the one')
    expect(await getSecret(test.db, key, 'a')).toBe('text')
  })

  it('rotates all secrets to a new key', async () => {
    await putSecret(test.db, key, 'a', 'one')
    await putSecret(test.db, key, 'b', 'two')
    expect(await rotateSecrets(test.db, key, otherKey)).toBe(3)
    await verifyMasterKey(test.db, otherKey)
    expect(await getSecret(test.db, otherKey, 'a')).toBe('one')
    await expect(getSecret(test.db, key, 'a')).rejects.toThrow('cannot be opened')
    await expect(verifyMasterKey(test.db, key)).rejects.toThrow('not the one')
    await expect(putSecret(test.db, key, 'c', 'text')).rejects.toThrow('not the one')
  })

  it('rotates nothing when one secret does not open', async () => {
    await putSecret(test.db, key, 'a', 'one')
    await test.db.query(`insert into sealed_secret (id, wrapped_key, ciphertext)
      select 'moved', wrapped_key, ciphertext from sealed_secret where id = 'a'`)
    await expect(rotateSecrets(test.db, key, otherKey)).rejects.toThrow('The secret moved')
    expect(await getSecret(test.db, key, 'a')).toBe('one')
  })
})
