// The example of SQL sources as a person runs it: databases, a Muster, the command line, and the change that it proposes.
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  buildServer,
  clientId,
  clientSecret,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts'
import { mariadbMissing, startMariadb } from './mariadb-server.ts'
import { startPostgres } from './postgres-server.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const example = (name: string): string => join(root, 'examples', 'sql', name)
let build: string
let dataDir: string
let muster: ServerProcess

beforeAll(async () => {
  build = await buildServer()
  dataDir = await mkdtemp(join(tmpdir(), 'muster-sql-example-'))
  muster = await startServer({ build, dataDir, env: { MUSTER_ALLOW_PRIVATE_ADDRESSES: 'true' } })
})

afterAll(async () => {
  await muster.end('SIGTERM')
  await rm(dataDir, { recursive: true, force: true })
  await rm(build, { recursive: true, force: true })
})

async function run(program: string, given: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, given, {
    cwd: root,
    env: {
      PATH: process.env['PATH'],
      SAIL_BASE_URL: muster.url,
      SAIL_CLIENT_ID: clientId,
      SAIL_CLIENT_SECRET: clientSecret,
    },
  })
  return stdout
}

async function aggregate(name: string): Promise<string> {
  const source = ['--source', name]
  await run('npm', ['exec', '--silent', '--', 'muster', 'aggregate', ...source, '--mode', 'delta'])
  return run('npm', ['exec', '--silent', '--', 'muster', 'account', 'list', ...source, '--json'])
}

describe('the example of SQL sources', () => {
  test('works with PostgreSQL', async () => {
    const server = await startPostgres()
    try {
      await server.run(await readFile(example('postgresql.sql'), 'utf8'))
      const url = `postgres://muster_reader@127.0.0.1:${server.port}/hr`
      const output = await run(example('run.sh'), [url])
      expect(output).toMatch(/SUCCESS|COMPLETED/i)
      expect(output).toMatch(/1001.*user1001/)
      await server.run(`update staff.person set mail = 'user1003@corp.example', changed = now() where id = 1003;
        insert into staff.left_us (id) values (1002); delete from staff.person where id = 1002`)
      const accounts = await aggregate('Staff in postgresql')
      expect(accounts).toContain('user1003@corp.example')
      expect(accounts).toContain('payroll')
      expect(accounts).not.toContain('user1002')
    } finally {
      await server.stop()
    }
  }, 120_000)

  test('works with MariaDB', async () => {
    if (mariadbMissing !== null) throw new Error(mariadbMissing)
    const server = await startMariadb()
    try {
      await server.run(await readFile(example('mariadb.sql'), 'utf8'))
      const url = `mysql://muster_reader@127.0.0.1:${server.port}/staff`
      const output = await run(example('run.sh'), [url])
      expect(output).toMatch(/SUCCESS|COMPLETED/i)
      expect(output).toMatch(/1001.*user1001/)
      await server.run(`use staff; update person set mail = 'user1003@corp.example' where id = 1003;
        insert into left_us (id) values (1002); delete from person where id = 1002`)
      const accounts = await aggregate('Staff in mysql')
      expect(accounts).toContain('user1003@corp.example')
      expect(accounts).toContain('payroll')
      expect(accounts).not.toContain('user1002')
    } finally {
      await server.stop()
    }
  }, 120_000)
})
