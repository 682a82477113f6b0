// What the database servers of the tests have in common: a folder, a free port, a process that is ended by its id.
import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** The id that a server runs under when root starts the tests: PostgreSQL and MariaDB refuse to run as root. */
export const serverUser = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}

/** A folder of its own that belongs to the server. */
export function serverFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `muster-${name}-`))
  giveAway(folder)
  return folder
}

/** Makes the server's user the owner of a file or folder, and keeps others out. */
export function giveAway(path: string): void {
  if (serverUser.uid !== undefined) chownSync(path, serverUser.uid, serverUser.gid)
  chmodSync(path, path.endsWith('.key') ? 0o600 : 0o755)
}

/** A port on the loopback address that nobody listens on. */
export async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve) => {
    probe.listen(0, '127.0.0.1', resolve)
  })
  const address = probe.address()
  await new Promise((resolve) => {
    probe.close(resolve)
  })
  if (typeof address !== 'object' || address === null) throw new Error('there is no free port')
  return address.port
}

/** A server process. */
export interface OwnProcess {
  readonly pid: number
  /** Resolves when it has ended. */
  readonly ended: Promise<void>
  signal(signal: NodeJS.Signals): void
}

/** Starts a server and waits until `ready` says so; what it wrote is in the error when it ends before. */
export async function startProcess(
  program: string,
  given: readonly string[],
  folder: string,
  ready: () => Promise<boolean>,
): Promise<OwnProcess> {
  const log = join(folder, 'log')
  const descriptor = openSync(log, 'a')
  const child = spawn(program, given, {
    cwd: folder,
    env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' },
    stdio: ['ignore', descriptor, descriptor],
    ...serverUser,
  })
  let over = false
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => {
      over = true
      resolve()
    })
  })
  for (let attempt = 0; attempt < 600; attempt += 1) {
    if (over || child.pid === undefined) break
    if (await ready()) {
      return { pid: child.pid, ended, signal: (signal) => child.kill(signal) }
    }
    await sleep(50)
  }
  child.kill('SIGKILL')
  throw new Error(`${program} did not start: ${readFileSync(log, 'utf8').slice(-2_000)}`)
}

/** A certificate for `localhost` that signs itself, with its key: `server.crt` and `server.key` in the folder. */
export function makeCertificate(folder: string): string {
  const key = join(folder, 'server.key')
  const certificate = join(folder, 'server.crt')
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost',
      '-keyout',
      key,
      '-out',
      certificate,
    ],
    { stdio: 'ignore' },
  )
  giveAway(key)
  giveAway(certificate)
  return readFileSync(certificate, 'utf8')
}

/** Ends the process and removes its folder. */
export async function endServer(process_: OwnProcess, folder: string): Promise<void> {
  process_.signal('SIGKILL')
  await process_.ended
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}
