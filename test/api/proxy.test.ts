// What a proxy in front says of the client, and what a client says who is none.
import { afterEach, describe, expect, it } from 'vitest'
import type { ServerSettings } from '../../src/api/server.ts'
import { startApi } from './api-server.ts'
import type { TestApi } from './api-server.ts'
import { sampleRoutes } from './sample-routes.ts'

let api: TestApi | undefined
afterEach(async () => {
  await api?.close()
  api = undefined
})

async function start(trustProxy: ServerSettings['trustProxy']): Promise<TestApi> {
  api = await startApi({ routes: sampleRoutes, settings: { trustProxy } })
  return api
}

const spoofed = {
  'x-forwarded-for': '203.0.113.7, 198.51.100.2',
  'x-forwarded-host': 'evil.example',
  'x-forwarded-proto': 'https',
  forwarded: 'for=203.0.113.9;host=evil.example',
  'x-real-ip': '203.0.113.8',
}

/** The address that the log tells of a call with these headers. */
async function addressOf(target: TestApi, mark: string): Promise<string> {
  await fetch(`${target.url}/beta/sources/${mark}`, { headers: spoofed })
  const line = (): string | undefined =>
    target
      .log()
      .split('\n')
      .find((one) => one.includes(`/beta/sources/${mark}`))
  await expect.poll(line).toBeDefined()
  return (JSON.parse(line() ?? '') as { address: string }).address
}

describe('headers of a proxy', () => {
  it.each<[string, string, ServerSettings['trustProxy']]>([
    ['nobody is trusted', '127.0.0.1', false],
    ['everybody is trusted', '203.0.113.7', true],
    ['one hop is trusted', '198.51.100.2', 1],
    ['this proxy is trusted', '198.51.100.2', ['127.0.0.1']],
    ['another proxy is trusted', '127.0.0.1', ['192.0.2.1']],
  ])('where %s give the address %s', async (_name, address, trustProxy) => {
    expect(await addressOf(await start(trustProxy), 'asked')).toBe(address)
  })

  it('change no link where nobody is trusted', async () => {
    const target = await start(false)
    const plain = await fetch(`${target.url}/oauth/info`)
    const answer = await fetch(`${target.url}/oauth/info`, { headers: spoofed })
    const text = await answer.text()
    expect(text).toBe(await plain.text())
    expect(text).not.toContain('evil')
  })

  it('help nobody to guess a secret more often', async () => {
    const target = await start(false)
    const statuses: number[] = []
    for (let tries = 0; tries < 12; tries += 1) {
      const answer = await fetch(`${target.url}/oauth/token`, {
        method: 'POST',
        headers: { 'x-forwarded-for': `203.0.113.${tries}` },
        body: new URLSearchParams({
          grant_type: 'client_credentials',
          client_id: target.clientId,
          client_secret: `wrong ${tries}`,
        }),
      })
      await answer.arrayBuffer()
      statuses.push(answer.status)
    }
    expect(statuses.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 401))
    expect(statuses.slice(10)).toEqual([429, 429])
  })
})
