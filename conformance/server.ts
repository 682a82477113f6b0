// Starts `muster serve` for the conformance tests, on a free port with a data folder of its own, and stops it afterwards.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ProvidedContext } from 'vitest'
import type { TestProject } from 'vitest/node'

/** Where the server listens, and the client that may do everything. */
export interface Target {
  readonly url: string
  readonly clientId: string
  readonly clientSecret: string
}

declare module 'vitest' {
  interface ProvidedContext {
    target: Target
  }
}

const readyWithinMs = 60_000

/** vitest's globalSetup: provides `target` and gives back what stops the server. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { target, close } = await start()
  project.provide('target' satisfies keyof ProvidedContext, target)
  return close
}

/** Starts a server with these settings beside the usual ones; `close` ends it and removes its data. */
export async function start(
  settings: Readonly<Record<string, string>> = {},
): Promise<{ target: Target; close: () => Promise<void> }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'muster-conformance-'))
  // Where only root may enter, a server that is started by root keeps its database elsewhere.
  await chmod(dataDir, 0o755)
  const port = await freePort()
  const target = {
    url: `http://127.0.0.1:${port}`,
    clientId: 'conformance',
    clientSecret: 'conformance-secret-0123456789abcdef',
  }
  const { server, output } = serve(dataDir, port, target, settings)
  await ready(target.url, server, output)
  const close = async (): Promise<void> => {
    await stop(server)
    await rm(dataDir, { recursive: true, force: true })
  }
  return { target, close }
}

function serve(
  dataDir: string,
  port: number,
  target: Target,
  settings: Readonly<Record<string, string>>,
): { server: ChildProcess; output: string[] } {
  const command = fileURLToPath(new URL('../bin/muster.js', import.meta.url))
  const server = spawn(process.execPath, [command, 'serve'], {
    env: {
      ...withoutMuster(process.env),
      MUSTER_HOST: '127.0.0.1',
      MUSTER_PORT: String(port),
      MUSTER_DATA_DIR: dataDir,
      MUSTER_CLIENT_ID: target.clientId,
      MUSTER_CLIENT_SECRET: target.clientSecret,
      MUSTER_RATE_LIMIT: '0',
      // The systems of the examples listen on this machine.
      MUSTER_ALLOW_PRIVATE_ADDRESSES: 'true',
      // A connector whose settings decide how it behaves: clients meet a direct source without a system of its own.
      MUSTER_CONNECTORS: fileURLToPath(
        new URL('../test/connect/chaos-connector.mjs', import.meta.url),
      ),
      ...settings,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output: string[] = []
  for (const stream of [server.stdout, server.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => output.push(text))
  }
  return { server, output }
}

// A database or a setting of the person who runs the suite must not reach the server under test.
function withoutMuster(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const ours = (name: string): boolean => /^(?:MUSTER_|SAIL_|DATABASE_URL|npm_)/.test(name)
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !ours(name)))
}

async function ready(url: string, server: ChildProcess, output: readonly string[]): Promise<void> {
  const deadline = performance.now() + readyWithinMs
  while (performance.now() < deadline && server.exitCode === null && server.signalCode === null) {
    const answer = await fetch(`${url}/health/ready`).catch(() => null)
    if (answer?.status === 200) return
    await sleep(100)
  }
  await stop(server)
  throw new Error(`muster serve did not become ready. It printed:\n${output.join('')}`)
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const ended = once(server, 'exit')
  server.kill('SIGTERM')
  await Promise.race([ended, sleep(20_000, undefined, { ref: false })])
  if (server.exitCode === null && server.signalCode === null) server.kill('SIGKILL')
}

/** A TCP port of the loopback interface that nobody listens on. */
async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  listener.close()
  await once(listener, 'close')
  if (address === null || typeof address === 'string') throw new Error('No free port was found.')
  return address.port
}
