// Starts `muster serve` for the demo on a free port, with a data folder below the temporary folder of the system.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const command = fileURLToPath(new URL('../bin/muster.js', import.meta.url))
const readyWithinMs = 60_000
const stopWithinMs = 20_000

/** Starts the server; resolves when it is ready. `stop()` ends it and everything it started. */
export async function startServer() {
  const dataDir = freshFolder()
  const port = await freePort()
  const clientId = 'demo'
  const clientSecret = randomBytes(24).toString('base64url')
  const url = `http://127.0.0.1:${port}`
  const server = spawn(process.execPath, [command, 'serve'], {
    env: {
      ...withoutMuster(process.env),
      MUSTER_HOST: '127.0.0.1',
      MUSTER_PORT: String(port),
      MUSTER_DATA_DIR: dataDir,
      MUSTER_CLIENT_ID: clientId,
      MUSTER_CLIENT_SECRET: clientSecret,
      // The demo looks at its tasks more often than a client should.
      MUSTER_RATE_LIMIT: '0',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = []
  for (const stream of [server.stdout, server.stderr]) {
    // Only what explains a failure is kept, so a server that is left running does not fill our memory with its log.
    stream.setEncoding('utf8').on('data', (text) => {
      output.push(text)
      if (output.length > 200) output.shift()
    })
  }
  const ended = once(server, 'exit')
  const stop = async () => {
    if (server.exitCode !== null || server.signalCode !== null) return
    server.kill('SIGTERM')
    await Promise.race([ended, sleep(stopWithinMs, undefined, { ref: false })])
    if (server.exitCode === null && server.signalCode === null) server.kill('SIGKILL')
  }
  await ready(url, server, output, stop)
  return { url, clientId, clientSecret, dataDir, ended, stop }
}

async function ready(url, server, output, stop) {
  const deadline = performance.now() + readyWithinMs
  while (performance.now() < deadline && server.exitCode === null && server.signalCode === null) {
    const answer = await fetch(`${url}/health/ready`).catch(() => null)
    if (answer?.status === 200) return
    await sleep(50)
  }
  await stop()
  throw new Error(`The server did not start. It printed:\n\n${output.join('')}`)
}

// The demo is about a server of its own: neither the database nor the settings of the user may reach it.
function withoutMuster(environment) {
  const ours = (name) => /^(?:MUSTER_|DATABASE_URL)/.test(name)
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !ours(name)))
}

// The folder is kept after the demo, so that one can go on with its data, and emptied by the next demo. It is used
// only when it is ours and no server holds it; else this demo gets a folder of its own.
function freshFolder() {
  const user = process.getuid?.() ?? 'user'
  const folder = join(tmpdir(), `muster-demo-${user}`)
  if (existsSync(folder)) {
    if (!isOurs(folder) || isHeld(folder)) return mkdtempSync(`${folder}-`)
    rmSync(folder, { recursive: true, force: true })
  }
  mkdirSync(folder, { mode: 0o755 })
  return folder
}

function isOurs(folder) {
  const { uid } = lstatSync(folder)
  return (
    lstatSync(folder).isDirectory() && (process.getuid === undefined || uid === process.getuid())
  )
}

function isHeld(folder) {
  const lock = join(folder, 'muster.lock')
  if (!existsSync(lock)) return false
  try {
    process.kill(JSON.parse(readFileSync(lock, 'utf8')).pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address()
  listener.close()
  await once(listener, 'close')
  return port
}
