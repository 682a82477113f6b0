// The kind of connector that runs SaaS connectors: what it says of itself, and the schemas that a new source gets.
import { describe } from './description.ts'
import type { ConnectorDescription, DescribedSchema } from './description.ts'

/** Every connector has a schema of its own; these few attributes stand until discovery has asked it. */
const account: DescribedSchema = {
  name: 'account',
  nativeObjectType: 'account',
  identityAttribute: 'id',
  displayAttribute: 'name',
  attributes: [
    describe('id', 'The id of the account.'),
    describe('name', 'The name that is shown.'),
    describe('email', 'The mail address.'),
    describe('groups', 'The groups of the account.', { isMulti: true, isEntitlement: true }),
  ],
}

const group: DescribedSchema = {
  name: 'group',
  nativeObjectType: 'group',
  identityAttribute: 'id',
  displayAttribute: 'name',
  attributes: [
    describe('id', 'The id of the group.'),
    describe('name', 'The name of the group.'),
    describe('description', 'What the group is for.'),
  ],
}

/** The description of the connector `saas`. */
export const saasKind: ConnectorDescription = {
  name: 'saas',
  displayName: 'SaaS Connector',
  features: ['DISCOVER_SCHEMA', 'ENABLE', 'UNLOCK'],
  schemas: [account, group],
  foldsCase: false,
  delta: true,
}
