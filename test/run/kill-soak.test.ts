// A million accounts through HTTP with little memory, killed on the way. Runs when MUSTER_SOAK=1 (minutes).
import { createWriteStream, openAsBlob } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Step } from '../../src/run/job.ts'
import { accountRange } from '../../src/store/names.ts'
import { expectSound, spoolOf, withEmbedded } from '../support/kill-checks.ts'
import {
  buildServer,
  connectTo,
  peakMemoryMb,
  removeData,
  type ServerClient,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts'

const rows = Number(process.env['MUSTER_SOAK_ROWS'] ?? 1_000_000)
const heapMb = 256
/** Node's code, stacks, buffers and the collecting thread stand beside the heap. */
const mostMb = 300

describe.runIf(process.env['MUSTER_SOAK'] === '1')(
  `${rows} accounts in a heap of ${heapMb} MB`,
  () => {
    let build = ''
    let dataDir = ''
    let files = ''
    let server: ServerProcess
    let client: ServerClient
    let source = ''

    const start = async (): Promise<void> => {
      server = await startServer({
        build,
        dataDir,
        nodeArguments: [`--max-old-space-size=${heapMb}`],
      })
      client = await connectTo(server.url)
    }

    beforeAll(async () => {
      build = await buildServer()
      dataDir = await mkdtemp(join(tmpdir(), 'muster-soak-'))
      files = await mkdtemp(join(tmpdir(), 'muster-soak-files-'))
      await write(join(files, 'first.csv'), 'first', () => true)
      // One in a hundred changes, one in a thousand goes.
      await write(join(files, 'second.csv'), 'second', (row) => row % 1000 !== 7)
      await start()
      source = await client.createSource('A million')
    }, 300_000)
    afterAll(async () => {
      await server?.end('SIGTERM')
      await removeData(dataDir)
      await rm(files, { recursive: true, force: true })
      await rm(build, { recursive: true, force: true })
    }, 120_000)

    it.each<readonly [string, Step | null, object]>([
      ['first.csv', 'applied', { created: rows, updated: 0, deleted: 0 }],
      ['first.csv', null, { created: 0, updated: 0, deleted: 0 }],
      ['second.csv', 'applied', { created: 0, updated: rows / 100, deleted: rows / 1000 }],
      ['second.csv', 'staging', { created: 0, updated: 0, deleted: 0 }],
    ])(
      'loads %s, killed at %s',
      async (file, killedAt, change) => {
        if (killedAt !== null) server.at(killedAt, 'kill')
        const started = performance.now()
        const task = await upload(join(files, file))
        if (killedAt !== null) {
          await Promise.race([server.ended, client.ended(task, 300_000).catch(() => null)])
          if (!server.isRunning()) await start()
        }
        const run = await client.ended(task, 300_000)
        const seconds = (performance.now() - started) / 1000
        expect(run).toMatchObject({ completionStatus: 'SUCCESS', attributes: change })
        const peakMb = await peakMemoryMb(server.pid)
        process.stderr.write(
          `${file}, killed at ${killedAt ?? 'no step'}: ${seconds.toFixed(1)} s from the first byte, peak ${peakMb} MB\n`,
        )
        expect(peakMb).toBeLessThan(mostMb)
        await withEmbedded(dataDir, async (db) => {
          const { low, high } = accountRange(source)
          const stored = await db.query<{ accounts: number }>(
            'select count(*) as accounts from account where id >= $1::uuid and id < $2::uuid',
            [low, high],
          )
          expect(stored.rows).toEqual([
            { accounts: file === 'first.csv' ? rows : rows - rows / 1000 },
          ])
          await expectSound(db, [spoolOf(dataDir)])
        })
      },
      600_000,
    )

    const upload = async (path: string): Promise<string> => {
      const form = new FormData()
      form.append('file', await openAsBlob(path), 'accounts.csv')
      const response = await fetch(client.uploadUrl(source), {
        method: 'POST',
        headers: { authorization: client.authorization },
        body: form,
      })
      const { task } = (await response.json()) as { task: { id: string } }
      return task.id
    }
  },
)

async function write(path: string, revision: string, has: (row: number) => boolean): Promise<void> {
  const lines = function* () {
    yield 'id,name,givenName,familyName,e-mail,location,manager,groups,startDate,endDate\n'
    for (let row = 0; row < rows; row += 1) {
      if (!has(row)) continue
      const place = revision === 'second' && row % 100 === 0 ? `Room ${row} moved` : `Room ${row}`
      yield `u${row},Name ${row},Given ${row % 977},Family ${row % 7919},user${row}@example.test,${place},u${row % 1000},staff,2026-01-01,\n`
    }
  }
  const blocks = function* () {
    let block = ''
    for (const line of lines()) {
      block += line
      if (block.length < 1 << 20) continue
      yield block
      block = ''
    }
    yield block
  }
  await pipeline(Readable.from(blocks()), createWriteStream(path))
}
