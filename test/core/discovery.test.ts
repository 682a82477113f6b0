import { applyPatch } from 'rfc6902'
import type { Operation } from 'rfc6902'
import { describe, expect, it } from 'vitest'
import { describe as described } from '../../src/core/description.ts'
import type { DescribedSchema } from '../../src/core/description.ts'
import { definitionOf, groupAttribute, proposeSchema } from '../../src/core/discovery.ts'
import { attribute } from '../../src/core/schema.ts'
import type { AttributeDefinition, Schema } from '../../src/core/schema.ts'

const schemaOf = (...attributes: AttributeDefinition[]): Schema => ({
  id: 'a'.repeat(32),
  sourceId: 'b'.repeat(32),
  name: 'account',
  nativeObjectType: 'User',
  identityAttribute: 'id',
  displayAttribute: 'id',
  hierarchyAttribute: null,
  includePermissions: false,
  features: [],
  configuration: {},
  attributes,
  created: '2026-11-22T00:00:00.000Z',
  modified: null,
})
const systemOf = (...attributes: DescribedSchema['attributes']): DescribedSchema => ({
  name: 'account',
  nativeObjectType: 'User',
  identityAttribute: 'id',
  displayAttribute: 'id',
  attributes,
})
/** The names, types and kinds of a schema after the patch of a proposal. */
function afterPatch(schema: Schema, system: DescribedSchema): unknown {
  const copy = structuredClone(schema)
  const failures = applyPatch(copy, [...proposeSchema(schema, system).patch] as Operation[])
  expect(failures.filter((failure) => failure !== null)).toEqual([])
  return copy.attributes.map(({ name, type, isMulti }) => [name, type, isMulti])
}

describe('a proposal', () => {
  it('adds what the schema lacks, changes what differs, and only names what the system lacks', () => {
    const schema = schemaOf(attribute('id'), attribute('age'), attribute('note'), attribute('mail'))
    const system = systemOf(
      described('id', ''),
      described('age', '', { type: 'INT' }),
      described('mail', '', { isMulti: true }),
      described('groups', 'What it is in.', { isMulti: true, isEntitlement: true }),
    )
    expect(proposeSchema(schema, system)).toMatchObject({
      schemaId: schema.id,
      added: [{ name: 'groups', description: 'What it is in.', isEntitlement: true }],
      changed: [
        { name: 'age', before: { type: 'STRING' }, after: { type: 'INT' } },
        { name: 'mail', before: { isMulti: false }, after: { isMulti: true } },
      ],
      missing: ['note'],
    })
    expect(afterPatch(schema, system)).toEqual([
      ['id', 'STRING', false],
      ['age', 'INT', false],
      ['note', 'STRING', false],
      ['mail', 'STRING', true],
      ['groups', 'STRING', true],
    ])
    expect(schema.attributes).toHaveLength(4)
  })

  it('is empty when both are the same, also where they differ in case or by a native name', () => {
    const schema = schemaOf(attribute('ID'), attribute('email', { nativeName: 'mail' }))
    const system = systemOf(described('id', ''), described('mail', ''))
    expect(proposeSchema(schema, system)).toEqual({
      name: 'account',
      schemaId: schema.id,
      added: [],
      changed: [],
      roles: [],
      missing: [],
      patch: [],
      removal: [],
    })
  })

  it('gives identity and name to attributes that the system has, where the ones of the schema are not there', () => {
    const schema = schemaOf(attribute('id'), attribute('extra'), attribute('mail'))
    const system = {
      ...systemOf(described('uid', ''), described('mail', '')),
      identityAttribute: 'uid',
      displayAttribute: 'MAIL',
    }
    const { roles, patch, removal } = proposeSchema(schema, system)
    expect(roles).toEqual([
      { role: 'identityAttribute', before: 'id', after: 'uid' },
      { role: 'displayAttribute', before: 'id', after: 'mail' },
    ])
    const copy = structuredClone(schema)
    expect(
      applyPatch(copy, [...patch, ...removal] as Operation[]).every((one) => one === null),
    ).toBe(true)
    expect(copy).toMatchObject({ identityAttribute: 'uid', displayAttribute: 'mail' })
    expect(copy.attributes.map(({ name }) => name)).toEqual(['mail', 'uid'])
    // One that the system has is the choice of a person and stays.
    const chosen = schemaOf(attribute('id'), attribute('uid'))
    expect(
      proposeSchema(chosen, {
        ...systemOf(described('id', ''), described('uid', '')),
        identityAttribute: 'uid',
      }).roles,
    ).toEqual([])
  })

  it('never removes an attribute that identity or name still needs', () => {
    const schema = { ...schemaOf(attribute('id'), attribute('extra')), displayAttribute: 'extra' }
    const { missing, removal, roles } = proposeSchema(schema, {
      ...systemOf(described('mail', '')),
      displayAttribute: 'none',
    })
    expect(missing).toEqual(['id', 'extra'])
    expect([removal, roles]).toEqual([[], []])
  })

  it('does not add an attribute whose name another one has, and no name that a schema cannot have', () => {
    const schema = schemaOf(attribute('id'), attribute('Mail', { nativeName: 'rfc822' }))
    const system = systemOf(
      described('id', ''),
      described('rfc822', ''),
      described('mail', ''),
      described('Tel', ''),
      described('tel', ''),
      described('__proto__', ''),
      described(' padded', ''),
    )
    expect(proposeSchema(schema, system).added.map(({ name }) => name)).toEqual(['Tel'])
  })

  it('leaves one value to the native identity, whatever the system allows', () => {
    const schema = schemaOf(attribute('id'))
    expect(proposeSchema(schema, systemOf(described('id', '', { isMulti: true }))).patch).toEqual(
      [],
    )
  })

  it('fails as a patch when another attribute stands in that place by now', () => {
    const before = schemaOf(attribute('id'), attribute('age'))
    const { patch } = proposeSchema(before, systemOf(described('age', '', { type: 'INT' })))
    const now = structuredClone(schemaOf(attribute('age'), attribute('id')))
    expect(applyPatch(now, [...patch] as Operation[])[0]?.name).toBe('TestError')
  })

  it('stays within the length of a patch for a system with very many attributes', () => {
    const schema = schemaOf(attribute('id'), attribute('age'))
    const many = Array.from({ length: 600 }, (_, at) => described(`extra${at}`, ''))
    const system = systemOf(described('id', ''), described('age', '', { type: 'INT' }), ...many)
    expect(proposeSchema(schema, system).patch).toHaveLength(2)
    expect(afterPatch(schema, system)).toHaveLength(602)
    expect(afterPatch(schema, system)).toContainEqual(['age', 'INT', false])
  })

  it('proposes the whole schema where the source has none', () => {
    const system = systemOf(described('id', ''), described('name', ''))
    expect(proposeSchema(null, system)).toMatchObject({
      schemaId: null,
      added: [{ name: 'id' }, { name: 'name' }],
      patch: [],
    })
    expect(definitionOf(described('n', 'x'))).toEqual(attribute('n', { description: 'x' }))
  })
})

describe('the attribute that names groups', () => {
  const entitlement = { isEntitlement: true, isMulti: true }
  it('is the one that is usually called so, or the only one with entitlements', () => {
    const roles = described('roles', '', entitlement)
    expect(groupAttribute(systemOf(roles, described('memberOf', '', entitlement)))).toBe('memberOf')
    expect(groupAttribute(systemOf(roles, described('groups', '')))).toBe('roles')
    expect(groupAttribute(systemOf(roles, described('rights', '', entitlement)))).toBeNull()
  })
})
