// The example of a SaaS connector does what its README says, under the official runner and as a bundle.
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import type { Settings } from '../../src/core/setting.ts'
import { saasConnector } from '../../src/connect/saas.ts'
import { drain, openTools, runConnector, using, wish } from './saas-support.ts'

const folder = fileURLToPath(new URL('../../examples/saas/', import.meta.url))
const config = { token: 'example-token', spConnEnableStatefulCommands: true }

async function readTwice(place: Settings): Promise<void> {
  await using(saasConnector.open({ ...place, config }, openTools()), async (reader) => {
    const { signal } = new AbortController()
    expect(await reader.check(signal)).toMatchObject({ connector: 'example', keyType: 'compound' })
    const [account, group] = await reader.discover(signal)
    expect(account?.identityAttribute).toBe('login')
    expect(group?.name).toBe('group')
    const request = wish(['login', 'badge', 'groups'], { identityAttribute: 'login' })
    const full = await drain(reader.read(request))
    expect(full.records.map(({ identity, key }) => `${identity} ${key}`)).toEqual([
      'user1001 f0c1',
      'user1002 f0c2',
      'user1003 f0c3',
      'user1004 f0c4',
    ])
    expect(full.records[1]?.values).toEqual(['user1002', '1002', ['staff', 'admins']])
    const delta = await drain(reader.read({ ...request, cursor: full.end.cursor }))
    expect(delta).toMatchObject({ records: [], end: { mode: 'delta', cursor: full.end.cursor } })
    const older = await drain(reader.read({ ...request, cursor: { state: { changed: 3 } } }))
    expect(older.records.map(({ identity, deleted }) => [identity, deleted])).toEqual([
      ['user1004', undefined],
      ['user1005', true],
    ])
  })
}

it('runs under the official runner', async () => {
  const running = await runConnector('index', folder)
  try {
    await readTwice({ url: running.url })
  } finally {
    await running.stop()
  }
})

it('runs as the bundle that its script makes', async () => {
  const data = await mkdtemp(join(tmpdir(), 'muster-example-'))
  try {
    const env = { ...process.env, MUSTER_DATA_DIR: data }
    await promisify(execFile)('bash', [join(folder, 'bundle.sh')], { env })
    await readTwice({ bundleRoot: data, bundle: 'connectors/example/index.js' })
  } finally {
    await rm(data, { recursive: true })
  }
})
