// The secrets of a source: sealed one by one under source/<id>/<path>; its settings hold only the mask.
import type { Queryable } from './database.ts'
import { deleteSecrets, putSecret } from './sealed.ts'
import type { MasterKey } from './sealed.ts'

/** The id that a secret is sealed under; `path` is the escaped path of its key. */
export function sourceSecretId(sourceId: string, path: string): string {
  return `source/${sourceId}/${path}`
}

/** Seals the given secrets, by path, and forgets those at `removed`. */
export async function writeSourceSecrets(
  q: Queryable,
  key: MasterKey,
  sourceId: string,
  changes: { readonly given: ReadonlyMap<string, string>; readonly removed: readonly string[] },
): Promise<void> {
  for (const [path, secret] of changes.given) {
    await putSecret(q, key, sourceSecretId(sourceId, path), secret)
  }
  if (changes.removed.length === 0) return
  await q.query('delete from sealed_secret where id = any($1::text[])', [
    changes.removed.map((path) => sourceSecretId(sourceId, path)),
  ])
}

/** Forgets all secrets of a source. */
export async function deleteSourceSecrets(q: Queryable, sourceId: string): Promise<void> {
  await deleteSecrets(q, sourceSecretId(sourceId, ''))
}
