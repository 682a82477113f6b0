// Checks query and body against the TypeBox schema of a route, and says what is wrong in one sentence.
import type { FastifySchemaCompiler } from 'fastify'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { RequestError } from '../core/errors.ts'

type Check = (value: unknown) => { value: unknown } | { error: Error }

interface Fault {
  readonly keyword: string
  readonly instancePath: string
  readonly message: string
  readonly params: object
}

// A route is registered under up to six prefixes; its schema is compiled once.
const compiled = new WeakMap<TSchema, Map<string, Check>>()

/**
 * Query values are text, so they are converted to the type of the schema. A body is never converted: null would become
 * an empty string and "10" a number, and the caller would not learn of its mistake.
 */
export const compileValidator: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const part = httpPart ?? 'body'
  const checks = compiled.get(schema) ?? new Map<string, Check>()
  compiled.set(schema, checks)
  const known = checks.get(part)
  if (known !== undefined) return known
  const validator = Compile(schema)
  const check: Check = (given) => {
    const value = part === 'body' ? given : convertQuery(schema, given)
    if (validator.Check(value)) return { value }
    return { error: new RequestError('bad_request', describeFault(part, validator.Errors(value))) }
  }
  checks.set(part, check)
  return check
}

/**
 * Text → number and boolean where the schema wants one, and the defaults of what is absent. TypeBox's own conversion
 * reads an empty `limit=` as 0 and 5.5 as 5; here they stay text and are refused.
 */
function convertQuery(schema: TSchema, given: unknown): unknown {
  if (given === null || typeof given !== 'object') return given
  const converted: Record<string, unknown> = { ...given }
  const properties: unknown = Reflect.get(schema, 'properties')
  if (properties === null || typeof properties !== 'object') return converted
  for (const [name, property] of Object.entries(properties)) {
    const value = converted[name]
    if (value === undefined) {
      const preset: unknown = Reflect.get(property, 'default')
      if (preset !== undefined) converted[name] = preset
    } else if (typeof value === 'string') {
      converted[name] = convertText(value, Reflect.get(property, 'type'))
    }
  }
  return converted
}

function convertText(text: string, type: unknown): unknown {
  if (type === 'integer' && /^-?\d{1,15}$/.test(text)) return Number(text)
  if (type === 'number' && /^-?\d{1,15}(\.\d{1,15})?$/.test(text)) return Number(text)
  if (type === 'boolean' && /^(true|false)$/i.test(text)) return text.toLowerCase() === 'true'
  return text
}

function describeFault(part: string, faults: readonly Fault[]): string {
  const place = part === 'querystring' ? 'query' : part
  // A failed union lists each of its members first; the union itself comes last and tells the whole.
  const fault = faults.findLast((one) => one.keyword === 'anyOf') ?? faults[0]
  if (fault === undefined) return `The ${place} is not as it should be.`
  const allowed = faults
    .filter((one) => one.keyword === 'const' && one.instancePath === fault.instancePath)
    .map((one) => String(Reflect.get(one.params, 'allowedValue')))
  const says = allowed.length > 0 ? `must be one of ${allowed.join(', ')}` : fault.message
  return `The value ${place}${fault.instancePath.replaceAll('/', '.')} ${says}.`
}
