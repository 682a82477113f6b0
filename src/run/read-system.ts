// Reads a direct source into the spool: decides between full and delta, and keeps what shows that the read is whole.
import { createHash } from 'node:crypto'
import { readList } from '../core/setting.ts'
import { patchSettings } from '../core/setting-patch.ts'
import { splitSecrets } from '../core/secret-keys.ts'
import type { Schema } from '../core/schema.ts'
import type { Source } from '../core/source.ts'
import type { Connection } from '../store/database.ts'
import {
  deleteReadState,
  getReadState,
  putReadState,
  type ReadState,
} from '../store/read-states.ts'
import type { Run } from '../store/runs.ts'
import type { MasterKey } from '../store/sealed.ts'
import { writeSourceSecrets } from '../store/source-secrets.ts'
import { getSource, updateConnectorAttributes } from '../store/sources.ts'
import { askSystem, type SystemServices, type Underway } from './ask-system.ts'
import type { Spool } from './spool.ts'
import type { SystemAnswer, SystemRead, Wanted } from './system-messages.ts'

/** A read that lies in the spool, or is on its way there. */
export interface SpooledRead extends Pick<
  SystemRead,
  'columns' | 'undelivered' | 'extra' | 'mode'
> {
  readonly path: string
  /** What a later delta must agree with: connector, settings and schema. */
  readonly seed: Buffer
  /** Tells how far a file is that is still being written, see system-messages.ts; null for a whole one. */
  readonly growing: SharedArrayBuffer | null
  /** What was read, when nothing is missing; rejects with the reason why the read has failed. */
  readonly ended: Promise<SystemRead>
  /** Ends the read where it goes on, and removes the file. */
  close(): Promise<void>
}

/** What a read is made of. */
interface Read {
  readonly connection: Connection
  readonly source: Source
  readonly schema: Schema
  readonly run: Run
  /** How many accounts there are now. */
  readonly accounts: number
}

/**
 * Reads everything, or what changed where that was asked for and is possible. Resolves when the file is whole, or when its
 * columns are known and its rows come as fast as the system can copy them. Nothing is left behind when it fails.
 */
export async function readSystem(
  services: {
    readonly system: SystemServices
    readonly spool: Spool
    readonly onStep: (step: 'reading') => void | Promise<void>
  },
  read: Read,
  signal: AbortSignal,
  onProgress: (progress: Underway['progress']) => void,
): Promise<SpooledRead> {
  const place = services.spool.reserve()
  const stop = new AbortController()
  let ended: Promise<SystemRead> | null = null
  const close = async (): Promise<void> => {
    stop.abort(new Error('nobody needs the read any more'))
    await ended?.catch(() => undefined)
    await place.forget()
  }
  try {
    const { seed, cursor } = await whereToBegin(read)
    const ask = {
      what: 'read',
      request: wanted(read.schema, readList(read.source.connectorAttributes, 'mergeColumns')),
      cursor,
      path: place.path,
      limitBytes: services.system.maxReadBytes,
    } as const
    const either = AbortSignal.any([signal, stop.signal])
    const underway = await askSystem(read.connection, services.system, read.source, ask, either)
    ended = underway.answer.then(readOf)
    // Waited for later; until then its failure must not count as unhandled.
    ended.catch(() => undefined)
    onProgress(underway.progress)
    await services.onStep('reading')
    const start = await underway.began
    const known = start === null ? await ended : ({ ...start, mode: 'full' } as const)
    const { columns, undelivered, extra, mode } = known
    const growing = start === null ? null : underway.shared
    const { path } = place
    return { path, seed, columns, undelivered, extra, mode, growing, ended, close }
  } catch (error) {
    await close()
    throw error
  }
}

function readOf(answer: SystemAnswer): SystemRead {
  if (answer.what !== 'read') throw new Error(`unexpected answer ${answer.what}`)
  return answer.read
}

/** The first read is full, and so is the first after a change of what is read. */
async function whereToBegin({
  connection,
  source,
  schema,
  run,
  accounts,
}: Read): Promise<{ readonly seed: Buffer; readonly cursor: ReadState['cursor'] | null }> {
  const seed = readSeed(source, schema)
  const mode = run.fields['mode'] ?? source.settings.readMode
  if (mode !== 'delta' || accounts === 0) return { seed, cursor: null }
  const state = await getReadState(connection, source.id)
  return { seed, cursor: state?.seed.equals(seed) === true ? state.cursor : null }
}

/** Where collecting fails because the read did, why the read failed is what counts. */
export async function wholeRead<T>(
  job: { readonly system: SpooledRead | null },
  collected: Promise<T>,
): Promise<T> {
  try {
    return await collected
  } catch (error) {
    // A read that goes on says nothing; one that has failed says so at once, or in a moment.
    const pause = new Promise((resolve) => setTimeout(resolve, 250))
    await Promise.race([job.system?.ended, pause])
    throw error
  }
}

/** Keeps what a read told, in the transaction of its effect: where it ended, and changes of settings that the system wants. */
export async function keepRead(
  tx: Connection,
  key: MasterKey,
  target: {
    readonly source: Source
    readonly schema: Schema
    readonly runNumber: number
    /** Of the read, as it was before. */
    readonly seed: Buffer
    /** Whether a guard held removals back: the next read must bring them again, or they would never be heard of. */
    readonly withheld: boolean
  },
  read: SystemRead,
): Promise<void> {
  const { source, schema, runNumber, withheld } = target
  const seed =
    read.patches.length === 0
      ? target.seed
      : readSeed(
          { ...source, connectorAttributes: await changeSettings(tx, key, source, read) },
          schema,
        )
  if (withheld && read.mode === 'delta') return
  if (withheld || read.cursor === null) await deleteReadState(tx, source.id)
  else await putReadState(tx, source.id, { cursor: read.cursor, seed, runNumber })
}

async function changeSettings(
  tx: Connection,
  key: MasterKey,
  source: Source,
  read: SystemRead,
): Promise<Source['connectorAttributes']> {
  const now = (await getSource(tx, source.id)) ?? source
  const { masked, given } = splitSecrets(patchSettings(now.connectorAttributes, read.patches))
  await writeSourceSecrets(tx, key, source.id, { given, removed: [] })
  await updateConnectorAttributes(tx, source.id, masked)
  // Read back, because the database keeps keys in an order of its own, and the seed is made of their text.
  return ((await getSource(tx, source.id)) ?? now).connectorAttributes
}

/** The attributes of a schema as a reader is asked for them. `mergeColumns`: those that collect values all the same. */
export function wanted(schema: Schema, mergeColumns: readonly string[] = []): Wanted {
  return {
    objectType: schema.name,
    identityAttribute: schema.identityAttribute,
    attributes: schema.attributes.map(({ name, nativeName, type, isMulti, isEntitlement }) => ({
      name,
      nativeName,
      type,
      isMulti: isMulti || mergeColumns.includes(name),
      isEntitlement,
    })),
  }
}

/** Settings that mirror what happened say nothing about what is read. */
function readSeed(source: Source, schema: Schema): Buffer {
  const { deltaAggregation: _, ...settings } = source.connectorAttributes
  return createHash('sha256')
    .update(
      JSON.stringify([source.connector, settings, schema.identityAttribute, schema.attributes]),
    )
    .digest()
}
