// The parameters of a token request: clients send them in the query, in three kinds of body, or as HTTP Basic.
import { Busboy } from '@fastify/busboy'
import type { BusboyInstance } from '@fastify/busboy'
import type { FastifyRequest } from 'fastify'

export interface TokenParameters {
  readonly values: ReadonlyMap<string, string>
  /** Whether the client named itself by HTTP Basic; its refusal then carries a challenge. */
  readonly basic: boolean
}

interface BadParameters {
  readonly error: 'invalid_request'
  readonly description: string
}

type Pair = readonly [name: string, value: string]

/** Only these are read, so that a hostile body cannot fill anything. */
const known = new Set(['grant_type', 'client_id', 'client_secret', 'scope'])

/**
 * All parameters of a request from wherever they came. The Java utility sends all in the query, the CLI splits them
 * over query and body. One that is given twice with different values is refused, as RFC 6749 demands.
 */
export async function readParameters(
  request: FastifyRequest,
): Promise<TokenParameters | BadParameters> {
  const basic = basicPairs(request.headers.authorization)
  const body = await bodyPairs(request)
  if (basic === null) return bad('The Basic credentials are malformed.')
  if (body === null) return bad('The body could not be read.')
  const values = new Map<string, string>()
  for (const [name, value] of [...queryPairs(request.query), ...body, ...basic]) {
    if (!known.has(name)) continue
    const earlier = values.get(name)
    if (earlier !== undefined && earlier !== value) {
      return bad(`The parameter ${name} is given twice with different values.`)
    }
    values.set(name, value)
  }
  return { values, basic: basic.length > 0 }
}

function bad(description: string): BadParameters {
  return { error: 'invalid_request', description }
}

function queryPairs(query: unknown): Pair[] {
  return objectPairs(query)
}

function objectPairs(given: unknown): Pair[] {
  if (given === null || typeof given !== 'object') return []
  return Object.entries(given).flatMap(([name, value]): Pair[] => {
    const all: unknown[] = Array.isArray(value) ? value : [value]
    return all.flatMap((one): Pair[] => (typeof one === 'string' ? [[name, one]] : []))
  })
}

/** The pairs of a Basic header; none when there is no such header, null when it is malformed. */
function basicPairs(header: string | undefined): Pair[] | null {
  const match = /^basic +([A-Za-z0-9+/=_-]+) *$/i.exec(header ?? '')
  if (match?.[1] === undefined) return []
  const text = Buffer.from(match[1], 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon === -1) return null
  return [
    ['client_id', formDecoded(text.slice(0, colon))],
    ['client_secret', formDecoded(text.slice(colon + 1))],
  ]
}

/** RFC 6749 has both halves form-encoded; most clients do not encode them, so what does not decode stays. */
function formDecoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

async function bodyPairs(request: FastifyRequest): Promise<Pair[] | null> {
  const body: unknown = request.body
  if (!Buffer.isBuffer(body) || body.length === 0) return []
  const header = request.headers['content-type'] ?? 'application/x-www-form-urlencoded'
  const [type = ''] = header.split(';', 1)
  switch (type.trim().toLowerCase()) {
    case 'multipart/form-data':
      return multipartPairs(header, body)
    case 'application/json':
      return jsonPairs(body)
    default:
      return [...new URLSearchParams(body.toString('utf8'))]
  }
}

function jsonPairs(body: Buffer): Pair[] | null {
  try {
    return objectPairs(JSON.parse(body.toString('utf8')))
  } catch {
    return null
  }
}

function multipartPairs(header: string, body: Buffer): Promise<Pair[] | null> {
  return new Promise((resolve) => {
    const pairs: Pair[] = []
    let parser: BusboyInstance
    try {
      parser = new Busboy({
        headers: { 'content-type': header },
        limits: { fields: 20, fieldSize: 4_096, fieldNameSize: 100, files: 0, parts: 20 },
      })
    } catch {
      resolve(null)
      return
    }
    parser.on('field', (name, value) => pairs.push([name, value]))
    // A body without its last delimiter has given its fields already.
    parser.on('error', () => resolve(pairs.length > 0 ? pairs : null))
    parser.on('finish', () => resolve(pairs))
    parser.end(body)
  })
}
