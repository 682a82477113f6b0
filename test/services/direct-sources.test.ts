// The way of docs/guides/direct-sources.md by the command line, from the first command to a delta, with real servers.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openCommandLine } from '../support/command-line.ts'
import type { CommandLine } from '../support/command-line.ts'
import { credentials, makeStore, startScimServer } from '../connect/scim-server.ts'
import type { ScimServer } from '../connect/scim-server.ts'
import { startPostgres } from './postgres-server.ts'
import type { PostgresServer } from './postgres-server.ts'
import { admin, startSlapd, suffix } from './slapd.ts'
import type { Slapd } from './slapd.ts'

let line: CommandLine

beforeAll(async () => {
  line = await openCommandLine({ MUSTER_ALLOW_PRIVATE_ADDRESSES: 'true' })
}, 120_000)
afterAll(() => line.close())

const words = (text: string): readonly string[] => text.split(' ')

/** Writes a secret into a file and gives its name. */
async function secretFile(name: string, secret: string): Promise<string> {
  await writeFile(join(line.folder, name), `${secret}\n`)
  return name
}

/** The counters of an aggregation that ended well, and what was read. */
async function aggregate(source: string, ...more: string[]): Promise<Record<string, unknown>> {
  const task = await line.json(['aggregate', '--source', source, ...more])
  expect([source, more, task.completionStatus, task.messages]).toEqual([
    source,
    more,
    'SUCCESS',
    expect.any(Array),
  ])
  return task.attributes
}

describe('a directory', () => {
  let slapd: Slapd
  const person = (uid: string, more: string): string =>
    `dn: uid=${uid},ou=people,${suffix}\nobjectClass: inetOrgPerson\nuid: ${uid}\ncn: ${uid}\nsn: ${uid}\n${more}\n`

  beforeAll(async () => {
    slapd = await startSlapd({
      ldif: [
        `dn: ${suffix}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n`,
        `dn: ou=people,${suffix}\nobjectClass: organizationalUnit\nou: people\n`,
        person('ada', 'mail: ada@example.com\n'),
        person('grace', 'mail: grace@example.com\n'),
      ].join('\n'),
    })
  })
  afterAll(() => slapd.stop())

  it('is made, tested, looked at and read, first all of it and then what changed', async () => {
    const url = `ldap://127.0.0.1:${slapd.port}`
    const create = ['source', 'create', 'Directory', '--connector', 'ldap', '--set', `url=${url}`]
    const password = await secretFile('ldap-password', admin.password)
    const login = ['--set', `bindDn=${admin.dn}`, '--secret', `bindPassword=${password}`]
    const base = ['--set', `baseDns=ou=people,${suffix}`]
    expect(await line.run([...create, ...login, ...base])).toMatchObject({ code: 0 })
    const test = await line.run(['source', 'test', 'Directory'])
    expect([test.code, test.stdout]).toEqual([0, expect.stringMatching(/^status +SUCCESS/)])
    const { resourceObjects } = await line.json(['source', 'peek', 'Directory'])
    expect(resourceObjects).toMatchObject([
      { identity: `uid=ada,ou=people,${suffix}`, attributes: { uid: 'ada' } },
      { identity: `uid=grace,ou=people,${suffix}` },
    ])
    const { schemas } = await line.json(['source', 'discover', 'Directory'])
    expect(schemas[0]).toMatchObject({ name: 'account', roles: [], create: null })

    expect(await aggregate('Directory')).toMatchObject({ created: 2 })
    await slapd.modify(
      `dn: uid=ada,ou=people,${suffix}\nchangetype: modify\nreplace: mail\nmail: countess@example.com\n`,
    )
    expect(await aggregate('Directory', '--mode', 'delta')).toMatchObject({
      updated: 1,
      deleted: 0,
    })
  })

  it('says what is wrong with the password, with exit code 1', async () => {
    const url = `ldap://127.0.0.1:${slapd.port}`
    const wrong = await secretFile('wrong', 'wrong')
    const made = await line.run([
      ...words(`source create Locked --connector ldap --set url=${url} --set baseDns=${suffix}`),
      ...words(`--set bindDn=${admin.dn} --secret bindPassword=${wrong}`),
    ])
    expect(made.code).toBe(0)
    const test = await line.run(['source', 'test', 'Locked'])
    expect([test.code, test.stdout]).toEqual([
      1,
      expect.stringMatching(/^status +FAILURE[\s\S]*reason/),
    ])
    expect(test.stderr).not.toBe('')
  })
})

describe('a database', () => {
  let postgres: PostgresServer

  beforeAll(async () => {
    postgres = await startPostgres()
    await postgres.run(
      `create table person (employee integer primary key, login text, mail text, changed timestamptz not null default now())`,
    )
    await postgres.run(
      `insert into person values (1, 'ada', 'ada@example.com'), (2, 'grace', null)`,
    )
  })
  afterAll(() => postgres.stop())

  it('gets the columns of its query as its schema, and its identity from them', async () => {
    const password = await secretFile('sql-password', postgres.password)
    const url = `postgres://reader@127.0.0.1:${postgres.port}/hr`
    const made = await line.run([
      ...words(
        `source create Staff --connector postgresql --set url=${url} --secret password=${password}`,
      ),
      ...words('--set indexColumn=employee --set watermarkColumn=changed --set'),
      'query=select employee, login, mail, changed from person',
    ])
    expect(made).toMatchObject({ code: 0 })
    const proposed = await line.run(['source', 'discover', 'Staff', '--apply', '--prune'])
    expect([proposed.code, proposed.stdout]).toEqual([
      0,
      expect.stringMatching(/account +identity +employee +instead of id/),
    ])
    const { schemas } = await line.json(['source', 'discover', 'Staff'])
    expect(schemas[0]).toMatchObject({ added: [], changed: [], roles: [], missing: [] })
    expect((await line.run(['source', 'test', 'Staff'])).code).toBe(0)
    expect(await aggregate('Staff')).toMatchObject({ created: 2 })

    await postgres.run(
      `update person set mail = 'grace@example.com', changed = now() where employee = 2`,
    )
    expect(await aggregate('Staff', '--mode', 'delta')).toMatchObject({ updated: 1, deleted: 0 })
    await postgres.run('delete from person where employee = 1')
    // Without a query of tombstones, a delta cannot know of it.
    expect(await aggregate('Staff', '--mode', 'delta')).toMatchObject({ deleted: 0 })
    const full = await line.json(['aggregate', '--source', 'Staff', '--mode', 'full']).catch(String)
    expect(full).toContain('ended with 5')
  })
})

describe('a SCIM server', () => {
  let scim: ScimServer
  const store = makeStore(25)

  beforeAll(async () => {
    scim = await startScimServer({ store, authentication: 'bearer' })
  })
  afterAll(() => scim.close())

  it('is made, tested, looked at and read', async () => {
    const token = await secretFile('token', credentials.token)
    const made = await line.run([
      ...words(`source create Suite --connector scim --set url=${scim.url}`),
      ...words(`--set authentication=bearer --secret token=${token}`),
    ])
    expect(made).toMatchObject({ code: 0 })
    const test = await line.run(['source', 'test', 'Suite'])
    expect([test.code, test.stdout]).toEqual([0, expect.stringMatching(/^status +SUCCESS/)])
    const { objectCount } = await line.json(['source', 'peek', 'Suite', '--type', 'group'])
    expect(objectCount).toBe(10)
    // The server has an extension of its own.
    const discovered = await line.run(['source', 'discover', 'Suite', '--apply'])
    expect([discovered.code, discovered.stdout]).toEqual([0, expect.stringContaining('badge')])
    expect(await aggregate('Suite')).toMatchObject({ created: 25 })
    expect(await aggregate('Suite')).toMatchObject({ created: 0, updated: 0, deleted: 0 })
  })
})
