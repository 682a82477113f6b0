// Lists of tasks, as task-status filters and sorts them.
import type { Filter } from '../core/filter.ts'
import { fromWireId } from '../core/id.ts'
import type { Sorter } from '../core/sorter.ts'
import { taskTypes } from '../core/task.ts'
import type { Task } from '../core/task.ts'
import type { Queryable } from './database.ts'
import { filterToSql, orderToSql, parameter } from './filter-sql.ts'
import type { ListFields, Parameters } from './filter-sql.ts'
import { rowToTask, taskColumns } from './tasks.ts'

/** Which tasks; `sourceIds` are the sources that the caller is confined to, null means all tasks. */
export interface TaskQuery {
  readonly filter: Filter | null
  readonly sorters: readonly Sorter[]
  readonly limit: number
  readonly offset: number
  readonly sourceIds: readonly string[] | null
  /** Only tasks that have not ended. */
  readonly pendingOnly: boolean
}

/** A page of the tasks; without sorters the newest first, because that is what people look for. */
export async function listTasks(q: Queryable, query: TaskQuery): Promise<Task[]> {
  const parameters: Parameters = { values: [] }
  const where = conditions(query, parameters)
  const newestFirst = [{ field: 'created', descending: true }]
  const sorters = query.sorters.length === 0 ? newestFirst : query.sorters
  // The tie of equal instants is broken in the direction of the sorter, so that one index serves both.
  const tiebreak = sorters[0]?.descending === true ? 'task.id desc' : 'task.id'
  const order = orderToSql(sorters, { created: 'task.created_at' }, tiebreak)
  const limit = parameter(parameters, query.limit, 'integer')
  const offset = parameter(parameters, query.offset, 'integer')
  const { rows } = await q.query(
    `select ${taskColumns} from task where ${where} order by ${order} limit ${limit} offset ${offset}`,
    parameters.values,
  )
  return rows.map(rowToTask)
}

/** How many tasks fit, whatever the page. */
export async function countTasks(q: Queryable, query: TaskQuery): Promise<number> {
  const parameters: Parameters = { values: [] }
  const { rows } = await q.query<{ count: number }>(
    `select count(*) as count from task where ${conditions(query, parameters)}`,
    parameters.values,
  )
  return rows[0]?.count ?? 0
}

/** The fields of contract.md section 2.7. */
const filterFields: ListFields = {
  id: { kind: 'id', sql: 'task.id', ops: ['eq', 'in'] },
  sourceId: { kind: 'id', sql: 'task.source_id', ops: ['eq', 'in'] },
  completionStatus: {
    kind: 'text',
    sql: 'task.completion_status',
    ops: ['eq', 'in', 'isnull'],
    // LoadAccountsTask spells it so, and clients copy from there.
    alias: (text) => (text.toUpperCase() === 'TEMP_ERROR' ? 'TEMPERROR' : text),
  },
  type: { kind: 'text', sql: 'task.type', ops: ['eq', 'in'], alias: typeConstant },
  launcher: { kind: 'text', sql: 'task.launcher', ops: ['eq', 'in'] },
}

/** `Cloud Account Aggregation` → `CLOUD_ACCOUNT_AGGREGATION`; the constant stays (contract.md section 8.13). */
function typeConstant(text: string): string {
  const folded = text.toLowerCase()
  const entry = Object.entries(taskTypes).find(([, type]) => type.name.toLowerCase() === folded)
  return entry?.[0] ?? text
}

function conditions(query: TaskQuery, parameters: Parameters): string {
  const parts: string[] = ['true']
  if (query.pendingOnly) parts.push('task.completed_at is null')
  if (query.filter !== null) parts.push(filterToSql(query.filter, filterFields, parameters))
  if (query.sourceIds !== null) {
    const uuids = query.sourceIds.map(fromWireId)
    parts.push(`task.source_id = any(${parameter(parameters, uuids, 'uuid[]')})`)
  }
  return parts.join(' and ')
}
