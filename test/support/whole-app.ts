// The whole program on a database of its own, and every operation that its document names: for tests that walk them all.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openLog } from '../../src/api/logging.ts'
import { createApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { checkout } from './build.ts'
import { emptyDatabase } from './database.ts'
import { databaseUrl } from './server-process.ts'

/** One operation under one version prefix. */
export interface Operation {
  /** The operation id without what its version adds. */
  readonly id: string
  readonly method: string
  /** With placeholders such as `{id}`. */
  readonly path: string
  readonly levels: readonly string[]
  /** Any one of these opens it; none: every token does. */
  readonly scopes: readonly string[]
}

/** An answer with its body as text and, where it is JSON, parsed. */
export interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly body: ReturnType<typeof JSON.parse>
}

export type Call = (method: string, path: string, body?: unknown) => Promise<Reply>

export interface WholeApp {
  readonly url: string
  /** Every operation that needs a token, under every prefix. */
  readonly operations: readonly Operation[]
  /** The ids of the operations that need none. */
  readonly open: readonly string[]
  /** Calls as the client that may do everything. */
  readonly admin: Call
  /** Makes a client and gives its calls. */
  client(body: Record<string, unknown>): Promise<Call>
  /** Uploads a file to a source, waits for its run and gives the id of the task. */
  load(source: string, csv: string): Promise<string>
  close(): Promise<void>
}

const client = { id: 'walker', secret: 'the secret of the tests that walk' }

/** Starts it, with a connector that needs no system. */
export async function startWholeApp(): Promise<WholeApp> {
  const database = await emptyDatabase()
  const folder = await mkdtemp(join(tmpdir(), 'muster-whole-'))
  const config = readConfig({
    DATABASE_URL: databaseUrl(database.settings),
    MUSTER_KEY: generateMasterKey(),
    MUSTER_DATA_DIR: folder,
    MUSTER_PORT: '0',
    MUSTER_RATE_LIMIT: '0',
    MUSTER_CLIENT_ID: client.id,
    MUSTER_CLIENT_SECRET: client.secret,
    MUSTER_CONNECTORS: join(checkout, 'test', 'connect', 'chaos-connector.mjs'),
  })
  const app = await createApp(config, { log: openLog('error') })
  const { url } = app
  const admin = callAs(url, await tokenOf(url, client.id, client.secret))
  const document = await admin('GET', '/docs/json')
  if (document.status !== 200) throw new Error(document.text)
  const { operations, open } = readDocument(document.body)
  return {
    url,
    operations,
    open,
    admin,
    client: async (body) => {
      const made = await admin('POST', '/muster/v1/clients', body)
      if (made.status !== 201) throw new Error(made.text)
      return callAs(url, await tokenOf(url, made.body.id, made.body.secret))
    },
    load: async (source, csv) => {
      const form = new FormData()
      form.append('file', new Blob([csv]), 'accounts.csv')
      const sent = await admin('POST', `/v2025/sources/${source}/load-accounts`, form)
      if (sent.status !== 202) throw new Error(sent.text)
      const { id } = sent.body.task
      for (;;) {
        const task = await admin('GET', `/v2025/task-status/${id}`)
        if (task.body.completed !== null) return id
        await new Promise((resolve) => setTimeout(resolve, 30))
      }
    },
    close: async () => {
      await app.close()
      await database.drop()
      await rm(folder, { recursive: true })
    },
  }
}

async function tokenOf(url: string, id: string, secret: string): Promise<string> {
  const body = { grant_type: 'client_credentials', client_id: id, client_secret: secret }
  const answer = await fetch(`${url}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams(body),
  })
  return ((await answer.json()) as { access_token: string }).access_token
}

/** A list is sent as a JSON Patch, a form as it is, anything else as JSON. */
function callAs(url: string, token: string): Call {
  return async (method, path, body) => {
    const json = Array.isArray(body) ? 'application/json-patch+json' : 'application/json'
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined || body instanceof FormData ? {} : { 'content-type': json }),
      },
      ...(body === undefined
        ? {}
        : { body: body instanceof FormData ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = (response.headers.get('content-type') ?? '').includes('json') && text !== ''
    const { status, headers } = response
    return { status, headers, text, body: isJson ? JSON.parse(text) : null }
  }
}

interface Document {
  readonly paths: Record<string, Record<string, DocumentedOperation>>
}
interface DocumentedOperation {
  readonly operationId: string
  readonly description?: string
  readonly security: readonly Record<string, readonly string[]>[]
}

function readDocument({ paths }: Document): Pick<WholeApp, 'operations' | 'open'> {
  const all = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, found]) => ({ path, method, found })),
  )
  return {
    open: all
      .filter(({ found }) => found.security.length === 0)
      .map(({ found }) => found.operationId)
      .toSorted(),
    operations: all
      .filter(({ found }) => found.security.length > 0)
      .map(({ path, method, found }) => ({
        id: withoutVersion(found.operationId, path),
        method: method.toUpperCase(),
        path,
        levels: (/Levels: ([A-Z_, ]+)\./.exec(found.description ?? '')?.[1] ?? '').split(', '),
        scopes: found.security.flatMap((one) => one['oauth2'] ?? []),
      })),
  }
}

function withoutVersion(id: string, path: string): string {
  return path.startsWith('/muster/') ? id : id.replace(/(?:Beta|V\d+)$/, '')
}
