// What every list has in common: paging, filters, sorters and the header with the total (contract.md section 2.1).
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { RequestError } from '../core/errors.ts'
import { parseFilter } from '../core/filter.ts'
import type { Filter } from '../core/filter.ts'
import { parseSorters } from '../core/sorter.ts'
import type { Sorter } from '../core/sorter.ts'

/** Which rows of a list are asked for. */
export interface Page {
  readonly limit: number
  readonly offset: number
  /** Whether the total goes into the header X-Total-Count. */
  readonly count: boolean
  readonly filter: Filter | null
  readonly sorters: readonly Sorter[]
}

const limitMax = 250
const offsetMax = 2_147_483_647

const pagingMembers = {
  limit: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: limitMax,
      default: limitMax,
      description: 'How many rows at most, 0 to 250.',
    }),
  ),
  offset: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: offsetMax,
      default: 0,
      description: 'How many rows are skipped.',
    }),
  ),
  count: Type.Optional(
    Type.Boolean({
      default: false,
      description: 'Whether the header X-Total-Count tells how many rows fit.',
    }),
  ),
}

/** The query of a list that is only paged. */
export const PagingQuery = Type.Object(pagingMembers)

/** The query of a list that is filtered and sorted too; unknown parameters are ignored. */
export const CollectionQuery = Type.Object({
  ...pagingMembers,
  filters: Type.Optional(
    Type.String({
      description: 'A filter, for example name sw "HR". See docs/reference/filters.md.',
    }),
  ),
  sorters: Type.Optional(
    Type.String({ description: 'Fields with commas between them; a leading - is descending.' }),
  ),
})

/** Reads the query of a list. Throws `bad_request` or `bad_filter` for a value that is not in the contract. */
export function readPage(request: FastifyRequest): Page {
  const filters = queryText(request, 'filters')
  const sorters = queryText(request, 'sorters')
  return {
    limit: queryNumber(request, 'limit', limitMax, limitMax),
    offset: queryNumber(request, 'offset', offsetMax, 0),
    count: queryFlag(request, 'count') ?? false,
    filter: filters === null || filters.trim() === '' ? null : parseFilter(filters),
    sorters: sorters === null || sorters.trim() === '' ? [] : parseSorters(sorters),
  }
}

/** Sets X-Total-Count when it was asked for; `total` is not asked otherwise. */
export async function sendTotal(
  reply: FastifyReply,
  page: Page,
  total: () => Promise<number>,
): Promise<void> {
  if (page.count) reply.header('X-Total-Count', String(await total()))
}

/** A query parameter as text; null when it is not given. Throws `bad_request` when it is given twice. */
export function queryText(request: FastifyRequest, name: string): string | null {
  const value = queryValue(request, name)
  if (value === undefined) return null
  if (typeof value === 'string') return value
  throw new RequestError('bad_request', `The query parameter ${name} must be given once.`)
}

/** A query parameter that is true or false; null when it is not given. */
export function queryFlag(request: FastifyRequest, name: string): boolean | null {
  const value = queryValue(request, name)
  if (value === undefined || value === '') return null
  if (typeof value === 'boolean') return value
  if (value === 'true' || value === 'false') return value === 'true'
  throw new RequestError('bad_request', `The query parameter ${name} must be true or false.`)
}

function queryNumber(
  request: FastifyRequest,
  name: string,
  maximum: number,
  preset: number,
): number {
  const given = queryValue(request, name)
  if (given === undefined) return preset
  const value = typeof given === 'string' && /^\d{1,10}$/.test(given) ? Number(given) : given
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= maximum) {
    return value
  }
  throw new RequestError(
    'bad_request',
    `The query parameter ${name} must be a whole number from 0 to ${maximum}.`,
  )
}

function queryValue(request: FastifyRequest, name: string): unknown {
  const query: unknown = request.query
  if (typeof query !== 'object' || query === null || !Object.hasOwn(query, name)) return undefined
  return Reflect.get(query, name)
}
