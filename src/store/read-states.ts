// Where the reads of direct sources ended: written in the apply transaction, so that a cursor never runs ahead of its effect.
import { fromWireId } from '../core/id.ts'
import type { Queryable } from './database.ts'

/** Where the last applied read of a source ended. */
export interface ReadState {
  /** A JSON object in the words of the reader. */
  readonly cursor: Readonly<Record<string, unknown>>
  /** A hash of connector, settings and schema. */
  readonly seed: Buffer
  readonly runNumber: number
  /** ISO-8601. */
  readonly readAt: string
}

/** The state of a source; null when the next read is full. */
export async function getReadState(q: Queryable, sourceId: string): Promise<ReadState | null> {
  const { rows } = await q.query<{
    cursor: Record<string, unknown>
    seed: Buffer
    run_number: number
    read_at: Date
  }>('select cursor, seed, run_number, read_at from read_state where source_id = $1::uuid', [
    fromWireId(sourceId),
  ])
  const row = rows[0]
  if (row === undefined) return null
  const { cursor, seed } = row
  return { cursor, seed, runNumber: row.run_number, readAt: row.read_at.toISOString() }
}

/** Keeps where a read ended; called in the apply transaction. */
export async function putReadState(
  tx: Queryable,
  sourceId: string,
  state: Pick<ReadState, 'cursor' | 'seed' | 'runNumber'>,
): Promise<void> {
  await tx.query(
    `insert into read_state (source_id, cursor, seed, run_number) values ($1::uuid, $2::jsonb, $3, $4)
     on conflict (source_id) do update set cursor = excluded.cursor, seed = excluded.seed,
       run_number = excluded.run_number, read_at = clock_timestamp()`,
    [fromWireId(sourceId), JSON.stringify(state.cursor), state.seed, state.runNumber],
  )
}

/** Forgets where the last read ended, so that the next one is full; false when there was nothing to forget. */
export async function deleteReadState(q: Queryable, sourceId: string): Promise<boolean> {
  const { rowCount } = await q.query('delete from read_state where source_id = $1::uuid', [
    fromWireId(sourceId),
  ])
  return rowCount > 0
}
