// The id of an account: derived, not drawn, so that a replay, an upsert and a removed account that comes back need no lookup.
import { hash } from 'node:crypto'

/** 6 bytes of the source id, then 10 bytes of the sha256 of the stable key; 32 lower-case hex digits. */
export function accountId(sourceId: string, stableKey: string): string {
  return sourceId.slice(0, 12) + hash('sha256', stableKey, 'hex').slice(0, 20)
}
