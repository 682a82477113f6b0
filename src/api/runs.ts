// /muster/v1/runs: what ISC does not tell of an aggregation: its phases, what it changed, and which records it rejected.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { RequestError } from '../core/errors.ts'
import { type ChangeKind, changeKinds } from '../core/plan.ts'
import { rejectCodes } from '../core/source-record.ts'
import { readModes } from '../core/source.ts'
import { taskStates } from '../core/task.ts'
import type { Task } from '../core/task.ts'
import { countChanges, listChanges, type Change } from '../store/changes.ts'
import type { Database } from '../store/database.ts'
import { readList } from '../store/list-timeout.ts'
import { getRun, listRejects, type Run } from '../store/runs.ts'
import { PagingQuery, queryText, readPage, sendTotal } from './collection.ts'
import type { Call, Route } from './route.ts'
import { Instant, nullable } from './shapes.ts'
import { requireTask } from './task-access.ts'

const narrower = 'Ask for a smaller offset.'
const oneOf = (words: readonly string[]) => Type.Union(words.map((word) => Type.Literal(word)))

const RunModel = Type.Object({
  id: Type.String({ description: 'The id of the run, and of its task.' }),
  state: oneOf(taskStates),
  sourceId: Type.String(),
  launcher: Type.String({ description: 'The name of who started it.' }),
  fileName: nullable(Type.String({ description: 'What the client called the file.' })),
  bytes: nullable(Type.Integer({ description: 'The length of the upload.' })),
  sha256: nullable(Type.String({ description: 'The digest of the upload, 64 hex digits.' })),
  read: nullable(
    Type.Object(
      {
        mode: oneOf(readModes),
        proof: Type.String({ description: 'What showed that nothing is missing.' }),
        records: Type.Integer(),
        bytes: Type.Integer({ description: 'The length of what was read, as CSV.' }),
        sha256: Type.String(),
        columns: Type.Array(Type.String()),
      },
      { description: 'What was read of the system of a direct source; null for uploads.' },
    ),
  ),
  phases: Type.Array(
    Type.Object({
      name: Type.String(),
      started: Instant,
      ended: Instant,
      rows: Type.Integer({ description: 'What the phase handled.' }),
    }),
  ),
  counters: Type.Record(Type.String(), Type.Unknown(), {
    description: 'before, created, updated, removed (as planned), unchanged.',
  }),
  verdict: nullable(Type.Unknown({ description: 'The outcome of the guards and their findings.' })),
  drift: nullable(
    Type.Object(
      {
        comparedWith: nullable(
          Type.String({ description: 'The last run before it that had an effect.' }),
        ),
        added: Type.Array(
          Type.String({ description: 'A column that the run before did not have.' }),
        ),
        removed: Type.Array(Type.String({ description: 'A column that only the run before had.' })),
        missing: Type.Array(
          Type.String({ description: 'An attribute of the schema without a column.' }),
        ),
        extra: Type.Array(Type.String({ description: 'A column that is no attribute.' })),
      },
      { description: 'How the columns have moved; null until the run collects.' },
    ),
  ),
  feedNumber: nullable(Type.Integer({ description: 'Its place in the order of effects.' })),
  created: Instant,
  applied: nullable(Instant),
})
const AccountState = Type.Object(
  {
    nativeIdentity: Type.String(),
    disabled: Type.Boolean(),
    locked: Type.Boolean(),
  },
  { description: 'What the system said besides attributes; null where there is no account.' },
)
const ChangeModel = Type.Object({
  kind: oneOf(changeKinds),
  accountId: Type.String(),
  nativeIdentity: Type.String(),
  before: nullable(Type.Record(Type.String(), Type.Unknown())),
  after: nullable(Type.Record(Type.String(), Type.Unknown())),
  stateBefore: nullable(AccountState),
  stateAfter: nullable(AccountState),
})
const RejectModel = Type.Object({
  position: Type.Integer({ description: 'The line on which the record begins, from 1.' }),
  code: oneOf(rejectCodes),
  reason: Type.String(),
  raw: Type.String({ description: 'The record as it was read.' }),
  nativeIdentity: nullable(Type.String()),
})

const common = {
  versions: ['muster'],
  method: 'GET',
  tag: 'Runs',
  levels: ['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN'],
  scopes: ['idn:sources:read', 'idn:sources:manage'],
  status: 200,
} as const

/** The routes of this file. */
export function runRoutes({ db }: { readonly db: Database }): Route[] {
  return [
    {
      ...common,
      path: '/runs/:id',
      operationId: 'getRun',
      summary: 'Reads a run: its state, phases, counters and the verdict of the guards',
      response: RunModel,
      handle: async (request, _reply, call) => {
        const { task, run } = await openRun(db, request, call)
        return toModel(task, run)
      },
    },
    {
      ...common,
      path: '/runs/:id/changes',
      operationId: 'listRunChanges',
      summary:
        'Lists the accounts that a run created, updated or removed, with their values before and after',
      query: Type.Object({
        ...PagingQuery.properties,
        kind: Type.Optional(
          Type.String({ description: 'created, updated or removed; all unless given.' }),
        ),
      }),
      response: Type.Array(ChangeModel),
      handle: (request, reply, call) => sendChanges(db, request, reply, call),
    },
    {
      ...common,
      path: '/runs/:id/rejects',
      operationId: 'listRunRejects',
      summary: 'Lists the records that a run could not take, with line, reason and raw text',
      query: PagingQuery,
      response: Type.Array(RejectModel),
      handle: async (request, reply, call) => {
        const { run } = await openRun(db, request, call)
        const page = readPage(request)
        return readList(db, narrower, async (tx) => {
          const { total, rejects } = await listRejects(tx, run.id, page.limit, page.offset)
          await sendTotal(reply, page, async () => total)
          return rejects
        })
      },
    },
  ]
}

async function openRun(
  db: Database,
  request: FastifyRequest,
  call: Call,
): Promise<{ readonly task: Task; readonly run: Run }> {
  const { id } = request.params as { readonly id: string }
  const task = await requireTask(db, call.caller, id)
  const run = await getRun(db, task.id)
  if (run === null) {
    throw new RequestError('not_found', 'This task is no aggregation that was accepted.')
  }
  return { task, run }
}

function toModel(task: Task, run: Run): object {
  return {
    id: task.id,
    state: task.state,
    sourceId: run.sourceId,
    launcher: task.launcher,
    fileName: run.fileName,
    bytes: run.spoolBytes,
    sha256: run.spoolSha256,
    read: run.read,
    phases: run.phases,
    counters: run.counters,
    verdict: run.verdict,
    drift: run.drift,
    feedNumber: run.feedNumber,
    created: task.created,
    applied: run.applied,
  }
}

async function sendChanges(
  db: Database,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
): Promise<unknown> {
  const { run } = await openRun(db, request, call)
  const page = readPage(request)
  const kind = readKind(request)
  const changes = await readList(db, narrower, async (tx) => {
    await sendTotal(reply, page, () => countChanges(tx, run, kind))
    return listChanges(tx, run, kind, page.limit, page.offset)
  })
  // The attributes are JSON already; parsing them would round integers beyond 2^53.
  return reply.type('application/json; charset=utf-8').send(`[${changes.map(toJson).join(',')}]`)
}

function readKind(request: FastifyRequest): ChangeKind | null {
  const given = queryText(request, 'kind')
  if (given === null) return null
  const kind = changeKinds.find((candidate) => candidate === given)
  if (kind !== undefined) return kind
  throw new RequestError(
    'bad_request',
    `The query parameter kind must be one of ${changeKinds.join(', ')}.`,
  )
}

function toJson(change: Change): string {
  const { kind, accountId, nativeIdentity, before, after, stateBefore, stateAfter } = change
  return `{"kind":"${kind}","accountId":"${accountId}","nativeIdentity":${JSON.stringify(nativeIdentity)},"before":${before ?? 'null'},"after":${after ?? 'null'},"stateBefore":${JSON.stringify(stateBefore)},"stateAfter":${JSON.stringify(stateAfter)}}`
}
