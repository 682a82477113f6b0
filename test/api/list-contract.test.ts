// Every field, operator and sorter that the contract names for a list, under every prefix, held equal to a plain filter over the same rows.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { accountRoutes } from '../../src/api/accounts.ts'
import { correlationConfigRoutes } from '../../src/api/correlation-config.ts'
import { allButV3, everyVersion } from '../../src/api/route.ts'
import type { Version } from '../../src/api/route.ts'
import { schemaRoutes } from '../../src/api/schemas.ts'
import { sourceRoutes } from '../../src/api/sources.ts'
import { taskStatusRoutes } from '../../src/api/task-status.ts'
import { versionedPath } from '../../src/api/versions.ts'
import type { Caller } from '../../src/core/access.ts'
import { generateMasterKey, parseMasterKey } from '../../src/store/sealed.ts'
import { insertAccounts, insertRun } from '../support/account-rows.ts'
import { makeCaller, serveRoutes } from '../support/call-routes.ts'
import type { RouteServer } from '../support/call-routes.ts'
import { testDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'

/** A row as the API shows it. */
type Row = ReturnType<typeof JSON.parse>
type Value = string | boolean | null
type Kind = 'id' | 'text' | 'name' | 'exact' | 'boolean' | 'date' | 'list'
interface Field {
  readonly ops: string
  readonly kind: Kind
  /** What a row has; a field that no row shows is worked out by the test. */
  readonly of: (row: Row) => Value | readonly string[]
}
type Fields = Readonly<Record<string, Field>>

let database: TestDatabase
let server: RouteServer
let admin: Caller
/** By source id: how accounts show it, and which attributes are entitlements. */
const sources = new Map<string, Row>()
const entitlementAttributes = new Map<string, readonly string[]>()
/** Identities with an account of an authoritative source. */
const correlated = new Set<string>()

const member =
  (...path: string[]) =>
  (row: Row): Value =>
    path.reduce((value, key) => value?.[key], row) ?? null
const nothing = (): Value => null

const comparable = 'eq in ge gt le lt ne isnull sw'
const sourceFields: Fields = {
  id: { ops: comparable, kind: 'id', of: member('id') },
  name: { ops: 'co eq in sw ge gt ne isnull', kind: 'name', of: member('name') },
  type: { ops: 'eq in ge gt ne isnull sw', kind: 'text', of: member('type') },
  'owner.id': { ops: comparable, kind: 'id', of: member('owner', 'id') },
  features: { ops: 'ca co', kind: 'list', of: (row) => row.features },
  created: { ops: comparable, kind: 'date', of: member('created') },
  modified: { ops: comparable, kind: 'date', of: member('modified') },
  'managementWorkgroup.id': {
    ops: comparable,
    kind: 'exact',
    of: member('managementWorkgroup', 'id'),
  },
  description: { ops: 'eq sw', kind: 'text', of: member('description') },
  authoritative: { ops: 'eq ne isnull', kind: 'boolean', of: member('authoritative') },
  healthy: { ops: 'isnull', kind: 'boolean', of: member('healthy') },
  status: { ops: comparable, kind: 'text', of: member('status') },
  connectionType: { ops: comparable, kind: 'text', of: member('connectionType') },
  connectorName: { ops: 'eq ge gt in ne isnull sw', kind: 'text', of: member('connectorName') },
  category: { ops: 'co eq ge gt in le lt ne sw', kind: 'text', of: member('category') },
}
const ofSource = (field: string) => (row: Row) => sources.get(row.sourceId)?.[field] ?? null
const accountFields: Fields = {
  id: { ops: 'eq in sw', kind: 'id', of: member('id') },
  identityId: { ops: 'eq in sw', kind: 'id', of: member('identityId') },
  name: { ops: 'eq in sw', kind: 'text', of: member('name') },
  nativeIdentity: { ops: 'eq in sw', kind: 'exact', of: member('nativeIdentity') },
  sourceId: { ops: 'eq in sw', kind: 'id', of: member('sourceId') },
  hasEntitlements: { ops: 'eq', kind: 'boolean', of: member('hasEntitlements') },
  uncorrelated: { ops: 'eq', kind: 'boolean', of: member('uncorrelated') },
  entitlements: { ops: 'eq', kind: 'list', of: (row) => entitlementsOf(row) },
  manuallyCorrelated: { ops: 'eq', kind: 'boolean', of: member('manuallyCorrelated') },
  'identity.correlated': {
    ops: 'eq',
    kind: 'boolean',
    of: (row) => (row.identityId === undefined ? null : correlated.has(row.identityId)),
  },
  'source.authoritative': { ops: 'eq', kind: 'boolean', of: ofSource('authoritative') },
  origin: { ops: 'eq in', kind: 'text', of: member('origin') },
  'identity.identityState': { ops: 'eq in', kind: 'text', of: member('identityState') },
  'source.displayableName': { ops: 'eq in', kind: 'name', of: ofSource('name') },
  'source.connectionType': { ops: 'eq in', kind: 'text', of: ofSource('connectionType') },
  'identity.name': { ops: 'eq in sw', kind: 'text', of: member('identity', 'name') },
  'recommendation.method': { ops: 'eq in isnull', kind: 'text', of: nothing },
  'recommendation.type': { ops: 'eq in isnull', kind: 'text', of: nothing },
  created: { ops: 'eq ge gt le lt', kind: 'date', of: member('created') },
  modified: { ops: 'eq ge gt le lt', kind: 'date', of: member('modified') },
}
const taskFields: Fields = {
  id: { ops: 'eq in', kind: 'id', of: member('id') },
  sourceId: { ops: 'eq in', kind: 'id', of: member('attributes', 'appId') },
  completionStatus: { ops: 'eq in isnull', kind: 'text', of: member('completionStatus') },
  type: { ops: 'eq in', kind: 'text', of: (row) => row.attributes.constant },
  launcher: { ops: 'eq in', kind: 'text', of: member('launcher') },
}

interface List {
  readonly path: string
  readonly versions: readonly Version[]
  readonly fields: Fields
  /** By name: what is compared; null where all rows are equal. */
  readonly sorters: Readonly<Record<string, Field['of'] | null>>
}
const entitled = (row: Row): Value => row.hasEntitlements
const lists: readonly List[] = [
  {
    path: '/sources',
    versions: everyVersion,
    fields: sourceFields,
    sorters: {
      type: member('type'),
      created: member('created'),
      modified: member('modified'),
      name: (row) => row.name.toLowerCase(),
      'owner.name': member('owner', 'name'),
      healthy: member('healthy'),
      status: member('status'),
      id: member('id'),
      description: member('description'),
      'owner.id': member('owner', 'id'),
      'accountCorrelationConfig.id': member('accountCorrelationConfig', 'id'),
      'accountCorrelationConfig.name': member('accountCorrelationConfig', 'name'),
      'managerCorrelationRule.type': member('managerCorrelationRule', 'type'),
      'managerCorrelationRule.id': member('managerCorrelationRule', 'id'),
      'managerCorrelationRule.name': member('managerCorrelationRule', 'name'),
      authoritative: member('authoritative'),
      'managementWorkgroup.id': member('managementWorkgroup', 'id'),
      connectorName: member('connectorName'),
      connectionType: member('connectionType'),
    },
  },
  {
    path: '/accounts',
    versions: everyVersion,
    fields: accountFields,
    sorters: {
      id: member('id'),
      name: member('name'),
      created: member('created'),
      modified: member('modified'),
      sourceId: member('sourceId'),
      identityId: member('identityId'),
      nativeIdentity: member('nativeIdentity'),
      uuid: null,
      manuallyCorrelated: member('manuallyCorrelated'),
      hasEntitlements: entitled,
      entitlements: entitled,
      origin: null,
      'identity.name': member('identity', 'name'),
      'identity.identityState': null,
      'identity.correlated': (row) => accountFields['identity.correlated']?.of(row) ?? null,
      'source.displayableName': ofSource('name'),
      'source.authoritative': ofSource('authoritative'),
      'source.connectionType': ofSource('connectionType'),
      'sourceOwner.name': member('sourceOwner', 'name'),
    },
  },
  {
    path: '/task-status',
    versions: allButV3,
    fields: taskFields,
    sorters: { created: member('created') },
  },
]

function entitlementsOf(row: Row): string[] {
  const names = entitlementAttributes.get(row.sourceId) ?? []
  return names.flatMap((name) => row.attributes[name] ?? []).map(String)
}

beforeAll(async () => {
  database = await testDatabase()
  const { db } = database
  admin = await makeCaller(db, 'ORG_ADMIN')
  const other = await makeCaller(db, 'HELPDESK')
  const masterKey = parseMasterKey(generateMasterKey())
  server = await serveRoutes(
    [
      ...sourceRoutes({ db, masterKey, descriptions: [], wake: () => undefined }),
      ...correlationConfigRoutes({ db }),
      ...schemaRoutes({ db }),
      ...accountRoutes({ db }),
      ...taskStatusRoutes({ db }),
    ],
    admin,
  )
  await makeSources(other)
  await makeAccounts(other)
  await makeTasks()
})
afterAll(async () => {
  await server?.close()
  await database?.drop()
})

async function makeSources(owner: Caller): Promise<void> {
  const rule = (name: string) => ({ type: 'RULE', id: `id of ${name}`, name })
  const workgroup = { type: 'GOVERNANCE_GROUP', id: 'G1', name: 'Owners' }
  const given = [
    [
      '?provisionAsCsv=true',
      { name: 'HR', authoritative: true, description: 'People', category: 'Core' },
    ],
    ['?provisionAsCsv=true', { name: `it's 100%_\\ "quoted"`, managerCorrelationRule: rule('b') }],
    [
      '',
      {
        name: 'Éclair',
        connector: 'workday',
        connectorName: 'Workday',
        features: ['ENABLE', 'SEARCH'],
        managementWorkgroup: workgroup,
        owner: { type: 'IDENTITY', id: owner.identityId },
      },
    ],
    [
      '',
      {
        name: 'alpha',
        connector: 'zoom',
        description: 'people too',
        category: 'core',
        managerCorrelationRule: rule('a'),
        features: ['ENABLE'],
      },
    ],
  ] as const
  for (const [index, [query, body]] of given.entries()) {
    const made = await server.call('POST', `/v3/sources${query}`, body)
    expect(made.status).toBe(201)
    await database.db.query(
      `update source set created_at = $2::timestamptz, modified_at = $2::timestamptz + interval '1 day', healthy = $3,
         status = $4 where id = $1::uuid`,
      [
        made.body.id,
        `2026-0${4 - index}-01T10:00:00.123456Z`,
        index % 2 === 0,
        index === 1 ? 'SOURCE_STATE_HEALTHY' : 'SOURCE_STATE_UNCHECKED_SOURCE',
      ],
    )
  }
  for (const row of (await server.call('GET', '/v3/sources')).body) {
    sources.set(row.id, row)
    entitlementAttributes.set(row.id, row.connectionType === 'file' ? ['groups'] : [])
  }
  const named = await server.call('PUT', `/beta/sources/${idOf('alpha')}/correlation-config`, {
    name: 'Zulu',
  })
  expect(named.status).toBe(200)
  // Entitlements that are numbers and flags, under names that SQL and JSON have to escape.
  const attributes = ['id', `it's "odd"`, 'level', 'flag', 'groups'].map((name) => ({
    name,
    type: name === 'level' ? 'LONG' : name === 'flag' ? 'BOOLEAN' : 'STRING',
    isMulti: name === 'level',
    isEntitlement: name !== 'id' && name !== 'groups',
  }))
  const schema = { name: 'account', identityAttribute: 'id', displayAttribute: 'id', attributes }
  const added = await server.call('POST', `/v3/sources/${idOf('Éclair')}/schemas`, schema)
  expect([added.status, added.text]).toEqual([201, expect.anything()])
  entitlementAttributes.set(idOf('Éclair'), [`it's "odd"`, 'level', 'flag'])
}

const idOf = (name: string): string =>
  [...sources.values()].find((source) => source.name === name)?.id ?? ''

async function makeAccounts(owner: Caller): Promise<void> {
  const { db } = database
  const names = ['Ada', 'ada', null, 'Ärger', '100%_\\', `o'neil "x"`]
  const groups: (string | readonly string[] | undefined)[] = [
    ['Admins', 'x,', ']y'],
    ['admins', '42'],
    undefined,
    [',', '[', `'; drop table account; --`],
    ['"', '\\', 'a"b', '{"groups":["no"]'],
    'Single',
  ]
  const hr = idOf('HR')
  for (const [index, sourceId] of [hr, idOf('Éclair'), idOf('alpha')].entries()) {
    const first = await insertRun(db, sourceId, `2026-0${index + 1}-01T10:00:00.123456Z`)
    const second = await insertRun(db, sourceId, `2026-0${index + 4}-01T10:00:00Z`)
    await insertAccounts(
      db,
      sourceId,
      names.map((name, at) => {
        const attributes: Record<string, unknown> = { id: `${at}` }
        if (at > 0 && sourceId === idOf('Éclair')) {
          Object.assign(attributes, { level: [at, 42], flag: at % 2 === 0, [`it's "odd"`]: '42' })
        }
        if (groups[at] !== undefined) attributes['groups'] = groups[at]
        const sorted = Object.fromEntries(
          Object.entries(attributes).toSorted(([a], [b]) => byCodePoint(a, b)),
        )
        const identityId = at === 0 ? admin.identityId : at === 1 ? owner.identityId : undefined
        const isLinked = identityId !== undefined && !(sourceId === hr && at === 1)
        return {
          nativeIdentity: at === 1 ? 'ADA' : (name ?? 'none').toLowerCase(),
          name,
          attributes: JSON.stringify(sorted),
          openedRun: at % 2 === 0 ? first : second,
          createdRun: at === 3 ? first : null,
          ...(isLinked
            ? { identityId, match: at === 0 ? ('manual' as const) : ('matched' as const) }
            : {}),
        }
      }),
    )
  }
  // Of two identities with accounts, only this one has an account of an authoritative source.
  correlated.add(admin.identityId)
}

async function makeTasks(): Promise<void> {
  const types = ['CLOUD_ACCOUNT_AGGREGATION', 'ACCOUNT_DELETION']
  const statuses = ['SUCCESS', 'WARNING', 'ERROR', 'TERMINATED', 'TEMPERROR', null]
  await database.db.query('delete from run; delete from task')
  for (const [index, status] of [...statuses, ...statuses].entries()) {
    const type = types[index % 2]
    const sourceId = index % 3 === 0 ? null : idOf(index % 3 === 1 ? 'HR' : 'alpha')
    await database.db.query(
      `insert into task (id, type, state, source_id, launcher, completion_status, completed_at, created_at, attributes)
       values (gen_random_uuid(), $1, case when $2::text is null then 'queued' else 'completed' end, $3::uuid, $4, $2,
         case when $2::text is not null then now() end, $5::timestamptz, $6::jsonb)`,
      [
        type,
        status,
        sourceId,
        index % 4 === 0 ? `it's 100%_\\` : `Launcher ${index % 3}`,
        `2026-01-01T10:00:${String(index % 5).padStart(2, '0')}Z`,
        JSON.stringify({ constant: type, ...(sourceId === null ? {} : { appId: sourceId }) }),
      ],
    )
  }
}

const hostile = [`'; drop table account; --`, '%', '_', '\\', '"', '', 'nothing has this']
/** Letters A to Z alone, as the lists fold them. */
const fold = (text: string): string => text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase())
const folded = (kind: Kind, text: string): string =>
  kind === 'text' || kind === 'list' ? fold(text) : kind === 'name' ? text.toLowerCase() : text
const byCodePoint = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
const written = (value: Value): string =>
  typeof value === 'string' ? `"${value.replaceAll(/["\\]/g, String.raw`\$&`)}"` : String(value)

/** Whether a row fits `field op values`, by the plainest rule there is. */
function fits(field: Field, row: Row, op: string, values: readonly Value[]): boolean {
  const given = field.of(row)
  if (op === 'isnull') return given === null
  if (op === 'pr') return given !== null
  if (Array.isArray(given)) {
    const held = given.map((one: string) => folded(field.kind, one))
    return values.every((value) => held.includes(folded(field.kind, String(value))))
  }
  if (given === null || typeof given !== 'string') {
    const isEqual = values.includes(given as Value) && given !== null
    return op === 'ne' ? !isEqual : isEqual
  }
  const own = folded(field.kind, given)
  return values.some((value) => {
    const wanted = folded(field.kind, String(value))
    const order = byCodePoint(own, wanted)
    switch (op) {
      case 'ne':
        return order !== 0
      case 'gt':
        return order > 0
      case 'ge':
        return order >= 0
      case 'lt':
        return order < 0
      case 'le':
        return order <= 0
      case 'sw':
        return own.startsWith(wanted)
      case 'co':
        return own.includes(wanted)
      default:
        return order === 0
    }
  })
}

/** The values that a field is asked for: those that rows have, other spellings, parts, and hostile ones. */
function candidates(field: Field, rows: readonly Row[], op: string): Value[] {
  if (field.kind === 'boolean') return [true, false]
  const held = [...new Set(rows.flatMap((row) => field.of(row)))].filter(
    (value): value is string => typeof value === 'string',
  )
  if (field.kind === 'date') return op === 'sw' ? [...held, '2026-0', '2026'] : [...held, '2026-03']
  const some = held.slice(0, 8)
  const spellings = some.flatMap((value) => [value.toUpperCase(), value.toLowerCase()])
  const parts = op === 'sw' || op === 'co' ? some.map((value) => value.slice(0, 3)) : []
  return [...new Set([...some, ...spellings, ...parts, ...hostile])]
}

function filterOf(name: string, op: string, values: readonly Value[]): string {
  if (op === 'isnull') return `${name} isnull`
  if (op === 'pr') return `pr ${name}`
  const list = values.map(written)
  return op === 'in' || op === 'ca'
    ? `${name} ${op} (${list.join(',')})`
    : `${name} ${op} ${list[0]}`
}

async function all(list: List, version: Version, query: string): Promise<Row[]> {
  const url = `${versionedPath(version, list.path)}?count=true&${query}`
  const { status, body, headers } = await server.call('GET', url)
  expect([decodeURIComponent(query), status, status === 200 ? '' : body]).toEqual([
    decodeURIComponent(query),
    200,
    '',
  ])
  expect(headers['x-total-count']).toBe(String(body.length))
  return body
}

const ids = (rows: readonly Row[]): string[] => rows.map((row) => row.id)

describe.each(lists)('the list $path', (list) => {
  it.each(Object.keys(list.fields))(
    'filtered by %s gives what a plain filter gives, for each operator',
    async (name) => {
      const field = list.fields[name]
      if (field === undefined) throw new Error(name)
      const rows = await all(list, list.versions[0] ?? 'v1', '')
      expect(rows.length).toBeGreaterThan(3)
      const ops = field.ops.split(' ')
      for (const op of [...ops, ...(ops.includes('isnull') ? ['pr'] : [])]) {
        const values = candidates(field, rows, op)
        const asked =
          op === 'isnull' || op === 'pr'
            ? [[]]
            : op === 'in' || op === 'ca'
              ? [values.slice(0, 1), values.slice(0, 3), values, values.slice(-3)]
              : values.map((value) => [value])
        for (const [index, wanted] of asked.entries()) {
          const version = list.versions[index % list.versions.length] ?? 'v1'
          const filter = filterOf(name, op, wanted)
          const found = await all(list, version, `filters=${encodeURIComponent(filter)}`)
          const expected = rows.filter((row) => fits(field, row, op, wanted))
          expect([filter, new Set(ids(found))]).toEqual([filter, new Set(ids(expected))])
          const denied = await all(list, version, `filters=${encodeURIComponent(`not ${filter}`)}`)
          expect([`not ${filter}`, denied.length]).toEqual([
            `not ${filter}`,
            rows.length - expected.length,
          ])
        }
      }
    },
  )

  it('takes each of these operators under every prefix, and no other', async () => {
    const every = ['eq', 'ne', 'gt', 'ge', 'lt', 'le', 'co', 'sw', 'in', 'ca', 'isnull']
    for (const version of list.versions) {
      for (const [name, field] of Object.entries(list.fields)) {
        const value = field.kind === 'boolean' ? true : field.kind === 'date' ? '2026' : 'x'
        for (const op of every) {
          const filter = encodeURIComponent(filterOf(name, op, [value]))
          const url = `${versionedPath(version, list.path)}?limit=0&filters=${filter}`
          const { status } = await server.call('GET', url)
          const isTaken = field.ops.split(' ').includes(op)
          expect([version, name, op, status]).toEqual([version, name, op, isTaken ? 200 : 400])
        }
      }
    }
  })

  it.each(Object.entries(list.sorters))('is in the order of %s, both ways', async (name, of) => {
    for (const version of list.versions) {
      for (const descending of [false, true]) {
        const rows = await all(list, version, `sorters=${descending ? '-' : ''}${name}`)
        const keys = rows.map((row) => (of === null ? null : of(row)))
        for (const [index, key] of keys.entries()) {
          const next = keys[index + 1]
          if (next === undefined) continue
          const order = compareKeys(key as Value, next as Value)
          expect([name, version, key, next, descending ? order >= 0 : order <= 0]).toEqual([
            name,
            version,
            key,
            next,
            true,
          ])
        }
        if (version !== list.versions[0]) continue
        const paged: Row[] = []
        for (let offset = 0; offset < rows.length; offset += 5) {
          const query = `limit=5&offset=${offset}&sorters=${descending ? '-' : ''}${name}`
          const url = `${versionedPath(version, list.path)}?${query}`
          paged.push(...(await server.call('GET', url)).body)
        }
        expect(ids(paged)).toEqual(ids(rows))
      }
    }
  })

  it('gives no rows but their number for limit=0, and neither more nor other rows beyond the end', async () => {
    const rows = await all(list, 'v2025', '')
    const none = await server.call('GET', `/v2025${list.path}?limit=0&count=true`)
    expect([none.status, none.body, none.headers['x-total-count']]).toEqual([
      200,
      [],
      String(rows.length),
    ])
    const beyond = await server.call('GET', `/v2025${list.path}?offset=2147483647&count=true`)
    expect([beyond.body, beyond.headers['x-total-count']]).toEqual([[], String(rows.length)])
    const silent = await server.call('GET', `/v2025${list.path}?limit=1`)
    expect([silent.body.length, silent.headers['x-total-count']]).toEqual([1, undefined])
  })

  it('is counted without its rows by HEAD', async () => {
    const rows = await all(list, 'v2025', '')
    const head = await server.call('HEAD', `/v2025${list.path}?count=true`)
    expect([head.status, head.text, head.headers['x-total-count']]).toEqual([
      200,
      '',
      String(rows.length),
    ])
  })
})

/** No value is the greatest; false comes before true. */
function compareKeys(a: Value, b: Value): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1
  return byCodePoint(fold(String(a)), fold(String(b)))
}
