// The folder of a bundle: found under the folder that the operator keeps bundles in, and copied for the time of a reader.
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  realpath,
  rm,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, extname, join, relative, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { settingError } from '../core/setting.ts'
import { limitError } from './saas-errors.ts'

const bytesLimit = 512 << 20
const filesLimit = 20_000
/** Copies are named after the process that made them. */
const copyName = 'muster-connector-'

/** A copy of a bundle that a child process may read and nothing else. */
export interface BundleCopy {
  /** The folder of the copy: the working directory of the child. */
  readonly folder: string
  /** The file to load. */
  readonly file: string
  readonly runner: string
  remove(): Promise<void>
}

/**
 * Finds the bundle and copies its folder. A copy, because the child may run as a user that cannot look into the data
 * folder, and because nobody changes a copy while it runs. Throws `bad_setting`.
 */
export async function copyBundle(root: string, file: string): Promise<BundleCopy> {
  const source = await findBundle(root, file)
  await removeOrphans()
  const top = await mkdtemp(join(tmpdir(), `${copyName}${process.pid}-`))
  const remove = (): Promise<void> => rm(top, { recursive: true, force: true })
  try {
    // Root hands it to a user without rights, who may read and not write.
    if (process.getuid?.() === 0) await chmod(top, 0o755)
    const folder = join(top, 'bundle')
    await copyFolder(dirname(source), folder)
    const runner = join(top, 'runner.mjs')
    await copyFile(runnerSource(), runner)
    await chmod(runner, 0o644)
    // Without it Node would look for one further up, which might make every .js file an ES module.
    await writeFile(join(top, 'package.json'), '{}', { mode: 0o644 })
    return { folder, file: join(folder, basename(source)), runner, remove }
  } catch (error) {
    await remove()
    throw error
  }
}

/** Removes the copies of processes that were killed. */
async function removeOrphans(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const owner = name.startsWith(copyName) ? Number.parseInt(name.slice(copyName.length), 10) : 0
    // Copies of other users stay: they are not ours to remove.
    if (owner > 0 && !isAlive(owner)) {
      await rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => undefined)
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return Reflect.get(Object(error), 'code') !== 'ESRCH'
  }
}

/** The compiled runner: a child process cannot load TypeScript. */
function runnerSource(): string {
  const here = fileURLToPath(import.meta.url)
  return here.endsWith('.ts')
    ? resolve(dirname(here), '../../dist/connect/bundle-runner.js')
    : join(dirname(here), 'bundle-runner.js')
}

/** The real path of the bundle, which must not lead out of the folder of bundles, by `..` or by a link. */
async function findBundle(root: string, file: string): Promise<string> {
  if (!['.js', '.cjs', '.mjs'].includes(extname(file))) {
    throw settingError('bundle', 'is no JavaScript file', 'Name the .js file that the build made.')
  }
  const folder = await realpath(root).catch(() => null)
  const found = folder === null ? null : await realpath(resolve(folder, file)).catch(() => null)
  const outside = settingError(
    'bundle',
    'leads out of the folder of bundles',
    'Copy the bundle into the data folder and give its path from there.',
  )
  if (folder === null || found === null) {
    if (file.split(/[/\\]/).includes('..')) throw outside
    throw settingError(
      'bundle',
      'names a file that is not there',
      'Copy the bundle into the data folder and give its path from there.',
    )
  }
  const inside = relative(folder, found)
  if (inside === '' || inside.split(sep)[0] === '..' || resolve(folder, inside) !== found) {
    throw outside
  }
  // Everything beside the bundle is what the connector may read.
  if (!inside.includes(sep)) {
    throw settingError(
      'bundle',
      'has no folder of its own',
      'Put it into one, for example connectors/example/index.js.',
    )
  }
  return found
}

/** Copies files and folders; links are left out, for they may lead anywhere. */
async function copyFolder(from: string, to: string): Promise<void> {
  let files = 0
  let bytes = 0
  const open = [{ from, to }]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    await mkdir(next.to, { mode: 0o755 })
    await chmod(next.to, 0o755)
    for (const entry of await readdir(next.from, { withFileTypes: true })) {
      const paths = { from: join(next.from, entry.name), to: join(next.to, entry.name) }
      if (entry.isDirectory()) open.push(paths)
      if (!entry.isFile()) continue
      files += 1
      bytes += (await lstat(paths.from)).size
      if (files > filesLimit || bytes > bytesLimit) {
        throw limitError(
          `stands in a folder of more than ${filesLimit} files or ${bytesLimit >> 20} MB`,
          'Put only the bundle and its connector-spec.json into its folder.',
        )
      }
      await copyFile(paths.from, paths.to)
      await chmod(paths.to, 0o644)
    }
  }
}
