// A real PostgreSQL on a loopback port: the programs that Muster itself carries, with TLS and passwords as in the wild.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { prepareBinaries } from '../../src/store/embedded-files.ts'
import { endServer, freePort, giveAway, makeCertificate, type OwnProcess } from './own-server.ts'
import { serverFolder, serverUser, startProcess } from './own-server.ts'

/** A server with the database `hr`, the superuser `owner` and the login `reader` that may only read. */
export interface PostgresServer {
  readonly port: number
  readonly pid: number
  readonly password: string
  /** The certificate of the server, which signs itself, for `localhost`. */
  readonly certificate: string
  /** Runs statements as the owner. */
  run(text: string, values?: readonly unknown[]): Promise<pg.QueryResult<Record<string, unknown>>>
  /** Kills the server as a power cut would, or ends it. */
  stop(): Promise<void>
}

const password = 'a-password-of-the-tests'

export interface PostgresOptions {
  /** The folder `native` of another package than the one that Muster itself uses: another major version. */
  readonly native?: string
  /** Whether it speaks TLS; it does unless told not to. */
  readonly tls?: boolean
}

/** Starts it; about a second. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const { native, tls = true } = options
  const folder = serverFolder('postgresql')
  const user = serverUser.uid === undefined ? undefined : serverUser
  const binaries = await prepareBinaries({
    user,
    copyFolder: join(tmpdir(), 'muster-postgresql-programs'),
    ...(native === undefined ? {} : { native }),
  })
  const data = join(folder, 'data')
  const passwordFile = join(folder, 'password')
  writeFileSync(passwordFile, password)
  giveAway(passwordFile)
  execFileSync(
    binaries.initdb,
    [
      '-D',
      data,
      '-U',
      'owner',
      '-E',
      'UTF8',
      '--locale=C',
      '--no-sync',
      '--auth=scram-sha-256',
      `--pwfile=${passwordFile}`,
    ],
    { stdio: 'pipe', env: { LC_ALL: 'C', TZ: 'UTC' }, cwd: folder, ...serverUser },
  )
  const certificate = makeCertificate(folder)
  const port = await freePort()
  const settings = [
    `port=${port}`,
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'fsync=off',
    ...(tls
      ? ['ssl=on', `ssl_cert_file=${folder}/server.crt`, `ssl_key_file=${folder}/server.key`]
      : []),
    'timezone=America/New_York',
    'datestyle=German',
    'max_connections=40',
  ].flatMap((setting) => ['-c', setting])
  const connect = async (database: string): Promise<pg.Client> => {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'owner', password, database })
    // Some tests kill the server or its backends.
    client.on('error', () => undefined)
    await client.connect()
    return client
  }
  const server: OwnProcess = await startProcess(
    binaries.postgres,
    ['-D', data, ...settings],
    folder,
    async () => {
      try {
        const client = await connect('postgres')
        await client.end()
        return true
      } catch {
        return false
      }
    },
  )
  const first = await connect('postgres')
  await first.query('create database hr')
  await first.query(`create role reader login password '${password}'`)
  await first.end()
  const owner = await connect('hr')
  await owner.query('grant pg_read_all_data to reader')
  return {
    port,
    pid: server.pid,
    password,
    certificate,
    run: (text, values) => owner.query(text, values === undefined ? undefined : [...values]),
    stop: async () => {
      await owner.end().catch(() => undefined)
      await endServer(server, folder)
    },
  }
}
