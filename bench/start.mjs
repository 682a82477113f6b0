// Starts Muster for the benchmark in a process of its own.
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'

/** A server on a folder of its own: where it listens, its first client, its pid, and how to end it. */
export async function startServer(dataDir) {
  const clientId = 'bench'
  const clientSecret = randomBytes(24).toString('hex')
  const child = fork(new URL('./server.mjs', import.meta.url), {
    env: {
      ...process.env,
      MUSTER_DATA_DIR: dataDir,
      MUSTER_PORT: '0',
      MUSTER_LOG_LEVEL: 'warn',
      MUSTER_CLIENT_ID: clientId,
      MUSTER_CLIENT_SECRET: clientSecret,
      // A limit would measure itself.
      MUSTER_RATE_LIMIT: '0',
      // The systems of the readers listen on loopback ports.
      MUSTER_ALLOW_PRIVATE_ADDRESSES: 'true',
    },
  })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  const url = await new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message.url))
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)))
  })
  return {
    url,
    clientId,
    clientSecret,
    pid: child.pid,
    stop: async () => {
      child.send('stop')
      await exited
    },
  }
}

/** The phases of a run in seconds, for people. */
export function phaseSeconds(run) {
  return run.phases.map(({ name, started, ended }) => {
    const seconds = (Date.parse(ended) - Date.parse(started)) / 1000
    return `${name.toLowerCase()} ${seconds.toFixed(2)}`
  })
}
