// The correlation configurations of sources; that of a source is made together with it.
import type { AttributeAssignment, CorrelationConfig } from '../core/correlation-config.ts'
import { fromWireId, toWireId } from '../core/id.ts'
import type { Queryable } from './database.ts'

interface ConfigRow {
  id: string
  name: string | null
  assignments: readonly AttributeAssignment[]
}

/** The configuration of a source. Throws when the source is not there. */
export async function getCorrelationConfig(
  q: Queryable,
  sourceId: string,
): Promise<CorrelationConfig> {
  const { rows } = await q.query<ConfigRow>(
    'select id, name, assignments from correlation_config where source_id = $1::uuid',
    [fromWireId(sourceId)],
  )
  return rowToConfig(rows)
}

/** Replaces all of a configuration but its id. */
export async function updateCorrelationConfig(
  q: Queryable,
  sourceId: string,
  config: Pick<CorrelationConfig, 'name' | 'assignments'>,
): Promise<CorrelationConfig> {
  const { rows } = await q.query<ConfigRow>(
    `update correlation_config set name = $2::text, assignments = $3::jsonb, modified_at = clock_timestamp()
     where source_id = $1::uuid returning id, name, assignments`,
    [fromWireId(sourceId), config.name, JSON.stringify(config.assignments)],
  )
  return rowToConfig(rows)
}

function rowToConfig(rows: readonly ConfigRow[]): CorrelationConfig {
  const [row] = rows
  if (row === undefined) throw new Error('The source has no correlation configuration.')
  return { id: toWireId(row.id), name: row.name, assignments: row.assignments }
}
