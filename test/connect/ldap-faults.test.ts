// What the LDAP reader makes of servers that break off, repeat themselves, hold back or talk nonsense (F21).
import { afterEach, describe, expect, it } from 'vitest'
import { ask, drain, openLdap, want, type WholeRead } from '../services/ldap-reading.ts'
import {
  type ScriptAnswer,
  type ScriptOptions,
  type ScriptRequest,
  type ScriptServer,
  startScript,
  tlv,
} from './ldap-script.ts'

const servers: ScriptServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})

type Script = (request: ScriptRequest, answer: ScriptAnswer) => void

interface Attempt {
  readonly read: WholeRead | null
  readonly error: unknown
  readonly server: ScriptServer
  readonly log: readonly string[]
}

/** Reads a server that acts by a script. */
async function attempt(
  script: Script,
  given: object = {},
  options: ScriptOptions = {},
  kind: 'ldap' | 'active-directory' = 'ldap',
): Promise<Attempt> {
  const server = await startScript(script, options)
  servers.push(server)
  const log: string[] = []
  const settings = {
    url: `ldap://127.0.0.1:${server.port}`,
    baseDns: ['dc=x'],
    groupMembership: 'none',
    pageSize: 2,
    ...given,
  }
  const reader = await openLdap(settings, log, kind)
  const attributes = [want('dn'), want('cn'), want('member', { isMulti: true })]
  try {
    const read = await drain(reader, ask(attributes))
    return { read, error: null, server, log }
  } catch (error) {
    return { read: null, error, server, log }
  } finally {
    await reader.close()
  }
}

/** Sends the entries with these numbers. */
function entries(answer: ScriptAnswer, ...numbers: readonly number[]): void {
  for (const number of numbers) {
    answer.entry(`cn=${number},dc=x`, { cn: [`n${number}`], entryUUID: [`id-${number}`] })
  }
}

const names = (outcome: Attempt): readonly unknown[] =>
  outcome.read?.records.map(({ values }) => values[1]) ?? []

describe('a server that breaks off', () => {
  it('on page 3 fails the read, which a later run may do better', async () => {
    const outcome = await attempt((request, answer) => {
      const page = Number(request.cookie)
      if (page === 2) {
        answer.drop()
        return
      }
      entries(answer, 2 * page, 2 * page + 1)
      answer.done(0, { cookie: String(page + 1) })
    })
    expect(outcome.read).toBe(null)
    expect(outcome.error).toMatchObject({ code: 'connection_lost', temporary: true })
  })

  it('in the middle of a message fails the read', async () => {
    const outcome = await attempt((_, answer) => {
      entries(answer, 1)
      answer.raw(Buffer.from([0x30, 0x84, 0, 0, 1, 0, 2]))
      answer.drop()
    })
    expect(outcome.error).toMatchObject({ code: 'connection_lost', temporary: true })
  })

  it('after it said why is an error with that reason', async () => {
    const outcome = await attempt((_, answer) => {
      answer.notice(52)
      answer.drop()
    })
    expect(outcome.error).toMatchObject({ code: 'unavailable', temporary: true })
  })

  it('without a word is found out by its silence', async () => {
    const outcome = await attempt(() => undefined, { timeoutSeconds: 1 })
    expect(outcome.error).toMatchObject({ code: 'silent', temporary: true })
  })
})

describe('a server that does not come to an end', () => {
  it('as it repeats a page fails the read', async () => {
    const outcome = await attempt((_, answer) => {
      entries(answer, 1, 2)
      answer.done(0, { cookie: 'same' })
    })
    expect(outcome.error).toMatchObject({ code: 'cookie_repeated', temporary: false })
    expect(outcome.server.requests.length).toBeLessThan(10)
  })

  it('as it repeats a page under new cookies fails the read', async () => {
    const outcome = await attempt((request, answer) => {
      entries(answer, 1, 2)
      answer.done(0, { cookie: `${request.search}` })
    })
    expect(outcome.error).toMatchObject({ code: 'cookie_repeated' })
  })

  it('as its pages are empty fails the read', async () => {
    const outcome = await attempt((request, answer) =>
      answer.done(0, { cookie: `${request.search}` }),
    )
    expect(outcome.error).toMatchObject({ code: 'cookie_repeated' })
    expect(outcome.server.requests.length).toBeLessThan(200)
  })

  it('is read when it only uses one cookie for all pages', async () => {
    const outcome = await attempt((request, answer) => {
      entries(answer, 2 * request.search, 2 * request.search + 1)
      answer.done(0, { cookie: request.search < 4 ? 'same' : '' })
    })
    expect(names(outcome)).toHaveLength(10)
    expect(outcome.read?.end.proof).not.toBe(null)
  })

  it('is read to the end when a page between is empty', async () => {
    const outcome = await attempt((request, answer) => {
      if (request.search !== 1) entries(answer, request.search)
      answer.done(0, { cookie: request.search < 3 ? `c${request.search}` : '' })
    })
    expect(names(outcome)).toEqual(['n0', 'n2', 'n3'])
  })
})

describe('the end of a search', () => {
  it('is no proof when a full page does not say whether more follows', async () => {
    const outcome = await attempt((_, answer) => {
      entries(answer, 1, 2)
      answer.done(0)
    })
    expect(outcome.error).toMatchObject({ code: 'cookie_missing' })
  })

  it('is no proof when a later page does not say whether more follows', async () => {
    const outcome = await attempt((request, answer) => {
      entries(answer, request.search)
      answer.done(0, request.search === 0 ? { cookie: 'next' } : {})
    })
    expect(outcome.error).toMatchObject({ code: 'cookie_missing' })
  })

  it('is proven when a server that ignores pages sends everything at once', async () => {
    const outcome = await attempt((_, answer) => {
      entries(answer, 1, 2, 3)
      answer.done(0)
    })
    expect(names(outcome)).toEqual(['n1', 'n2', 'n3'])
    expect(outcome.read?.end.proof).not.toBe(null)
  })

  it('is asked for without pages when the server has none', async () => {
    const script: Script = (_, answer) => {
      entries(answer, 1, 2)
      answer.done(0)
    }
    const outcome = await attempt(script, {}, { root: { supportedControl: ['1.2.3'] } })
    expect(outcome.server.requests.at(-2)?.cookie ?? null).toBe(null)
    expect(names(outcome)).toEqual(['n1', 'n2'])
  })

  it('is an error with its reason when the server refuses', async () => {
    const results: readonly (readonly [number, string, boolean])[] = [
      [3, 'time_limit', false],
      [4, 'size_limit', false],
      [10, 'referral', false],
      [11, 'admin_limit', false],
      [32, 'base_missing', false],
      [50, 'access_refused', false],
      [53, 'ldap_failed', false],
      [80, 'ldap_failed', false],
    ]
    for (const [result, code, temporary] of results) {
      const outcome = await attempt((_, answer) => {
        entries(answer, 1)
        answer.done(result, { message: 'because' })
      })
      expect(outcome.error).toMatchObject({ code, temporary })
      expect(String(outcome.error)).toContain('because')
      expect(String(outcome.error)).toContain('dc=x')
    }
  })
})

describe('a server that is busy', () => {
  it('is asked again for the same page', async () => {
    const outcome = await attempt((request, answer) => {
      if (request.search === 1 || request.search === 2) {
        answer.done(51)
        return
      }
      entries(answer, request.search)
      answer.done(0, { cookie: request.search === 0 ? 'next' : '' })
    })
    expect(names(outcome)).toEqual(['n0', 'n3'])
    expect(outcome.server.requests.filter(({ cookie }) => cookie === 'next')).toHaveLength(3)
  })

  it('for ever is an error that a later run may do without', async () => {
    const outcome = await attempt((_, answer) => answer.done(51))
    expect(outcome.error).toMatchObject({ code: 'busy', temporary: true })
    expect(outcome.server.requests.filter(({ base }) => base !== '').length).toBe(5)
  }, 20_000)

  it('in the middle of a page is not asked again, as entries would come twice', async () => {
    const outcome = await attempt((_, answer) => {
      entries(answer, 1)
      answer.done(52)
    })
    expect(outcome.error).toMatchObject({ code: 'unavailable', temporary: true })
    expect(outcome.server.requests.filter(({ base }) => base !== '')).toHaveLength(1)
  })
})

describe('a server that talks nonsense', () => {
  const nonsense: readonly (readonly [string, Buffer])[] = [
    ['a page of HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['a message of 2 GB', Buffer.from([0x30, 0x84, 0x7f, 0xff, 0xff, 0xff])],
    ['an indefinite length', Buffer.from([0x30, 0x80, 0, 0])],
    ['a message without a number', tlv(0x30, tlv(0x04, Buffer.from('x')))],
    ['parts beyond the message', Buffer.from([0x30, 5, 2, 1, 2, 0x64, 99])],
  ]
  for (const [name, bytes] of nonsense) {
    it(`such as ${name} fails the read`, async () => {
      const outcome = await attempt((_, answer) => answer.raw(bytes))
      expect(outcome.error).toMatchObject({ code: 'protocol_broken', temporary: false })
    })
  }

  it('in an entry fails the read', async () => {
    const outcome = await attempt((request, answer) => {
      const values = Buffer.from([0x31, 0x7f])
      const list = tlv(0x30, tlv(0x30, tlv(0x04, Buffer.from('cn')), values))
      const id = tlv(0x02, Buffer.from([request.id]))
      answer.raw(tlv(0x30, id, tlv(0x64, tlv(0x04, Buffer.from('cn=1')), list)))
    })
    expect(outcome.error).toMatchObject({ code: 'protocol_broken' })
  })
})

describe('what is unusual but right', () => {
  it('is read when it comes byte by byte', async () => {
    const script: Script = (_, answer) => {
      entries(answer, 1, 2, 3)
      answer.done(0, { cookie: '' })
    }
    expect(names(await attempt(script, {}, { pieces: 1 }))).toEqual(['n1', 'n2', 'n3'])
    expect(names(await attempt(script, {}, { pieces: 7 }))).toEqual(['n1', 'n2', 'n3'])
  })

  it('such as references to other servers is counted and left', async () => {
    const outcome = await attempt((_, answer) => {
      answer.reference('ldap://other.example.com/dc=y')
      entries(answer, 1)
      answer.reference('ldap://other.example.com/dc=z')
      answer.done(0, { cookie: '' })
    })
    expect(names(outcome)).toEqual(['n1'])
    expect(outcome.log).toContain('2 references to other servers were not followed.')
  })

  it('such as values in ranges is fetched to the end', async () => {
    const outcome = await attempt((request, answer) => {
      const asked = request.attributes.find((name) => name.includes('range'))
      const first = Number(/range=(\d+)/.exec(asked ?? '')?.[1] ?? 0)
      const last = first + 1 >= 5 ? '*' : String(first + 1)
      const ranged = [`member;range=${first}-${last}`, [`m${first}`, `m${first + 1}`]] as const
      // Active Directory names the attribute without values besides its range.
      answer.entry('cn=1,dc=x', { entryUUID: ['id-1'], member: [], [ranged[0]]: ranged[1] })
      answer.done(0, { cookie: '' })
    })
    expect(outcome.read?.records[0]?.values[2]).toEqual(['m0', 'm1', 'm2', 'm3', 'm4', 'm5'])
  })

  it('but a range that does not go on fails the read', async () => {
    const outcome = await attempt((_, answer) => {
      answer.entry('cn=1,dc=x', { entryUUID: ['id-1'], 'member;range=0-1': ['a', 'b'] })
      answer.done(0, { cookie: '' })
    })
    expect(outcome.error).toMatchObject({ code: 'protocol_broken' })
  })

  it('such as bytes in a text is given as base64 and told to the log', async () => {
    const outcome = await attempt((_, answer) => {
      answer.entry('cn=1,dc=x', { entryUUID: ['id-1'], cn: [Buffer.from([0xff, 0xfe])] })
      answer.entry('cn=2,dc=x', { entryUUID: ['id-2'], cn: ['Zoë 北京'] })
      answer.done(0, { cookie: '' })
    })
    expect(names(outcome)).toEqual(['//4=', 'Zoë 北京'])
    expect(outcome.log.join()).toContain('1 values of "cn" are no text')
  })

  it('but an id that only some entries have fails the read', async () => {
    const outcome = await attempt((_, answer) => {
      entries(answer, 1)
      answer.entry('cn=2,dc=x', { cn: ['n2'] })
      answer.done(0, { cookie: '' })
    })
    expect(outcome.error).toMatchObject({ code: 'key_missing' })
  })

  it('such as entries without any id is keyed by the folded DN', async () => {
    const outcome = await attempt((_, answer) => {
      answer.entry('CN=A,  DC=X', { cn: ['a'] })
      answer.done(0, { cookie: '' })
    })
    expect(outcome.read?.records[0]).toMatchObject({ identity: 'CN=A,  DC=X', key: 'cn=a,dc=x' })
    expect(outcome.log.join()).toContain('Entries have no "entryUUID"')
  })
})

describe('somebody between', () => {
  it('cannot put bytes before the begin of the encryption', async () => {
    const given = { startTls: true, timeoutSeconds: 1 }
    const behindStartTls = Buffer.from([0x30, 0x0c, 0x02])
    const outcome = await attempt(() => undefined, given, { behindStartTls })
    expect(outcome.error).toMatchObject({ code: 'protocol_broken' })
  })

  it('cannot make the login go over a connection without encryption', async () => {
    const login = { bindDn: 'cn=reader,dc=x', bindPassword: 'secret-1' }
    const given = { startTls: true, timeoutSeconds: 1, ...login }
    // It consents to StartTLS and then goes on without.
    const behindStartTls = Buffer.from('plain')
    const outcome = await attempt(() => undefined, given, { behindStartTls })
    expect(outcome.error).not.toBe(null)
    expect(new Set(outcome.server.requests.map(({ tag }) => tag))).toEqual(new Set([0x77]))
  })
})

describe('a login that Active Directory refuses', () => {
  it('says why, without the password', async () => {
    const message =
      '80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 533, v4563'
    const login = { bindDn: 'cn=reader,dc=x', bindPassword: 'secret-1' }
    const options = { login: { code: 49, message } }
    const outcome = await attempt(() => undefined, login, options, 'active-directory')
    expect(outcome.error).toMatchObject({ code: 'credentials_refused', temporary: false })
    expect(String(outcome.error)).toContain('the account is disabled')
    expect(String(outcome.error)).not.toContain('secret-1')
  })
})
