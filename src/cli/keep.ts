// What muster backup and muster restore do: settings, progress, Ctrl-C, and what they print at the end.
import { isatty } from 'node:tty'
import { backUp } from '../backup.ts'
import { ConfigError, readConfig } from '../config.ts'
import type { Config } from '../config.ts'
import { inspectBackup, restore } from '../restore.ts'
import type { BackupContents, RestoreOrder } from '../restore.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { progressBar } from './progress-bar.ts'
import { note, number, printFields, printJson, size } from './terminal.ts'

interface KeepOptions {
  readonly dataDir?: string
  readonly json?: boolean
  readonly quiet?: boolean
}

/** The options of muster backup. */
export interface BackupOptions extends KeepOptions {
  readonly force?: boolean
}

/** The options of muster restore. */
export interface RestoreOptions extends KeepOptions {
  readonly check?: boolean
  readonly withoutSecrets?: boolean
}

/** Takes a backup into a file, or onto standard output for `-`. */
export async function takeBackup(given: string | undefined, options: BackupOptions): Promise<void> {
  const config = readSettings(options)
  const file = given === '-' ? null : (given ?? usualName(new Date()))
  if (file === null && isatty(1)) {
    throw new CliError(
      exitCodes.usage,
      'A backup is nothing to read on a terminal.',
      'Name a file, or lead standard output somewhere.',
    )
  }
  const started = performance.now()
  const taken = await watched(options, (signal, show) =>
    backUp(config, {
      file,
      force: options.force === true,
      signal,
      onProgress: (section, done) => show(done, `Backing up ${section}`),
    }),
  )
  const { bytes, sha256 } = taken
  const seconds = (performance.now() - started) / 1000
  if (file === null) {
    note(`Done: ${size(bytes)}, ${number(rowsOf(taken))} rows in ${seconds.toFixed(1)} s.`)
    return
  }
  if (options.json === true) {
    printJson({ file: taken.file, bytes, sha256, ...contents(taken) })
    return
  }
  note('The backup does not hold the master key. Keep that too, in another place.')
  printFields([
    ['file', taken.file ?? ''],
    ['size', size(bytes)],
    ['sha256', sha256],
    ['of', taken.header.taken],
    ['rows', number(rowsOf(taken))],
    ['seconds', seconds.toFixed(1)],
  ])
}

/** Restores a backup, or with `check` only looks at it. */
export async function restoreBackup(given: string, options: RestoreOptions): Promise<void> {
  const file = given === '-' ? null : given
  const order: Omit<RestoreOrder, 'signal' | 'onProgress'> = {
    file,
    withoutSecrets: options.withoutSecrets === true,
  }
  if (options.check === true) {
    const found = await watched(options, (signal, show) =>
      inspectBackup({ ...order, signal, onProgress: (what, done) => show(done, what) }),
    )
    if (options.json !== true) note('The backup is whole.')
    printContents(found, options, [])
    return
  }
  const config = readSettings(options)
  const started = performance.now()
  const done = await watched(options, (signal, show) =>
    restore(config, { ...order, signal, onProgress: (what, share) => show(share, what) }),
  )
  if (options.json !== true) {
    note('Restored. Start the server with the same settings: muster serve')
    if (order.withoutSecrets) {
      note('Secrets of sources were left out: enter them again. Tokens are not valid any more.')
    }
  }
  const migrated = done.migrated.length === 0 ? 'none' : done.migrated.join(', ')
  printContents(done, options, [
    ['migrations', migrated],
    ['seconds', ((performance.now() - started) / 1000).toFixed(1)],
  ])
}

function printContents(
  found: BackupContents,
  options: KeepOptions,
  more: readonly (readonly [string, string])[],
): void {
  if (options.json === true) {
    printJson({ ...contents(found), ...Object.fromEntries(more) })
    return
  }
  const { header, sections } = found
  printFields([
    ['of', header.taken],
    ['Muster', header.muster],
    ['PostgreSQL', header.postgresql],
    ['schema', header.schema.at(-1)?.name ?? ''],
    ['deployment', header.deployment ?? ''],
    ...more,
    ...sections.map(({ name, rows }) => [name, number(rows)] as const),
  ])
}

/** What scripts see. The record that checks the key is of no use to them. */
function contents({ header, sections }: BackupContents): object {
  const { format, muster, postgresql, deployment, taken, schema } = header
  const migrations = schema.map(({ name }) => name)
  return { format, muster, postgresql, deployment, taken, schema: migrations, sections }
}

function rowsOf({ sections }: BackupContents): number {
  return sections.reduce((sum, { rows }) => sum + rows, 0)
}

function usualName(now: Date): string {
  // Colons are not allowed in the names of files on Windows.
  return `muster-${now.toISOString().slice(0, 19).replaceAll(':', '-')}Z.backup`
}

/** Shows progress, and stops the work in good order at the first signal, so that nothing is left half. */
async function watched<T>(
  options: KeepOptions,
  work: (signal: AbortSignal, show: (done: number | null, text: string) => void) => Promise<T>,
): Promise<T> {
  const bar = progressBar(options.quiet === true)
  const stop = new AbortController()
  // Who asks twice does not want to wait for a statement that is under way.
  const onSignal = (): void => {
    if (stop.signal.aborted) process.exit(exitCodes.interrupted)
    stop.abort()
  }
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  try {
    return await work(stop.signal, (done, text) => bar.show(done, text))
  } catch (error) {
    if (!stop.signal.aborted) throw readable(error)
    throw new CliError(exitCodes.interrupted, 'Stopped.', 'Nothing was left half done.')
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
    bar.clear()
  }
}

function readSettings({ dataDir }: KeepOptions): Config {
  try {
    return readConfig({
      ...process.env,
      ...(dataDir !== undefined && { MUSTER_DATA_DIR: dataDir }),
    })
  } catch (error) {
    throw readable(error)
  }
}

function readable(error: unknown): unknown {
  if (!(error instanceof ConfigError)) return error
  return new CliError(exitCodes.usage, error.message, error.hint)
}
