// What a connector wants to be kept: the state that its next delta begins with, and changes of its configuration.
import type { Cursor } from './reader.ts'
import { recordError } from './saas-errors.ts'

/** Larger states are refused: they are stored with the run and sent with every request. */
const stateLimitBytes = 1 << 20
const patchLimit = 250

type Members = Readonly<Record<string, unknown>>

/** The state in a cursor; null when there is none. */
export function stateOf(cursor: Cursor | null): Members | null {
  const state = cursor?.['state']
  return isObject(state) ? state : null
}

/** The cursor of a state as the connector sent it. */
export function cursorOf(data: unknown): Cursor {
  if (!isObject(data)) throw recordError('sent a state that is no JSON object')
  if (Buffer.byteLength(JSON.stringify(data)) > stateLimitBytes) {
    throw recordError(`sent a state of more than ${stateLimitBytes} bytes`)
  }
  return { state: data }
}

/**
 * Changes of the configuration as JSON Patch of the source. The connector sees only `connectorAttributes.config`, so its
 * paths begin there; a path that already begins at the source is left.
 */
export function readPatches(data: unknown, before: readonly unknown[]): readonly unknown[] {
  if (!Array.isArray(data)) throw recordError('sent changes of its configuration that are no list')
  if (before.length + data.length > patchLimit) {
    throw recordError(`sent more than ${patchLimit} changes of its configuration`)
  }
  return [...before, ...data.map(readPatch)]
}

const root = '/connectorAttributes/'
const forbidden: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

function readPatch(given: unknown): unknown {
  const { op, path, value } = isObject(given) ? given : {}
  if (op !== 'add' && op !== 'replace' && op !== 'remove') {
    throw recordError('sent a change of its configuration that is no add, replace or remove')
  }
  if (typeof path !== 'string' || !path.startsWith('/') || path === '/') {
    throw recordError('sent a change of its configuration without a path')
  }
  if (path.split('/').some((name) => forbidden.has(name))) {
    throw recordError('sent a change of its configuration with a forbidden path')
  }
  const inner = path.startsWith(root) ? path.slice(root.length - 1) : path
  const whole = `${root}config${inner.startsWith('/config/') && inner !== path ? inner.slice(7) : inner}`
  return op === 'remove' ? { op, path: whole } : { op, path: whole, value: value ?? null }
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
