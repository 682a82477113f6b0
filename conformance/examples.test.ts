import { execFile, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, inject, it } from 'vitest'

const target = inject('target')
const folder = fileURLToPath(new URL('../examples/', import.meta.url))
const hasCurl = ['bash', 'curl'].every((name) => spawnSync(name, ['--version']).status === 0)

async function run(command: string, ...files: readonly string[]): Promise<string> {
  const paths = files.map((file) => `${folder}${file}`)
  const { stdout } = await promisify(execFile)(command, paths, {
    env: {
      PATH: process.env['PATH'],
      SAIL_BASE_URL: target.url,
      SAIL_CLIENT_ID: target.clientId,
      SAIL_CLIENT_SECRET: target.clientSecret,
    },
  })
  return stdout
}

describe('the example of a first aggregation', () => {
  it('works with the official SDK', async () => {
    const output = await run(process.execPath, 'first-aggregation/sdk.mjs')
    expect(output).toMatch(/^source {3}[0-9a-f]{32}$/m)
    expect(output).toMatch(/^ended {4}WARNING, 5 created$/m)
    expect(output.match(/^account {2}100\d {2}user100\d$/gm)).toHaveLength(5)
  })

  it.runIf(hasCurl)('works with curl', async () => {
    const output = await run('bash', 'first-aggregation/curl.sh')
    expect(output).toMatch(/ended {4}WARNING, 5 created/)
    expect(output.match(/^account {2}100\d {2}user100\d$/gm)).toHaveLength(5)
    expect(output).toMatch(/^reject {3}line 7: .*"badge".*"lost"/m)
  })
})

describe('the example of a SCIM server', () => {
  it.runIf(hasCurl)('reads it in full, as a delta, and finds out who is gone', async () => {
    const output = await run(process.execPath, 'scim/server.mjs', 'scim/aggregate.sh')
    expect(output).toMatch(/^read {7}full, 20 records:.*\ncreated {4}20$/m)
    expect(output).toMatch(/^read {7}delta, .*\ncreated {4}0\nupdated {4}1\nremoved {4}0$/m)
    expect(output).toMatch(
      /^read {7}full, 19 records:.*\ncreated {4}0\nupdated {4}0\nremoved {4}1$/m,
    )
  })
})
