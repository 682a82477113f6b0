// examples/ldap does what its README says, against a server of this test.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { checkout } from '../support/build.ts'
import { type CommandLine, openCommandLine } from '../support/command-line.ts'
import { clientId, clientSecret } from '../support/server-process.ts'
import { freePort } from './own-server.ts'

let line: CommandLine
beforeAll(async () => {
  line = await openCommandLine({ MUSTER_ALLOW_PRIVATE_ADDRESSES: 'true' })
}, 120_000)
afterAll(() => line.close())

it('the example of a directory makes, tests, shows and aggregates its source', async () => {
  const folder = join(checkout, 'examples', 'ldap')
  const scripts = ['directory.sh', 'aggregate.sh'].map((name) => join(folder, name))
  const { stdout } = await promisify(execFile)('bash', scripts, {
    env: {
      PATH: process.env['PATH'],
      LDAP_PORT: String(await freePort()),
      SAIL_BASE_URL: line.server.url,
      SAIL_CLIENT_ID: clientId,
      SAIL_CLIENT_SECRET: clientSecret,
    },
  })
  expect(stdout).toMatch(/^status +SUCCESS after/m)
  expect(stdout).toMatch(/^connection vendor +OpenLDAP$/m)
  expect(stdout.match(/^created +(\d+)$/gm)).toEqual(['created    3', 'created    0'])
  expect(stdout.match(/^removed +0$/gm)).toHaveLength(2)
  for (const uid of ['user1001', 'user1002', 'user1003']) {
    expect(stdout).toMatch(new RegExp(`uid=${uid},ou=people,dc=example,dc=com +Given`))
  }
})
