// The wire model of a task in task-status (contract.md section 2.7); load-accounts shows tasks in another.
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { aggregationReturns, taskTypes } from '../core/task.ts'
import type { Task, TaskType } from '../core/task.ts'
import { Instant, nullable } from './shapes.ts'

export const TaskStatusModel = Type.Object(
  {
    id: Type.String(),
    type: Type.String({ description: 'Always QUARTZ: how ISC runs such tasks.' }),
    uniqueName: Type.String(),
    description: Type.String(),
    parentName: nullable(Type.String()),
    launcher: Type.String(),
    target: nullable(
      Type.Object({ id: Type.String(), type: nullable(Type.String()), name: Type.String() }),
    ),
    created: Instant,
    modified: nullable(Instant),
    launched: nullable(Instant),
    completed: nullable(Instant),
    completionStatus: nullable(Type.String()),
    messages: Type.Array(
      Type.Object({
        type: Type.String(),
        localizedText: nullable(Type.Object({ locale: Type.String(), message: Type.String() })),
        key: Type.String(),
        parameters: nullable(Type.Array(Type.Unknown())),
      }),
    ),
    returns: Type.Array(Type.Object({ name: Type.String(), attributeName: Type.String() })),
    attributes: Type.Record(Type.String(), Type.Unknown()),
    progress: nullable(Type.String()),
    percentComplete: Type.Integer(),
    taskDefinitionSummary: Type.Object({
      id: Type.String(),
      uniqueName: Type.String(),
      description: nullable(Type.String()),
      parentName: Type.String(),
      executor: nullable(Type.String()),
      arguments: Type.Record(Type.String(), Type.Unknown()),
    }),
  },
  { title: 'TaskStatus' },
)
export type TaskStatusModel = Static<typeof TaskStatusModel>

/** The definitions of tasks have ids in ISC; here they are fixed, one for each type. */
const definitionIds: Readonly<Record<TaskType, string>> = {
  CLOUD_ACCOUNT_AGGREGATION: '00000000000000000000000000000001',
  ACCOUNT_DELETION: '00000000000000000000000000000002',
}

/** A task as clients read it. Every field is there; what is not known yet is null. */
export function taskStatusModel(task: Task): TaskStatusModel {
  const { name, description } = taskTypes[task.type]
  return {
    id: task.id,
    type: 'QUARTZ',
    uniqueName: name,
    description,
    parentName: null,
    launcher: task.launcher,
    target:
      task.sourceId === null
        ? null
        : { id: task.sourceId, type: 'APPLICATION', name: task.sourceName ?? '' },
    created: task.created,
    modified: task.modified,
    launched: task.launched,
    completed: task.completed,
    completionStatus: task.completionStatus,
    messages: task.messages.map(({ type, key, parameters }) => ({
      type,
      localizedText: { locale: 'en', message: key },
      key,
      // Typed clients know objects and text here, no numbers.
      parameters: (parameters ?? []).map(String),
    })),
    returns:
      task.type === 'CLOUD_ACCOUNT_AGGREGATION'
        ? aggregationReturns.map(([attributeName, label]) => ({ name: label, attributeName }))
        : [],
    attributes: task.attributes,
    progress: task.progress,
    percentComplete: task.percentComplete,
    taskDefinitionSummary: {
      id: definitionIds[task.type],
      uniqueName: name,
      description,
      parentName: name,
      executor: 'sailpoint.task.ServiceTaskExecutor',
      arguments: {},
    },
  }
}
