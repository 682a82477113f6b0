// A Muster in a process of its own, which a test can hold or kill at any step, and what a client of it does over HTTP.
import { type ChildProcess, spawn } from 'node:child_process'
import { copyFile, readFile, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Step } from '../../src/run/job.ts'
import type { ConnectionSettings } from '../../src/store/database.ts'
import { serverRole } from '../../src/store/embedded-cluster.ts'
import { buildSource, checkout } from './build.ts'

export const clientId = 'kill-test'
export const clientSecret = 'the secret of the kill tests'

export interface ServerOptions {
  /** A folder that `buildServer` made. */
  readonly build: string
  readonly dataDir: string
  readonly env?: NodeJS.ProcessEnv
  readonly nodeArguments?: readonly string[]
}

export interface ServerProcess {
  readonly url: string
  readonly pid: number
  /** What it has logged so far. */
  log(): string
  /** Makes it kill itself, or stop and wait, the `count`-th time that it comes to a step. */
  at(step: Step, act: 'kill' | 'hold', count?: number): void
  /** Resolves when it stands at an armed step. */
  held(): Promise<void>
  /** Lets it go on. */
  go(): void
  isRunning(): boolean
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>
  /** Sends a signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<{ code: number | null; signal: string | null }>
}

/** Compiles the source as it is now, with all that a server needs around it; the caller removes the folder. */
export async function buildServer(): Promise<string> {
  const folder = await buildSource()
  await copyFile(join(checkout, 'package.json'), join(folder, 'package.json'))
  await symlink(join(checkout, 'sql'), join(folder, 'sql'))
  return folder
}

/** Starts a server and waits until it listens; fails with what it said when it does not start. */
export async function startServer(options: ServerOptions): Promise<ServerProcess> {
  const script = join(checkout, 'test', 'support', 'kill-server.mjs')
  const args = [...(options.nodeArguments ?? []), script, join(options.build, 'dist')]
  const { PATH, HOME, TMPDIR } = process.env
  const child = spawn(process.execPath, args, {
    env: {
      PATH,
      ...(HOME === undefined ? {} : { HOME }),
      ...(TMPDIR === undefined ? {} : { TMPDIR }),
      MUSTER_PORT: '0',
      MUSTER_DATA_DIR: options.dataDir,
      MUSTER_CLIENT_ID: clientId,
      MUSTER_CLIENT_SECRET: clientSecret,
      // Tests look for the end of a task far more often than a client should.
      MUSTER_RATE_LIMIT: '0',
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  return attach(child)
}

async function attach(child: ChildProcess): Promise<ServerProcess> {
  let log = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      // A run of minutes logs much; what matters is at the end.
      log = (log + text).slice(-400_000)
    })
  }
  let running = true
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('close', (code, signal) => {
      running = false
      resolve({ code, signal })
    })
  })
  let onHeld: () => void = () => undefined
  let held = new Promise<void>((resolve) => {
    onHeld = resolve
  })
  const started = new Promise<string>((resolve, reject) => {
    child.on('message', (message: { url?: string; failed?: string; held?: string }) => {
      if (message.url !== undefined) resolve(message.url)
      if (message.failed !== undefined) reject(new Error(message.failed))
      if (message.held !== undefined) onHeld()
    })
    void ended.then((how) => reject(new Error(`ended with ${JSON.stringify(how)}: ${log}`)))
  })
  const url = await started
  const tell = (message: object): void => {
    if (running && child.connected) child.send(message, () => undefined)
  }
  return {
    url,
    pid: child.pid ?? 0,
    log: () => log,
    at: (step, act, count = 1) => {
      held = new Promise((resolve) => {
        onHeld = resolve
      })
      tell({ at: { step, act, count } })
    },
    held: () =>
      Promise.race([
        held,
        ended.then((how) => {
          throw new Error(`ended with ${JSON.stringify(how)} before it was held`)
        }),
      ]),
    go: () => tell({ go: true }),
    isRunning: () => running,
    ended,
    end: async (signal) => {
      if (running) child.kill(signal)
      return ended
    },
  }
}

/** The pid of the embedded PostgreSQL of a data folder and how to connect to it; null when none runs. */
export async function embeddedServer(
  dataDir: string,
): Promise<{ readonly pid: number; readonly settings: ConnectionSettings } | null> {
  const text = await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').catch(() => '')
  const lines = text.split('\n')
  const [pid, port, host] = [Number(lines[0]), Number(lines[3]), lines[4]]
  if (!(pid > 0) || host === undefined || lines[7]?.trim() !== 'ready') return null
  return { pid, settings: { user: serverRole, database: 'postgres', host, port } }
}

/** How DATABASE_URL names a database. */
export function databaseUrl(settings: ConnectionSettings): string {
  if (settings.connectionString !== undefined) return settings.connectionString
  const { host = '', port = 5432, user = '', password = '', database = '' } = settings
  const where = new URLSearchParams({ host, port: String(port), user, password })
  return `postgres:///${database}?${where.toString()}`
}

/** Ends what a killed server left behind, and removes its folder. */
export async function removeData(dataDir: string): Promise<void> {
  const left = await embeddedServer(dataDir)
  if (left !== null) {
    try {
      process.kill(left.pid, 'SIGINT')
    } catch {
      // It ended by itself.
    }
    for (let waited = 0; waited < 100 && (await embeddedServer(dataDir)) !== null; waited += 1) {
      await sleep(50)
    }
  }
  await rm(dataDir, { recursive: true, force: true })
}

export interface TaskView {
  readonly id: string
  readonly completionStatus: string | null
  readonly completed: string | null
  readonly attributes: Readonly<Record<string, unknown>>
  readonly messages: readonly { readonly type: string; readonly key: string }[]
}

/** What a client does. Calls throw when they are not answered, as they are when the server is killed. */
export interface ServerClient {
  /** For calls that a test writes by hand. */
  readonly authorization: string
  uploadUrl(source: string): string
  call(method: string, path: string, body?: unknown): Promise<Response>
  createSource(name: string, body?: object): Promise<string>
  /** Uploads a file and gives the id of the task. */
  upload(source: string, csv: string, disableOptimization?: boolean): Promise<string>
  task(id: string): Promise<TaskView>
  /** The task as soon as it has ended. */
  ended(id: string, withinMs?: number): Promise<TaskView>
}

/** Gets a token and speaks for it. */
export async function connectTo(url: string): Promise<ServerClient> {
  const answer = await fetch(`${url}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: clientId,
      client_secret: clientSecret,
    }),
  })
  const { access_token: token } = (await answer.json()) as { access_token: string }
  const headers = { authorization: `Bearer ${token}` }
  const call: ServerClient['call'] = (method, path, body) =>
    fetch(`${url}/v2025${path}`, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { 'content-type': typeJson }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  const parsed = async (response: Response, status: number): Promise<unknown> => {
    const text = await response.text()
    if (response.status !== status) throw new Error(`answered ${response.status}: ${text}`)
    return JSON.parse(text)
  }
  const task: ServerClient['task'] = async (id) =>
    (await parsed(await call('GET', `/task-status/${id}`), 200)) as TaskView
  const uploadUrl = (source: string): string => `${url}/v2025/sources/${source}/load-accounts`
  return {
    authorization: headers.authorization,
    uploadUrl,
    call,
    createSource: async (name, body = {}) => {
      const source = await parsed(
        await call('POST', '/sources?provisionAsCsv=true', {
          name,
          owner: null,
          connector: 'delimited-file-angularsc',
          deleteThreshold: 100,
          ...body,
        }),
        201,
      )
      return (source as { id: string }).id
    },
    upload: async (source, csv, disableOptimization = false) => {
      const form = new FormData()
      form.append('file', new Blob([csv]), 'accounts.csv')
      if (disableOptimization) form.append('disableOptimization', 'true')
      const response = await fetch(uploadUrl(source), { method: 'POST', headers, body: form })
      return ((await parsed(response, 202)) as { task: { id: string } }).task.id
    },
    task,
    ended: async (id, withinMs = 60_000) => {
      const deadline = performance.now() + withinMs
      for (;;) {
        // While the database comes back, 503 is the right answer; the patience ends all the same.
        const found = await task(id).catch((error: unknown) => {
          if (performance.now() > deadline) throw error
          return null
        })
        if (found !== null && found.completed !== null) return found
        if (performance.now() > deadline) {
          throw new Error(`task ${id} is still open: ${JSON.stringify(found)}`)
        }
        await sleep(40)
      }
    },
  }
}

const typeJson = 'application/json'

/** Waits for an event of a process that is not ours to listen to: its pid is gone. */
export async function gone(pid: number, withinMs = 30_000): Promise<boolean> {
  const deadline = performance.now() + withinMs
  while (performance.now() < deadline) {
    try {
      process.kill(pid, 0)
    } catch {
      return true
    }
    await sleep(20)
  }
  return false
}

/** The largest memory that a process ever had, in MB; 0 where the system does not tell. */
export async function peakMemoryMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  return Math.round(Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024)
}
