// What the collecting thread and the main thread say to each other.
import type { Dialect } from '../core/dialect.ts'
import type { Layout } from '../core/layout.ts'
import type { Reject } from '../core/source-record.ts'
import type { ConnectionSettings } from '../store/database.ts'
import type { RowShape } from '../store/row-writer.ts'
import type { RowKeys } from './encode-record.ts'

/** What the thread is started with. */
export interface ThreadInput {
  readonly path: string
  /** Tells how far a file is that is still being written, see system-messages.ts; null for a whole one. */
  readonly growing: SharedArrayBuffer | null
  readonly dialect: Dialect
  readonly layout: Layout
  /** The 6 bytes that account ids of the source begin with. */
  readonly prefix: Uint8Array
  readonly keys: RowKeys
  readonly database: ConnectionSettings
  /** Words of control, see the constants below, then two float64 of progress. */
  readonly shared: SharedArrayBuffer
}

/** Where in `shared` (as Int32Array) stands whether to stop, and how many messages with data are under way. */
export const stopWord = 0
export const underwayWord = 1
/** Where in `shared` (as Float64Array) stand the rows and the bytes read in this pass. */
export const rowsWord = 1
export const bytesWord = 2
export const sharedBytes = 24
/** More data than this under way makes the thread wait: memory stays flat when PostgreSQL is slower. */
export const maximumUnderway = 6
/** The size of a buffer of rows. */
export const chunkBytes = 256 << 10

/** `all` rows, those of dirty `buckets` after a comparison, or those whose key is among `keyHashes`. */
export type RowFilter = 'all' | 'buckets' | { readonly keyHashes: readonly number[] }

export type Command =
  /** Sum up the rows and the stored accounts of `table`; answers `compared`. */
  | { readonly command: 'compare'; readonly table: string; readonly buckets: number }
  /** Encode rows and send them; answers `rows`, `rejects`, then `staged`. */
  | {
      readonly command: 'stage'
      readonly filter: RowFilter
      readonly shape: RowShape
      /** Whether records of accounts that are gone are left out. */
      readonly skipDeleted: boolean
    }
  /** Send the raw records that begin on these lines (ascending); answers `picked`. */
  | { readonly command: 'pick'; readonly positions: readonly number[] }
  | { readonly command: 'close' }

/** What one pass that staged rows has seen. */
export interface StagePass {
  /** Records of the file but comments, empty ones and those that the filter dropped. */
  readonly records: number
  /** Rows that were sent. */
  readonly staged: number
  /** Comment lines, empty records, and records that the filter dropped. */
  readonly ignored: number
  readonly rejects: number
  /** Rejects without a trustworthy identity. */
  readonly untrusted: number
  readonly conflicts: { readonly accounts: number; readonly names: readonly string[] }
}

export interface ComparePass {
  readonly records: number
  readonly ignored: number
  /** Records whose identity cannot be read; they are staged whatever the sums say. */
  readonly unkeyed: number
  readonly dirty: number[]
  /** Stored accounts in dirty buckets, and in all. */
  readonly dirtyStored: number
  readonly stored: number
}

export interface PickedRecord {
  readonly position: number
  readonly raw: string
}

export type Answer =
  | { readonly kind: 'rows'; readonly buffer: ArrayBuffer; readonly length: number }
  | { readonly kind: 'rejects'; readonly rejects: readonly Reject[] }
  | { readonly kind: 'staged'; readonly pass: StagePass }
  | { readonly kind: 'compared'; readonly pass: ComparePass }
  | { readonly kind: 'picked'; readonly records: readonly PickedRecord[] }
  | {
      readonly kind: 'failed'
      readonly code: string | null
      readonly message: string
      readonly hint: string
      readonly temporary: boolean
      readonly stack: string | undefined
    }
