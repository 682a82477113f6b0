import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { accountAggregationRoutes } from '../../src/api/account-aggregations.ts'
import { taskStatusRoutes } from '../../src/api/task-status.ts'
import type { Caller } from '../../src/core/access.ts'
import { aggregationReturns } from '../../src/core/task.ts'
import type { TaskState } from '../../src/core/task.ts'
import { makeCaller, serveRoutes } from '../support/call-routes.ts'
import type { Answer, RouteServer } from '../support/call-routes.ts'
import { testDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'

let database: TestDatabase
let server: RouteServer
let admin: Caller
const sourceA = 'a'.repeat(32)
const sourceB = 'b'.repeat(32)

beforeAll(async () => {
  database = await testDatabase()
  admin = await makeCaller(database.db, 'ORG_ADMIN')
  server = await serveRoutes(
    [...taskStatusRoutes({ db: database.db }), ...accountAggregationRoutes({ db: database.db })],
    admin,
  )
})
afterAll(async () => {
  await server?.close()
  await database?.drop()
})

interface Wanted {
  readonly state?: TaskState
  readonly type?: string
  readonly sourceId?: string
  readonly status?: string | null
  readonly messages?: unknown
  readonly attributes?: unknown
  readonly launcher?: string
  readonly created?: string
}

/** Writes a task as the worker would have left it and gives its wire id. */
async function makeTask(wanted: Wanted = {}): Promise<string> {
  const status = wanted.status ?? null
  const { rows } = await database.db.query<{ id: string }>(
    `insert into task (id, type, state, source_id, source_name, launcher, completion_status, messages, attributes,
       completed_at, launched_at, created_at)
     values (gen_random_uuid(), $1::text, $2::text, $3::uuid, 'HR', $4::text, $5::text, $6::jsonb, $7::jsonb,
       case when $5::text is null then null else now() end, $8::timestamptz, coalesce($8::timestamptz, now()))
     returning replace(id::text, '-', '') as id`,
    [
      wanted.type ?? 'CLOUD_ACCOUNT_AGGREGATION',
      wanted.state ?? 'queued',
      wanted.sourceId ?? sourceA,
      wanted.launcher ?? 'ada',
      status,
      JSON.stringify(wanted.messages ?? []),
      JSON.stringify(wanted.attributes ?? {}),
      wanted.created ?? null,
    ],
  )
  return rows[0]?.id ?? ''
}

const get = (url: string, caller?: Caller) =>
  server.call('GET', url, undefined, caller === undefined ? {} : { caller })
const ids = (answer: Answer): string[] => answer.body.map((task: { id: string }) => task.id)
const filtered = async (filter: string): Promise<string[]> =>
  ids(await get(`/v2025/task-status?filters=${encodeURIComponent(filter)}`))
const patch = (id: string, operations: unknown, caller?: Caller) =>
  server.call('PATCH', `/v2025/task-status/${id}`, operations, {
    type: 'application/json-patch+json',
    ...(caller === undefined ? {} : { caller }),
  })
const clear = [
  { op: 'replace', path: '/completionStatus', value: 'TERMINATED' },
  { op: 'replace', path: '/completed', value: '2026-11-22T10:00:00Z' },
]

describe('task-status', () => {
  it('shows all fields of a task that has not begun, null where nothing is known', async () => {
    const id = await makeTask({ attributes: { appId: sourceA, optimizedAggregation: 'enabled' } })
    const answer = await get(`/v2025/task-status/${id}`)
    expect(answer.body).toEqual({
      id,
      type: 'QUARTZ',
      uniqueName: 'Cloud Account Aggregation',
      description: 'Aggregates from the specified application.',
      parentName: null,
      launcher: 'ada',
      target: { id: sourceA, type: 'APPLICATION', name: 'HR' },
      created: expect.stringMatching(/^\d{4}-.*Z$/),
      modified: expect.stringMatching(/^\d{4}-.*Z$/),
      launched: null,
      completed: null,
      completionStatus: null,
      messages: [],
      returns: aggregationReturns.map(([attributeName, name]) => ({ name, attributeName })),
      attributes: { appId: sourceA, optimizedAggregation: 'enabled' },
      progress: null,
      percentComplete: 0,
      taskDefinitionSummary: expect.objectContaining({ uniqueName: 'Cloud Account Aggregation' }),
    })
    expect(answer.body.returns).toHaveLength(28)
    for (const path of ['/beta/task-status', '/v2024/task-status', '/task-status/v1']) {
      expect((await get(`${path}/${id}`)).body).toEqual(answer.body)
    }
    expect((await get(`/v3/task-status/${id}`)).status).toBe(404)
    expect((await server.call('HEAD', `/v2025/task-status/${id}`)).status).toBe(200)
  })

  it('shows messages in the shape of TaskStatus', async () => {
    const id = await makeTask({
      state: 'completed',
      status: 'WARNING',
      messages: [{ type: 'WARN', key: 'Two rows were left out.', parameters: [2] }],
    })
    const { body } = await get(`/v2025/task-status/${id}`)
    expect(body.completionStatus).toBe('WARNING')
    expect(body.messages).toEqual([
      {
        type: 'WARN',
        localizedText: { locale: 'en', message: 'Two rows were left out.' },
        key: 'Two rows were left out.',
        parameters: ['2'],
      },
    ])
  })

  it('filters by id, source, status, type in both spellings, and launcher', async () => {
    const done = await makeTask({ state: 'completed', status: 'SUCCESS', sourceId: sourceB })
    const failed = await makeTask({ state: 'failed', status: 'TEMPERROR', sourceId: sourceB })
    const deletion = await makeTask({
      type: 'ACCOUNT_DELETION',
      state: 'completed',
      status: 'SUCCESS',
      sourceId: 'c'.repeat(32),
      launcher: "O'Neil %",
    })
    expect(await filtered(`id eq "${done}"`)).toEqual([done])
    expect((await filtered(`id in ("${done}","${failed}","x")`)).toSorted()).toEqual(
      [done, failed].toSorted(),
    )
    expect((await filtered(`sourceId eq "${sourceB}"`)).toSorted()).toEqual(
      [done, failed].toSorted(),
    )
    const inB = `sourceId eq "${sourceB}" and `
    expect(await filtered(`${inB}completionStatus eq "success"`)).toEqual([done])
    expect(await filtered(`${inB}completionStatus in ("TEMP_ERROR")`)).toEqual([failed])
    expect(await filtered(`${inB}completionStatus isnull`)).toEqual([])
    const running = await makeTask({ sourceId: sourceB })
    expect(await filtered(`${inB}completionStatus isnull`)).toEqual([running])
    expect(
      await filtered(`${inB}not completionStatus eq "SUCCESS" and pr completionStatus`),
    ).toEqual([failed])
    expect(await filtered('type eq "ACCOUNT_DELETION"')).toEqual([deletion])
    expect(await filtered('type eq "Cloud Account Deletion"')).toEqual([deletion])
    expect(await filtered('type eq "cloud account aggregation"')).not.toContain(deletion)
    expect(await filtered('type in ("CLOUD_GROUP_AGGREGATION")')).toEqual([])
    expect(await filtered(`launcher eq "o'neil %"`)).toEqual([deletion])
    expect(await filtered(`launcher eq "%"`)).toEqual([])
  })

  it.each(['created gt 2018', 'launcher co "a"', 'id eq 5', 'id eq', 'nope eq "x"'])(
    'refuses the filter %s with the position',
    async (filter) => {
      const answer = await get(`/v2025/task-status?filters=${encodeURIComponent(filter)}`)
      expect(answer.status).toBe(400)
      expect(answer.body.messages[0].text).toMatch(/at character \d+/)
    },
  )

  it('sorts by created only, the newest first when nothing is asked', async () => {
    const source = 'd'.repeat(32)
    const [old, young] = [
      await makeTask({ sourceId: source, created: '2020-01-01T00:00:00Z' }),
      await makeTask({ sourceId: source, created: '2021-01-01T00:00:00Z' }),
    ]
    const sorted = async (sorters: string) =>
      ids(
        await get(
          `/v2025/task-status?filters=${encodeURIComponent(`sourceId eq "${source}"`)}${sorters}`,
        ),
      )
    expect(await sorted('')).toEqual([young, old])
    expect(await sorted('&sorters=created')).toEqual([old, young])
    expect(await sorted('&sorters=-created')).toEqual([young, old])
    expect((await get('/v2025/task-status?sorters=name')).status).toBe(400)
  })

  it('pages and counts', async () => {
    const all = await get('/v2025/task-status?count=true')
    expect(all.headers['x-total-count']).toBe(String(all.body.length))
    const page = await get('/v2025/task-status?limit=2&offset=1')
    expect(ids(page)).toEqual(ids(all).slice(1, 3))
    expect(page.headers['x-total-count']).toBeUndefined()
    const none = await get('/v2025/task-status?limit=0&count=true&pageSize=1')
    expect([none.body, none.headers['x-total-count']]).toEqual([[], String(all.body.length)])
    for (const query of [
      'limit=251',
      'limit=-1',
      'limit=x',
      'offset=-1',
      'limit=1.5',
      'count=maybe',
    ]) {
      expect((await get(`/v2025/task-status?${query}`)).status).toBe(400)
    }
    expect((await get('/v2025/task-status?limit=1&limit=2')).status).toBe(400)
  })

  it('lists pending tasks, deprecated, and counts them on HEAD', async () => {
    const answer = await get('/v2024/task-status/pending-tasks?count=true')
    expect(answer.status).toBe(200)
    expect(answer.body.length).toBeGreaterThan(0)
    expect(
      answer.body.every((task: { completionStatus: unknown }) => task.completionStatus === null),
    ).toBe(true)
    expect(answer.headers['x-deprecated']).toBe('true')
    const head = await server.call('HEAD', '/beta/task-status/pending-tasks')
    expect(head.headers['x-total-count']).toBe(String(answer.body.length))
  })
})

describe('clearing a task', () => {
  it('ends a queued task at once and tells it in the audit', async () => {
    const id = await makeTask()
    const answer = await patch(id, clear)
    expect(answer.status).toBe(200)
    expect(answer.body).toMatchObject({
      completionStatus: 'TERMINATED',
      completed: expect.stringMatching(/^\d{4}-/),
    })
    const { rows } = await database.db.query(
      `select actor_id from audit where action = 'TASK_CANCEL_REQUESTED' and target_id = $1::text`,
      [id],
    )
    expect(rows).toEqual([{ actor_id: admin.identityId }])
    const again = await patch(id, clear)
    expect(again.status).toBe(400)
    expect(again.body.messages[0].text).toContain('ended with TERMINATED')
  })

  it('asks the worker of a running task to stop, and shows it as it is until then', async () => {
    const id = await makeTask({ state: 'collecting', sourceId: 'e'.repeat(32) })
    const answer = await patch(id, clear)
    expect([answer.status, answer.body.completionStatus]).toEqual([200, null])
    const { rows } = await database.db.query('select cancel_by from task where id = $1::uuid', [id])
    expect(rows).toEqual([{ cancel_by: admin.identityName }])
    expect((await patch(id, clear)).status).toBe(200)
  })

  it.each([
    ['another field', [{ op: 'replace', path: '/launcher', value: 'x' }, ...clear]],
    ['a new field', [{ op: 'add', path: '/x', value: 1 }, ...clear]],
    ['an unknown status', [{ op: 'replace', path: '/completionStatus', value: 'DONE' }]],
    ['no status', [{ op: 'replace', path: '/completed', value: '2026-11-22T10:00:00Z' }]],
    ['no date', [clear[0], { op: 'replace', path: '/completed', value: 'now' }]],
    ['a failed test', [{ op: 'test', path: '/launcher', value: 'x' }, ...clear]],
    ['a prototype', [{ op: 'add', path: '/__proto__/x', value: 1 }]],
  ])('refuses %s and leaves the task alone', async (_what, operations) => {
    const id = await makeTask()
    expect((await patch(id, operations)).status).toBe(400)
    expect((await get(`/v2025/task-status/${id}`)).body.completionStatus).toBeNull()
  })

  it('changes nothing by an empty patch, and is not for readers', async () => {
    const id = await makeTask()
    expect((await patch(id, [])).body.completionStatus).toBeNull()
    const helpdesk = await makeCaller(database.db, 'HELPDESK')
    expect((await patch(id, clear, helpdesk)).status).toBe(403)
    expect((await get(`/v2025/task-status/${id}`, helpdesk)).status).toBe(200)
    expect((await patch('0'.repeat(32), clear)).status).toBe(404)
    expect((await get('/v2025/task-status/nonsense')).status).toBe(404)
  })
})

describe('the status of an aggregation', () => {
  const attributes = {
    totalAccounts: 12,
    processedAccounts: 12,
    totalAccountsMarkedForDeletion: 2,
    deletedAccounts: 2,
  }

  it('has four fields in beta and eight later', async () => {
    const id = await makeTask({ state: 'completed', status: 'SUCCESS', attributes })
    const { created } = (await get(`/v2025/task-status/${id}`)).body
    // The file of /beta knows no null here: a run that was never launched began when it was made.
    expect((await get(`/beta/account-aggregations/${id}/status`)).body).toEqual({
      start: created,
      status: 'COMPLETED',
      totalAccounts: 12,
      processedAccounts: 12,
    })
    const later = {
      start: null,
      status: 'COMPLETED',
      ...attributes,
      totalIdentities: 0,
      processedIdentities: 0,
    }
    for (const path of ['/v2024/account-aggregations', '/account-aggregations/v1']) {
      expect((await get(`${path}/${id}/status`)).body).toEqual(later)
    }
  })

  it.each([
    ['queued', 'STARTED'],
    ['collecting', 'STARTED'],
    ['planned', 'ACCOUNTS_COLLECTED'],
    ['held', 'ACCOUNTS_COLLECTED'],
    ['applying', 'ACCOUNTS_COLLECTED'],
  ] as const)('of a task that is %s is %s', async (state, status) => {
    const sourceId = Buffer.from(state.padEnd(16)).toString('hex')
    const id = await makeTask({ state, sourceId, created: '2026-01-01T00:00:00Z' })
    const { body } = await get(`/v2025/account-aggregations/${id}/status`)
    expect(body).toMatchObject({ status, start: '2026-01-01T00:00:00.000Z', totalAccounts: 0 })
  })

  it('is only for aggregations', async () => {
    const id = await makeTask({ type: 'ACCOUNT_DELETION', state: 'completed', status: 'SUCCESS' })
    expect((await get(`/v2025/account-aggregations/${id}/status`)).status).toBe(404)
  })
})

describe('a SOURCE_SUBADMIN', () => {
  it('sees and cancels tasks of its sources only, and they alone are counted', async () => {
    const source = 'f'.repeat(32)
    const caller = await makeCaller(database.db, 'SOURCE_SUBADMIN', [source])
    const mine = await makeTask({ sourceId: source })
    const other = await makeTask({ sourceId: sourceB })
    const list = await get('/v2025/task-status?count=true', caller)
    expect(ids(list)).toEqual([mine])
    expect(list.headers['x-total-count']).toBe('1')
    const inB = encodeURIComponent(`sourceId eq "${sourceB}" or id eq "${other}"`)
    expect(ids(await get(`/v2025/task-status?filters=${inB}`, caller))).toEqual([])
    expect((await get(`/v2025/task-status/${other}`, caller)).status).toBe(403)
    expect((await get(`/v2025/account-aggregations/${other}/status`, caller)).status).toBe(403)
    expect((await patch(other, clear, caller)).status).toBe(403)
    expect((await patch(mine, clear, caller)).body.completionStatus).toBe('TERMINATED')
  })
})
