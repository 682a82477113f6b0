// /health and /metrics: what an orchestrator and a collector ask for. No token, no rate limit; nothing on them is a secret.
import type { HealthCheck, Readiness } from './readiness.ts'

/** How far the process is: before `started` nothing is served, while `draining` nothing new is taken. */
export type Stage = 'starting' | 'started' | 'draining'

/** What the pages tell. */
export interface PageParts {
  readonly stage: () => Stage
  /** Null until there is something to check. */
  readonly readiness: () => Readiness | null
  /** The metrics in the text format of Prometheus, with its media type. */
  readonly metrics: () => Promise<{ readonly type: string; readonly text: string }>
}

/** An answer that is ready to be sent. */
export interface Page {
  readonly status: number
  readonly type: string
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
}

/** The paths of the pages; all of them take GET and HEAD. */
export const pagePaths = ['/health/live', '/health/ready', '/health/started', '/metrics'] as const
export type PagePath = (typeof pagePaths)[number]

/** Gives a page. It never throws and never waits longer than a few seconds, whatever the database does. */
export async function readPage(path: PagePath, parts: PageParts): Promise<Page> {
  switch (path) {
    case '/health/live':
      // Looks at nothing: a process whose database is away is not helped by a restart.
      return health([])
    case '/health/started':
      return health([checkStart(parts.stage())])
    case '/health/ready':
      return health([
        ...((await parts.readiness()?.check()) ?? [checkStart('starting')]),
        checkDrain(parts.stage()),
      ])
    case '/metrics': {
      const { type, text } = await parts.metrics()
      return { status: 200, type, headers: {}, text }
    }
    default:
      return path satisfies never
  }
}

function health(checks: readonly HealthCheck[]): Page {
  const up = checks.every((check) => check.status === 'UP')
  return {
    status: up ? 200 : 503,
    type: 'application/json; charset=utf-8',
    headers: up ? {} : { 'retry-after': '5' },
    text: JSON.stringify({ status: up ? 'UP' : 'DOWN', checks }),
  }
}

function checkStart(stage: Stage): HealthCheck {
  if (stage !== 'starting') return { name: 'started', status: 'UP' }
  return { name: 'started', status: 'DOWN', detail: 'The start is under way.' }
}

function checkDrain(stage: Stage): HealthCheck {
  if (stage !== 'draining') return { name: 'accepting', status: 'UP' }
  return { name: 'accepting', status: 'DOWN', detail: 'This server is stopping.' }
}
