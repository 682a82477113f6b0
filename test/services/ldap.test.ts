// LDAP against a real OpenLDAP: encryption, groups, states, deltas, limits, and a server that dies.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ask,
  column,
  dnOf,
  drain,
  entry,
  openLdap,
  person,
  readOnce,
  tree,
  uuidOf,
  want,
} from './ldap-reading.ts'
import { admin, type Slapd, startSlapd, suffix } from './slapd.ts'

const people = 60
const jpeg = Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 16])
const odd = 'Müller, "Zoë" + <x>; #1 \\ é'

const staff = `cn=staff,ou=groups,${suffix}`
const others = `cn=others,ou=groups,${suffix}`
const limited = `cn=limited,ou=more,${suffix}`
const peopleBase = `ou=people,${suffix}`

const first = [
  tree,
  ...Array.from({ length: people }, (_, number) => person(number, special(number))),
  entry(`cn=Zoe\\2C \\22x\\22 \\2B y,ou=people,${suffix}`, {
    objectClass: 'inetOrgPerson',
    cn: `::${Buffer.from('Zoe, "x" + y').toString('base64')}`.slice(1),
    sn: `: ${Buffer.from(odd).toString('base64')}`,
    entryUUID: uuidOf(777),
  }),
  entry(staff, { objectClass: 'groupOfNames', cn: 'staff', member: [dnOf(1), dnOf(2)] }),
  entry(others, {
    objectClass: 'groupOfUniqueNames',
    cn: 'others',
    uniqueMember: [`UID=U0002, OU=People, ${suffix}`, `${dnOf(3)}#'0101'B`],
  }),
  entry(`uid=m1,ou=more,${suffix}`, { objectClass: 'inetOrgPerson', uid: 'm1', cn: 'M', sn: 'M' }),
  entry(limited, {
    objectClass: ['organizationalRole', 'simpleSecurityObject'],
    cn: 'limited',
    userPassword: 'limited',
  }),
].join('')

function special(number: number): Record<string, string | readonly string[]> {
  switch (number) {
    case 4:
      return { pwdAccountLockedTime: '20261122101112Z' }
    case 5:
      return { pwdAccountLockedTime: '000001010000Z' }
    case 6:
      return { jpegPhoto: `: ${jpeg.toString('base64')}`, mail: ['a@example.com', 'b@example.com'] }
    default:
      return {}
  }
}

let server: Slapd
beforeAll(async () => {
  server = await startSlapd({
    ldif: first,
    database: [
      'overlay memberof',
      'overlay ppolicy',
      `limits dn.exact="${limited}" size=20`,
      'access to * by * read',
    ],
  })
})
afterAll(async () => server.stop())

const login = { bindDn: admin.dn, bindPassword: admin.password }
const settings = (given: object = {}) => ({
  url: `ldap://127.0.0.1:${server.port}`,
  ...login,
  baseDns: [peopleBase],
  groupBaseDns: [`ou=groups,${suffix}`],
  pageSize: 10,
  ...given,
})
const groups = want('groups', { isMulti: true, isEntitlement: true })
const byName = [want('dn'), want('uid')]

describe('the connection', () => {
  it('is encrypted from its begin by ldaps, with a certificate of the settings', async () => {
    const url = `ldaps://localhost:${server.tlsPort}`
    const read = await readOnce(settings({ url, tlsCa: server.ca }), ask(byName))
    expect(read.records).toHaveLength(people + 1)
    await expect(readOnce(settings({ url }), ask(byName))).rejects.toMatchObject({
      code: 'certificate_refused',
      temporary: false,
    })
  })

  it('is encrypted on the way by startTls, before the login', async () => {
    const url = `ldap://localhost:${server.port}`
    const read = await readOnce(settings({ url, startTls: true, tlsCa: server.ca }), ask(byName))
    expect(read.records).toHaveLength(people + 1)
    await expect(readOnce(settings({ url, startTls: true }), ask(byName))).rejects.toMatchObject({
      code: 'certificate_refused',
    })
  })

  it('holds the certificate against the host of the url', async () => {
    const url = `ldaps://127.0.0.1:${server.tlsPort}`
    await expect(readOnce(settings({ url, tlsCa: server.ca }), ask(byName))).rejects.toMatchObject({
      code: 'certificate_refused',
    })
  })

  it('reads anonymously without a login', async () => {
    const read = await readOnce(settings({ bindDn: '', bindPassword: '' }), ask(byName))
    expect(read.records).toHaveLength(people + 1)
  })

  it('tells what the server is when it is checked', async () => {
    const reader = await openLdap(settings())
    const facts = await reader.check(new AbortController().signal)
    await reader.close()
    expect(facts).toEqual({
      vendor: 'OpenLDAP',
      namingContexts: suffix,
      bases: peopleBase,
      accountsFound: true,
      pagedResults: true,
      encryption: 'none',
    })
  })
})

describe('a read', () => {
  it('gives all entries of several bases with their proof', async () => {
    const baseDns = [peopleBase, `ou=more,${suffix}`, `uid=u0001,${peopleBase}`]
    const read = await readOnce(settings({ baseDns }), ask(byName))
    expect(read.records).toHaveLength(people + 2)
    expect(read.end.proof).toBe(
      'the server ended the search of each of 2 bases with success and an empty cookie',
    )
  })

  it('gives the same whatever the size of the page', async () => {
    const all = await readOnce(settings({ pageSize: 0 }), ask(byName))
    expect(all.records).toHaveLength(people + 1)
    for (const pageSize of [1, 7, people + 1, 1000]) {
      const read = await readOnce(settings({ pageSize }), ask(byName))
      expect(read.records).toEqual(all.records)
      expect(read.end.proof).not.toBe(null)
    }
  })

  it('names the base that does not exist', async () => {
    const baseDns = [peopleBase, `ou=nobody,${suffix}`]
    const read = readOnce(settings({ baseDns }), ask(byName))
    await expect(read).rejects.toMatchObject({
      code: 'base_missing',
      message: expect.stringContaining(`ou=nobody,${suffix}`),
      temporary: false,
    })
  })

  it('is an error at the size limit of the server, whatever the size of the page', async () => {
    const bindDn = limited
    const read = readOnce(settings({ bindDn, bindPassword: 'limited' }), ask(byName))
    await expect(read).rejects.toMatchObject({ code: 'size_limit', temporary: false })
  })

  it('takes names that are full of signs', async () => {
    const read = await readOnce(
      settings({ filter: '(cn=Zoe*)' }),
      ask([want('dn'), want('sn'), want('cn')]),
    )
    expect(read.records).toHaveLength(1)
    expect(read.records[0]?.values.slice(1)).toEqual([odd, 'Zoe, "x" + y'])
    const identity = read.records[0]?.identity ?? ''
    const reader = await openLdap(settings())
    const one = await reader.readOne?.(identity, ask([want('dn'), groups]))
    await reader.close()
    expect(one).toMatchObject({ identity, key: uuidOf(777) })
  })

  it('asks for no attribute whose name can be none', async () => {
    const names = ['*', '+', 'full name', 'uid)(cn=*', '']
    const attributes = [want('dn'), ...names.map((name) => want(name))]
    const read = await readOnce(settings({ filter: '(uid=u0001)' }), ask(attributes))
    expect(read.records[0]?.values).toEqual([dnOf(1), null, null, null, null, null])
    const reader = await openLdap(settings())
    const strange = ask([want('x', { nativeName: 'uid)(cn=*' })])
    expect(await reader.readOne?.('u0001', strange)).toBe(null)
    await reader.close()
  })

  it('has no other objects than accounts and groups', async () => {
    const request = ask(byName, { objectType: 'role' })
    await expect(readOnce(settings(), request)).rejects.toMatchObject({ code: 'no_entitlements' })
  })

  it('finds no single account that a read would not give', async () => {
    const outside = `uid=m1,ou=more,${suffix}`
    const found = async (given: object, dn: string): Promise<unknown> => {
      const reader = await openLdap(settings(given))
      const one = await reader.readOne?.(dn, ask(byName))
      await reader.close()
      return one === null ? null : one?.identity
    }
    expect(await found({}, outside)).toBe(null)
    expect(await found({ baseDns: [suffix] }, outside)).toBe(outside)
    expect(await found({ baseDns: [suffix], scope: 'one' }, outside)).toBe(null)
    expect(await found({ filter: '(uid=u0001)' }, dnOf(2))).toBe(null)
    expect(await found({}, 'no DN at all')).toBe(null)
  })

  it('gives mapped, binary and several values', async () => {
    const attributes = [
      want('id'),
      want('photo'),
      want('mails', { nativeName: 'mail', isMulti: true }),
      want('mail'),
      want('changed', { nativeName: 'modifyTimestamp', type: 'DATE' }),
      want('hasSubordinates', { type: 'BOOLEAN' }),
    ]
    const attributeMap = { id: 'uid', photo: 'jpegPhoto' }
    const read = await readOnce(settings({ attributeMap, filter: '(uid=u0006)' }), ask(attributes))
    const [record] = read.records
    expect(record?.identity).toBe('u0006')
    expect(record?.values.slice(0, 4)).toEqual([
      'u0006',
      jpeg.toString('base64'),
      ['a@example.com', 'b@example.com'],
      ['a@example.com', 'b@example.com'],
    ])
    expect(record?.values[4]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    expect(record?.values[5]).toBe('false')
  })

  it('finds one account by another identity than the DN', async () => {
    const reader = await openLdap(settings())
    const attributes = [want('uid'), groups]
    const one = await reader.readOne?.('u0002', ask(attributes))
    expect(one?.values).toEqual(['u0002', [staff, others]])
    expect(await reader.readOne?.('*', ask(attributes))).toBe(null)
    expect(await reader.readOne?.('u0002)(uid=*', ask(attributes))).toBe(null)
    await reader.close()
  })

  it('tells which accounts are locked or disabled', async () => {
    const read = await readOnce(settings(), ask(byName))
    const state = (number: number) => {
      const found = read.records.find(({ key }) => key === uuidOf(number))
      return [found?.disabled, found?.locked]
    }
    expect([3, 4, 5].map(state)).toEqual([
      [false, false],
      [false, true],
      [true, false],
    ])
  })

  it('keeps the key of an entry that was moved', async () => {
    const moved = `uid=moved,ou=more,${suffix}`
    const baseDns = [suffix]
    await server.modify(
      `dn: ${dnOf(50)}\nchangetype: moddn\nnewrdn: uid=moved\ndeleteoldrdn: 1\nnewsuperior: ou=more,${suffix}\n`,
    )
    const read = await readOnce(settings({ baseDns }), ask(byName))
    expect(read.records.find(({ key }) => key === uuidOf(50))?.identity).toBe(moved)
    await server.modify(
      `dn: ${moved}\nchangetype: moddn\nnewrdn: uid=u0050\ndeleteoldrdn: 1\nnewsuperior: ${peopleBase}\n`,
    )
  })
})

describe('groups', () => {
  it('are found by reading them, whatever they call their members', async () => {
    const read = await readOnce(settings(), ask([want('dn'), groups]))
    const found = column(read, 1)
    expect([1, 2, 3, 4].map((number) => found[dnOf(number)])).toEqual([
      [staff],
      [staff, others],
      [others],
      null,
    ])
  })

  it('are found on the accounts when the server keeps them there', async () => {
    const log: string[] = []
    // Made now, as the overlay does not see what was there before it.
    const late = `cn=late,ou=groups,${suffix}`
    await server.modify(
      entry(late, { changetype: 'add', objectClass: 'groupOfNames', cn: 'late', member: dnOf(7) }),
    )
    const given = settings({ groupMembership: 'memberOf' })
    const read = await readOnce(given, ask([want('dn'), groups]), log)
    expect(column(read, 1)[dnOf(7)]).toEqual([late])
    await server.modify(`dn: ${late}\nchangetype: delete\n`)
    const none = await readOnce(settings({ groupMembership: 'none' }), ask([want('dn'), groups]))
    expect(column(none, 1)[dnOf(7)]).toBe(null)
  })

  it('are found for the few accounts of a limited read', async () => {
    const reader = await openLdap(settings({ filter: '(uid=u0002)' }))
    const read = await drain(reader, ask([want('dn'), groups], { limit: 3 }))
    await reader.close()
    expect(read.records.map(({ values }) => values[1])).toEqual([[staff, others]])
  })
})

describe('a delta', () => {
  const attributes = [want('dn'), want('mail'), groups]
  const changeMail = (number: number, mail: string): Promise<void> =>
    server.modify(`dn: ${dnOf(number)}\nchangetype: modify\nreplace: mail\nmail: ${mail}\n`)

  it('reads everything when a group changed, as its members look the same', async () => {
    const reader = await openLdap(settings())
    const full = await drain(reader, ask(attributes))
    const next = await drain(reader, ask(attributes, { cursor: full.end.cursor }))
    expect(next.end.mode).toBe('delta')
    await server.modify(`dn: ${staff}\nchangetype: modify\nadd: member\nmember: ${dnOf(9)}\n`)
    const after = await drain(reader, ask(attributes, { cursor: full.end.cursor }))
    expect(after.end.mode).toBe('full')
    expect(column(after, 2)[dnOf(9)]).toEqual([staff])
    await server.modify(`dn: ${staff}\nchangetype: modify\ndelete: member\nmember: ${dnOf(9)}\n`)
    await reader.close()
  })

  it('reads everything when a group changed that only accounts tell of', async () => {
    const given = settings({ groupMembership: 'memberOf' })
    const reader = await openLdap(given)
    const full = await drain(reader, ask(attributes))
    await server.modify(`dn: ${staff}\nchangetype: modify\nadd: member\nmember: ${dnOf(10)}\n`)
    const after = await drain(reader, ask(attributes, { cursor: full.end.cursor }))
    expect(after.end.mode).toBe('full')
    await server.modify(`dn: ${staff}\nchangetype: modify\ndelete: member\nmember: ${dnOf(10)}\n`)
    await reader.close()
    const ignoring = await openLdap({ ...given, groupChanges: 'ignore' })
    const begin = await drain(ignoring, ask(attributes))
    await server.modify(`dn: ${staff}\nchangetype: modify\nadd: description\ndescription: x\n`)
    const delta = await drain(ignoring, ask(attributes, { cursor: begin.end.cursor }))
    expect(delta.end.mode).toBe('delta')
    await ignoring.close()
  })

  it('reads everything when the settings or the schema are others', async () => {
    const full = await readOnce(settings(), ask(attributes))
    const cursor = full.end.cursor
    expect((await readOnce(settings(), ask(attributes, { cursor }))).end.mode).toBe('delta')
    const reads = [
      readOnce(settings({ filter: '(uid=u*)' }), ask(attributes, { cursor })),
      readOnce(settings({ baseDns: [suffix] }), ask(attributes, { cursor })),
      readOnce(settings(), ask([...attributes, want('sn')], { cursor })),
    ]
    for (const read of await Promise.all(reads)) expect(read.end.mode).toBe('full')
  })

  it('misses no change, also none that is made while a read goes on', async () => {
    const given = settings({ pageSize: 5, groupMembership: 'none' })
    const reader = await openLdap(given)
    const request = ask([want('dn'), want('mail')])
    const pages = reader.read(request)
    await pages.next()
    // The first entries are read; these changes are older than those of entries that are still to come.
    await changeMail(0, 'early@example.com')
    await sleep(1100)
    await changeMail(people - 1, 'late@example.com')
    let step = await pages.next()
    while (step.done !== true) step = await pages.next()
    const delta = await drain(reader, { ...request, cursor: step.value.cursor })
    expect(delta.end.mode).toBe('delta')
    expect(column(delta, 1)).toMatchObject({
      [dnOf(0)]: 'early@example.com',
      [dnOf(people - 1)]: 'late@example.com',
    })
    expect(column(delta, 1)).not.toHaveProperty([dnOf(30)])
    await reader.close()
  })

  it('moves its begin on with the times of the server, not with ours', async () => {
    const reader = await openLdap(settings({ groupMembership: 'none' }))
    const since = async (cursor: object | null): Promise<unknown> => {
      const request = ask(attributes, {
        cursor: cursor as Readonly<Record<string, unknown>> | null,
      })
      return (await drain(reader, request)).end.cursor?.['since']
    }
    const begin = String(await since(null))
    expect(await since(null)).toBe(begin)
    expect(begin).toMatch(/^\d{14}Z$/)
    await reader.close()
  })
})

describe('discovery', () => {
  it('proposes what the classes of the entries allow', async () => {
    const reader = await openLdap(settings())
    const schemas = await reader.discover(new AbortController().signal)
    await reader.close()
    const [account, group] = schemas
    expect(account).toMatchObject({ name: 'account', nativeObjectType: 'inetOrgPerson' })
    expect(group?.name).toBe('group')
    const named = Object.fromEntries((account?.attributes ?? []).map((one) => [one.name, one]))
    expect(named['mail']).toMatchObject({ isMulti: true, type: 'STRING' })
    expect(named['sn']).toMatchObject({ isMulti: false })
    expect(named['groups']).toMatchObject({ isMulti: true, isEntitlement: true })
    expect(named['dn']).toBeDefined()
    expect(named['userPassword']).toBeUndefined()
    expect(group?.attributes.map(({ name }) => name)).toContain('member')
  })
})

describe('a read that is left', () => {
  it('gives its connection back at once, though the reader stays open', async () => {
    const reader = await openLdap(settings())
    for await (const page of reader.read(ask(byName))) {
      expect(page.records).toHaveLength(10)
      break
    }
    await expect.poll(() => server.connections()).toBe(0)
    await reader.close()
  })
})

describe('a server that dies', () => {
  it('in the middle of a read is an error, and the next read is whole', async () => {
    const reader = await openLdap(settings({ pageSize: 5 }))
    const pages = reader.read(ask(byName))
    await pages.next()
    await server.restart()
    const rest = async (): Promise<void> => {
      while ((await pages.next()).done !== true);
    }
    await expect(rest()).rejects.toMatchObject({ code: 'connection_lost', temporary: true })
    const again = await drain(reader, ask(byName))
    expect(again.records).toHaveLength(people + 1)
    await reader.close()
  })
})
