// GET /muster/v1/audit: who did what, newest first.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { RequestError } from '../core/errors.ts'
import { countAudit, listAudit } from '../store/audit.ts'
import type { AuditQuery, AuditRecord } from '../store/audit.ts'
import type { Database } from '../store/database.ts'
import { readList } from '../store/list-timeout.ts'
import { PagingQuery, readPage, sendTotal } from './collection.ts'
import type { Route } from './route.ts'

const text = Type.String({ maxLength: 200 })

const query = Type.Object({
  ...PagingQuery.properties,
  action: Type.Optional(text),
  outcome: Type.Optional(
    Type.Union([Type.Literal('success'), Type.Literal('denied'), Type.Literal('failed')]),
  ),
  actorId: Type.Optional(text),
  clientId: Type.Optional(text),
  targetId: Type.Optional(text),
  trackingId: Type.Optional(text),
  since: Type.Optional(Type.String({ maxLength: 40, description: 'An ISO-8601 instant.' })),
})

const nullableText = Type.Union([Type.String(), Type.Null()])

const record = Type.Object({
  number: Type.Integer(),
  at: Type.String({ format: 'date-time' }),
  action: Type.String(),
  outcome: Type.String(),
  actor: Type.Union([Type.Object({ id: Type.String(), name: nullableText }), Type.Null()]),
  clientId: nullableText,
  target: Type.Union([
    Type.Object({ type: nullableText, id: nullableText, name: nullableText }),
    Type.Null(),
  ]),
  trackingId: nullableText,
  before: Type.Unknown(),
  after: Type.Unknown(),
  detail: nullableText,
})

/** The route of the audit. */
export function auditRoutes({ db }: { readonly db: Database }): Route[] {
  return [
    {
      method: 'GET',
      path: '/audit',
      versions: ['muster'],
      operationId: 'listAudit',
      summary: 'Lists what was done, by whom and when, newest first',
      tag: 'Audit',
      scopes: ['muster:audit:read'],
      levels: ['ORG_ADMIN'],
      query,
      status: 200,
      response: Type.Array(record),
      handle: (request, reply) => list(db, request, reply),
    },
  ]
}

async function list(
  db: Database,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<AuditRecord[]> {
  const page = readPage(request)
  const { since, ...wanted } = request.query as Static<typeof query>
  const filter: AuditQuery = {
    ...wanted,
    ...(since === undefined ? {} : { since: instant(since) }),
    limit: page.limit,
    offset: page.offset,
  }
  return readList(db, 'Add since or targetId to the query.', async (tx) => {
    await sendTotal(reply, page, () => countAudit(tx, filter))
    return listAudit(tx, filter)
  })
}

function instant(given: string): string {
  const date = new Date(given)
  if (!/^\d{4}/.test(given) || Number.isNaN(date.getTime())) {
    throw new RequestError('bad_request', 'The value query.since is not an ISO-8601 instant.', {
      hint: 'Write it like 2026-11-22T18:00:00Z.',
    })
  }
  return date.toISOString()
}
