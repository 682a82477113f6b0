// Gives commands to a connector that Muster itself runs: one child process for each command.
import { RunError } from '../core/errors.ts'
import type { ReaderTools } from './reader.ts'
import { type ChildExit, memoryError, runChild } from './saas-child.ts'
import { connectorError, recordError, textError } from './saas-errors.ts'
import { type BundleCopy, copyBundle } from './saas-folder.ts'
import { type Batch, readLines, type SaasLine } from './saas-lines.ts'
import type { SaasPlace, SaasSettings } from './saas-settings.ts'
import { type Command, requestBody, type SaasTransport } from './saas-transport.ts'

type BundlePlace = Extract<SaasPlace, { readonly kind: 'bundle' }>

/** What a connector may print during one command. It is dropped; a loop that prints is ended here. */
const printLimitBytes = 1 << 30

/** The way to a connector in a bundle. The end of its answer is a line that our own runner writes, so it proves itself. */
export function openBundle(
  place: BundlePlace,
  settings: SaasSettings,
  tools: ReaderTools,
): SaasTransport {
  let copy: Promise<BundleCopy> | null = null
  const limits = { memoryMb: place.memoryMb, silenceMs: settings.silenceMs, printLimitBytes }
  return {
    provesEnd: true,
    run: async function* run(command, _attempts, signal) {
      copy ??= copyBundle(place.root, place.file)
      const child = keepExit(runChild(await copy, requestBody(command), limits, signal))
      let ended = false
      const lines = readLines(child.bytes, settings, (text) => textError(text, command.config))
      for await (const batch of lines) {
        if (ended) throw recordError('sent something after its end')
        const last = batch.lines.at(-1)
        ended = last?.type === 'muster:end'
        const failed = batch.lines.find(({ type }) => type === 'muster:error')
        yield withoutMarks(batch)
        if (failed !== undefined) throw reportedError(failed, command)
      }
      const exit = child.exit()
      if (exit !== null && exit.printed > 0) {
        tools.log('info', `The connector printed ${exit.printed} bytes, which are not kept.`)
      }
      if (!ended || exit?.code !== 0) throw exitError(exit, place)
    },
    close: async () => {
      // A bundle that could not be copied left nothing behind.
      const made = await copy?.catch(() => null)
      copy = null
      await made?.remove()
    },
  }
}

/** The bytes of a child, and how it ended once they are over. */
function keepExit(child: AsyncGenerator<Uint8Array, ChildExit>): {
  readonly bytes: AsyncGenerator<Uint8Array, void>
  readonly exit: () => ChildExit | null
} {
  let exit: ChildExit | null = null
  const bytes = async function* bytes(): AsyncGenerator<Uint8Array, void> {
    exit = yield* child
  }
  return { bytes: bytes(), exit: () => exit }
}

function withoutMarks(batch: Batch): Batch {
  return { ...batch, lines: batch.lines.filter(({ type }) => !type.startsWith('muster:')) }
}

function reportedError({ data }: SaasLine, command: Command): RunError {
  const type: unknown = Reflect.get(Object(data), 'type')
  const message: unknown = Reflect.get(Object(data), 'message')
  return connectorError(
    typeof type === 'string' ? type : 'generic',
    typeof message === 'string' ? message : '',
    command.config,
  )
}

/** The error of a child that ended without saying so. */
function exitError(exit: ChildExit | null, place: BundlePlace): RunError {
  if (exit?.heapFull === true) return memoryError(place)
  const how = exit?.signal ?? `exit code ${String(exit?.code ?? 'unknown')}`
  const killed = exit?.signal === 'SIGKILL' || exit?.code === 137
  return new RunError('connector_exited', `The connector ended within its answer (${how}).`, {
    hint: killed
      ? 'The system killed it, most likely for want of memory; or the connector did so itself.'
      : 'A connector must not end its process; try it with `npx spcx run` and look at what it prints.',
  })
}
