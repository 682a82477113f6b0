// `npm start` is one process for whoever stops it: a signal to npm ends the server and its PostgreSQL.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
let folder: string
let started: number | undefined

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-start-'))
  // Where only root may enter, a server that is started by root keeps its database elsewhere.
  await chmod(folder, 0o755)
})
afterEach(async () => {
  // What a failed test leaves running is ended with its group.
  try {
    if (started !== undefined) process.kill(-started, 'SIGTERM')
  } catch {
    // Nothing is left of it, as it should be.
  }
  await rm(folder, { recursive: true, force: true })
})

describe('npm start', () => {
  // Ctrl-C reaches every process of the terminal, and npm hands it on once more: to its shell, or to node itself where
  // the shell is bash, which puts the command in its own place.
  const stops: Record<string, { shell?: string; stop: (npm: number) => void }> = {
    'SIGTERM to npm': { stop: (npm) => process.kill(npm, 'SIGTERM') },
    'Ctrl-C in a terminal': { stop: (npm) => process.kill(-npm, 'SIGINT') },
    'Ctrl-C where the shell is bash': {
      shell: 'bash',
      stop: (npm) => process.kill(-npm, 'SIGINT'),
    },
    'the terminal is closed': { stop: (npm) => process.kill(-npm, 'SIGHUP') },
  }

  it.each(Object.entries(stops))('leaves nothing behind after %s', async (_name, how) => {
    const port = await freePort()
    const npm = spawn('npm', ['start'], {
      cwd: root,
      detached: true,
      env: {
        ...process.env,
        MUSTER_PORT: String(port),
        MUSTER_DATA_DIR: join(folder, 'data'),
        MUSTER_LOG_LEVEL: 'silent',
        ...(how.shell === undefined ? {} : { npm_config_script_shell: how.shell }),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    started = npm.pid
    let output = ''
    npm.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    npm.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
    const ended = once(npm, 'exit')
    while (!(await ready(port))) {
      if (npm.exitCode !== null) throw new Error(`npm start ended:\n${output}`)
      await sleep(100)
    }
    how.stop(npm.pid ?? 0)
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
