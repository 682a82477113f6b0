// Configuration as the YAML that `muster export` writes: the same text for the same configuration.
import {
  defaultAssignment,
  defaultAttribute,
  defaultSchema,
  defaultSettings,
  defaultThreshold,
  sameJson,
  type SourceConfiguration,
} from '../client/configuration.ts'
import { yaml } from './environments.ts'

/** The version of the form. */
export const fileVersion = 1
/** A text that is a variable of the environment, or one with a dollar more that stands for itself. */
export const variablePattern = /^(\$+)(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))$/

/** Writes configurations as YAML: the same text for the same configuration, and nothing that is as it is unless set. */
export function writeConfiguration(sources: readonly SourceConfiguration[]): string {
  const head =
    '# Configuration of Muster: `muster apply <file>` makes a server be so. Secrets are masked; write ${NAME} to\n' +
    '# give one in an environment variable. Accounts, clients and tokens are not in it.\n'
  const options = { lineWidth: 0, aliasDuplicateObjects: false }
  return head + yaml().stringify(configurationValue(sources), options)
}

/** The same as a value, for a form that is read as YAML is. */
export function configurationValue(sources: readonly SourceConfiguration[]): object {
  return { version: fileVersion, sources: sources.map(compactSource) }
}

/** The members that say something: not those that equal their default. */
function compact(value: object, defaults: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).filter(
      ([key, item]) => !Object.hasOwn(defaults, key) || !sameJson(item, Reflect.get(defaults, key)),
    ),
  )
}

function compactSource(source: SourceConfiguration): object {
  const { connectorAttributes, settings, correlation, schemas, ...members } = source
  const rest = { settings: compact(settings, defaultSettings) }
  return {
    ...compact(members, {
      description: null,
      type: null,
      authoritative: false,
      deleteThreshold: defaultThreshold,
      category: null,
      managerCorrelationMapping: null,
      features: null,
    }),
    ...compact(
      { connectorAttributes: escaped(connectorAttributes), ...rest },
      { connectorAttributes: {}, settings: {} },
    ),
    ...compact(
      { correlation: correlation.map((one) => compact(one, defaultAssignment)) },
      { correlation: [] },
    ),
    ...(schemas !== null && {
      schemas: schemas.map((schema) => ({
        ...compact(schema, defaultSchema),
        attributes: schema.attributes.map((one) => compact(one, defaultAttribute)),
      })),
    }),
  }
}

/** Texts that look like a variable get one dollar more. */
function escaped(value: unknown): unknown {
  if (typeof value === 'string') return variablePattern.test(value) ? `$${value}` : value
  if (Array.isArray(value)) return value.map(escaped)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]: [string, unknown]) => [key, escaped(item)]),
  )
}
