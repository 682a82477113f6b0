// A real MariaDB of Debian's packages on a loopback port, in a folder of its own.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import mysql from 'mysql2/promise'
import { endServer, freePort, makeCertificate, serverFolder, startProcess } from './own-server.ts'
import { giveAway, serverUser } from './own-server.ts'

/** A server with the database `hr`, the user `owner` who may do all and `reader` who may only read. */
export interface MariadbServer {
  readonly port: number
  readonly pid: number
  readonly password: string
  /** The certificate of the server, which signs itself, for `localhost`. */
  readonly certificate: string
  /** A folder that the server may write to. */
  readonly folder: string
  /** Runs one statement as the owner. */
  run(text: string, values?: readonly unknown[]): Promise<unknown>
  stop(): Promise<void>
}

const password = 'a-password-of-the-tests'
const program = '/usr/sbin/mariadbd'

/** Why the tests of MariaDB cannot run here; null when they can. */
export const mariadbMissing: string | null = existsSync(program)
  ? null
  : 'MariaDB is not installed: apt-get install mariadb-server'

/** Starts it; a few seconds, most of them for its system tables. */
export async function startMariadb(): Promise<MariadbServer> {
  const folder = serverFolder('mariadb')
  const data = join(folder, 'data')
  const out = join(folder, 'out')
  execFileSync('mkdir', [data, out])
  giveAway(data)
  giveAway(out)
  execFileSync(
    'mariadb-install-db',
    [
      '--no-defaults',
      `--datadir=${data}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      '--innodb-flush-log-at-trx-commit=0',
    ],
    { stdio: 'pipe', cwd: folder, ...serverUser },
  )
  const certificate = makeCertificate(folder)
  const port = await freePort()
  const options = [
    '--no-defaults',
    `--datadir=${data}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--socket=${join(folder, 'socket')}`,
    `--pid-file=${join(folder, 'pid')}`,
    '--innodb-flush-log-at-trx-commit=0',
    '--default-time-zone=-05:00',
    '--skip-log-bin',
    `--ssl-cert=${folder}/server.crt`,
    `--ssl-key=${folder}/server.key`,
    '--innodb-buffer-pool-size=256M',
    '--secure-file-priv=',
    '--max-connections=40',
  ]
  const connect = (user: string, secret: string, database?: string): Promise<mysql.Connection> =>
    mysql.createConnection({
      host: '127.0.0.1',
      port,
      user,
      password: secret,
      multipleStatements: true,
      ...(database === undefined ? {} : { database }),
    })
  const server = await startProcess(program, options, folder, async () => {
    try {
      const root = await connect('root', '')
      await root.query(
        `create database hr character set utf8mb4;
         create user owner@'%' identified by '${password}'; grant all on *.* to owner@'%' with grant option;
         create user reader@'%' identified by '${password}'; grant select on hr.* to reader@'%';
         drop user root@localhost`,
      )
      await root.end()
      return true
    } catch {
      return false
    }
  })
  const owner = await connect('owner', password, 'hr')
  owner.on('error', () => undefined)
  return {
    port,
    pid: server.pid,
    password,
    certificate,
    folder: out,
    run: async (text, values) => {
      const [result] = await owner.query(text, values === undefined ? [] : [...values])
      return result
    },
    stop: async () => {
      owner.destroy()
      await endServer(server, folder)
    },
  }
}
