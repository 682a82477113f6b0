// /health: whether the process lives, may get requests, and has started. No token, no rate limit.
import type { FastifyInstance } from 'fastify'
import type { Queryable } from '../store/database.ts'
import { refuseOtherMethods } from './versions.ts'

export interface HealthParts {
  readonly db: Queryable
  readonly isDraining: () => boolean
}

interface HealthCheck {
  readonly name: string
  readonly status: 'UP' | 'DOWN'
  readonly detail?: string
}

/** A database that takes longer than this to say one word is no help to a request. */
const databasePatienceMs = 2_000

/** Registers the three endpoints. */
export function registerHealth(app: FastifyInstance, parts: HealthParts): void {
  const config = { always: true }
  app.get('/health/live', { config }, async () => answer([]))
  app.get('/health/ready', { config }, async (_request, reply) => {
    const checks = [await checkDatabase(parts.db), checkDrain(parts.isDraining())]
    const body = answer(checks)
    if (body.status === 'DOWN') reply.code(503).header('retry-after', '5')
    return body
  })
  // What listens has started: migrations and keys come before the first connection is taken.
  app.get('/health/started', { config }, async () => answer([]))
  const paths = ['/health/live', '/health/ready', '/health/started']
  refuseOtherMethods(app, new Map(paths.map((path) => [path, new Set(['GET'])])))
}

function answer(checks: readonly HealthCheck[]): {
  status: 'UP' | 'DOWN'
  checks: readonly HealthCheck[]
} {
  return { status: checks.every((check) => check.status === 'UP') ? 'UP' : 'DOWN', checks }
}

async function checkDatabase(db: Queryable): Promise<HealthCheck> {
  const timer = new AbortController()
  const late = new Promise<'late'>((resolve) => {
    const timeout = setTimeout(() => resolve('late'), databasePatienceMs)
    timer.signal.addEventListener('abort', () => clearTimeout(timeout))
  })
  try {
    const first = await Promise.race([db.query('select 1'), late])
    if (first === 'late') return down('It does not answer in time.')
    return { name: 'database', status: 'UP' }
  } catch {
    // What is wrong exactly is for the log; this page is open to everybody.
    return down('It does not answer.')
  } finally {
    timer.abort()
  }
}

function down(detail: string): HealthCheck {
  return { name: 'database', status: 'DOWN', detail }
}

function checkDrain(draining: boolean): HealthCheck {
  if (!draining) return { name: 'accepting', status: 'UP' }
  return { name: 'accepting', status: 'DOWN', detail: 'This server is stopping.' }
}
