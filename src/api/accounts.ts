// /accounts: the accounts of the last applied run of each source.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Caller } from '../core/access.ts'
import { RequestError } from '../core/errors.ts'
import { fromWireId, toWireId } from '../core/id.ts'
import { getAccount, listAccounts } from '../store/account-list.ts'
import type { AccountRecord } from '../store/account-list.ts'
import { findAccountSources } from '../store/account-sources.ts'
import type { Database } from '../store/database.ts'
import { accountText, AccountModel } from './account-model.ts'
import { CollectionQuery, queryText, readPage } from './collection.ts'
import { everyVersion } from './route.ts'
import type { Call, Route } from './route.ts'

export interface AccountServices {
  readonly db: Database
}

const DetailLevel = Type.Union([Type.Literal('SLIM'), Type.Literal('FULL')], {
  default: 'FULL',
  description: 'SLIM leaves the attributes out.',
})
const ListQueryShape = Type.Object({
  ...CollectionQuery.properties,
  detailLevel: Type.Optional(DetailLevel),
})

/** The routes of accounts, under every prefix of ISC. */
export function accountRoutes({ db }: AccountServices): Route[] {
  const common = {
    method: 'GET',
    versions: everyVersion,
    deprecatedIn: ['beta'],
    tag: 'Accounts',
    scopes: ['idn:accounts:read', 'idn:accounts:manage'],
    levels: ['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN', 'HELPDESK'],
    status: 200,
  } as const
  return [
    {
      ...common,
      path: '/accounts',
      operationId: 'listAccounts',
      summary: 'Lists the accounts that the caller may see',
      query: ListQueryShape,
      response: Type.Array(AccountModel),
      handle: (request, reply, call) => list(db, request, reply, call),
    },
    {
      ...common,
      path: '/accounts/:id',
      operationId: 'getAccount',
      summary: 'Reads an account',
      response: AccountModel,
      handle: (request, reply, call) => readOne(db, request, reply, call),
    },
  ]
}

async function list(
  db: Database,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
): Promise<FastifyReply> {
  const page = readPage(request)
  const slim = queryText(request, 'detailLevel') === 'SLIM'
  const query = { ...page, sourceIds: call.caller.sourceIds }
  const { accounts, total } = await listAccounts(db, query, page.count)
  const sources = await findAccountSources(
    db,
    accounts.map((account) => account.id),
  )
  if (total !== null) reply.header('X-Total-Count', String(total))
  const texts = accounts.map((account) =>
    accountText(account, sources.get(account.id.slice(0, 12)) ?? null, slim),
  )
  return sendJson(reply, `[${texts.join(',')}]`)
}

async function readOne(
  db: Database,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
): Promise<FastifyReply> {
  const { id: given } = request.params as { readonly id: string }
  const account = await accountOf(db, call.caller, given)
  const sources = await findAccountSources(db, [account.id])
  const source = sources.get(account.id.slice(0, 12)) ?? null
  return sendJson(reply, accountText(account, source, false))
}

/** The account of a path. Throws `forbidden` for one of a source that the caller may not see, and `not_found`. */
export async function accountOf(
  db: Database,
  caller: Caller,
  given: string,
): Promise<AccountRecord> {
  const uuid = fromWireId(given)
  if (uuid === null) throw noSuchAccount()
  const id = toWireId(uuid)
  checkAccount(caller, id)
  const account = await getAccount(db, id)
  if (account === null) throw noSuchAccount()
  return account
}

/** The rule of source-access.ts for an id that begins with that of its source. */
function checkAccount(caller: Caller, id: string): void {
  const { sourceIds } = caller
  if (sourceIds === null || sourceIds.some((sourceId) => id.startsWith(sourceId.slice(0, 12))))
    return
  throw new RequestError('forbidden', 'The client may not use the source of this account.')
}

/** The error of an id that names no account. */
export function noSuchAccount(): RequestError {
  return new RequestError('not_found', 'There is no account with this id.')
}

function sendJson(reply: FastifyReply, text: string): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(text)
}
