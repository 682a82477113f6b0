// The models of the wire as clients see them (contract.md sections 1 and 2). Fields that a server may leave out are optional.

/** The versions that a client can speak; `v1` is the per-service form, `/sources/v1/…`. */
export type ApiVersion = 'beta' | 'v3' | 'v2024' | 'v2025' | 'v2026' | 'v1'

/** A reference to something else. */
export interface Reference {
  readonly type?: string
  readonly id: string
  readonly name?: string | null
}

/** One step of a JSON Patch (RFC 6902). */
export interface PatchStep {
  readonly op: 'add' | 'remove' | 'replace' | 'move' | 'copy' | 'test'
  readonly path: string
  readonly from?: string
  readonly value?: unknown
}

export interface Source {
  readonly id: string
  readonly name: string
  readonly description?: string | null
  readonly owner: Reference | null
  readonly type?: string
  readonly connector: string
  readonly connectorName?: string
  readonly connectionType?: string
  readonly connectorAttributes?: Readonly<Record<string, unknown>>
  readonly schemas?: readonly Reference[]
  readonly features?: readonly string[]
  readonly deleteThreshold?: number | null
  readonly authoritative?: boolean
  readonly category?: string | null
  readonly managerCorrelationMapping?: ManagerCorrelationMapping | null
  readonly healthy?: boolean
  readonly status?: string
  readonly created?: string
  readonly modified?: string | null
}

/** A manager is the identity whose attribute equals that of the account. */
export interface ManagerCorrelationMapping {
  readonly accountAttributeName: string | null
  readonly identityAttributeName: string | null
}

/** What `sources.create` takes; `owner` null is the caller. */
export interface NewSource {
  readonly name: string
  readonly description?: string
  readonly owner?: Reference | null
  readonly connector: string
  readonly connectorAttributes?: Readonly<Record<string, unknown>>
  readonly deleteThreshold?: number
  readonly authoritative?: boolean
  /** Follows from the connector, where that is known. */
  readonly type?: string
  readonly category?: string
  readonly managerCorrelationMapping?: ManagerCorrelationMapping
  readonly features?: readonly string[]
}

/** An account fits an identity whose attribute `property` equals the attribute `value` of the account. */
export interface CorrelationAssignment {
  readonly property: string
  readonly value: string
  readonly operation: 'EQ'
  readonly complex: boolean
  readonly ignoreCase: boolean
  readonly matchMode: 'ANYWHERE' | 'START' | 'END'
  readonly filterString: string
}

/** By which attributes the accounts of a source find their identities. */
export interface CorrelationConfig {
  readonly id?: string | null
  readonly name?: string | null
  readonly attributeAssignments?: readonly Partial<CorrelationAssignment>[] | null
}

/** Settings that ISC does not have, at `/muster/v1/sources/{id}/settings`. */
export interface SourceSettings {
  readonly whenBusy: 'error' | 'conflict' | 'queue'
  /** What a run of a direct source reads unless it says otherwise. */
  readonly readMode: ReadMode
}

/** Everything, or what changed since the last run. */
export type ReadMode = 'full' | 'delta'

/** Where the last read of a direct source ended, at `/muster/v1/sources/{id}/state`. */
export interface SourceState {
  /** Whether the next read can be a delta. */
  readonly hasCursor: boolean
  /** The id of that run. */
  readonly run: string | null
  readonly since: string | null
}

/** What a probe found: a FAILURE has `code`, `reason` and `hint` in its details. */
export interface StatusResponse {
  readonly id: string
  readonly name: string
  readonly status: 'SUCCESS' | 'FAILURE'
  readonly elapsedMillis: number
  readonly details: Readonly<Record<string, unknown>>
}

/** Some objects of a system, as a run would read them. */
export interface ResourceObjectsResponse {
  readonly id: string
  readonly name: string
  readonly objectCount: number
  readonly elapsedMillis: number
  readonly resourceObjects: readonly {
    readonly identity: string
    readonly uuid?: string
    readonly name?: string
    readonly objectType: string
    readonly delete?: boolean
    readonly attributes: Readonly<Record<string, unknown>>
  }[]
}

/** How the last aggregation left a source. */
export interface SourceHealth {
  readonly id: string
  readonly type: string
  readonly name: string
  readonly org: string
  readonly isAuthoritative: boolean
  readonly isCluster: boolean
  readonly hostname: string
  readonly pod: string
  readonly iqServiceVersion?: string | null
  readonly status: string
}

interface AttributeKind {
  readonly type: string
  readonly isMulti: boolean
}

/** What the system of a source has, held against one of its schemas. */
export interface SchemaProposal {
  readonly name: string
  /** Null where the source has no such schema; `create` is then what to make. */
  readonly schemaId: string | null
  readonly added: readonly AttributeDefinition[]
  readonly changed: readonly {
    readonly name: string
    readonly before: AttributeKind
    readonly after: AttributeKind
  }[]
  /** The identity or the name is another attribute. */
  readonly roles: readonly {
    readonly role: string
    readonly before: string | null
    readonly after: string
  }[]
  /** Attributes that the system does not describe. */
  readonly missing: readonly string[]
  readonly patch: readonly PatchStep[]
  /** To be sent after `patch`: removes what is missing. */
  readonly removal: readonly PatchStep[]
  readonly create: NewSchema | null
}

export interface Discovery {
  readonly sourceId: string
  readonly elapsedMillis: number
  readonly schemas: readonly SchemaProposal[]
  /** Schemas of the source that the system does not describe. */
  readonly unknown: readonly string[]
}

export interface AttributeDefinition {
  readonly name: string
  readonly nativeName?: string | null
  readonly type?: string
  readonly schema?: Reference | null
  readonly description?: string | null
  readonly isMulti?: boolean
  readonly isEntitlement?: boolean
  readonly isGroup?: boolean
}

export interface Schema {
  readonly id: string
  readonly name: string
  readonly nativeObjectType?: string | null
  readonly identityAttribute?: string | null
  readonly displayAttribute?: string | null
  readonly hierarchyAttribute?: string | null
  readonly includePermissions?: boolean
  readonly features?: readonly string[]
  readonly configuration?: Readonly<Record<string, unknown>>
  readonly attributes: readonly AttributeDefinition[]
  readonly created?: string
  readonly modified?: string | null
}

/** A schema that is not kept yet. */
export type NewSchema = Omit<Schema, 'id' | 'created' | 'modified'>

/** What load-accounts answers: the task in a shape of its own. */
export interface LoadAccountsTask {
  readonly success: boolean
  readonly task: {
    readonly id: string
    readonly type: string
    readonly name: string
    readonly description: string
    readonly launcher: string
    readonly created: string
    readonly launched: string | null
    readonly completed: string | null
    /** TEMP_ERROR here is TEMPERROR in `TaskStatus`. */
    readonly completionStatus: string | null
    readonly parentName: string | null
    readonly messages: readonly {
      readonly type: string
      readonly error: boolean
      readonly warning: boolean
      readonly key: string
      readonly localizedText: string
    }[]
    readonly progress: string | null
    readonly attributes: Readonly<Record<string, unknown>>
    readonly returns: readonly { readonly displayLabel: string; readonly attributeName: string }[]
  }
}

export interface TaskMessage {
  readonly type: string
  readonly key: string
  readonly localizedText: { readonly locale: string; readonly message: string } | null
  readonly parameters: readonly unknown[] | null
}

export interface TaskStatus {
  readonly id: string
  readonly type: string
  readonly uniqueName: string
  readonly description: string
  readonly parentName: string | null
  readonly launcher: string
  readonly target?: Reference | null
  readonly created: string
  readonly modified: string | null
  readonly launched: string | null
  readonly completed: string | null
  /** SUCCESS, WARNING, ERROR, TERMINATED or TEMPERROR; null while it runs. */
  readonly completionStatus: string | null
  readonly messages: readonly TaskMessage[]
  readonly returns: readonly { readonly name: string; readonly attributeName: string }[]
  readonly attributes: Readonly<Record<string, unknown>>
  readonly progress: string | null
  readonly percentComplete: number
}

export interface AggregationStatus {
  readonly start: string | null
  /** STARTED, ACCOUNTS_COLLECTED, COMPLETED, CANCELLED, RETRIED, TERMINATED or NOT_FOUND. */
  readonly status: string
  readonly totalAccounts: number
  readonly processedAccounts: number
  readonly totalAccountsMarkedForDeletion?: number
  readonly deletedAccounts?: number
  readonly totalIdentities?: number
  readonly processedIdentities?: number
}

export interface Account {
  readonly id: string
  readonly name: string | null
  readonly nativeIdentity: string
  readonly sourceId: string
  readonly sourceName: string | null
  readonly attributes: Readonly<Record<string, unknown>> | null
  readonly identityId?: string | null
  readonly identity?: Reference | null
  readonly authoritative: boolean
  readonly disabled: boolean
  readonly locked: boolean
  readonly manuallyCorrelated: boolean
  readonly uncorrelated: boolean
  readonly hasEntitlements: boolean
  readonly systemAccount: boolean
  readonly created?: string
  readonly modified?: string | null
}

/** A run as Muster keeps it (`/muster/v1/runs/{id}`). */
export interface Run {
  readonly id: string
  readonly state: string
  readonly sourceId: string
  readonly fileName: string | null
  readonly bytes: number | null
  readonly sha256: string | null
  /** What was read of the system of a direct source; null for uploads. */
  readonly read: {
    readonly mode: ReadMode
    /** What showed that nothing is missing. */
    readonly proof: string
    readonly records: number
    readonly bytes: number
    readonly sha256: string
    readonly columns: readonly string[]
  } | null
  readonly phases: readonly {
    readonly name: string
    readonly started: string
    readonly ended: string
    readonly rows: number
  }[]
  readonly counters: Readonly<Record<string, unknown>>
  /** What the guards found; null before they looked. */
  readonly verdict: {
    readonly outcome: string
    readonly findings: readonly { readonly guard: string }[]
  } | null
  /** How its columns differ from the schema and from the run before; null until it collects. */
  readonly drift: {
    readonly comparedWith: string | null
    readonly added: readonly string[]
    readonly removed: readonly string[]
    readonly missing: readonly string[]
    readonly extra: readonly string[]
  } | null
}

/** What a system says of an account besides its attributes. */
export interface AccountState {
  readonly nativeIdentity: string
  readonly disabled: boolean
  readonly locked: boolean
}

/** An account that a run changed. */
export interface Change {
  readonly kind: string
  readonly accountId: string
  readonly nativeIdentity: string
  readonly before: Readonly<Record<string, unknown>> | null
  readonly after: Readonly<Record<string, unknown>> | null
  /** What the system said besides attributes; null where there is no account. */
  readonly stateBefore: AccountState | null
  readonly stateAfter: AccountState | null
}

/** A record that a run could not take. */
export interface Reject {
  /** The line on which the record begins. */
  readonly position: number
  readonly code: string
  readonly reason: string
  readonly raw: string
  readonly nativeIdentity: string | null
}

/** What `clients.create` takes (`/muster/v1/clients`). */
export interface NewApiClient {
  readonly name: string
  readonly level: string
  /** Ids of the sources that it is confined to; null means all. */
  readonly sourceIds?: readonly string[] | null
  /** Absent or null means all that the level allows. */
  readonly scopes?: readonly string[] | null
}

/** An OAuth client of Muster; the secret is in the answer that made it and never again. */
export interface ApiClient {
  readonly id: string
  readonly name: string
  readonly secret?: string
  readonly level: string
  readonly scopes: readonly string[]
  readonly sourceIds: readonly string[] | null
  readonly identity: Reference
  readonly created: string
  readonly lastUsed: string | null
  readonly revoked: string | null
}

/** The query of a list. */
export interface ListQuery {
  readonly limit?: number
  readonly offset?: number
  readonly count?: boolean
  readonly filters?: string
  readonly sorters?: string
}

/** One page of a list. */
export interface Page<T> {
  readonly items: readonly T[]
  /** How many there are in all; null unless `count` was asked for. */
  readonly total: number | null
}
