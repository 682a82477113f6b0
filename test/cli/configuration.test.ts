// muster export and apply: a server becomes what a file says, the same file changes nothing, and a bad one changes nothing at all.
import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkout } from '../support/build.ts'
import { openCommandLine, type CommandLine } from '../support/command-line.ts'
import { clientId, clientSecret } from '../support/server-process.ts'

let first: CommandLine
let second: CommandLine
const secret = { DIRECTORY_PASSWORD: 'tell-nobody-4711' }
const example = join(checkout, 'examples', 'configuration', 'muster.yaml')

beforeAll(async () => {
  ;[first, second] = await Promise.all([openCommandLine({}), openCommandLine({})])
}, 120_000)
afterAll(async () => {
  await Promise.all([first?.close(), second?.close()])
})

async function exported(from: CommandLine): Promise<string> {
  const { code, stdout, stderr } = await from.run(['export'])
  expect([code, stderr]).toEqual([0, ''])
  return stdout
}

/** Runs a command with standard output and standard error at a terminal; what both say is in `stdout`. */
function atTerminal(line: CommandLine, command: string): { code: number | null; stdout: string } {
  const words = `${process.execPath} ${line.bin} ${command}`
  const { status, stdout } = spawnSync('script', ['-qec', words, '/dev/null'], {
    encoding: 'utf8',
    cwd: line.folder,
    env: {
      PATH: process.env['PATH'],
      HOME: line.folder,
      SAIL_BASE_URL: line.server.url,
      SAIL_CLIENT_ID: clientId,
      SAIL_CLIENT_SECRET: clientSecret,
    },
  })
  return { code: status, stdout }
}

describe('a configuration', () => {
  it('is made from the example of a file, secrets from the environment, and the same file again changes nothing', async () => {
    const dry = await first.run(['apply', example, '--dry-run'], '', secret)
    expect(dry).toMatchObject({ code: 0, stderr: '' })
    expect(dry.stdout).toBe(
      '+ source "Directory" (ldap)\n+ source "HR" (delimited-file-angularsc)\n    + schema "account" (6 attributes)\n',
    )
    expect(await first.json(['source', 'list'])).toEqual([])

    const made = await first.run(['apply', example], '', secret)
    expect(made).toMatchObject({ code: 0, stderr: 'created: Directory\ncreated: HR\n' })
    const again = await first.run(['apply', example], '', secret)
    expect(again).toEqual({ code: 0, stdout: 'No changes.\n', stderr: '' })

    const text = await exported(first)
    expect(text).not.toContain(secret.DIRECTORY_PASSWORD)
    expect(text).toContain('bindPassword: "******"')
    expect(text).toContain('filterString: status == "left"')
    // What was exported is what there is, mask and all.
    await writeFile(join(first.folder, 'muster.yaml'), text)
    expect(await first.run(['apply', 'muster.yaml', '--prune'])).toEqual({
      code: 0,
      stdout: 'No changes.\n',
      stderr: '',
    })
    expect(await first.run(['apply', '-'], text)).toMatchObject({ stdout: 'No changes.\n' })
  })

  it('goes to an empty server and comes from it as the same text', async () => {
    const text = await exported(first)
    // A mask is no secret: a server that keeps none needs one, and nothing is made until it has.
    const masked = await second.run(['apply', '-'], text)
    expect(masked.code).toBe(2)
    expect(masked.stderr).toMatch(
      /The input, line \d+: sources\[0\]\.connectorAttributes\.bindPassword: .* is masked/,
    )
    expect(await second.json(['source', 'list'])).toEqual([])

    const given = text.replace('"******"', '$DIRECTORY_PASSWORD')
    expect(await second.run(['apply', '-'], given, secret)).toMatchObject({ code: 0 })
    expect(await exported(second)).toBe(text)
    expect(await second.run(['apply', '-'], text)).toMatchObject({ stdout: 'No changes.\n' })
  })

  it('shows what changes, changes it, and leaves what the file does not have unless it is to be pruned', async () => {
    const text = await exported(second)
    const changed = text
      .replace('delimiter: ;', 'delimiter: "|"')
      .replace('      mergeRows: true\n', '      linesToSkip: 2\n')
      .replace('deleteThreshold: 5', 'deleteThreshold: 7')
      .replace('whenBusy: queue', 'whenBusy: conflict')
      .replace('          - name: status\n', '          - name: state\n            type: INT\n')
      .replace('ignoreCase: true', 'matchMode: START')
    const dry = await second.run(['apply', '-', '--dry-run'], changed)
    expect(dry.stdout.split('\n')).toEqual([
      '~ source "Directory"',
      '    ~ settings.whenBusy: "queue" → "conflict"',
      '~ source "HR"',
      '    ~ deleteThreshold: 5 → 7',
      '    ~ connectorAttributes.delimiter: ";" → "|"',
      '    + connectorAttributes.linesToSkip: 2',
      '    - connectorAttributes.mergeRows: true',
      '    + schema "account": attribute "state"',
      '    - schema "account": attribute "status"',
      '    ~ correlation: mail = email (any case) → mail = email (START)',
      '',
    ])
    expect(await exported(second)).toBe(text)
    expect(await second.run(['apply', '-'], changed)).toMatchObject({ code: 0 })
    expect(await exported(second)).toBe(changed)
    expect(await second.run(['apply', '-'], changed)).toMatchObject({ stdout: 'No changes.\n' })

    const [, hr = ''] = changed.split(/(?= {2}- name: HR)/)
    const only = `version: 1\nsources:\n${hr}`
    const left = await second.run(['apply', '-'], only)
    expect(left).toMatchObject({
      stdout: 'No changes.\n',
      stderr: 'Not in the file, and left as it is without --prune: "Directory".\n',
    })
    const pruned = await second.run(['apply', '-', '--prune'], only)
    expect(pruned).toMatchObject({
      code: 0,
      stdout: '- source "Directory" and its accounts\n',
      stderr: 'removed: Directory\n',
    })
    expect(await second.run(['apply', '-', '--prune'], only)).toMatchObject({
      stdout: 'No changes.\n',
    })
  })

  it('keeps a secret that is there, and writes it again only when it is told to', async () => {
    const other = { DIRECTORY_PASSWORD: 'another' }
    expect(await first.run(['apply', example], '', other)).toMatchObject({
      stdout: 'No changes.\n',
    })
    const told = await first.run(['apply', example, '--secrets'], '', other)
    expect(told.stdout).toBe(
      '~ source "Directory"\n    ~ connectorAttributes.bindPassword: "******" → "******"\n',
    )
  })

  it('that is wrong for this server is named by line and key, and nothing is made of it', async () => {
    const before = await exported(first)
    const text =
      'version: 1\nsources:\n  - name: New\n    connector: ldap\n  - name: HR\n    connector: ldap'
    const { code, stderr } = await first.run(['apply', '-'], text)
    expect(code).toBe(2)
    expect(stderr).toContain(
      'The input, line 6: sources[1].connector: connector of the source "HR" is "delimited-file-angularsc" and cannot become "ldap".',
    )
    expect(await exported(first)).toBe(before)
    expect(await first.run(['apply', 'nowhere.yaml'])).toMatchObject({ code: 2 })
  })

  it('is taken back when the server refuses a part of a new source, and says what was done before', async () => {
    const before = await exported(first)
    const text = `version: 1
sources:
  - name: Good
    connector: delimited-file-angularsc
    schemas: [{name: account, identityAttribute: id, attributes: [{name: id}]}]
  - name: Bad
    connector: delimited-file-angularsc
    schemas: [{name: account, attributes: [{name: id, isGroup: true}]}]
`
    const { code, stderr } = await first.run(['apply', '-'], text)
    expect(code).toBe(1)
    expect(stderr).toContain('created: Good\n')
    expect(stderr).toContain('The source "Bad" was not created.')
    const after = await exported(first)
    expect(after).toContain('name: Good')
    expect(after).not.toContain('name: Bad')
    await first.run(['apply', '-', '--prune'], before)
    expect(await exported(first)).toBe(before)
  })

  it('says of a source that was refused in the middle that a part of it may be changed', async () => {
    const before = await exported(first)
    const text = before
      .replace('deleteThreshold: 5', 'deleteThreshold: 6')
      .replace(
        '          - name: status\n',
        '          - name: status\n            isGroup: true\n',
      )
    const { code, stderr } = await first.run(['apply', '-'], text)
    expect(code).toBe(1)
    expect(stderr).toContain('The source "HR" was not changed as a whole; parts of it may be.\n')
    expect(await exported(first)).toContain('deleteThreshold: 6')
    await first.run(['apply', '-'], before)
    expect(await exported(first)).toBe(before)
  })

  it('makes schemas in the order in which they refer to each other, and removes them in the other', async () => {
    const before = await exported(second)
    const source = (account: string, rest: string): string => `version: 1
sources:
  - name: Chain
    connector: ldap
    schemas:
      - name: account
        identityAttribute: id
        attributes:
          - name: id
${account}${rest}`
    const text = source(
      '          - name: groups\n            schema: group\n            isMulti: true\n',
      `      - name: group
        identityAttribute: id
        attributes:
          - name: id
          - name: roles
            schema: role
      - name: role
        identityAttribute: id
        attributes:
          - name: id
`,
    )
    expect(await second.run(['apply', '-'], text)).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('created: Chain\n'),
    })
    expect(await second.run(['apply', '-'], text)).toMatchObject({ stdout: 'No changes.\n' })
    expect(await exported(second)).toContain(text.slice(text.indexOf('    schemas:')))
    const pruned = await second.run(['apply', '-', '--prune'], source('', ''))
    expect(pruned).toMatchObject({ code: 0, stderr: expect.stringContaining('changed: Chain\n') })
    await second.run(['apply', '-', '--prune'], before)
    expect(await exported(second)).toBe(before)
  })

  it('changes nothing again where the index column is the identity attribute and no schema is given', async () => {
    const before = await exported(second)
    const schema =
      '    schemas: [{name: account, identityAttribute: mail, attributes: [{name: mail}]}]\n'
    const text = `version: 1
sources:
  - name: Indexed
    connector: delimited-file-angularsc
    connectorAttributes: {indexColumn: mail}
`
    expect(await second.run(['apply', '-'], text + schema)).toMatchObject({ code: 0 })
    expect(await second.run(['apply', '-'], text)).toMatchObject({
      code: 0,
      stdout: 'No changes.\n',
    })
    await second.run(['apply', '-', '--prune'], before)
  })

  it('has the attributes by which managers are found', async () => {
    const before = await exported(second)
    const text = (mapping: string): string => `version: 1
sources:
  - name: Managed
    connector: delimited-file-angularsc
${mapping}`
    const mapping = (name: string): string =>
      `    managerCorrelationMapping:\n      accountAttributeName: ${name}\n      identityAttributeName: uid\n`
    expect(await second.run(['apply', '-'], text(mapping('manager')))).toMatchObject({ code: 0 })
    expect(await exported(second)).toContain(mapping('manager'))
    const changed = await second.run(['apply', '-'], text(mapping('boss')))
    expect(changed).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('~ managerCorrelationMapping: {'),
    })
    const again = await exported(second)
    expect(again).toContain(mapping('boss'))
    expect(await second.run(['apply', '-'], again)).toMatchObject({ stdout: 'No changes.\n' })
    expect(await second.run(['apply', '-'], text(''))).toMatchObject({ code: 0 })
    expect(await exported(second)).not.toContain('managerCorrelationMapping')
    await second.run(['apply', '-', '--prune'], before)
  })

  it('names a connector that Muster does not have before it makes a source of it', async () => {
    const text = 'version: 1\nsources:\n  - {name: Dead, connector: lpad}\n'
    const dry = await second.run(['apply', '-', '--dry-run'], text)
    expect(dry).toMatchObject({
      code: 0,
      stdout:
        '+ source "Dead" (lpad)\n    ! connector "lpad" is no part of Muster: unless the server has a package for it, the source cannot be read\n',
    })
  })

  it('keeps texts that look like variables or like something else than texts', async () => {
    const text = `version: 1
sources:
  - name: "Odd: #1 'ü' $X"
    description: "yes"
    connector: something-else
    connectorAttributes:
      a: $$HOME
      b: "null"
      c: [1, true, null, "1"]
      d: { e: "\${x}y", "f/~g": 1.5 }
`
    expect(await second.run(['apply', '-'], text)).toMatchObject({ code: 0 })
    expect(await second.run(['apply', '-'], text)).toMatchObject({ stdout: 'No changes.\n' })
    const again = await exported(second)
    expect(again).toContain('a: $$HOME')
    // JSON is YAML too: what one form escapes, the other does.
    const { stdout: json } = await second.run(['export', '-o', 'json'])
    expect(json).toContain('"a": "$$HOME"')
    expect(await second.run(['apply', '-', '--prune'], json)).toMatchObject({
      code: 0,
      stdout: 'No changes.\n',
    })
    const [source] = (await second.json(['source', 'list'])).filter(
      (one: { connector: string }) => one.connector === 'something-else',
    )
    expect(source.connectorAttributes).toMatchObject({
      a: '$HOME',
      b: 'null',
      c: [1, true, null, '1'],
      d: { e: '${x}y', 'f/~g': 1.5 },
    })
    expect(await second.run(['apply', '-', '--prune'], again)).toMatchObject({
      stdout: 'No changes.\n',
    })
  })

  it('can be written to a file', async () => {
    const { code, stdout, stderr } = await first.run(['export', 'out.yaml'])
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: '',
      stderr: '2 sources in out.yaml.\n',
    })
    expect(await readFile(join(first.folder, 'out.yaml'), 'utf8')).toBe(await exported(first))
  })
  it('is written to a file as JSON where that is asked for, and in no form that cannot be applied', async () => {
    expect(await first.run(['export', 'out.json', '-o', 'json'])).toEqual({
      code: 0,
      stdout: '',
      stderr: '2 sources in out.json.\n',
    })
    const { stdout } = await first.run(['export', '--json'])
    expect(await readFile(join(first.folder, 'out.json'), 'utf8')).toBe(stdout)
    expect(await first.run(['apply', 'out.json', '--prune'])).toMatchObject({
      code: 0,
      stdout: 'No changes.\n',
    })
    for (const form of ['csv', 'table']) {
      const refused = await first.run(['export', `out.${form}`, '-o', form])
      expect(refused).toMatchObject({ code: 2, stdout: '' })
      expect(refused.stderr).toContain(`-o ${form}`)
      await expect(readFile(join(first.folder, `out.${form}`))).rejects.toThrow('ENOENT')
    }
  })

  // `script`, which makes a terminal, takes other options on other systems.
  it.runIf(process.platform === 'linux')(
    'that comes from standard input at a terminal removes nothing without --yes',
    async () => {
      const text = 'version: 1\nsources: []\n'
      const made = 'version: 1\nsources:\n  - {name: Kept, connector: delimited-file-angularsc}\n'
      await second.run(['apply', '-'], made)
      await writeFile(join(second.folder, 'none.yaml'), text)
      const { code, stdout } = atTerminal(second, 'apply - --prune <none.yaml')
      expect([code, stdout]).toEqual([2, expect.stringContaining('--yes')])
      expect(await exported(second)).toContain('name: Kept')
      const told = atTerminal(second, 'apply - --prune --yes <none.yaml')
      expect([told.code, told.stdout]).toEqual([0, expect.stringContaining('removed: Kept')])
      // A script has no terminal, and whoever wrote it has decided.
      await second.run(['apply', '-'], made)
      expect(await second.run(['apply', '-', '--prune'], text)).toMatchObject({ code: 0 })
      expect(await exported(second)).not.toContain('name: Kept')
    },
  )
})
