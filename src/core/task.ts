// Tasks: their states, and how ISC clients see them (contract.md sections 1.2, 2.6, 2.7 and 8.16).

export const taskStates = [
  'queued',
  'collecting',
  'planned',
  'held',
  'applying',
  'completed',
  'refused',
  'failed',
  'cancelled',
] as const
export type TaskState = (typeof taskStates)[number]

/** How a task ended, in the words of `TaskStatus`; `LoadAccountsTask` writes TEMP_ERROR. */
export const completionStatuses = [
  'SUCCESS',
  'WARNING',
  'ERROR',
  'TERMINATED',
  'TEMPERROR',
] as const
export type CompletionStatus = (typeof completionStatuses)[number]

/** The kinds of task that Muster makes, by the constant that the filter `type` of task-status takes. */
export const taskTypes = {
  CLOUD_ACCOUNT_AGGREGATION: {
    name: 'Cloud Account Aggregation',
    description: 'Aggregates from the specified application.',
  },
  ACCOUNT_DELETION: {
    name: 'Cloud Account Deletion',
    description: 'Removes the accounts of the specified application.',
  },
} as const
export type TaskType = keyof typeof taskTypes

/** Something a task has to say. `key` is a whole sentence: clients show it as it is. */
export interface TaskMessage {
  readonly type: 'INFO' | 'WARN' | 'ERROR'
  readonly key: string
  readonly parameters?: readonly (string | number)[]
}

/** A task as it is kept. `attributes` holds counters and facts under the names that clients read. */
export interface Task {
  readonly id: string
  readonly number: number
  readonly type: TaskType
  readonly state: TaskState
  readonly sourceId: string | null
  readonly sourceName: string | null
  readonly launcher: string
  readonly launcherId: string | null
  readonly clientId: string | null
  readonly completionStatus: CompletionStatus | null
  readonly messages: readonly TaskMessage[]
  readonly attributes: Readonly<Record<string, unknown>>
  readonly progress: string | null
  readonly percentComplete: number
  readonly attempt: number
  readonly cancelBy: string | null
  readonly created: string
  readonly launched: string | null
  readonly completed: string | null
  readonly modified: string
}

/** Whether a task in this state has ended for good. */
export function isTerminal(state: TaskState): boolean {
  return state === 'completed' || state === 'refused' || state === 'failed' || state === 'cancelled'
}

export type AggregationStatus =
  | 'STARTED'
  | 'ACCOUNTS_COLLECTED'
  | 'COMPLETED'
  | 'CANCELLED'
  | 'TERMINATED'

/** What `account-aggregations/{id}/status` shows for a state (contract.md section 8.16). */
export function aggregationStatus(state: TaskState): AggregationStatus {
  switch (state) {
    case 'queued':
    case 'collecting':
      return 'STARTED'
    case 'planned':
    case 'held':
    case 'applying':
      return 'ACCOUNTS_COLLECTED'
    case 'completed':
    case 'refused':
      return 'COMPLETED'
    case 'failed':
      return 'TERMINATED'
    case 'cancelled':
      return 'CANCELLED'
  }
}

const out = 'TASK_OUT_ACCOUNT_AGGREGATION'

/** The 28 `returns` of an account aggregation in their order (contract.md section 1.3): attribute name and label. */
export const aggregationReturns: readonly (readonly [attributeName: string, label: string])[] = [
  ['applications', `${out}_APPLICATIONS`],
  ['total', `${out}_TOTAL`],
  ['optimizedAggregation', `${out}_OPTIMIZED`],
  ['ignored', `${out}_IGNORED`],
  ['optimized', 'TASK_OUT_UNCHANGED_ACCOUNTS'],
  ['created', `${out}_CREATED`],
  ['updated', `${out}_UPDATED`],
  ['deleted', `${out}_DELETED`],
  ['managerChanges', `${out}_MANAGER_CHANGES`],
  ['detectedRoleChanges', `${out}_BUSINESS_ROLE_CHANGES`],
  ['exceptionChanges', `${out}_EXCEPTION_CHANGES`],
  ['policies', `${out}_POLICIES`],
  ['policyViolations', `${out}_POLICY_VIOLATIONS`],
  ['policyNotifications', `${out}_POLICY_NOTIFICATIONS`],
  ['scoresChanged', `${out}_SCORES_CHANGED`],
  ['snapshotsCreated', `${out}_SNAPSHOTS_CREATED`],
  ['scopesCreated', `${out}_SCOPES_CREATED`],
  ['scopesCorrelated', `${out}_SCOPES_CORRELATED`],
  ['scopesSelected', `${out}_SCOPES_SELECTED`],
  ['scopesDormant', `${out}_SCOPES_DORMANT`],
  ['unscopedIdentities', `${out}_UNSCOPED_IDENTITIES`],
  ['certificationsCreated', `${out}_CERTIFICATIONS_CREATED`],
  ['certificationsDeleted', `${out}_CERTIFICATIONS_DELETED`],
  ['applicationsGenerated', `${out}_APPLICATIONS_GENERATED`],
  ['managedAttributesCreated', `${out}_MANAGED_ATTRIBUTES_PROMOTED`],
  ['managedAttributesCreatedByApplication', `${out}_MANAGED_ATTRIBUTES_PROMOTED_BY_APP`],
  ['identityEntitlementsCreated', `${out}_IDENTITYENTITLEMENTS_CREATED`],
  ['groupsCreated', `${out}_GROUPS_CREATED`],
]

/** What a second run on a busy source says (contract.md section 1.4). */
export const busyMessage =
  'This aggregation failed because the currently running aggregation must complete before the next one can start.'
