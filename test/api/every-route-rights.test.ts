// Every route that there is, asked by callers who may not: nobody learns or changes what is not theirs. The routes come
// from the document of the running program, so one that is new and has no answer here fails.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { levels } from '../../src/core/access.ts'
import { startWholeApp } from '../support/whole-app.ts'
import type { Call, Operation, Reply, WholeApp } from '../support/whole-app.ts'

let app: WholeApp
let subadmin: Call
let own: Things
let other: Things

/** What there is of one source, by the place that its id has in a path. */
interface Things {
  readonly sources: string
  readonly schemas: string
  readonly accounts: string
  readonly tasks: string
}

const ghost = 'f'.repeat(32)

/** What stands before an id in a path, and whose id it is; null: it belongs to no source. */
const places: Readonly<Record<string, keyof Things | null>> = {
  sources: 'sources',
  schemas: 'schemas',
  accounts: 'accounts',
  'task-status': 'tasks',
  runs: 'tasks',
  'account-aggregations': 'tasks',
  clients: null,
  'personal-access-tokens': null,
}

/** What a list is asked with by those who may see only what is their own. */
const queries: Readonly<Record<string, string>> = { listPersonalAccessTokens: '?owner-id=me' }

/** Bodies that are right, where the usual one below is not. */
const bodies: Readonly<Record<string, unknown>> = {
  putSource: {
    name: 'Renamed',
    owner: null,
    connector: 'delimited-file-angularsc',
  },
  createSourceSchema: { name: 'more', attributes: [] },
  updateTaskStatus: [{ op: 'replace', path: '/completionStatus', value: 'TERMINATED' }],
}

/** Changes that need no power over sources: one's own tokens; and a task may be ended by whom the contract names. */
const changesByOthers = new Set([
  'updateTaskStatus',
  'createPersonalAccessToken',
  'patchPersonalAccessToken',
  'deletePersonalAccessToken',
])

/** What a token of any scope opens; the contract names no scope for it. */
const withoutScope = new Set(['getAccountAggregationStatus'])

beforeAll(async () => {
  app = await startWholeApp()
  own = await makeThings('own')
  other = await makeThings('canary')
  subadmin = await app.client({
    name: 'Sub',
    level: 'SOURCE_SUBADMIN',
    sourceIds: [own.sources],
  })
})
afterAll(() => app?.close())

async function makeThings(word: string): Promise<Things> {
  const made = await app.admin('POST', '/v2025/sources?provisionAsCsv=true', {
    name: `The ${word} source`,
    owner: null,
    connector: 'delimited-file-angularsc',
  })
  expect(made.status).toBe(201)
  const source: string = made.body.id
  const group = await app.admin('POST', `/v2025/sources/${source}/schemas`, {
    name: 'group',
    identityAttribute: 'id',
    attributes: [{ name: 'id', type: 'STRING' }],
  })
  expect(group.status, group.text).toBe(201)
  const tasks = await app.load(source, `id,name\n${word}-1,${word} one\n${word}-2,${word} two\n`)
  const found = await app.admin('GET', `/v2025/accounts?filters=sourceId+eq+"${source}"`)
  expect(found.body).toHaveLength(2)
  return {
    sources: source,
    schemas: made.body.schemas[0].id,
    accounts: found.body[0].id,
    tasks,
  }
}

/** The path with the ids of these things, or with ids of nothing. */
function filled({ path }: Operation, things: Things | null): string {
  const segments = path.split('/')
  return segments
    .map((segment, index) => {
      if (!segment.startsWith('{')) return segment
      const before = segments.slice(0, index).findLast((one) => !/^v\d+$|^\{/.test(one)) ?? ''
      const place = places[before]
      if (place === undefined) {
        throw new Error(`${path} has an id after "${before}": say in "places" what it names.`)
      }
      return place === null || things === null ? ghost : things[place]
    })
    .join('/')
}

function bodyOf({ id, method }: Operation, things: Things | null): unknown {
  if (method === 'GET' || method === 'DELETE') return undefined
  if (id === 'putSourceSchema') {
    return { id: things?.schemas ?? ghost, name: 'account', attributes: [] }
  }
  const usual =
    method === 'PATCH' ? [{ op: 'replace', path: '/description', value: 'changed' }] : {}
  return Object.hasOwn(bodies, id) ? bodies[id] : usual
}

function queryOf({ id }: Operation): string {
  return Object.hasOwn(queries, id) ? (queries[id] ?? '') : ''
}

/** Each operation once: level and scopes are told for all its prefixes together. */
function oncePerId(): Operation[] {
  return [...new Map(app.operations.map((operation) => [operation.id, operation])).values()]
}

const shown = ({ method, path }: Operation, reply: Reply): string =>
  `${method} ${path}: ${reply.status} ${reply.text.slice(0, 240)}`

/** What tells of the other source. */
const traces = (): string[] => [...Object.values(other), 'canary']

describe('a SOURCE_SUBADMIN', () => {
  it('gets 403 or 404 from every route that names something of another source, and changes nothing', async () => {
    const before = await stateOf(other)
    const aimed = app.operations.filter((operation) =>
      Object.values(other).some((id) => filled(operation, other).includes(id)),
    )
    expect(new Set(aimed.map(({ id }) => id)).size).toBeGreaterThan(20)
    const entered: string[] = []
    for (const operation of aimed) {
      const reply = await subadmin(
        operation.method,
        filled(operation, other),
        bodyOf(operation, other),
      )
      if (reply.status !== 403 && reply.status !== 404) entered.push(shown(operation, reply))
      if (reply.text.includes('canary')) entered.push(shown(operation, reply))
    }
    expect(entered).toEqual([])
    expect(await stateOf(other)).toEqual(before)
  })

  it('is let in by the same routes where they name its own source', async () => {
    const reads = app.operations.filter(
      ({ method, levels: may }) => method === 'GET' && may.includes('SOURCE_SUBADMIN'),
    )
    for (const operation of reads) {
      const reply = await subadmin('GET', filled(operation, own) + queryOf(operation))
      expect(reply.status, shown(operation, reply)).toBe(200)
    }
  })

  it('finds nothing of another source in any list, by any filter, and in no count', async () => {
    const lists = app.operations.filter(
      ({ method, path }) => method === 'GET' && !path.includes('{'),
    )
    expect(new Set(lists.map(({ id }) => id)).size).toBeGreaterThan(4)
    const filters = ['', `id eq "${other.sources}"`, `sourceId eq "${other.sources}"`]
    let told = 0
    for (const operation of lists) {
      for (const filter of filters) {
        const query = new URLSearchParams({ count: 'true', ...(filter && { filters: filter }) })
        const path = `${operation.path}?${query.toString()}`
        const everything = await app.admin('GET', path)
        if (traces().some((trace) => everything.text.includes(trace))) told += 1
        const reply = await subadmin('GET', path)
        const found = traces().filter((trace) => reply.text.includes(trace))
        // A filter that a list does not know is repeated in the text of the error.
        expect(reply.status === 400 ? [] : found, shown(operation, reply)).toEqual([])
        const total = reply.headers.get('x-total-count')
        if (reply.status !== 200 || total === null) continue
        expect(Number(total), path).toBe(reply.body.length)
        // Some lists are counted by HEAD alone.
        const head = await subadmin('HEAD', path)
        expect(head.headers.get('x-total-count'), path).toBe(total)
        if (filter !== '') expect(reply.body, path).toEqual([])
      }
    }
    // Somebody who may see them does find them in these lists.
    expect(told).toBeGreaterThan(15)
  })

  async function stateOf(things: Things): Promise<unknown> {
    const paths = [
      `/v2025/sources/${things.sources}`,
      `/v2025/sources/${things.sources}/schemas`,
      `/muster/v1/sources/${things.sources}/settings`,
      `/v2025/accounts?filters=sourceId+eq+"${things.sources}"&sorters=id`,
      `/v2025/task-status?filters=sourceId+eq+"${things.sources}"`,
    ]
    return Promise.all(paths.map(async (path) => (await app.admin('GET', path)).body))
  }
})

describe('a user level', () => {
  it('opens only the routes that name it, and every refusal is in the audit', async () => {
    const refused = new Set<string>()
    const wrong: string[] = []
    for (const level of levels) {
      const call = await app.client({
        name: level,
        level,
        ...(level === 'SOURCE_SUBADMIN' && { sourceIds: [own.sources] }),
      })
      for (const operation of oncePerId()) {
        const isNamed = operation.levels.includes(level)
        const isRead = operation.method === 'GET'
        // What it may change is not changed here.
        if (isNamed && !isRead) continue
        const path = filled(operation, own) + queryOf(operation)
        const reply = await call(operation.method, path, bodyOf(operation, own))
        const isRefused = reply.status === 403
        if (isRefused === isNamed) wrong.push(`${level} ${shown(operation, reply)}`)
        if (isRefused) refused.add(reply.headers.get('x-request-id') ?? '')
      }
    }
    expect(wrong).toEqual([])
    expect(refused.size).toBeGreaterThan(100)
    const unaudited = async (): Promise<string[]> => {
      const found = await audited()
      return [...refused].filter((id) => !found.has(id))
    }
    await expect.poll(unaudited, { timeout: 20_000, interval: 500 }).toEqual([])
  })

  it('below those of sources changes nothing but its own tokens and the tasks it may end', () => {
    const powerful = new Set(['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN'])
    const odd = app.operations
      .filter(({ method, id }) => method !== 'GET' && !changesByOthers.has(id))
      .filter((operation) => operation.levels.some((level) => !powerful.has(level)))
    expect(odd.map(({ method, path }) => `${method} ${path}`)).toEqual([])
  })

  it('other than ORG_ADMIN sees neither clients nor the audit', () => {
    const closed = app.operations.filter(({ path }) => /^\/muster\/v1\/(clients|audit)/.test(path))
    expect(closed.length).toBeGreaterThan(3)
    for (const { levels: may } of closed) expect(may).toEqual(['ORG_ADMIN'])
  })

  async function audited(): Promise<Set<string>> {
    const found = new Set<string>()
    for (let offset = 0; ; offset += 250) {
      const page = await app.admin(
        'GET',
        `/muster/v1/audit?outcome=denied&limit=250&offset=${offset}`,
      )
      for (const row of page.body) found.add(row.trackingId)
      if (page.body.length < 250) return found
    }
  }
})

describe('a token', () => {
  it('with another scope opens no route that names one', async () => {
    const call = await app.client({
      name: 'Narrow',
      level: 'ORG_ADMIN',
      scopes: ['idn:nothing:read'],
    })
    for (const operation of oncePerId()) {
      expect(operation.scopes.length === 0, operation.path).toBe(withoutScope.has(operation.id))
      if (operation.scopes.length === 0) continue
      const reply = await call(operation.method, filled(operation, null), bodyOf(operation, null))
      expect(reply.status, shown(operation, reply)).toBe(403)
    }
  })

  it('is needed by everything but health, the document and the token itself', async () => {
    expect(app.open).toEqual(['createToken', 'getDeployment'])
    for (const operation of app.operations) {
      const reply = await fetch(`${app.url}${filled(operation, own)}`, {
        method: operation.method,
      })
      expect(reply.status, `${operation.method} ${operation.path}`).toBe(401)
      await reply.arrayBuffer()
    }
  })
})
