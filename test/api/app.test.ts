// The whole program: starts, serves, stops, and starts again.
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { createApp } from '../../src/app.ts'
import type { App } from '../../src/app.ts'
import { ConfigError, readConfig } from '../../src/config.ts'
import { openLog } from '../../src/api/logging.ts'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { emptyDatabase } from '../support/database.ts'
import { tokenOf } from './api-server.ts'

const undo: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
})

const log = openLog('silent')

async function startOn(env: NodeJS.ProcessEnv): Promise<App> {
  const app = await createApp(readConfig({ MUSTER_PORT: '0', ...env }), { log })
  undo.push(() => app.close())
  return app
}

async function dataFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-app-'))
  undo.push(() => rm(folder, { recursive: true }))
  return folder
}

it('serves from an empty folder, shows the secret once, and knows its client after a restart', async () => {
  const MUSTER_DATA_DIR = await dataFolder()
  const first = await startOn({ MUSTER_DATA_DIR })
  const { clientId, clientSecret } = first.bootstrap
  expect(clientSecret).toMatch(/^[0-9a-f]{64}$/)
  const token = await tokenOf(first.url, clientId, clientSecret ?? '')
  await first.close()
  await first.close()
  const second = await startOn({ MUSTER_DATA_DIR })
  expect(second.bootstrap).toEqual({ clientId, clientSecret: null })
  const response = await fetch(`${second.url}/v2025/sources`, {
    headers: { authorization: `Bearer ${token}` },
  })
  expect(response.status).toBe(200)
  const info = await fetch(`${second.url}/oauth/info`)
  expect(await info.json()).toMatchObject({ tokenEndpoint: `${second.url}/oauth/token` })
})

it('two that start at once on an empty database end with one key and one client', async () => {
  const database = await emptyDatabase()
  undo.push(() => database.drop())
  const env = {
    DATABASE_URL: urlOf(database.settings),
    MUSTER_KEY: generateMasterKey(),
    MUSTER_DATA_DIR: await dataFolder(),
  }
  // Two processes never share a spool folder unless told so.
  const other = { ...env, MUSTER_DATA_DIR: await dataFolder() }
  const [one, two] = await Promise.all([startOn(env), startOn(other)])
  expect(one.bootstrap.clientId).toBe(two.bootstrap.clientId)
  const secrets = [one.bootstrap.clientSecret, two.bootstrap.clientSecret].filter(
    (secret) => secret !== null,
  )
  expect(secrets).toHaveLength(1)
  const token = await tokenOf(one.url, one.bootstrap.clientId, secrets[0] ?? '')
  const response = await fetch(`${two.url}/v2025/sources`, {
    headers: { authorization: `Bearer ${token}` },
  })
  expect(response.status).toBe(200)
})

it('keeps the client of its settings up to date and never shows its secret', async () => {
  const database = await emptyDatabase()
  undo.push(() => database.drop())
  const env = {
    DATABASE_URL: urlOf(database.settings),
    MUSTER_KEY: generateMasterKey(),
    MUSTER_DATA_DIR: await dataFolder(),
    MUSTER_CLIENT_ID: 'ci',
    MUSTER_CLIENT_SECRET: 'the first secret',
  }
  const other = { ...env, MUSTER_DATA_DIR: await dataFolder() }
  const apps = await Promise.all([startOn(env), startOn(other)])
  expect(apps.map((app) => app.bootstrap)).toEqual([
    { clientId: 'ci', clientSecret: null },
    { clientId: 'ci', clientSecret: null },
  ])
  expect(await tokenOf(apps[0].url, 'ci', 'the first secret')).toBeTypeOf('string')
  for (const app of apps) await app.close()
  const changed = await startOn({ ...env, MUSTER_CLIENT_SECRET: 'the second secret' })
  expect(await tokenOf(changed.url, 'ci', 'the first secret')).toBeUndefined()
  expect(await tokenOf(changed.url, 'ci', 'the second secret')).toBeTypeOf('string')
})

it('a port that is taken is refused with the way out, and nothing is left running', async () => {
  const MUSTER_DATA_DIR = await dataFolder()
  const first = await startOn({ MUSTER_DATA_DIR })
  const other = await dataFolder()
  const refused = startOn({
    MUSTER_DATA_DIR: other,
    MUSTER_PORT: new URL(first.url).port,
  })
  await expect(refused).rejects.toThrow(ConfigError)
  await expect(refused).rejects.toThrow('another program listens there')
  const again = await startOn({ MUSTER_DATA_DIR: other })
  expect(again.url).not.toBe(first.url)
})

it('a wrong master key is refused at the start', async () => {
  const database = await emptyDatabase()
  undo.push(() => database.drop())
  const env = { DATABASE_URL: urlOf(database.settings), MUSTER_DATA_DIR: await dataFolder() }
  const first = await startOn({ ...env, MUSTER_KEY: generateMasterKey() })
  await first.close()
  await expect(startOn({ ...env, MUSTER_KEY: generateMasterKey() })).rejects.toThrow('master key')
})

it('stops while a client keeps an idle connection', async () => {
  const app = await startOn({ MUSTER_DATA_DIR: await dataFolder() })
  const { port, hostname } = new URL(app.url)
  const socket = connect(Number(port), hostname)
  const ended = new Promise((resolve) => socket.once('close', resolve))
  await new Promise((resolve) => {
    socket.once('data', resolve)
    socket.write('GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n')
  })
  const begin = performance.now()
  await app.close()
  await ended
  expect(performance.now() - begin).toBeLessThan(5_000)
})

function urlOf(settings: Awaited<ReturnType<typeof emptyDatabase>>['settings']): string {
  if (settings.connectionString !== undefined) return settings.connectionString
  // As parameters: a socket folder is no host name of a URL.
  const { host = '', port = 5432, user = '', password = '', database = '' } = settings
  const where = new URLSearchParams({ host, port: String(port), user, password })
  return `postgres:///${database}?${where.toString()}`
}
