// Who may do what: user levels, scopes and the sources a caller is confined to (contract.md section 2.13).

/** The user levels that endpoints of this scope name. */
export const levels = [
  'ORG_ADMIN',
  'SOURCE_ADMIN',
  'SOURCE_SUBADMIN',
  'ROLE_ADMIN',
  'ROLE_SUBADMIN',
  'CERT_ADMIN',
  'REPORT_ADMIN',
  'HELPDESK',
  'DASHBOARD',
] as const
export type Level = (typeof levels)[number]

/** The scope that holds every scope. */
export const everyScope = 'sp:scopes:all'

/** Who calls: one client and the identity that acts through it. */
export interface Caller {
  readonly clientId: string
  readonly clientName: string
  readonly identityId: string
  readonly identityName: string
  readonly level: Level
  readonly scopes: readonly string[]
  /** Ids (wire form) of the sources it is confined to; null means all. */
  readonly sourceIds: readonly string[] | null
}

/** Whether a caller may see and use a source. */
export function maySeeSource(caller: Caller, sourceId: string): boolean {
  return caller.sourceIds === null || caller.sourceIds.includes(sourceId)
}

/**
 * Why a caller may not use an endpoint, or null when it may: the level must be one of `allowedLevels`, and the token
 * must hold any one of `scopes`. `sp:scopes:all` holds every scope; an endpoint without scopes needs none.
 */
export function denial(
  caller: Pick<Caller, 'level' | 'scopes'>,
  allowedLevels: readonly Level[],
  scopes: readonly string[],
): string | null {
  if (!allowedLevels.includes(caller.level)) {
    return `The level ${caller.level} is not one of ${allowedLevels.join(', ')}.`
  }
  if (scopes.length === 0 || caller.scopes.includes(everyScope)) return null
  if (scopes.some((scope) => caller.scopes.includes(scope))) return null
  return `The token holds none of the scopes ${scopes.join(', ')}.`
}
