// The import law of ARCHITECTURE.md holds: every planted breach is found, and no lawful import is.
import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

type Planted = readonly [file: string, code: string]

const breaches: Record<string, Planted> = {
  'core imports an npm package': ['src/core/a.ts', `import fastify from 'fastify'`],
  'core imports node:fs': ['src/core/b.ts', `import { open } from 'node:fs'`],
  'core imports node:fs/promises': ['src/core/c.ts', `import { open } from 'node:fs/promises'`],
  'core imports store': ['src/core/d.ts', `import { x } from '../store/x.ts'`],
  'core imports only a type of store': ['src/core/e.ts', `import type { X } from '../store/x.ts'`],
  'core imports store at run time': ['src/core/f.ts', `export const x = import('../store/x.ts')`],
  'core hands on what is in store': ['src/core/g.ts', `export { x } from '../store/x.ts'`],
  'core hands on all of store': ['src/core/h.ts', `export * from '../store/x.ts'`],
  'core reads the clock': ['src/core/i.ts', `export const now = () => Date.now()`],
  'core draws a number': ['src/core/j.ts', `export const draw = () => Math.random()`],
  'core reads the environment': ['src/core/k.ts', `export const home = process.env`],
  'core calls out': ['src/core/l.ts', `export const get = () => fetch('/')`],
  'connect imports store': ['src/connect/a.ts', `import { x } from '../store/x.ts'`],
  'connect imports run': ['src/connect/b.ts', `import type { X } from '../run/x.ts'`],
  'connect imports the driver of our store': ['src/connect/c.ts', `import pg from 'pg'`],
  'connect outside of its file imports ldapts': [
    'src/connect/d.ts',
    `import { Client } from 'ldapts'`,
  ],
  'connect/ldap imports the driver of SQL': ['src/connect/ldap-x.ts', `import pg from 'pg'`],
  'store imports connect': ['src/store/a.ts', `import { x } from '../connect/x.ts'`],
  'store imports run': ['src/store/b.ts', `export * from '../run/x.ts'`],
  'store imports config': ['src/store/c.ts', `import type { Config } from '../config.ts'`],
  'run imports api': ['src/run/a.ts', `export const x = import('../api/x.ts')`],
  'run imports the driver': ['src/run/b.ts', `import type pg from 'pg'`],
  'run imports the composition root': ['src/run/c.ts', `import { x } from '../app.ts'`],
  'api imports client': ['src/api/a.ts', `import type { X } from '../client/x.ts'`],
  'api imports cli': ['src/api/b.ts', `import { x } from '../cli/x.ts'`],
  'api imports the driver': ['src/api/c.ts', `import pg from 'pg'`],
  'client imports api': ['src/client/a.ts', `import type { X } from '../api/x.ts'`],
  'client imports node': ['src/client/b.ts', `import { readFile } from 'node:fs/promises'`],
  'client imports an npm package': ['src/client/c.ts', `import { x } from 'jose'`],
  'client uses what browsers lack': ['src/client/d.ts', `export const b = Buffer.alloc(1)`],
  'cli imports store': ['src/cli/a.ts', `import { x } from '../store/x.ts'`],
  'cli imports app': ['src/cli/b.ts', `export const x = import('../app.ts')`],
  'serve imports store': ['src/cli/serve.ts', `import { x } from '../store/x.ts'`],
  'config imports store': ['src/config.ts', `import { x } from './store/x.ts'`],
  'anything exports a default': ['src/run/d.ts', `export default 1`],
}

const lawful: Record<string, Planted> = {
  'core imports core': ['src/core/y.ts', `export { x } from './x.ts'`],
  'connect imports core': ['src/connect/y.ts', `export { x } from '../core/x.ts'`],
  'connect imports node': ['src/connect/z.ts', `export { open } from 'node:fs/promises'`],
  'connect/postgresql imports its driver': [
    'src/connect/postgresql.ts',
    `export { Client } from 'pg'`,
  ],
  'connect/ldap imports its driver': ['src/connect/ldap.ts', `export { Client } from 'ldapts'`],
  'store imports core': ['src/store/y.ts', `export { x } from '../core/x.ts'`],
  'store imports the driver': ['src/store/z.ts', `export { Pool } from 'pg'`],
  'run imports store': ['src/run/y.ts', `export { x } from '../store/x.ts'`],
  'run imports connect': ['src/run/z.ts', `export { x } from '../connect/x.ts'`],
  'api imports run': ['src/api/y.ts', `export { x } from '../run/x.ts'`],
  'api imports fastify': ['src/api/z.ts', `export { fastify } from 'fastify'`],
  'client imports core': ['src/client/y.ts', `export { x } from '../core/x.ts'`],
  'cli imports client': ['src/cli/y.ts', `export { x } from '../client/x.ts'`],
  'app imports everything': ['src/app.ts', `export { x } from './store/x.ts'`],
}

interface Diagnostic {
  readonly filename: string
  readonly code: string
  readonly message: string
}

let folder: string
let found: readonly Diagnostic[]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-import-law-'))
  await copyFile(join(root, '.oxlintrc.json'), join(folder, '.oxlintrc.json'))
  await copyFile(join(root, 'tsconfig.json'), join(folder, 'tsconfig.json'))
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction')
  for (const [file, code] of [...Object.values(breaches), ...Object.values(lawful)]) {
    await mkdir(dirname(join(folder, file)), { recursive: true })
    await writeFile(join(folder, file), `${code}\n`)
  }
  found = await lint(folder)
})

afterAll(() => rm(folder, { recursive: true, force: true }))

describe('the import law', () => {
  it.each(Object.entries(breaches))('refuses that %s', (_, [file]) => {
    expect(lawOf(file)).toHaveLength(1)
  })

  it.each(Object.entries(lawful))('allows that %s', (_, [file]) => {
    expect(lawOf(file)).toEqual([])
  })
})

function lawOf(file: string): string[] {
  const law = /no-restricted-(?:imports|globals|properties)|no-default-export/
  return found.filter((d) => d.filename === file && law.test(d.code)).map((d) => d.message)
}

// The planted imports lead nowhere, so oxlint always ends with findings and an exit code that says so.
async function lint(cwd: string): Promise<Diagnostic[]> {
  const oxlint = join(root, 'node_modules', 'oxlint', 'bin', 'oxlint')
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, [oxlint, '-f', 'json', 'src'], { cwd }, (_, stdout) =>
      resolve(stdout),
    )
  })
  const report = JSON.parse(output) as { diagnostics: Diagnostic[] }
  return report.diagnostics
}
