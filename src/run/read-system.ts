// Reads a direct source into the spool: decides between full and delta, and keeps what shows that the read is whole.
import { createHash } from 'node:crypto'
import { RunError } from '../core/errors.ts'
import { patchSettings } from '../core/setting-patch.ts'
import { splitSecrets } from '../core/secret-keys.ts'
import type { Schema } from '../core/schema.ts'
import type { Source } from '../core/source.ts'
import type { Connection } from '../store/database.ts'
import { deleteReadState, getReadState, putReadState } from '../store/read-states.ts'
import type { Run } from '../store/runs.ts'
import type { MasterKey } from '../store/sealed.ts'
import { writeSourceSecrets } from '../store/source-secrets.ts'
import { getSource, updateConnectorAttributes } from '../store/sources.ts'
import { askSystem, type SystemServices } from './ask-system.ts'
import type { Spool, SpoolPlace } from './spool.ts'
import type { SystemRead, Wanted } from './system-messages.ts'

/** A read that lies in the spool. */
export interface SpooledRead extends SystemRead {
  readonly place: SpoolPlace
  /** What a later delta must agree with: connector, settings and schema. */
  readonly seed: Buffer
}

/** Reads everything, or what changed where that was asked for and is possible. Nothing is left behind when it fails. */
export async function readSystem(
  services: {
    readonly system: SystemServices
    readonly spool: Spool
    readonly onStep: (step: 'reading') => void | Promise<void>
  },
  read: {
    readonly connection: Connection
    readonly source: Source
    readonly schema: Schema
    readonly run: Run
    readonly accounts: number
  },
  signal: AbortSignal,
  onProgress: (progress: () => { readonly rows: number; readonly bytes: number }) => void,
): Promise<SpooledRead> {
  const { connection, source, schema, run } = read
  const seed = readSeed(source, schema)
  const mode = run.fields['mode'] ?? source.settings.readMode
  const state = mode === 'delta' ? await getReadState(connection, source.id) : null
  // The first read is full, and so is the first after a change of what is read.
  const usable = state !== null && read.accounts > 0 && state.seed.equals(seed)
  const place = services.spool.reserve()
  try {
    const underway = await askSystem(
      connection,
      services.system,
      source,
      {
        what: 'read',
        request: wanted(schema),
        cursor: usable ? state.cursor : null,
        path: place.path,
        limitBytes: services.system.maxReadBytes,
      },
      signal,
    )
    onProgress(underway.progress)
    // Waited for by nobody before `onStep` is done, and no failure may count as unhandled.
    underway.answer.catch(() => undefined)
    await services.onStep('reading')
    const answer = await underway.answer
    if (answer.what !== 'read') throw new Error(`unexpected answer ${answer.what}`)
    if (answer.read.mode === 'delta' && !usable) {
      throw new RunError('connector_failed', 'The connector read changes, but was asked for all.', {
        hint: 'This is a fault of the connector; tell its makers.',
      })
    }
    return { ...answer.read, place, seed }
  } catch (error) {
    await place.forget()
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
    /** Whether a guard held removals back: the next read must bring them again, or they would never be heard of. */
    readonly withheld: boolean
  },
  read: SpooledRead,
): Promise<void> {
  const { source, schema, runNumber, withheld } = target
  const seed =
    read.patches.length === 0
      ? read.seed
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
  read: SpooledRead,
): Promise<Source['connectorAttributes']> {
  const now = (await getSource(tx, source.id)) ?? source
  const { masked, given } = splitSecrets(patchSettings(now.connectorAttributes, read.patches))
  await writeSourceSecrets(tx, key, source.id, { given, removed: [] })
  await updateConnectorAttributes(tx, source.id, masked)
  return masked
}

/** The attributes of a schema as a reader is asked for them. */
export function wanted(schema: Schema): Wanted {
  return {
    objectType: schema.name,
    identityAttribute: schema.identityAttribute,
    attributes: schema.attributes.map(({ name, nativeName, type, isMulti, isEntitlement }) => ({
      name,
      nativeName,
      type,
      isMulti,
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
