// Which tasks a caller may touch: those of the sources it may see, by the rule of source-access.ts.
import type { Caller } from '../core/access.ts'
import { RequestError } from '../core/errors.ts'
import { fromWireId } from '../core/id.ts'
import type { Task } from '../core/task.ts'
import type { Queryable } from '../store/database.ts'
import { getTask } from '../store/tasks.ts'
import { checkSource } from './source-access.ts'

/** The task of a path. Throws `not_found`, and `forbidden` for a task of a source that the caller may not see. */
export async function requireTask(q: Queryable, caller: Caller, id: string): Promise<Task> {
  const task = fromWireId(id) === null ? null : await getTask(q, id)
  if (task === null) throw new RequestError('not_found', 'There is no task with this id.')
  checkSource(caller, task.sourceId ?? '')
  return task
}
