// The secrets of a source: sealed one by one under source/<id>/<path>; its settings hold only the mask.
import { RunError } from '../core/errors.ts'
import { secretMask } from '../core/secret-keys.ts'
import type { Source } from '../core/source.ts'
import type { Queryable } from './database.ts'
import { deleteSecrets, getSecret, putSecret } from './sealed.ts'
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

/** The settings of a source with its secrets in place, for whoever talks to its system. They are never shown or kept. */
export async function openSettings(
  q: Queryable,
  key: MasterKey,
  source: Pick<Source, 'id' | 'name' | 'connectorAttributes'>,
): Promise<Record<string, unknown>> {
  const open = async (value: unknown, path: readonly string[]): Promise<unknown> => {
    if (value === secretMask) {
      const secret = await getSecret(
        q,
        key,
        sourceSecretId(source.id, path.map(encodeURIComponent).join('/')),
      )
      if (secret !== undefined) return secret
      throw new RunError(
        'secret_missing',
        `The secret connectorAttributes.${path.join('.')} is not there.`,
        {
          hint: 'Set it again.',
        },
      )
    }
    if (Array.isArray(value)) {
      const items: unknown[] = []
      for (const [index, item] of value.entries())
        items.push(await open(item, [...path, String(index)]))
      return items
    }
    if (typeof value !== 'object' || value === null) return value
    const entries: [string, unknown][] = []
    for (const [name, item] of Object.entries(value))
      entries.push([name, await open(item, [...path, name])])
    return Object.fromEntries(entries)
  }
  const entries: [string, unknown][] = []
  for (const [name, value] of Object.entries(source.connectorAttributes)) {
    entries.push([name, await open(value, [name])])
  }
  return Object.fromEntries(entries)
}

/** Forgets all secrets of a source. */
export async function deleteSourceSecrets(q: Queryable, sourceId: string): Promise<void> {
  await deleteSecrets(q, sourceSecretId(sourceId, ''))
}
