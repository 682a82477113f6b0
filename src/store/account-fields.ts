// The fields that accounts are filtered and sorted by (contract.md section 2.8), as conditions that keep to id ranges.
import type { Condition, Filter } from '../core/filter.ts'
import { fromWireId } from '../core/id.ts'
import { accountId } from './account-id.ts'
import type { AccountSource } from './account-sources.ts'
import { booleanOf, foldAscii, foldedText, parameter, textOf } from './filter-sql.ts'
import type { ListFields, Parameters } from './filter-sql.ts'
import { accountRange } from './names.ts'

/** The tables of a list of accounts; the planner leaves out those that a statement does not touch. */
export const accountTables = `account a
  left join account_link l on l.account_id = a.id
  left join identity i on i.id = l.identity_id
  left join run created on created.number = coalesce(a.created_run, a.opened_run)
  left join run opened on opened.number = a.opened_run`

/** Joined only to sort by, because a source is otherwise a range of ids. */
export const sourceTable = ` left join source s
  on substring(uuid_send(s.id) from 1 for 6) = substring(uuid_send(a.id) from 1 for 6)`

/**
 * Accounts of these sources, as ranges of their ids: so the other partitions are not even looked at, and the primary key
 * gives the order. A join with `source` would hide the range from the planner.
 */
export function inSources(sourceIds: readonly string[], parameters: Parameters): string {
  const ranges = sourceIds.map((id) => {
    const { low, high } = accountRange(id)
    return between(low, high, parameters)
  })
  return ranges.length === 0 ? 'false' : `(${ranges.join(' or ')})`
}

function between(low: string, high: string, parameters: Parameters): string {
  return `(a.id >= ${parameter(parameters, low, 'uuid')} and a.id < ${parameter(parameters, high, 'uuid')})`
}

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
      translate: (condition, parameters) => hasEntitlements(condition, sources, parameters),
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

/** The columns that accounts are sorted by; those of the source need `sourceTable`. */
export const accountSorters: Readonly<Record<string, string>> = {
  id: 'a.id',
  name: foldedText('a.name'),
  created: 'created.applied_at',
  modified: 'opened.applied_at',
  sourceId: 'substring(uuid_send(a.id) from 1 for 6)',
  identityId: 'l.identity_id',
  nativeIdentity: 'a.native_identity',
  uuid: 'null::text',
  manuallyCorrelated: `coalesce(l.match = 'manual', false)`,
  origin: `'AGGREGATED'::text`,
  'identity.name': foldedText('i.name'),
  'identity.identityState': 'null::text',
  'source.displayableName': foldedText('s.name'),
  'source.authoritative': 's.authoritative',
  'source.connectionType': foldedText('s.connection_type'),
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

/**
 * Whether an account has a value of an entitlement attribute. Attributes are canonical JSON, in which a blank attribute
 * has no key and a quote inside a string is escaped; so the key with its quotes and colon is there or it is not, and
 * nothing has to be parsed for it.
 */
function hasEntitlements(
  condition: Condition,
  sources: readonly AccountSource[],
  parameters: Parameters,
): string {
  const wanted = valuesOf(condition)[0] === true
  const parts = sources
    .filter((source) => source.entitlementAttributes.length > 0)
    .map((source) => {
      const keys = source.entitlementAttributes.map((name) => hasKey(name, parameters))
      return `(${inSources([source.id], parameters)} and (${keys.join(' or ')}))`
    })
  const any = parts.length === 0 ? 'false' : `(${parts.join(' or ')})`
  return wanted ? any : `(${any} is not true)`
}

function hasKey(name: string, parameters: Parameters): string {
  const tests = keyTexts(name).map((text) => {
    const place = parameter(parameters, text, 'text')
    return `(strpos(a.attributes, ${place}) > 0 and strpos(a.attributes, ${place} || 'null') = 0)`
  })
  return tests.join(' or ')
}

/** How the key of an attribute stands in canonical JSON: as the first key or as a later one. */
function keyTexts(name: string): [string, string] {
  const key = `${JSON.stringify(name)}:`
  return [`{${key}`, `,${key}`]
}

/** Whether canonical JSON holds a value of any of these attributes; the same rule as `hasEntitlements` has in SQL. */
export function holdsAny(attributes: string, names: readonly string[]): boolean {
  return names.some((name) =>
    keyTexts(name).some((text) => attributes.includes(text) && !attributes.includes(`${text}null`)),
  )
}
