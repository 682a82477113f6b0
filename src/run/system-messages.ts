// What the main thread and the thread that talks to a system say to each other.
import type { OutboundPolicy } from '../connect/outbound.ts'
import type { CopyStart, ReadRecord, ReadRequest } from '../connect/reader.ts'
import type { DescribedSchema } from '../core/description.ts'
import type { Settings } from '../core/setting.ts'

/** What is wanted of a system. */
export type SystemAsk =
  | { readonly what: 'check' }
  | { readonly what: 'discover' }
  | { readonly what: 'peek'; readonly request: Wanted; readonly limit: number }
  | { readonly what: 'readOne'; readonly request: Wanted; readonly identity: string }
  | {
      readonly what: 'read'
      readonly request: Wanted
      readonly cursor: ReadRequest['cursor']
      /** The file that the records go to. */
      readonly path: string
      /** A longer file ends the read. */
      readonly limitBytes: number
    }

/** The part of a request that a message can carry. */
export type Wanted = Pick<ReadRequest, 'objectType' | 'attributes' | 'identityAttribute'>

/** What the thread is started with. */
export interface SystemInput {
  readonly connector: string
  /** Modules of others that may have the connector. */
  readonly packages: readonly string[]
  /** With secrets in place. */
  readonly settings: Settings
  readonly outbound: OutboundPolicy
  readonly ask: SystemAsk
  /** As Int32Array: whether to stop, and a beat; then as Float64Array from its second word the records and bytes read. */
  readonly shared: SharedArrayBuffer
}

export const stopWord = 0
/** Grows while the thread can still do something else than what it does. */
export const beatWord = 1
export const beatMs = 500
/** Where in `shared` (as Float64Array) stand the records and the bytes that were read. */
export const recordsWord = 1
export const bytesWord = 2
/** Where (as Int32Array) stand a number that grows with each block of the file, and how the read has ended. */
export const growthWord = 6
export const endWord = 7
export const endedWell = 1
export const endedBadly = 2
export const sharedBytes = 32

/** What a read has brought. */
export interface SystemRead {
  readonly records: number
  readonly bytes: number
  /** What the cells of the file are, see core/layout.ts. */
  readonly columns: readonly string[]
  /** 64 lower-case hex digits. */
  readonly sha256: string
  readonly mode: 'full' | 'delta'
  /** What proves that nothing is missing. */
  readonly proof: string
  readonly cursor: ReadRequest['cursor']
  readonly undelivered: readonly string[]
  readonly extra: readonly string[]
  readonly patches: readonly unknown[]
  /** Single-valued attributes of which the system had several values in a record; the first was kept. */
  readonly shortened: readonly string[]
}

export type SystemAnswer =
  | { readonly what: 'check'; readonly facts: Readonly<Record<string, string | number | boolean>> }
  | { readonly what: 'discover'; readonly schemas: readonly DescribedSchema[] }
  | {
      readonly what: 'peek' | 'readOne'
      readonly records: readonly ReadRecord[]
      /** The names of the values of a record. */
      readonly attributes: readonly string[]
    }
  | { readonly what: 'read'; readonly read: SystemRead }

export type SystemMessage =
  | { readonly kind: 'answer'; readonly answer: SystemAnswer }
  /** The columns of a file whose rows come from now on. */
  | { readonly kind: 'began'; readonly start: CopyStart }
  | { readonly kind: 'log'; readonly level: 'info' | 'warn'; readonly message: string }
  | {
      readonly kind: 'failed'
      /** Null when the fault is the connector's own. */
      readonly code: string | null
      readonly message: string
      readonly hint: string
      readonly temporary: boolean
      readonly stack: string | undefined
    }
