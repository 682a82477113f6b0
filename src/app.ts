// The composition root: config → store → tasks → api. The only file that imports everything.
import { readFile } from 'node:fs/promises'
import { Server as TlsServer } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { accountAggregationRoutes } from './api/account-aggregations.ts'
import { accountRemovalRoutes } from './api/account-removal.ts'
import { accountRoutes } from './api/accounts.ts'
import { openAsks } from './api/ask-source.ts'
import { assembleApi } from './api/assemble.ts'
import { ensureBootstrapClient } from './api/bootstrap.ts'
import type { Bootstrap } from './api/bootstrap.ts'
import { correlationConfigRoutes } from './api/correlation-config.ts'
import { discoveryRoutes } from './api/discovery.ts'
import { loadAccountsRoutes } from './api/load-accounts.ts'
import { openLog, plainLines } from './api/logging.ts'
import type { Logger } from './api/logging.ts'
import { probeRoutes } from './api/probes.ts'
import type { Route } from './api/route.ts'
import type { ApiWatch } from './api/watch.ts'
import { schemaTemplateRoutes } from './api/schema-templates.ts'
import { schemaRoutes } from './api/schemas.ts'
import { settingsRoutes } from './api/settings.ts'
import { runRoutes } from './api/runs.ts'
import { sourceHealthRoutes } from './api/source-health.ts'
import { sourceStateRoutes } from './api/source-state.ts'
import { sourceRoutes } from './api/sources.ts'
import { taskStatusRoutes } from './api/task-status.ts'
import { readCertificate, renewCertificate } from './certificate.ts'
import { ConfigError } from './config.ts'
import { masterKey } from './master-key.ts'
import type { Config } from './config.ts'
import { loadPackage } from './connect/registry.ts'
import type { ConnectorDescription } from './core/description.ts'
import { RunError } from './core/errors.ts'
import { openObservation } from './observation.ts'
import type { Observation } from './observation.ts'
import type { SystemServices } from './run/ask-system.ts'
import type { RunServices } from './run/job.ts'
import { lockSpool, openSpool } from './run/spool.ts'
import type { Spool } from './run/spool.ts'
import { startWorker } from './run/worker.ts'
import { openDatabase } from './store/database.ts'
import type { Database } from './store/database.ts'
import { deploymentId } from './store/deployment.ts'
import { startEmbedded } from './store/embedded.ts'
import { databaseFailure, isRefusedLogin } from './store/failure.ts'
import { migrate } from './store/migrate.ts'
import { parseMasterKey, verifyMasterKey } from './store/sealed.ts'
import type { MasterKey } from './store/sealed.ts'
import { loadSigningKeys } from './store/signing-keys.ts'

/** A running Muster. */
export interface App {
  /** Where it listens, without a slash at the end. */
  readonly url: string
  /** Where health and metrics are when they have a port of their own. */
  readonly managementUrl: string | null
  readonly log: Logger
  /** The first client; its secret only when it was drawn now, to be shown once. */
  readonly bootstrap: Bootstrap
  /** Turns readiness off; `close` does it too. */
  drain(): void
  /** Ends everything it started: calls that run get ten seconds, then database and all. May be called more than once. */
  close(): Promise<void>
}

export interface AppOptions {
  /** The log to write; without it one is opened on standard output. */
  readonly log?: Logger
  /** Called at each step of an upload and its run, before it goes on; tests end the process there. */
  readonly onStep?: RunServices['onStep']
}

/** What the routes of the resources are made of. */
interface Services {
  readonly config: Config
  readonly db: Database
  readonly masterKey: MasterKey
  readonly spool: Spool
  readonly system: SystemServices
  /** The connectors of others. */
  readonly descriptions: readonly ConnectorDescription[]
  readonly wake: () => void
  readonly watch: ApiWatch
  readonly onStep: RunServices['onStep']
}

type Undo = () => Promise<unknown>

const graceMs = 10_000
/** A database of one's own may start at the same time as Muster, for example by Compose. */
const databasePatienceMs = 60_000
const databaseRetryMs = 1_000

/** Starts Muster. When anything fails, what was started before is ended again. */
export async function createApp(config: Config, options: AppOptions = {}): Promise<App> {
  const log =
    options.log ?? openLog(config.logLevel, process.stdout.isTTY ? plainLines() : undefined)
  for (const warning of config.warnings) log.warn(warning)
  // Closed in the opposite order, on a failed start as at the end.
  const undo: Undo[] = []
  const unwind = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) {
      await step().catch((error: unknown) =>
        log.error({ err: error }, 'a part did not end cleanly'),
      )
    }
  }
  try {
    const onStep = options.onStep ?? (() => undefined)
    const { drain, ...started } = await start(config, log, undo, onStep)
    let closed: Promise<void> | undefined
    const close = (): Promise<void> => {
      drain()
      return (closed ??= unwind())
    }
    return { ...started, log, drain, close }
  } catch (error) {
    await unwind()
    throw error
  }
}

async function start(
  config: Config,
  log: Logger,
  undo: Undo[],
  onStep: RunServices['onStep'],
): Promise<Pick<App, 'url' | 'managementUrl' | 'bootstrap' | 'drain'>> {
  const tls = config.tls && readCertificate(config.tls)
  const key = parseMasterKey(await masterKey(config))
  const version = await ownVersion()
  const watch = await openObservation(config, log, version)
  undo.push(() => watch.close())
  const { db, folders } = await openStore(config, log, undo, watch)
  const { version: schemaVersion } = await migrate(db)
  await verifyMasterKey(db, key)
  const keys = await loadSigningKeys(db, key)
  const bootstrap = await ensureBootstrapClient(db, config.client)
  if (!config.spoolShared) {
    const lock = await lockSpool(config.spoolDir)
    undo.push(() => lock.release())
  }
  const spool = await openSpool({ dir: config.spoolDir, shared: config.spoolShared })
  const { loadShortcuts: shortcuts } = config
  const descriptions = await describeConnectors(config.connectors)
  const system: SystemServices = {
    masterKey: key,
    outbound: {
      allowLoopback: config.allowPrivateAddresses,
      allowed: config.allowedAddresses,
    },
    packages: config.connectors,
    bundleRoot: config.dataDir,
    maxReadBytes: config.maxUploadBytes,
    log: (level, message) => log[level](message),
  }
  const worker = startWorker({
    db,
    spool,
    system,
    ways: {
      firstLoad: shortcuts === 'all' || shortcuts === 'first-load',
      buckets: shortcuts === 'all' || shortcuts === 'buckets',
    },
    onStep,
    leaseSeconds: config.leaseSeconds,
    concurrency: config.concurrentRuns,
    log: (level, message, fields) => log[level](fields ?? {}, message),
    watch: watch.run,
  })
  const stopWorker = once(() => worker.stop())
  undo.push(stopWorker)
  const { sinceTurnMs } = worker
  undo.push(watch.look({ db, schemaVersion, spool, folders, sinceTurnMs }))
  const services: Services = {
    config,
    db,
    masterKey: key,
    spool,
    system,
    descriptions,
    wake: () => worker.wake(),
    watch: watch.api,
    onStep,
  }
  let url = ''
  const api = await assembleApi({
    db,
    keys,
    deploymentId: await deploymentId(db),
    settings: { ...config, tls },
    log,
    version,
    baseUrl: () => url,
    pages: watch.pages,
    isStuck: () => watch.isStuck(),
    watch: watch.api,
    routes: resourceRoutes(services),
  })
  // Runs stop while the last calls finish: both may take seconds.
  undo.push(() => Promise.all([closeServer(api.app), stopWorker()]))
  if (config.tls !== undefined && api.app.server instanceof TlsServer) {
    const stopRenewal = renewCertificate(api.app.server, config.tls, log)
    undo.push(async () => stopRenewal())
  }
  url = await listen(api.app, config)
  watch.started(() => api.isDraining())
  return { url, managementUrl: watch.managementUrl, bootstrap, drain: () => api.drain() }
}

/** The routes of all resources but clients and audit, which belong to the API itself. */
function resourceRoutes(services: Services): Route[] {
  const { config, db, descriptions, spool, system, wake, watch, onStep } = services
  const { maxUploadBytes, org } = config
  const ask = openAsks({ db, system })
  return [
    ...sourceRoutes(services),
    ...loadAccountsRoutes({ db, spool, wake, watch, onStep, maxUploadBytes, descriptions }),
    ...schemaRoutes(services),
    ...schemaTemplateRoutes({ db, spool }),
    ...correlationConfigRoutes(services),
    ...settingsRoutes(services),
    ...sourceStateRoutes(services),
    ...sourceHealthRoutes({ db, org }),
    ...probeRoutes({ db, ask, descriptions }),
    ...discoveryRoutes({ db, ask }),
    ...taskStatusRoutes(services),
    ...runRoutes(services),
    ...accountAggregationRoutes(services),
    ...accountRoutes(services),
    ...accountRemovalRoutes(services),
  ]
}

/** Loads the connectors of others once, so that one that is missing or broken is known before anything runs. */
async function describeConnectors(
  packages: readonly string[],
): Promise<readonly ConnectorDescription[]> {
  try {
    return await Promise.all(packages.map(loadPackage))
  } catch (error) {
    if (!(error instanceof RunError)) throw error
    throw new ConfigError(error.message, error.hint, error)
  }
}

/** Opens the database, and tells the folders whose disks fill up while it works. */
async function openStore(
  config: Config,
  log: Logger,
  undo: Undo[],
  watch: Observation,
): Promise<{ readonly db: Database; readonly folders: Readonly<Record<string, string>> }> {
  const onError = (error: Error) => {
    watch.connectionLost()
    log.warn({ err: error }, 'a database connection was lost')
  }
  if (config.databaseUrl !== undefined) {
    const db = openDatabase({ connectionString: config.databaseUrl }, onError)
    undo.push(() => db.close())
    await waitForDatabase(db, log)
    return { db, folders: { spool: config.spoolDir } }
  }
  const embedded = await startEmbedded({
    dataDir: config.dataDir,
    log: (level, message, fields) => log[level](fields ?? {}, message),
    onCrash: () => {
      watch.databaseRestarted()
      log.error('the embedded database ended by itself and is started again')
    },
  })
  undo.push(() => embedded.stop())
  const db = openDatabase(embedded.settings, onError)
  undo.push(() => db.close())
  return { db, folders: { spool: config.spoolDir, database: embedded.home } }
}

async function waitForDatabase(db: Database, log: Logger): Promise<void> {
  const deadline = performance.now() + databasePatienceMs
  for (;;) {
    try {
      await db.query('select 1')
      return
    } catch (error) {
      const passing = databaseFailure(error) === 'away' && !isRefusedLogin(error)
      if (!passing || performance.now() > deadline) throw error
      log.warn({ err: error }, 'the database does not answer yet')
      await new Promise((resolve) => setTimeout(resolve, databaseRetryMs))
    }
  }
}

async function listen(app: FastifyInstance, config: Config): Promise<string> {
  const { host, port } = config
  try {
    await app.listen({
      host,
      port,
      listenTextResolver: (address) => `listening at ${withScheme(config, address)}`,
    })
  } catch (error) {
    const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
    const reason = code === 'EADDRINUSE' ? 'another program listens there' : String(code ?? error)
    throw new ConfigError(
      `Muster cannot listen on ${host}, port ${port}: ${reason}.`,
      'Set MUSTER_PORT to another port (0 takes any free one), or MUSTER_HOST to an address of this machine.',
      error,
    )
  }
  const address = app.server.address()
  const actual = address !== null && typeof address === 'object' ? address.port : port
  return withScheme(config, `http://${reachable(host)}:${actual}`)
}

function withScheme(config: Config, url: string): string {
  return config.tls === undefined ? url : url.replace(/^http:/, 'https:')
}

/** The wildcard address is no place that a client can go to. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
}

/** Stops listening at once, lets calls that run finish, and after the grace ends what is left. */
async function closeServer(app: FastifyInstance): Promise<void> {
  const timer = setTimeout(() => app.server.closeAllConnections(), graceMs)
  try {
    await app.close()
  } finally {
    clearTimeout(timer)
  }
}

/** Stops a part one time only, whoever asks first. */
function once(stop: () => Promise<void>): () => Promise<void> {
  let stopped: Promise<void> | undefined
  return () => (stopped ??= stop())
}

async function ownVersion(): Promise<string> {
  // The file stands at the root of the package, one above both src/ and dist/.
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8')
  const { version } = JSON.parse(text) as { version: string }
  return version
}
