// A session in PostgreSQL: a connection of ours, a login, and a read-only transaction on one snapshot.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Socket } from 'node:net'
import pg from 'pg'
import { tlsOptions } from './outbound-tls.ts'
import type { ReaderTools } from './reader.ts'
import { copyOut, fetchPages } from './postgresql-exchange.ts'
import { postgresqlFailure } from './postgresql-failure.ts'
import { sqlError } from './sql-failure.ts'
import { endWhenSilent, type SqlColumn, type SqlKind, type SqlSession } from './sql-session.ts'
import type { SqlSettings } from './sql-settings.ts'
import { derived } from './sql-statement.ts'

/** Opens one. */
export async function openPostgresql(
  settings: SqlSettings,
  tools: ReaderTools,
  signal: AbortSignal,
): Promise<SqlSession> {
  const { host, port } = settings
  const socket = await tools.outbound.connect({ host, port, tls: null, signal })
  endWhenSilent(socket, settings)
  const abort = (): void => void socket.destroy(new Error('nobody waits for the answer any more'))
  signal.addEventListener('abort', abort, { once: true })
  const client = newClient(settings, socket)
  // Statements that are under way see the error too; in between there is nobody to tell.
  client.on('error', () => undefined)
  const close = async (): Promise<void> => {
    signal.removeEventListener('abort', abort)
    // In the middle of a statement the server hears of the end by the loss of the connection.
    await Promise.race([client.end(), sleep(busy ? 0 : 1_000, undefined, { ref: false })])
    socket.destroy()
  }
  let busy = true
  const during = async <T>(work: () => Promise<T>): Promise<T> => {
    busy = true
    try {
      const result = await work()
      busy = false
      return result
    } catch (error) {
      signal.throwIfAborted()
      throw postgresqlFailure(error)
    }
  }
  try {
    await during(async () => {
      await client.connect()
      await beginReading(client, settings)
    })
  } catch (error) {
    await close()
    throw error
  }
  return {
    facts: () => during(() => readFacts(client)),
    describe: (query) => during(() => describeQuery(client, query)),
    pages: async function* pages(statement, parameters, pageSize) {
      busy = true
      try {
        yield* fetchPages(client, statement, parameters, pageSize)
        busy = false
      } catch (error) {
        signal.throwIfAborted()
        throw postgresqlFailure(error)
      }
    },
    copy: (cells, from, write) =>
      during(async () => {
        const [only] = cells
        // A row whose only cell is null would be an empty line, which readers of CSV pass over.
        const list = cells.length === 1 ? `coalesce(${only}, '')` : cells.join(', ')
        const text = `copy (select ${list} from ${from}) to stdout (format csv)`
        const records = await copyOut(client, text, write)
        if (Number.isInteger(records)) return records
        throw sqlError('connection_lost', 'The server did not say how many rows there were.')
      }),
    close,
  }
}

function newClient(settings: SqlSettings, socket: Socket): pg.Client {
  const { port, user, password, database, tls, loginTimeoutMs } = settings
  const host = tls?.servername ?? settings.host
  return new pg.Client({
    host,
    port,
    user,
    database,
    // As a function: without a password the driver would look for one in ~/.pgpass.
    password: () => password,
    ssl: tls === null ? false : tlsOptions(host, tls),
    connectionTimeoutMillis: loginTimeoutMs,
    application_name: 'muster',
    stream: () => connected(socket),
  })
}

/** The driver connects what it is given; this socket is connected already, to an address that was judged. */
function connected(socket: Socket): Socket {
  return Object.defineProperty(socket, 'connect', {
    value: () => {
      setImmediate(() => socket.emit('connect'))
      return socket
    },
  })
}

/**
 * Begins the transaction that everything happens in. What the query may do is the business of the login's rights; that it
 * changes nothing and comes to an end is ours.
 */
async function beginReading(client: pg.Client, settings: SqlSettings): Promise<void> {
  await client.query('begin transaction isolation level repeatable read read only')
  const wanted: Readonly<Record<string, string>> = {
    statement_timeout: `${settings.statementTimeoutSeconds}s`,
    // A lock that is waited for is no reason to hold a snapshot for hours.
    lock_timeout: '60s',
    // Between two pages the session idles for as long as the collecting side needs.
    idle_in_transaction_session_timeout: '0',
    datestyle: 'ISO, YMD',
    timezone: 'UTC',
    intervalstyle: 'iso_8601',
    extra_float_digits: '1',
    standard_conforming_strings: 'on',
    // A server that computes notices that we are gone; since PostgreSQL 14.
    client_connection_check_interval: '10s',
    // To compile the casts of a large read took longer than it saved.
    jit: 'off',
  }
  await client.query(
    `select set_config(w.name, w.value, true) from unnest($1::text[], $2::text[]) w(name, value)
     where exists (select from pg_catalog.pg_settings s where lower(s.name) = w.name)`,
    [Object.keys(wanted), Object.values(wanted)],
  )
}

async function readFacts(
  client: pg.Client,
): Promise<Readonly<Record<string, string | number | boolean>>> {
  const { rows } = await client.query<[string, string, string, boolean, string]>({
    text: `select current_setting('server_version'), current_database()::text, current_user::text,
             coalesce((select rolsuper from pg_catalog.pg_roles where rolname = current_user), false),
             current_setting('server_encoding')`,
    rowMode: 'array',
  })
  const [version, database, user, superuser, encoding] = rows[0] ?? ['', '', '', false, '']
  return { version, database, user, superuser, encoding }
}

/** Asks for no row at all: the server parses the query, looks at rights and names, and describes the columns. */
async function describeQuery(client: pg.Client, query: string): Promise<readonly SqlColumn[]> {
  const { fields } = await client.query({
    text: `select * from ${derived(query)} limit $1::int`,
    // With a parameter the driver takes the extended protocol, which refuses a second statement.
    values: [0],
    rowMode: 'array',
  })
  const { rows } = await client.query<TypeRow>({
    text: `select t.oid::int8, pg_catalog.format_type(t.oid, null), t.typname::text, t.typcategory::text,
             e.typname::text, e.typcategory::text
           from pg_catalog.pg_type t left join pg_catalog.pg_type e on e.oid = t.typelem and t.typcategory = 'A'
           where t.oid = any($1::oid[])`,
    values: [fields.map((field) => field.dataTypeID)],
    rowMode: 'array',
  })
  const types = new Map(rows.map((row) => [Number(row[0]), row]))
  return fields.map((field) => {
    const found = types.get(field.dataTypeID)
    if (found === undefined) return { name: field.name, kind: 'text', isList: false, type: 'text' }
    const [, type, name, category, elementName, elementCategory] = found
    const isList = category === 'A' && elementName !== null && elementCategory !== null
    const kind = isList ? kindOf(elementName, elementCategory) : kindOf(name, category)
    return { name: field.name, kind, isList, type }
  })
}

type TypeRow = [string, string, string, string, string | null, string | null]

function kindOf(name: string, category: string): SqlKind {
  if (category === 'B') return 'boolean'
  switch (name) {
    case 'int2':
    case 'int4':
      return 'integer'
    case 'int8':
    case 'oid':
      return 'long'
    case 'date':
    case 'timestamp':
    case 'timestamptz':
      return 'date'
    case 'bytea':
      return 'bytes'
    case 'json':
    case 'jsonb':
      return 'json'
    default:
      return 'text'
  }
}
