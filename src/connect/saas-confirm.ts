// Whether a long answer over HTTP came whole. The official runner ends an answer cleanly before all of it is written when
// its reader was slower than the connector for a moment, so that a clean end alone shows nothing.
import { RunError } from '../core/errors.ts'
import type { Page } from './reader.ts'
import { objectNames } from './saas-mapping.ts'
import type { Command, SaasTransport } from './saas-transport.ts'

/** Shorter answers fit into the first buffer of the runner (16 KiB in Node 20), where nothing is cut. */
export const wholeAnswerBytes = 16 * 1024

/**
 * So many further answers must agree. Over a slow link two cut answers ended at the same record once in six reads
 * (2026-11-22), because the runner sends in blocks of its buffer; one further answer is too few.
 */
const furtherAnswers = 2

/** What was seen of an answer. */
export interface Seen {
  readonly records: number
  /** The identity of the last record; null when there was none. */
  readonly last: string | null
}

/**
 * Asks again and looks whether each answer ends at the same record: a cut depends on the moment and falls elsewhere.
 * Gives the proof; throws `connector_answer_cut`. Its
 * pages are empty: signs of life, for this takes as long as the list itself.
 */
export async function* confirmEnd(
  transport: SaasTransport,
  command: Command,
  seen: Seen,
  signal: AbortSignal,
): AsyncGenerator<Page, string> {
  for (let further = 1; further <= furtherAnswers; further += 1) {
    const again = yield* look(transport, command, signal)
    if (again.last !== seen.last || again.records !== seen.records) throw cutError(seen, again)
  }
  return `${furtherAnswers} further answers ended at the same record, the ${seen.records}th`
}

function cutError(seen: Seen, again: Seen): RunError {
  return new RunError(
    'connector_answer_cut',
    `The connector answered with ${seen.records} records, and with ${again.records} when it was asked again; not both can be whole.`,
    {
      hint: 'The official runner (spcx run) cuts long answers; run the connector as a bundle. If its accounts only change so often, connectorAttributes.answerEnd "trust" takes the first answer.',
    },
  )
}

async function* look(
  transport: SaasTransport,
  command: Command,
  signal: AbortSignal,
): AsyncGenerator<Page, Seen> {
  let records = 0
  let last: unknown = null
  for await (const { lines } of transport.run(command, 1, signal)) {
    for (const { type, data } of lines) {
      if (type !== 'output') continue
      records += 1
      last = data
    }
    yield { records: [] }
  }
  return { records, last: last === null ? null : objectNames(last).identity }
}
