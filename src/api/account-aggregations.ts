// /account-aggregations/{id}/status: how far an account aggregation is (contract.md section 2.6).
import { Type } from 'typebox'
import { RequestError } from '../core/errors.ts'
import { aggregationStatus } from '../core/task.ts'
import type { Task } from '../core/task.ts'
import type { Database } from '../store/database.ts'
import { allButV3 } from './route.ts'
import type { Route, Version } from './route.ts'
import { Instant, nullable } from './shapes.ts'
import { requireTask } from './task-access.ts'

/** The counters that a version shows besides start and status. */
const counters = {
  beta: ['totalAccounts', 'processedAccounts'],
  later: [
    'totalAccounts',
    'processedAccounts',
    'totalAccountsMarkedForDeletion',
    'deletedAccounts',
    'totalIdentities',
    'processedIdentities',
  ],
} as const

const Count = Type.Integer()
const AggregationStatusModel = Type.Object(
  {
    start: nullable(Instant),
    status: Type.String(),
    totalAccounts: Count,
    processedAccounts: Count,
    totalAccountsMarkedForDeletion: Type.Optional(Count),
    deletedAccounts: Type.Optional(Count),
    totalIdentities: Type.Optional(Count),
    processedIdentities: Type.Optional(Count),
  },
  { title: 'AccountAggregationStatus' },
)

/** The routes of account aggregations. */
export function accountAggregationRoutes({ db }: { readonly db: Database }): Route[] {
  return [
    {
      method: 'GET',
      path: '/account-aggregations/:id/status',
      versions: allButV3,
      tag: 'Account Aggregations',
      operationId: 'getAccountAggregationStatus',
      summary: 'Tells how far an account aggregation is; it stays readable after its end',
      scopes: [],
      levels: ['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN', 'DASHBOARD'],
      status: 200,
      response: AggregationStatusModel,
      handle: async (request, _reply, call) => {
        const { id } = request.params as { readonly id: string }
        const task = await requireTask(db, call.caller, id)
        if (task.type !== 'CLOUD_ACCOUNT_AGGREGATION') {
          throw new RequestError('not_found', 'The task with this id is no account aggregation.')
        }
        return aggregationStatusModel(task, call.version)
      },
    },
  ]
}

/** What a version shows of an aggregation. The counters are integers without null in ISC: 0 until they are known. */
function aggregationStatusModel(task: Task, version: Version): Readonly<Record<string, unknown>> {
  const names: readonly string[] = version === 'beta' ? counters.beta : counters.later
  const totals = names.map((name) => {
    const value = task.attributes[name]
    return [name, typeof value === 'number' ? value : 0] as const
  })
  return {
    // The model of /beta has no null here: until it is launched, it has been waiting since it was made.
    start: version === 'beta' ? (task.launched ?? task.created) : task.launched,
    status: aggregationStatus(task.state),
    ...Object.fromEntries(totals),
  }
}
