// The wire model of an account (contract.md section 2.8), written as text around the attributes as they are stored.
import { Type } from 'typebox'
import { holdsAny } from '../store/account-entitlements.ts'
import type { AccountRecord } from '../store/account-list.ts'
import type { AccountSource } from '../store/account-sources.ts'
import { Instant, nullable, Reference } from './shapes.ts'

export const AccountModel = Type.Object(
  {
    id: Type.String(),
    name: nullable(Type.String()),
    created: Type.Optional(Instant),
    modified: Type.Optional(Instant),
    sourceId: Type.String(),
    sourceName: nullable(Type.String()),
    identityId: Type.Optional(Type.String({ description: 'Absent while uncorrelated.' })),
    cloudLifecycleState: nullable(Type.String()),
    identityState: nullable(Type.String()),
    connectionType: nullable(Type.String()),
    isMachine: Type.Boolean(),
    recommendation: Type.Null(),
    attributes: nullable(Type.Record(Type.String(), Type.Unknown())),
    authoritative: Type.Boolean(),
    description: nullable(Type.String()),
    disabled: Type.Boolean(),
    locked: Type.Boolean(),
    nativeIdentity: Type.String(),
    systemAccount: Type.Boolean(),
    uncorrelated: Type.Boolean(),
    uuid: nullable(Type.String()),
    manuallyCorrelated: Type.Boolean(),
    hasEntitlements: Type.Boolean(),
    identity: Type.Optional(Reference),
    sourceOwner: nullable(Reference),
    features: nullable(Type.String()),
    origin: nullable(Type.String()),
    ownerIdentity: Type.Null(),
  },
  { title: 'Account' },
)

/**
 * An account as JSON text. Its attributes go out as they are stored: parsing them would cost most of the time of a page,
 * round integers beyond 2^53, and lose a key named __proto__. `slim` leaves them out.
 */
export function accountText(
  account: AccountRecord,
  source: AccountSource | null,
  slim: boolean,
): string {
  const { identity } = account
  const rest = JSON.stringify({
    id: account.id,
    name: account.name,
    ...(account.created === null ? {} : { created: account.created }),
    ...(account.modified === null ? {} : { modified: account.modified }),
    sourceId: source?.id ?? '',
    sourceName: source?.name ?? null,
    ...(identity === null ? {} : { identityId: identity.id }),
    cloudLifecycleState: null,
    identityState: null,
    connectionType: source?.connectionType ?? null,
    isMachine: false,
    recommendation: null,
    authoritative: source?.authoritative ?? false,
    description: null,
    disabled: account.disabled,
    locked: account.locked,
    nativeIdentity: account.nativeIdentity,
    systemAccount: false,
    uncorrelated: identity === null,
    uuid: null,
    manuallyCorrelated: account.manuallyCorrelated,
    hasEntitlements: holdsAny(account.attributes, source?.entitlementAttributes ?? []),
    ...(identity === null
      ? {}
      : { identity: { type: 'IDENTITY', id: identity.id, name: identity.name } }),
    sourceOwner:
      source === null || source.owner === null ? null : { type: 'IDENTITY', ...source.owner },
    features: source === null || source.features.length === 0 ? null : source.features.join(', '),
    origin: 'AGGREGATED',
    ownerIdentity: null,
  })
  return `${rest.slice(0, -1)},"attributes":${slim ? 'null' : account.attributes}}`
}
