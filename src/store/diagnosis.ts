// Looks at a database as somebody would who has to say why Muster cannot use it. It changes nothing there.
import pg from 'pg'
import { clientOptions } from './database.ts'
import type { ConnectionSettings } from './database.ts'

/** What was found of a database that answers. */
export interface DatabaseDiagnosis {
  /** Such as 18.4, and as a number: 180004. */
  readonly version: string
  readonly versionNumber: number
  readonly encoding: string
  readonly readOnly: boolean
  /** Null when no schema of the search path exists. */
  readonly schema: string | null
  readonly mayCreate: boolean
  /** The number of the newest migration; null when Muster has never used it. */
  readonly schemaVersion: number | null
  /** Connections that this role may still open. */
  readonly freeConnections: number
  /** Whether the connection is encrypted; null for a Unix socket. */
  readonly encrypted: boolean | null
  /** Its clock minus ours, in seconds. */
  readonly clockSeconds: number
  /** True when statements of one connection reach several servers: a pooler in transaction mode stands between. */
  readonly pooled: boolean
}

const patienceMs = 5_000

/** Asks the database. Throws the error of the driver when it cannot be reached or entered. */
export async function diagnoseDatabase(settings: ConnectionSettings): Promise<DatabaseDiagnosis> {
  const open = async (): Promise<pg.Client> => {
    const client = new pg.Client({
      ...clientOptions(settings),
      connectionTimeoutMillis: patienceMs,
      query_timeout: patienceMs,
    })
    client.on('error', () => undefined)
    await client.connect()
    return client
  }
  const client = await open()
  try {
    const facts = await readFacts(client)
    const other = await open()
    try {
      return { ...facts, pooled: await isPooled(client, other) }
    } finally {
      await other.end().catch(() => undefined)
    }
  } finally {
    await client.end().catch(() => undefined)
  }
}

async function readFacts(client: pg.Client): Promise<Omit<DatabaseDiagnosis, 'pooled'>> {
  const asked = Date.now()
  const clock = await client.query<{ now: number }>(
    'select extract(epoch from clock_timestamp())::float8 as now',
  )
  const ourSeconds = (asked + Date.now()) / 2000
  const { rows } = await client.query<{
    version: string
    number: number
    encoding: string
    read_only: boolean
    schema: string | null
    may_create: boolean
    has_migrations: boolean
    free: number
    encrypted: boolean | null
  }>(
    `select current_setting('server_version') as version,
            current_setting('server_version_num')::int as number,
            current_setting('server_encoding') as encoding,
            pg_is_in_recovery() or current_setting('transaction_read_only')::boolean as read_only,
            current_schema() as schema,
            coalesce(has_schema_privilege(current_schema(), 'create'), false) as may_create,
            to_regclass('migration') is not null as has_migrations,
            current_setting('max_connections')::int
              - current_setting('superuser_reserved_connections')::int
              - (select count(*) from pg_stat_activity where backend_type = 'client backend')::int as free,
            case when inet_server_addr() is null then null
                 else (select ssl from pg_stat_ssl where pid = pg_backend_pid()) end as encrypted`,
  )
  const [row] = rows
  if (row === undefined) throw new Error('the database told nothing of itself')
  const migrations = row.has_migrations
    ? await client.query<{ newest: number }>(
        'select coalesce(max(number), 0)::int as newest from migration',
      )
    : null
  return {
    version: row.version,
    versionNumber: row.number,
    encoding: row.encoding,
    readOnly: row.read_only,
    schema: row.schema,
    mayCreate: row.may_create,
    schemaVersion: migrations?.rows[0]?.newest ?? null,
    freeConnections: row.free,
    encrypted: row.encrypted,
    clockSeconds: (clock.rows[0]?.now ?? ourSeconds) - ourSeconds,
  }
}

/**
 * A pooler in transaction mode gives the server of an idle client to the next one that comes: while the other is in a
 * transaction it works on the server that was ours, and we get another.
 */
async function isPooled(one: pg.Client, other: pg.Client): Promise<boolean> {
  const before = await backendOf(one)
  await other.query('begin')
  const between = await backendOf(other)
  const after = await backendOf(one)
  await other.query('rollback')
  return between === before || after !== before
}

async function backendOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  return rows[0]?.pid ?? 0
}
