// Client secrets: drawn here, kept as salted hashes, compared in constant time.
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'

export interface SecretHash {
  readonly salt: Buffer
  readonly hash: Buffer
}

/**
 * A generated secret has 256 random bits, for which one SHA-256 would do. But MUSTER_CLIENT_SECRET is chosen by a
 * person, so every secret is stretched: N=4096, r=8 takes about 10 ms and 4 MiB, which a token endpoint can afford and
 * which makes guessing from a stolen table slow.
 */
const cost = { N: 4096, r: 8, p: 1 } as const
const hashBytes = 32
const saltBytes = 16

// scrypt runs on the four threads that also read and sync files: two at once leave uploads their half.
const mostAtOnce = 2
let running = 0
const waiting: (() => void)[] = []

/** 64 hex digits. */
export function drawSecret(): string {
  return randomBytes(32).toString('hex')
}

/** 32 hex digits, as the ids of ISC clients are. */
export function drawClientId(): string {
  return randomBytes(16).toString('hex')
}

/** Hashes a secret under a salt of its own. */
export async function hashSecret(secret: string): Promise<SecretHash> {
  const salt = randomBytes(saltBytes)
  return { salt, hash: await stretch(secret, salt) }
}

/**
 * Whether the secret is the one that was hashed. With `expected` null (an unknown client) it does the same work and
 * says no, so that time does not tell which clients there are.
 */
export async function verifySecret(secret: string, expected: SecretHash | null): Promise<boolean> {
  const hash = await stretch(secret, expected?.salt ?? Buffer.alloc(saltBytes))
  const equal = timingSafeEqual(hash, expected?.hash ?? Buffer.alloc(hashBytes))
  return equal && expected !== null
}

async function stretch(secret: string, salt: Buffer): Promise<Buffer> {
  if (running >= mostAtOnce) {
    await new Promise<void>((resolve) => waiting.push(resolve))
  } else {
    running += 1
  }
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      scrypt(secret, salt, hashBytes, cost, (error, key) =>
        error === null ? resolve(key) : reject(error),
      )
    })
  } finally {
    // The place goes to the next in line, or becomes free.
    const next = waiting.shift()
    if (next === undefined) running -= 1
    else next()
  }
}
