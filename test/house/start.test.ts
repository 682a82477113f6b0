// `npm start` is one process for whoever stops it: a signal to npm ends the server and its PostgreSQL.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-start-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('npm start', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('leaves nothing behind after %s', async (signal) => {
    const port = await freePort()
    const npm = spawn('npm', ['start'], {
      cwd: root,
      env: {
        ...process.env,
        MUSTER_PORT: String(port),
        MUSTER_DATA_DIR: join(folder, 'data'),
        MUSTER_LOG_LEVEL: 'silent',
      },
      stdio: 'ignore',
    })
    const ended = once(npm, 'exit')
    await expect.poll(() => ready(port), { timeout: 50_000, interval: 100 }).toBe(true)
    npm.kill(signal)
    await ended
    await expect.poll(() => isFree(port), { timeout: 20_000, interval: 100 }).toBe(true)
    await expect.poll(leftovers, { timeout: 20_000, interval: 100 }).toEqual([])
  })
})

async function ready(port: number): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${port}/health/ready`).catch(() => null)
  return answer?.status === 200
}

/** The marks that a running Muster and a running PostgreSQL leave in the data folder. */
async function leftovers(): Promise<string[]> {
  if (!existsSync(folder)) return []
  const names = await readdir(folder, { recursive: true })
  return names.filter((name) => /(?:^|\/)(?:muster\.lock|postmaster\.pid)$/.test(name))
}

async function isFree(port: number): Promise<boolean> {
  const listener = createServer()
  const outcome = new Promise<boolean>((resolve) => {
    listener.once('error', () => resolve(false))
    listener.once('listening', () => resolve(true))
  })
  listener.listen(port, '127.0.0.1')
  const free = await outcome
  listener.close()
  await sleep(10)
  return free
}

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  listener.close()
  await once(listener, 'close')
  if (address === null || typeof address === 'string') throw new Error('No free port was found.')
  return address.port
}
