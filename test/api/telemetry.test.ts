// OpenTelemetry: off there is no module and no socket of it; on, a receiver gets spans and metrics, without secrets or values.
import { mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest'
import { metricDefinitions } from '../../src/metric-definitions.ts'
import type { MetricName } from '../../src/metric-definitions.ts'
import { wantedSignals } from '../../src/signals.ts'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { testDatabase } from '../support/database.ts'
import { startReceiver } from '../support/otlp-receiver.ts'
import {
  buildServer,
  clientId,
  clientSecret,
  connectTo,
  databaseUrl,
  startServer,
} from '../support/server-process.ts'
import type { ServerProcess } from '../support/server-process.ts'

let build = ''
const undo: (() => Promise<unknown>)[] = []
beforeAll(async () => {
  build = await buildServer()
}, 120_000)
afterAll(() => rm(build, { recursive: true, force: true }))
afterEach(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
})

/**
 * Has a server say on SIGUSR2 how many modules of OpenTelemetry it has loaded; its interfaces are loaded always, by the
 * library of the metrics, and do nothing by themselves.
 */
const tellModules = [
  '--import',
  `data:text/javascript,${encodeURIComponent(
    `import Module from 'node:module'
     process.on('SIGUSR2', () => console.log('MODULES ' + Object.keys(Module._cache)
       .filter((name) => /@opentelemetry.(?!api.)/.test(name)).length + ' END'))`,
  )}`,
]

async function start(env: NodeJS.ProcessEnv): Promise<ServerProcess> {
  const database = await testDatabase()
  undo.push(() => database.drop())
  const dataDir = await mkdtemp(join(tmpdir(), 'muster-telemetry-'))
  undo.push(() => rm(dataDir, { recursive: true, force: true }))
  const server = await startServer({
    build,
    dataDir,
    nodeArguments: tellModules,
    env: {
      DATABASE_URL: databaseUrl(database.settings),
      MUSTER_KEY: generateMasterKey(),
      ...env,
    },
  })
  undo.push(() => server.end('SIGTERM'))
  return server
}

async function loadedModules(server: ServerProcess): Promise<number> {
  process.kill(server.pid, 'SIGUSR2')
  let found: RegExpExecArray | null = null
  await expect.poll(() => (found = /MODULES (\d+) END/.exec(server.log()))).not.toBeNull()
  return Number(found?.[1])
}

/** The TCP and UDP sockets of a process in any state, but those at the port of the API. */
async function otherSockets({ pid, url }: ServerProcess): Promise<number> {
  const port = Number(new URL(url).port).toString(16).toUpperCase().padStart(4, '0')
  const names = await readdir(`/proc/${pid}/fd`)
  const links = await Promise.all(
    names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')),
  )
  const own = new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []))
  const tables = await Promise.all(
    ['tcp', 'tcp6', 'udp', 'udp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8')),
  )
  return tables
    .flatMap((table) => table.trim().split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter((cells) => own.has(cells[9] ?? '') && cells[1]?.endsWith(`:${port}`) !== true).length
}

async function work(server: ServerProcess): Promise<{ source: string; task: string }> {
  const client = await connectTo(server.url)
  const source = await client.createSource('People')
  const task = await client.upload(source, 'id,name\n1,canary-value\n2,canary-value\n')
  await client.ended(task)
  return { source, task }
}

describe('OpenTelemetry that nobody asked for', () => {
  it('is not loaded and opens no socket', async () => {
    const server = await start({ OTEL_SERVICE_NAME: 'x', OTEL_TRACES_EXPORTER: 'none' })
    await work(server)
    expect(await loadedModules(server)).toBe(0)
    // The database of the tests is reached by a Unix socket; another one may be by TCP.
    const byTcp = inject('database').connectionString !== undefined
    if (process.platform === 'linux' && !byTcp) expect(await otherSockets(server)).toBe(0)
  }, 60_000)

  it.each([
    [{}, false, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318' }, true, true],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c:4318/v1/traces' }, true, false],
    [{ OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'http://c:4318/v1/metrics' }, false, true],
    [{ OTEL_TRACES_EXPORTER: 'otlp' }, true, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_METRICS_EXPORTER: 'none' }, true, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_SDK_DISABLED: 'true' }, false, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: ' ', OTEL_SERVICE_NAME: 'muster' }, false, false],
  ])('is asked for by %j: traces %s, metrics %s', (env, traces, metrics) => {
    expect(wantedSignals(env)).toEqual({ traces, metrics })
  })
})

describe('a receiver', () => {
  it('gets calls, runs with their phases and metrics, linked and without secrets, the last of them at the end', async () => {
    const receiver = await startReceiver()
    undo.push(() => receiver.close())
    const server = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment=test',
      OTEL_BSP_SCHEDULE_DELAY: '60000',
      OTEL_METRIC_EXPORT_INTERVAL: '60000',
    })
    expect(await loadedModules(server)).toBeGreaterThan(0)
    const { source, task } = await work(server)
    const traceId = '0af7651916cd43dd8448eb211c80319c'
    const credentials = `client_id=${clientId}&client_secret=${encodeURIComponent(clientSecret)}`
    const answer = await fetch(
      `${server.url}/oauth/token?grant_type=client_credentials&${credentials}`,
      { method: 'POST', headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` } },
    )
    const { access_token: token } = (await answer.json()) as { access_token: string }
    await (
      await fetch(`${server.url}/v2025/accounts?filters=name+eq+%22canary-value%22`, {
        headers: { authorization: `Bearer ${token}` },
      })
    ).arrayBuffer()
    await (await fetch(`${server.url}/health/ready`)).arrayBuffer()
    // Nothing is due for a minute: what comes now, comes because the server ends.
    expect(receiver.spans()).toEqual([])
    const { code } = await server.end('SIGTERM')
    expect(code).toBe(0)

    const spans = receiver.spans()
    const named = (name: string) => spans.filter((span) => span.name === name)
    const [login] = named('POST /oauth/token').filter((span) => span.traceId === traceId)
    expect(login).toMatchObject({
      parentSpanId: 'b7ad6b7169203331',
      attributes: {
        'http.request.method': 'POST',
        'http.route': '/oauth/token',
        'url.path': '/oauth/token',
        'muster.tracking_id': answer.headers.get('x-request-id'),
      },
    })
    const [upload] = named('POST /v2025/sources/:id/load-accounts')
    const [run] = named('run cloud_account_aggregation')
    expect(run?.attributes).toMatchObject({
      'muster.task.id': task,
      'muster.source.id': source,
      'muster.run.result': 'ended',
      'muster.run.outcome': expect.stringMatching(/^(success|warning)$/),
      'muster.run.read': 2,
    })
    expect(run?.links).toMatchObject([{ traceId: upload?.traceId, spanId: upload?.spanId }])
    const phases = spans.filter((span) => span.parentSpanId === run?.spanId)
    expect(phases.map(({ name }) => name)).toEqual(['collecting', 'planning', 'applying'])
    expect(spans.map(({ name }) => name).join(' ')).not.toContain('health')
    expect(receiver.resource()).toMatchObject({
      'service.name': 'muster',
      'deployment.environment': 'test',
    })

    const secrets = ['canary-value', clientSecret, encodeURIComponent(clientSecret), token]
    expect(secrets.filter((secret) => receiver.text().includes(secret))).toEqual([])
    expect(receiver.text()).not.toMatch(/client_secret|filters=|process\.command/)
    const metrics = new Set(receiver.metrics())
    expect(metrics).toContain('http.server.request.duration')
    expect(metrics).toContain('muster.runs')
    expect(metrics).toContain('muster.upload')
    expect(metrics).toContain('muster.run.phase.duration')
  }, 60_000)

  it('that is down disturbs neither the service nor its end', async () => {
    const server = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
      OTEL_BSP_SCHEDULE_DELAY: '100',
      OTEL_METRIC_EXPORT_INTERVAL: '500',
      OTEL_METRIC_EXPORT_TIMEOUT: '400',
    })
    await work(server)
    const client = await connectTo(server.url)
    for (let index = 0; index < 60; index += 1) {
      const answer = await client.call('GET', '/sources')
      await answer.arrayBuffer()
      expect(answer.status).toBe(200)
    }
    await sleep(1_500)
    const complaints = server.log().match(/telemetry cannot be sent/g) ?? []
    expect(complaints.length).toBeLessThanOrEqual(1)
    const began = performance.now()
    const { code } = await server.end('SIGTERM')
    expect(code).toBe(0)
    expect(performance.now() - began).toBeLessThan(15_000)
  }, 60_000)
})

it('tells the names that metrics have by OpenTelemetry', async () => {
  const { telemetryName } = await import('../../src/telemetry.ts')
  const page = await readFile(new URL('../../docs/reference/metrics.md', import.meta.url), 'utf8')
  for (const name of Object.keys(metricDefinitions) as MetricName[]) {
    const row = page.split('\n').find((line) => line.startsWith(`| \`${name}\``))
    expect(row).toContain(`| \`${telemetryName(name)}\` |`)
  }
})
