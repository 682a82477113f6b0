// Compiles src/ into a folder of its own, for tests that need Muster's code in a process that they can kill.
import { execFile } from 'node:child_process'
import { mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** The root of the checkout. */
export const checkout = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** Gives a folder that holds `dist/` as of now and finds the packages of the checkout; the caller removes it. */
export async function buildSource(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-build-'))
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  await symlink(join(checkout, 'node_modules'), join(folder, 'node_modules'))
  const compiler = join(checkout, 'node_modules', 'typescript', 'bin', 'tsc')
  const options = ['-p', join(checkout, 'tsconfig.json'), '--outDir', join(folder, 'dist')]
  // The compiler writes its output also when a type is wrong somewhere; finding that is the type check's task.
  await promisify(execFile)(process.execPath, [compiler, ...options]).catch(() => undefined)
  return folder
}
