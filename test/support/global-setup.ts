// Starts the PostgreSQL server that all tests of a run share; TEST_DATABASE_URL names another one instead.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import type { ConnectionSettings } from '../../src/store/database.ts'
import { type Embedded, startEmbedded } from '../../src/store/embedded.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** The server of this run, by a database that tests may connect to in order to create their own. */
    database: ConnectionSettings
  }
}

let server: Embedded | undefined
let folder: string | undefined

/** Called once by vitest before the first test. */
export async function setup(project: TestProject): Promise<void> {
  const url = process.env['TEST_DATABASE_URL']
  if (url !== undefined && url !== '') {
    project.provide('database', { connectionString: url })
    return
  }
  folder = await mkdtemp(join(tmpdir(), 'muster-test-'))
  server = await startEmbedded({
    dataDir: folder,
    log: (level, message, fields) => {
      if (level !== 'info') process.stderr.write(`${message} ${JSON.stringify(fields ?? {})}\n`)
    },
  })
  project.provide('database', server.settings)
}

/** Called once by vitest after the last test. */
export async function teardown(): Promise<void> {
  await server?.stop()
  if (folder !== undefined) await rm(folder, { recursive: true })
}
