// Runs of a SCIM source on a started server of Muster: whatever the SCIM server does, nobody is removed by a read that was not whole.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  buildServer,
  connectTo,
  removeData,
  type ServerClient,
  type ServerProcess,
  startServer,
  type TaskView,
} from '../support/server-process.ts'
import { startHostileScim, type HostileScim, type Misbehaviour } from './hostile-scim.ts'

const token = 'a-token-that-nobody-may-see'

let folder = ''
let build = ''
let server: ServerProcess
let client: ServerClient
let scim: HostileScim
let source = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-scim-'))
  build = await buildServer()
  server = await startServer({
    build,
    dataDir: join(folder, 'data'),
    env: { MUSTER_ALLOW_PRIVATE_ADDRESSES: 'true' },
  })
  client = await connectTo(server.url)
  scim = await startHostileScim()
  const made = await client.call('POST', '/sources', {
    name: 'Suite',
    owner: null,
    connector: 'scim',
    connectorAttributes: { url: scim.url, pageSize: 10, authentication: 'bearer', token },
    // Guards would keep accounts too; here only the proof may.
    deleteThreshold: 100,
  })
  source = ((await made.json()) as { id: string }).id
  expect(await aggregate()).toMatchObject({ completionStatus: 'SUCCESS' })
}, 120_000)
afterAll(async () => {
  await scim.close()
  await server.end('SIGTERM')
  await removeData(join(folder, 'data'))
  await rm(folder, { recursive: true, force: true })
  await rm(build, { recursive: true, force: true })
})

async function aggregate(): Promise<TaskView> {
  const answer = await client.call('POST', `/sources/${source}/load-accounts`)
  const { task } = (await answer.json()) as { task: { id: string } }
  return client.ended(task.id, 100_000)
}

async function accounts(): Promise<string | null> {
  const filter = encodeURIComponent(`sourceId eq "${source}"`)
  const answer = await client.call('GET', `/accounts?filters=${filter}&count=true&limit=1`)
  return answer.headers.get('x-total-count')
}

async function state(): Promise<unknown> {
  const headers = { authorization: client.authorization }
  const answer = await fetch(`${server.url}/muster/v1/sources/${source}/state`, { headers })
  expect(answer.status).toBe(200)
  return answer.json()
}

describe('a run of a SCIM source', () => {
  it.each<[Misbehaviour, RegExp]>([
    ['announcesAndSendsNone', /announced 1000 resources and sent none/],
    ['samePageForEver', /sent a resource again/],
    ['announcesTooMuch', /announced 1000000000000 resources/],
    ['noTotal', /did not say how many/],
    ['sendsMore', /announced 5 resources and sent 10/],
    ['html', /text\/html instead of JSON/],
    ['redirectToLogin', /text\/html instead of JSON/],
    ['refusesLoginOnPage2', /answered 401/],
    ['giantText', /more than 67108864 bytes/],
    ['manyValues', /more than 4000000 values/],
  ])('ends with an error when the server %s, and changes nothing', async (misbehaviour, said) => {
    scim.behave(misbehaviour)
    const before = await state()
    const task = await aggregate()
    expect(task.completionStatus).toBe('ERROR')
    expect(JSON.stringify(task.messages)).toMatch(said)
    expect(JSON.stringify(task)).not.toContain(token)
    expect(await accounts()).toBe('25')
    expect(await state()).toEqual(before)
  })

  it('works again as soon as the server does, and removes who is gone', async () => {
    scim.behave(null, 24)
    expect(await aggregate()).toMatchObject({ completionStatus: 'SUCCESS' })
    expect(await accounts()).toBe('24')
    expect(server.log()).not.toContain(token)
  })
})
