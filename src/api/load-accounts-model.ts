// The answer of load-accounts: a task in the shape of LoadAccountsTask, which is not that of TaskStatus (contract.md section 2.7).
import { Type } from 'typebox'
import type { Static } from 'typebox'
import type { Task } from '../core/task.ts'
import { aggregationReturns, taskTypes } from '../core/task.ts'
import { Instant, nullable } from './shapes.ts'

/** Contract.md section 1.2. */
export const loadAccountsTask = Type.Object(
  {
    success: Type.Boolean(),
    task: Type.Object({
      id: Type.String(),
      type: Type.String(),
      name: Type.String(),
      description: Type.String(),
      launcher: Type.String(),
      created: Instant,
      launched: nullable(Instant),
      completed: nullable(Instant),
      completionStatus: nullable(Type.String()),
      parentName: nullable(Type.String()),
      messages: Type.Array(
        Type.Object({
          type: Type.String(),
          error: Type.Boolean(),
          warning: Type.Boolean(),
          key: Type.String(),
          localizedText: Type.String(),
        }),
      ),
      progress: nullable(Type.String()),
      attributes: Type.Record(Type.String(), Type.Unknown()),
      returns: Type.Array(
        Type.Object({ displayLabel: Type.String(), attributeName: Type.String() }),
      ),
    }),
  },
  { title: 'LoadAccountsTask' },
)
export type LoadAccountsTask = Static<typeof loadAccountsTask>

/**
 * A task as load-accounts shows it. Its attributes are the two that every client can read: typed clients choke on
 * the numbers that real tenants put among them, and the counters are for task-status.
 */
export function toLoadAccountsTask(task: Task): LoadAccountsTask {
  const { name, description } = taskTypes[task.type]
  const optimized = task.attributes['optimizedAggregation'] === 'disabled' ? 'disabled' : 'enabled'
  return {
    success: true,
    task: {
      id: task.id,
      type: 'QUARTZ',
      name,
      description,
      launcher: task.launcher,
      created: task.created,
      launched: task.launched,
      completed: task.completed,
      // The same status has another spelling in TaskStatus.
      completionStatus:
        task.completionStatus === 'TEMPERROR' ? 'TEMP_ERROR' : task.completionStatus,
      parentName: null,
      messages: task.messages.map(({ type, key }) => ({
        type,
        error: type === 'ERROR',
        warning: type === 'WARN',
        key,
        localizedText: key,
      })),
      progress: task.progress,
      attributes: { appId: task.sourceId ?? '', optimizedAggregation: optimized },
      returns: aggregationReturns.map(([attributeName, displayLabel]) => ({
        displayLabel,
        attributeName,
      })),
    },
  }
}
