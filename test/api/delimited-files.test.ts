import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  buildServer,
  connectTo,
  peakMemoryMb,
  removeData,
  startServer,
} from '../support/server-process.ts'
import type { ServerClient, ServerProcess, TaskView } from '../support/server-process.ts'

const maxUploadBytes = 20_000_000
let folder = ''
let dataDir = ''
let build = ''
let server: ServerProcess
let client: ServerClient

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-delimited-'))
  dataDir = join(folder, 'data')
  build = await buildServer()
  const env = { MUSTER_MAX_UPLOAD_BYTES: String(maxUploadBytes) }
  server = await startServer({ build, dataDir, env })
  client = await connectTo(server.url)
}, 120_000)
afterAll(async () => {
  await server.end('SIGTERM')
  await removeData(dataDir)
  await rm(folder, { recursive: true, force: true })
  await rm(build, { recursive: true, force: true })
})

async function patch(source: string, steps: readonly object[]): Promise<Response> {
  return fetch(`${server.url}/v2025/sources/${source}`, {
    method: 'PATCH',
    headers: {
      authorization: client.authorization,
      'content-type': 'application/json-patch+json',
    },
    body: JSON.stringify(steps),
  })
}

async function setFilter(source: string, value: unknown): Promise<Response> {
  return patch(source, [{ op: 'add', path: '/connectorAttributes/filterString', value }])
}

/** Uploads bytes under a name, and gives the task when it has ended. */
async function load(source: string, bytes: Uint8Array, name: string): Promise<TaskView> {
  const form = new FormData()
  form.append('file', new Blob([bytes]), name)
  const answer = await fetch(client.uploadUrl(source), {
    method: 'POST',
    headers: { authorization: client.authorization },
    body: form,
  })
  expect(answer.status).toBe(202)
  const { task } = (await answer.json()) as { task: { id: string } }
  return client.ended(task.id)
}

async function names(source: string): Promise<string[]> {
  const answer = await client.call(
    'GET',
    `/accounts?filters=${encodeURIComponent(`sourceId eq "${source}"`)}`,
  )
  const accounts = (await answer.json()) as { nativeIdentity: string }[]
  return accounts.map((account) => account.nativeIdentity).toSorted()
}

async function run(id: string): Promise<Record<string, unknown>> {
  const answer = await fetch(`${server.url}/muster/v1/runs/${id}`, {
    headers: { authorization: client.authorization },
  })
  return (await answer.json()) as Record<string, unknown>
}

const csv = 'id,name,e-mail\nm1,Ann,a@x\nn2,Bob,\n'

describe('the filterString of a source', () => {
  it('is refused at its place when it cannot be read, however deep or long it is, and nothing is kept of it', async () => {
    const source = await client.createSource('Filtered')
    for (const [filter, reason] of [
      ['('.repeat(20_000), 'longer than 10000 characters'],
      [`${'('.repeat(4000)}id == "x"${')'.repeat(4000)}`, 'more than 50 parentheses'],
      ['!'.repeat(9_999), 'more than 50 parentheses'],
      ['id = "x"', 'is wrong at character 4: = means nothing here'],
      [17, 'is not a text'],
    ] as const) {
      const refused = await setFilter(source, filter)
      expect(refused.status).toBe(400)
      const text = await refused.text()
      expect(text).toContain('connectorAttributes.filterString')
      expect(text).toContain(reason)
    }
    const shown = (await (await client.call('GET', `/sources/${source}`)).json()) as {
      connectorAttributes: object
    }
    expect(Object.keys(shown.connectorAttributes)).not.toContain('filterString')
  })

  it('drops what it matches, as the example of ISC writes it', async () => {
    const source = await client.createSource('Dropping')
    expect((await setFilter(source, '!( id.contains( "m" ) )')).status).toBe(200)
    const task = await load(source, Buffer.from(csv), 'hr.csv')
    expect(task.attributes).toMatchObject({ created: 1, ignored: 1 })
    expect(await names(source)).toEqual(['m1'])
  })
})

describe('an upload that is gzip', () => {
  it('is loaded whatever its name is, and the run tells of the file as it was sent', async () => {
    const source = await client.createSource('Packed')
    const packed = gzipSync(csv)
    const first = await load(source, packed, 'hr.csv.gz')
    expect(first).toMatchObject({ attributes: { created: 2 } })
    expect(await run(first.id)).toMatchObject({ bytes: packed.length, fileName: 'hr.csv.gz' })
    const second = await load(source, gzipSync(csv.replace('Ann', 'Anne')), 'blob')
    expect(second.attributes).toMatchObject({ updated: 1, optimized: 1, deleted: 0 })
    expect(await names(source)).toEqual(['m1', 'n2'])
  })

  it('is stopped at the limit of uploads by its task, in little memory, and nothing stays on the disk', async () => {
    const source = await client.createSource('Bombed')
    await load(source, Buffer.from(csv), 'hr.csv')
    const before = await peakMemoryMb(server.pid)
    const bomb = gzipSync(Buffer.alloc(1_000_000_000), { level: 9 })
    expect(bomb.length).toBeLessThan(maxUploadBytes)
    const task = await load(source, bomb, 'hr.csv.gz')
    expect(task.completionStatus).toBe('ERROR')
    expect(task.attributes['errorCode']).toBe('unpacked_too_large')
    expect(task.messages[0]?.key).toContain(`more than the limit of ${maxUploadBytes} bytes`)
    expect((await peakMemoryMb(server.pid)) - before).toBeLessThan(100)
    expect(await names(source)).toEqual(['m1', 'n2'])
    const left = async (): Promise<string[]> =>
      (await readdir(join(dataDir, 'spool'))).filter((name) => /^(?:incoming|upload)-/.test(name))
    await expect.poll(left, { timeout: 10_000 }).toEqual([])
  })
})

describe('the columns of a file', () => {
  it('are compared with those of the run before, which the run shows', async () => {
    const source = await client.createSource('Drifting')
    const first = await load(source, Buffer.from(csv), 'hr.csv')
    const second = await load(source, Buffer.from('id,name,floor\nm1,Ann,3\nn2,Bob,4\n'), 'hr.csv')
    expect((await run(second.id))['drift']).toMatchObject({
      comparedWith: first.id,
      added: ['floor'],
      removed: ['e-mail'],
      extra: ['floor'],
    })
    expect(second.messages.map(({ type, key }) => `${type}: ${key}`)).toContainEqual(
      'WARN: Since the last completed run the columns have lost "e-mail" and gained "floor".',
    )
  })
})
