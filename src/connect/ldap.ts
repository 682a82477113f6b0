// The connectors `ldap` and `active-directory`.
import { RunError } from '../core/errors.ts'
import type { ConnectorDescription } from '../core/description.ts'
import { activeDirectoryKind, ldapKind } from '../core/ldap-kind.ts'
import { type Budget, openBudget } from './budget.ts'
import type { LdapConnection } from './ldap-connection.ts'
import { discoverSchemas } from './ldap-discover.ts'
import { isAttributeName } from './ldap-filter.ts'
import { logIn, reasonOf } from './ldap-login.ts'
import { joinFew, readAccounts, readGroups } from './ldap-read.ts'
import { controlNames, readRoot } from './ldap-root.ts'
import { readEntry, searchPages, type Session } from './ldap-search.ts'
import { type LdapSettings, readSettings } from './ldap-settings.ts'
import { shapeOf } from './ldap-shape.ts'
import { escapeFilterValue, isReached } from './ldap-text.ts'
import type { Connector, Reader, ReaderTools, ReadRecord, ReadRequest } from './reader.ts'

export const ldapConnector: Connector = {
  ...ldapKind,
  open: async (settings, tools) => openReader(ldapKind, readSettings('ldap', settings), tools),
}

export const activeDirectoryConnector: Connector = {
  ...activeDirectoryKind,
  open: async (settings, tools) => {
    const read = readSettings('active-directory', settings)
    return openReader(activeDirectoryKind, read, tools)
  },
}

function openReader(
  description: ConnectorDescription,
  settings: LdapSettings,
  tools: ReaderTools,
): Reader {
  const desk = openDesk(settings, tools)
  return {
    check: (signal) => desk.within(signal, (session) => check(session, settings)),
    discover: (signal) =>
      desk.within(signal, async (session) => {
        const root = await readRoot(session)
        return discoverSchemas(session, settings, root, description.schemas)
      }),
    read: (request) =>
      desk.pages(request.signal, (session) => readAccounts(session, settings, request)),
    entitlements: (request) =>
      desk.pages(request.signal, (session) => {
        if (request.objectType !== 'group') throw unknownType(request.objectType)
        return readGroups(session, settings, request)
      }),
    readOne: (identity, request) =>
      desk.within(request.signal, (session) => readOne(session, settings, identity, request)),
    close: async () => desk.close(),
  }
}

function unknownType(objectType: string): RunError {
  return new RunError('no_entitlements', `A directory has no objects of type "${objectType}".`, {
    hint: 'Ask for objects of type "account" or "group".',
  })
}

/** Lends the connection of a reader: opened on first use, ended by an abort, opened anew after it broke. */
interface Desk {
  within<T>(signal: AbortSignal, work: (session: Session) => Promise<T>): Promise<T>
  pages<P, E>(
    signal: AbortSignal,
    work: (session: Session) => AsyncGenerator<P, E>,
  ): AsyncGenerator<P, E>
  close(): void
}

function openDesk(settings: LdapSettings, tools: ReaderTools): Desk {
  const budget = openBudget(settings.requestsPerSecond)
  let connection: LdapConnection | null = null
  const begin = async (signal: AbortSignal): Promise<{ session: Session; end: () => void }> => {
    signal.throwIfAborted()
    if (connection?.isOpen() !== true) connection = await logIn(settings, tools, signal)
    const used = connection
    const stop = (): void => used.close(reasonOf(signal))
    signal.addEventListener('abort', stop, { once: true })
    const end = (): void => signal.removeEventListener('abort', stop)
    try {
      return { session: await openSession(settings, tools, used, budget, signal), end }
    } catch (error) {
      end()
      throw error
    }
  }
  return {
    within: async (signal, work) => {
      const { session, end } = await begin(signal)
      return work(session).finally(end)
    },
    pages: async function* pages(signal, work) {
      const { session, end } = await begin(signal)
      let done = false
      try {
        const outcome = yield* work(session)
        done = true
        return outcome
      } finally {
        end()
        // The server keeps the place of a search that was left, and the next page may be on its way.
        if (!done) session.connection.close()
      }
    },
    close: () => connection?.close(),
  }
}

async function openSession(
  settings: LdapSettings,
  { log }: ReaderTools,
  connection: LdapConnection,
  budget: Budget,
  signal: AbortSignal,
): Promise<Session> {
  const oddities = { notText: new Map<string, number>(), references: 0 }
  const session = { connection, budget, signal, log, pageSize: settings.pageSize, oddities }
  if (settings.pageSize === 0) return session
  const { controls } = await readRoot(session)
  // A server that hides its list may well have paged results.
  if (controls.length === 0 || controls.includes(controlNames.paging)) return session
  log('warn', 'The server has no paged results: each search is one answer.')
  return { ...session, pageSize: 0 }
}

async function check(session: Session, settings: LdapSettings) {
  const root = await readRoot(session)
  const { accounts, groups, membership } = settings
  const bases = membership === 'search' ? [...accounts.bases, ...groups.bases] : accounts.bases
  for (const base of new Set(bases)) await checkBase(session, base)
  let found = false
  for (const base of accounts.bases) {
    const { scope, filter } = accounts
    for await (const page of searchPages(session, {
      base,
      scope,
      filter,
      attributes: [],
      limit: 1,
    })) {
      found ||= page.length > 0
    }
  }
  return {
    vendor: root.vendor,
    namingContexts: root.namingContexts.join('; '),
    bases: accounts.bases.join('; '),
    accountsFound: found,
    pagedResults: session.pageSize > 0,
    encryption: settings.encryption,
  }
}

async function checkBase(session: Session, base: string): Promise<void> {
  const entry = await readEntry(session, base, [])
  if (entry !== null) return
  throw new RunError('base_missing', `The server has no entry "${base}", or hides it.`, {
    hint: 'Correct the base DN, or let the account of bindDn read it.',
  })
}

/** One account: by its DN, or by the attribute that is the identity. */
async function readOne(
  session: Session,
  settings: LdapSettings,
  identity: string,
  request: ReadRequest,
): Promise<ReadRecord | null> {
  const shape = shapeOf(settings, request, [])
  const { bases, filter, scope } = settings.accounts
  const name = shape.identityName
  const whole = filter.trim().startsWith('(') ? filter : `(${filter})`
  const entries = []
  if (name !== null && !isAttributeName(name)) return null
  if (name === null) {
    const inside = bases.some((base) => isReached(identity, base, scope))
    const entry = inside ? await readEntry(session, identity, shape.attributes, { filter }) : null
    if (entry !== null) entries.push(entry)
  } else {
    const narrowed = `(&${whole}(${name}=${escapeFilterValue(identity)}))`
    for (const base of bases) {
      const search = { base, scope, filter: narrowed, attributes: shape.attributes, limit: 2 }
      for await (const page of searchPages(session, search)) entries.push(...page)
    }
  }
  const [entry, second] = entries
  if (entry === undefined) return null
  if (second !== undefined) {
    throw new RunError('identity_ambiguous', `Several entries have the same "${name}".`, {
      hint: 'Choose an identity attribute whose values are unique.',
    })
  }
  const groups = shape.joinsGroups ? await joinFew(session, settings, shape, [entry]) : null
  return shape.record(entry, groups)
}
