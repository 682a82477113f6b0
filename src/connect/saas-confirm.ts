// Whether a long answer over HTTP came whole. The official runner ends an answer cleanly before all of it is written when
// its reader was slower than the connector for a moment, so that a clean end alone shows nothing.
import { RunError } from '../core/errors.ts'
import { objectNames } from './saas-mapping.ts'
import type { Command, SaasTransport } from './saas-transport.ts'

/** Shorter answers fit into the first buffer of the runner (16 KiB in Node 20), where nothing is cut. */
export const wholeAnswerBytes = 16 * 1024

const attempts = 2

/** What was seen of an answer. */
export interface Seen {
  readonly records: number
  /** The identity of the last record; null when there was none. */
  readonly last: string | null
}

/**
 * Asks again and looks whether the answer ends at the same record: a cut depends on the moment and falls elsewhere.
 * Gives the proof; throws `connector_answer_cut`.
 */
export async function confirmEnd(
  transport: SaasTransport,
  command: Command,
  seen: Seen,
  signal: AbortSignal,
): Promise<string> {
  const counts = [seen.records]
  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    const again = await look(transport, command, signal)
    if (again.last === seen.last && again.records === seen.records) {
      return `a second reading ended at the same record, the ${seen.records}th`
    }
    counts.push(again.records)
  }
  throw new RunError(
    'connector_answer_cut',
    `The connector's answers ended at different records: after ${counts.join(', ')} records.`,
    {
      hint: 'The official runner (spcx run) cuts long answers; run the connector as a bundle. If its accounts only change so often, connectorAttributes.answerEnd "trust" takes the first answer.',
    },
  )
}

async function look(
  transport: SaasTransport,
  command: Command,
  signal: AbortSignal,
): Promise<Seen> {
  let records = 0
  let last: unknown = null
  for await (const { lines } of transport.run(command, 1, signal)) {
    for (const { type, data } of lines) {
      if (type !== 'output') continue
      records += 1
      last = data
    }
  }
  return { records, last: last === null ? null : objectNames(last).identity }
}
