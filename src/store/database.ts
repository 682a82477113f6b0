// The one door to PostgreSQL: a pool, transactions and single connections, with the settings every statement relies on.
import pg from 'pg'

/** Values that a statement returns; columns are read by the function that wrote the statement. */
export type Row = Readonly<Record<string, unknown>>

/** Anything that can run one statement. */
export interface Queryable {
  query<R extends object = Row>(
    text: string,
    values?: readonly unknown[],
  ): Promise<{ readonly rows: R[]; readonly rowCount: number }>
}

/** One connection taken out of the pool. `release(true)` closes it instead of giving it back. */
export interface Connection extends Queryable {
  readonly raw: pg.PoolClient
  release(broken?: boolean): void
}

/** How to reach the server; plain data, so that a worker thread can open a connection of its own. */
export interface ConnectionSettings {
  readonly connectionString?: string
  readonly host?: string
  readonly port?: number
  readonly user?: string
  readonly password?: string
  readonly database?: string
}

/** The pool. `settings` is what a worker thread needs to connect by itself. */
export interface Database extends Queryable {
  readonly settings: ConnectionSettings
  /** Connections there are, those of them that nobody uses, and statements that wait for one. */
  usage(): { readonly total: number; readonly idle: number; readonly waiting: number }
  connect(): Promise<Connection>
  /** Runs `work` in one transaction; it is rolled back when `work` throws. */
  transaction<T>(work: (tx: Connection) => Promise<T>): Promise<T>
  close(): Promise<void>
}

// bigint columns are counters and numbers of runs: all far below 2^53, so they are read as numbers.
const int8Oid = 20
const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === int8Oid && format !== 'binary'
      ? Number
      : pg.types.getTypeParser(oid, format ?? 'text')) as typeof pg.types.getTypeParser,
}

/** The options that every connection of Muster has, also those that a worker thread opens. */
export function clientOptions(settings: ConnectionSettings): pg.ClientConfig {
  return {
    ...settings,
    types,
    application_name: 'muster',
    keepAlive: true,
    connectionTimeoutMillis: 10_000,
    // Instants travel as ISO text with an offset whatever the server's own setting is.
    options: '-c timezone=UTC -c datestyle=ISO -c client_min_messages=warning -c jit=off',
  }
}

/** Opens a pool of at most `size` connections (default 10); nothing is connected before the first statement. */
export function openDatabase(
  settings: ConnectionSettings,
  onError: (error: Error) => void,
  size = 10,
): Database {
  const pool = new pg.Pool({ ...clientOptions(settings), max: size, idleTimeoutMillis: 30_000 })
  // An idle connection that the server drops raises `error` on the pool; unhandled it would end the process.
  pool.on('error', onError)
  const connect = async (): Promise<Connection> => {
    const raw = await pool.connect()
    raw.on('error', onError)
    return {
      raw,
      query: (text, values) => run(raw, text, values),
      release: (broken = false) => {
        raw.off('error', onError)
        raw.release(broken)
      },
    }
  }
  return {
    settings,
    usage: () => ({ total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    query: (text, values) => run(pool, text, values),
    connect,
    transaction: async (work) => {
      const tx = await connect()
      let broken = false
      try {
        await tx.query('begin')
        const result = await work(tx)
        await tx.query('commit')
        return result
      } catch (error) {
        // A connection that cannot even roll back is not given back to the pool.
        await tx.query('rollback').catch(() => {
          broken = true
        })
        throw error
      } finally {
        tx.release(broken)
      }
    },
    close: () => pool.end(),
  }
}

async function run<R extends object>(
  client: pg.Pool | pg.PoolClient,
  text: string,
  values: readonly unknown[] = [],
): Promise<{ rows: R[]; rowCount: number }> {
  const result = await client.query<R>(text, [...values])
  return { rows: result.rows, rowCount: result.rowCount ?? 0 }
}
