// kill -9 again and again at random moments of random loads: at the end every source is as its completed runs say.
// MUSTER_KILL_SEED repeats a sequence, MUSTER_KILL_SECONDS makes it longer.
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { fromWireId } from '../../src/core/id.ts'
import type { Database } from '../../src/store/database.ts'
import {
  csvOf,
  difference,
  expectAccounts,
  expectSound,
  model,
  type Model,
  spoolOf,
  withEmbedded,
} from '../support/kill-checks.ts'
import {
  buildServer,
  connectTo,
  embeddedServer,
  removeData,
  type ServerClient,
  type ServerProcess,
  startServer,
} from '../support/server-process.ts'

const seconds = Number(process.env['MUSTER_KILL_SECONDS'] ?? 30)
const seed = Number(process.env['MUSTER_KILL_SEED'] ?? 20_261_122)

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
function randomNumbers(from: number): () => number {
  let state = from
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Some accounts of the one before change, some go, some come; at times all are others. */
function mutated(before: Model, random: () => number, revision: string): Model {
  if (before.size === 0 || random() < 0.1)
    return model(0, 500 + Math.floor(random() * 2500), revision)
  const [change, removal] = [random() * 0.3, random() * 0.2]
  const after = new Map<string, string>()
  for (const [id, location] of before) {
    const draw = random()
    if (draw < removal) continue
    after.set(id, draw < removal + change ? revision : location)
  }
  for (const [id, location] of model(5000, 5000 + Math.floor(random() * 500), revision)) {
    if (random() < 0.7) after.set(id, location)
  }
  return after
}

it(
  `leaves every source as its completed runs say (seed ${seed}, ${seconds} s)`,
  async () => {
    const random = randomNumbers(seed)
    const build = await buildServer()
    const dataDir = await mkdtemp(join(tmpdir(), 'muster-kill-'))
    /** Every file that was ever sent, by its digest. */
    const sent = new Map<string, Model>()
    const last = new Map<string, Model>()
    const accepted = new Set<string>()
    let server: ServerProcess | undefined
    let lives = 0
    let revision = 0

    const load = async (client: ServerClient, source: string): Promise<void> => {
      revision += 1
      const wanted = mutated(last.get(source) ?? new Map(), random, `revision ${revision}`)
      const csv = csvOf(wanted)
      sent.set(createHash('sha256').update(csv).digest('hex'), wanted)
      last.set(source, wanted)
      const task = await client.upload(source, csv, random() < 0.2)
      accepted.add(task)
      await client.ended(task, 3_000)
    }

    try {
      const deadline = performance.now() + seconds * 1000
      let sources: string[] = []
      while (performance.now() < deadline) {
        lives += 1
        server = await startServer({ build, dataDir })
        const client = await connectTo(server.url)
        if (sources.length === 0) {
          sources = await Promise.all(
            ['One', 'Two', 'Three'].map((name) => client.createSource(name)),
          )
        }
        const dead = AbortSignal.timeout(200 + Math.floor(random() * 2800))
        const loads = sources.map(async (source) => {
          // What the kill cuts off fails; that is what this is about.
          while (!dead.aborted) await load(client, source).catch(() => sleep(20))
        })
        if (random() < 0.25) {
          await sleep(random() * 1000)
          const database = await embeddedServer(dataDir)
          if (database !== null) process.kill(database.pid, 'SIGKILL')
        }
        while (!dead.aborted) await sleep(10)
        await server.end('SIGKILL')
        await Promise.all(loads)
      }
      server = await startServer({ build, dataDir })
      await expect
        .poll(() => withEmbedded(dataDir, openTasks), { timeout: 60_000, interval: 200 })
        .toBe(0)
      await withEmbedded(dataDir, async (db) => {
        await expectSound(db, [spoolOf(dataDir)])
        let runs = 0
        for (const source of sources) runs += await expectChain(db, source, sent)
        const ids = [...accepted].map(fromWireId)
        const kept = await db.query('select from task where id = any($1::uuid[])', [ids])
        expect(kept.rowCount).toBe(accepted.size)
        expect(runs).toBeGreaterThan(0)
        const { rows } = await db.query(
          `select completion_status as status, attempt, count(*) from task join run on run.task_id = task.id
           group by 1, 2 order by 1, 2`,
        )
        process.stderr.write(`${lives} lives, ${accepted.size} answered: ${JSON.stringify(rows)}\n`)
      })
      const client = await connectTo(server.url)
      for (const source of sources) {
        const task = await client.upload(source, csvOf(model(0, 100, 'the end')))
        expect((await client.ended(task)).completionStatus).toBe('SUCCESS')
      }
    } finally {
      await server?.end('SIGTERM')
      await removeData(dataDir)
      await rm(build, { recursive: true, force: true })
    }
  },
  (seconds + 120) * 1000,
)

async function openTasks(db: Database): Promise<number> {
  const { rowCount } = await db.query('select from task where completed_at is null')
  return rowCount
}

/** The completed runs of a source in their order: each counted what its file changes, and the last one's is stored. */
async function expectChain(
  db: Database,
  source: string,
  sent: ReadonlyMap<string, Model>,
): Promise<number> {
  const { rows } = await db.query<{ sha256: string; attributes: object }>(
    `select encode(run.spool_sha256, 'hex') as sha256, task.attributes
     from run join task on task.id = run.task_id
     where run.source_id = $1::uuid and task.state = 'completed' order by run.feed_number`,
    [fromWireId(source)],
  )
  let before: Model = new Map()
  for (const row of rows) {
    const after = sent.get(row.sha256)
    if (after === undefined) throw new Error(`a run completed with a file that was never sent`)
    expect(row.attributes).toMatchObject(difference(before, after))
    before = after
  }
  await expectAccounts(db, source, before)
  return rows.length
}
