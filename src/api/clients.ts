// /muster/v1/clients: who may call, made and revoked by an ORG_ADMIN.
import { randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { levels } from '../core/access.ts'
import { RequestError } from '../core/errors.ts'
import { fromWireId, toWireId } from '../core/id.ts'
import { checkOutlives, grantedScopes } from '../core/personal-token.ts'
import {
  countClients,
  getClient,
  insertClient,
  listClients,
  revokeClient,
  unknownSources,
} from '../store/clients.ts'
import type { Client } from '../store/clients.ts'
import type { Database } from '../store/database.ts'
import { insertIdentity } from '../store/identities.ts'
import { lockPersonalTokens, revokePersonalTokens } from '../store/personal-tokens.ts'
import { drawClientId, drawSecret, hashSecret } from './client-secret.ts'
import { PagingQuery, readPage, sendTotal } from './collection.ts'
import { recordChange } from './record-change.ts'
import type { Call, Route } from './route.ts'

export interface ClientServices {
  readonly db: Database
  /** Called with the id of a client whose rights changed. */
  readonly forgetClient: (id: string) => void
}

const readScopes = ['sp:all-personal-access-tokens:read', 'sp:all-personal-access-tokens:manage']
const manageScopes = ['sp:all-personal-access-tokens:manage']

const newClient = Type.Object(
  {
    name: Type.String({
      minLength: 1,
      maxLength: 128,
      description: 'What people call the client.',
    }),
    level: Type.Union(
      levels.map((level) => Type.Literal(level)),
      { description: 'The user level of its calls.' },
    ),
    sourceIds: Type.Optional(
      Type.Union([Type.Array(Type.String(), { minItems: 1, maxItems: 1_000 }), Type.Null()], {
        description: 'The sources it is confined to; absent or null means all.',
      }),
    ),
    scopes: Type.Optional(
      Type.Union(
        [
          Type.Array(Type.String({ pattern: '^[a-z0-9:_-]{1,100}$' }), {
            minItems: 1,
            maxItems: 100,
          }),
          Type.Null(),
        ],
        { description: 'The scopes of its tokens; absent or null means sp:scopes:all.' },
      ),
    ),
    identityName: Type.Optional(
      Type.String({ minLength: 1, maxLength: 128, description: 'The name of its identity.' }),
    ),
  },
  { additionalProperties: false },
)

const clientShape = Type.Object({
  id: Type.String({ description: 'The client_id.' }),
  name: Type.String(),
  level: Type.String(),
  scopes: Type.Array(Type.String()),
  sourceIds: Type.Union([Type.Array(Type.String()), Type.Null()]),
  identity: Type.Object({ type: Type.String(), id: Type.String(), name: Type.String() }),
  created: Type.String({ format: 'date-time' }),
  lastUsed: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
  personal: Type.Boolean({ description: 'Whether it is a personal access token.' }),
  expires: Type.Union([Type.String({ format: 'date-time' }), Type.Null()], {
    description: 'From when on it is good for nothing; null means never.',
  }),
  revoked: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
})

const clientWithSecret = Type.Object({
  ...clientShape.properties,
  secret: Type.String({ description: 'The client_secret. It is shown now and never again.' }),
})

/** The routes of clients. */
export function clientRoutes(services: ClientServices): Route[] {
  const common = { versions: ['muster'], tag: 'Clients', levels: ['ORG_ADMIN'] } as const
  return [
    {
      ...common,
      method: 'GET',
      path: '/clients',
      operationId: 'listClients',
      summary: 'Lists the clients, revoked ones included',
      scopes: readScopes,
      query: PagingQuery,
      status: 200,
      response: Type.Array(clientShape),
      handle: (request, reply) => list(services, request, reply),
    },
    {
      ...common,
      method: 'POST',
      path: '/clients',
      operationId: 'createClient',
      summary: 'Makes a client and shows its secret, once',
      scopes: manageScopes,
      body: newClient,
      status: 201,
      response: clientWithSecret,
      handle: (request, _reply, call) =>
        create(services, request.body as Static<typeof newClient>, call),
    },
    {
      ...common,
      method: 'DELETE',
      path: '/clients/:id',
      operationId: 'revokeClient',
      summary: 'Revokes a client; its tokens are refused from now on',
      scopes: manageScopes,
      status: 204,
      handle: (request, _reply, call) =>
        revoke(services, (request.params as { id: string }).id, call),
    },
  ]
}

async function list(
  { db }: ClientServices,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<object[]> {
  const page = readPage(request)
  await sendTotal(reply, page, () => countClients(db))
  const clients = await listClients(db, page)
  return clients.map(wireClient)
}

async function create(
  { db }: ClientServices,
  body: Static<typeof newClient>,
  call: Call,
): Promise<object> {
  const scopes = grantedScopes(call.caller.scopes, body.scopes ?? null)
  // Clients do not end, so what ends makes none: it would live on in them.
  checkOutlives(null, (await getClient(db, call.caller.clientId))?.expires ?? null)
  const sourceIds = await checkSources(db, body)
  const id = drawClientId()
  const secret = drawSecret()
  const hashed = await hashSecret(secret)
  const identityId = toWireId(randomUUID())
  const identityName = body.identityName ?? body.name
  const client = { id, name: body.name, identityId, level: body.level, scopes, sourceIds }
  await db.transaction(async (tx) => {
    await insertIdentity(tx, { id: identityId, name: identityName, alias: aliasOf(identityName) })
    await insertClient(tx, { ...client, secret: hashed })
    await recordChange(
      tx,
      call,
      'CLIENT_CREATED',
      { type: 'CLIENT', id: id, name: body.name },
      { after: client },
    )
  })
  const stored = await getClient(db, id)
  if (stored === null) throw new Error(`Client ${id} is gone right after it was made.`)
  return { ...wireClient(stored), secret }
}

async function revoke(services: ClientServices, id: string, call: Call): Promise<void> {
  if (id === call.caller.clientId) {
    throw new RequestError('conflict', 'A client cannot revoke itself.', {
      hint: 'Revoke it through another ORG_ADMIN client, so that one is left.',
    })
  }
  const client = await getClient(services.db, id)
  if (client === null) throw new RequestError('not_found', 'There is no client with this id.')
  // A personal token would go with the client of its own person, and with both perhaps the last way in.
  if (!client.isPersonal && client.identityId === call.caller.identityId) {
    throw new RequestError(
      'conflict',
      'A personal access token cannot revoke the client of its own person.',
      {
        hint: 'Revoke it through another ORG_ADMIN client, so that one is left.',
      },
    )
  }
  const revoked = await services.db.transaction(async (tx) => {
    await lockPersonalTokens(tx, client.identityId)
    if (!(await revokeClient(tx, id))) return []
    // Who is shut out must not come back by a token that was made meanwhile.
    const tokens = client.isPersonal ? [] : await revokePersonalTokens(tx, client.identityId)
    await recordChange(
      tx,
      call,
      'CLIENT_REVOKED',
      { type: 'CLIENT', id: id, name: client.name },
      {
        before: wireClient(client),
        ...(tokens.length === 0
          ? {}
          : { detail: `Its personal access tokens were revoked with it: ${tokens.join(', ')}.` }),
      },
    )
    return tokens
  })
  for (const one of [id, ...revoked]) services.forgetClient(one)
}

/** The sources a new client is confined to, in wire form. */
async function checkSources(
  db: Database,
  body: Static<typeof newClient>,
): Promise<readonly string[] | null> {
  const given = body.sourceIds ?? null
  if (given === null) {
    if (body.level !== 'SOURCE_SUBADMIN') return null
    throw new RequestError('bad_request', 'A SOURCE_SUBADMIN is confined to sources.', {
      hint: 'Name them in sourceIds, or choose the level SOURCE_ADMIN.',
    })
  }
  if (body.level === 'ORG_ADMIN') {
    throw new RequestError('bad_request', 'An ORG_ADMIN cannot be confined to sources.', {
      hint: 'Leave sourceIds out, or choose the level SOURCE_SUBADMIN.',
    })
  }
  const ids = given.map((id) => {
    const uuid = fromWireId(id)
    if (uuid === null) throw unknownSource([id])
    return toWireId(uuid)
  })
  const distinct = [...new Set(ids)]
  const unknown = await unknownSources(db, distinct)
  if (unknown.length > 0) throw unknownSource(unknown)
  return distinct
}

function unknownSource(ids: readonly string[]): RequestError {
  const names = ids.map((id) => `"${id.slice(0, 64)}"`).join(', ')
  return new RequestError('bad_request', `There is no source with the id ${names}.`, {
    hint: 'GET /v2025/sources lists the sources and their ids.',
  })
}

/** The short name of an identity: lower case, words joined by dots. */
function aliasOf(name: string): string {
  return name.trim().toLowerCase().replaceAll(/\s+/g, '.')
}

function wireClient(client: Client): Record<string, unknown> {
  return {
    id: client.id,
    name: client.name,
    level: client.level,
    scopes: client.scopes,
    sourceIds: client.sourceIds,
    identity: { type: 'IDENTITY', id: client.identityId, name: client.identityName },
    created: client.created,
    lastUsed: client.lastUsed,
    personal: client.isPersonal,
    expires: client.expires,
    revoked: client.revoked,
  }
}
