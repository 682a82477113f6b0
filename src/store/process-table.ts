// Asks the operating system about processes: who lives, since when, and who works inside a folder.
import { execFile } from 'node:child_process'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { systemCode } from './store-error.ts'

/** True while a process with this id exists and still runs; a zombie counts as gone, for it holds nothing any more. */
export async function isAlive(pid: number): Promise<boolean> {
  if (!exists(pid)) return false
  // In a container without an init nobody collects an orphan: it stays a zombie for ever, and signal 0 still finds it.
  const stat = await procStat(pid)
  return stat === undefined || (stat.state !== 'Z' && stat.state !== 'X')
}

/**
 * When a process started, in clock ticks since the boot: with the id it names a process for good, because ids are used
 * again. Undefined where the system has no /proc (macOS, Windows) or the process is gone.
 */
export async function startTime(pid: number): Promise<string | undefined> {
  return (await procStat(pid))?.startTime
}

/**
 * Names the set of processes that ids are counted in: this boot of this machine and this container. Ids from another
 * scope say nothing here. Undefined where the system has no /proc.
 */
export async function processScope(): Promise<string | undefined> {
  try {
    const [boot, namespace] = await Promise.all([
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
      readlink('/proc/self/ns/pid'),
    ])
    return `${boot.trim()} ${namespace}`
  } catch {
    return undefined
  }
}

/**
 * Every living `postgres` whose working folder is `folder`: a postmaster and its backends all work in their data folder.
 * The name is asked too, for an administrator's shell may stand in that folder as well. Empty where there is no /proc.
 */
export async function serversIn(folder: string): Promise<number[]> {
  const names = await readdir('/proc').catch(() => [])
  const pids = names.filter((name) => /^\d+$/.test(name)).map(Number)
  const found: number[] = []
  for (const pid of pids) {
    if ((await isServerIn(pid, folder)) && (await isAlive(pid))) found.push(pid)
  }
  return found
}

/** True when a process is a `postgres` that works in `folder`, as far as the system tells. */
export async function isServerIn(pid: number, folder: string): Promise<boolean> {
  try {
    if (process.platform === 'linux') {
      if ((await readlink(`/proc/${pid}/cwd`)) !== folder) return false
      return (await readFile(`/proc/${pid}/comm`, 'utf8')).trim() === 'postgres'
    }
    if (process.platform === 'win32') return false
    const { stdout } = await promisify(execFile)('ps', ['-p', String(pid), '-o', 'comm='])
    return basename(stdout.trim()).startsWith('postgres')
  } catch {
    return false
  }
}

/** Sends a signal; a process that is gone already is no error. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw error
  }
}

/** Waits until a process is gone, at most `limitMs`; tells whether it is. */
export async function waitGone(pid: number, limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs
  while (await isAlive(pid)) {
    if (performance.now() > deadline) return false
    await sleep(10)
  }
  return true
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it lives, but belongs to somebody else.
    return systemCode(error) === 'EPERM'
  }
}

async function procStat(pid: number): Promise<{ state: string; startTime: string } | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8')
    // The second field is the program's name in brackets, and a name may hold spaces and brackets itself.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const [state, started] = [fields[0], fields[19]]
    return state === undefined || started === undefined ? undefined : { state, startTime: started }
  } catch {
    return undefined
  }
}
