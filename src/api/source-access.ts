// Which sources a caller may touch. One rule for every endpoint: who is confined to some sources gets 403 for whatever
// belongs to another, whether that is there or not; so an answer tells nothing about sources one may not see.
import { maySeeSource } from '../core/access.ts'
import type { Caller } from '../core/access.ts'
import { RequestError } from '../core/errors.ts'
import { fromWireId, toWireId } from '../core/id.ts'
import type { Source } from '../core/source.ts'
import type { Queryable } from '../store/database.ts'
import { getSource, getSourceForUpdate } from '../store/sources.ts'

/** Throws `forbidden` when the caller is confined to other sources. */
export function checkSource(caller: Caller, sourceId: string): void {
  if (maySeeSource(caller, sourceId)) return
  throw new RequestError('forbidden', 'The client may not use this source.', {
    hint: 'Use a client that is not confined to other sources.',
  })
}

/** The source of a path. Throws `forbidden` by the rule above, and `not_found`. */
export async function requireSource(q: Queryable, caller: Caller, id: string): Promise<Source> {
  return found(await getSource(q, checkedId(caller, id)))
}

/** As `requireSource`, with the row locked until the transaction ends. */
export async function lockSource(tx: Queryable, caller: Caller, id: string): Promise<Source> {
  return found(await getSourceForUpdate(tx, checkedId(caller, id)))
}

function checkedId(caller: Caller, id: string): string {
  const uuid = fromWireId(id)
  if (uuid === null) throw new RequestError('not_found', 'There is no source with this id.')
  const wireId = toWireId(uuid)
  checkSource(caller, wireId)
  return wireId
}

function found(source: Source | null): Source {
  if (source === null) throw new RequestError('not_found', 'There is no source with this id.')
  return source
}
