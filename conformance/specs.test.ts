// Every answer against the OpenAPI files of ISC. They are not part of this project: MUSTER_ISC_SPECS names the folder that
// holds them (beta.json, v3.json, v2024.json, v2025.json, v2026.json, per-service.json, as many as there are), and without
// it this file does nothing. Anyone can make such files of the public specification.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { Compile } from 'typebox/schema'
import { Settings } from 'typebox/system'
import { tour } from './tour.ts'
import type { Exchange, Prefix } from './tour.ts'

const target = inject('target')
const folder = process.env['MUSTER_ISC_SPECS'] ?? ''

/** The file of each prefix; the paths of all but the last lack their prefix. */
const files: Partial<Record<Prefix, string>> = {
  beta: 'beta.json',
  v3: 'v3.json',
  v2024: 'v2024.json',
  v2025: 'v2025.json',
  v2026: 'v2026.json',
  v1: 'per-service.json',
}
const described = Object.entries(files)
  .filter(([, file]) => folder !== '' && existsSync(join(folder, file)))
  .map(([prefix]) => prefix as Prefix)

interface Operation {
  readonly deprecated?: boolean
  readonly responses: Record<
    string,
    { readonly content?: Record<string, { readonly schema?: object }>; readonly $ref?: string }
  >
}

interface Specification {
  readonly paths: Record<string, Record<string, Operation>>
  readonly components: Readonly<Record<string, unknown>>
}

/**
 * What the specification says and no server does, or what contradicts what real tenants and clients do. A fault that
 * one of these explains is no fault.
 */
const knownDefects: readonly {
  readonly where: RegExp
  readonly path: RegExp
  readonly reason: string
}[] = [
  {
    where: /^DELETE .*\/sources/,
    path: /^\/name$/,
    reason: 'declared a string, and described as null or empty; real tenants send null',
  },
  {
    where: /^POST .*\/personal-access-tokens/,
    path: /^\/expirationDate$/,
    reason: 'declared a string, while the same file lets a token never expire and shows null then',
  },
  {
    where: /^[A-Z]+ \/v3\//,
    path: /\/(hierarchyAttribute|modified|schema|iqServiceVersion)$/,
    reason: 'not nullable in the older file, nullable in every newer one for the same object',
  },
]

/** What HTTP has a status for and the files never list: conflict, too large, media type, out of service. */
const unlisted: readonly number[] = [409, 413, 415, 503]

// Unless told, only the first eight are found, and all of them may be known.
Settings.Set({ maxErrors: 10_000 })

let exchanges: Exchange[] = []

beforeAll(async () => {
  if (described.length > 0) exchanges = await tour(target)
}, 300_000)

function read(prefix: Prefix): Specification {
  const text = readFileSync(join(folder, files[prefix] ?? ''), 'utf8')
  return JSON.parse(text) as Specification
}

/** OpenAPI 3.0 → JSON Schema: `nullable` becomes a choice of null, also beside a reference. */
function schemaOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(schemaOf)
  if (typeof value !== 'object' || value === null) return value
  const { discriminator: _, example: __, ...rest } = value as Record<string, unknown>
  // The files also write it as `allOf: [reference, { nullable: true }]`, which they mean of the whole.
  const parts: unknown = rest['allOf']
  const nullable =
    rest['nullable'] === true ||
    (Array.isArray(parts) && parts.some((part: object) => Reflect.get(part, 'nullable') === true))
  const schema = Object.fromEntries(
    Object.entries(rest).map(([key, one]) => [
      key,
      key === 'properties'
        ? Object.fromEntries(
            Object.entries(one as object).map(([name, property]) => [name, schemaOf(property)]),
          )
        : schemaOf(one),
    ]),
  )
  if (!nullable) return schema
  return { anyOf: [schema, { type: 'null' }] }
}

/** `/beta/sources/{id}` → the spelling of the file, whatever it calls its parameters. */
function find(spec: Specification, prefix: Prefix, operation: string): Operation | null {
  const [method = '', path = ''] = operation.split(' ')
  const own = prefix === 'v1' ? path : path.slice(prefix.length + 1)
  const plain = (one: string): string => one.replaceAll(/\{[^}]*\}/g, '{}').replace(/\/$/, '')
  const entry = Object.entries(spec.paths).find(([one]) => plain(one) === plain(own))
  return entry?.[1][method.toLowerCase()] ?? null
}

/** A response of the file, also where it is a reference. */
function responseOf(spec: Specification, operation: Operation, status: number) {
  const response = operation.responses[String(status)]
  if (response?.$ref === undefined) return response
  const names = response.$ref.split('/').slice(1)
  let value: unknown = spec
  for (const name of names) value = Reflect.get(value as object, name)
  return value as Operation['responses'][string]
}

function fault(spec: Specification, exchange: Exchange, operation: Operation): string | null {
  const { reply } = exchange
  const where = `${exchange.operation} ${reply.status}`
  const response = responseOf(spec, operation, reply.status)
  if (response === undefined) {
    if (unlisted.includes(reply.status)) return null
    return `${where}: a status that the specification does not have`
  }
  const type = String(reply.headers['content-type'] ?? '').split(';', 1)[0] ?? ''
  const content = response.content ?? {}
  if (reply.status === 204 || Object.keys(content).length === 0) {
    return reply.text === '' ? null : `${where}: a body that the specification does not have`
  }
  if (!Object.hasOwn(content, type)) return `${where}: the media type ${type}`
  const schema = content[type]?.schema
  if (schema === undefined) return null
  const root = { ...(schemaOf(schema) as object), components: schemaOf(spec.components) }
  const check = Compile(root)
  const value: unknown = JSON.parse(reply.text)
  if (check.Check(value)) return null
  const [, errors] = check.Errors(value)
  const reasons = errors
    // A reference that may be null is a choice; that the choice failed says nothing beside why.
    .filter(
      (one) =>
        one.keyword !== 'anyOf' &&
        !isKnown(where, one.instancePath, valueAt(value, one.instancePath)),
    )
    .map((one) => {
      const found = JSON.stringify(valueAt(value, one.instancePath)) ?? 'nothing'
      return `${one.instancePath} ${one.message}, found ${found.slice(0, 120)}`
    })
  return reasons.length === 0 ? null : `${where}: ${reasons.slice(0, 8).join('; ')}`
}

/** Only a null is ever explained. */
function isKnown(where: string, path: string, found: unknown): boolean {
  return found === null && knownDefects.some((one) => one.where.test(where) && one.path.test(path))
}

function valueAt(value: unknown, path: string): unknown {
  let held = value
  for (const name of path.split('/').slice(1)) {
    held = typeof held === 'object' && held !== null ? Reflect.get(held, name) : undefined
  }
  return held
}

describe.skipIf(described.length === 0)('the specification of ISC', () => {
  it.each(described)('is kept by every answer under %s', (prefix) => {
    const spec = read(prefix)
    const mine = exchanges.filter((exchange) => exchange.prefix === prefix)
    const faults: string[] = []
    const covered = new Set<string>()
    const foreign = new Set<string>()
    for (const exchange of mine) {
      const operation = find(spec, prefix, exchange.operation)
      if (operation === null) {
        foreign.add(exchange.operation)
        continue
      }
      covered.add(exchange.operation)
      const found = fault(spec, exchange, operation)
      if (found !== null) faults.push(found)
      const isMarked = exchange.reply.headers['x-deprecated'] === 'true'
      if (isMarked !== (operation.deprecated === true)) {
        faults.push(`${exchange.operation}: X-Deprecated is ${String(isMarked)}`)
      }
    }
    console.info(
      [
        `${prefix}: ${covered.size} operations, ${mine.length} answers`,
        ...[...covered].toSorted().map((operation) => `  ${operation}`),
        ...[...foreign].toSorted().map((operation) => `  not in this file: ${operation}`),
      ].join('\n'),
    )
    expect(covered.size).toBeGreaterThan(0)
    expect([...new Set(faults)].join('\n')).toBe('')
  })
})
