// Every answer of every operation under every prefix is what our own OpenAPI document says of it: no key more, none less.
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { Compile } from 'typebox/schema'
import { prefixed, prefixes, tour } from './tour.ts'
import type { Exchange } from './tour.ts'
import { json } from './wire.ts'

const target = inject('target')
let document: Document
let exchanges: Exchange[]

/** As much of a JSON Schema as is looked at here. */
type Schema = Readonly<Record<string, unknown>>

interface Operation {
  readonly operationId: string
  readonly deprecated?: boolean
  readonly responses: Record<
    string,
    { readonly content?: Record<string, { readonly schema?: Schema }> }
  >
}

interface Document {
  readonly paths: Record<string, Record<string, Operation>>
  readonly components: Readonly<Record<string, unknown>>
}

beforeAll(async () => {
  const answer = await fetch(`${target.url}/docs/json`)
  document = (await answer.json()) as Document
  exchanges = await tour(target)
}, 300_000)

/** The operations of the versioned API: `GET /beta/sources/{id}`. */
function operations(): Map<string, Operation> {
  const found = new Map<string, Operation>()
  for (const [path, methods] of Object.entries(document.paths)) {
    if (/^\/(oauth|health|metrics|docs)\b/.test(path)) continue
    for (const [method, operation] of Object.entries(methods)) {
      found.set(`${method.toUpperCase()} ${path}`, operation)
    }
  }
  return found
}

/** The same schema, in which an object has no keys but those that it names. */
function strict(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(strict)
  if (typeof schema !== 'object' || schema === null) return schema
  const copy = Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [
      key,
      // Under these a key is the name of a property, not a word of the language.
      key === 'properties' && typeof value === 'object' && value !== null
        ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, strict(one)]))
        : strict(value),
    ]),
  )
  const isOpen =
    !('properties' in copy) || 'additionalProperties' in copy || 'patternProperties' in copy
  return isOpen ? copy : { ...copy, additionalProperties: false }
}

/** What is wrong with an answer; null when nothing is. */
function fault({ operation, reply }: Exchange, described: Operation): string | null {
  const response = described.responses[String(reply.status)]
  const where = `${operation} ${reply.status}`
  if (response === undefined) return `${where}: the document does not know this status`
  if (reply.status === 204) return reply.text === '' ? null : `${where}: has a body`
  const type = String(reply.headers['content-type']).split(';', 1)[0] ?? ''
  const schema = response.content?.[type]?.schema
  if (schema === undefined) return `${where}: the document does not know the type ${type}`
  const value: unknown = type === 'application/json' ? JSON.parse(reply.text) : reply.text
  const components = strict(document.components)
  const check = Compile({ ...(strict(schema) as object), components })
  if (check.Check(value)) return null
  const [, errors] = check.Errors(value)
  const reasons = errors
    .slice(0, 5)
    .map((one) => `${one.instancePath} ${one.message} ${JSON.stringify(one.params)}`)
  return `${where}: ${reasons.join('; ')}\n    ${reply.text.slice(0, 600)}`
}

describe('the document', () => {
  it('names no operation that the tour does not call with success', () => {
    const called = new Set(
      exchanges.filter(({ reply }) => reply.status < 300).map(({ operation }) => operation),
    )
    const missing = [...operations().keys()].filter((operation) => !called.has(operation))
    // A new operation needs a call in conformance/tour.ts.
    expect(missing).toEqual([])
  })

  it('lacks no operation that was called', () => {
    const known = operations()
    const unknown = exchanges.filter(({ operation }) => !known.has(operation))
    expect(unknown.map(({ operation }) => operation)).toEqual([])
  })

  it('would be found wrong by a key too many, a key too few, another type and another format', () => {
    const operation = 'GET /v2025/sources/{id}'
    const described = operations().get(operation)
    const exchange = exchanges.find(
      (one) => one.operation === operation && one.reply.status === 200,
    )
    if (described === undefined || exchange === undefined) throw new Error('There is no such call.')
    const source = json(exchange.reply)
    const { created: _, ...less } = source
    const faults = [
      source,
      { ...source, more: 1 },
      less,
      { ...source, healthy: 'yes' },
      { ...source, created: 'yesterday' },
      { ...source, owner: { ...(source['owner'] as object), more: 1 } },
    ].map((value) => {
      const reply = { ...exchange.reply, text: JSON.stringify(value) }
      return fault({ ...exchange, reply }, described)
    })
    expect(faults.map((found) => found === null)).toEqual([true, false, false, false, false, false])
  })

  it.each(prefixes)('tells of every answer under %s what it holds', (prefix) => {
    const known = operations()
    const faults = exchanges
      .filter((exchange) => exchange.prefix === prefix)
      .flatMap((exchange) => {
        const described = known.get(exchange.operation)
        const found = described === undefined ? null : fault(exchange, described)
        return found === null ? [] : [found]
      })
    expect([...new Set(faults)].join('\n')).toBe('')
  })
})

/** The operations that contract.md section 0.2 has as deprecated, by their paths. */
const deprecated: Record<string, readonly string[]> = {
  '/accounts': ['beta'],
  '/accounts/{id}': ['beta'],
  '/task-status/pending-tasks': ['beta', 'v2024', 'v2025'],
}

describe('the header X-Deprecated', () => {
  it('is on every answer of what is deprecated, on refusals too, and on nothing else', () => {
    const expected = new Set(
      Object.entries(deprecated).flatMap(([path, versions]) =>
        prefixes.filter((one) => versions.includes(one)).map((one) => prefixed(one, path)),
      ),
    )
    for (const { operation, reply } of exchanges) {
      const path = operation.slice(operation.indexOf(' ') + 1)
      const wanted = expected.has(path) ? 'true' : undefined
      expect([operation, reply.headers['x-deprecated']]).toEqual([operation, wanted])
    }
    const marked = [...operations()].filter(([, operation]) => operation.deprecated === true)
    const paths = new Set(marked.map(([operation]) => operation.slice(operation.indexOf(' ') + 1)))
    expect([...paths].toSorted()).toEqual([...expected].toSorted())
  })
})
