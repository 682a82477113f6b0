// The audit row of a change that a call made: who, what, and how it was before and after.
import { recordAudit } from '../store/audit.ts'
import type { AuditEntry } from '../store/audit.ts'
import type { Queryable } from '../store/database.ts'
import type { Call } from './route.ts'

/** What was changed. `type` is in capitals; a name that is null is left out. */
export interface ChangeTarget {
  readonly type: string
  readonly id: string
  readonly name: string | null
}

/** Writes the row, in the transaction of the change where there is one. `action` is in capitals, like SOURCE_UPDATED. */
export function recordChange(
  q: Queryable,
  call: Call,
  action: string,
  target: ChangeTarget,
  states: Pick<AuditEntry, 'before' | 'after' | 'detail'>,
): Promise<void> {
  return recordAudit(q, {
    action,
    outcome: 'success',
    caller: call.caller,
    targetType: target.type,
    targetId: target.id,
    ...(target.name === null ? {} : { targetName: target.name }),
    trackingId: call.trackingId,
    ...states,
  })
}
