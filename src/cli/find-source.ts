// A source by what a person calls it: its id or its name.
import { ApiError } from '../client/index.ts'
import type { Client, Source } from '../client/index.ts'
import { CliError, exitCodes } from './exit-code.ts'

/** All sources that the caller may see, by name. */
export async function allSources(client: Client): Promise<readonly Source[]> {
  const sources: Source[] = []
  for (let offset = 0; ; offset += 250) {
    const { items } = await client.sources.list({ limit: 250, offset, sorters: 'name' })
    sources.push(...items)
    if (items.length < 250) return sources
  }
}

/** Finds a source by id or by name; names are compared without regard to case, an exact one wins. */
export async function findSource(client: Client, nameOrId: string): Promise<Source> {
  if (/^[0-9a-f]{32}$/i.test(nameOrId)) {
    const byId = await client.sources.get(nameOrId.toLowerCase()).catch((error: unknown) => {
      if (error instanceof ApiError && error.status === 404) return null
      throw error
    })
    if (byId !== null) return byId
  }
  const quoted = nameOrId.replaceAll('\\', '\\\\').replaceAll('"', String.raw`\"`)
  const { items } = await client.sources.list({ filters: `name eq "${quoted}"` })
  const exact = items.filter(({ name }) => name === nameOrId)
  const found = exact.length > 0 ? exact : items
  const [source] = found
  if (source === undefined) {
    throw new CliError(
      exitCodes.notFound,
      `There is no source named "${nameOrId}".`,
      '`muster source list` shows what there is.',
    )
  }
  if (found.length > 1) {
    throw new CliError(
      exitCodes.usage,
      `There are ${found.length} sources named "${nameOrId}".`,
      `Use an id: ${found.map(({ id }) => id).join(', ')}.`,
    )
  }
  return source
}
