// The kind of connector that reads SCIM 2.0 servers: what it says of itself, and the schemas that a new source gets.
import { describe } from './description.ts'
import type { ConnectorDescription, DescribedSchema } from './description.ts'

/** The URN of the enterprise extension (RFC 7643, section 4.3). */
export const enterpriseUser = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'

/** The names are SCIM paths, as discovery gives them: it then proposes only what a server has besides. */
const account: DescribedSchema = {
  name: 'account',
  nativeObjectType: 'User',
  identityAttribute: 'id',
  displayAttribute: 'userName',
  attributes: [
    describe('id', 'The id that the server gave to the user. It never changes.'),
    describe('externalId', 'The id that a client gave to the user.'),
    describe('userName', 'The name that the user logs in with.'),
    describe('displayName', 'The name that is shown.'),
    describe('name.givenName', 'The first name.'),
    describe('name.familyName', 'The last name.'),
    describe('name.formatted', 'The full name.'),
    describe('title', 'The position.'),
    describe('userType', 'The kind of user.'),
    describe('preferredLanguage', 'The language that the user prefers.'),
    describe('active', 'Whether the user may log in.', { type: 'BOOLEAN' }),
    describe('emails', 'The mail addresses.', { isMulti: true }),
    describe('phoneNumbers', 'The telephone numbers.', { isMulti: true }),
    describe('groups', 'The ids of the groups of the user.', {
      isMulti: true,
      isEntitlement: true,
    }),
    describe('roles', 'The roles of the user.', { isMulti: true, isEntitlement: true }),
    describe('entitlements', 'What else the user is entitled to.', {
      isMulti: true,
      isEntitlement: true,
    }),
    describe(`${enterpriseUser}:employeeNumber`, 'The number of the employee.'),
    describe(`${enterpriseUser}:department`, 'The department.'),
    describe(`${enterpriseUser}:manager.value`, 'The id of the manager.'),
  ],
}

const group: DescribedSchema = {
  name: 'group',
  nativeObjectType: 'Group',
  identityAttribute: 'id',
  displayAttribute: 'displayName',
  attributes: [
    describe('id', 'The id that the server gave to the group.'),
    describe('displayName', 'The name of the group.'),
    describe('externalId', 'The id that a client gave to the group.'),
  ],
}

/** The description of the connector `scim`. */
export const scimKind: ConnectorDescription = {
  name: 'scim',
  displayName: 'SCIM 2.0',
  features: ['DISCOVER_SCHEMA'],
  schemas: [account, group],
  // Ids of SCIM are compared with regard to case (RFC 7643, section 3.1).
  foldsCase: false,
  delta: true,
}
