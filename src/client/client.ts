// The typed client. It speaks to Muster and to ISC alike; what only Muster has is marked.
import { ApiError } from './api-error.ts'
import type {
  Account,
  AggregationStatus,
  ApiClient,
  ApiVersion,
  Change,
  CorrelationConfig,
  Discovery,
  ListQuery,
  LoadAccountsTask,
  NewApiClient,
  NewSchema,
  NewSource,
  Page,
  PatchStep,
  ReadMode,
  Reference,
  Reject,
  ResourceObjectsResponse,
  Run,
  Schema,
  Source,
  SourceHealth,
  SourceSettings,
  SourceState,
  StatusResponse,
  TaskStatus,
} from './models.ts'
import type { TokenSource } from './token.ts'
import { credentialTokens, fixedToken } from './token.ts'
import { defaultPatience } from './retry.ts'
import type { Patience } from './retry.ts'
import type { BodyMaker, Call, Fetch, Transport } from './transport.ts'
import { openTransport } from './transport.ts'
import type { UploadFile, UploadProgress } from './upload.ts'
import { uploadForm } from './upload.ts'
import type { WaitOptions } from './wait.ts'
import { waitForTask } from './wait.ts'

/** How to reach a server, and as whom. */
export interface ClientOptions {
  /** For example `http://127.0.0.1:8080` or `https://tenant.api.identitynow.com`. */
  readonly baseUrl: string
  readonly clientId?: string
  readonly clientSecret?: string
  /** A token that was obtained elsewhere, in place of the credentials; it is not renewed. */
  readonly accessToken?: string
  /** Default `v2025`. */
  readonly version?: ApiVersion
  readonly fetch?: Fetch
  readonly patience?: Partial<Patience>
  /** Refuses every call that would change something, before anything is sent. */
  readonly readOnly?: boolean
}

/** A call as it is, for what the client has no method for. */
export interface RawRequest {
  readonly method: Call['method']
  /** From the root of the server, with its version and its query: `/v2025/sources?limit=1`. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: BodyMaker
  readonly signal?: AbortSignal
  /** Milliseconds; null waits for ever. */
  readonly timeoutMs?: number | null
}

export interface LoadAccountsOptions {
  readonly file?: UploadFile
  /** Compare, correlate and promote every account, also those that did not change. */
  readonly disableOptimization?: boolean
  /** Muster only, for a source that reads its system: everything, or what changed; else what its settings say. */
  readonly mode?: ReadMode
  /** Asks for 409 instead of a task that has already failed when another run of the source is unfinished. */
  readonly strict?: boolean
  readonly onProgress?: UploadProgress
  readonly signal?: AbortSignal
}

export interface Client {
  readonly baseUrl: string
  readonly version: ApiVersion
  readonly readOnly: boolean
  /** Sends any call with a token; gives the answer whatever its status is. */
  request(request: RawRequest): Promise<Response>
  readonly sources: {
    list(query?: ListQuery): Promise<Page<Source>>
    get(id: string): Promise<Source>
    create(source: NewSource, options?: { readonly provisionAsCsv?: boolean }): Promise<Source>
    patch(id: string, steps: readonly PatchStep[]): Promise<Source>
    /** The accounts go first; the reference is the task that shows how far it is. */
    delete(id: string): Promise<Reference>
    /** Muster only. */
    settings(id: string): Promise<SourceSettings>
    /** Muster only. What is left out falls back to its default. */
    updateSettings(id: string, settings: Partial<SourceSettings>): Promise<SourceSettings>
    correlationConfig(id: string): Promise<CorrelationConfig>
    replaceCorrelationConfig(id: string, config: CorrelationConfig): Promise<CorrelationConfig>
    /** Muster only: whether the next read can be a delta. */
    state(id: string): Promise<SourceState>
    /** Muster only: the next read is full. */
    resetState(id: string): Promise<void>
  }
  /** Questions to the system of a source; they change nothing. */
  readonly probes: {
    checkConnection(sourceId: string, signal?: AbortSignal): Promise<StatusResponse>
    testConfiguration(sourceId: string, signal?: AbortSignal): Promise<StatusResponse>
    pingCluster(sourceId: string): Promise<StatusResponse>
    peek(
      sourceId: string,
      options?: { readonly objectType?: string; readonly maxCount?: number },
      signal?: AbortSignal,
    ): Promise<ResourceObjectsResponse>
    /** Not on `beta`. */
    health(sourceId: string): Promise<SourceHealth>
    /** Muster only: what the schemas lack; it proposes and applies nothing. */
    discover(sourceId: string, signal?: AbortSignal): Promise<Discovery>
  }
  readonly schemas: {
    list(sourceId: string): Promise<readonly Schema[]>
    get(sourceId: string, id: string): Promise<Schema>
    create(sourceId: string, schema: NewSchema): Promise<Schema>
    replace(sourceId: string, schema: Schema): Promise<Schema>
    patch(sourceId: string, id: string, steps: readonly PatchStep[]): Promise<Schema>
    delete(sourceId: string, id: string): Promise<void>
  }
  readonly tasks: {
    list(query?: ListQuery): Promise<Page<TaskStatus>>
    get(id: string, signal?: AbortSignal): Promise<TaskStatus>
    /** Asks the server to stop the run; it ends TERMINATED within seconds. ISC only clears tasks that are pending. */
    cancel(id: string): Promise<TaskStatus>
  }
  readonly aggregations: {
    status(taskId: string): Promise<AggregationStatus>
  }
  readonly accounts: {
    list(query?: ListQuery): Promise<Page<Account>>
    get(id: string): Promise<Account>
    /** All accounts that match, page after page. */
    all(query?: Omit<ListQuery, 'offset' | 'count'>): AsyncGenerator<Account>
  }
  /** Muster only: what ISC does not tell of an aggregation. The id is that of its task. */
  readonly runs: {
    get(id: string): Promise<Run>
    changes(id: string, query?: ListQuery & { readonly kind?: string }): Promise<Page<Change>>
    rejects(id: string, query?: ListQuery): Promise<Page<Reject>>
  }
  /** Muster only. */
  readonly clients: {
    list(): Promise<readonly ApiClient[]>
    create(client: NewApiClient): Promise<ApiClient>
    revoke(id: string): Promise<void>
  }
  loadAccounts(sourceId: string, options?: LoadAccountsOptions): Promise<LoadAccountsTask>
  waitForTask(id: string, options?: WaitOptions): Promise<TaskStatus>
}

/** Makes a client; nothing is sent before the first call. */
export function createClient(options: ClientOptions): Client {
  const baseUrl = options.baseUrl.replace(/\/+$/, '')
  const version = options.version ?? 'v2025'
  const fetch: Fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init))
  const patience = { ...defaultPatience, ...options.patience }
  const tokens = tokenSource(options, baseUrl, fetch, patience)
  const readOnly = options.readOnly ?? false
  const transport = openTransport({ baseUrl, fetch, tokens, patience, readOnly })
  const wire = openWire(transport, version)
  const tasks = tasksOf(wire)
  return {
    baseUrl,
    version,
    readOnly,
    request: (request) =>
      transport.send({ ...request, anyStatus: true, asksOnly: isQuestion(request) }),
    sources: sourcesOf(wire),
    probes: probesOf(wire),
    schemas: schemasOf(wire),
    tasks,
    aggregations: {
      status: (taskId) => wire.read('GET', `/account-aggregations/${segment(taskId)}/status`),
    },
    accounts: accountsOf(wire),
    runs: {
      get: (id) => wire.read('GET', `/runs/${segment(id)}`, { muster: true }),
      changes: (id, query) => wire.page(`/runs/${segment(id)}/changes`, query, true),
      rejects: (id, query) => wire.page(`/runs/${segment(id)}/rejects`, query, true),
    },
    clients: {
      list: () => wire.read('GET', '/clients', { muster: true }),
      create: (client) => wire.read('POST', '/clients', { muster: true, json: client }),
      revoke: async (id) => {
        await wire.send('DELETE', `/clients/${segment(id)}`, { muster: true })
      },
    },
    loadAccounts: (sourceId, load = {}) => loadAccounts(wire, sourceId, load),
    waitForTask: (id, wait) => waitForTask(id, (signal) => tasks.get(id, signal), wait),
  }
}

/** Whether a call asks for something though its method could change something. */
function isQuestion({ method, path }: RawRequest): boolean {
  const questions =
    /\/(?:connector\/(?:check-connection|test-configuration|ping-cluster|peek-resource-objects)|discover)\/?$/
  // The path as fetch will send it: dot segments resolved, query and fragment apart.
  return method === 'POST' && questions.test(new URL(path, 'http://any.example').pathname)
}

function tokenSource(
  options: ClientOptions,
  baseUrl: string,
  fetch: Fetch,
  patience: Patience,
): TokenSource {
  const { accessToken, clientId, clientSecret } = options
  if (accessToken !== undefined) return fixedToken(accessToken)
  if (clientId === undefined || clientSecret === undefined) {
    throw new Error('A client needs an accessToken, or a clientId and a clientSecret.')
  }
  return credentialTokens({ baseUrl, clientId, clientSecret, send: fetch, patience })
}

interface ReadOptions {
  readonly query?: object
  readonly json?: unknown
  readonly patch?: readonly PatchStep[]
  /** A path of Muster's own, `/muster/v1/…`. */
  readonly muster?: boolean
  readonly signal?: AbortSignal | undefined
  readonly timeoutMs?: number
  readonly asksOnly?: boolean
}

/** Paths and JSON on top of the transport. */
interface Wire {
  send(method: Call['method'], path: string, options?: ReadOptions): Promise<Response>
  read<T>(method: Call['method'], path: string, options?: ReadOptions): Promise<T>
  page<T>(path: string, query?: ListQuery, muster?: boolean): Promise<Page<T>>
  call(call: Call): Promise<Response>
  path(path: string): string
}

function openWire(transport: Transport, version: ApiVersion): Wire {
  const path = (unversioned: string): string => versioned(version, unversioned)
  const send: Wire['send'] = (method, unversioned, options = {}) => {
    const { json, patch } = options
    const body = patch ?? json
    const text = body === undefined ? undefined : JSON.stringify(body)
    const prefixed = options.muster === true ? `/muster/v1${unversioned}` : path(unversioned)
    return transport.send({
      method,
      path: prefixed + queryText(options.query ?? {}),
      ...(options.signal !== undefined && { signal: options.signal }),
      ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
      ...(options.asksOnly === true && { asksOnly: true }),
      ...(text !== undefined && {
        headers: {
          'content-type': patch === undefined ? 'application/json' : 'application/json-patch+json',
        },
        body: { repeatable: true, make: () => text },
      }),
    })
  }
  return {
    send,
    path,
    call: (call) => transport.send(call),
    read: async <T>(method: Call['method'], unversioned: string, options?: ReadOptions) => {
      const response = await send(method, unversioned, options)
      return (await response.json()) as T
    },
    page: async <T>(unversioned: string, query: ListQuery = {}, muster = false) => {
      const response = await send('GET', unversioned, { query, muster })
      const total = response.headers.get('x-total-count')
      return { items: (await response.json()) as T[], total: total === null ? null : Number(total) }
    },
  }
}

/** `/sources/1` → `/v2025/sources/1`, or `/sources/v1/1` in the per-service form. */
function versioned(version: ApiVersion, path: string): string {
  if (version !== 'v1') return `/${version}${path}`
  const [, service = '', ...rest] = path.split('/')
  return ['', service, 'v1', ...rest].join('/')
}

function queryText(query: object): string {
  const parameters = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(key, String(value))
  }
  return parameters.size === 0 ? '' : `?${parameters.toString()}`
}

/** An id as one segment of a path, whatever a person typed. */
function segment(id: string): string {
  // A dot segment would be resolved by fetch and ask for another path.
  if (/^\.{0,2}$/.test(id))
    throw new ApiError({
      status: 404,
      detailCode: '',
      text: `"${id}" is no id.`,
      trackingId: null,
      request: 'The call',
    })
  return encodeURIComponent(id)
}

function sourcesOf(wire: Wire): Client['sources'] {
  const one = (id: string): string => `/sources/${segment(id)}`
  return {
    list: (query) => wire.page('/sources', query),
    get: (id) => wire.read('GET', one(id)),
    create: (source, options = {}) =>
      wire.read('POST', '/sources', { query: options, json: { owner: null, ...source } }),
    patch: (id, patch) => wire.read('PATCH', one(id), { patch }),
    delete: (id) => wire.read('DELETE', one(id)),
    settings: (id) => wire.read('GET', `${one(id)}/settings`, { muster: true }),
    updateSettings: (id, json) => wire.read('PUT', `${one(id)}/settings`, { muster: true, json }),
    correlationConfig: (id) => wire.read('GET', `${one(id)}/correlation-config`),
    replaceCorrelationConfig: (id, json) =>
      wire.read('PUT', `${one(id)}/correlation-config`, { json }),
    state: (id) => wire.read('GET', `${one(id)}/state`, { muster: true }),
    resetState: async (id) => {
      await wire.send('DELETE', `${one(id)}/state`, { muster: true })
    },
  }
}

/** The server asks the system for up to a minute before it says that there is no answer. */
const probe = { timeoutMs: 90_000, asksOnly: true }

function probesOf(wire: Wire): Client['probes'] {
  const one = (id: string): string => `/sources/${segment(id)}`
  const ask = (name: string, id: string, signal?: AbortSignal): Promise<StatusResponse> =>
    wire.read('POST', `${one(id)}/connector/${name}`, { ...probe, signal })
  return {
    checkConnection: (id, signal) => ask('check-connection', id, signal),
    testConfiguration: (id, signal) => ask('test-configuration', id, signal),
    pingCluster: (id) => ask('ping-cluster', id),
    peek: (id, json = {}, signal) =>
      wire.read('POST', `${one(id)}/connector/peek-resource-objects`, {
        ...probe,
        json,
        signal,
      }),
    health: (id) => wire.read('GET', `${one(id)}/source-health`),
    discover: (id, signal) =>
      wire.read('POST', `${one(id)}/discover`, { ...probe, muster: true, signal }),
  }
}

function schemasOf(wire: Wire): Client['schemas'] {
  const all = (sourceId: string): string => `/sources/${segment(sourceId)}/schemas`
  const one = (sourceId: string, id: string): string => `${all(sourceId)}/${segment(id)}`
  return {
    list: (sourceId) => wire.read('GET', all(sourceId)),
    get: (sourceId, id) => wire.read('GET', one(sourceId, id)),
    create: (sourceId, json) => wire.read('POST', all(sourceId), { json }),
    replace: (sourceId, json) => wire.read('PUT', one(sourceId, json.id), { json }),
    patch: (sourceId, id, patch) => wire.read('PATCH', one(sourceId, id), { patch }),
    delete: async (sourceId, id) => {
      await wire.send('DELETE', one(sourceId, id))
    },
  }
}

function tasksOf(wire: Wire): Client['tasks'] {
  const one = (id: string): string => `/task-status/${segment(id)}`
  return {
    list: (query) => wire.page('/task-status', query),
    get: (id, signal) => wire.read('GET', one(id), { signal }),
    cancel: (id) =>
      wire.read('PATCH', one(id), {
        patch: [
          { op: 'replace', path: '/completionStatus', value: 'TERMINATED' },
          { op: 'replace', path: '/completed', value: new Date().toISOString() },
        ],
      }),
  }
}

const pageSize = 250

function accountsOf(wire: Wire): Client['accounts'] {
  const list: Client['accounts']['list'] = (query) => wire.page('/accounts', query)
  return {
    list,
    get: (id) => wire.read('GET', `/accounts/${segment(id)}`),
    all: async function* (query = {}) {
      const limit = query.limit ?? pageSize
      for (let offset = 0; ; offset += limit) {
        const { items } = await list({ ...query, limit, offset })
        yield* items
        if (items.length < limit) return
      }
    },
  }
}

async function loadAccounts(
  wire: Wire,
  sourceId: string,
  options: LoadAccountsOptions,
): Promise<LoadAccountsTask> {
  const { disableOptimization, mode } = options
  // The fields go first: a server that reads them knows all it needs when the file begins.
  const fields: [string, string][] = []
  if (disableOptimization !== undefined) {
    fields.push(['disableOptimization', String(disableOptimization)])
  }
  if (mode !== undefined) fields.push(['mode', mode])
  const form = uploadForm(fields, options.file ?? null, options.onProgress)
  const response = await wire.call({
    method: 'POST',
    path: wire.path(`/sources/${segment(sourceId)}/load-accounts`),
    headers: { ...form.headers, ...(options.strict === true && { prefer: 'handling=strict' }) },
    body: form.body,
    timeoutMs: null,
    // The same upload is one run: while that is unfinished, a repetition is given its task.
    repeatSafe: true,
    ...(options.signal !== undefined && { signal: options.signal }),
  })
  return (await response.json()) as LoadAccountsTask
}
