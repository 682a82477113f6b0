// /personal-access-tokens: clients that people make for themselves, with no more rights than they have (contract.md section 2.13).
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { denial, levels } from '../core/access.ts'
import type { Caller } from '../core/access.ts'
import { RequestError } from '../core/errors.ts'
import { fromWireId, toWireId } from '../core/id.ts'
import {
  checkOutlives,
  grantedScopes,
  mostTokens,
  tokenExpiry,
  tokenSecondsRange,
} from '../core/personal-token.ts'
import type { AuditEntry } from '../store/audit.ts'
import { getClient, insertPersonalToken, revokeClient } from '../store/clients.ts'
import type { Client } from '../store/clients.ts'
import type { Connection, Database } from '../store/database.ts'
import {
  countPersonalTokens,
  listPersonalTokens,
  lockPersonalTokens,
  updatePersonalToken,
} from '../store/personal-tokens.ts'
import { checkedBody } from './body.ts'
import { drawClientId, drawSecret, hashSecret } from './client-secret.ts'
import { CollectionQuery, PagingQuery, queryText, readPage, sendTotal } from './collection.ts'
import { patched, patchTypes } from './json-patch.ts'
import {
  changeable,
  ChangedToken,
  NewToken,
  tokenModel,
  TokenModel,
  tokenWithSecret,
  TokenWithSecret,
} from './personal-token-model.ts'
import { recordChange } from './record-change.ts'
import { everyVersion } from './route.ts'
import type { Call, Route, Version } from './route.ts'
import { PatchBody } from './shapes.ts'

export interface PersonalTokenServices {
  readonly db: Database
  /** Called with the id of a client whose rights changed. */
  readonly forgetClient: (id: string) => void
}

const readAll = ['sp:all-personal-access-tokens:read', 'sp:all-personal-access-tokens:manage']
const manageAll = ['sp:all-personal-access-tokens:manage']
const manageMine = ['sp:my-personal-access-tokens:manage']
const readMine = ['sp:my-personal-access-tokens:read', ...manageMine]
/** Who may see and delete the tokens of others. */
const overseers = ['ORG_ADMIN'] as const

/** Where a client cannot say that it knows: a token without an end gets the one that these versions document. */
const presetMonths: Partial<Record<Version, number>> = { beta: 6, v3: 6, v2024: 6 }

/** The routes of personal access tokens, under every prefix of ISC. */
export function personalTokenRoutes(services: PersonalTokenServices): Route[] {
  const common = { versions: everyVersion, tag: 'Personal Access Tokens', levels } as const
  const all = { ...common, path: '/personal-access-tokens', status: 200 } as const
  const one = { ...common, path: '/personal-access-tokens/:id' } as const
  return [
    {
      ...all,
      method: 'GET',
      operationId: 'listPersonalAccessTokens',
      summary: 'Lists personal access tokens, expired ones included',
      scopes: [...readMine, ...readAll],
      query: Type.Object({
        // ISC does not page this list, so a client that names no limit expects all of it.
        limit: Type.Optional(Type.Integer({ minimum: 0, maximum: 250 })),
        offset: PagingQuery.properties.offset,
        count: PagingQuery.properties.count,
        filters: CollectionQuery.properties.filters,
        'owner-id': Type.Optional(
          Type.String({ description: 'Whose tokens: an identity, or "me"; absent means all.' }),
        ),
      }),
      response: Type.Array(TokenModel),
      handle: (request, reply, call) => list(services.db, request, reply, call),
    },
    {
      ...all,
      method: 'POST',
      operationId: 'createPersonalAccessToken',
      summary: 'Makes a personal access token of the caller and shows its secret, once',
      scopes: [...manageMine, ...manageAll],
      body: NewToken,
      response: TokenWithSecret,
      handle: (request, _reply, call) => create(services, request, call),
    },
    {
      ...one,
      method: 'PATCH',
      operationId: 'patchPersonalAccessToken',
      summary: 'Changes name, scope or end of a personal access token of the caller',
      scopes: manageMine,
      consumes: patchTypes,
      body: PatchBody,
      status: 200,
      response: TokenModel,
      handle: (request, _reply, call) => patch(services, request, call),
    },
    {
      ...one,
      method: 'DELETE',
      operationId: 'deletePersonalAccessToken',
      summary: 'Deletes a personal access token; its access tokens are refused from now on',
      scopes: [...manageMine, ...manageAll],
      status: 204,
      handle: (request, _reply, call) => remove(services, request, call),
    },
  ]
}

async function list(
  db: Database,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
): Promise<TokenModel[]> {
  const page = readPage(request)
  const query = {
    identityId: ownerOf(call.caller, queryText(request, 'owner-id')),
    filter: page.filter,
    limit: (request.query as { readonly limit?: number }).limit ?? null,
    offset: page.offset,
  }
  await sendTotal(reply, page, () => countPersonalTokens(db, query))
  return (await listPersonalTokens(db, query)).map(tokenModel)
}

/** Whose tokens are asked for, null for everybody's. Throws `forbidden` when the caller may not see them. */
function ownerOf(caller: Caller, given: string | null): string | null {
  const uuid = given === 'me' ? fromWireId(caller.identityId) : fromWireId(given ?? '')
  const mine = uuid !== null && toWireId(uuid) === caller.identityId
  const reason = mine ? denial(caller, levels, readMine) : denial(caller, overseers, readAll)
  // Whoever sees the tokens of all sees their own among them.
  if (reason !== null && !(mine && denial(caller, overseers, readAll) === null)) {
    throw new RequestError('forbidden', reason, { hint: 'Ask for your own with owner-id=me.' })
  }
  if (given === null || given === '') return null
  // What is no id names nobody, as an id does that nobody has.
  return uuid === null ? given : toWireId(uuid)
}

async function create(
  { db }: PersonalTokenServices,
  request: FastifyRequest,
  call: Call,
): Promise<TokenWithSecret> {
  const { caller } = call
  const body = checkedBody(NewToken, request.body)
  const scopes = grantedScopes(caller.scopes, body.scope ?? null)
  const end = tokenExpiry(body, new Date(), presetMonths[call.version] ?? null)
  const id = drawClientId()
  const secret = drawSecret()
  const hashed = await hashSecret(secret)
  const { identityId, level, sourceIds } = caller
  const client = { id, name: body.name, secret: hashed, identityId, level, scopes, sourceIds }
  const tokenSeconds = body.accessTokenValiditySeconds ?? tokenSecondsRange.most
  return db.transaction(async (tx) => {
    const others = await tokensOf(tx, identityId)
    const maker = await found(tx, caller.clientId)
    // Revoked while the secret was hashed: it must not leave a way back.
    if (maker.revoked !== null) {
      throw new RequestError('unauthorized', 'The client of the token is revoked.')
    }
    checkOutlives(end.expires, maker.expires)
    if (others.length >= mostTokens) {
      throw new RequestError(
        'bad_request',
        `There are ${mostTokens} personal access tokens of "${caller.identityName}" already.`,
        { hint: 'Delete one that is not used any more: GET with owner-id=me tells when each was.' },
      )
    }
    checkName(body.name, others)
    await insertPersonalToken(tx, client, { ...end, tokenSeconds })
    const stored = await found(tx, id)
    await tell(tx, call, 'PERSONAL_ACCESS_TOKEN_CREATED', stored, { after: tokenModel(stored) })
    return tokenWithSecret(stored, secret)
  })
}

async function patch(
  services: PersonalTokenServices,
  request: FastifyRequest,
  call: Call,
): Promise<TokenModel> {
  const { id } = request.params as { readonly id: string }
  const { caller } = call
  const after = await services.db.transaction(async (tx) => {
    const others = await tokensOf(tx, caller.identityId)
    const client = others.find((other) => other.id === id)
    if (client === undefined) throw unknownToken()
    const before = tokenModel(client)
    const result = patched(before, request.body)
    checkUnchanged(before, result)
    const body = checkedBody(ChangedToken, result)
    const maker = await found(tx, caller.clientId)
    const change = {
      name: body.name,
      // What the token has already is no grant: a token of few scopes may rename one of many.
      scopes: sameScopes(body.scope, client.scopes)
        ? client.scopes
        : grantedScopes(caller.scopes, body.scope),
      ...(body.expirationDate === before.expirationDate && client.expires !== null
        ? { expires: client.expires, mayNeverExpire: body.userAwareTokenNeverExpires ?? false }
        : tokenExpiry(body, new Date(), null)),
    }
    if (change.expires !== client.expires) checkOutlives(change.expires, maker.expires)
    checkName(
      change.name,
      others.filter((other) => other.id !== id),
    )
    await updatePersonalToken(tx, id, change)
    const stored = await found(tx, id)
    const states = { before, after: tokenModel(stored) }
    await tell(tx, call, 'PERSONAL_ACCESS_TOKEN_UPDATED', stored, states)
    return states.after
  })
  services.forgetClient(id)
  return after
}

async function remove(
  services: PersonalTokenServices,
  request: FastifyRequest,
  call: Call,
): Promise<void> {
  const { id } = request.params as { readonly id: string }
  const { caller } = call
  const mayAll = denial(caller, overseers, manageAll) === null
  await services.db.transaction(async (tx) => {
    const client = id.includes('\0') ? null : await getClient(tx, id)
    const isMine = client?.identityId === caller.identityId
    const isThere = client !== null && client.isPersonal && client.revoked === null
    if (!isThere || !(isMine || mayAll)) throw unknownToken()
    await revokeClient(tx, id)
    const before = tokenModel(client)
    await tell(tx, call, 'PERSONAL_ACCESS_TOKEN_DELETED', client, { before })
  })
  services.forgetClient(id)
}

/** The tokens of an identity, which nobody else changes until the transaction ends. */
async function tokensOf(tx: Connection, identityId: string): Promise<Client[]> {
  await lockPersonalTokens(tx, identityId)
  return listPersonalTokens(tx, { identityId, filter: null, limit: null, offset: 0 })
}

function checkName(name: string, others: readonly Client[]): void {
  if (!others.some((other) => other.name === name)) return
  throw new RequestError('bad_request', `There is a personal access token "${name}" already.`, {
    hint: 'Choose another name, or delete that token first.',
  })
}

function checkUnchanged(before: TokenModel, after: Readonly<Record<string, unknown>>): void {
  const known: Readonly<Record<string, unknown>> = before
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  for (const name of names) {
    if (changeable.includes(name)) continue
    if (JSON.stringify(after[name]) === JSON.stringify(known[name])) continue
    throw new RequestError(
      'immutable_field',
      `The field ${name.slice(0, 60)} of a personal access token cannot be changed.`,
      { hint: `These can: ${changeable.join(', ')}.` },
    )
  }
}

function sameScopes(wanted: readonly string[] | null, held: readonly string[]): boolean {
  return (
    wanted !== null &&
    wanted.every((scope) => held.includes(scope)) &&
    wanted.length === held.length
  )
}

async function found(q: Connection, id: string): Promise<Client> {
  const client = await getClient(q, id)
  if (client === null) throw new Error(`Client ${id} is gone.`)
  return client
}

function unknownToken(): RequestError {
  return new RequestError('not_found', 'There is no personal access token of yours with this id.')
}

function tell(
  tx: Connection,
  call: Call,
  action: string,
  client: Client,
  states: Pick<AuditEntry, 'before' | 'after'>,
): Promise<void> {
  return recordChange(
    tx,
    call,
    action,
    { type: 'PERSONAL_ACCESS_TOKEN', id: client.id, name: client.name },
    states,
  )
}
