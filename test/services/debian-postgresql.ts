// The PostgreSQL of the system, which is older than the embedded one, on a loopback port of its own.
import { execFileSync } from 'node:child_process'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import {
  endServer,
  freePort,
  giveAway,
  serverFolder,
  serverUser,
  startProcess,
} from './own-server.ts'

/** A server of the system with the superuser `owner`. */
export interface SystemServer {
  /** As in `15.13`. */
  readonly version: string
  /** The URL of a database with this name; `make` makes it. */
  url(database: string): string
  make(database: string, encoding?: string): Promise<string>
  stop(): Promise<void>
}

const password = 'a-password-of-the-tests'
const programs = '/usr/lib/postgresql'

/** Starts it; about two seconds. */
export async function startSystemServer(): Promise<SystemServer> {
  const [newest = '15'] = readdirSync(programs).toSorted().toReversed()
  const bin = join(programs, newest, 'bin')
  const folder = serverFolder('system-postgresql')
  const data = join(folder, 'data')
  const passwordFile = join(folder, 'password')
  writeFileSync(passwordFile, password)
  giveAway(passwordFile)
  execFileSync(
    join(bin, 'initdb'),
    [
      '-D',
      data,
      '-U',
      'owner',
      '-E',
      'UTF8',
      '--locale=C',
      '--no-sync',
      '-A',
      'scram-sha-256',
    ].concat(`--pwfile=${passwordFile}`),
    { stdio: 'pipe', env: { LC_ALL: 'C', TZ: 'UTC' }, cwd: folder, ...serverUser },
  )
  const port = await freePort()
  const url = (database: string): string =>
    `postgres://owner:${password}@127.0.0.1:${port}/${database}`
  const ask = async (text: string): Promise<string> => {
    const client = new pg.Client(url('postgres'))
    client.on('error', () => undefined)
    await client.connect()
    try {
      const { rows } = await client.query<{ server_version?: string }>(text)
      return rows[0]?.server_version ?? ''
    } finally {
      await client.end()
    }
  }
  const settings = [
    `port=${port}`,
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'fsync=off',
    // A server of others has settings of its own.
    'timezone=America/New_York',
    'datestyle=German',
    'bytea_output=escape',
  ].flatMap((setting) => ['-c', setting])
  const server = await startProcess(join(bin, 'postgres'), ['-D', data, ...settings], folder, () =>
    ask('select 1').then(
      () => true,
      () => false,
    ),
  )
  return {
    version: await ask('show server_version'),
    url,
    make: async (database, encoding = 'UTF8') => {
      await ask(`create database ${database} template template0 encoding '${encoding}'`)
      return url(database)
    },
    stop: () => endServer(server, folder),
  }
}
