// The fields that accounts are filtered and sorted by (contract.md section 2.8), as conditions that keep to id ranges.
import type { Condition, Filter } from '../core/filter.ts'
import { fromWireId } from '../core/id.ts'
import type { Sorter } from '../core/sorter.ts'
import { entitlementsFilter, hasEntitlements } from './account-entitlements.ts'
import { accountId } from './account-id.ts'
import { inSources } from './account-ranges.ts'
import type { AccountSource } from './account-sources.ts'
import { booleanOf, foldAscii, foldedText, parameter, textOf } from './filter-sql.ts'
import type { ListFields, Parameters } from './filter-sql.ts'

/** The tables of a list of accounts; the planner leaves out those that a statement does not touch. */
export const accountTables = `account a
  left join account_link l on l.account_id = a.id
  left join identity i on i.id = l.identity_id
  left join run created on created.number = coalesce(a.created_run, a.opened_run)
  left join run opened on opened.number = a.opened_run`

/** Joined only to sort by, because a source is otherwise a range of ids. */
export const sourceTable = ` left join source s
  on substring(uuid_send(s.id) from 1 for 6) = substring(uuid_send(a.id) from 1 for 6)
  left join identity o on o.id = s.owner_id`

/** Sorters that need the sources themselves, because each has entitlement attributes of its own. */
const entitlementSorters = ['hasEntitlements', 'entitlements']

/**
 * Whether an identity is correlated: it has an account of an authoritative source. Null while the account has no identity.
 */
const isCorrelated = `case when l.identity_id is not null then exists (
  select from account_link k join source z
    on substring(uuid_send(z.id) from 1 for 6) = substring(uuid_send(k.account_id) from 1 for 6)
  where k.identity_id = l.identity_id and z.authoritative and z.deleted_at is null) end`

/** Whether a filter speaks of things that only the sources know, so that `filterFields` needs them. */
export function needsSources(filter: Filter): boolean {
  switch (filter.kind) {
    case 'and':
    case 'or':
      return filter.items.some(needsSources)
    case 'not':
      return needsSources(filter.item)
    case 'compare':
    case 'list':
    case 'presence':
      return (
        filter.field === 'nativeIdentity' ||
        filter.field === 'hasEntitlements' ||
        filter.field === 'entitlements' ||
        filter.field.startsWith('source.') ||
        (filter.field === 'sourceId' && filter.op === 'sw')
      )
  }
}

/** The fields. `sources` are those that the caller may see, or fewer where the filter names them. */
export function accountFields(sources: readonly AccountSource[]): ListFields {
  const ofSources = (
    test: (source: AccountSource, value: string | boolean) => boolean,
  ): ((condition: Condition, parameters: Parameters) => string) => {
    return (condition, parameters) => {
      const values = valuesOf(condition)
      const fitting = sources.filter((source) => values.some((value) => test(source, value)))
      return inSources(
        fitting.map((source) => source.id),
        parameters,
      )
    }
  }
  return {
    id: { kind: 'id', sql: 'a.id', ops: ['eq', 'in', 'sw'], translate: ids },
    identityId: { kind: 'id', sql: 'l.identity_id', ops: ['eq', 'in', 'sw'] },
    name: { kind: 'text', sql: 'a.name', ops: ['eq', 'in', 'sw'] },
    nativeIdentity: {
      kind: 'exact',
      sql: 'a.native_identity',
      ops: ['eq', 'in', 'sw'],
      translate: (condition, parameters) => nativeIdentities(condition, sources, parameters),
    },
    sourceId: {
      kind: 'id',
      sql: 'a.id',
      ops: ['eq', 'in', 'sw'],
      translate: (condition, parameters) => {
        if (condition.op === 'sw') {
          return ofSources((source, value) => source.id.startsWith(String(value)))(
            condition,
            parameters,
          )
        }
        return inSources(wireIds(condition), parameters)
      },
    },
    hasEntitlements: {
      kind: 'boolean',
      sql: '',
      ops: ['eq'],
      translate: (condition, parameters) => {
        const has = hasEntitlements(sources, parameters)
        return valuesOf(condition)[0] === true ? has : `not ${has}`
      },
    },
    entitlements: {
      kind: 'text',
      sql: '',
      ops: ['eq'],
      translate: (condition, parameters) => entitlementsFilter(condition, sources, parameters),
    },
    uncorrelated: {
      kind: 'boolean',
      sql: '',
      ops: ['eq'],
      // Spelled out, because the planner knows how to join for it only in this form.
      translate: (condition) =>
        valuesOf(condition)[0] === true ? 'l.account_id is null' : 'l.account_id is not null',
    },
    manuallyCorrelated: {
      kind: 'boolean',
      sql: `coalesce(l.match = 'manual', false)`,
      ops: ['eq'],
    },
    'identity.name': { kind: 'text', sql: 'i.name', ops: ['eq', 'in', 'sw'] },
    'identity.correlated': { kind: 'boolean', sql: `(${isCorrelated})`, ops: ['eq'] },
    'identity.identityState': { kind: 'text', sql: 'null::text', ops: ['eq', 'in'] },
    'source.displayableName': {
      kind: 'text',
      sql: '',
      ops: ['eq', 'in'],
      translate: ofSources(
        (source, value) => source.name.toLowerCase() === String(value).toLowerCase(),
      ),
    },
    'source.authoritative': {
      kind: 'boolean',
      sql: '',
      ops: ['eq'],
      translate: ofSources((source, value) => source.authoritative === value),
    },
    'source.connectionType': {
      kind: 'text',
      sql: '',
      ops: ['eq', 'in'],
      translate: ofSources((source, value) => source.connectionType === foldAscii(String(value))),
    },
    origin: { kind: 'text', sql: `'AGGREGATED'::text`, ops: ['eq', 'in'] },
    'recommendation.method': { kind: 'text', sql: 'null::text', ops: ['eq', 'in', 'isnull'] },
    'recommendation.type': { kind: 'text', sql: 'null::text', ops: ['eq', 'in', 'isnull'] },
    created: { kind: 'date', sql: 'created.applied_at', ops: ['eq', 'ge', 'gt', 'le', 'lt'] },
    modified: { kind: 'date', sql: 'opened.applied_at', ops: ['eq', 'ge', 'gt', 'le', 'lt'] },
  }
}

/** Whether these sorters need the sources of the list. */
export function sortersNeedSources(sorters: readonly Sorter[]): boolean {
  return sorters.some((sorter) => entitlementSorters.includes(sorter.field))
}

/** Whether these sorters need `sourceTable`. */
export function sortersNeedSourceTable(sorters: readonly Sorter[]): boolean {
  return sorters.some((sorter) => /^source(Owner)?\./.test(sorter.field))
}

/** The columns that accounts are sorted by. `sources` are those that the caller may see, where they are needed. */
export function accountSorters(
  sorters: readonly Sorter[],
  sources: readonly AccountSource[],
  parameters: Parameters,
): Readonly<Record<string, string>> {
  // Made only where it is asked for: its values are parameters.
  const has = sortersNeedSources(sorters) ? hasEntitlements(sources, parameters) : 'false'
  const [only] = sorters
  return {
    id: 'a.id',
    name: foldedText('a.name'),
    created: 'created.applied_at',
    modified: 'opened.applied_at',
    // Ids begin with their source, so the order by source alone is that of the primary key.
    sourceId:
      sorters.length === 1 && only?.field === 'sourceId'
        ? 'a.id'
        : 'substring(uuid_send(a.id) from 1 for 6)',
    identityId: 'l.identity_id',
    nativeIdentity: 'a.native_identity',
    uuid: 'null::text',
    manuallyCorrelated: `coalesce(l.match = 'manual', false)`,
    hasEntitlements: has,
    entitlements: has,
    origin: `'AGGREGATED'::text`,
    'identity.name': foldedText('i.name'),
    'identity.correlated': isCorrelated,
    'identity.identityState': 'null::text',
    'source.displayableName': foldedText('s.name'),
    'source.authoritative': 's.authoritative',
    'source.connectionType': foldedText('s.connection_type'),
    'sourceOwner.name': foldedText('o.name'),
  }
}

/** The ids that a condition on `sourceId` or `id` names; what is no id names nothing. */
export function wireIds(condition: Condition): string[] {
  return valuesOf(condition)
    .map(String)
    .filter((value) => /^[0-9a-f]{32}$/.test(value))
}

function valuesOf(condition: Condition): (string | boolean)[] {
  const { field } = condition
  if (condition.kind === 'presence') return []
  const values = condition.kind === 'compare' ? [condition.value] : condition.values
  return values.map((value) =>
    field === 'source.authoritative' || field === 'hasEntitlements' || field === 'uncorrelated'
      ? booleanOf(value, field)
      : textOf(value, field),
  )
}

function ids(condition: Condition, parameters: Parameters): string {
  if (condition.op !== 'sw') {
    return `a.id = any(${parameter(parameters, wireIds(condition).map(fromWireId), 'uuid[]')})`
  }
  const [prefix = ''] = valuesOf(condition).map(String)
  if (!/^[0-9a-f]{0,32}$/.test(prefix)) return 'false'
  const low = parameter(parameters, fromWireId(prefix.padEnd(32, '0')), 'uuid')
  const high = parameter(parameters, fromWireId(prefix.padEnd(32, 'f')), 'uuid')
  return `(a.id >= ${low} and a.id <= ${high})`
}

/**
 * The id of an account is made of its source and its native identity, so the ids that the value may have are known:
 * one for each source. Only sources whose ids are made of something else are searched.
 */
function nativeIdentities(
  condition: Condition,
  sources: readonly AccountSource[],
  parameters: Parameters,
): string {
  const values = valuesOf(condition).map(String)
  if (condition.op === 'sw') {
    return `starts_with(a.native_identity, ${parameter(parameters, values[0] ?? '', 'text')})`
  }
  const derived = sources
    .filter((source) => source.keyedByNativeIdentity)
    .flatMap((source) => values.map((value) => fromWireId(accountId(source.id, value))))
  const others = sources.filter((source) => !source.keyedByNativeIdentity)
  const places = [`a.id = any(${parameter(parameters, derived, 'uuid[]')})`]
  if (others.length > 0) {
    places.push(
      inSources(
        others.map((source) => source.id),
        parameters,
      ),
    )
  }
  return `((${places.join(' or ')}) and a.native_identity = any(${parameter(parameters, values, 'text[]')}))`
}
