// `npm test`: makes the clone ready, then runs every test that needs only npm: the suite and the conformance of the official SDK.
// Arguments go to vitest and select from the suite: `npm test -- test/core`; `--soak` runs what takes minutes and is left
// out otherwise. MUSTER_TEST_REPORTS names a folder for JSON reports.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensure } from './ensure.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const suites = {
  suite: [],
  conformance: ['--config', 'conformance/vitest.config.ts'],
}

ensure()
const soak = process.argv.includes('--soak')
const given = process.argv.slice(2).flatMap((word) => (word === '--soak' ? ['soak'] : [word]))
const wanted = given.length > 0 ? ['suite'] : Object.keys(suites)
const failed = wanted.filter((name) => vitest(name, [...suites[name], ...given]) !== 0)
process.exit(failed.length === 0 ? 0 : 1)

function vitest(name, args) {
  const reports = process.env['MUSTER_TEST_REPORTS']
  const reporters =
    reports === undefined
      ? []
      : [
          '--reporter=default',
          '--reporter=json',
          `--outputFile.json=${join(reports, `${name}.json`)}`,
        ]
  const entry = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  return spawnSync(process.execPath, [entry, 'run', ...reporters, ...args], {
    cwd: root,
    env: soak ? { ...process.env, MUSTER_SOAK: '1' } : process.env,
    stdio: 'inherit',
  }).status
}
