// `npm run test:postgresql`: what speaks SQL, tested on the older versions of PostgreSQL that Muster runs on. `npm test` uses the
// newest. The servers are those of test/postgresql, installed on the first use. Arguments: versions (`15 17`), and after
// `--` files for vitest in place of the usual ones.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensure } from './ensure.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, 'test', 'postgresql')
const versions = ['15', '16', '17']
/** The suites whose statements reach the server; the others never see its version. */
const usual = [
  'test/store/migrate.test.ts',
  'test/store/schema-rules.test.ts',
  'test/store/backup.test.ts',
  'test/run/aggregate.test.ts',
  'test/run/equivalence.test.ts',
  'test/run/removal.test.ts',
  'test/api/accounts.test.ts',
  'test/api/task-status.test.ts',
]

const given = process.argv.slice(2)
const wanted = given.filter((word) => versions.includes(word))
const files = given.filter((word) => !versions.includes(word) && word !== '--')

if (process.platform !== 'linux' || process.arch !== 'x64') {
  process.stdout.write('skipped: the older PostgreSQL servers of the tests are for Linux on x64\n')
  process.exit(0)
}
ensure()
const failed = (wanted.length > 0 ? wanted : versions).filter((version) => test(version) !== 0)
process.exit(failed.length === 0 ? 0 : 1)

function test(version) {
  const native = join(folder, 'node_modules', `postgresql-${version}`, 'native')
  if (!existsSync(native)) install()
  process.stdout.write(`\nPostgreSQL ${version}\n`)
  const reports = process.env['MUSTER_TEST_REPORTS']
  const reporters =
    reports === undefined
      ? []
      : [
          '--reporter=default',
          '--reporter=json',
          `--outputFile.json=${join(reports, `postgresql-${version}.json`)}`,
        ]
  const entry = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const args = [entry, 'run', ...reporters, ...(files.length > 0 ? files : usual)]
  return spawnSync(process.execPath, args, {
    cwd: root,
    env: { ...process.env, TEST_POSTGRESQL_NATIVE: native },
    stdio: 'inherit',
  }).status
}

function install() {
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status === 0) return
  process.stderr.write('The servers of test/postgresql could not be installed.\n')
  process.exit(1)
}
