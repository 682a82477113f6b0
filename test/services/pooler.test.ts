// muster doctor before a real PgBouncer: in transaction mode it says so, in session mode it is content.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createConnection } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Finding } from '../../src/core/finding.ts'
import { examineDatabase } from '../../src/examine-database.ts'
import { endServer, freePort, giveAway, serverFolder, startProcess } from './own-server.ts'
import { startPostgres } from './postgres-server.ts'
import type { PostgresServer } from './postgres-server.ts'

let server: PostgresServer
beforeAll(async () => {
  server = await startPostgres({ tls: false })
})
afterAll(() => server.stop())

/** Examines the database through a pooler of its own with these settings. */
async function through(settings: readonly string[]): Promise<readonly Finding[]> {
  const folder = serverFolder('pgbouncer')
  const port = await freePort()
  const users = join(folder, 'users.txt')
  writeFileSync(users, `"owner" "${server.password}"\n`)
  const file = join(folder, 'pgbouncer.ini')
  writeFileSync(
    file,
    [
      '[databases]',
      `hr = host=127.0.0.1 port=${server.port} dbname=hr`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      'unix_socket_dir =',
      'auth_type = scram-sha-256',
      `auth_file = ${users}`,
      ...settings,
      '',
    ].join('\n'),
  )
  for (const path of [users, file]) giveAway(path)
  const pooler = await startProcess('pgbouncer', [file], folder, () => answers(port))
  try {
    return await examineDatabase(
      `postgres://owner:${encodeURIComponent(server.password)}@127.0.0.1:${port}/hr`,
    )
  } finally {
    await endServer(pooler, folder)
  }
}

async function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

const bad = (findings: readonly Finding[]): readonly string[] =>
  findings.filter(({ outcome }) => outcome === 'fail').map(({ name }) => name)

describe('doctor and a pooler', () => {
  it('finds that it gives sessions away after each transaction', async () => {
    const findings = await through([
      'pool_mode = transaction',
      'ignore_startup_parameters = options,extra_float_digits',
    ])
    expect(bad(findings)).toEqual(['pooler'])
    expect(findings.find(({ name }) => name === 'pooler')).toMatchObject({
      finding: expect.stringContaining('transaction mode'),
      advice: expect.stringContaining('session mode'),
    })
  })

  it('is content with one that keeps them', async () => {
    const findings = await through([
      'pool_mode = session',
      'ignore_startup_parameters = options,extra_float_digits',
    ])
    expect(bad(findings)).toEqual([])
  })

  it('says what to do where it refuses the options of a session', async () => {
    const findings = await through(['pool_mode = transaction'])
    expect(bad(findings)).toEqual(['database'])
    expect(findings[0]?.finding).toContain('is a pooler')
    expect(JSON.stringify(findings)).not.toContain(server.password)
  })
})
