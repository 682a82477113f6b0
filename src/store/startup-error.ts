// The error that ends a start on purpose: the store is not as this process needs it, and somebody has to decide something.

/** Why a start was refused. Scripts may rely on the codes; docs/reference/errors.md lists them. */
export type StartupErrorCode =
  | 'binaries_missing'
  | 'binaries_broken'
  | 'folder_unusable'
  | 'folder_locked'
  | 'cluster_unusable'
  | 'cluster_version'
  | 'server_did_not_start'
  | 'server_version'
  | 'schema_newer'
  | 'migration_changed'
  | 'migration_invalid'
  | 'master_key_invalid'
  | 'master_key_wrong'
  | 'secret_unreadable'

/** A refused start: `message` names the thing and the reason, `hint` the way out. Neither holds a secret. */
export class StartupError extends Error {
  readonly code: StartupErrorCode
  readonly hint: string

  constructor(
    code: StartupErrorCode,
    message: string,
    options: { readonly hint: string; readonly cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'StartupError'
    this.code = code
    this.hint = options.hint
  }
}

/** The `code` of a failed system call ('ENOENT', 'EROFS', …); undefined for every other error. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
