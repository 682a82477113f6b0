// muster serve: the one command that is a server and no client of one. Also what is done to its data while it is off.
import { createApp } from '../app.ts'
import type { App } from '../app.ts'
import { ConfigError, readConfig } from '../config.ts'
import type { Config } from '../config.ts'
import type { Finding } from '../core/finding.ts'
import { examineServer } from '../examine-server.ts'
import { rotateKey } from '../rotate-key.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { note, printFields } from './terminal.ts'

/** What the command line says in place of the environment. */
export interface ServeOptions {
  readonly host?: string
  readonly port?: string
  readonly dataDir?: string
}

const parentWatchMs = 500
/** Signals closer together than this are one request. */
const repeatMs = 1_000

/** Runs the server until it is told to stop. */
export async function serve(options: ServeOptions): Promise<void> {
  const signals = listenForSignals()
  const app = await start(readSettings(options))
  showBanner(app)
  await signals.first
  note('Stopping: calls and runs get a few seconds to finish. Another signal ends at once.')
  await app.close()
  signals.end()
}

/** Seals the secrets of a server that is off with a new master key. */
export async function rotateSecrets(): Promise<void> {
  const config = readSettings({})
  try {
    const { secrets, keyFile } = await rotateKey(config, process.env)
    note(
      keyFile === null
        ? 'Done. From now on start every node with the new key in MUSTER_KEY, and keep the old one for old backups.'
        : `Done. The new key is in ${keyFile}; keep the old one for old backups of the database.`,
    )
    printFields([['secrets', String(secrets)]])
  } catch (error) {
    throw readable(error)
  }
}

/** Looks at what a server of this machine and these settings would work with. */
export async function examineHere(): Promise<readonly Finding[]> {
  return examineServer(process.env)
}

function readSettings(options: ServeOptions): Config {
  const { host, port, dataDir } = options
  try {
    return readConfig({
      ...process.env,
      ...(host !== undefined && { MUSTER_HOST: host }),
      ...(port !== undefined && { MUSTER_PORT: port }),
      ...(dataDir !== undefined && { MUSTER_DATA_DIR: dataDir }),
    })
  } catch (error) {
    throw readable(error)
  }
}

async function start(config: Config): Promise<App> {
  try {
    return await createApp(config)
  } catch (error) {
    throw readable(error)
  }
}

function readable(error: unknown): unknown {
  if (!(error instanceof ConfigError)) return error
  return new CliError(exitCodes.usage, error.message, error.hint)
}

/** URLs and, when they were drawn just now, credentials. On stderr: stdout is the log, which is kept and shipped. */
function showBanner({ url, managementUrl, bootstrap }: App): void {
  const health = managementUrl ?? url
  const lines = [
    '',
    'Muster is ready.',
    '',
    `  API     ${url}/v2025`,
    `  Docs    ${url}/docs`,
    `  Health  ${health}/health/ready`,
    `  Metrics ${health}/metrics`,
    '',
  ]
  if (bootstrap.clientSecret !== null) {
    lines.push(
      '  These credentials may do everything. They are shown now and never again:',
      '',
      `  SAIL_BASE_URL=${url}`,
      `  SAIL_CLIENT_ID=${bootstrap.clientId}`,
      `  SAIL_CLIENT_SECRET=${bootstrap.clientSecret}`,
      '',
    )
  }
  // In one piece, so that no line of the log stands between them.
  note(lines.join('\n'))
}

/** `first` resolves at the first request to stop; a second one by a person ends the process at once. */
function listenForSignals(): { readonly first: Promise<void>; end(): void } {
  const { promise, resolve } = defer()
  let askedAt: number | undefined
  const onSignal = (signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP'): void => {
    const now = performance.now()
    if (askedAt === undefined) {
      askedAt = now
      resolve()
      return
    }
    // One Ctrl-C arrives twice where npm's shell is bash: from the terminal, and handed on by npm. A closed terminal
    // may say so several times. Neither is a person who has lost patience.
    if (signal === 'SIGHUP' || now - askedAt < repeatMs) return
    process.exit(signal === 'SIGINT' ? exitCodes.interrupted : 143)
  }
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal).on('SIGHUP', onSignal)
  // With the terminal goes the output; a line that nobody can read must not keep the database from being stopped.
  const ignore = (): void => {}
  process.stdout.on('error', ignore)
  process.stderr.on('error', ignore)
  const watch = watchParent(resolve)
  return {
    first: promise,
    end: () => {
      clearInterval(watch)
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal).off('SIGHUP', onSignal)
    },
  }
}

/**
 * npm and its shell die at once on a signal and do not pass it on; what they started is then an orphan with another
 * parent. Started by npm, a change of the parent is a request to stop.
 */
function watchParent(stop: () => void): NodeJS.Timeout | undefined {
  const byNpm =
    process.env['npm_command'] !== undefined || process.env['npm_lifecycle_event'] !== undefined
  if (!byNpm) return undefined
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid !== parent) stop()
  }, parentWatchMs)
  timer.unref()
  return timer
}

function defer(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let settle = (): void => {}
  const promise = new Promise<void>((resolve) => {
    settle = resolve
  })
  return { promise, resolve: () => settle() }
}
