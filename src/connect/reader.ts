// The contract of readers: what a connector gives, and what it must show before absence counts.
import type { ConnectorDescription, DescribedSchema } from '../core/description.ts'
import type { AttributeDefinition } from '../core/schema.ts'
import type { Settings } from '../core/setting.ts'
import type { Outbound } from './outbound.ts'

/** A value as the system gave it: a text, several texts, or nothing. Numbers are their digits, booleans `true` or `false`. */
export type ReadValue = string | readonly string[] | null

/** An account (or an entitlement) as it was read. */
export interface ReadRecord {
  /** The native identity, as the system writes it. */
  readonly identity: string
  /**
   * What stays the same when the identity changes (entryUUID, objectGUID, the SCIM id), in the one form it is compared
   * by. Without it the identity is the key. A reader gives it for all records or for none.
   */
  readonly key?: string
  readonly disabled?: boolean
  readonly locked?: boolean
  /** Whether the system says that it is gone. This is how a delta removes; values do not matter then. */
  readonly deleted?: boolean
  /** The values in the order of `ReadRequest.attributes`. */
  readonly values: readonly ReadValue[]
}

/** Some records in the order of the system. An empty page is a sign of life. */
export interface Page {
  readonly records: readonly ReadRecord[]
}

/** Where a read ended, in the words of its reader: a JSON object. The next delta begins there. */
export type Cursor = Readonly<Record<string, unknown>>

/** What the end of a read has to show. */
export interface ReadEnd {
  /**
   * What proves that nothing is missing, as half a sentence for the ledger ("the server sent an empty cookie"). Null when
   * there is no proof: the run then ends with an error and changes nothing.
   */
  readonly proof: string | null
  /** How many records the system said there are, if it says so; another number of records fails the run. */
  readonly expected: number | null
  /** What was read. A reader that was asked for a delta may have had to read everything. In a delta absence means nothing. */
  readonly mode: 'full' | 'delta'
  /** Where the next delta begins; null when this system has none. */
  readonly cursor: Cursor | null
  /** Attributes that the system does not deliver at all: accounts keep their former values. */
  readonly undelivered?: readonly string[]
  /** Names that the system delivers and nobody asked for. */
  readonly extra?: readonly string[]
  /** Changes that the system wants in the settings of the source, as JSON Patch: kept when the run is applied. */
  readonly patches?: readonly unknown[]
}

/** One attribute that is wanted. */
export type WantedAttribute = Pick<
  AttributeDefinition,
  'name' | 'nativeName' | 'type' | 'isMulti' | 'isEntitlement'
>

/** What is to be read. */
export interface ReadRequest {
  /** `account`, or the type of entitlement (`group`). */
  readonly objectType: string
  /** The attributes of the schema. */
  readonly attributes: readonly WantedAttribute[]
  /** The attribute whose value is the native identity. */
  readonly identityAttribute: string | null
  /** Where the last applied read ended; null: read everything. */
  readonly cursor: Cursor | null
  /** More records than this are not needed; null: all. A limited read proves nothing. */
  readonly limit: number | null
  /** Aborted when nobody waits for the outcome any more. */
  readonly signal: AbortSignal
}

/**
 * An open connection to a system. Whatever fails is thrown as a `RunError` (code, message, hint, `temporary` when a later
 * attempt may do better); any other error counts as a fault of the connector.
 */
export interface Reader {
  /** Connects, logs in and looks whether what will be read is there; gives facts about the system (version, names found). */
  check(signal: AbortSignal): Promise<Readonly<Record<string, string | number | boolean>>>
  /** The schemas that the system has. */
  discover(signal: AbortSignal): Promise<readonly DescribedSchema[]>
  /** Reads accounts page by page. The consumer asks for the next page when it has worked off the last. */
  read(request: ReadRequest): AsyncGenerator<Page, ReadEnd>
  /** Reads entitlements of `request.objectType`; `identity` of each is its value in the accounts. */
  entitlements?(request: ReadRequest): AsyncGenerator<Page, ReadEnd>
  /** Reads one account by its native identity; null when there is none. */
  readOne?(identity: string, request: ReadRequest): Promise<ReadRecord | null>
  /**
   * Instead of `read`, where the system itself writes CSV (RFC 4180: comma, double quote, newline, no header): sends its
   * bytes to `write`, cells in the order of `ReadCopy.columns`, lists as JSON. `begin` is called before the first byte:
   * what comes is taken on while the rest is still read.
   */
  copy?(
    request: ReadRequest,
    write: (bytes: Uint8Array) => Promise<void>,
    begin?: (start: CopyStart) => void,
  ): Promise<ReadCopy>
  close(): Promise<void>
}

/** What is known of a copy before it begins. */
export interface CopyStart {
  /** Names of attributes, in the order of the cells. */
  readonly columns: readonly string[]
  readonly undelivered: readonly string[]
  readonly extra: readonly string[]
}

/** The outcome of a copy. The native identity is the column of the identity attribute. */
export interface ReadCopy extends ReadEnd {
  /** Names of attributes, in the order of the cells. */
  readonly columns: readonly string[]
  readonly records: number
}

/** What a reader is opened with besides its settings. */
export interface ReaderTools {
  /** The only way out: every socket of a reader comes from here. */
  readonly outbound: Outbound
  /** A line for the log of the server; never with secrets or values of accounts. */
  readonly log: (level: 'info' | 'warn', message: string) => void
}

/** What a connector package exports as `connector`. */
export interface Connector extends ConnectorDescription {
  /** Opens a reader. `settings` are the connectorAttributes of the source, secrets in place. */
  open(settings: Settings, tools: ReaderTools): Promise<Reader>
}
