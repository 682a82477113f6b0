// The kinds of connector that read SQL databases: what they say of themselves, and the schemas that a new source gets.
import { describe } from './description.ts'
import type { ConnectorDescription, DescribedSchema } from './description.ts'

/** Every query has columns of its own: these are only a beginning, and discovery proposes the columns that there are. */
const schemas: readonly DescribedSchema[] = [
  {
    name: 'account',
    nativeObjectType: 'account',
    identityAttribute: 'id',
    displayAttribute: 'name',
    attributes: [
      describe('id', 'What identifies the account.'),
      describe('name', 'The name that people know the account by.'),
      describe('givenName', 'The first name.'),
      describe('familyName', 'The last name.'),
      describe('email', 'The mail address.'),
      describe('groups', 'The groups of the account.', { isMulti: true, isEntitlement: true }),
    ],
  },
  {
    name: 'group',
    nativeObjectType: 'group',
    identityAttribute: 'id',
    displayAttribute: 'name',
    attributes: [
      describe('id', 'What accounts have as the name of the group.'),
      describe('name', 'The name that people know the group by.'),
      describe('description', 'What the group is for.'),
    ],
  },
]

// Texts that differ only in case are different keys in SQL, unless a collation says otherwise.
const common = {
  features: ['DISCOVER_SCHEMA', 'SEARCH'],
  schemas,
  foldsCase: false,
  delta: true,
}

/** PostgreSQL 12 and later. */
export const postgresqlKind: ConnectorDescription = {
  name: 'postgresql',
  displayName: 'PostgreSQL',
  ...common,
}

/** MySQL 5.7 and later, MariaDB 10.5 and later. */
export const mysqlKind: ConnectorDescription = {
  name: 'mysql',
  displayName: 'MySQL or MariaDB',
  ...common,
}
