// Accounts that people remove here without touching the system: all of a source, or one (contract.md sections 2.5 and 2.8).
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { RequestError } from '../core/errors.ts'
import type { Task } from '../core/task.ts'
import { removeAccount, removeAccounts } from '../run/removal.ts'
import type { AccountSource } from '../store/account-sources.ts'
import { findAccountSources } from '../store/account-sources.ts'
import type { Database } from '../store/database.ts'
import { accountOf, noSuchAccount } from './accounts.ts'
import { allButV3, everyVersion } from './route.ts'
import type { Call, Route } from './route.ts'
import { TaskResult } from './shapes.ts'
import { requireSource } from './source-access.ts'

export interface AccountRemovalServices {
  readonly db: Database
  /** Tells the workers of this process that there is a task. */
  readonly wake: () => void
}

const AsyncResult = Type.Object({ id: Type.String({ description: 'The id of the task.' }) })

/** The routes of removals, under the prefixes that have them. */
export function accountRemovalRoutes({ db, wake }: AccountRemovalServices): Route[] {
  const common = {
    scopes: ['idn:accounts:manage'],
    status: 202,
    // There is no body, but HTTP libraries name the type of a form for an empty one; it is not looked at.
    streams: true,
  } as const
  return [
    {
      ...common,
      method: 'POST',
      path: '/sources/:id/remove-accounts',
      versions: allButV3,
      tag: 'Sources',
      levels: ['ORG_ADMIN'],
      operationId: 'deleteAccountsAsync',
      summary:
        'Removes all accounts of a source and keeps the source; the next run makes them anew',
      response: TaskResult,
      handle: async (request, _reply, call) => {
        const source = await requireSource(db, call.caller, pathId(request))
        const task = await removeAccounts(db, source.id, call)
        if (task.completed === null) wake()
        return taskResult(task)
      },
    },
    {
      ...common,
      method: 'POST',
      path: '/accounts/:id/remove',
      versions: allButV3,
      tag: 'Accounts',
      levels: ['ORG_ADMIN'],
      operationId: 'deleteAccountAsync',
      summary: 'Removes an account; a run that shows it makes it anew',
      response: TaskResult,
      handle: async (request, _reply, call) => {
        const { id, source } = await openAccount(db, request, call)
        return taskResult(await removeAccount(db, source.id, id, call))
      },
    },
    {
      ...common,
      method: 'DELETE',
      path: '/accounts/:id',
      versions: everyVersion,
      deprecatedIn: ['beta'],
      tag: 'Accounts',
      levels: ['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN'],
      operationId: 'deleteAccount',
      summary: 'Removes an account of a delimited file; a file that lists it makes it anew',
      response: AsyncResult,
      handle: async (request, _reply, call) => {
        const { id, source } = await openAccount(db, request, call)
        checkIsFile(source)
        const task = await removeAccount(db, source.id, id, call)
        return { id: task.id }
      },
    },
  ]
}

function pathId(request: FastifyRequest): string {
  return (request.params as { readonly id: string }).id
}

/** The account of a path with its source. Throws `forbidden` and `not_found`. */
async function openAccount(
  db: Database,
  request: FastifyRequest,
  call: Call,
): Promise<{ readonly id: string; readonly source: AccountSource }> {
  const { id } = await accountOf(db, call.caller, pathId(request))
  const source = (await findAccountSources(db, [id])).get(id.slice(0, 12))
  if (source === undefined) throw noSuchAccount()
  return { id, source }
}

function checkIsFile(source: AccountSource): void {
  if (source.connectionType === 'file') return
  throw new RequestError(
    'bad_request',
    `The source "${source.name}" reads its system itself; only accounts of files are deleted so.`,
    { hint: 'Delete the account in the system, or use POST /accounts/{id}/remove.' },
  )
}

function taskResult(task: Task): Static<typeof TaskResult> {
  return { type: 'TASK_RESULT', id: task.id, name: null }
}
