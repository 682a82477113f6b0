// SQL sources of the benchmark: a PostgreSQL and a MariaDB on loopback ports with the rows of generate.mjs in a table.
import { execFile, spawn } from 'node:child_process'
import { chmod, chown, mkdir, mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import mysql from 'mysql2/promise'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { prepareBinaries } from '../dist/store/embedded-files.js'
import { columns, row } from './generate.mjs'

const run = promisify(execFile)
// Both servers refuse to run as root.
const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}

/** A PostgreSQL with `rows` rows in the table `people`: the settings of its source, and how to end it. */
export async function preparePostgresql(rows) {
  const folder = await ownFolder('postgresql')
  const binaries = await prepareBinaries({
    user: user.uid === undefined ? undefined : user,
    copyFolder: join(tmpdir(), 'muster-postgresql-programs'),
  })
  const data = join(folder, 'data')
  await run(
    binaries.initdb,
    ['-D', data, '-U', 'bench', '-E', 'UTF8', '--locale=C', '--no-sync', '--auth=trust'],
    { cwd: folder, ...user },
  )
  const port = await freePort()
  const connect = async () => {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'bench', database: 'postgres' })
    client.on('error', () => undefined)
    await client.connect()
    return client
  }
  const settings = [
    `port=${port}`,
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'shared_buffers=512MB',
    'max_wal_size=4GB',
  ].flatMap((setting) => ['-c', setting])
  const server = start(binaries.postgres, ['-D', data, ...settings], folder)
  const client = await untilReady(connect, server, folder)
  try {
    const names = columns.map((name) => `"${name}"`)
    await client.query(`create table people (${names.map((name) => `${name} text`).join(', ')})`)
    const into = client.query(copyFrom(`copy people (${names.join(', ')}) from stdin (format csv)`))
    for (const text of blocks(rows)) {
      if (!into.write(text)) await new Promise((resolve) => into.once('drain', resolve))
    }
    into.end()
    await finished(into)
    await client.query('vacuum analyze people')
    await client.query('checkpoint')
  } finally {
    await client.end()
  }
  return {
    connector: 'postgresql',
    port,
    settings: {
      url: `postgres://bench@127.0.0.1:${port}/postgres`,
      table: 'people',
      indexColumn: 'employeeId',
    },
    close: () => end(server, folder),
  }
}

/** The same with MariaDB; null where it is not installed. */
export async function prepareMariadb(rows) {
  const folder = await ownFolder('mariadb')
  const data = join(folder, 'data')
  await mkdir(data)
  if (user.uid !== undefined) await chown(data, user.uid, user.gid)
  const options = ['--no-defaults', `--datadir=${data}`]
  try {
    await run(
      'mariadb-install-db',
      [...options, '--auth-root-authentication-method=normal', '--skip-test-db'],
      { cwd: folder, ...user },
    )
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    if (error.code === 'ENOENT') return null
    throw error
  }
  const port = await freePort()
  const settings = [
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--socket=${join(folder, 'socket')}`,
    `--pid-file=${join(folder, 'pid')}`,
    '--skip-log-bin',
    '--innodb-buffer-pool-size=512M',
    '--innodb-flush-log-at-trx-commit=0',
  ]
  const server = start('/usr/sbin/mariadbd', [...options, ...settings], folder)
  const file = join(folder, 'people.csv')
  const connect = () =>
    mysql.createConnection({
      host: '127.0.0.1',
      port,
      user: 'root',
      password: '',
      infileStreamFactory: () => blocks(rows, true),
    })
  const client = await untilReady(connect, server, folder)
  try {
    await client.query('create database hr character set utf8mb4')
    const names = columns.map((name) => `\`${name}\``)
    const types = columns.map((name) =>
      name === 'employeeId' ? 'varchar(64) primary key' : 'varchar(100)',
    )
    await client.query(
      `create table hr.people (${names.map((name, at) => `${name} ${types[at]}`).join(', ')})`,
    )
    await client.query(
      `load data local infile '${file}' into table hr.people fields terminated by ',' lines terminated by '\\n'`,
    )
    await client.query('analyze table hr.people')
  } finally {
    await client.end()
  }
  return {
    connector: 'mysql',
    port,
    settings: {
      url: `mysql://root@127.0.0.1:${port}/hr`,
      table: 'people',
      indexColumn: 'employeeId',
    },
    close: () => end(server, folder),
  }
}

function* texts(rows) {
  let text = ''
  for (let number = 0; number < rows; number += 1) {
    text += row(number)
    if (text.length > 1 << 20) {
      yield text
      text = ''
    }
  }
  yield text
}

function blocks(rows, asStream = false) {
  return asStream ? Readable.from(texts(rows), { objectMode: false }) : texts(rows)
}

async function ownFolder(name) {
  const folder = await mkdtemp(join(tmpdir(), `muster-bench-${name}-`))
  if (user.uid !== undefined) await chown(folder, user.uid, user.gid)
  await chmod(folder, 0o755)
  return folder
}

function start(program, given, folder) {
  const server = { child: null, over: false, ended: null, folder }
  server.ended = (async () => {
    const log = await open(join(folder, 'log'), 'a')
    server.child = spawn(program, given, {
      cwd: folder,
      env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', log.fd, log.fd],
      ...user,
    })
    await log.close()
    await new Promise((resolve) => server.child.once('exit', resolve))
    server.over = true
  })()
  return server
}

async function untilReady(connect, server, folder) {
  let last
  for (let attempt = 0; attempt < 600 && !server.over; attempt += 1) {
    try {
      return await connect()
    } catch (error) {
      last = error
      await sleep(50)
    }
  }
  server.child?.kill('SIGKILL')
  throw new Error(`the server did not start: ${await readFile(join(folder, 'log'), 'utf8')}`, {
    cause: last,
  })
}

async function end(server, folder) {
  server.child.kill('SIGKILL')
  await server.ended
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
}

async function freePort() {
  const probe = createServer()
  await new Promise((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const { port } = probe.address()
  await new Promise((resolve) => probe.close(resolve))
  return port
}
