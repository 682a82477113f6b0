// What lists refuse before they look anything up, what they give up on, and what a confined client sees and counts.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { accountRemovalRoutes } from '../../src/api/account-removal.ts'
import { accountRoutes } from '../../src/api/accounts.ts'
import { auditRoutes } from '../../src/api/audit.ts'
import { runRoutes } from '../../src/api/runs.ts'
import { sourceRoutes } from '../../src/api/sources.ts'
import { taskStatusRoutes } from '../../src/api/task-status.ts'
import type { Caller } from '../../src/core/access.ts'
import { listAudit } from '../../src/store/audit.ts'
import { generateMasterKey, parseMasterKey } from '../../src/store/sealed.ts'
import { insertAccounts } from '../support/account-rows.ts'
import { makeCaller, serveRoutes } from '../support/call-routes.ts'
import type { Answer, RouteServer } from '../support/call-routes.ts'
import { testDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'

const lists = ['/v2025/sources', '/v2025/accounts', '/v2025/task-status'] as const
let database: TestDatabase
let server: RouteServer
let admin: Caller
let confined: Caller
let own = ''
let other = ''
/** Account ids by source id. */
const accounts = new Map<string, string>()

beforeAll(async () => {
  database = await testDatabase()
  const { db } = database
  admin = await makeCaller(db, 'ORG_ADMIN')
  const masterKey = parseMasterKey(generateMasterKey())
  server = await serveRoutes(
    [
      ...sourceRoutes({ db, masterKey, descriptions: [], wake: () => undefined }),
      ...accountRoutes({ db }),
      ...accountRemovalRoutes({ db, wake: () => undefined }),
      ...taskStatusRoutes({ db }),
      ...runRoutes({ db }),
      ...auditRoutes({ db }),
    ],
    admin,
  )
  for (const name of ['Own', 'Other']) {
    const { body } = await server.call('POST', '/v3/sources?provisionAsCsv=true', { name })
    if (name === 'Own') own = body.id
    else other = body.id
    const [id = ''] = await insertAccounts(db, body.id, [
      { nativeIdentity: 'ada', attributes: '{"groups":["a"],"id":"ada"}' },
      { nativeIdentity: 'bob', attributes: '{"id":"bob"}' },
    ])
    accounts.set(body.id, id)
    await db.query(
      `insert into task (id, type, state, source_id, launcher) values
         (gen_random_uuid(), 'CLOUD_ACCOUNT_AGGREGATION', 'queued', $1::uuid, 'x'),
         (gen_random_uuid(), 'CLOUD_ACCOUNT_AGGREGATION', 'queued', $1::uuid, 'y')`,
      [body.id],
    )
  }
  confined = await makeCaller(db, 'SOURCE_SUBADMIN', [own])
  await db.query(
    `insert into client (id, name, secret_salt, secret_hash, identity_id, level, scopes, source_ids)
     values ($1, 'confined', '', '', $2::uuid, 'SOURCE_SUBADMIN', '{}', $3::uuid[])`,
    [confined.clientId, confined.identityId, [own]],
  )
})
afterAll(async () => {
  await server?.close()
  await database?.drop()
})

const get = (path: string, caller?: Caller): Promise<Answer> =>
  server.call('GET', path, undefined, caller === undefined ? {} : { caller })
const filters = (path: string, filter: string) => `${path}?filters=${encodeURIComponent(filter)}`

describe.each(lists)('the list %s', (path) => {
  it.each([
    ['20,000 nested parentheses', `${'('.repeat(20_000)}id eq "x"${')'.repeat(20_000)}`],
    ['20,000 parentheses that nothing closes', '('.repeat(20_000)],
    ['20,000 times "not"', `${'not '.repeat(20_000)}id eq "x"`],
    ['1 MB of one value', `id eq "${'x'.repeat(1_000_000)}"`],
    ['1 MB of spaces', `id eq "x"${' '.repeat(1_000_000)}`],
    ['100,000 values', `id in (${Array.from({ length: 100_000 }, (_, i) => `"${i}"`).join(',')})`],
    ['1,400 values', `id in (${Array.from({ length: 1_400 }, (_, i) => `"${i}"`).join(',')})`],
    ['600 conditions', Array.from({ length: 600 }, () => 'id eq "x"').join(' or ')],
  ])('refuses a filter with %s', async (_what, filter) => {
    const answer = await get(filters(path, filter))
    expect(answer.status).toBe(400)
    expect(answer.body.messages[0].text).toMatch(/^The filter is wrong at character \d+: /)
  })

  it.each(['or', 'and'])(
    'takes 200 conditions under "%s" in 31 levels of parentheses',
    async (word) => {
      const conditions = Array.from({ length: 200 }, () => 'id eq "x"').join(` ${word} `)
      const answer = await get(filters(path, `${'('.repeat(31)}${conditions}${')'.repeat(31)}`))
      expect([answer.status, answer.body]).toEqual([200, []])
    },
  )

  it('takes what looks like SQL, a wildcard or a pattern as it is', async () => {
    for (const text of [
      `'; drop table source; --`,
      `' or '1'='1`,
      '%',
      '_',
      '.*',
      '(a+)+$',
      '\\',
    ]) {
      const value = text.replaceAll('\\', String.raw`\\`)
      for (const filter of [`id eq "${value}"`, `id in ("${value}")`]) {
        const answer = await get(filters(path, filter))
        expect([text, answer.status, answer.body]).toEqual([text, 200, []])
      }
      for (const query of [
        `filters=${encodeURIComponent(text)}`,
        `sorters=${encodeURIComponent(text)}`,
      ]) {
        expect((await get(`${path}?${query}`)).status).toBe(400)
      }
    }
    expect((await get(`${path}?count=true`)).headers['x-total-count']).not.toBe('0')
  })

  it('shows and counts for a confined client only what is of its sources', async () => {
    const of = (row: Record<string, never>): unknown =>
      path.endsWith('sources') ? row['id'] : (row['sourceId'] ?? row['target']?.['id'] ?? own)
    const queries = [
      '',
      'filters=not+id+eq+%22x%22',
      'filters=id+eq+%22x%22+or+not+id+eq+%22x%22',
      ...(path.endsWith('sources')
        ? ['for-subadmin=me', `for-subadmin=${confined.identityId}`, 'filters=name+sw+%22o%22']
        : [`filters=sourceId+in+(%22${own}%22,%22${other}%22)`]),
    ]
    for (const query of queries) {
      const everything = await get(`${path}?count=true&${query}`)
      const answer = await get(`${path}?count=true&${query}`, confined)
      expect([query, answer.status]).toEqual([query, 200])
      expect(answer.body.length).toBeGreaterThan(0)
      for (const row of answer.body) expect([query, of(row)]).toEqual([query, own])
      expect(answer.headers['x-total-count']).toBe(String(answer.body.length))
      if (!query.startsWith('for-')) {
        expect(everything.body).toHaveLength(2 * answer.body.length)
      }
    }
    const foreign = path.endsWith('sources') ? `id eq "${other}"` : `sourceId eq "${other}"`
    const none = await get(`${filters(path, foreign)}&count=true`, confined)
    expect([none.status, none.body, none.headers['x-total-count']]).toEqual([200, [], '0'])
  })
})

describe('a filter of accounts', () => {
  it('that asks about too many sources at once is refused with a way out', async () => {
    await database.db.query(
      `with made as (
         insert into source (id, name, name_key, type, connector, connection_type, status, since)
         select ('00000000-' || lpad(to_hex(n), 4, '0') || '-4000-8000-000000000000')::uuid, 'Many ' || n, 'many ' || n,
           'DelimitedFile', 'delimited-file-angularsc', 'file', 'x', now() from generate_series(1, 200) n returning id),
       configured as (insert into correlation_config (source_id, id) select id, gen_random_uuid() from made)
       insert into source_schema (id, source_id, name, attributes)
       select gen_random_uuid(), id, 'account', '[{"name":"groups","isEntitlement":true}]' from made`,
    )
    const many = Array.from({ length: 100 }, () => 'hasEntitlements eq true').join(' or ')
    const answer = await get(filters('/v2025/accounts', many))
    expect([answer.status, answer.body.messages[0].text]).toEqual([
      400,
      expect.stringMatching(/too many sources at once.*sourceId eq/),
    ])
    const narrowed = await get(filters('/v2025/accounts', `sourceId eq "${own}" and (${many})`))
    expect([narrowed.status, narrowed.body.length]).toEqual([200, 1])
  })
})

describe('a confined client', () => {
  it('gets 403 for accounts and sources of others, whether it reads or removes them', async () => {
    const account = accounts.get(other)?.replaceAll('-', '') ?? ''
    for (const [method, path] of [
      ['GET', `/v2025/accounts/${account}`],
      ['DELETE', `/v2025/accounts/${account}`],
      ['POST', `/v2025/accounts/${account}/remove`],
      ['POST', `/v2025/sources/${other}/remove-accounts`],
      ['GET', `/v2025/sources/${other}`],
    ] as const) {
      // The level alone would refuse some of these; a caller that may do all but see the source is refused too.
      const caller = { ...confined, level: 'ORG_ADMIN' as const }
      for (const who of [confined, caller]) {
        const { status } = await server.call(method, path, undefined, { caller: who })
        expect([method, path, who.level, status]).toEqual([method, path, who.level, 403])
      }
    }
  })
})

describe('the removal of accounts over HTTP', () => {
  it('is a task result, is in the audit, and is 409 while a task of the source is open', async () => {
    const made = await server.call('POST', '/v3/sources?provisionAsCsv=true', { name: 'Emptied' })
    const source: string = made.body.id
    const ids = await insertAccounts(
      database.db,
      source,
      ['a', 'b', 'c', 'd'].map((nativeIdentity) => ({ nativeIdentity })),
    )
    const wire = ids.map((id) => id.replaceAll('-', ''))
    const one = await server.call('POST', `/beta/accounts/${wire[0]}/remove`)
    expect([one.status, one.body]).toEqual([
      202,
      { type: 'TASK_RESULT', id: expect.stringMatching(/^[0-9a-f]{32}$/), name: null },
    ])
    const deleted = await server.call('DELETE', `/v3/accounts/${wire[1]}`)
    expect([deleted.status, deleted.body]).toEqual([
      202,
      { id: expect.stringMatching(/^[0-9a-f]{32}$/) },
    ])
    expect((await get(`/v3/accounts/${wire[1]}`)).status).toBe(404)
    expect((await server.call('DELETE', `/v3/accounts/${wire[1]}`)).status).toBe(404)
    const all = await server.call('POST', `/sources/v1/${source}/remove-accounts`)
    expect([all.status, all.body]).toEqual([
      202,
      { type: 'TASK_RESULT', id: expect.stringMatching(/^[0-9a-f]{32}$/), name: null },
    ])
    const task = await get(`/v2025/task-status/${all.body.id}`)
    expect(task.body).toMatchObject({
      completionStatus: 'SUCCESS',
      uniqueName: 'Cloud Account Deletion',
      attributes: { deleted: 2 },
    })
    const left = await get(`${filters('/v2025/accounts', `sourceId eq "${source}"`)}&count=true`)
    expect([left.body, left.headers['x-total-count']]).toEqual([[], '0'])
    expect((await get(`/v2025/sources/${source}`)).status).toBe(200)
    const changes = await get(`/muster/v1/runs/${all.body.id}/changes?count=true&kind=removed`)
    expect([changes.status, changes.headers['x-total-count']]).toEqual([200, '2'])
    const rows = await listAudit(database.db, { limit: 3, offset: 0 })
    expect(rows.map((row) => row.action)).toEqual([
      'SOURCE_ACCOUNTS_REMOVED',
      'ACCOUNT_REMOVED',
      'ACCOUNT_REMOVED',
    ])
    for (const path of [
      `/v2025/sources/${own}/remove-accounts`,
      `/v2025/accounts/${accounts.get(own)}/remove`,
    ]) {
      const busy = await server.call('POST', path)
      expect([busy.status, busy.text]).toEqual([409, expect.stringContaining('has not ended')])
    }
    expect(
      (await server.call('POST', `/v2025/sources/${'f'.repeat(32)}/remove-accounts`)).status,
    ).toBe(404)
    expect((await server.call('POST', `/v3/sources/${own}/remove-accounts`)).status).toBe(404)
  })

  it('of one account by DELETE is for files alone', async () => {
    const made = await server.call('POST', '/v3/sources', { name: 'Direct', connector: 'workday' })
    const [id = ''] = await insertAccounts(database.db, made.body.id, [{ nativeIdentity: 'x' }])
    const answer = await server.call('DELETE', `/v3/accounts/${id}`)
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining('/remove')])
    expect((await server.call('POST', `/v2025/accounts/${id}/remove`)).status).toBe(202)
  })
})

describe('a list that takes too long', () => {
  it('is 400 and says what to narrow it by, for each list', { timeout: 60_000 }, async () => {
    const run = await get('/v2025/task-status?limit=1')
    const lock = await database.db.connect()
    try {
      // What a statement waits for counts like what it reads.
      await lock.query(
        'begin; lock table source, account, task, audit, account_change in access exclusive mode',
      )
      const answers = await Promise.all(
        [...lists, '/v2025/task-status/pending-tasks', '/muster/v1/audit'].map((path) => get(path)),
      )
      for (const answer of answers) {
        expect([answer.status, answer.body.messages?.[0].text]).toEqual([
          400,
          expect.stringMatching(/^This list was not found within 10 seconds.* (Add|Use) /),
        ])
      }
    } finally {
      await lock.query('rollback')
      lock.release()
    }
    // The connections are as before: the limit ended with its transaction.
    expect((await get('/v2025/task-status?limit=1')).body).toEqual(run.body)
  })

  it(
    'takes no connection from other calls, however many there are',
    { timeout: 60_000 },
    async () => {
      const lock = await database.db.connect()
      try {
        await lock.query('begin; lock table account_link in access exclusive mode')
        const asked = Array.from({ length: 80 }, () => get('/v2025/accounts?sorters=-modified'))
        const refused = await Promise.all(asked.slice(-4))
        expect(refused.map((answer) => answer.status)).toEqual([503, 503, 503, 503])
        // A single thing needs a connection of the same pool.
        expect((await get(`/v2025/sources/${own}`)).status).toBe(200)
        await lock.query('rollback')
        const statuses = (await Promise.all(asked)).map((answer) => answer.status)
        expect(statuses.filter((status) => status === 200)).toHaveLength(68)
      } finally {
        await lock.query('rollback')
        lock.release()
      }
    },
  )
})
