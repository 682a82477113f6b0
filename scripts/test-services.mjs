// `npm run test:services`: what needs servers, a browser, small disks and wrong clocks. The tests start servers on loopback ports. Packages
// of Debian that are missing are installed when this runs as root; otherwise it says which. Arguments go to vitest.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensure } from './ensure.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
/** A package, and a program that shows that it is there. */
const packages = [
  ['slapd', 'slapd'],
  ['ldap-utils', 'ldapsearch'],
  ['mariadb-server', 'mariadbd'],
  ['openssl', 'openssl'],
  ['chromium', 'chromium'],
  ['pgbouncer', 'pgbouncer'],
  ['faketime', 'faketime'],
]
const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin', '/sbin']

ensure()
const missing = packages.filter(([, program]) => !isThere(program)).map(([name]) => name)
if (missing.length > 0) install(missing)
process.exit(runTests())

function isThere(program) {
  return folders.some((folder) => folder !== '' && existsSync(join(folder, program)))
}

function install(names) {
  const line = `apt-get install -y --no-install-recommends ${names.join(' ')}`
  if (process.getuid?.() !== 0 || !isThere('apt-get')) {
    fail(`These packages are missing: ${names.join(', ')}. Install them as root with "${line}".`)
  }
  process.stderr.write(`Installing ${names.join(', ')} …\n`)
  apt('update', '-qq')
  apt(...line.split(' ').slice(1), '-qq')
}

/** The packages start no servers of their own here: the tests bring their own folders and ports. */
function apt(...args) {
  const { status } = spawnSync('apt-get', args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  })
  if (status !== 0) fail(`apt-get ${args.join(' ')} failed; what it printed above says why.`)
}

function runTests() {
  const reports = process.env['MUSTER_TEST_REPORTS']
  const reporters =
    reports === undefined
      ? []
      : [
          '--reporter=default',
          '--reporter=json',
          `--outputFile.json=${join(reports, 'services.json')}`,
        ]
  const entry = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const config = join('test', 'services', 'vitest.config.ts')
  const args = [entry, 'run', '--config', config, ...reporters, ...process.argv.slice(2)]
  return spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status ?? 1
}

function fail(line) {
  process.stderr.write(`${line}\n`)
  process.exit(1)
}
