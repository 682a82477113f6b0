// Reads a source from an SQL database of any kind: each read is a connection of its own in one read-only snapshot.
import { setTimeout as sleep } from 'node:timers/promises'
import type { DescribedSchema } from '../core/description.ts'
import { flagsName, identityName, keyName } from '../core/layout.ts'
import type {
  CopyStart,
  Cursor,
  Page,
  ReadCopy,
  ReadEnd,
  Reader,
  ReadRecord,
  ReadRequest,
} from './reader.ts'
import {
  describeColumns,
  namedColumn,
  noSpecialColumns,
  selectColumns,
  type Selection,
} from './sql-columns.ts'
import { mergeRecords } from './sql-merge.ts'
import type { SqlDatabase, SqlSession } from './sql-session.ts'
import type { SqlSettings } from './sql-settings.ts'
import {
  changedRows,
  copyShape,
  derived,
  recordShape,
  tombstoneColumn,
  tombstoneStatement,
  withoutMark,
} from './sql-statement.ts'

const proof = 'the query came to its end in one snapshot'

/** The reader of a source. */
export function sqlReader(settings: SqlSettings, database: SqlDatabase): Reader {
  const accounts =
    typeof settings.rows === 'string'
      ? settings.rows
      : `select * from ${database.dialect.quoteTable(settings.rows)}`
  const context: Context = { settings, database, accounts }
  const { entitlementQuery } = settings
  return {
    check: (signal) => withSession(database, signal, (session) => check(context, session)),
    discover: (signal) => withSession(database, signal, (session) => discover(context, session)),
    read: (request) => read(context, request),
    ...(entitlementQuery === null
      ? {}
      : { entitlements: (request) => readEntitlements(context, entitlementQuery, request) }),
    readOne: (identity, request) =>
      withSession(database, request.signal, (session) =>
        readOne(context, session, identity, request),
      ),
    copy: (request, write, begin) =>
      withSession(database, request.signal, (session) =>
        copy(context, session, request, write, begin),
      ),
    close: async () => undefined,
  }
}

interface Context {
  readonly settings: SqlSettings
  readonly database: SqlDatabase
  /** The query of the accounts. */
  readonly accounts: string
}

async function withSession<T>(
  database: SqlDatabase,
  signal: AbortSignal,
  work: (session: SqlSession) => Promise<T>,
): Promise<T> {
  const session = await database.open(signal)
  try {
    return await work(session)
  } finally {
    await session.close()
  }
}

async function check(
  { settings, accounts }: Context,
  session: SqlSession,
): Promise<Readonly<Record<string, string | number | boolean>>> {
  const facts = await session.facts()
  const columns = await session.describe(accounts)
  const index = namedColumn(columns, settings, 'indexColumn')
  const key = namedColumn(columns, settings, 'keyColumn')
  namedColumn(columns, settings, 'disabledColumn')
  namedColumn(columns, settings, 'lockedColumn')
  const watermark = namedColumn(columns, settings, 'watermarkColumn')
  const { tombstoneQuery, entitlementQuery } = settings
  if (watermark !== null && tombstoneQuery !== null) {
    const gone = await session.describe(withoutMark(tombstoneQuery))
    const wanted = key ?? index
    if (wanted !== null) tombstoneColumn(gone, wanted)
  }
  if (entitlementQuery !== null) await session.describe(entitlementQuery)
  return {
    ...facts,
    columns: describeColumns('account', columns, index)
      .attributes.map(({ name }) => name)
      .join(', '),
    tls: settings.tls !== null,
  }
}

async function discover(
  { settings, accounts }: Context,
  session: SqlSession,
): Promise<readonly DescribedSchema[]> {
  const columns = await session.describe(accounts)
  const index = namedColumn(columns, settings, 'indexColumn')
  const schemas = [describeColumns('account', columns, index)]
  if (settings.entitlementQuery === null) return schemas
  const groups = await session.describe(settings.entitlementQuery)
  return [...schemas, describeColumns('group', groups, null)]
}

async function* read(context: Context, request: ReadRequest): AsyncGenerator<Page, ReadEnd> {
  const { settings, database, accounts } = context
  const session = await database.open(request.signal)
  const { signOfLifeMs } = settings
  try {
    const columns = yield* waitFor(session.describe(accounts), signOfLifeMs)
    const selection = selectColumns(request, columns, settings)
    const since = watermarkOf(request.cursor)
    const delta = selection.watermark !== null && since !== null
    // First: an account that is gone by its tombstone and there all the same came back since.
    if (delta) yield* readTombstones(context, session, selection, since)
    const where = delta
      ? ` where ${changedRows(database.dialect, accounts, { ...selection, watermark: selection.watermark }, settings.mergeRows)}`
      : ''
    yield* readRows(
      { session, database, settings },
      selection,
      `${derived(accounts)}${where}${limitOf(request)}`,
      delta ? [since] : [],
    )
    const greatest = yield* waitFor(greatestMark(context, session, selection), signOfLifeMs)
    return {
      proof: request.limit === null ? proof : null,
      expected: null,
      mode: delta ? 'delta' : 'full',
      cursor: cursorOf(greatest ?? (delta ? since : null)),
      undelivered: selection.undelivered,
      extra: selection.extra,
    }
  } finally {
    await session.close()
  }
}

async function* readEntitlements(
  { settings, database }: Context,
  query: string,
  request: ReadRequest,
): AsyncGenerator<Page, ReadEnd> {
  const session = await database.open(request.signal)
  try {
    const columns = yield* waitFor(session.describe(query), settings.signOfLifeMs)
    const selection = selectColumns(request, columns, noSpecialColumns)
    const from = `${derived(query)}${limitOf(request)}`
    yield* readRows({ session, database, settings }, selection, from, [])
    return {
      proof: request.limit === null ? proof : null,
      expected: null,
      mode: 'full',
      cursor: null,
      undelivered: selection.undelivered,
      extra: selection.extra,
    }
  } finally {
    await session.close()
  }
}

async function* readRows(
  place: {
    readonly session: SqlSession
    readonly database: SqlDatabase
    readonly settings: SqlSettings
  },
  selection: Selection,
  from: string,
  parameters: readonly string[],
): AsyncGenerator<Page, void> {
  const { expressions, record } = recordShape(selection, place.database.dialect)
  const statement = `select ${expressions.join(', ')} from ${from}`
  const { pageSize, signOfLifeMs } = place.settings
  const pages = place.session.pages(statement, parameters, pageSize)
  for (;;) {
    const step = yield* waitFor(pages.next(), signOfLifeMs)
    if (step.done === true) return
    yield { records: step.value.map(record) }
  }
}

/** Waits with an empty page now and then: a server may sort for minutes before its first row. */
async function* waitFor<T>(work: Promise<T>, everyMs: number): AsyncGenerator<Page, T> {
  for (;;) {
    const pause = new AbortController()
    const late = sleep(everyMs, null, { signal: pause.signal }).catch(() => null)
    try {
      const outcome = await Promise.race([work.then((value) => ({ value })), late])
      if (outcome !== null) return outcome.value
    } finally {
      pause.abort()
    }
    yield { records: [] }
  }
}

async function* readTombstones(
  { settings, database }: Context,
  session: SqlSession,
  selection: Selection,
  since: string,
): AsyncGenerator<Page, void> {
  const { tombstoneQuery, pageSize } = settings
  if (tombstoneQuery === null || selection.watermark === null) return
  const { dialect } = database
  const wanted = selection.key ?? selection.identity
  const column = tombstoneColumn(await session.describe(withoutMark(tombstoneQuery)), wanted)
  const { query, parameters } = tombstoneStatement(dialect, tombstoneQuery, selection.watermark)
  const statement = `select ${dialect.text(column)} from ${derived(query)}`
  const marks = Array.from({ length: parameters }, () => since)
  const values = selection.attributes.map(() => null)
  for await (const rows of session.pages(statement, marks, pageSize)) {
    const records = rows.map(([name]): ReadRecord => {
      const identity = name ?? ''
      const key = selection.key === null ? {} : { key: identity }
      return { identity, ...key, deleted: true, values }
    })
    yield { records }
  }
}

async function readOne(
  { settings, database, accounts }: Context,
  session: SqlSession,
  identity: string,
  request: ReadRequest,
): Promise<ReadRecord | null> {
  const { dialect } = database
  const selection = selectColumns(request, await session.describe(accounts), settings)
  const { expressions, record } = recordShape(selection, dialect)
  // Compared as texts: an identity that is no value of the type is one that nobody has.
  const where = `${dialect.text(selection.identity)} = ${dialect.parameter(1, { ...selection.identity, kind: 'text', type: 'text' })}`
  const statement = `select ${expressions.join(', ')} from ${derived(accounts)} where ${where}`
  const records: ReadRecord[] = []
  for await (const rows of session.pages(statement, [identity], settings.pageSize)) {
    records.push(...rows.map(record))
  }
  return mergeRecords(records, selection.attributes)
}

async function copy(
  context: Context,
  session: SqlSession,
  request: ReadRequest,
  write: (bytes: Uint8Array) => Promise<void>,
  begin: (start: CopyStart) => void = () => undefined,
): Promise<ReadCopy> {
  const { settings, database, accounts } = context
  const selection = selectColumns(request, await session.describe(accounts), settings)
  const { expressions, columns } = copyShape(
    selection,
    request.identityAttribute,
    database.dialect,
    { identity: identityName, key: keyName, flags: flagsName },
  )
  const { undelivered, extra } = selection
  begin({ columns, undelivered, extra })
  const records = await session.copy(expressions, derived(accounts), write)
  return {
    proof,
    expected: records,
    mode: 'full',
    cursor: cursorOf(await greatestMark(context, session, selection)),
    undelivered,
    extra,
    columns,
    records,
  }
}

/** The greatest watermark of the snapshot: what is committed later may be as great, and is found by `>=`. */
async function greatestMark(
  { database, accounts }: Context,
  session: SqlSession,
  selection: Selection,
): Promise<string | null> {
  if (selection.watermark === null) return null
  const statement = `select ${database.dialect.greatest(selection.watermark)} from ${derived(accounts)}`
  for await (const [row] of session.pages(statement, [], 1)) return row?.[0] ?? null
  return null
}

function watermarkOf(cursor: Cursor | null): string | null {
  const mark = cursor?.['watermark']
  return typeof mark === 'string' ? mark : null
}

function cursorOf(watermark: string | null): Cursor | null {
  return watermark === null ? null : { watermark }
}

function limitOf(request: ReadRequest): string {
  return request.limit === null ? '' : ` limit ${Math.max(0, Math.trunc(request.limit))}`
}
