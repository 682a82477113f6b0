// Adds up vitest's JSON reports for .ci/run: count-tests.mjs <folder> <failed checks> <1 when npm test failed>.
// The last line it prints is `N passed, N failed`; the exit code is 1 when anything failed.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const [folder = '.', failedChecks = '0', testsFailed = '0'] = process.argv.slice(2)
let passed = 0
let failed = 0
for (const name of readdirSync(folder).toSorted()) {
  const report = JSON.parse(readFileSync(join(folder, name), 'utf8'))
  // A file that cannot even be loaded has no tests; it counts as one failure of its own.
  const unloaded = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.every((t) => t.status !== 'failed'),
  ).length
  const suite = name.replace(/\.json$/, '')
  passed += report.numPassedTests
  failed += report.numFailedTests + unloaded
  console.log(
    `${suite}: ${report.numPassedTests} passed, ${report.numFailedTests + unloaded} failed, ${report.numPendingTests} skipped`,
  )
}
// npm test can also fail without a report: at the installation, the build, or a crash of vitest.
if (testsFailed !== '0' && failed === 0) failed += 1
failed += Number(failedChecks)
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 && passed > 0 ? 0 : 1
