// /metrics: names, units and labels that Prometheus expects, no secret and no id in them, and a database that cannot hold it up.
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { metricDefinitions } from '../../src/metric-definitions.ts'
import type { MetricDefinition } from '../../src/metric-definitions.ts'
import { openMetrics } from '../../src/metrics.ts'
import { startApi } from './api-server.ts'
import type { TestApi } from './api-server.ts'
import { sampleRoutes } from './sample-routes.ts'

const started: TestApi[] = []
afterEach(async () => {
  for (const api of started.splice(0)) await api.close()
})

async function start(): Promise<TestApi> {
  const api = await startApi({ routes: sampleRoutes })
  started.push(api)
  return api
}

/** One line of the text format. */
interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: string
}

function parse(text: string): {
  samples: Sample[]
  types: Map<string, string>
  helps: Set<string>
} {
  const samples: Sample[] = []
  const types = new Map<string, string>()
  const helps = new Set<string>()
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const comment = /^# (TYPE|HELP) (\S+) (.+)$/.exec(line)
    if (comment !== null) {
      if (comment[1] === 'TYPE') types.set(comment[2] ?? '', comment[3] ?? '')
      else helps.add(comment[2] ?? '')
      continue
    }
    const sample = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line)
    if (sample === null) throw new Error(`no line of the format: ${line}`)
    const labels = [...(sample[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)]
    samples.push({
      name: sample[1] ?? '',
      labels: Object.fromEntries(labels.map(([, name = '', value = '']) => [name, value])),
      value: sample[3] ?? '',
    })
  }
  return { samples, types, helps }
}

/** Units that are no base units, as they stand in names. */
const otherUnits =
  /_(?:ms|milliseconds?|micros(?:econds)?|nanoseconds?|minutes?|hours?|days?|kb|mb|gb|kib|mib|kilobytes|megabytes|percent)(?:_|$)/

describe('the metrics', () => {
  it('have names, units, kinds and help as Prometheus wants them, those of the process too', async () => {
    const metrics = openMetrics('1.2.3', true)
    const { type, text } = await metrics.read()
    expect(type).toBe('text/plain; version=0.0.4; charset=utf-8')
    const { types, helps } = parse(text)
    expect(types.size).toBeGreaterThan(30)
    const wrong = [...types].filter(
      ([name, kind]) =>
        !/^[a-z][a-z0-9_]*$/.test(name) ||
        otherUnits.test(name) ||
        !helps.has(name) ||
        (kind === 'counter') !== name.endsWith('_total'),
    )
    expect(wrong).toEqual([])
    for (const [name, { kind }] of Object.entries<MetricDefinition>(metricDefinitions)) {
      expect([name, types.get(name)]).toEqual([name, kind])
      if (kind === 'histogram') expect(name).toMatch(/_seconds$/)
      expect(name.replace(/_total$/, '')).not.toMatch(/_(?:seconds|bytes)_/)
    }
  })

  it('are on their page of the reference, each once and with their labels, and no other', () => {
    const page = readFileSync(new URL('../../docs/reference/metrics.md', import.meta.url), 'utf8')
    const told = page.split('\n').flatMap((line) => {
      const [, name = '', kind = '', labels = '', help = ''] = line
        .split('|')
        .map((cell) => cell.trim())
      return /^`\w+`$/.test(name) ? [[name.slice(1, -1), kind, labels, help]] : []
    })
    const known = Object.entries<MetricDefinition>(metricDefinitions).map(
      ([name, { kind, labels, help }]) => [
        name,
        kind,
        labels.length === 0 ? '–' : labels.map((label) => `\`${label}\``).join(', '),
        help,
      ],
    )
    expect(told).toEqual(known)
  })

  it('label calls by method, template and status, and never by what a client wrote', async () => {
    const api = await start()
    const authorization = `Bearer ${await api.token()}`
    const id = 'c0ffee00c0ffee00c0ffee00c0ffee00'
    const calls = [
      `/v2025/sources/${id}`,
      `/v2025/sources?filters=name+eq+%22canary-value%22`,
      `/no/such/path/${id}`,
      `/oauth/token?client_id=canary-client&client_secret=canary-secret`,
    ]
    for (const path of calls) {
      await (await fetch(`${api.url}${path}`, { headers: { authorization } })).arrayBuffer()
    }
    await (
      await fetch(`${api.url}/oauth/token?client_id=canary-client&client_secret=canary-secret`, {
        method: 'POST',
      })
    ).arrayBuffer()
    const response = await fetch(`${api.url}/metrics`)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    const text = await response.text()
    expect(text).not.toMatch(/canary|[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-|eyJ/)
    expect(text).not.toContain(api.clientId)
    expect(text).not.toContain(api.clientSecret)
    const { samples } = parse(text)
    const counts = samples.filter(
      ({ name }) => name === 'http_server_request_duration_seconds_count',
    )
    const routes = counts.map(({ labels }) => labels['http_route'])
    expect(routes).toContain('unmatched')
    expect(routes).toContain('/oauth/token')
    expect(routes.join(' ')).not.toContain(id)
    const allowed = new Set(
      Object.values<MetricDefinition>(metricDefinitions).flatMap(({ labels }) => [...labels, 'le']),
    )
    const names = new Set(samples.flatMap(({ labels }) => Object.keys(labels)))
    expect([...names].filter((name) => !allowed.has(name))).toEqual([])
  })

  it('count no call of health or metrics, and none as under way that has ended or was given up', async () => {
    const api = await start()
    const authorization = `Bearer ${await api.token()}`
    await (await fetch(`${api.url}/health/ready`)).arrayBuffer()
    await (await fetch(`${api.url}/metrics`)).arrayBuffer()
    // A client that begins a body and stays silent.
    const socket = connect(api.port, '127.0.0.1')
    socket.write(
      'POST /beta/sources HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n' +
        `Authorization: ${authorization}\r\nContent-Length: 100\r\n\r\n{`,
    )
    await expect.poll(() => active(api), { timeout: 5_000 }).toBe(1)
    socket.destroy()
    await expect.poll(() => active(api), { timeout: 5_000 }).toBe(0)
    const { samples } = parse(await (await fetch(`${api.url}/metrics`)).text())
    const ended = samples.filter(
      ({ name }) => name === 'http_server_request_duration_seconds_count',
    )
    expect(ended.map(({ labels }) => labels['http_route'])).not.toContain('/health/ready')
    expect(ended.map(({ labels }) => labels['http_route'])).not.toContain('/metrics')
    expect(ended.map(({ labels }) => labels['http_response_status_code'])).toContain('aborted')
  })

  async function active(api: TestApi): Promise<number> {
    // The page is made anew once a second at most.
    const { samples } = parse(await (await fetch(`${api.url}/metrics`)).text())
    return Number(
      samples.find(
        ({ name, labels }) =>
          name === 'http_server_active_requests' && labels['http_request_method'] === 'POST',
      )?.value ?? 0,
    )
  }
})

describe('what is looked up', () => {
  it('is missing, and the rest is there within its second, while the database swallows statements', async () => {
    const metrics = openMetrics('1.2.3', false)
    let asked = 0
    metrics.connect({
      queue: () => {
        asked += 1
        return new Promise(() => undefined)
      },
      pool: () => ({ total: 3, idle: 1, waiting: 7 }),
      spool: async () => {
        throw new Error('the folder is gone')
      },
      freeBytes: async () => ({ spool: 5 }),
    })
    const began = performance.now()
    const first = await metrics.read()
    expect(performance.now() - began).toBeLessThan(3_000)
    const { samples } = parse(first.text)
    const value = (name: string) =>
      samples.filter((sample) => sample.name === name).map((sample) => sample.value)
    expect(value('muster_database_up')).toEqual(['0'])
    expect(value('muster_tasks')).toEqual([])
    expect(value('muster_queue_oldest_task_age_seconds')).toEqual([])
    expect(value('muster_spool_bytes')).toEqual([])
    expect(value('muster_database_connections')).toEqual(['2', '1'])
    expect(value('muster_database_waiting_requests')).toEqual(['7'])
    expect(value('muster_disk_free_bytes')).toEqual(['5'])
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    await metrics.read()
    expect(asked, 'a look that hangs is not begun again').toBe(1)
  })

  it('tells runs by kind and outcome, attempts by their result, and what they did', async () => {
    const metrics = openMetrics('1.2.3', false)
    const begin = (attempt: number) =>
      metrics.run.begin({
        taskId: '0'.repeat(32),
        type: 'CLOUD_ACCOUNT_AGGREGATION',
        sourceId: null,
        attempt,
      })
    const first = begin(1)
    first.phase('Collecting')
    first.end('retried', null)
    const second = begin(2)
    second.phase('Collecting')
    second.phase('Applying')
    second.applied('WARNING', { read: 10, rejected: 1, created: 2, updated: 3, removed: 4 })
    second.end('ended', 'WARNING')
    const { samples } = parse((await metrics.read()).text)
    const told = Object.fromEntries(
      samples.map(({ name, labels, value }) => [
        `${name} ${Object.values(labels).join(' ')}`,
        value,
      ]),
    )
    expect(told).toMatchObject({
      'muster_runs_total cloud_account_aggregation warning': '1',
      'muster_run_attempts_total retried': '1',
      'muster_run_attempts_total ended': '1',
      'muster_rows_read_total ': '10',
      'muster_rows_rejected_total ': '1',
      'muster_accounts_changed_total created': '2',
      'muster_accounts_changed_total updated': '3',
      'muster_accounts_changed_total removed': '4',
      'muster_active_runs ': '0',
      'muster_run_phase_duration_seconds_count collecting': '2',
      'muster_run_phase_duration_seconds_count applying': '1',
    })
  })
})
