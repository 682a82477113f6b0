// The kinds `ldap` and `active-directory`: what they are called and the schemas that their new sources get.
import { type ConnectorDescription, describe, type DescribedAttribute } from './description.ts'

const multi = { isMulti: true }

/** Attributes of a person that both kinds have. */
const person: readonly DescribedAttribute[] = [
  describe('cn', 'The common name.'),
  describe('sn', 'The last name.'),
  describe('givenName', 'The first name.'),
  describe('initials', 'The initials.'),
  describe('displayName', 'The name as it is shown.'),
  describe('mail', 'The mail address.'),
  describe('title', 'The job title.'),
  describe('description', 'A description.'),
  describe('employeeNumber', 'The number of the employee.'),
  describe('employeeType', 'The kind of employment.'),
  describe('manager', 'The DN of the manager.'),
  describe('l', 'The town.'),
  describe('st', 'The state or province.'),
  describe('postalCode', 'The postal code.'),
  describe('telephoneNumber', 'The telephone number.'),
  describe('mobile', 'The mobile number.'),
  describe('physicalDeliveryOfficeName', 'The office.'),
]

/** What every LDAP server can do. */
const features: readonly string[] = ['DISCOVER_SCHEMA', 'SEARCH', 'UNSTRUCTURED_TARGETS']

export const ldapKind: ConnectorDescription = {
  name: 'ldap',
  displayName: 'LDAP',
  features,
  foldsCase: true,
  delta: true,
  schemas: [
    {
      name: 'account',
      nativeObjectType: 'inetOrgPerson',
      identityAttribute: 'dn',
      displayAttribute: 'cn',
      attributes: [
        describe('dn', 'The distinguished name.'),
        describe('uid', 'The login name.'),
        ...person,
        describe('departmentNumber', 'The number of the department.'),
        describe('ou', 'The organisational unit.'),
        describe('o', 'The organisation.'),
        describe('objectClass', 'The classes of the entry.', multi),
        describe('groups', 'The DNs of the groups that the account is in.', {
          isMulti: true,
          isEntitlement: true,
        }),
      ],
    },
    {
      name: 'group',
      nativeObjectType: 'groupOfNames',
      identityAttribute: 'dn',
      displayAttribute: 'cn',
      attributes: [
        describe('dn', 'The distinguished name.'),
        describe('cn', 'The name of the group.'),
        describe('description', 'A description.'),
        describe('ou', 'The organisational unit.'),
        describe('o', 'The organisation.'),
        describe('owner', 'The DNs of the owners.', multi),
      ],
    },
  ],
}

export const activeDirectoryKind: ConnectorDescription = {
  name: 'active-directory',
  displayName: 'Active Directory',
  features,
  foldsCase: true,
  delta: true,
  schemas: [
    {
      name: 'account',
      nativeObjectType: 'user',
      identityAttribute: 'distinguishedName',
      displayAttribute: 'sAMAccountName',
      attributes: [
        describe('distinguishedName', 'The distinguished name.'),
        describe('sAMAccountName', 'The login name.'),
        describe('userPrincipalName', 'The login name with its domain.'),
        describe('objectGUID', 'The id that stays when the account is renamed or moved.'),
        describe('objectSid', 'The security identifier.'),
        ...person,
        describe('department', 'The department.'),
        describe('company', 'The company.'),
        describe('employeeID', 'The id of the employee.'),
        describe('co', 'The country.'),
        describe('userAccountControl', 'The flags of the account.', { type: 'INT' }),
        describe('primaryGroupID', 'The number of the primary group, which memberOf leaves out.', {
          type: 'INT',
        }),
        describe('accountExpires', 'When the account expires.', { type: 'DATE' }),
        describe('pwdLastSet', 'When the password was set.', { type: 'DATE' }),
        describe('lastLogonTimestamp', 'When somebody last logged in, within two weeks.', {
          type: 'DATE',
        }),
        describe('whenCreated', 'When the account was made.', { type: 'DATE' }),
        describe('proxyAddresses', 'All mail addresses.', multi),
        describe('servicePrincipalName', 'The names of services.', multi),
        describe('memberOf', 'The DNs of the groups that the account is in.', {
          isMulti: true,
          isEntitlement: true,
        }),
      ],
    },
    {
      name: 'group',
      nativeObjectType: 'group',
      identityAttribute: 'distinguishedName',
      displayAttribute: 'cn',
      attributes: [
        describe('distinguishedName', 'The distinguished name.'),
        describe('cn', 'The common name.'),
        describe('sAMAccountName', 'The name of the group.'),
        describe('objectGUID', 'The id that stays when the group is renamed or moved.'),
        describe('objectSid', 'The security identifier.'),
        describe('description', 'A description.'),
        describe('mail', 'The mail address.'),
        describe('managedBy', 'The DN of whoever manages the group.'),
        describe('groupType', 'The flags of the group.', { type: 'INT' }),
        describe('memberOf', 'The DNs of the groups that the group is in.', multi),
      ],
    },
  ],
}
