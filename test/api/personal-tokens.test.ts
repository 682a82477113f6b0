// Personal access tokens: made, used, changed and deleted, and never worth more than who made them.
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeClient, startApi, tokenOf } from './api-server.ts'
import type { TestApi } from './api-server.ts'

let api: TestApi

beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.close())

interface Pat {
  readonly id: string
  readonly secret?: string
  readonly name: string
  readonly scope: readonly string[]
  readonly owner: { readonly type: string; readonly id: string; readonly name: string }
  readonly expirationDate: string | null
  readonly lastUsed?: string | null
}

interface Answer {
  readonly status: number
  readonly text: string
  readonly body: ReturnType<typeof JSON.parse>
}

async function call(
  token: string,
  method: string,
  path: string,
  body?: unknown,
  type = 'application/json',
): Promise<Answer> {
  const response = await fetch(`${api.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': type }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, text, body: text === '' ? null : JSON.parse(text) }
}

const pats = '/v2025/personal-access-tokens'
const forever = { userAwareTokenNeverExpires: true }
const patch = (token: string, id: string, ...changes: readonly object[]): Promise<Answer> =>
  call(token, 'PATCH', `${pats}/${id}`, changes, 'application/json-patch+json')

/** Makes a token, by default one that never ends. */
async function make(token: string, body: object): Promise<Pat & { readonly secret: string }> {
  const answer = await call(token, 'POST', pats, { ...forever, ...body })
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`)
  return answer.body as Pat & { readonly secret: string }
}

async function grant(
  id: string,
  secret: string,
): Promise<{ status: number; body: ReturnType<typeof JSON.parse> }> {
  const response = await fetch(
    `${api.url}/oauth/token?grant_type=client_credentials&client_id=${id}&client_secret=${secret}`,
    { method: 'POST' },
  )
  return { status: response.status, body: await response.json() }
}

/** A fresh person with a client of this level. */
async function person(
  level = 'SOURCE_ADMIN',
  more: object = {},
): Promise<{ token: string; id: string; secret: string }> {
  return makeClient(api, { name: `Person ${Math.random()}`, level, ...more })
}

function claims(token: string): ReturnType<typeof JSON.parse> {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
}

describe('a personal access token', () => {
  it('is made under every prefix with 200, and its id and secret give tokens of its owner', async () => {
    const { token } = await person()
    for (const path of ['/beta', '/v3', '/v2024', '/v2025', '/v2026']) {
      const answer = await call(token, 'POST', `${path}/personal-access-tokens`, {
        name: `of ${path}`,
        ...forever,
      })
      expect([path, answer.status]).toEqual([path, 200])
    }
    const perService = await call(token, 'POST', '/personal-access-tokens/v1', {
      name: 'of v1',
      ...forever,
    })
    expect(perService.status).toBe(200)
    const made = perService.body as Pat & { secret: string }
    expect(made).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{32}$/),
      secret: expect.stringMatching(/^[0-9a-f]{64}$/),
      scope: ['sp:scopes:all'],
      name: 'of v1',
      owner: { type: 'IDENTITY', id: claims(token).identity_id, name: claims(token).user_name },
      created: expect.any(String),
      accessTokenValiditySeconds: 43_200,
      expirationDate: null,
    })
    const access = await tokenOf(api.url, made.id, made.secret)
    expect(claims(access)).toMatchObject({
      identity_id: claims(token).identity_id,
      client_id: made.id,
      authorities: ['SOURCE_ADMIN'],
      iss: claims(token).iss,
      aud: claims(token).aud,
    })
    const mine = await call(access, 'GET', `${pats}?owner-id=me&count=true`)
    expect(mine.body).toHaveLength(6)
    const used = (mine.body as Pat[]).find((one) => one.id === made.id)
    expect(used).toMatchObject({
      managed: false,
      lastUsed: expect.any(String),
      userAwareTokenNeverExpires: true,
    })
  })

  it('is told once: no list, no other endpoint, no audit and no log has its secret', async () => {
    const { token } = await person()
    const admin = await api.token()
    const made = await make(token, { name: 'secretive' })
    await grant(made.id, made.secret)
    await patch(token, made.id, { op: 'replace', path: '/name', value: 'more secretive' })
    for (const [who, path] of [
      [token, `${pats}?owner-id=me`],
      [admin, pats],
      [admin, '/muster/v1/clients'],
      [admin, '/muster/v1/audit?limit=250'],
    ] as const) {
      const answer = await call(who, 'GET', path)
      expect([path, answer.status]).toEqual([path, 200])
      expect(answer.text).toContain(made.id)
      expect(answer.text).not.toContain(made.secret)
    }
    expect(api.log()).not.toContain(made.secret)
  })

  it('gives access tokens of the lifetime that it was made with', async () => {
    const { token } = await person()
    const made = await make(token, { name: 'brief', accessTokenValiditySeconds: 15 })
    const { status, body } = await grant(made.id, made.secret)
    expect([status, body.expires_in]).toEqual([200, 15])
    const { exp, iat } = claims(body.access_token)
    expect(exp - iat).toBe(15)
    for (const accessTokenValiditySeconds of [14, 43_201, 15.5, '60']) {
      const refused = await call(token, 'POST', pats, {
        name: 'wrong',
        ...forever,
        accessTokenValiditySeconds,
      })
      expect([accessTokenValiditySeconds, refused.status]).toEqual([
        accessTokenValiditySeconds,
        400,
      ])
    }
  })

  it('gives nothing after its end, and what it gave is refused then too', async () => {
    const { token } = await person()
    const expirationDate = new Date(Date.now() + 3_600_000).toISOString()
    const made = await make(token, { name: 'ending', expirationDate })
    expect(made.expirationDate).toBe(expirationDate)
    const first = await grant(made.id, made.secret)
    // It lives no longer than the token that it is of.
    expect(first.body.expires_in).toBeLessThanOrEqual(3_600)
    expect(first.body.expires_in).toBeGreaterThan(3_500)
    const access = first.body.access_token as string
    expect((await call(access, 'GET', `${pats}?owner-id=me`)).status).toBe(200)
    // An end that has come, as the clock would have it.
    await api.db.query(
      `update client set expires_at = clock_timestamp() - interval '1 second' where id = $1::text`,
      [made.id],
    )
    // Another process knows it two seconds later at most; this one is told by any change.
    await patch(token, made.id, { op: 'replace', path: '/name', value: 'ended' })
    const refused = await call(access, 'GET', `${pats}?owner-id=me`)
    expect([refused.status, refused.body.error]).toEqual([
      401,
      'JWT validation failed: the client of the token is expired',
    ])
    expect((await grant(made.id, made.secret)).status).toBe(401)
    const listed = await call(token, 'GET', `${pats}?owner-id=me`)
    expect((listed.body as Pat[]).map((one) => one.name)).toContain('ended')
  })

  it('needs an end, or somebody who knows that it has none; old versions end it after half a year', async () => {
    const { token } = await person()
    for (const path of [pats, '/v2026/personal-access-tokens', '/personal-access-tokens/v1']) {
      const refused = await call(token, 'POST', path, { name: 'endless' })
      expect([path, refused.status]).toEqual([path, 400])
      expect(refused.text).toContain('userAwareTokenNeverExpires')
    }
    const preset = await call(token, 'POST', '/v3/personal-access-tokens', { name: 'old style' })
    expect(preset.status).toBe(200)
    const ahead = Date.parse((preset.body as Pat).expirationDate ?? '') - Date.now()
    expect(ahead).toBeGreaterThan(180 * 86_400_000)
    expect(ahead).toBeLessThan(185 * 86_400_000)
    const past = await call(token, 'POST', pats, {
      name: 'past',
      expirationDate: '2020-01-01T00:00:00Z',
    })
    expect(past.status).toBe(400)
  })

  it('comes to ten for each person, also when all are asked for at once', async () => {
    const { token } = await person()
    const answers = await Promise.all(
      Array.from({ length: 15 }, (_, index) =>
        call(token, 'POST', pats, { name: `number ${index}`, ...forever }),
      ),
    )
    const statuses = answers.map((answer) => answer.status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(10)
    expect(statuses.filter((status) => status === 400)).toHaveLength(5)
    const first = answers.find((answer) => answer.status === 200)?.body as Pat
    expect((await call(token, 'DELETE', `${pats}/${first.id}`)).status).toBe(204)
    await make(token, { name: 'there is room again' })
    const other = await person()
    await make(other.token, { name: 'of another person' })
  })

  it('is not made beyond ten while others are being made and nobody sees them yet', async () => {
    const { token } = await person()
    const owner = (await make(token, { name: 'number 0' })).owner.id
    let settled = 0
    const attempts = await api.db.transaction(async (tx) => {
      await tx.query('select id from identity where id = $1::uuid for no key update', [owner])
      await tx.query(
        `insert into client (id, name, secret_salt, secret_hash, identity_id, level, scopes, is_personal)
         select 'held ' || $1::text || number, 'held ' || number, '', '', $1::uuid, 'HELPDESK', '{}', true
         from generate_series(1, 8) number`,
        [owner],
      )
      const begun = ['a', 'b'].map(async (name) => {
        const answer = await call(token, 'POST', pats, { name, ...forever })
        settled += 1
        return answer.status
      })
      for (;;) {
        const { rows } = await api.db.query<{ count: number }>(
          `select count(*) as count from pg_stat_activity
           where datname = current_database() and wait_event_type = 'Lock'`,
        )
        if (settled + (rows[0]?.count ?? 0) >= 2) return begun
        await pause(20)
      }
    })
    const statuses = await Promise.all(attempts)
    expect(statuses.toSorted((one, other) => one - other)).toEqual([200, 400])
  })

  it('has a name that no other of its owner has', async () => {
    const [one, other] = [await person(), await person()]
    await make(one.token, { name: 'same' })
    const refused = await call(one.token, 'POST', pats, { name: 'same', ...forever })
    expect([refused.status, refused.text.includes('"same\\"')]).toEqual([400, true])
    await make(other.token, { name: 'same' })
  })

  it('is guarded against guesses like every client, and others go on', async () => {
    const { token } = await person()
    const made = await make(token, { name: 'guessed at' })
    const statuses = await Promise.all(
      Array.from({ length: 30 }, async () => (await grant(made.id, 'wrong')).status),
    )
    expect(statuses.filter((status) => status === 401)).toHaveLength(10)
    expect(statuses.filter((status) => status === 429)).toHaveLength(20)
    const second = await make(token, { name: 'not guessed at' })
    expect((await grant(second.id, second.secret)).status).toBe(200)
  })
})

describe('a change of a personal access token', () => {
  it('renames, narrows and ends it at once, and nothing else', async () => {
    const { token } = await person()
    const made = await make(token, { name: 'before' })
    const access = await tokenOf(api.url, made.id, made.secret)
    const changed = await patch(
      token,
      made.id,
      { op: 'replace', path: '/name', value: 'after' },
      { op: 'replace', path: '/scope', value: ['idn:sources:read'] },
    )
    expect(changed.status).toBe(200)
    expect(changed.body).toMatchObject({ name: 'after', scope: ['idn:sources:read'] })
    expect((await call(access, 'GET', `${pats}?owner-id=me`)).status).toBe(403)
    for (const path of ['/id', '/owner', '/created', '/accessTokenValiditySeconds', '/secret']) {
      const refused = await patch(token, made.id, { op: 'add', path, value: 'x' })
      expect([path, refused.status]).toEqual([path, 400])
    }
    const endless = await patch(token, made.id, {
      op: 'replace',
      path: '/userAwareTokenNeverExpires',
      value: false,
    })
    expect(endless.status).toBe(400)
    const ends = new Date(Date.now() + 60_000).toISOString()
    const ending = await patch(token, made.id, {
      op: 'replace',
      path: '/expirationDate',
      value: ends,
    })
    expect(ending.body).toMatchObject({ expirationDate: ends })
  })

  it('is for the owner only, and deleting for the owner and for who may manage all', async () => {
    const [owner, other] = [await person(), await person()]
    const made = await make(owner.token, { name: 'mine' })
    const rename = { op: 'replace', path: '/name', value: 'yours' }
    expect((await patch(other.token, made.id, rename)).status).toBe(404)
    expect((await patch(await api.token(), made.id, rename)).status).toBe(404)
    expect((await call(other.token, 'DELETE', `${pats}/${made.id}`)).status).toBe(404)
    expect((await call(await api.token(), 'DELETE', `${pats}/${made.id}`)).status).toBe(204)
    expect((await call(owner.token, 'DELETE', `${pats}/${made.id}`)).status).toBe(404)
    // The client that a person came with is no personal access token.
    expect((await call(owner.token, 'DELETE', `${pats}/${owner.id}`)).status).toBe(404)
  })

  it('is in the audit with its before and after', async () => {
    const { token } = await person()
    const made = await make(token, { name: 'audited' })
    await patch(token, made.id, { op: 'replace', path: '/name', value: 'renamed' })
    await call(token, 'DELETE', `${pats}/${made.id}`)
    const audit = await call(await api.token(), 'GET', '/muster/v1/audit?limit=250')
    const rows = (audit.body as { action: string; target?: { id?: string }; after?: Pat }[]).filter(
      (row) => JSON.stringify(row).includes(made.id) && row.action.startsWith('PERSONAL'),
    )
    expect(rows.map((row) => row.action).toSorted()).toEqual([
      'PERSONAL_ACCESS_TOKEN_CREATED',
      'PERSONAL_ACCESS_TOKEN_DELETED',
      'PERSONAL_ACCESS_TOKEN_UPDATED',
    ])
  })
})

describe('the rights of a personal access token', () => {
  it('are never more than those of its maker', async () => {
    const few = await person('SOURCE_ADMIN', {
      scopes: ['idn:sources:read', 'sp:my-personal-access-tokens:manage'],
    })
    const all = await call(few.token, 'POST', pats, { name: 'all', scope: null, ...forever })
    expect(all.status).toBe(403)
    const foreign = await call(few.token, 'POST', pats, {
      name: 'foreign',
      scope: ['idn:sources:manage'],
      ...forever,
    })
    expect(foreign.status).toBe(403)
    const made = await make(few.token, { name: 'few', scope: ['idn:sources:read'] })
    const widened = await patch(few.token, made.id, {
      op: 'replace',
      path: '/scope',
      value: ['sp:scopes:all'],
    })
    expect(widened.status).toBe(403)
  })

  it('end when those of its maker do, if its maker is a token with an end', async () => {
    const { token } = await person()
    const ends = new Date(Date.now() + 3_600_000).toISOString()
    const brief = await make(token, { name: 'brief', expirationDate: ends })
    const access = await tokenOf(api.url, brief.id, brief.secret)
    expect((await call(access, 'POST', pats, { name: 'for ever', ...forever })).status).toBe(403)
    const child = await make(access, { name: 'child', expirationDate: ends })
    const longer = new Date(Date.now() + 7_200_000).toISOString()
    const replace = { op: 'replace', path: '/expirationDate', value: longer }
    expect((await patch(access, child.id, replace)).status).toBe(403)
    expect((await patch(token, child.id, replace)).status).toBe(200)
  })

  it('make no client that would outlive it', async () => {
    const { token } = await person('ORG_ADMIN')
    const ends = new Date(Date.now() + 3_600_000).toISOString()
    const brief = await make(token, { name: 'brief', expirationDate: ends })
    const access = await tokenOf(api.url, brief.id, brief.secret)
    const client = { name: 'Left behind', level: 'ORG_ADMIN' }
    expect((await call(access, 'POST', '/muster/v1/clients', client)).status).toBe(403)
    expect((await call(token, 'POST', '/muster/v1/clients', client)).status).toBe(201)
  })

  it('do not reach to the client of its own person, which might be the last way in', async () => {
    const { token, id } = await person('ORG_ADMIN')
    const made = await make(token, { name: 'sawing off the branch' })
    const access = await tokenOf(api.url, made.id, made.secret)
    expect((await call(access, 'DELETE', `/muster/v1/clients/${id}`)).status).toBe(409)
    expect((await call(token, 'GET', `${pats}?owner-id=me`)).status).toBe(200)
    expect((await call(access, 'GET', `${pats}?owner-id=me`)).status).toBe(200)
  })

  it('are gone when the client of its owner is revoked', async () => {
    const { token, id } = await person()
    const made = await make(token, { name: 'orphan' })
    const access = await tokenOf(api.url, made.id, made.secret)
    expect((await call(access, 'GET', `${pats}?owner-id=me`)).status).toBe(200)
    expect((await call(await api.token(), 'DELETE', `/muster/v1/clients/${id}`)).status).toBe(204)
    expect((await call(access, 'GET', `${pats}?owner-id=me`)).status).toBe(401)
    expect((await grant(made.id, made.secret)).status).toBe(401)
  })

  it('do not show the tokens of others to who may not see them', async () => {
    const [one, other] = [await person(), await person('HELPDESK')]
    const made = await make(one.token, { name: 'seen by few' })
    expect((await call(other.token, 'GET', pats)).status).toBe(403)
    const ownerId = made.owner.id
    expect((await call(other.token, 'GET', `${pats}?owner-id=${ownerId}`)).status).toBe(403)
    const own = await call(other.token, 'GET', `${pats}?owner-id=me`)
    expect([own.status, own.body]).toEqual([200, []])
    const admin = await api.token()
    const theirs = await call(admin, 'GET', `${pats}?owner-id=${ownerId}`)
    expect((theirs.body as Pat[]).map((pat) => pat.id)).toEqual([made.id])
    const unused = await call(
      admin,
      'GET',
      `${pats}?owner-id=${ownerId}&filters=${encodeURIComponent('lastUsed isnull')}`,
    )
    expect(unused.body).toHaveLength(1)
    const stale = await call(
      admin,
      'GET',
      `${pats}?owner-id=${ownerId}&filters=${encodeURIComponent('lastUsed le 2999-01-01T00:00:00Z')}`,
    )
    expect(stale.body).toHaveLength(0)
    expect((await call(admin, 'GET', `${pats}?owner-id=nobody`)).body).toEqual([])
    expect((await call(admin, 'GET', `${pats}?filters=name%20eq%20%22x%22`)).status).toBe(400)
  })

  it('are not had by the secret itself, nor at another deployment', async () => {
    const { token } = await person()
    const made = await make(token, { name: 'at home' })
    expect((await call(made.secret, 'GET', `${pats}?owner-id=me`)).status).toBe(401)
    const access = await tokenOf(api.url, made.id, made.secret)
    const elsewhere = await startApi()
    try {
      const response = await fetch(`${elsewhere.url}${pats}?owner-id=me`, {
        headers: { authorization: `Bearer ${access}` },
      })
      expect(response.status).toBe(401)
    } finally {
      await elsewhere.close()
    }
  })
})
