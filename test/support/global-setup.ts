// Starts the PostgreSQL server that all tests of a run share. TEST_DATABASE_URL names another one instead, and
// TEST_POSTGRESQL_NATIVE the programs of another version, which then run with settings that differ from Muster's own.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import type { ConnectionSettings } from '../../src/store/database.ts'
import { startEmbedded } from '../../src/store/embedded.ts'
import { startPostgres } from '../services/postgres-server.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** The server of this run, by a database that tests may connect to in order to create their own. */
    database: ConnectionSettings
  }
}

let server: { stop(): Promise<void> } | undefined
let folder: string | undefined

/** Called once by vitest before the first test. */
export async function setup(project: TestProject): Promise<void> {
  const url = process.env['TEST_DATABASE_URL']
  if (url !== undefined && url !== '') {
    project.provide('database', { connectionString: url })
    return
  }
  const native = process.env['TEST_POSTGRESQL_NATIVE']
  if (native !== undefined && native !== '') {
    const own = await startPostgres({ native, tls: false })
    server = own
    const login = `owner:${encodeURIComponent(own.password)}`
    const connectionString = `postgres://${login}@127.0.0.1:${own.port}/postgres`
    project.provide('database', { connectionString })
    return
  }
  folder = await mkdtemp(join(tmpdir(), 'muster-test-'))
  const embedded = await startEmbedded({
    dataDir: folder,
    log: (level, message, fields) => {
      if (level !== 'info') process.stderr.write(`${message} ${JSON.stringify(fields ?? {})}\n`)
    },
  })
  server = embedded
  project.provide('database', embedded.settings)
}

/** Called once by vitest after the last test. */
export async function teardown(): Promise<void> {
  await server?.stop()
  if (folder !== undefined) await rm(folder, { recursive: true })
}
