// The order of schemas that refer to each other: a reference can only be made to a schema that is there.
import type { SchemaConfiguration } from './configuration.ts'

/** The schemas, each behind those that its attributes refer to. Of a circle, which nothing can order, one comes first. */
export function inOrder(schemas: readonly SchemaConfiguration[]): readonly SchemaConfiguration[] {
  const ordered: SchemaConfiguration[] = []
  const seen = new Set<string>()
  const visit = (schema: SchemaConfiguration): void => {
    if (seen.has(schema.name)) return
    seen.add(schema.name)
    for (const next of referred(schema, schemas)) visit(next)
    ordered.push(schema)
  }
  for (const schema of schemas) visit(schema)
  return ordered
}

/** Whether the schema `from` refers to the schema `to`, or to one that does. */
export function leadsTo(
  schemas: readonly SchemaConfiguration[],
  from: string,
  to: string,
): boolean {
  const seen = new Set<string>()
  const visit = (schema: SchemaConfiguration): boolean => {
    if (seen.has(schema.name)) return false
    seen.add(schema.name)
    return referred(schema, schemas).some((next) => next.name === to || visit(next))
  }
  return schemas.some((schema) => schema.name === from && visit(schema))
}

function referred(
  schema: SchemaConfiguration,
  schemas: readonly SchemaConfiguration[],
): readonly SchemaConfiguration[] {
  const names = new Set(schema.attributes.map((one) => one.schema))
  return schemas.filter(({ name }) => names.has(name))
}
