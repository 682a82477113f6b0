// A database that only reads, and one that swallows every statement: readiness knows, calls are refused, and all goes on after it.
import { readFile } from 'node:fs/promises'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { createApp } from '../../src/app.ts'
import type { App } from '../../src/app.ts'
import { openLog } from '../../src/api/logging.ts'
import { readConfig } from '../../src/config.ts'
import { openDatabase } from '../../src/store/database.ts'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { startPostgres } from '../services/postgres-server.ts'
import { testDatabase } from '../support/database.ts'
import { databaseUrl } from '../support/server-process.ts'
import { tokenOf } from './api-server.ts'

const undo: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
})

async function startOn(url: string): Promise<App> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-readiness-'))
  undo.push(() => rm(folder, { recursive: true }))
  const app = await createApp(
    readConfig({
      MUSTER_PORT: '0',
      MUSTER_DATA_DIR: folder,
      MUSTER_KEY: generateMasterKey(),
      MUSTER_CLIENT_ID: 'test',
      MUSTER_CLIENT_SECRET: 'the secret of this test',
      DATABASE_URL: url,
    }),
    { log: openLog('silent') },
  )
  undo.push(() => app.close())
  return app
}

async function ask(
  url: string,
  token = '',
  body?: object,
): Promise<{ status: number; retryAfter: string | null; text: string }> {
  const response = await fetch(url, {
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  })
  const retryAfter = response.headers.get('retry-after')
  return { status: response.status, retryAfter, text: await response.text() }
}

describe('a database that has become a server that only reads', () => {
  it('makes the process not ready, refuses writes clearly, and is written again without a restart', async () => {
    const database = await testDatabase()
    undo.push(() => database.drop())
    const { url } = await startOn(databaseUrl(database.settings))
    const token = await tokenOf(url, 'test', 'the secret of this test')
    expect((await ask(`${url}/health/ready`)).status).toBe(200)

    await setReadOnly(true)
    await expect.poll(async () => (await ask(`${url}/health/ready`)).status).toBe(503)
    expect((await ask(`${url}/health/ready`)).text).toContain('It takes no writes')
    expect((await ask(`${url}/health/live`)).status).toBe(200)
    expect((await ask(`${url}/v2025/sources`, token)).status).toBe(200)
    const refused = await ask(`${url}/v2025/sources?provisionAsCsv=true`, token, {
      name: 'People',
      owner: null,
      connector: 'delimited-file-angularsc',
    })
    expect(refused).toMatchObject({
      status: 503,
      retryAfter: '5',
      text: expect.stringContaining('The database takes no writes'),
    })

    await setReadOnly(false)
    await expect.poll(async () => (await ask(`${url}/health/ready`)).status).toBe(200)
    const made = await ask(`${url}/v2025/sources?provisionAsCsv=true`, token, {
      name: 'People',
      owner: null,
      connector: 'delimited-file-angularsc',
    })
    expect(made.status).toBe(201)

    /** As after a failover: sessions are cut, and new ones meet a server that takes no writes. */
    async function setReadOnly(readOnly: boolean): Promise<void> {
      const other = openDatabase(database.settings, () => undefined, 1)
      try {
        await other.query('set default_transaction_read_only = off')
        await other.query(
          `do $$ begin execute format('alter database %I set default_transaction_read_only = ${readOnly ? 'on' : 'off'}', current_database()); end $$`,
        )
        await other.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and pid <> pg_backend_pid()`,
        )
      } finally {
        await other.close()
      }
    }
  })
})

describe('a database that swallows every statement', () => {
  it('is known within seconds, holds up no call for long, and serves again as soon as it wakes', async () => {
    const server = await startPostgres({ tls: false })
    undo.push(() => server.stop())
    await server.run('create database muster')
    const { url } = await startOn(
      `postgres://owner:${server.password}@127.0.0.1:${server.port}/muster`,
    )
    const token = await tokenOf(url, 'test', 'the secret of this test')
    expect((await ask(`${url}/v2025/sources`, token)).status).toBe(200)

    await signalAll(server.pid, 'SIGSTOP')
    try {
      await expect
        .poll(async () => (await ask(`${url}/health/ready`)).text, { timeout: 10_000 })
        .toContain('It does not answer in time.')
      expect((await ask(`${url}/health/live`)).status).toBe(200)
      // A call that comes before it is certain waits; from then on none does.
      await expect
        .poll(() => within(1_000, ask(`${url}/v2025/sources`, token)), { timeout: 20_000 })
        .toMatchObject({ status: 503, retryAfter: '5' })
      const metrics = await ask(`${url}/metrics`)
      expect(metrics.status).toBe(200)
      expect(metrics.text).toMatch(/^muster_database_up 0$/m)
    } finally {
      await signalAll(server.pid, 'SIGCONT')
    }
    await expect
      .poll(async () => (await ask(`${url}/health/ready`)).status, { timeout: 10_000 })
      .toBe(200)
    expect((await ask(`${url}/v2025/sources`, token)).status).toBe(200)
  }, 60_000)

  async function within<T>(ms: number, work: Promise<T>): Promise<T | 'late'> {
    const late = new Promise<'late'>((resolve) => {
      setTimeout(() => resolve('late'), ms)
    })
    return Promise.race([work, late])
  }

  /** The server and each of its sessions. */
  async function signalAll(pid: number, signal: NodeJS.Signals): Promise<void> {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
    for (const one of [pid, ...children.trim().split(' ').map(Number)]) process.kill(one, signal)
  }
})
