// Bucket sums: which accounts can have changed, told from sums of row fingerprints (design: reloads).

/** Sums over the fingerprints of the rows whose key hashes fall into the same bucket. */
export interface Buckets {
  readonly mask: number
  readonly low: Int32Array
  readonly high: Int32Array
  /** How many stored accounts each bucket holds. */
  readonly stored: Uint16Array
  /** Buckets that are dirty whatever their sums say. */
  readonly spoiled: Uint8Array
}

/** A power of two near one bucket an account, from 2^17 to 2^22: eleven bytes each, so at most 46 MB. */
export function bucketCount(accounts: number): number {
  if (accounts > 5_000_000) return 1 << 22
  if (accounts > 2_500_000) return 1 << 21
  return accounts > 100_000 ? 1 << 20 : 1 << 17
}

export function createBuckets(count: number): Buckets {
  return {
    mask: count - 1,
    low: new Int32Array(count),
    high: new Int32Array(count),
    stored: new Uint16Array(count),
    spoiled: new Uint8Array(count),
  }
}

/** Adds a row of the file. */
export function addRow(buckets: Buckets, keyHash: number, low: number, high: number): void {
  const bucket = keyHash & buckets.mask
  buckets.low[bucket] = (buckets.low[bucket] ?? 0) + low
  buckets.high[bucket] = (buckets.high[bucket] ?? 0) + high
}

/** Takes off a stored account. Both words 0 stand for a fingerprint that matches no row. */
export function addStored(buckets: Buckets, keyHash: number, low: number, high: number): void {
  const bucket = keyHash & buckets.mask
  buckets.low[bucket] = (buckets.low[bucket] ?? 0) - low
  buckets.high[bucket] = (buckets.high[bucket] ?? 0) - high
  buckets.stored[bucket] = (buckets.stored[bucket] ?? 0) + 1
  if (low === 0 && high === 0) buckets.spoiled[bucket] = 1
}

/** Whether rows of the file and stored accounts differ in the bucket of a key. */
export function isDirty(buckets: Buckets, keyHash: number): boolean {
  const bucket = keyHash & buckets.mask
  return buckets.low[bucket] !== 0 || buckets.high[bucket] !== 0 || buckets.spoiled[bucket] === 1
}

/** The dirty buckets, and how many stored accounts they hold. */
export function dirtyBuckets(buckets: Buckets): { dirty: number[]; stored: number } {
  const dirty: number[] = []
  let stored = 0
  for (let bucket = 0; bucket <= buckets.mask; bucket += 1) {
    if (!isDirty(buckets, bucket)) continue
    dirty.push(bucket)
    stored += buckets.stored[bucket] ?? 0
  }
  return { dirty, stored }
}
