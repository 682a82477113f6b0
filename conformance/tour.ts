// Calls every operation of the API under every prefix that has it, and keeps what was answered: what the tests of shapes look at.
import { accountsCsv, freshName, header } from './data.ts'
import type { Target } from './server.ts'
import { type Api, connect, finished, json, multipart, type Reply, send } from './wire.ts'

/** A call and its answer. `operation` is the method and the path with the names of its parameters: `GET /beta/sources/{id}`. */
export interface Exchange {
  readonly operation: string
  readonly prefix: Prefix
  readonly reply: Reply
}

/** The prefixes of ISC, and Muster's own. */
export const prefixes = ['beta', 'v3', 'v2024', 'v2025', 'v2026', 'v1', 'muster'] as const
export type Prefix = (typeof prefixes)[number]

/** `/sources/{id}` → `/beta/sources/{id}`, `/sources/v1/{id}` or `/muster/v1/sources/{id}`. */
export function prefixed(prefix: Prefix, path: string): string {
  if (prefix === 'muster') return `/muster/v1${path}`
  if (prefix === 'v1') return path.replace(/^\/([^/?]+)/, '/$1/v1')
  return `/${prefix}${path}`
}

const patchType = 'application/json-patch+json'
const formOf = multipart

/** What one prefix is called with. */
interface Guide {
  readonly prefix: Prefix
  readonly api: Api
  /** Calls and keeps the exchange; `ids` fill the parameters of the path. */
  readonly call: (
    method: string,
    path: string,
    ids?: Record<string, string>,
    rest?: { readonly query?: string; readonly body?: unknown; readonly type?: string },
  ) => Promise<Reply>
}

/** The whole tour: takes some seconds and leaves nothing but tasks and audit behind. */
export async function tour(target: Target): Promise<Exchange[]> {
  const api = await connect(target)
  const exchanges: Exchange[] = []
  for (const prefix of prefixes) {
    const guide: Guide = {
      prefix,
      api,
      call: async (method, path, ids = {}, rest = {}) => {
        const template = prefixed(prefix, path)
        const filled = template.replaceAll(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? '0')
        const url = `${filled}${rest.query === undefined ? '' : `?${rest.query}`}`
        const reply = await api.call(method, url, rest.body, rest.type)
        exchanges.push({ operation: `${method} ${template}`, prefix, reply })
        return reply
      },
    }
    if (prefix === 'muster') await visitMuster(guide)
    else await visit(guide)
    await visitErrors(guide, target, exchanges)
  }
  return exchanges
}

async function visit(guide: Guide): Promise<void> {
  const { api, prefix } = guide
  const { delimited, direct } = await visitSources(guide)
  await visitSchemas(guide, delimited)
  await visitTokens(guide)
  if (prefix !== 'beta') {
    for (const id of [delimited, direct])
      await guide.call('GET', '/sources/{id}/source-health', { id })
  }
  if (prefix !== 'v3') {
    await visitCorrelation(guide, delimited)
    await visitProbes(guide, direct)
    await visitRuns(guide, delimited, direct)
  }
  await load(api, delimited, accountsCsv(4))
  await visitAccounts(guide, delimited)
  for (const id of [delimited, direct]) {
    const removal = await guide.call('DELETE', '/sources/{id}', { id })
    await ended(api, removal)
  }
}

const owner = null
const sourceBody = (name: string, connector: string): object => ({
  name,
  owner,
  connector,
  description: 'of the tour',
})

async function visitSources(guide: Guide): Promise<{ delimited: string; direct: string }> {
  const { call } = guide
  const made = await call(
    'POST',
    '/sources',
    {},
    {
      query: 'provisionAsCsv=true',
      body: sourceBody(freshName('Tour'), 'delimited-file-angularsc'),
    },
  )
  const read = await call(
    'POST',
    '/sources',
    {},
    {
      body: {
        ...sourceBody(freshName('Tour'), 'chaos'),
        connectorAttributes: { records: 3 },
      },
    },
  )
  const [delimited, direct] = [idOf(made), idOf(read)]
  for (const id of [delimited, direct]) await call('GET', '/sources/{id}', { id })
  await call('GET', '/sources', {}, { query: 'count=true&limit=5&sorters=-created' })
  await call('PUT', '/sources/{id}', { id: delimited }, { body: json(made) })
  await call(
    'PATCH',
    '/sources/{id}',
    { id: delimited },
    {
      body: [{ op: 'replace', path: '/deleteThreshold', value: 100 }],
      type: patchType,
    },
  )
  return { delimited, direct }
}

async function visitSchemas(guide: Guide, id: string): Promise<void> {
  const { call } = guide
  const one = '/sources/{id}/schemas/{schemaId}'
  const group = {
    name: 'group',
    nativeObjectType: 'Group',
    identityAttribute: 'id',
    displayAttribute: 'name',
    attributes: [
      { name: 'id', type: 'STRING' },
      { name: 'name', type: 'STRING' },
    ],
  }
  const made = await call('POST', '/sources/{id}/schemas', { id }, { body: group })
  const schemaId = idOf(made)
  await call('GET', '/sources/{id}/schemas', { id })
  await call('GET', one, { id, schemaId })
  await call('PUT', one, { id, schemaId }, { body: json(made) })
  await call(
    'PATCH',
    one,
    { id, schemaId },
    {
      body: [{ op: 'replace', path: '/nativeObjectType', value: 'Team' }],
      type: patchType,
    },
  )
  for (const [kind, csv] of [
    ['accounts', header],
    ['entitlements', 'id,name,description'],
  ] as const) {
    const { body, contentType } = formOf([{ name: 'file', fileName: 'schema.csv', value: csv }])
    await call('GET', `/sources/{id}/schemas/${kind}`, { id })
    await call('POST', `/sources/{id}/schemas/${kind}`, { id }, { body, type: contentType })
  }
  await call('DELETE', one, { id, schemaId })
  // One that says as little as it may.
  const bare = idOf(await call('POST', '/sources/{id}/schemas', { id }, { body: { name: 'bare' } }))
  await call(
    'PATCH',
    one,
    { id, schemaId: bare },
    {
      body: [{ op: 'add', path: '/attributes/-', value: { name: 'id' } }],
      type: patchType,
    },
  )
  await call('GET', one, { id, schemaId: bare })
}

async function visitCorrelation({ call }: Guide, id: string): Promise<void> {
  const path = '/sources/{id}/correlation-config'
  await call('GET', path, { id })
  const assignment = {
    property: 'email',
    value: 'e-mail',
    operation: 'EQ',
    complex: false,
    ignoreCase: true,
    matchMode: 'ANYWHERE',
    filterString: null,
  }
  await call('PUT', path, { id }, { body: { attributeAssignments: [assignment] } })
}

async function visitTokens({ call }: Guide): Promise<void> {
  const made = await call(
    'POST',
    '/personal-access-tokens',
    {},
    {
      body: { name: freshName('Tour'), userAwareTokenNeverExpires: true },
    },
  )
  const id = idOf(made)
  await call(
    'PATCH',
    '/personal-access-tokens/{id}',
    { id },
    {
      body: [
        { op: 'replace', path: '/expirationDate', value: '2999-01-01T00:00:00.000Z' },
        { op: 'replace', path: '/scope', value: ['idn:sources:read'] },
      ],
      type: patchType,
    },
  )
  await call('GET', '/personal-access-tokens', {}, { query: 'owner-id=me' })
  await call('DELETE', '/personal-access-tokens/{id}', { id })
}

async function visitProbes({ call }: Guide, id: string): Promise<void> {
  for (const probe of ['check-connection', 'test-configuration', 'ping-cluster']) {
    await call('POST', `/sources/{id}/connector/${probe}`, { id }, { body: {} })
  }
  await call(
    'POST',
    '/sources/{id}/connector/peek-resource-objects',
    { id },
    {
      body: { objectType: 'account', maxCount: 2 },
    },
  )
}

/** Runs of a file and of a system, the same while they run and after they ended, and one that is cancelled. */
async function visitRuns(
  { call, api, prefix }: Guide,
  delimited: string,
  direct: string,
): Promise<void> {
  const rejecting = `${accountsCsv(2)},no identity\n`
  const file = formOf([
    { name: 'disableOptimization', value: 'true' },
    { name: 'file', fileName: 'accounts.csv', value: rejecting },
  ])
  const loadPath = '/sources/{id}/load-accounts'
  const loaded = await call(
    'POST',
    loadPath,
    { id: delimited },
    { body: file.body, type: file.contentType },
  )
  const id = taskOf(loaded)
  await call('GET', '/account-aggregations/{id}/status', { id })
  await finished(api, `/v2025/task-status/${id}`)
  await call('GET', '/account-aggregations/{id}/status', { id })
  await call('GET', '/task-status/{id}', { id })
  await call('GET', '/task-status', {}, { query: 'limit=5&count=true' })
  await api.call('PATCH', `/v2025/sources/${direct}`, slow, patchType)
  const form = 'application/x-www-form-urlencoded'
  const running = await call('POST', loadPath, { id: direct }, { body: 'mode=full', type: form })
  const busy = taskOf(
    await call('POST', loadPath, { id: direct }, { body: 'disableOptimization=true', type: form }),
  )
  await call('GET', '/task-status/{id}', { id: busy })
  const pending = taskOf(running)
  await call('GET', '/task-status/{id}', { id: pending })
  if (['beta', 'v2024', 'v2025'].includes(prefix)) await call('GET', '/task-status/pending-tasks')
  await call(
    'PATCH',
    '/task-status/{id}',
    { id: pending },
    {
      body: [{ op: 'replace', path: '/completionStatus', value: 'TERMINATED' }],
      type: patchType,
    },
  )
  await finished(api, `/v2025/task-status/${pending}`)
  await call('GET', '/task-status/{id}', { id: pending })
}

const slow = [
  { op: 'add', path: '/connectorAttributes/behaviour', value: 'endless' },
  { op: 'add', path: '/connectorAttributes/delayMs', value: 50 },
]

async function visitAccounts({ call, api, prefix }: Guide, sourceId: string): Promise<void> {
  const query = `filters=${encodeURIComponent(`sourceId eq "${sourceId}"`)}&sorters=name&count=true`
  const listed = await call('GET', '/accounts', {}, { query })
  await call('GET', '/accounts', {}, { query: `${query}&detailLevel=SLIM&limit=1` })
  const ids = (json(listed) as unknown as { readonly id: string }[]).map((account) => account.id)
  const [first = '', second = ''] = ids
  await call('GET', '/accounts/{id}', { id: first })
  await ended(api, await call('DELETE', '/accounts/{id}', { id: first }))
  if (prefix === 'v3') return
  await ended(api, await call('POST', '/accounts/{id}/remove', { id: second }))
  await ended(api, await call('POST', '/sources/{id}/remove-accounts', { id: sourceId }))
}

async function visitMuster({ call, api }: Guide): Promise<void> {
  const made = await call(
    'POST',
    '/clients',
    {},
    { body: { name: freshName('Tour'), level: 'HELPDESK' } },
  )
  await call('GET', '/clients', {}, { query: 'limit=250' })
  await call('DELETE', '/clients/{id}', { id: idOf(made) })
  const source = await api.call('POST', '/v2025/sources', {
    ...sourceBody(freshName('Tour'), 'chaos'),
    connectorAttributes: { records: 3 },
  })
  const id = idOf(source)
  await call('GET', '/sources/{id}/settings', { id })
  await call(
    'PUT',
    '/sources/{id}/settings',
    { id },
    { body: { whenBusy: 'conflict', readMode: 'full' } },
  )
  await call('POST', '/sources/{id}/discover', { id })
  const loaded = await api.call(
    'POST',
    `/v2025/sources/${id}/load-accounts`,
    'mode=full',
    'application/x-www-form-urlencoded',
  )
  const run = taskOf(loaded)
  await finished(api, `/v2025/task-status/${run}`)
  await call('GET', '/sources/{id}/state', { id })
  await call('DELETE', '/sources/{id}/state', { id })
  await call('GET', '/sources/{id}/state', { id })
  const delimited = idOf(
    await api.call(
      'POST',
      '/v2025/sources?provisionAsCsv=true',
      sourceBody(freshName('Tour'), 'x'),
    ),
  )
  const rejecting = await load(api, delimited, `${accountsCsv(2)},no identity\n`)
  for (const task of [run, rejecting]) {
    await call('GET', '/runs/{id}', { id: task })
    await call('GET', '/runs/{id}/changes', { id: task }, { query: 'count=true' })
    await call('GET', '/runs/{id}/rejects', { id: task })
  }
  for (const one of [id, delimited])
    await ended(api, await api.call('DELETE', `/v2025/sources/${one}`))
  await call('GET', '/audit', {}, { query: 'limit=250' })
}

/** One of each refusal: without a token, without a right, of nothing, of nonsense, of another media type. */
async function visitErrors(
  { call, prefix, api }: Guide,
  target: Target,
  exchanges: Exchange[],
): Promise<void> {
  const isMuster = prefix === 'muster'
  const list = isMuster ? '/audit' : '/sources'
  await call('GET', list, {}, { query: 'limit=251' })
  await call('GET', isMuster ? '/runs/{id}' : '/sources/{id}', { id: '0'.repeat(32) })
  const place = isMuster ? '/clients' : '/sources'
  await call('POST', place, {}, { body: 'name=x', type: 'text/plain' })
  await call('POST', place, {}, { body: '{"name":', type: 'application/json' })
  const helpdesk = await api.call('POST', '/muster/v1/clients', {
    name: freshName('Tour'),
    level: 'HELPDESK',
  })
  const { id, secret } = json(helpdesk)
  const few = await connect({ ...target, clientId: String(id), clientSecret: String(secret) })
  for (const authorization of ['Bearer x', `Bearer ${few.token}`]) {
    const path = prefixed(prefix, list)
    const reply = await send(target, 'GET', path, { authorization })
    exchanges.push({ operation: `GET ${path}`, prefix, reply })
  }
}

async function load(api: Api, sourceId: string, csv: string): Promise<string> {
  const task = taskOf(await api.upload(`/v2025/sources/${sourceId}/load-accounts`, csv))
  await finished(api, `/v2025/task-status/${task}`)
  return task
}

function idOf(reply: Reply): string {
  if (reply.status >= 300) throw new Error(`${reply.status} ${reply.text}`)
  return String(json(reply)['id'])
}

function taskOf(reply: Reply): string {
  if (reply.status !== 202) throw new Error(`${reply.status} ${reply.text}`)
  return (json(reply)['task'] as { readonly id: string }).id
}

/** Waits for the task that an answer names. */
async function ended(api: Api, reply: Reply): Promise<void> {
  await finished(api, `/v2025/task-status/${idOf(reply)}`)
}
