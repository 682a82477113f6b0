// What the API tells of its calls to whoever counts or traces them. Listeners decide nothing and never throw.
import type { IncomingHttpHeaders } from 'node:http'

/** A call whose head was read. */
export interface SeenRequest {
  /** 32 hex digits, the same in answer, log and audit. */
  readonly trackingId: string
  readonly method: string
  /** The template of the route, such as `/v2025/sources/:id`; null where nothing is at the path. */
  readonly route: string | null
  /** Without its query, which may hold a secret. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
}

/** How a call ended; null as status when the client went before it had the whole answer. */
export type RequestEnd = (status: number | null, seconds: number) => void

/** Told of the calls of this process. */
export interface ApiWatch {
  /** A call begins. What is given is called once, when the answer is out or the client is gone. */
  begin(request: SeenRequest): RequestEnd
  /** An upload ended: `result` is what was made of it or the code of the error, `bytes` what was stored. */
  upload(result: string, bytes: number): void
  /** A call has made a task. */
  submitted(trackingId: string, taskId: string): void
}

/** Nobody listens. */
export const unwatchedApi: ApiWatch = {
  begin: () => () => undefined,
  upload: () => undefined,
  submitted: () => undefined,
}
