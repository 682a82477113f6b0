// Secrets of clients: what a stranger could learn from the work that a login costs.
import { createHook } from 'node:async_hooks'
import { expect, it } from 'vitest'
import { drawSecret, hashSecret, verifySecret } from '../../src/api/client-secret.ts'

/** How many hashes are computed while something is done; the threads that compute them are asked by one object each. */
async function hashesOf(work: () => Promise<unknown>): Promise<number> {
  let hashes = 0
  const hook = createHook({
    init: (_id, type) => {
      if (type === 'SCRYPTREQUEST') hashes += 1
    },
  }).enable()
  try {
    await work()
  } finally {
    hook.disable()
  }
  return hashes
}

it('a login costs one hash, whether the secret is right, wrong or of nobody', async () => {
  const secret = drawSecret()
  const kept = await hashSecret(secret)
  const answers: boolean[] = []
  const tries = [
    { given: secret, of: kept },
    { given: `${secret.slice(0, -1)}x`, of: kept },
    { given: `x${secret.slice(1)}`, of: kept },
    { given: '', of: kept },
    { given: 'x'.repeat(10_000), of: kept },
    { given: secret, of: null },
  ]
  for (const { given, of } of tries) {
    const hashes = await hashesOf(async () => answers.push(await verifySecret(given, of)))
    expect(hashes).toBe(1)
  }
  expect(answers).toEqual([true, false, false, false, false, false])
})

it('the same secret has another hash each time', async () => {
  const [one, two] = await Promise.all([hashSecret('secret'), hashSecret('secret')])
  expect(one.salt.equals(two.salt)).toBe(false)
  expect(one.hash.equals(two.hash)).toBe(false)
  expect(one.hash).toHaveLength(two.hash.length)
})
