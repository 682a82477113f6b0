// What `muster doctor` looks at on the side of the server: settings, folders, programs, ports, certificate. It changes nothing.
import { X509Certificate } from 'node:crypto'
import { constants } from 'node:fs'
import { access, readFile, stat, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { readCertificate } from './certificate.ts'
import { ConfigError, isKey, readConfig } from './config.ts'
import type { Config } from './config.ts'
import { doubtful, fine, wrong } from './core/finding.ts'
import type { Finding } from './core/finding.ts'
import { examineDatabase } from './examine-database.ts'
import { probeBinaries } from './store/embedded-files.ts'
import { findCluster } from './store/embedded-place.ts'
import { findHolder } from './store/folder-lock.ts'
import { StoreError } from './store/store-error.ts'

/** A disk with less than this will be full soon. */
const scarceBytes = 2 ** 30
const soonDays = 30
const dayMs = 24 * 60 * 60 * 1000

/** Examines the server that these settings make. Findings come in the order in which a start would meet them. */
export async function examineServer(env: NodeJS.ProcessEnv): Promise<readonly Finding[]> {
  let config: Config
  try {
    config = readConfig(env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return [wrong('settings', error.message, error.hint)]
  }
  const running = await findRunning(config)
  return [
    ...examineSettings(config),
    ...(await examineFolder(config)),
    ...(await examineDisks(config)),
    ...(config.databaseUrl === undefined
      ? [...(await examineEmbedded(config)), ...(await examineKey(config))]
      : await examineDatabase(config.databaseUrl)),
    ...examineTls(config),
    ...(await examinePorts(config, running)),
  ]
}

function examineSettings(config: Config): Finding[] {
  if (config.warnings.length === 0) return [fine('settings', 'all of them can be used')]
  return config.warnings.map((warning) =>
    doubtful('settings', warning, 'docs/reference/settings.md lists all settings.'),
  )
}

/** Who runs on the folders of these settings; null when nobody does. */
async function findRunning(config: Config): Promise<string | null> {
  const home = await homeOf(config)
  for (const folder of [home, config.spoolDir]) {
    const holder = await findHolder(folder).catch(() => null)
    if (holder?.isAlive === true) return holder.who
  }
  return null
}

async function homeOf({ dataDir }: Config): Promise<string> {
  const found = await findCluster(dataDir).catch(() => undefined)
  return found?.home ?? dataDir
}

async function examineFolder(config: Config): Promise<Finding[]> {
  const name = 'data folder'
  const { dataDir } = config
  const found = await stat(dataDir).catch(() => null)
  if (found === null) {
    const above = await nearest(dataDir)
    if (await mayWrite(above)) return [fine(name, `${dataDir} will be made by \`muster serve\``)]
    const advice = 'Set MUSTER_DATA_DIR to a folder that the user of Muster may write.'
    return [wrong(name, `${dataDir} cannot be made: ${above} may not be written`, advice)]
  }
  if (!found.isDirectory()) {
    return [wrong(name, `${dataDir} is no folder`, 'Set MUSTER_DATA_DIR to another path.')]
  }
  if (!(await mayWrite(dataDir))) {
    const owner = process.platform === 'win32' ? '' : ` (it belongs to uid ${found.uid})`
    const advice = 'Start Muster as its owner, or give the folder to the user of Muster by chown.'
    return [wrong(name, `${dataDir} may not be written by this user${owner}`, advice)]
  }
  const holder = await findHolder(await homeOf(config)).catch(() => null)
  if (holder === null) return [fine(name, `${dataDir} is there, and no server runs on it`)]
  if (holder.isAlive === true) return [fine(name, `${dataDir} is in use by ${holder.who}`)]
  return [
    doubtful(
      name,
      `${dataDir} was last used by ${holder.who}, who cannot be asked from here`,
      'If that one is gone, just start: the start looks for its heartbeat for 15 seconds.',
    ),
  ]
}

async function examineDisks(config: Config): Promise<Finding[]> {
  const folders = new Map([
    [await nearest(config.spoolDir), 'MUSTER_SPOOL_DIR'],
    [await nearest(await homeOf(config)), 'MUSTER_DATA_DIR'],
  ])
  return Promise.all(
    [...folders].map(async ([folder, variable]) => {
      const { bavail, bsize } = await statfs(folder)
      const free = bavail * bsize
      const text = `${(free / 1e9).toFixed(1)} GB are free for ${folder}`
      const advice = `Free space, or let ${variable} name a folder on a larger disk.`
      if (free < config.minFreeBytes) {
        return wrong('disk', `${text}, less than MUSTER_MIN_FREE_BYTES: not ready`, advice)
      }
      return free < scarceBytes ? doubtful('disk', text, advice) : fine('disk', text)
    }),
  )
}

async function examineEmbedded(config: Config): Promise<Finding[]> {
  const name = 'embedded database'
  try {
    const version = await probeBinaries()
    const cluster = await findCluster(config.dataDir)
    const state = cluster === undefined ? 'not made yet' : `in ${cluster.cluster}`
    return [fine(name, `${version}, ${state}`)]
  } catch (error) {
    if (error instanceof StoreError) return [wrong(name, error.message, error.hint)]
    const advice =
      'Install again with "npm ci" on this machine, or set DATABASE_URL to a PostgreSQL of your own.'
    return [wrong(name, `its programs cannot be run: ${reasonOf(error)}`, advice)]
  }
}

async function examineKey(config: Config): Promise<Finding[]> {
  const name = 'master key'
  if (config.key !== undefined) return [fine(name, 'is set by MUSTER_KEY')]
  const path = join(config.dataDir, 'key')
  const info = await stat(path).catch(() => null)
  if (info === null) {
    if ((await findCluster(config.dataDir).catch(() => undefined)) === undefined) {
      return [fine(name, 'will be made with the data folder')]
    }
    const advice =
      'Restore the file from a backup, or set MUSTER_KEY to what it held. Never make a new one: it opens none of the secrets.'
    return [wrong(name, `${path} is missing, and the database is there`, advice)]
  }
  const text = await readFile(path, 'utf8').catch(() => null)
  if (text === null) {
    return [
      wrong(name, `${path} may not be read by this user`, 'Start Muster as the owner of the file.'),
    ]
  }
  if (!isKey(text.trim())) {
    return [wrong(name, `${path} is damaged`, 'Restore it from a backup, or set MUSTER_KEY.')]
  }
  if (process.platform !== 'win32' && (info.mode & 0o077) !== 0) {
    return [doubtful(name, `${path} may be read by other users`, `Run: chmod 600 ${path}`)]
  }
  return [fine(name, `${path} is whole, and only its owner may read it`)]
}

function examineTls(config: Config): Finding[] {
  const name = 'certificate'
  if (config.tls === undefined) return []
  try {
    const certificate = new X509Certificate(String(readCertificate(config.tls).cert))
    const days = Math.floor((Date.parse(certificate.validTo) - Date.now()) / dayMs)
    const text = `it matches its key and is good until ${certificate.validTo}`
    if (days >= soonDays) return [fine(name, text)]
    const advice = 'Renew it. A server that runs takes the new files within a minute.'
    return [doubtful(name, `${text}: ${days} days`, advice)]
  } catch (error) {
    if (error instanceof ConfigError) return [wrong(name, error.message, error.hint)]
    throw error
  }
}

async function examinePorts(config: Config, running: string | null): Promise<Finding[]> {
  const ports = [{ ...config, name: 'port', variable: 'MUSTER_PORT' }]
  const { management } = config
  if (management !== undefined) {
    ports.push({
      ...config,
      ...management,
      name: 'management port',
      variable: 'MUSTER_MANAGEMENT_PORT',
    })
  }
  return Promise.all(
    ports.map(async ({ host, port, name, variable }) => {
      const code = await tryToListen(host, port)
      const place = `${host}, port ${port}`
      if (code === null) return fine(name, port === 0 ? 'any free one' : `${place} is free`)
      if (code !== 'EADDRINUSE') {
        const advice = `Set ${variable} to a port from 1024, or its host to an address of this machine.`
        return wrong(name, `${place} cannot be listened on: ${code}`, advice)
      }
      if (running !== null) return fine(name, `${place} is taken, and Muster runs as ${running}`)
      const advice = `Stop that program, or set ${variable} to another port.`
      return wrong(name, `another program listens on ${place}`, advice)
    }),
  )
}

async function tryToListen(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', (error: Error & { code?: string }) => resolve(error.code ?? error.message))
    probe.listen({ host: host.replace(/^\[(.*)\]$/, '$1'), port, exclusive: true }, () =>
      probe.close(() => resolve(null)),
    )
  })
}

/** The folder itself, or the nearest one above it that is there. */
async function nearest(folder: string): Promise<string> {
  const found = await stat(folder).catch(() => null)
  const above = dirname(folder)
  return found !== null || above === folder ? folder : nearest(above)
}

async function mayWrite(path: string): Promise<boolean> {
  return access(path, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  )
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
