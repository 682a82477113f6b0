// /task-status: what runs, what ran and how it ended; a PATCH clears a pending task, which cancels it.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { RequestError } from '../core/errors.ts'
import { dateInstant } from '../core/filter.ts'
import { sameJson } from '../core/json-value.ts'
import { completionStatuses } from '../core/task.ts'
import type { Task } from '../core/task.ts'
import type { Database } from '../store/database.ts'
import { readList } from '../store/list-timeout.ts'
import { countTasks, listTasks } from '../store/task-list.ts'
import { requestCancel } from '../store/tasks.ts'
import { CollectionQuery, PagingQuery, readPage, sendTotal } from './collection.ts'
import { patched, patchTypes } from './json-patch.ts'
import { recordChange } from './record-change.ts'
import { allButV3 } from './route.ts'
import type { Call, Route } from './route.ts'
import { PatchBody } from './shapes.ts'
import { requireTask } from './task-access.ts'
import { taskStatusModel, TaskStatusModel } from './task-model.ts'

export interface TaskStatusServices {
  readonly db: Database
}

const writers = [
  'ORG_ADMIN',
  'CERT_ADMIN',
  'REPORT_ADMIN',
  'ROLE_ADMIN',
  'ROLE_SUBADMIN',
  'SOURCE_ADMIN',
  'SOURCE_SUBADMIN',
] as const
const readers = [...writers, 'HELPDESK'] as const
const readScopes = ['idn:task-management:read', 'idn:task-management:write']

/** The routes of task-status, under the prefixes that have it. */
export function taskStatusRoutes({ db }: TaskStatusServices): Route[] {
  const common = { versions: allButV3, tag: 'Task Management', status: 200 } as const
  const read = { ...common, method: 'GET', scopes: readScopes, levels: readers } as const
  return [
    {
      ...read,
      path: '/task-status',
      operationId: 'getTaskStatusList',
      summary: 'Lists tasks, the newest first',
      query: CollectionQuery,
      response: Type.Array(TaskStatusModel),
      handle: (request, reply, call) => list(db, request, reply, call, false),
    },
    {
      ...read,
      path: '/task-status/pending-tasks',
      versions: ['beta', 'v2024', 'v2025'],
      deprecatedIn: ['beta', 'v2024', 'v2025'],
      operationId: 'getPendingTasks',
      summary: 'Lists the tasks that have not ended',
      query: PagingQuery,
      response: Type.Array(TaskStatusModel),
      handle: (request, reply, call) => list(db, request, reply, call, true),
    },
    {
      ...read,
      path: '/task-status/:id',
      operationId: 'getTaskStatus',
      summary: 'Reads a task',
      response: TaskStatusModel,
      handle: async (request, _reply, call) =>
        taskStatusModel(await requireTask(db, call.caller, pathId(request))),
    },
    {
      ...common,
      method: 'PATCH',
      path: '/task-status/:id',
      operationId: 'updateTaskStatus',
      summary: 'Clears a pending task by setting completionStatus and completed, which cancels it',
      scopes: ['idn:task-management:write'],
      levels: writers,
      consumes: patchTypes,
      body: PatchBody,
      response: TaskStatusModel,
      handle: (request, _reply, call) => patch(db, request, call),
    },
  ]
}

function pathId(request: FastifyRequest): string {
  return (request.params as { readonly id: string }).id
}

async function list(
  db: Database,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
  pendingOnly: boolean,
): Promise<TaskStatusModel[]> {
  const page = readPage(request)
  const query = { ...page, sourceIds: call.caller.sourceIds, pendingOnly }
  // A HEAD of pending-tasks is asked for its total alone.
  const isCounted = page.count || (pendingOnly && request.method === 'HEAD')
  return readList(db, 'Add sourceId eq "…" or id eq "…" to the filter.', async (tx) => {
    await sendTotal(reply, { ...page, count: isCounted }, () => countTasks(tx, query))
    return (await listTasks(tx, query)).map(taskStatusModel)
  })
}

async function patch(db: Database, request: FastifyRequest, call: Call): Promise<TaskStatusModel> {
  const task = await requireTask(db, call.caller, pathId(request))
  const before = taskStatusModel(task)
  const after = patched(before, request.body)
  if (sameJson(before, after)) return before
  checkClearing(before, after)
  checkPending(task)
  const cancelled = await requestCancel(db, task.id, call.caller.identityName)
  if (cancelled === null) throw new RequestError('not_found', 'There is no task with this id.')
  // It may have come to its end between the look and the request.
  if (cancelled.cancelBy === null) checkPending(cancelled)
  const target = { type: 'TASK', id: task.id, name: task.sourceName }
  await recordChange(db, call, 'TASK_CANCEL_REQUESTED', target, {
    before: { state: task.state },
    after: { state: cancelled.state, cancelBy: cancelled.cancelBy },
  })
  return taskStatusModel(cancelled)
}

/** Only completionStatus and completed may change, and only to what an ended task has. */
function checkClearing(before: TaskStatusModel, after: Readonly<Record<string, unknown>>): void {
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (key === 'completionStatus' || key === 'completed') continue
    if (!sameJson(Reflect.get(before, key), after[key])) {
      throw new RequestError(
        'immutable_field',
        `The field ${key.slice(0, 60)} of a task cannot be changed.`,
        {
          hint: 'Only completionStatus and completed can be set, to clear a pending task.',
        },
      )
    }
  }
  const { completionStatus, completed } = after
  if (!completionStatuses.some((status) => status === completionStatus)) {
    throw new RequestError(
      'bad_request',
      `completionStatus must be one of ${completionStatuses.join(', ')}.`,
      { hint: 'Set it to TERMINATED to cancel the task.' },
    )
  }
  if (completed === null || completed === undefined) return
  if (typeof completed !== 'string' || dateInstant(completed) === null) {
    throw new RequestError('bad_request', 'completed must be a date-time or be left as it is.')
  }
}

function checkPending(task: Task): void {
  if (task.completed === null) return
  throw new RequestError(
    'bad_request',
    `The task ended with ${task.completionStatus ?? 'an unknown status'} at ${task.completed}.`,
    { hint: 'Only a pending task can be cleared.' },
  )
}
