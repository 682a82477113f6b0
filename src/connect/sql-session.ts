// What a kind of database gives to the reader of SQL sources: its dialect, and sessions that stand on one snapshot.
import type { Socket } from 'node:net'
import { sqlError } from './sql-failure.ts'
import type { SqlSettings } from './sql-settings.ts'

/** What a column holds, as far as it makes a difference. */
export type SqlKind = 'text' | 'boolean' | 'integer' | 'long' | 'date' | 'bytes' | 'json'

/** A column of a query, as its server describes it. */
export interface SqlColumn {
  readonly name: string
  readonly kind: SqlKind
  /** Whether it holds a list of `kind`. */
  readonly isList: boolean
  /** What the server calls its type. */
  readonly type: string
}

/** A row as texts. */
export type SqlRow = readonly (string | null)[]

/** How to write the parts of a statement. Expressions are about a column of the derived table `q`. */
export interface SqlDialect {
  readonly quoteTable: (parts: Exclude<SqlSettings['rows'], string>) => string
  /** The column itself. */
  readonly column: (column: SqlColumn) => string
  /** Its value as a text; null stays null. */
  readonly text: (column: SqlColumn) => string
  /** Its values as a JSON list; null stays null. */
  readonly list: (column: SqlColumn) => string
  /** Whether it says yes: true, yes, 1 and the like. Never null. */
  readonly flag: (column: SqlColumn) => string
  /** An expression as a cell of CSV, where the statement has to write it; `isPlain`: its text never needs quotes. */
  readonly cell: (expression: string, isPlain: boolean) => string
  /** `flags` are conditions; gives the letters of those that hold. */
  readonly letters: (flags: readonly { readonly letter: string; readonly when: string }[]) => string
  /** The n-th parameter of a statement (from 1), a text that is compared with the column. */
  readonly parameter: (position: number, column: SqlColumn) => string
  /** The greatest value of the column as a text that `parameter` takes without loss. */
  readonly greatest: (column: SqlColumn) => string
  /** Whether parameters are told apart by their number, so that one may stand in several places. */
  readonly numbered: boolean
}

/** A connection in a read-only transaction on one snapshot. What fails is thrown as a `RunError`. */
export interface SqlSession {
  /** Facts about the server and the login. */
  facts(): Promise<Readonly<Record<string, string | number | boolean>>>
  /** The columns of a query. Throws `query_refused` for what is not one query. */
  describe(query: string): Promise<readonly SqlColumn[]>
  /** The rows of a statement, `pageSize` at a time. */
  pages(
    statement: string,
    parameters: readonly string[],
    pageSize: number,
  ): AsyncGenerator<readonly SqlRow[], void>
  /** Has the server write rows of these cells as CSV; gives their number. */
  copy(
    cells: readonly string[],
    from: string,
    write: (bytes: Uint8Array) => Promise<void>,
  ): Promise<number>
  close(): Promise<void>
}

/** A kind of database. */
export interface SqlDatabase {
  readonly dialect: SqlDialect
  open(signal: AbortSignal): Promise<SqlSession>
}

/** What the server does not end in time, its own clock notwithstanding, is ended from here. */
export function endWhenSilent(socket: Socket, settings: SqlSettings): void {
  socket.setTimeout((settings.statementTimeoutSeconds + 30) * 1_000, () => {
    socket.destroy(sqlError('connection_lost', 'The server did not answer any more.'))
  })
}
