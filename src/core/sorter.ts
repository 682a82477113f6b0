// Sorters of collections: the query parameter `sorters`, a comma list of fields, each descending with a leading `-`.
import { RequestError } from './errors.ts'

/** One field to sort by. */
export interface Sorter {
  readonly field: string
  readonly descending: boolean
}

/** More sorters than this help nobody: each list has fewer fields that matter. */
export const sorterLimit = 10

/** Parses `sorters`. Throws `bad_request` for an empty item, a field named twice and more than `sorterLimit` fields. */
export function parseSorters(text: string): Sorter[] {
  const items = text.split(',', sorterLimit + 1)
  if (items.length > sorterLimit) {
    throw new RequestError('bad_request', `sorters has more than ${sorterLimit} fields.`)
  }
  const sorters: Sorter[] = []
  for (const [index, item] of items.entries()) {
    const trimmed = item.trim()
    const descending = trimmed.startsWith('-')
    const field = descending ? trimmed.slice(1).trimStart() : trimmed
    if (field === '') {
      throw new RequestError('bad_request', `sorters has no field name in item ${index + 1}.`, {
        hint: 'Write field names with commas between them, for example sorters=name,-created.',
      })
    }
    if (sorters.some((sorter) => sorter.field === field)) {
      throw new RequestError('bad_request', `sorters names "${cut(field)}" twice.`)
    }
    sorters.push({ field, descending })
  }
  return sorters
}

/** The error of a field that the list cannot be sorted by. */
export function unknownSorter(field: string, allowed: readonly string[]): RequestError {
  return new RequestError('bad_request', `This list cannot be sorted by "${cut(field)}".`, {
    hint: `Sort by ${allowed.join(', ')}.`,
  })
}

function cut(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}
