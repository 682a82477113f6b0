// Sources: one system that accounts are read from, and what its settings mean.

/** A source as it is kept; ids are 32 lower-case hex digits, instants ISO-8601 text. Secrets are not part of it. */
export interface Source {
  readonly id: string
  readonly name: string
  readonly description: string | null
  readonly ownerId: string | null
  readonly ownerName: string | null
  readonly type: string
  readonly connector: string
  readonly connectionType: 'file' | 'direct'
  readonly connectorAttributes: Readonly<Record<string, unknown>>
  readonly features: readonly string[]
  readonly deleteThreshold: number | null
  readonly authoritative: boolean
  readonly status: string
  readonly healthy: boolean
  readonly since: string
  readonly category: string | null
  /** References that are kept for clients as they were given: cluster, rules, mappings, policies. */
  readonly extra: Readonly<Record<string, unknown>>
  readonly settings: SourceSettings
  /** How accounts find their identities; a null name is the one that follows from the name of the source. */
  readonly correlationConfig: { readonly id: string; readonly name: string | null }
  /** How many accounts there are now. */
  readonly accounts: number
  /** Grows with every write to the accounts of the source. */
  readonly accountsVersion: number
  readonly created: string
  readonly modified: string
}

/** What a submit does while another run of the source is unfinished (contract.md section 8.2). */
export const whenBusyChoices = ['error', 'conflict', 'queue'] as const
export type WhenBusy = (typeof whenBusyChoices)[number]

/** What a run of a direct source reads unless its form says otherwise: everything, or what changed since the last run. */
export const readModes = ['full', 'delta'] as const
export type ReadMode = (typeof readModes)[number]

/** Settings that ISC does not have, at `/muster/v1/sources/{id}/settings`. */
export interface SourceSettings {
  readonly whenBusy: WhenBusy
  readonly readMode: ReadMode
}

export const defaultSourceSettings: SourceSettings = { whenBusy: 'error', readMode: 'full' }

/** The connector of delimited files. */
export const delimitedConnector = 'delimited-file-angularsc'

/** The percentage of removals above which none is made (contract.md section 8.5). */
export function deleteThreshold(source: Pick<Source, 'deleteThreshold'>): number {
  return source.deleteThreshold ?? 10
}
