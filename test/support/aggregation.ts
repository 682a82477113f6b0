// A small laboratory for runs: a source, a spool and a worker on a test database, and what a run left there.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Caller } from '../../src/core/access.ts'
import { attribute, type AttributeDefinition } from '../../src/core/schema.ts'
import {
  defaultSourceSettings,
  delimitedConnector,
  type ReadMode,
  type Source,
  type WhenBusy,
} from '../../src/core/source.ts'
import type { Task } from '../../src/core/task.ts'
import type { SystemServices } from '../../src/run/ask-system.ts'
import type { Step, Ways } from '../../src/run/job.ts'
import { openSpool, type Spool } from '../../src/run/spool.ts'
import { submitAggregation, type Submitted } from '../../src/run/submit.ts'
import { type AggregationWorker, startWorker } from '../../src/run/worker.ts'
import type { Database } from '../../src/store/database.ts'
import { accountRange } from '../../src/store/names.ts'
import { getRun, type Run } from '../../src/store/runs.ts'
import { insertSchema } from '../../src/store/schemas.ts'
import { getSource, insertSource, updateSourceSettings } from '../../src/store/sources.ts'
import { fromWireId } from '../../src/core/id.ts'
import { getTask } from '../../src/store/tasks.ts'
import { testSystem } from './system.ts'

/** What a test says of a source; everything else has a plain default. */
export interface SourceGiven {
  readonly attributes?: readonly AttributeDefinition[]
  readonly identityAttribute?: string
  readonly displayAttribute?: string | null
  readonly deleteThreshold?: number | null
  readonly whenBusy?: WhenBusy
  readonly connectorAttributes?: Readonly<Record<string, unknown>>
  /** The connector of a direct source. */
  readonly connector?: string
  readonly readMode?: ReadMode
}

/** What a test says of a submit. */
export interface SubmitGiven {
  readonly optimized?: boolean
  readonly strict?: boolean
  readonly clientId?: string
  readonly fields?: Readonly<Record<string, string>>
}

export interface StoredAccount {
  readonly id: string
  readonly nativeIdentity: string
  readonly name: string | null
  readonly attributes: string
}

export interface StoredVersion extends StoredAccount {
  readonly opened: number
  readonly closed: number
  readonly removed: boolean
}

export interface StoredReject {
  readonly position: number
  readonly code: string
  readonly reason: string
  readonly raw: string
  readonly nativeIdentity: string | null
  readonly trusted: boolean
}

/** One worker with its own spool folder. `onStep` may be replaced at any time. */
export interface Laboratory {
  readonly db: Database
  readonly spool: Spool
  readonly log: string[]
  onStep: (step: Step) => void | Promise<void>
  createSource(given?: SourceGiven): Promise<Source>
  submit(sourceId: string, content: string | Uint8Array, given?: SubmitGiven): Promise<Submitted>
  /** The task when it has ended. */
  ended(taskId: string, withinMs?: number): Promise<Task>
  /** Submits and waits for the end. */
  load(sourceId: string, content: string | Uint8Array, given?: SubmitGiven): Promise<Task>
  /** Submits a run of a direct source. */
  submitRead(sourceId: string, given?: SubmitGiven): Promise<Submitted>
  /** Submits a run of a direct source and waits for the end. */
  read(sourceId: string, given?: SubmitGiven): Promise<Task>
  startWorker(): void
  stopWorker(): Promise<void>
  close(): Promise<void>
}

export const caller: Caller = {
  clientId: 'tester',
  clientName: 'Tester',
  identityId: '00000000000000000000000000000001',
  identityName: 'Tester',
  level: 'ORG_ADMIN',
  scopes: ['sp:scopes:all'],
  sourceIds: null,
}

export const allWays: Ways = { firstLoad: true, buckets: true }

/** Opens a laboratory on a database; its worker takes only what was submitted through it. */
export async function openLaboratory(
  db: Database,
  options: {
    readonly ways?: Ways
    readonly leaseSeconds?: number
    readonly concurrency?: number
    readonly worker?: boolean
    readonly system?: Partial<SystemServices>
    /** A folder that another laboratory opened too, as hosts with a shared spool do. */
    readonly sharedDir?: string
  } = {},
): Promise<Laboratory> {
  const folder = options.sharedDir ?? (await mkdtemp(join(tmpdir(), 'muster-lab-')))
  const spool = await openSpool({ dir: folder, shared: options.sharedDir !== undefined })
  let worker: AggregationWorker | null = null
  let sources = 0
  const log: string[] = []
  const submit = async (
    sourceId: string,
    file: Awaited<ReturnType<Spool['receive']>> | null,
    given: SubmitGiven,
  ): Promise<Submitted> => {
    const source = await getSource(db, sourceId)
    if (source === null) throw new Error(`no source ${sourceId}`)
    const submitted = await submitAggregation(db, {
      caller: given.clientId === undefined ? caller : { ...caller, clientId: given.clientId },
      source,
      fields: given.fields ?? {},
      optimized: given.optimized ?? true,
      strict: given.strict ?? false,
      node: spool.node,
      file: file === null ? null : { ...file, fileName: 'accounts.csv' },
    })
    worker?.wake()
    return submitted
  }
  const lab: Laboratory = {
    db,
    spool,
    log,
    onStep: () => undefined,
    createSource: async (given = {}) => {
      sources += 1
      return createSource(db, `Source ${spool.node} ${sources}`, given)
    },
    submit: async (sourceId, content, given = {}) =>
      submit(sourceId, await spool.receive(once(Buffer.from(content)), 2 ** 32), given),
    submitRead: (sourceId, given = {}) => submit(sourceId, null, given),
    read: async (sourceId, given) => {
      const { kind, task } = await lab.submitRead(sourceId, given)
      if (kind !== 'accepted') throw new Error(`the submit was ${kind}`)
      return lab.ended(task.id)
    },
    ended: (taskId, withinMs = 30_000) => waitForEnd(db, taskId, withinMs),
    load: async (sourceId, content, given) => {
      const { kind, task } = await lab.submit(sourceId, content, given)
      if (kind !== 'accepted') throw new Error(`the submit was ${kind}`)
      return lab.ended(task.id)
    },
    startWorker: () => {
      worker = startWorker({
        db,
        spool,
        system: testSystem(options.system),
        ways: options.ways ?? allWays,
        onStep: (step) => lab.onStep(step),
        leaseSeconds: options.leaseSeconds ?? 10,
        concurrency: options.concurrency ?? 2,
        log: (level, message, fields) => {
          // An Error has nothing that JSON would show.
          const shown = JSON.stringify(fields ?? {}, (_key, value: unknown) =>
            value instanceof Error ? value.stack : value,
          )
          log.push(`${level}: ${message} ${shown}`)
        },
      })
    },
    stopWorker: async () => {
      await worker?.stop()
      worker = null
    },
    close: async () => {
      await lab.stopWorker()
      await rm(folder, { recursive: true, force: true })
    },
  }
  if (options.worker !== false) lab.startWorker()
  return lab
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

async function createSource(db: Database, name: string, given: SourceGiven): Promise<Source> {
  const source = await insertSource(
    db,
    {
      name,
      description: null,
      ownerId: null,
      type: given.connector ?? 'DelimitedFile',
      connector: given.connector ?? delimitedConnector,
      connectionType: given.connector === undefined ? 'file' : 'direct',
      connectorAttributes: { ...given.connectorAttributes },
      features: [],
      deleteThreshold: given.deleteThreshold === undefined ? 100 : given.deleteThreshold,
      authoritative: false,
      category: null,
      extra: {},
    },
    'SOURCE_STATE_UNCHECKED_SOURCE_NO_ACCOUNTS',
  )
  const { whenBusy, readMode } = { ...defaultSourceSettings, ...given }
  await updateSourceSettings(db, source.id, { whenBusy, readMode })
  await insertSchema(db, source.id, {
    name: 'account',
    nativeObjectType: 'User',
    identityAttribute: given.identityAttribute ?? 'id',
    displayAttribute: given.displayAttribute === undefined ? 'name' : given.displayAttribute,
    hierarchyAttribute: null,
    includePermissions: false,
    features: [],
    configuration: {},
    attributes: given.attributes ?? [attribute('id'), attribute('name'), attribute('mail')],
  })
  return source
}

async function waitForEnd(db: Database, taskId: string, withinMs: number): Promise<Task> {
  const until = Date.now() + withinMs
  for (;;) {
    const task = await getTask(db, taskId)
    if (task === null) throw new Error(`no task ${taskId}`)
    if (task.completionStatus !== null) return task
    if (Date.now() > until) {
      throw new Error(`task ${taskId} is still ${task.state}: ${task.progress ?? ''}`)
    }
    await pause(10)
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** The accounts of a source by native identity. */
export async function accountsOf(db: Database, sourceId: string): Promise<StoredAccount[]> {
  const { low, high } = accountRange(sourceId)
  const { rows } = await db.query<{
    id: string
    native_identity: string
    name: string | null
    attributes: string
  }>(
    `select replace(id::text, '-', '') as id, native_identity, name, attributes from account
     where id >= $1::uuid and id < $2::uuid order by native_identity`,
    [low, high],
  )
  return rows.map((row) => ({
    id: row.id,
    nativeIdentity: row.native_identity,
    name: row.name,
    attributes: row.attributes,
  }))
}

/** The superseded versions of a source's accounts, in order of closing and native identity. */
export async function historyOf(db: Database, sourceId: string): Promise<StoredVersion[]> {
  const { low, high } = accountRange(sourceId)
  const { rows } = await db.query<{
    id: string
    native_identity: string
    name: string | null
    attributes: string
    opened_run: number
    closed_run: number
    removed: boolean
  }>(
    `select replace(id::text, '-', '') as id, native_identity, name, attributes, opened_run, closed_run, removed
     from account_history where id >= $1::uuid and id < $2::uuid order by closed_run, native_identity`,
    [low, high],
  )
  return rows.map((row) => ({
    id: row.id,
    nativeIdentity: row.native_identity,
    name: row.name,
    attributes: row.attributes,
    opened: row.opened_run,
    closed: row.closed_run,
    removed: row.removed,
  }))
}

/** The rejects of a run by position. */
export async function rejectsOf(db: Database, taskId: string): Promise<StoredReject[]> {
  const { rows } = await db.query<{
    position: number
    code: string
    reason: string
    raw: string
    native_identity: string | null
    trusted: boolean
  }>(
    `select position, code, reason, raw, native_identity, trusted from reject
     where task_id = $1::uuid order by position`,
    [fromWireId(taskId)],
  )
  return rows.map(({ native_identity: nativeIdentity, ...row }) => ({ ...row, nativeIdentity }))
}

/** The accounts that a run changed, by kind and native identity; a first load lists none. */
export async function changesOf(db: Database, run: number): Promise<Record<string, string[]>> {
  const { rows } = await db.query<{ kind: string; identity: string }>(
    `select c.kind, coalesce(a.native_identity, h.native_identity) as identity
     from account_change c left join account a on a.id = c.account_id
       left join lateral (select native_identity from account_history h
         where h.id = c.account_id order by closed_run desc limit 1) h on true
     where c.run_number = $1 order by 1, 2`,
    [run],
  )
  const changes: Record<string, string[]> = {}
  for (const row of rows) (changes[row.kind] ??= []).push(row.identity)
  return changes
}

export async function runOf(db: Database, taskId: string): Promise<Run> {
  const run = await getRun(db, taskId)
  if (run === null) throw new Error(`no run ${taskId}`)
  return run
}

/** The source as it is now. */
export async function sourceNow(db: Database, sourceId: string): Promise<Source> {
  const source = await getSource(db, sourceId)
  if (source === null) throw new Error(`no source ${sourceId}`)
  return source
}
