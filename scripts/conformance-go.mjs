// `npm run conformance:go`: the official Go SDK against started servers. Where Go is missing, or the module proxy does not
// give the SDK, it says so and ends with success: nothing was found wrong. A wrong checksum of a module is a failure.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensure } from './ensure.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const module = join(root, 'conformance', 'go')
// Where the archives of go.dev are unpacked by custom; often not in the PATH of a service.
const usual = '/usr/local/go/bin/go'

const go = findGo()
if (go === undefined) skip('no go')
download()
compile()
ensure()
const outcome = runTests()
// Its requests, as its source writes them, are in conformance/replayed-requests.test.ts.
process.stdout.write(
  'skipped: the command line tool sail, whose releases the Go module proxy refused on 2026-11-23\n',
)
process.exit(outcome)

function findGo() {
  const found = ['go', usual].find(
    (command) =>
      (command === 'go' || existsSync(command)) &&
      spawnSync(command, ['version'], { stdio: 'ignore' }).status === 0,
  )
  return found
}

function download() {
  const { status, stderr } = run(['mod', 'download'])
  if (status === 0) return
  const reason = stderr.trim().split('\n').at(-1) ?? ''
  if (/SECURITY ERROR|checksum mismatch/.test(stderr)) {
    process.stderr.write(stderr)
    process.exit(1)
  }
  skip(`the modules of conformance/go are not to be had here: ${reason}`)
}

// The SDK is a great deal of generated code, so building it for the first time takes minutes; Go keeps the result.
function compile() {
  process.stderr.write(
    'Building the tests of the Go SDK (go test -c); the first time takes minutes …\n',
  )
  const { status, stderr } = run([
    'test',
    '-c',
    '-vet=off',
    '-o',
    process.platform === 'win32' ? 'NUL' : '/dev/null',
    '.',
  ])
  if (status === 0) return
  process.stderr.write(stderr)
  process.exit(1)
}

function run(args) {
  return spawnSync(go, args, {
    cwd: module,
    encoding: 'utf8',
    stdio: ['ignore', 'inherit', 'pipe'],
  })
}

function runTests() {
  const reports = process.env['MUSTER_TEST_REPORTS']
  const reporters =
    reports === undefined
      ? []
      : ['--reporter=default', '--reporter=json', `--outputFile.json=${join(reports, 'go.json')}`]
  const entry = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const args = [entry, 'run', '--config', join('conformance', 'go', 'vitest.config.ts')]
  return (
    spawnSync(process.execPath, [...args, ...reporters, ...process.argv.slice(2)], {
      cwd: root,
      stdio: 'inherit',
      env: { ...process.env, MUSTER_GO: go },
    }).status ?? 1
  )
}

function skip(reason) {
  process.stdout.write(`skipped: ${reason}\n`)
  process.exit(0)
}
