// The management port: health and metrics there and only there, before the database is up and after the drain has begun.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { createApp } from '../../src/app.ts'
import { openLog } from '../../src/api/logging.ts'
import { openManagement } from '../../src/api/management.ts'
import type { Stage } from '../../src/api/health.ts'
import { watchReadiness } from '../../src/api/readiness.ts'
import type { Readiness } from '../../src/api/readiness.ts'
import { ConfigError, readConfig } from '../../src/config.ts'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { emptyDatabase } from '../support/database.ts'
import { databaseUrl } from '../support/server-process.ts'

const undo: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
})

const paths = ['/health/live', '/health/ready', '/health/started', '/metrics']

async function statuses(url: string): Promise<number[]> {
  const answers = await Promise.all(paths.map((path) => fetch(`${url}${path}`)))
  await Promise.all(answers.map((answer) => answer.arrayBuffer()))
  return answers.map((answer) => answer.status)
}

async function startOn(env: NodeJS.ProcessEnv): ReturnType<typeof createApp> {
  const database = await emptyDatabase()
  undo.push(() => database.drop())
  const folder = await mkdtemp(join(tmpdir(), 'muster-management-'))
  undo.push(() => rm(folder, { recursive: true }))
  const app = await createApp(
    readConfig({
      MUSTER_PORT: '0',
      MUSTER_DATA_DIR: folder,
      MUSTER_KEY: generateMasterKey(),
      DATABASE_URL: databaseUrl(database.settings),
      ...env,
    }),
    { log: openLog('silent') },
  )
  undo.push(() => app.close())
  return app
}

describe('a server', () => {
  it('has health and metrics on the port of the API unless it is told otherwise', async () => {
    const { url, managementUrl } = await startOn({})
    expect(managementUrl).toBeNull()
    expect(await statuses(url)).toEqual([200, 200, 200, 200])
    const ready = (await (await fetch(`${url}/health/ready`)).json()) as {
      checks: { name: string; status: string }[]
    }
    expect(ready.checks.map(({ name, status }) => `${name} ${status}`)).toEqual([
      'database UP',
      'spool UP',
      'disk UP',
      'worker UP',
      'accepting UP',
    ])
    const metrics = await (await fetch(`${url}/metrics`)).text()
    for (const line of [
      /^muster_tasks\{state="queued"\} 0$/m,
      /^muster_database_up 1$/m,
      /^muster_spool_files 0$/m,
      /^muster_disk_free_bytes\{folder="spool"\} \d{6,}/m,
      /^muster_build_info\{version="[\d.]+",node="[\d.]+"\} 1$/m,
      /^nodejs_eventloop_lag_seconds /m,
      /^process_resident_memory_bytes /m,
    ]) {
      expect(metrics).toMatch(line)
    }
  })

  it('has them on the management port and nowhere else when it is set', async () => {
    const { url, managementUrl } = await startOn({ MUSTER_MANAGEMENT_PORT: '0' })
    expect(managementUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect(await statuses(managementUrl ?? '')).toEqual([200, 200, 200, 200])
    expect(await statuses(url)).toEqual([404, 404, 404, 404])
    for (const path of ['/', '/v2025/sources', '/oauth/info', '/docs', '/health', '//x']) {
      const answer = await fetch(`${managementUrl}${path}`)
      expect([path, answer.status]).toEqual([path, 404])
    }
    const post = await fetch(`${managementUrl}/metrics`, { method: 'POST', body: 'x' })
    expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    const head = await fetch(`${managementUrl}/health/live?x=1`, { method: 'HEAD' })
    expect([head.status, await head.text()]).toEqual([200, ''])
  })

  it('is not ready while its disk has less space than it was told to keep', async () => {
    const { url } = await startOn({ MUSTER_MIN_FREE_BYTES: String(2 ** 50) })
    const ready = await fetch(`${url}/health/ready`)
    expect([ready.status, ready.headers.get('retry-after')]).toEqual([503, '5'])
    expect(await ready.json()).toMatchObject({
      status: 'DOWN',
      checks: [
        { name: 'database', status: 'UP' },
        { name: 'spool', status: 'UP' },
        { name: 'disk', status: 'DOWN', detail: expect.stringContaining('MUSTER_MIN_FREE_BYTES') },
        { name: 'worker', status: 'UP' },
        { name: 'accepting', status: 'UP' },
      ],
    })
    expect((await fetch(`${url}/health/live`)).status).toBe(200)
  })

  it('refuses a management port that is taken, and names the setting', async () => {
    const { managementUrl } = await startOn({ MUSTER_MANAGEMENT_PORT: '0' })
    const refused = startOn({ MUSTER_MANAGEMENT_PORT: new URL(managementUrl ?? '').port })
    await expect(refused).rejects.toThrow(ConfigError)
    await expect(refused).rejects.toThrow('for health and metrics: another program listens there')
  })
})

describe('the pages', () => {
  it('tell the start, the service and the end apart', async () => {
    let stage: Stage = 'starting'
    let readiness: Readiness | null = null
    const management = await openManagement(
      {
        stage: () => stage,
        readiness: () => readiness,
        metrics: async () => ({ type: 'text/plain', text: '' }),
      },
      { host: '127.0.0.1', port: 0 },
    )
    undo.push(() => management.close())
    expect(await statuses(management.url)).toEqual([200, 503, 503, 200])
    readiness = watchReadiness([], () => undefined)
    stage = 'started'
    expect(await statuses(management.url)).toEqual([200, 200, 200, 200])
    stage = 'draining'
    expect(await statuses(management.url)).toEqual([200, 503, 200, 200])
  })

  it('call a check that hangs DOWN, ask it once, and say so until it comes back', async () => {
    let asked = 0
    let comeBack: (detail: string | null) => void = () => undefined
    const changes: string[] = []
    const readiness = watchReadiness(
      [
        {
          name: 'database',
          broken: 'It does not answer.',
          look: () => {
            asked += 1
            return new Promise((resolve) => (comeBack = resolve))
          },
        },
      ],
      ({ name, status }) => changes.push(`${name} ${status}`),
    )
    const hanging = [{ name: 'database', status: 'DOWN', detail: 'It does not answer in time.' }]
    expect(await readiness.check()).toEqual(hanging)
    const began = performance.now()
    expect(await readiness.check()).toEqual(hanging)
    expect(performance.now() - began, 'the second who asks is told at once').toBeLessThan(1_000)
    expect([asked, readiness.isStuck('database')]).toEqual([1, false])
    await expect.poll(() => readiness.isStuck('database'), { timeout: 5_000 }).toBe(true)
    const later = readiness.check()
    comeBack(null)
    expect(await later).toEqual([{ name: 'database', status: 'UP' }])
    expect([readiness.isStuck('database'), changes]).toEqual([
      false,
      ['database DOWN', 'database UP'],
    ])
  })
})
