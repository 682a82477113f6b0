// Asks the system of a source without a run: is it there, what does it have, what would be read. Accounts are not touched.
import type { Schema } from '../core/schema.ts'
import type { Source } from '../core/source.ts'
import type { Database } from '../store/database.ts'
import { askSystem, type SystemServices } from './ask-system.ts'
import { wanted } from './read-system.ts'
import type { SystemAnswer, SystemAsk } from './system-messages.ts'

/** What probes need of the process. */
export interface ProbeServices {
  readonly db: Database
  readonly system: SystemServices
}

/** A question. `limit`: records at most. */
export type Ask =
  | { readonly what: 'check' }
  | { readonly what: 'discover' }
  | { readonly what: 'peek'; readonly limit: number; readonly schema: Schema }
  | { readonly what: 'readOne'; readonly identity: string; readonly schema: Schema }

/** The answer to a question of the same name; the values of records are in the order of `attributes`. */
export type ProbeAnswer = Exclude<SystemAnswer, { readonly what: 'read' }>

/** Asks the system of a direct source. Throws `RunError`, or the reason of the signal when that is aborted. */
export async function probe(
  services: ProbeServices,
  source: Source,
  ask: Ask,
  signal: AbortSignal,
): Promise<ProbeAnswer> {
  const { answer } = await askSystem(services.db, services.system, source, question(ask), signal)
  const given = await answer
  if (given.what === 'read') throw new Error('a probe was answered by a read')
  return given
}

function question(ask: Ask): SystemAsk {
  switch (ask.what) {
    case 'check':
    case 'discover':
      return ask
    case 'peek':
      return { what: 'peek', limit: ask.limit, request: wanted(ask.schema) }
    case 'readOne':
      return { what: 'readOne', identity: ask.identity, request: wanted(ask.schema) }
  }
}
