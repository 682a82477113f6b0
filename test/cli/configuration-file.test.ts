// The file of `muster apply`: what cannot be read is named by its line and key, and texts become variables and back.
import { describe, expect, it } from 'vitest'
import { readConfigurationFile } from '../../src/cli/configuration-file.ts'
import { writeConfiguration } from '../../src/cli/configuration-text.ts'
import { CliError } from '../../src/cli/exit-code.ts'

function failure(text: string): string {
  try {
    readConfigurationFile(text, 'it.yaml', {})
  } catch (error) {
    if (error instanceof CliError && error.exitCode === 2) return error.message
    throw error
  }
  throw new Error('it was read')
}

const ldap = 'version: 1\nsources:\n  - name: A\n    connector: ldap\n'

describe('a file of configuration', () => {
  it.each([
    ['version: 2\nsources: []', 'line 1: version: must be 1.'],
    ['sources: []', 'line 1: version: must be 1.'],
    ['version: 1\nsources:\n  - name: A\n   connector: x', 'line 4, column'],
    ['version: 1\nversion: 1', 'line 2, column 1: Map keys must be unique'],
    [
      'version: 1\nsources:\n  - name: A\n    conector: x',
      'line 4: sources[0].conector: is not known',
    ],
    [
      'version: 1\nsources:\n  - name: A',
      'line 3: sources[0].connector: a source needs a connector',
    ],
    [
      'version: 1\nsources:\n  - name: A\n    connector: ldap\n    deleteThreshold: 101',
      'line 5: sources[0].deleteThreshold',
    ],
    [
      'version: 1\nsources:\n  - name: A\n    connector: ldap\n  - name: a\n    connector: ldap',
      'line 5: sources[1]: there is already a source "a".',
    ],
    [
      'version: 1\nsources:\n  - name: A\n    connector: ldap\n    connectorAttributes:\n      bindPassword: $NOT_SET',
      'line 6: sources[0].connectorAttributes.bindPassword: the environment variable NOT_SET is not set.',
    ],
    [
      'version: 1\nsources:\n  - name: A\n    connector: delimited-file-angularsc\n    connectorAttributes:\n      mergeRows: true\n      filterString: id = 5',
      'line 7: sources[0].connectorAttributes.filterString:',
    ],
    [
      'version: 1\nsources:\n  - name: A\n    connector: ldap\n    schemas:\n      - name: account\n        identityAttribute: id\n        attributes:\n          - name: uid\n',
      'line 7: sources[0].schemas[0].identityAttribute: "id" is no attribute of the schema.',
    ],
    [
      `${ldap}    schemas:\n      - name: group\n        attributes:\n          - {name: id}\n          - {name: parent, schema: group}`,
      'line 9: sources[0].schemas[0].attributes[1].schema: the schema "group" refers to itself.',
    ],
    [
      `${ldap}    schemas:\n      - {name: a, attributes: [{name: x, schema: b}]}\n      - {name: b, attributes: [{name: x, schema: c}]}\n      - {name: c, attributes: [{name: x, schema: a}]}`,
      'line 6: sources[0].schemas[0].attributes[0].schema: the schema "b" refers back to "a".',
    ],
    [
      `${ldap}    settings:\n      whenBusy: nonsense`,
      'line 6: sources[0].settings.whenBusy: must be error, conflict or queue.',
    ],
    [
      `${ldap}    settings: {readMode: 5}`,
      'line 5: sources[0].settings.readMode: must be full or delta.',
    ],
    [
      'version: 1\nsources:\n  - name: A\n    connector: delimited-file-angularsc\n    settings:\n      readMode: delta',
      'line 6: sources[0].settings.readMode: must be full: files are always whole.',
    ],
    [
      `${ldap}    features:\n      - SEARCH\n      - NONSENSE`,
      'line 7: sources[0].features[1]: "NONSENSE" is no feature.',
    ],
    [
      `${ldap}    schemas:\n      - name: account\n        features: [NONSENSE]`,
      'line 7: sources[0].schemas[0].features[0]: "NONSENSE" is no feature.',
    ],
    [
      `${ldap}    managerCorrelationMapping: {account: manager}`,
      'line 5: sources[0].managerCorrelationMapping.account: is not known here.',
    ],
    ['a: &a [x]\nb: [*c]', 'Unresolved alias'],
    ['- 1', 'line 1: must be a mapping'],
  ])('is refused with the line and the key of what is wrong (%#)', (text, message) => {
    expect(failure(text)).toContain(message)
    expect(failure(text)).toContain('it.yaml')
  })

  it('takes variables as whole texts, and a dollar more as the text itself', () => {
    const text =
      'version: 1\nsources:\n  - name: A\n    connector: other\n    connectorAttributes: {a: $A, b: "${A}", c: [$$A], d: "${A}x"}'
    const { sources } = readConfigurationFile(text, 'it.yaml', { A: 'value' })
    expect(sources[0]?.connectorAttributes).toEqual({
      a: 'value',
      b: 'value',
      c: ['$A'],
      d: '${A}x',
    })
    const written = writeConfiguration(sources)
    expect(written).toContain('- $$A')
    expect(readConfigurationFile(written, 'it.yaml', {}).sources).toEqual(sources)
  })

  it('reads no key of an object that is no key of the file', () => {
    const text =
      'version: 1\nsources:\n  - name: A\n    connector: other\n    connectorAttributes: {__proto__: {x: 1}, constructor: y}'
    const { sources } = readConfigurationFile(text, 'it.yaml', {})
    expect(Object.keys(sources[0]?.connectorAttributes ?? {})).toEqual(['__proto__', 'constructor'])
    expect(Reflect.get({}, 'x')).toBeUndefined()
  })

  it('may refer twice to the same schema', () => {
    const text = `${ldap}    schemas:
      - {name: account, attributes: [{name: a, schema: group}, {name: b, schema: role}]}
      - {name: group, attributes: [{name: x, schema: role}]}
      - {name: role, attributes: [{name: x}]}`
    expect(readConfigurationFile(text, 'it.yaml', {}).sources[0]?.schemas).toHaveLength(3)
  })

  it('is refused when its anchors would grow without end', () => {
    const lines = Array.from({ length: 12 }, (_, index) =>
      index === 0
        ? 'a0: &a0 [x, x]'
        : `a${index}: &a${index} [${`*a${index - 1}, `.repeat(9)}*a${index - 1}]`,
    )
    expect(failure(lines.join('\n'))).toContain('alias')
  })
})
