// How accounts of a source find their identities (contract.md section 2.4): attribute assignments, checked before they are kept.
import { RequestError } from './errors.ts'

/** Where in the identity attribute the value stands. */
export const matchModes = ['ANYWHERE', 'START', 'END'] as const
export type MatchMode = (typeof matchModes)[number]

/** An account fits an identity whose attribute `property` equals the attribute `value` of the account. */
export interface AttributeAssignment {
  /** The identity attribute. */
  readonly property: string
  /** The account attribute. */
  readonly value: string
  readonly operation: 'EQ'
  readonly complex: boolean
  readonly ignoreCase: boolean
  readonly matchMode: MatchMode
  readonly filterString: string
}

/** The configuration of a source. Assignments are tried in their order. */
export interface CorrelationConfig {
  readonly id: string
  /** Null is the name that follows from that of the source. */
  readonly name: string | null
  readonly assignments: readonly AttributeAssignment[]
}

/** What a client says of an assignment, shape and lengths checked; `sequence` is that of `/beta`. */
export interface GivenAssignment {
  readonly sequence?: number | null
  readonly property: string
  readonly value: string
  readonly operation?: 'EQ' | null
  readonly complex?: boolean | null
  readonly ignoreCase?: boolean | null
  readonly matchMode?: MatchMode | null
  readonly filterString?: string | null
}

/** The name of a configuration that has none of its own. */
export function correlationConfigName(sourceName: string): string {
  return `Source [${sourceName}] Account Correlation`
}

/**
 * The assignments as they are kept: in the order of `sequence` where it is given, with every default. `accountAttributes`
 * are the names of the account schema, and those that are kept already, so that what was read may be sent back. Throws `bad_request` for a blank name, an attribute that accounts of the source
 * do not have, and the same pair of attributes twice.
 */
export function checkedAssignments(
  given: readonly GivenAssignment[],
  accountAttributes: readonly string[],
): AttributeAssignment[] {
  const known = new Set(accountAttributes)
  const seen = new Set<string>()
  for (const [index, { property, value }] of given.entries()) {
    const place = `attributeAssignments[${index}]`
    if (property.trim() === '') {
      throw new RequestError('bad_request', `${place}.property is blank.`, {
        hint: 'Name an attribute of identities, for example "email".',
      })
    }
    if (!known.has(value)) {
      throw new RequestError(
        'bad_request',
        `${place}.value names "${value}", which is no attribute of the account schema of this source.`,
        { hint: 'Add the attribute to the account schema, or name one that it has.' },
      )
    }
    const pair = JSON.stringify([property.trim(), value])
    if (seen.has(pair)) {
      throw new RequestError(
        'bad_request',
        `${place} assigns "${value}" to "${property.trim()}" once more.`,
      )
    }
    seen.add(pair)
  }
  return inSequence(given).map((assignment) => ({
    property: assignment.property.trim(),
    value: assignment.value,
    operation: 'EQ',
    complex: assignment.complex ?? false,
    ignoreCase: assignment.ignoreCase ?? false,
    matchMode: assignment.matchMode ?? 'ANYWHERE',
    filterString: assignment.filterString ?? '',
  }))
}

/** Without a sequence an assignment keeps the place of its list, counted from 1. */
function inSequence(given: readonly GivenAssignment[]): GivenAssignment[] {
  return given
    .map((assignment, index) => ({ assignment, place: assignment.sequence ?? index + 1 }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ assignment }) => assignment)
}
