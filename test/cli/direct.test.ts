// The commands for sources that Muster reads itself, against a server that has the chaos connector.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkout } from '../support/build.ts'
import { openCommandLine } from '../support/command-line.ts'
import type { CommandLine, Outcome } from '../support/command-line.ts'
import { connectTo } from '../support/server-process.ts'

let line: CommandLine
const run = (args: readonly string[], input = ''): Promise<Outcome> => line.run(args, input)

beforeAll(async () => {
  line = await openCommandLine({
    MUSTER_CONNECTORS: join(checkout, 'test', 'connect', 'chaos-connector.mjs'),
  })
  await writeFile(join(line.folder, 'password'), 'right\n')
}, 120_000)
afterAll(() => line.close())

describe('a source that Muster reads itself', () => {
  it('is made with settings in JSON or as text and a secret from a file, and works', async () => {
    const settings =
      '--set records=12 --set url=chaos://host/a=b --set list=["a","b"] --set config.region=eu --set config.deep.on=true'
    const made = await run([
      'source',
      'create',
      'Chaos',
      '--connector',
      'chaos',
      '--description',
      'Of the test',
      ...settings.split(' '),
      '--secret',
      'password=password',
    ])
    expect(made).toMatchObject({ code: 0, stderr: expect.stringContaining('muster source test') })
    expect(made.stdout).toMatch(/identity column +id\n/)
    const { connectorAttributes } = JSON.parse(
      (await run(['source', 'get', 'Chaos', '--json'])).stdout,
    ) as { connectorAttributes: object }
    expect(connectorAttributes).toMatchObject({
      records: 12,
      url: 'chaos://host/a=b',
      list: ['a', 'b'],
      config: { region: 'eu', deep: { on: true } },
      password: '******',
    })
    const test = await run(['source', 'test', 'chaos'])
    expect(test).toMatchObject({ code: 0, stderr: '' })
    expect(test.stdout).toMatch(/^status +SUCCESS after \d+\.\d s\n/)
    expect(test.stdout).toMatch(/connection records +12\n/)
    const quick = await run(['source', 'test', 'chaos', '--connection', '--json'])
    expect(JSON.parse(quick.stdout)).toMatchObject({ status: 'SUCCESS', details: { records: 12 } })
  })

  it('is tested with exit code 1, the reason on stdout and the advice on stderr, when it does not work', async () => {
    const made = await run(
      ['source', 'create', 'Locked', '--connector', 'chaos', '--secret', 'password=-'],
      'nope\n',
    )
    expect(made.code).toBe(0)
    const test = await run(['source', 'test', 'Locked'])
    expect(test.code).toBe(1)
    expect(test.stdout).toMatch(/^status +FAILURE[\s\S]*reason +Chaos refused the password\./)
    expect(test.stderr).toContain('Correct the password.')
    const peek = await run(['source', 'peek', 'Locked'])
    expect(peek).toMatchObject({ code: 1, stdout: '' })
    expect(peek.stderr).toContain('Chaos refused the password.')
  })

  it('takes no secret from the command line, and refuses what cannot be meant', async () => {
    const base = ['source', 'create', 'Never', '--connector', 'chaos']
    const wrong: [readonly string[], string][] = [
      [[...base, '--set', 'bindPassword=secret'], '--secret bindPassword=<file>'],
      [[...base, '--set', 'config.apiKey=secret'], 'does not belong on a command line'],
      [[...base, '--set', 'records'], '--set takes key=value'],
      [[...base, '--set', 'a=1', '--set', 'a.b=2'], 'was given another value before'],
      [[...base, '--set', '__proto__.x=1'], 'is no key of a setting'],
      [[...base, '--secret', 'password=missing'], 'cannot be read'],
      [[...base, '--secret', 'password=-'], 'there is nothing in it'],
      [[...base, '--secret', 'a=-', '--secret', 'b=-'], 'Only one secret'],
      [[...base, '--from', 'x.csv'], '--from is for sources of files'],
      [[...base, '--id-column', 'x'], '--id-column is for sources of files'],
      [['source', 'create', 'Never'], '--from <file> or --connector <kind>'],
      [['source', 'create', 'Never', '--from', 'x', '--set', 'a=1'], 'need --connector'],
    ]
    for (const [args, reason] of wrong) {
      const outcome = await run(args)
      expect([args, outcome.code]).toEqual([args, 2])
      expect(outcome.stderr).toContain(reason)
      expect(outcome.stdout).toBe('')
    }
    expect((await run(['source', 'get', 'Never'])).code).toBe(4)
  }, 60_000)

  it('is peeked into as a table and as JSON', async () => {
    const table = await run(['source', 'peek', 'Chaos', '--limit', '2'])
    expect(table.stdout).toMatch(
      /^IDENTITY +id +name +title +number +groups\nuser-1 +user-1 +User 1/,
    )
    expect(table.stdout.trim().split('\n')).toHaveLength(3)
    expect(table.stderr).toMatch(/^2 objects after \d/)
    const groups = await run(['source', 'peek', 'Chaos', '--type', 'group', '--json'])
    expect(JSON.parse(groups.stdout)).toMatchObject({ objectCount: 3 })
    expect((await run(['source', 'peek', 'Chaos', '--type', 'rocket'])).stderr).toContain('"group"')
    expect((await run(['source', 'peek', 'Chaos', '--limit', '251'])).code).toBe(2)
  })

  it('is discovered, and changed only when asked to', async () => {
    const nothing = await run(['source', 'discover', 'Chaos'])
    expect(nothing).toMatchObject({ code: 0, stdout: '' })
    expect(nothing.stderr).toContain('have all that the system describes')
    await editSchema('Chaos')

    const shown = await run(['source', 'discover', 'Chaos'])
    expect(shown.stdout).toMatch(/^SCHEMA +PROPOSAL +ATTRIBUTE +TYPE\n/)
    expect(shown.stdout).toMatch(/account +add +title +STRING\n/)
    expect(shown.stdout).toMatch(/account +change +number +STRING → INT\n/)
    expect(shown.stdout).toMatch(/account +not in the system +mine/)
    expect(shown.stderr).toContain('Nothing was changed')
    const still = await run(['source', 'discover', 'Chaos', '--json'])
    expect(JSON.parse(still.stdout)).toMatchObject({ schemas: [{ missing: ['mine'] }, {}] })

    expect((await run(['source', 'discover', 'Chaos', '--apply'])).stderr).toContain('was changed')
    const left = await run(['source', 'discover', 'Chaos', '--apply', '--prune'])
    expect(left.stdout).toMatch(/^SCHEMA.*\naccount +not in the system +mine\n$/)
    expect((await run(['source', 'discover', 'Chaos'])).stdout).toBe('')
  }, 60_000)

  it('is aggregated without a file, by delta when it is told to, and full after a reset', async () => {
    const json = async (...more: string[]): Promise<{ attributes: Record<string, unknown> }> => {
      const outcome = await run(['aggregate', '--source', 'Chaos', '--json', ...more])
      expect([more, outcome.code, outcome.stderr]).toEqual([more, 0, expect.any(String)])
      return JSON.parse(outcome.stdout) as { attributes: Record<string, unknown> }
    }
    expect((await json('--mode', 'delta')).attributes).toMatchObject({ created: 12 })
    expect((await json('--mode', 'delta')).attributes).toMatchObject({ total: 0, deleted: 0 })
    expect((await json('--mode', 'full')).attributes).toMatchObject({ total: 12 })
    const reset = await run(['source', 'reset-state', 'Chaos'])
    expect(reset).toMatchObject({ code: 0, stdout: expect.stringContaining('Forgotten') })
    expect((await run(['source', 'reset-state', 'Chaos'])).stdout).toContain('nothing to forget')
    expect((await json('--mode', 'delta')).attributes).toMatchObject({ total: 12 })
    const shown = await run(['aggregate', '--source', 'Chaos'])
    expect(shown.stdout).toMatch(/^read +full, 12 records: chaos said that this was all$/m)
    expect((await run(['aggregate', '--source', 'Chaos', '--mode', 'some'])).code).toBe(2)
  }, 60_000)
})

/** Takes an attribute out of the account schema, gives another a wrong type, and adds one of our own. */
async function editSchema(name: string): Promise<void> {
  const { id } = JSON.parse((await run(['source', 'get', name, '--json'])).stdout) as { id: string }
  const { authorization } = await connectTo(line.server.url)
  const headers = { authorization, 'content-type': 'application/json' }
  const url = `${line.server.url}/v2025/sources/${id}/schemas`
  const [schema] = (await (await fetch(url, { headers })).json()) as {
    id: string
    attributes: { name: string; type: string }[]
  }[]
  const attributes = (schema?.attributes ?? [])
    .filter((one) => one.name !== 'title')
    .map((one) => (one.name === 'number' ? { ...one, type: 'STRING' } : one))
  const answer = await fetch(`${url}/${schema?.id}`, {
    method: 'PUT',
    headers,
    body: JSON.stringify({ ...schema, attributes: [...attributes, { name: 'mine' }] }),
  })
  expect(answer.status).toBe(200)
}
