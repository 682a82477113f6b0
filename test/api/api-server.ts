// A listening API on a database of its own, and the few calls that most tests of it begin with.
import { Writable } from 'node:stream'
import { assembleApi } from '../../src/api/assemble.ts'
import type { ApiSettings } from '../../src/api/assemble.ts'
import { ensureBootstrapClient } from '../../src/api/bootstrap.ts'
import { checkDatabase } from '../../src/api/checks.ts'
import { openLog } from '../../src/api/logging.ts'
import { watchReadiness } from '../../src/api/readiness.ts'
import type { Route } from '../../src/api/route.ts'
import { openMetrics } from '../../src/metrics.ts'
import type { Database } from '../../src/store/database.ts'
import { deploymentId } from '../../src/store/deployment.ts'
import { generateMasterKey, parseMasterKey } from '../../src/store/sealed.ts'
import { loadSigningKeys } from '../../src/store/signing-keys.ts'
import type { SigningKeys } from '../../src/store/signing-keys.ts'
import { testDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'

export interface TestApi {
  readonly url: string
  readonly port: number
  readonly db: Database
  readonly database: TestDatabase
  readonly keys: SigningKeys
  readonly deploymentId: string
  readonly clientId: string
  readonly clientSecret: string
  /** What was logged so far. */
  log(): string
  token(): Promise<string>
  drain(): void
  close(): Promise<void>
}

export interface TestApiOptions {
  /** The routes, or what makes them for the database that is made. */
  readonly routes?: readonly Route[] | ((db: Database) => readonly Route[])
  readonly settings?: Partial<ApiSettings>
}

/** Starts an API; `close` ends it and drops its database. */
export async function startApi(options: TestApiOptions = {}): Promise<TestApi> {
  const database = await testDatabase()
  const { db } = database
  const id = await deploymentId(db)
  const keys = await loadSigningKeys(db, parseMasterKey(generateMasterKey()))
  const bootstrap = await ensureBootstrapClient(db, undefined)
  const lines: string[] = []
  const sink = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk))
      done()
    },
  })
  const readiness = watchReadiness([checkDatabase(db, 1)], () => undefined)
  const metrics = openMetrics('0.0.0', false)
  const api = await assembleApi({
    db,
    keys,
    deploymentId: id,
    settings: {
      tls: undefined,
      trustProxy: false,
      rateLimit: 0,
      org: 'muster',
      ...options.settings,
    },
    log: openLog('debug', sink),
    version: '0.0.0',
    baseUrl: () => 'http://muster.test',
    pages: {
      readiness: () => readiness,
      metrics: () => metrics.read(),
    },
    isStuck: () => readiness.isStuck('database'),
    watch: metrics.api,
    routes: typeof options.routes === 'function' ? options.routes(db) : (options.routes ?? []),
  })
  const url = await api.app.listen({ host: '127.0.0.1', port: 0 })
  const clientSecret = bootstrap.clientSecret ?? ''
  return {
    url,
    port: Number(new URL(url).port),
    db,
    database,
    keys,
    deploymentId: id,
    clientId: bootstrap.clientId,
    clientSecret,
    log: () => lines.join(''),
    token: () => tokenOf(url, bootstrap.clientId, clientSecret),
    drain: () => api.drain(),
    async close() {
      await api.app.close()
      await database.drop()
    },
  }
}

/** Gets an access token the way the Go SDK does. */
export async function tokenOf(url: string, id: string, secret: string): Promise<string> {
  const response = await fetch(`${url}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: id,
      client_secret: secret,
    }),
  })
  const body = (await response.json()) as { access_token: string }
  return body.access_token
}

/** Makes a client and gives its id, secret and token. */
export async function makeClient(
  api: TestApi,
  body: Record<string, unknown>,
): Promise<{ id: string; secret: string; token: string }> {
  const response = await fetch(`${api.url}/muster/v1/clients`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await api.token()}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (response.status !== 201) throw new Error(`${response.status} ${await response.text()}`)
  const { id, secret } = (await response.json()) as { id: string; secret: string }
  return { id, secret, token: await tokenOf(api.url, id, secret) }
}
