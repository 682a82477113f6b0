// /muster/v1/sources/{id}/state: where the last read of a direct source ended, and how to forget it.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { describedConnector } from '../core/connector.ts'
import type { ConnectorDescription } from '../core/description.ts'
import { RequestError } from '../core/errors.ts'
import type { Source } from '../core/source.ts'
import type { Database } from '../store/database.ts'
import { deleteReadState, getReadState } from '../store/read-states.ts'
import { getRunId } from '../store/runs.ts'
import { label } from './part-header.ts'
import { recordChange } from './record-change.ts'
import type { Call, Route } from './route.ts'
import { nullable } from './shapes.ts'
import { lockSource, requireSource } from './source-access.ts'

/** What the cursor itself holds is the business of the reader, and may name accounts. */
const StateModel = Type.Object({
  hasCursor: Type.Boolean({
    description: 'Whether a delta is possible; without a cursor the next read is full.',
  }),
  run: nullable(Type.String({ description: 'The id of the run whose read ended there.' })),
  since: nullable(Type.String({ format: 'date-time' })),
})

/** The routes of the state. */
export function sourceStateRoutes({ db }: { readonly db: Database }): Route[] {
  const common = {
    versions: ['muster'],
    path: '/sources/:id/state',
    tag: 'Sources',
    levels: ['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN'],
  } as const
  return [
    {
      ...common,
      method: 'GET',
      operationId: 'getSourceState',
      summary: 'Tells whether the next read of a direct source can be a delta, and since when',
      scopes: ['idn:sources:read', 'idn:sources:manage'],
      status: 200,
      response: StateModel,
      handle: (request, _reply, call) => read(db, request, call),
    },
    {
      ...common,
      method: 'DELETE',
      operationId: 'resetSourceState',
      summary: 'Forgets where the last read ended, so that the next one is full',
      scopes: ['idn:sources:manage'],
      status: 204,
      handle: (request, reply, call) => reset(db, request, reply, call),
    },
  ]
}

/**
 * Throws `bad_request` when `field` asks for a delta of a source that has none. A connector that is not installed may
 * have one; its runs end with an error that names it.
 */
export function requireDelta(
  source: Source,
  descriptions: readonly ConnectorDescription[],
  field: string,
): void {
  const described = describedConnector(source.connector, descriptions)
  if (source.connectionType === 'direct' && described?.delta !== false) return
  const reason =
    source.connectionType === 'file'
      ? 'is loaded from files, which are always whole'
      : `has the connector "${label(source.connector)}", which cannot give only what changed`
  throw new RequestError(
    'bad_request',
    `${field} is "delta", but the source "${label(source.name)}" ${reason}.`,
    { hint: 'Use "full", or leave it out.' },
  )
}

function pathId(request: FastifyRequest): string {
  return (request.params as { readonly id: string }).id
}

async function read(
  db: Database,
  request: FastifyRequest,
  call: Call,
): Promise<Static<typeof StateModel>> {
  const source = await requireSource(db, call.caller, pathId(request))
  const state = await getReadState(db, source.id)
  if (state === null) return { hasCursor: false, run: null, since: null }
  return { hasCursor: true, run: await getRunId(db, state.runNumber), since: state.readAt }
}

async function reset(
  db: Database,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
): Promise<FastifyReply> {
  await db.transaction(async (tx) => {
    const source = await lockSource(tx, call.caller, pathId(request))
    const before = await getReadState(tx, source.id)
    // To forget what is not there is no error, and nothing that an audit must know.
    if (before === null) return
    await deleteReadState(tx, source.id)
    await recordChange(
      tx,
      call,
      'SOURCE_STATE_RESET',
      { type: 'SOURCE', id: source.id, name: source.name },
      { before: { run: await getRunId(tx, before.runNumber), since: before.readAt } },
    )
  })
  return reply.code(204).send()
}
