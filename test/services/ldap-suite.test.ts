// The suite of readers against a real OpenLDAP.
import { readerSuite } from '../connect/reader-suite.ts'
import { dnOf, entry, openLdap, person, tree, uuidOf, want } from './ldap-reading.ts'
import { admin, startSlapd, suffix } from './slapd.ts'

const numbers = Array.from({ length: 64 }, (_, number) => number)
const team = `cn=team,ou=groups,${suffix}`
const posix = `cn=posix,ou=groups,${suffix}`

const groups = [
  entry(team, {
    objectClass: 'groupOfNames',
    cn: 'team',
    member: numbers.filter((number) => number % 3 === 0).map(dnOf),
    entryUUID: uuidOf(9001),
  }),
  entry(posix, {
    objectClass: 'posixGroup',
    cn: 'posix',
    gidNumber: '100',
    memberUid: ['u0001', 'u0003'],
    description: 'By name',
    entryUUID: uuidOf(9002),
  }),
].join('')

function groupsOf(number: number): readonly string[] | null {
  const found = [
    ...(number % 3 === 0 ? [team] : []),
    ...(number === 1 || number === 3 ? [posix] : []),
  ]
  return found.length === 0 ? null : found
}

readerSuite('ldap', async () => {
  const server = await startSlapd({
    ldif:
      tree +
      numbers.map((number) => person(number, { mail: `u${number}@example.com` })).join('') +
      groups,
  })
  const url = `ldap://127.0.0.1:${server.port}`
  const settings = {
    url,
    bindDn: admin.dn,
    bindPassword: admin.password,
    baseDns: [`ou=people,${suffix}`],
    groupBaseDns: [`ou=groups,${suffix}`],
    pageSize: 10,
  }
  const fault = (name: string, code: string, given: object, temporary = false) => ({
    name,
    code,
    temporary,
    open: () => openLdap({ ...settings, ...given }),
    secrets: [admin.password, 'wrong-1'],
  })
  return {
    open: () => openLdap(settings),
    attributes: [
      want('dn'),
      want('uid'),
      want('name', { nativeName: 'cn' }),
      want('mail', { isMulti: true }),
      want('groups', { isMulti: true, isEntitlement: true }),
    ],
    identityAttribute: 'dn',
    accounts: numbers.map((number) => ({
      identity: dnOf(number),
      key: uuidOf(number),
      values: [
        dnOf(number),
        `u${String(number).padStart(4, '0')}`,
        `Person ${number}`,
        [`u${number}@example.com`],
        groupsOf(number),
      ],
    })),
    pageSize: 10,
    facts: ['vendor', 'namingContexts', 'accountsFound'],
    faults: [
      fault('a wrong password', 'credentials_refused', { bindPassword: 'wrong-1' }),
      fault('a base that is not there', 'base_missing', { baseDns: [`ou=nobody,${suffix}`] }),
      fault('a closed port', 'connect_failed', { url: 'ldap://127.0.0.1:1' }, true),
      fault('a certificate of nobody', 'certificate_refused', {
        url: `ldaps://localhost:${server.tlsPort}`,
      }),
      fault('a broken filter', 'bad_setting', { filter: '(uid=*' }),
      fault('a name without a password', 'bad_setting', { bindPassword: '' }),
    ],
    delta: 'overlap',
    change: async () => {
      await server.modify(
        `dn: ${dnOf(5)}\nchangetype: modify\nreplace: mail\nmail: new@example.com\n\n` +
          entry(dnOf(70), {
            changetype: 'add',
            objectClass: 'inetOrgPerson',
            uid: 'u0070',
            cn: 'New',
            sn: 'New',
          }),
      )
      return { changed: [dnOf(5), dnOf(70)], removed: [] }
    },
    entitlements: {
      objectType: 'group',
      attributes: [want('dn'), want('cn'), want('description')],
      identityAttribute: 'dn',
      records: [
        { identity: team, key: uuidOf(9001), values: [team, 'team', null] },
        { identity: posix, key: uuidOf(9002), values: [posix, 'posix', 'By name'] },
      ],
    },
    missingIdentity: dnOf(999),
    openConnections: () => server.connections(),
    close: () => server.stop(),
  }
})
