// Reads a list of accounts or entitlements to its proven end.
import type { Cursor, Page, ReadEnd, ReaderTools, ReadRecord, ReadRequest } from './reader.ts'
import { confirmEnd, wholeAnswerBytes } from './saas-confirm.ts'
import { recordError } from './saas-errors.ts'
import { openMapping } from './saas-mapping.ts'
import type { SaasSettings } from './saas-settings.ts'
import { cursorOf, readPatches, stateOf } from './saas-state.ts'
import type { Command, SaasTransport } from './saas-transport.ts'
import { abortReason } from './wait.ts'

/** What a list is read with. */
export interface ListContext {
  readonly transport: SaasTransport
  readonly settings: SaasSettings
  readonly tools: ReaderTools
  readonly attempts: number
  /** Whether states are wanted and the connector has them. */
  readonly isStateful: (signal: AbortSignal) => Promise<boolean>
}

/** What was seen of a list so far. */
interface Progress {
  records: number
  last: string | null
  bytes: number
  cursor: Cursor | null
  /** Whether the state was the last thing that counts: what is cut off is always the end. */
  closed: boolean
  patches: readonly unknown[]
}

/** Reads the objects that a command lists. */
export async function* readObjects(
  context: ListContext,
  command: Command,
  request: ReadRequest,
): AsyncGenerator<Page, ReadEnd> {
  const { transport, tools } = context
  const { signal, limit } = request
  const state = stateOf(request.cursor)
  const stateful = state !== null || (await context.isStateful(signal))
  const sent: Command = stateful
    ? {
        ...command,
        input: { ...command.input, stateful: true, ...(state === null ? {} : { state }) },
      }
    : command
  const mapping = openMapping(request, (message) => tools.log('info', message))
  const progress: Progress = {
    records: 0,
    last: null,
    bytes: 0,
    cursor: null,
    closed: false,
    patches: [],
  }
  const delta = state !== null
  let given = 0
  for await (const { lines, bytes } of transport.run(sent, context.attempts, signal)) {
    // What was read ahead is of no use to anybody then.
    if (signal.aborted) throw abortReason(signal)
    progress.bytes += bytes
    const records: ReadRecord[] = []
    for (const { type, data } of lines) {
      if (type === 'output') {
        const record = mapping.record(data)
        progress.records += 1
        progress.last = record.identity
        progress.closed = false
        // In a full list what is deleted is simply not there.
        if (delta || record.deleted !== true) records.push(record)
      } else note(progress, type, data)
    }
    const room = limit === null ? records.length : limit - given
    given += records.length
    yield { records: records.slice(0, room) }
    if (limit !== null && given >= limit) return ending(progress, delta, null, mapping.extra())
  }
  const proof = yield* proveEnd(context, sent, progress, delta, signal)
  // Without a new state the next delta begins where this one did.
  progress.cursor ??= request.cursor
  return ending(progress, delta, proof, mapping.extra())
}

/** Takes a line that is no record. */
function note(progress: Progress, type: string, data: unknown): void {
  switch (type) {
    case 'state':
      progress.cursor = cursorOf(data)
      progress.closed = true
      return
    case 'config':
      progress.patches = readPatches(data, progress.patches)
      return
    case 'keepAlive':
      return
    default:
      throw recordError(`sent a line of the unknown type "${type.slice(0, 40)}"`)
  }
}

async function* proveEnd(
  { transport, settings }: ListContext,
  sent: Command,
  progress: Progress,
  delta: boolean,
  signal: AbortSignal,
): AsyncGenerator<Page, string> {
  if (transport.provesEnd) return 'the connector returned from its command'
  if (progress.closed) return 'the answer ended cleanly after its state'
  if (settings.answerEnd === 'trust') return 'the answer ended cleanly'
  if (progress.bytes <= wholeAnswerBytes) return 'the answer ended cleanly and was short'
  if (delta) {
    // What is cut off such an answer comes with the next: its state stays where it was.
    return 'the answer of the delta ended cleanly, without a new state'
  }
  return yield* confirmEnd(transport, sent, progress, signal)
}

function ending(
  progress: Progress,
  delta: boolean,
  proof: string | null,
  extra: readonly string[],
): ReadEnd {
  return {
    proof,
    expected: null,
    mode: delta ? 'delta' : 'full',
    cursor: proof === null ? null : progress.cursor,
    extra,
    ...(proof === null || progress.patches.length === 0 ? {} : { patches: progress.patches }),
  }
}
