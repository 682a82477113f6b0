// kill -9 in the middle of a removal: after a restart it is done once, or the source is whole until it is.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Step } from '../../src/run/job.ts'
import { fromWireId } from '../../src/core/id.ts'
import { csvOf, expectAccounts, model, withEmbedded } from '../support/kill-checks.ts'
import {
  buildServer,
  connectTo,
  removeData,
  type ServerClient,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts'

/** More than are removed before the answer. */
const accounts = model(0, 10_001, 'first')

let build = ''
let dataDir = ''
let server: ServerProcess
let client: ServerClient

async function start(): Promise<void> {
  server = await startServer({ build, dataDir })
  client = await connectTo(server.url)
}

beforeAll(async () => {
  build = await buildServer()
  dataDir = await mkdtemp(join(tmpdir(), 'muster-kill-'))
  await start()
}, 180_000)
afterAll(async () => {
  await server?.end('SIGTERM')
  await removeData(dataDir)
  await rm(build, { recursive: true, force: true })
})

describe('the removal of all accounts that is killed', () => {
  it.each<Step>(['claimed', 'applied', 'committed'])(
    'at the step %s is finished after the restart, once',
    async (step) => {
      const source = await client.createSource(`Killed at ${step}`)
      await client.ended(await client.upload(source, csvOf(accounts)))
      await idle()
      server.at(step, 'kill')
      // The process may be gone before it has answered.
      const answer = await client
        .call('POST', `/sources/${source}/remove-accounts`)
        .catch(() => null)
      if (answer !== null) expect(answer.status).toBe(202)
      expect((await server.ended).signal).toBe('SIGKILL')
      await start()
      const id = await removalOf(source)
      expect(await client.ended(id)).toMatchObject({
        completionStatus: 'SUCCESS',
        attributes: { deleted: accounts.size },
      })
      await withEmbedded(dataDir, async (db) => {
        await expectAccounts(db, source, new Map())
        const { rows } = await db.query(
          `select count(*) as versions, count(distinct h.id) as accounts from account_history h
           join task on task.number = h.closed_run where task.id = $1::uuid and h.removed`,
          [fromWireId(id)],
        )
        expect(rows).toEqual([{ versions: accounts.size, accounts: accounts.size }])
      })
      const again = await client.ended(await client.upload(source, csvOf(accounts)))
      expect(again).toMatchObject({
        completionStatus: 'SUCCESS',
        attributes: { created: accounts.size, updated: 0, deleted: 0 },
      })
      await withEmbedded(dataDir, (db) => expectAccounts(db, source, accounts))
    },
  )
})

/** Waits until the worker is through with the upload: its last steps come after the end that clients see. */
async function idle(): Promise<void> {
  await expect
    .poll(() => withEmbedded(dataDir, async (db) => (await db.query('select from lease')).rowCount))
    .toBe(0)
}

/** The one removal of a source. */
async function removalOf(source: string): Promise<string> {
  const filter = encodeURIComponent(`type eq "ACCOUNT_DELETION" and sourceId eq "${source}"`)
  const answer = await client.call('GET', `/task-status?filters=${filter}`)
  const tasks = (await answer.json()) as { id: string }[]
  expect(tasks).toHaveLength(1)
  return tasks[0]?.id ?? ''
}
