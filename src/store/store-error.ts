// The error that the store raises on purpose: folder, server, schema or secrets are not as this process needs them.

/** Why the store refused. Scripts may rely on the codes; docs/reference/errors.md lists them. */
export type StoreErrorCode =
  | 'binaries_missing'
  | 'binaries_broken'
  | 'folder_unusable'
  | 'folder_locked'
  | 'cluster_unusable'
  | 'cluster_version'
  | 'server_did_not_start'
  | 'server_version'
  | 'database_unusable'
  | 'schema_newer'
  | 'migration_changed'
  | 'migration_invalid'
  | 'migration_failed'
  | 'master_key_invalid'
  | 'master_key_wrong'
  | 'secret_unreadable'
  | 'backup_unknown'
  | 'backup_damaged'
  | 'backup_file'
  | 'nothing_to_back_up'
  | 'target_not_empty'

/** A refusal, mostly of a start, that somebody has to decide something about: `message` names the thing and the reason, `hint` the way out. Neither holds a secret. */
export class StoreError extends Error {
  readonly code: StoreErrorCode
  readonly hint: string

  constructor(
    code: StoreErrorCode,
    message: string,
    options: { readonly hint: string; readonly cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'StoreError'
    this.code = code
    this.hint = options.hint
  }
}

/** The `code` of a failed system call ('ENOENT', 'EROFS', …); undefined for every other error. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
