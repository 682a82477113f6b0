// Statements by the extended protocol, which takes one statement at a time: rows page by page, and COPY as it comes.
import type pg from 'pg'
import { collectBlocks } from './sql-blocks.ts'
import type { SqlRow } from './sql-session.ts'

/** What `client.query` calls on an object that has `submit`; @types/pg names only that one. */
interface Exchange extends pg.Submittable {
  handleRowDescription(): void
  handleDataRow(message: { readonly fields: SqlRow }): void
  handlePortalSuspended(): void
  handleEmptyQuery(): void
  handleCopyData(message: { readonly chunk: Buffer }): void
  handleCommandComplete(message: { readonly text: string }): void
  handleReadyForQuery(): void
  handleError(error: Error): void
}

const nothing = (): void => undefined

function begin(
  connection: pg.Connection,
  text: string,
  values: readonly string[],
  rows: number,
): void {
  connection.parse({ name: '', text, types: [] }, true)
  connection.bind({ portal: '', statement: '', values: [...values] }, true)
  connection.execute({ portal: '', rows: String(rows) }, true)
}

/** The rows of a statement, in pages: the server works on the next one when it is asked for. */
export async function* fetchPages(
  client: pg.Client,
  text: string,
  values: readonly string[],
  pageSize: number,
): AsyncGenerator<readonly SqlRow[], void> {
  let rows: SqlRow[] = []
  // An object: it changes in the events of the driver.
  const at: { state: 'waiting' | 'page' | 'end'; failure: Error | null } = {
    state: 'waiting',
    failure: null,
  }
  let wake = nothing
  let server: pg.Connection | null = null
  const change = (next: typeof at.state): void => {
    at.state = next
    wake()
  }
  const exchange: Exchange = {
    submit: (connection) => {
      server = connection
      begin(connection, text, values, pageSize)
      connection.flush()
    },
    handleRowDescription: nothing,
    handleDataRow: (message) => void rows.push(message.fields),
    handlePortalSuspended: () => change('page'),
    handleEmptyQuery: () => server?.sync(),
    handleCopyData: nothing,
    handleCommandComplete: () => server?.sync(),
    handleReadyForQuery: () => change('end'),
    handleError: (error) => {
      at.failure = error
      server?.sync()
      change('end')
    },
  }
  const failIfLost = (): void => {
    if (at.failure !== null) throw at.failure
  }
  client.query(exchange)
  for (;;) {
    if (at.state === 'waiting') await new Promise<void>((resolve) => (wake = resolve))
    failIfLost()
    const page = rows
    const ended = at.state === 'end'
    rows = []
    if (page.length > 0) yield page
    if (ended) return
    // The connection may have gone while the page was worked off; nobody would answer any more.
    failIfLost()
    at.state = 'waiting'
    askForMore(server, pageSize)
  }
}

function askForMore(server: pg.Connection | null, rows: number): void {
  server?.execute({ portal: '', rows: String(rows) }, true)
  server?.flush()
}

/** Runs `copy … to stdout` and passes its bytes on in blocks; gives the number of rows that the server counted. */
export function copyOut(
  client: pg.Client,
  text: string,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    let records = Number.NaN
    let server: pg.Connection | null = null
    // A server that waits in the middle of COPY is made to wait by not reading from its socket.
    const flow = {
      pause: () => void server?.stream.pause(),
      resume: () => void server?.stream.resume(),
    }
    const blocks = collectBlocks(flow, write, reject)
    const exchange: Exchange = {
      submit: (connection) => {
        server = connection
        begin(connection, text, [], 0)
        connection.sync()
      },
      handleRowDescription: nothing,
      handleDataRow: nothing,
      handlePortalSuspended: nothing,
      handleEmptyQuery: nothing,
      handleCopyData: ({ chunk }) => blocks.add(chunk),
      handleCommandComplete: (message) => {
        records = Number(/^COPY (\d+)$/.exec(message.text)?.[1] ?? Number.NaN)
      },
      handleReadyForQuery: () => void blocks.end().then(() => resolve(records), reject),
      handleError: reject,
    }
    client.query(exchange)
  })
}
