// What a SCIM server says that it can do (/ServiceProviderConfig).
import { RunError } from '../core/errors.ts'
import type { ScimClient } from './scim-client.ts'
import { ScimRefused } from './scim-errors.ts'
import { isJsonObject, lookUp, type JsonObject } from './scim-json.ts'
import type { ScimSettings } from './scim-settings.ts'

/** What matters to a reader. */
export interface ScimConfig {
  /** Whether the server gave its configuration at all. */
  readonly known: boolean
  readonly filters: boolean
  /** Whether it pages by cursor and does not rather page by index. */
  readonly pagesByCursor: boolean
  /** The largest page that it gives by its own account. */
  readonly maxPageSize: number | null
}

const unknownConfig: ScimConfig = {
  known: false,
  filters: false,
  pagesByCursor: false,
  maxPageSize: null,
}

/** The configuration. A server that has none, or shows it to nobody, is believed to do the least. */
export async function readConfig(client: ScimClient, signal: AbortSignal): Promise<ScimConfig> {
  try {
    const query = new URLSearchParams()
    const { body } = await client.get('/ServiceProviderConfig', query, signal)
    if (!isJsonObject(body)) return unknownConfig
    const pagination = inner(body, 'pagination')
    const largest = Number(lookUp(pagination, 'maxPageSize') ?? Number.NaN)
    return {
      known: true,
      filters: lookUp(inner(body, 'filter'), 'supported') === true,
      pagesByCursor:
        lookUp(pagination, 'cursor') === true &&
        lookUp(pagination, 'defaultPaginationMethod') !== 'index',
      maxPageSize: Number.isInteger(largest) && largest > 0 ? largest : null,
    }
  } catch (error) {
    if (isAbsence(error)) return unknownConfig
    throw error
  }
}

/** How lists are paged. */
export function chooseMethod(settings: ScimSettings, config: ScimConfig): 'index' | 'cursor' {
  if (settings.pagination !== 'auto') return settings.pagination
  return config.pagesByCursor ? 'cursor' : 'index'
}

/** Whether an error says that something is not there, and nothing worse. */
export function isAbsence(error: unknown): boolean {
  if (error instanceof ScimRefused) return [400, 403, 404, 405, 501].includes(error.status)
  return error instanceof RunError && error.code === 'not_scim'
}

function inner(object: JsonObject, name: string): JsonObject {
  const value = lookUp(object, name)
  return isJsonObject(value) ? value : {}
}
