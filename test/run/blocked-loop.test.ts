// An event loop that stands still for five seconds, as after a pause of the machine: the lease outlasts it.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { testDatabase } from '../support/database.ts'
import { buildServer, connectTo, databaseUrl, startServer } from '../support/server-process.ts'

let build = ''
beforeAll(async () => {
  build = await buildServer()
}, 120_000)
afterAll(() => rm(build, { recursive: true, force: true }))

/** Has the process do nothing else for five seconds on SIGUSR2. */
const block = [
  '--import',
  `data:text/javascript,${encodeURIComponent(
    `process.on('SIGUSR2', () => {
       const until = Date.now() + 5000
       console.log('BLOCKED')
       while (Date.now() < until);
     })`,
  )}`,
]

it('keeps its lease, and the run ends at its first attempt', async () => {
  const database = await testDatabase()
  const folder = await mkdtemp(join(tmpdir(), 'muster-blocked-'))
  const common = { DATABASE_URL: databaseUrl(database.settings), MUSTER_KEY: generateMasterKey() }
  const spool = { MUSTER_SPOOL_DIR: join(folder, 'spool'), MUSTER_SPOOL_SHARED: 'true' }
  const env = { ...common, ...spool }
  const servers = await Promise.all(
    ['one', 'two'].map((name) =>
      startServer({
        build,
        dataDir: join(folder, name),
        env,
        nodeArguments: block,
      }),
    ),
  )
  try {
    const [one, two] = servers
    if (one === undefined || two === undefined) throw new Error('two servers were started')
    // Whichever of them takes the run stands still in it; the other would take it over if the lease ran out.
    for (const server of servers) server.at('staged', 'hold')
    const client = await connectTo(one.url)
    const source = await client.createSource('People')
    const rows = Array.from({ length: 500 }, (_, index) => `${index},name ${index}`)
    const task = await client.upload(source, `id,name\n${rows.join('\n')}\n`)
    const holder = await Promise.race(servers.map((server) => server.held().then(() => server)))
    process.kill(holder.pid, 'SIGUSR2')
    await expect.poll(() => holder.log()).toContain('BLOCKED')
    holder.go()
    const other = await connectTo((holder === one ? two : one).url)
    const ended = await other.ended(task)
    expect(ended.completionStatus).toMatch(/^(SUCCESS|WARNING)$/)
    expect(ended.attributes).toMatchObject({ created: 500 })
    const { rows: attempts } = await database.db.query('select attempt from task')
    expect(attempts).toEqual([{ attempt: 1 }])
    const metrics = async (): Promise<string> => (await fetch(`${holder.url}/metrics`)).text()
    const counted = /^muster_run_attempts_total\{result="ended"\} 1$/m
    await expect.poll(metrics, { timeout: 10_000 }).toMatch(counted)
  } finally {
    await Promise.all(servers.map((server) => server.end('SIGTERM')))
    await database.drop()
    await rm(folder, { recursive: true, force: true })
  }
}, 120_000)
