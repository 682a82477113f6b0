// Makes a plan of configuration true: source by source, so that one that fails leaves the others whole.
import {
  correlationName,
  type CurrentSource,
  readSource,
  type SchemaConfiguration,
  type SourceConfiguration,
} from './configuration.ts'
import { inOrder } from './configuration-order.ts'
import { planSource, type SourcePlan } from './configuration-plan.ts'
import type { Client } from './client.ts'
import type { NewSchema, Reference } from './models.ts'

/** Does what a plan says of a source. A new one that cannot be made whole is taken back; of an old one, what was done stays. */
export async function applySource(client: Client, plan: SourcePlan): Promise<void> {
  const { current, wanted } = plan
  if (wanted === null) {
    if (current === null) return
    const task = await client.sources.delete(current.id)
    const ended = await client.waitForTask(task.id)
    if (ended.completionStatus === 'SUCCESS') return
    throw new Error(`The source "${plan.name}" was not deleted: ${ended.messages[0]?.key ?? ''}`)
  }
  if (current === null) await create(client, wanted)
  else await update(client, current, wanted, plan)
}

async function create(client: Client, wanted: SourceConfiguration): Promise<void> {
  const { name, description, connector, type, authoritative, category, features } = wanted
  const { deleteThreshold, connectorAttributes, managerCorrelationMapping } = wanted
  const source = await client.sources.create({
    name,
    connector,
    authoritative,
    deleteThreshold,
    connectorAttributes,
    ...(type !== null && { type }),
    ...(description !== null && { description }),
    ...(category !== null && { category }),
    ...(managerCorrelationMapping !== null && { managerCorrelationMapping }),
    ...(features !== null && { features }),
  })
  try {
    // A new source has schemas of its kind; those that are not wanted go, because nobody has them yet.
    const current = await readSource(client, source)
    const plan = planSource(current, wanted, { prune: true, secrets: false }, 0)
    await update(client, current, wanted, plan)
  } catch (error) {
    await client.sources.delete(source.id).catch(() => undefined)
    throw error
  }
}

async function update(
  client: Client,
  current: CurrentSource,
  wanted: SourceConfiguration,
  plan: SourcePlan,
): Promise<void> {
  const { id } = current
  const { changes, patch } = plan
  if (patch.length > 0) await client.sources.patch(id, patch)
  await applySchemas(client, current, wanted.schemas ?? [], changes.schemas)
  if (changes.settings) {
    // What the server takes and refuses it says itself.
    await client.sources.updateSettings(id, wanted.settings)
  }
  // Behind the schemas, whose attributes it names.
  if (changes.correlation) {
    await client.sources.replaceCorrelationConfig(id, {
      name: correlationName(wanted.name),
      attributeAssignments: wanted.correlation,
    })
  }
}

async function applySchemas(
  client: Client,
  current: CurrentSource,
  wanted: readonly SchemaConfiguration[],
  changes: SourcePlan['changes']['schemas'],
): Promise<void> {
  const ids = new Map(current.schemas.map(({ name, id }) => [name, id]))
  // Schemas that others refer to are made first and removed last.
  for (const schema of inOrder(wanted)) {
    const body = bodyOf(schema, ids)
    if (changes.create.includes(schema.name)) {
      ids.set(schema.name, (await client.schemas.create(current.id, body)).id)
    } else if (changes.replace.includes(schema.name)) {
      const id = ids.get(schema.name) ?? ''
      await client.schemas.replace(current.id, { id, ...body })
    }
  }
  for (const { name } of inOrder(current.configuration.schemas ?? []).toReversed()) {
    if (!changes.delete.includes(name)) continue
    await client.schemas.delete(current.id, ids.get(name) ?? '')
  }
}

function bodyOf(schema: SchemaConfiguration, ids: ReadonlyMap<string, string>): NewSchema {
  const reference = (name: string): Reference => ({
    type: 'CONNECTOR_SCHEMA',
    id: ids.get(name) ?? '',
    name,
  })
  return {
    ...schema,
    hierarchyAttribute: schema.hierarchyAttribute === '' ? null : schema.hierarchyAttribute,
    attributes: schema.attributes.map((one) => ({
      ...one,
      schema: one.schema === null ? null : reference(one.schema),
    })),
  }
}
