// Health, draining, the rate limit, and a database that goes away and comes back.
import { afterEach, describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { openDatabase } from '../../src/store/database.ts'
import { makeClient, startApi } from './api-server.ts'
import type { TestApi } from './api-server.ts'
import { sampleRoutes } from './sample-routes.ts'

const started: TestApi[] = []

async function start(rateLimit = 0): Promise<TestApi> {
  const api = await startApi({ routes: sampleRoutes, settings: { rateLimit } })
  started.push(api)
  return api
}
afterEach(async () => {
  for (const api of started.splice(0)) await api.close()
})

async function status(api: TestApi, path: string, authorization = ''): Promise<number> {
  const headers = authorization === '' ? {} : { authorization }
  const response = await fetch(`${api.url}${path}`, { headers })
  await response.arrayBuffer()
  return response.status
}

describe('health', () => {
  it('needs no token and says what was checked', async () => {
    const api = await start()
    for (const path of ['/health/live', '/health/started', '/health/ready', '/health/ready/']) {
      const response = await fetch(`${api.url}${path}`)
      expect(response.status, path).toBe(200)
      expect(await response.json()).toMatchObject({ status: 'UP' })
    }
    const ready = await fetch(`${api.url}/health/ready`)
    expect(await ready.json()).toEqual({
      status: 'UP',
      checks: [
        { name: 'database', status: 'UP' },
        { name: 'accepting', status: 'UP' },
      ],
    })
  })
})

describe('a database that goes away', () => {
  it('makes readiness and the API say 503 until it is back, without a restart', async () => {
    const api = await start()
    const authorization = `Bearer ${await api.token()}`
    expect(await status(api, '/muster/v1/audit', authorization)).toBe(200)
    await setReachable(api, false)
    expect(await status(api, '/health/live')).toBe(200)
    const ready = await fetch(`${api.url}/health/ready`)
    expect(ready.status).toBe(503)
    const text = await ready.text()
    expect(text).toContain('"name":"database","status":"DOWN"')
    const down = await fetch(`${api.url}/muster/v1/audit`, { headers: { authorization } })
    expect(down.status).toBe(503)
    expect(Number(down.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    expect(await down.text()).toContain('503 Service unavailable')
    const token = await fetch(
      `${api.url}/oauth/token?grant_type=client_credentials&client_id=${api.clientId}&client_secret=x`,
      { method: 'POST' },
    )
    expect(token.status).toBe(503)
    await setReachable(api, true)
    expect(await status(api, '/muster/v1/audit', authorization)).toBe(200)
    // What was found is told for a quarter of a second.
    await expect.poll(() => status(api, '/health/ready')).toBe(200)
  })

  /** Closes the database to new connections and ends those there are, as a server that shuts down does. */
  async function setReachable(api: TestApi, reachable: boolean): Promise<void> {
    const { settings } = api.database
    const url = settings.connectionString === undefined ? null : new URL(settings.connectionString)
    const name = url?.pathname.slice(1) ?? settings.database ?? ''
    if (url !== null) url.pathname = '/postgres'
    const other = openDatabase(
      url === null ? { ...settings, database: 'postgres' } : { connectionString: url.href },
      () => undefined,
      1,
    )
    try {
      await other.query(`alter database ${name} allow_connections ${String(reachable)}`)
      if (reachable) return
      await other.query(
        'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1::text',
        [name],
      )
    } finally {
      await other.close()
    }
  }
})

describe('draining', () => {
  it('says not ready at once, refuses new calls and finishes those that run', async () => {
    const api = await start()
    const authorization = `Bearer ${await api.token()}`
    const slow = fetch(`${api.url}/muster/v1/slow`, { headers: { authorization } })
    await new Promise((resolve) => setTimeout(resolve, 100))
    api.drain()
    expect(await status(api, '/health/ready')).toBe(503)
    expect(await status(api, '/health/live')).toBe(200)
    const refused = await fetch(`${api.url}/beta/sources`, { headers: { authorization } })
    expect(refused.status).toBe(503)
    expect(refused.headers.get('connection')).toBe('close')
    const finished = await slow
    expect([finished.status, finished.headers.get('connection')]).toEqual([200, 'close'])
  })
})

describe('the rate limit', () => {
  it('counts a client and a version, and never health', async () => {
    const api = await start(5)
    const authorization = `Bearer ${await api.token()}`
    const statuses: number[] = []
    for (let index = 0; index < 6; index += 1) {
      statuses.push(await status(api, '/beta/sources', authorization))
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429])
    const refused = await fetch(`${api.url}/beta/sources`, { headers: { authorization } })
    expect(await refused.json()).toEqual({ message: ' Rate Limit Exceeded ' })
    expect(refused.headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
    expect(await status(api, '/v3/sources', authorization)).toBe(200)
    const other = await makeClient(api, { name: 'Other', level: 'SOURCE_ADMIN' })
    expect(await status(api, '/beta/sources', `Bearer ${other.token}`)).toBe(200)
    for (let index = 0; index < 10; index += 1) {
      expect(await status(api, '/health/ready')).toBe(200)
    }
  })

  /** The statuses of so many calls at once. */
  function call(api: TestApi, path: string, token: string, count: number): Promise<number[]> {
    return Promise.all(Array.from({ length: count }, () => status(api, path, `Bearer ${token}`)))
  }

  it('refuses the 101st request in ten seconds unless it is set to something else', async () => {
    const api = await start(readConfig({}).rateLimit)
    const token = await api.token()
    expect(new Set(await call(api, '/v2025/sources', token, 100))).toEqual(new Set([200]))
    const refused = await fetch(`${api.url}/v2025/sources`, {
      headers: { authorization: `Bearer ${token}` },
    })
    expect(refused.status).toBe(429)
    const seconds = refused.headers.get('retry-after')
    expect(seconds).toMatch(/^[1-9]\d*$/)
    expect(Number(seconds)).toBeLessThanOrEqual(10)
    // Another token of the same client is the same client.
    expect(await call(api, '/v2025/sources', await api.token(), 1)).toEqual([429])
    for (const path of ['/v2026/sources', '/sources/v1', '/muster/v1/audit']) {
      expect(await call(api, path, token, 1), path).toEqual([200])
    }
    for (const path of ['/health/live', '/oauth/info', '/docs/json']) {
      expect(await status(api, path), path).toBe(200)
    }
  })

  it('is off when it is 0', async () => {
    const api = await start(0)
    const statuses = await call(api, '/v2025/sources', await api.token(), 150)
    expect(new Set(statuses)).toEqual(new Set([200]))
  })
})
