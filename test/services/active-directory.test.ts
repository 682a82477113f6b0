// The kind active-directory against OpenLDAP with attributes under its names. What only a domain controller does (shows deleted entries, numbers its changes) is written into the entries by the test.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ask,
  column,
  drain,
  entry,
  openLdap,
  readOnce,
  want,
  type WholeRead,
} from './ldap-reading.ts'
import { admin, type Slapd, startSlapd, suffix } from './slapd.ts'

const users = `ou=users,${suffix}`
const service = `cn=DC1,ou=dcs,${suffix}`
const otherService = `cn=DC2,ou=dcs,${suffix}`
const team = `cn=team,ou=groups,${suffix}`

/** An objectGUID by its number, as bytes in base64 and as text. */
const guidBytes = (number: number): string => {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt32LE(number)
  return `: ${bytes.toString('base64')}`
}
const guidText = (number: number): string =>
  `${number.toString(16).padStart(8, '0')}-0000-0000-0000-000000000000`

const sid = `: ${Buffer.from('010500000000000515000000a065cf7e784b9b5fe77c8770f4010000', 'hex').toString('base64')}`

function user(number: number, more: Record<string, string> = {}): string {
  return entry(`cn=User ${number},${users}`, {
    objectClass: 'user',
    cn: `User ${number}`,
    sn: 'User',
    sAMAccountName: `user${number}`,
    objectGUID: guidBytes(number),
    objectSid: sid,
    uSNChanged: String(1000 + number),
    userAccountControl: '512',
    ...more,
  })
}

const root = (dc: string, usn: number): string =>
  `dn:\nobjectClass: top\nobjectClass: extensibleObject\ndsServiceName: ${dc}\nhighestCommittedUSN: ${usn}\n`

const ldif = [
  entry(suffix, { objectClass: ['dcObject', 'organization'], dc: 'example', o: 'Example' }),
  ...['users', 'groups', 'deleted', 'dcs'].map((ou) =>
    entry(`ou=${ou},${suffix}`, { objectClass: 'organizationalUnit', ou }),
  ),
  ...[service, otherService].map((dn, index) =>
    entry(dn, { objectClass: 'nTDSDSA', cn: `DC${index + 1}`, invocationId: guidBytes(7 + index) }),
  ),
  ...[1, 2, 3, 4, 5].map((number) => user(number)),
  user(6, { userAccountControl: '514' }),
  user(7, { lockoutTime: '133774578000000000', pwdLastSet: '133774578000000000' }),
  user(8, { lockoutTime: '133774578000000000', 'msDS-User-Account-Control-Computed': '0' }),
  entry(team, {
    objectClass: 'group',
    cn: 'team',
    objectGUID: guidBytes(900),
    uSNChanged: '900',
    groupType: '-2147483646',
    member: [`cn=User 1,${users}`, `cn=User 2,${users}`],
  }),
].join('')

let server: Slapd
beforeAll(async () => {
  server = await startSlapd({ ldif, directory: true, root: root(service, 2000) })
})
afterAll(async () => server.stop())

const settings = (given: object = {}) => ({
  url: `ldap://127.0.0.1:${server.port}`,
  bindDn: admin.dn,
  bindPassword: admin.password,
  baseDns: [users],
  groupBaseDns: [`ou=groups,${suffix}`],
  // OpenLDAP has no objectCategory.
  filter: '(objectClass=user)',
  // Its overlay would write memberOf as an operational attribute.
  groupMembership: 'search',
  pageSize: 3,
  ...given,
})
const wanted = [
  want('distinguishedName'),
  want('sAMAccountName'),
  want('objectGUID'),
  want('objectSid'),
  want('pwdLastSet', { type: 'DATE' }),
  want('memberOf', { isMulti: true, isEntitlement: true }),
]
const read = (given: object, more: object = {}, log: string[] = []): Promise<WholeRead> =>
  readOnce(settings(given), ask(wanted, more), log, 'active-directory')

describe('an account of Active Directory', () => {
  it('has readable ids, and the objectGUID as its key', async () => {
    const { records } = await read({})
    expect(records).toHaveLength(8)
    expect(records[0]).toEqual({
      identity: `cn=User 1,${users}`,
      key: guidText(1),
      disabled: false,
      locked: false,
      values: [
        `cn=User 1,${users}`,
        'user1',
        guidText(1),
        'S-1-5-21-2127521184-1604012920-1887927527-500',
        null,
        [team],
      ],
    })
  })

  it('is disabled or locked as its flags say', async () => {
    const { records } = await read({})
    const states = records.slice(4).map(({ disabled, locked }) => [disabled, locked])
    expect(states).toEqual([
      [false, false],
      [true, false],
      [false, true],
      [false, false],
    ])
    expect(records[6]?.values[4]).toBe('2024-11-30T16:30:00.000Z')
  })

  it('is found by a filter with the bytes of its objectGUID', async () => {
    const filter = '(objectGUID=\\02\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00)'
    expect((await read({ filter })).records.map(({ key }) => key)).toEqual([guidText(2)])
  })

  it('has its groups as entitlements', async () => {
    const attributes = [want('distinguishedName'), want('cn'), want('groupType', { type: 'INT' })]
    const given = ask(attributes, { objectType: 'group' })
    const groups = await readOnce(settings(), given, [], 'active-directory')
    expect(groups.records).toEqual([
      { identity: team, key: guidText(900), values: [team, 'team', '-2147483646'] },
    ])
  })
})

describe('a delta of Active Directory', () => {
  it('gives what has a higher number than the last read, and what was deleted', async () => {
    const full = await read({})
    expect(full.end).toMatchObject({ mode: 'full', cursor: { usn: '2000', server: service } })
    const nothing = await read({}, { cursor: full.end.cursor })
    expect(nothing.end.mode).toBe('delta')
    expect(nothing.records).toEqual([])

    await server.modify(
      `dn: cn=User 3,${users}\nchangetype: modify\nreplace: uSNChanged\nuSNChanged: 2001\n-\nreplace: sAMAccountName\nsAMAccountName: renamed\n\n` +
        `dn: cn=User 5,${users}\nchangetype: modify\nreplace: uSNChanged\nuSNChanged: 2002\n-\nreplace: isDeleted\nisDeleted: TRUE\n\n` +
        `dn: cn=User 5,${users}\nchangetype: moddn\nnewrdn: cn=User 5 DEL\ndeleteoldrdn: 1\nnewsuperior: ou=deleted,${suffix}\n`,
    )
    await server.restart({ root: root(service, 2002) })
    const log: string[] = []
    const delta = await read({}, { cursor: full.end.cursor }, log)
    expect(delta.end).toMatchObject({ mode: 'delta', cursor: { usn: '2002' } })
    expect(delta.records.map(({ key, deleted = false }) => [key, deleted])).toEqual([
      [guidText(3), false],
      [guidText(5), true],
    ])
    expect(column(delta, 1)[`cn=User 3,${users}`]).toBe('renamed')
    // OpenLDAP does not know the control that shows them, so the log says what that means.
    expect(log.join()).toContain('does not show deleted entries')
  })

  it('reads everything when another domain controller answers', async () => {
    const full = await read({})
    await server.restart({ root: root(otherService, 9000) })
    const log: string[] = []
    const next = await read({}, { cursor: full.end.cursor }, log)
    expect(next.end).toMatchObject({ mode: 'full', cursor: { usn: '9000', server: otherService } })
    expect(log.join()).toContain('another domain controller')
    await server.restart({ root: root(service, 2002) })
  })

  it('reads everything when the database of the domain controller was set up anew', async () => {
    const full = await read({})
    await server.modify(
      `dn: ${service}\nchangetype: modify\nreplace: invocationId\ninvocationId:${guidBytes(99)}\n`,
    )
    expect((await read({}, { cursor: full.end.cursor })).end.mode).toBe('full')
  })

  it('begins with a full read where the server has no numbers', async () => {
    await server.restart({ root: 'dn:\nobjectClass: top\n' })
    const full = await read({})
    expect(full.end).toMatchObject({ mode: 'full', cursor: null })
    await server.restart({ root: root(service, 2002) })
  })
})

describe('a check of Active Directory', () => {
  it('is done with the same settings as a read', async () => {
    const reader = await openLdap(settings(), [], 'active-directory')
    const facts = await reader.check(new AbortController().signal)
    expect(facts).toMatchObject({ accountsFound: true, bases: users })
    const one = await reader.readOne?.(`cn=user 1,${users.toUpperCase()}`, ask(wanted))
    expect(one?.key).toBe(guidText(1))
    await drain(reader, ask(wanted))
    await reader.close()
  })
})
