import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sourceRoutes } from '../../src/api/sources.ts'
import type { Caller } from '../../src/core/access.ts'
import { generateMasterKey, parseMasterKey } from '../../src/store/sealed.ts'
import { makeCaller, serveRoutes } from '../support/call-routes.ts'
import type { Answer, RouteServer } from '../support/call-routes.ts'
import { testDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'

let database: TestDatabase
let server: RouteServer
let admin: Caller
let other: Caller
const made = new Map<string, Record<string, string>>()

beforeAll(async () => {
  database = await testDatabase()
  admin = await makeCaller(database.db, 'ORG_ADMIN')
  other = await makeCaller(database.db, 'SOURCE_ADMIN')
  const masterKey = parseMasterKey(generateMasterKey())
  server = await serveRoutes(
    sourceRoutes({ db: database.db, masterKey, descriptions: [], wake: () => undefined }),
    admin,
  )
  const bodies: [query: string, body: Record<string, unknown>, caller: Caller][] = [
    ['?provisionAsCsv=true', { name: 'Alpha', description: 'Über alles', category: 'HR' }, admin],
    [
      '?provisionAsCsv=true',
      { name: "it's 100%_\\", authoritative: true, description: 'b' },
      other,
    ],
    [
      '',
      {
        name: 'Éclair',
        connector: 'workday',
        type: 'Workday',
        connectorName: 'Workday Inc',
        features: ['PROVISIONING', 'ENABLE'],
        managementWorkgroup: { type: 'GOVERNANCE_GROUP', id: 'G1', name: 'Owners' },
      },
      other,
    ],
  ]
  for (const [query, body, caller] of bodies) {
    const answer = await server.call('POST', `/v3/sources${query}`, body, { caller })
    expect(answer.status).toBe(201)
    made.set(String(body['name']), answer.body)
  }
  // Instants apart from each other, with microseconds that the wire does not show.
  for (const [index, source] of [...made.values()].entries()) {
    await database.db.query(
      'update source set created_at = $2::timestamptz, modified_at = $2::timestamptz where id = $1::uuid',
      [source['id'], `2026-0${index + 1}-01T10:00:00.123456Z`],
    )
  }
})
afterAll(async () => {
  await server?.close()
  await database?.drop()
})

const list = (query: string): Promise<Answer> => server.call('GET', `/v2025/sources?${query}`)
const names = (answer: Answer): string[] =>
  answer.body.map((source: { name: string }) => source.name)
const filtered = async (filter: string): Promise<string[]> =>
  names(await list(`sorters=created&filters=${encodeURIComponent(filter)}`))
const id = (name: string): string => made.get(name)?.['id'] ?? ''
const [A, B, C] = ['Alpha', "it's 100%_\\", 'Éclair']
const all = [A, B, C]

describe('filters of a list', () => {
  it.each([
    ['name eq "ALPHA"', [A]],
    ['name eq "éCLAIR"', [C]],
    ['name co "LAI"', [C]],
    ['name sw "it\'s 100%"', [B]],
    [String.raw`name co "_\\"`, [B]],
    ['name co "%"', [B]],
    ['name sw "_"', []],
    ['name eq "\'; drop table source; --"', []],
    ['name in ("alpha","éclair","x")', [A, C]],
    ['name ne "alpha"', [B, C]],
    ['name gt "alpha"', [B, C]],
    ['name ge "alpha" and name ge "b"', [B, C]],
    ['name isnull', []],
    ['name eq null', []],
    ['pr name', all],
    ['type eq "delimitedfile"', [A, B]],
    ['type sw "work"', [C]],
    ['type in ("Workday")', [C]],
    ['description eq "über ALLES"', []],
    ['description eq "Über ALLES"', [A]],
    ['description sw "ü"', []],
    ['features ca ("ENABLE","provisioning")', [C]],
    ['features ca ("ENABLE","DISCOVER_SCHEMA")', []],
    ['features co "DISCOVER_SCHEMA"', [A, B]],
    ['created eq 2026-01-01T10:00:00.123Z', [A]],
    ['created ne 2026-01-01T10:00:00.123Z', [B, C]],
    ['created gt 2026-01-01T10:00:00.123Z', [B, C]],
    ['created ge "2026-02"', [B, C]],
    ['created lt 2026-02-01T11:00:00', [A, B]],
    ['created in (2026-01-01T10:00:00.123Z,2026-03-01T10:00:00.123Z)', [A, C]],
    ['created sw "2026-03"', [C]],
    ['created sw 2026', all],
    ['modified le 2026-01-01T10:00:00.123Z', [A]],
    ['managementWorkgroup.id eq "G1"', [C]],
    ['managementWorkgroup.id eq "g1"', []],
    ['managementWorkgroup.id isnull', [A, B]],
    ['managementWorkgroup.id eq null', [A, B]],
    ['managementWorkgroup.id ne null', [C]],
    ['managementWorkgroup.id ne "G1"', [A, B]],
    ['not managementWorkgroup.id eq "G1"', [A, B]],
    ['not not managementWorkgroup.id eq "G1"', [C]],
    ['authoritative eq true', [B]],
    ['authoritative ne true', [A, C]],
    ['healthy isnull', []],
    ['status eq "SOURCE_STATE_UNCHECKED_SOURCE_NO_ACCOUNTS"', all],
    ['connectionType eq "file"', [A, B]],
    ['connectorName eq "workday inc"', [C]],
    ['category eq "hr"', [A]],
    ['category co "H" or authoritative eq true and type eq "x"', [A]],
    ['(category co "H" or authoritative eq true) and type eq "DelimitedFile"', [A, B]],
  ])('%s', async (filter, expected) => {
    expect(await filtered(filter)).toEqual(expected)
  })

  it('compare ids exactly and by prefix', async () => {
    expect(await filtered(`id eq "${id(A)}"`)).toEqual([A])
    expect(await filtered(`id eq "${id(A).toUpperCase()}x"`)).toEqual([])
    expect(await filtered(`id in ("${id(A)}","${id(C)}")`)).toEqual([A, C])
    expect(await filtered(`id ne "${id(A)}"`)).toEqual([B, C])
    expect(await filtered(`id sw "${id(A).slice(0, 10)}"`)).toEqual([A])
    expect(await filtered(`id ge "${id(A)}" and id le "${id(A)}"`)).toEqual([A])
    expect(await filtered(`owner.id eq "${other.identityId}"`)).toEqual([B, C])
    expect(await filtered('owner.id isnull')).toEqual([])
  })

  it('take spaces as + and as %20, and a blank filter as none', async () => {
    expect(names(await list('filters=name+eq+%22alpha%22'))).toEqual([A])
    expect(names(await list('filters=name%20eq%20%22alpha%22'))).toEqual([A])
    expect(names(await list('filters='))).toHaveLength(3)
  })

  it.each([
    ['nope eq "x"', 1, 'name'],
    ['name le "x"', 6, 'co, eq, in'],
    ['name eq 5', 9, 'double quotes'],
    ['name eq true', 9, 'double quotes'],
    ['authoritative eq "true"', 18, 'without quotes'],
    ['created eq "yesterday"', 12, '2018'],
    ['description eq null', 16, 'Write a value'],
    ['features co (', 13, ''],
    ['__proto__ eq "x"', 1, 'Filter by'],
    ['toString eq "x"', 1, 'Filter by'],
    ['((name eq "x")', 15, ''],
  ])('refuse %s and name the place and what is allowed', async (filter, at, allowed) => {
    const answer = await list(`filters=${encodeURIComponent(filter)}`)
    expect(answer.status).toBe(400)
    expect(answer.body.detailCode).toBe('400.1 Bad request content')
    expect(answer.body.messages[0].text).toContain(`at character ${at}:`)
    expect(answer.body.messages[0].text).toContain(allowed)
  })
})

describe('sorters of a list', () => {
  it('sort by each field of the contract, both ways', async () => {
    for (const field of [
      'type',
      'created',
      'modified',
      'name',
      'owner.name',
      'healthy',
      'status',
      'id',
      'description',
      'owner.id',
      'accountCorrelationConfig.id',
      'accountCorrelationConfig.name',
      'managerCorrelationRule.type',
      'managerCorrelationRule.id',
      'managerCorrelationRule.name',
      'authoritative',
      'managementWorkgroup.id',
      'connectorName',
      'connectionType',
    ]) {
      for (const sign of ['', '-']) {
        const answer = await list(`sorters=${sign}${field}`)
        expect([field, answer.status, answer.body.length]).toEqual([field, 200, 3])
      }
    }
    expect(names(await list('sorters=-created'))).toEqual([C, B, A])
    expect(names(await list('sorters=name'))).toEqual([A, B, C])
    expect(names(await list('sorters=type,-created'))).toEqual([B, A, C])
  })

  it('break ties by id, so that pages neither overlap nor leave gaps', async () => {
    const one = names(await list('sorters=status&limit=1'))
    const two = names(await list('sorters=status&limit=1&offset=1'))
    const three = names(await list('sorters=status&limit=5&offset=2'))
    expect([...one, ...two, ...three]).toEqual(names(await list('sorters=id')))
  })

  it.each(['nope', 'name,name', ',', '-', '__proto__', "name'; drop table source"])(
    'refuse %s',
    async (sorters) => {
      expect((await list(`sorters=${encodeURIComponent(sorters)}`)).status).toBe(400)
    },
  )
})

describe('paging of a list', () => {
  it('counts what the filter finds, whatever the page', async () => {
    const query = `filters=${encodeURIComponent('type eq "DelimitedFile"')}`
    const answer = await list(`${query}&count=true&limit=1&offset=5`)
    expect([answer.body, answer.headers['x-total-count']]).toEqual([[], '2'])
    expect((await list(query)).headers['x-total-count']).toBeUndefined()
  })

  it('ignores parameters that it does not know, as the Java utility sends them', async () => {
    const answer = await server.call(
      'GET',
      '/beta/sources/?count=true&pageSize=1&offset=0&sorters=id',
    )
    expect(answer.headers['x-total-count']).toBe('3')
    expect(answer.body).toHaveLength(3)
  })

  it.each([
    'limit=251',
    'limit=-1',
    'limit=abc',
    'limit=',
    'limit=1.0',
    'offset=-1',
    'offset=2147483648',
    'count=2',
    'limit=1&limit=2',
    'filters=a&filters=b',
  ])('refuses %s', async (query) => {
    expect((await list(query)).status).toBe(400)
  })

  it('takes a limit of 0', async () => {
    expect((await list('limit=0')).body).toEqual([])
  })
})
