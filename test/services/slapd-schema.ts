// Attributes and classes under the names of Active Directory, for OpenLDAP: what a reader of Active Directory asks for.

const types: readonly (readonly [
  oid: string,
  name: string,
  kind: string,
  single?: 'SINGLE-VALUE',
])[] = [
  ['1.2.840.113556.1.4.2', 'objectGUID', 'octets', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.4.146', 'objectSid', 'octets', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.2.120', 'uSNChanged', 'integer', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.4.8', 'userAccountControl', 'integer', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.4.662', 'lockoutTime', 'integer', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.4.1460', 'msDS-User-Account-Control-Computed', 'integer', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.2.48', 'isDeleted', 'boolean', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.4.221', 'sAMAccountName', 'text', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.4.656', 'userPrincipalName', 'text', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.4.750', 'groupType', 'integer', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.4.96', 'pwdLastSet', 'integer', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.2.115', 'invocationId', 'octets', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.4.99901', 'dsServiceName', 'dn', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.4.99902', 'highestCommittedUSN', 'integer', 'SINGLE-VALUE'],
  ['1.2.840.113556.1.4.99903', 'defaultNamingContext', 'dn', 'SINGLE-VALUE'],
]

const kinds: Readonly<Record<string, string>> = {
  octets: 'EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40',
  integer:
    'EQUALITY integerMatch ORDERING integerOrderingMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27',
  boolean: 'EQUALITY booleanMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.7',
  text: 'EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15',
  dn: 'EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12',
}

const common = 'objectGUID $ objectSid $ uSNChanged $ isDeleted $ sAMAccountName $ description'

/** A schema file of slapd. memberOf comes with the overlay of that name. */
export const directorySchema = [
  ...types.map(
    ([oid, name, kind, single]) =>
      `attributetype ( ${oid} NAME '${name}' ${kinds[kind] ?? ''} ${single ?? ''} )`,
  ),
  `objectclass ( 1.2.840.113556.1.5.9 NAME 'user' SUP organizationalPerson STRUCTURAL MAY ( ${common} $ displayName $ givenName $ mail $ userAccountControl $ lockoutTime $ msDS-User-Account-Control-Computed $ userPrincipalName $ pwdLastSet $ jpegPhoto ) )`,
  `objectclass ( 1.2.840.113556.1.5.8 NAME 'group' SUP top STRUCTURAL MUST cn MAY ( ${common} $ groupType $ member ) )`,
  `objectclass ( 1.2.840.113556.1.5.99901 NAME 'nTDSDSA' SUP top STRUCTURAL MUST cn MAY invocationId )`,
  '',
].join('\n')
