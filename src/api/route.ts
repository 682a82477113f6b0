// What an endpoint is: declared once, served under every version prefix that has it (contract.md section 0).
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { TSchema } from 'typebox'
import type { Caller, Level } from '../core/access.ts'

/** Version prefixes; `v1` is the per-service form `/sources/v1/…`, `muster` is `/muster/v1/…`. */
export const versions = ['beta', 'v3', 'v2024', 'v2025', 'v2026', 'v1', 'muster'] as const
export type Version = (typeof versions)[number]

/** All prefixes of ISC. */
export const everyVersion = ['beta', 'v3', 'v2024', 'v2025', 'v2026', 'v1'] as const
/** The prefixes of ISC but `/v3`, which lacks most of the aggregation endpoints. */
export const allButV3 = ['beta', 'v2024', 'v2025', 'v2026', 'v1'] as const

/** What a handler knows of the call besides the request. */
export interface Call {
  readonly version: Version
  readonly caller: Caller
  /** 32 hex digits, the same in the response, the log and the audit. */
  readonly trackingId: string
}

/** One endpoint. `path` is the unprefixed form, for example `/sources/:id/load-accounts`. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly versions: readonly Version[]
  /** Versions in which ISC has it deprecated; the answer then carries `X-Deprecated: true`. */
  readonly deprecatedIn?: readonly Version[]
  readonly operationId: string
  readonly summary: string
  readonly tag: string
  /** Any one of these scopes opens the endpoint; none means that every token does. */
  readonly scopes: readonly string[]
  readonly levels: readonly Level[]
  readonly query?: TSchema
  /** The body for the document and for validation; leave it out when the handler reads the stream itself. */
  readonly body?: TSchema
  /** Media types of the body; default application/json. */
  readonly consumes?: readonly string[]
  /** True when the handler reads `request.raw` itself: nothing is parsed before it. */
  readonly streams?: boolean
  /** Status of success and the shape of its body. */
  readonly status: number
  readonly response?: TSchema
  /** Media type of a successful answer; default application/json. */
  readonly produces?: string
  /** Returns the body, or sends it by `reply` itself. */
  readonly handle: (request: FastifyRequest, reply: FastifyReply, call: Call) => unknown
}
