// Connectors behind a URL: the official runner of npm with connectors of its SDK, and servers that do what it does not.
import { createServer, type RequestListener, type Server } from 'node:http'
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Settings } from '../../src/core/setting.ts'
import { saasConnector } from '../../src/connect/saas.ts'
import { drain, openTools, type Running, runConnector, using, wish } from './saas-support.ts'

const names = ['id', 'name', 'badge', 'active', 'groups']

let directory: Running
let faulty: Running

beforeAll(async () => {
  directory = await runConnector('directory')
  faulty = await runConnector('faulty')
})

afterAll(async () => {
  await directory.stop()
  await faulty.stop()
})

/** Reads all accounts of a connector. */
function readAll(settings: Settings, given: Parameters<typeof wish>[1] = {}, slowMs = 0) {
  return using(saasConnector.open(settings, openTools()), (reader) =>
    drain(reader.read(wish(names, given)), slowMs),
  )
}

describe('a connector under the official runner', () => {
  it('is found with and without a path, checked and described', async () => {
    const config = { token: 'open-sesame' }
    for (const url of [directory.url, `${directory.url}/`, `${directory.url}/a/b`]) {
      await using(saasConnector.open({ url, config }, openTools()), async (reader) => {
        expect(await reader.check(new AbortController().signal)).toEqual({
          connector: 'directory',
          commands: 'std:account:list std:account:read std:test-connection std:entitlement:list',
          keyType: 'simple',
          supportsStatefulCommands: true,
        })
      })
    }
  })

  it('says why a check fails, without the secret that it prints', async () => {
    const open = saasConnector.open(
      { url: directory.url, config: { token: 'wrong-token' } },
      openTools(),
    )
    await using(open, async (reader) => {
      await expect(reader.check(new AbortController().signal)).rejects.toMatchObject({
        code: 'connector_failed',
        message: 'The connector failed: bad token ******.',
        temporary: false,
      })
    })
  })

  it('gives its accounts with every digit, and its entitlements', async () => {
    const { records, end } = await readAll({ url: directory.url })
    expect(records.map(({ identity }) => identity)).toEqual([
      'user-1',
      'user-2',
      'user-3',
      'user-4',
      'user-5',
    ])
    expect(records[2]).toEqual({
      identity: 'user-3',
      disabled: false,
      locked: false,
      values: ['user-3', 'User 3', '9007199254740992', 'false', ['staff', 'readers']],
    })
    expect(records[4]?.disabled).toBe(true)
    expect(end).toMatchObject({ mode: 'full', expected: null, cursor: null })
    expect(end.proof).toContain('cleanly')
    await using(saasConnector.open({ url: directory.url }, openTools()), async (reader) => {
      const found = await drain(
        reader.entitlements?.(wish(['id', 'name'], { objectType: 'group' })),
      )
      expect(found.records.map(({ values }) => values)).toEqual([
        ['staff', 'The staff'],
        ['readers', 'The readers'],
      ])
    })
  })

  it('takes the schemas of the specification when the connector discovers none', async () => {
    await using(saasConnector.open({ url: directory.url }, openTools()), async (reader) => {
      const [account, group] = await reader.discover(new AbortController().signal)
      expect(account).toMatchObject({ name: 'account', identityAttribute: 'id' })
      expect(account?.attributes.map(({ name, type }) => `${name} ${type}`)).toEqual([
        'id STRING',
        'name STRING',
        'badge LONG',
        'active BOOLEAN',
        'groups STRING',
      ])
      expect(account?.attributes[4]).toMatchObject({ isMulti: true, isEntitlement: true })
      expect(group).toMatchObject({ name: 'group', displayAttribute: 'name' })
    })
  })

  it('gives one account, and null for one that is not there', async () => {
    await using(saasConnector.open({ url: directory.url }, openTools()), async (reader) => {
      expect(await reader.readOne?.('user-2', wish(['name']))).toMatchObject({
        identity: 'user-2',
        values: ['User 2'],
      })
      expect(await reader.readOne?.('user-99', wish(['name']))).toBeNull()
    })
  })

  it('has a stable key by compound and legacy ids, and a list that mixes them is none', async () => {
    for (const keys of ['compound', 'legacy']) {
      const { records } = await readAll({ url: directory.url, config: { keys } })
      expect(records[0]).toMatchObject({ identity: 'user-1', key: 'uuid-1' })
    }
    await expect(readAll({ url: directory.url, config: { keys: 'mixed' } })).rejects.toMatchObject({
      code: 'connector_record_bad',
    })
  })

  it('reads a delta from the state of the last read, with what was deleted', async () => {
    const settings = { url: directory.url, config: { spConnEnableStatefulCommands: true } }
    const full = await readAll(settings)
    expect(full.end).toMatchObject({ mode: 'full', cursor: { state: { since: 1 } } })
    expect(full.end.proof).toContain('after its state')
    const delta = await readAll(settings, { cursor: full.end.cursor })
    expect(delta.end).toMatchObject({ mode: 'delta', cursor: { state: { since: 2 } } })
    expect(delta.records.map(({ identity, deleted }) => [identity, deleted])).toEqual([
      ['user-1', undefined],
      ['user-2', true],
    ])
    // Without the switch the connector is not asked for states.
    expect((await readAll({ url: directory.url })).end.cursor).toBeNull()
  })

  it('hands on what the connector wants changed in its configuration', async () => {
    const { end } = await readAll({ url: directory.url, config: { patch: true } })
    expect(end.patches).toEqual([
      { op: 'replace', path: '/connectorAttributes/config/token', value: 'fresh' },
      { op: 'remove', path: '/connectorAttributes/config/old' },
    ])
  })

  it('shows that it lives by empty pages, and stops at a limit without a proof', async () => {
    const config = { keepAlive: true, pauseEvery: 1, pauseMs: 20 }
    const { records, pages } = await readAll({ url: directory.url, config })
    expect(records).toHaveLength(5)
    expect(pages).toBeGreaterThan(5)
    // Also while a long answer is asked for again.
    const long = { count: 50, filler: 400, pauseEvery: 10, pauseMs: 20 }
    const again = await readAll({ url: directory.url, config: long })
    expect(again.records).toHaveLength(50)
    expect(again.pages).toBeGreaterThan(10)
    const limited = await readAll({ url: directory.url, config: { count: 5000 } }, { limit: 3 })
    expect(limited.records).toHaveLength(3)
    expect(limited.end).toMatchObject({ proof: null, cursor: null })
  })

  it('never has a proof for less than the whole list, though the runner cuts long answers', async () => {
    // 40,000 accounts in one go: the runner of 1.1.17 nearly always ends such an answer cleanly long before its end.
    const settings = { url: directory.url, config: { count: 40_000, filler: 300 } }
    const outcome = await readAll(settings).then(
      ({ records }) => records.length,
      (error: unknown) => Reflect.get(Object(error), 'code'),
    )
    expect([40_000, 'connector_answer_cut']).toContain(outcome)
  })

  it('gives all of a list that it sends in pages, however slow the consumer is', async () => {
    const config = { count: 6000, filler: 300, pauseEvery: 200, pauseMs: 10 }
    const { records, end } = await readAll({ url: directory.url, config }, {}, 5)
    expect(records).toHaveLength(6000)
    expect(end.proof).toContain('6000th')
  })
})

describe('a faulty connector under the official runner', () => {
  it.each([
    ['throws at once', 'connector_failed', 'the system said no to ******'],
    ['throws within', 'connector_failed', 'the connection to the system broke'],
    ['state, then error', 'connector_failed', 'after the state'],
    ['state that is none', 'connector_record_bad', 'no JSON object'],
    ['marks incomplete', 'connector_record_bad', 'incomplete'],
    ['sends no id', 'connector_record_bad', 'without an id'],
    ['patches a prototype', 'connector_record_bad', 'forbidden path'],
    ['sends a long line', 'connector_limit', '262144 bytes'],
    ['hangs', 'silent', 'sent nothing for 1 seconds'],
  ])('fails the read when it %s', async (fault, code, words) => {
    const config = { fault, password: 'hunter2-secret' }
    const error: unknown = await readAll({ url: faulty.url, silenceSeconds: 1, config }).catch(
      (reason: unknown) => reason,
    )
    expect(error).toMatchObject({ code })
    expect(String(error)).toContain(words)
    expect(String(error)).not.toMatch(/hunter2|second line|\.js/)
  })

  it('fails the read when it exits, which takes the runner with it', async () => {
    for (const fault of ['exits within', 'exits 137', 'rejects later']) {
      const running = await runConnector('faulty')
      try {
        await expect(readAll({ url: running.url, config: { fault } })).rejects.toMatchObject({
          code: 'answer_broken',
          temporary: true,
        })
      } finally {
        await running.stop()
      }
    }
  })

  it('ends with zero records when it sends none', async () => {
    const { records, end } = await readAll({ url: faulty.url, config: { fault: 'nothing' } })
    expect(records).toEqual([])
    expect(end.proof).not.toBeNull()
  })
})

describe('another server behind the URL', () => {
  let server: Server | undefined

  afterEach(() => {
    server?.closeAllConnections()
    server?.close()
  })

  async function serve(listener: RequestListener): Promise<string> {
    server = createServer(listener).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`
  }

  it('is asked only under the path that answered, with the token of the source', async () => {
    const paths: string[] = []
    const url = await serve((request, response) => {
      paths.push(`${request.url} ${request.headers.authorization}`)
      if (request.url === '/') response.writeHead(404).end('<!DOCTYPE html><p>Cannot POST /')
      else response.end('{"data":{},"type":"output"}\n')
    })
    await using(
      saasConnector.open({ url, token: 'for-the-proxy' }, openTools()),
      async (reader) => {
        await reader.check(new AbortController().signal)
      },
    )
    expect(paths).toEqual([
      '/ Bearer for-the-proxy',
      '/invoke Bearer for-the-proxy',
      '/invoke Bearer for-the-proxy',
    ])
  })

  it.each([
    ['a login page', 200, '<!doctype html><p>Log in', 'connector_failed'],
    ['401', 401, '{}', 'connector_failed'],
    ['404 everywhere', 404, '<html>', 'connector_failed'],
    ['413', 413, '<html>', 'connector_failed'],
    ['500 with a word', 500, 'unsupported command: std:account:list', 'connector_unsupported'],
  ])('fails the read with %s', async (_, status, body, code) => {
    const url = await serve((_request, response) => response.writeHead(status).end(body))
    await expect(readAll({ url })).rejects.toMatchObject({ code, temporary: false })
  })

  it('is asked three times for a long list, and all answers must end at the same record', async () => {
    let counts: number[] = []
    let asked = 0
    const url = await serve((_, response) => {
      const count = counts[asked] ?? 0
      asked += 1
      for (let number = 1; number <= count; number += 1) {
        const data = { identity: `user-${number}`, attributes: { name: 'x'.repeat(100) } }
        response.write(`${JSON.stringify({ data, type: 'output' })}\n`)
      }
      response.end()
    })
    const outcome = async (given: readonly number[], settings: Settings = {}) => {
      counts = [...given]
      asked = 0
      const result = await readAll({ url, ...settings }).then(
        ({ end }) => end.proof,
        (error: unknown) => String(error),
      )
      return `${asked}: ${result}`
    }
    const cut = (first: number, second: number): string =>
      `The connector answered with ${first} records, and with ${second} when it was asked again`
    expect(await outcome([400, 400, 400])).toBe(
      '3: 2 further answers ended at the same record, the 400th',
    )
    expect(await outcome([400, 399])).toContain(`2: RunError: ${cut(400, 399)}`)
    expect(await outcome([400, 400, 401])).toContain(`3: RunError: ${cut(400, 401)}`)
    expect(await outcome([400], { answerEnd: 'trust' })).toBe('1: the answer ended cleanly')
    expect(await outcome([3])).toBe('1: the answer ended cleanly and was short')
  })

  it('is asked again for a long list that goes on after its state', async () => {
    let asked = 0
    const url = await serve((_, response) => {
      asked += 1
      response.write('{"data":{"since":1},"type":"state"}\n')
      for (let number = 1; number <= 200; number += 1) {
        response.write(`{"identity":"user-${number}","attributes":{"name":"${'x'.repeat(100)}"}}\n`)
      }
      response.end()
    })
    const { end } = await readAll({ url })
    expect(end.proof).toContain('200th')
    expect(end.cursor).toEqual({ state: { since: 1 } })
    expect(asked).toBe(3)
  })

  it('is asked again when it is busy, as late as it says', async () => {
    let asked = 0
    const url = await serve((_, response) => {
      asked += 1
      if (asked < 3) response.writeHead(503, { 'retry-after': '0' }).end()
      else response.end('{"data":{"identity":"user-1","attributes":{}},"type":"output"}\n')
    })
    expect((await readAll({ url })).records).toHaveLength(1)
    expect(asked).toBe(3)
  })

  it('fails the read when its answer breaks off or is of an unknown type', async () => {
    const broken = await serve((_, response) => {
      response.write('{"data":{"identity":"user-1","attributes":{}},"type":"output"}\n')
      setTimeout(() => response.destroy(), 20)
    })
    await expect(readAll({ url: broken })).rejects.toMatchObject({ code: 'answer_broken' })
    server?.close()
    const strange = await serve((_, response) => response.end('{"data":1,"type":"surprise"}\n'))
    await expect(readAll({ url: strange })).rejects.toMatchObject({ code: 'connector_record_bad' })
  })
})
