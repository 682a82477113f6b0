// /sources/{id}/source-health: how the last aggregation of a source left it, in the shape of the contract (section 2.2).
import { Type } from 'typebox'
import type { Static } from 'typebox'
import type { Source } from '../core/source.ts'
import type { Database } from '../store/database.ts'
import { pod } from './auth.ts'
import type { Route } from './route.ts'
import { nullable } from './shapes.ts'
import { requireSource } from './source-access.ts'

const SourceHealth = Type.Object(
  {
    id: Type.String(),
    type: Type.String(),
    name: Type.String(),
    org: Type.String(),
    isAuthoritative: Type.Boolean(),
    isCluster: Type.Boolean(),
    hostname: Type.String({ description: 'The host of the system; "local" for files.' }),
    pod: Type.String(),
    iqServiceVersion: nullable(Type.String()),
    status: Type.String(),
  },
  { title: 'SourceHealthDto' },
)

/** The route. `org` is the name of the tenant in tokens. */
export function sourceHealthRoutes({
  db,
  org,
}: {
  readonly db: Database
  readonly org: string
}): Route[] {
  return [
    {
      method: 'GET',
      path: '/sources/:id/source-health',
      versions: ['v3', 'v2024', 'v2025', 'v2026', 'v1'],
      operationId: 'getSourceHealth',
      summary: 'Tells how the last aggregation left a source',
      tag: 'Sources',
      scopes: ['idn:sources:read', 'idn:sources:manage'],
      levels: ['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN'],
      status: 200,
      response: SourceHealth,
      handle: async (request, _reply, call) => {
        const { id } = request.params as { readonly id: string }
        return healthOf(await requireSource(db, call.caller, id), org)
      },
    },
  ]
}

function healthOf(source: Source, org: string): Static<typeof SourceHealth> {
  return {
    id: source.id,
    type: source.type,
    name: source.name,
    org,
    isAuthoritative: source.authoritative,
    isCluster: false,
    hostname: hostOf(source),
    pod,
    iqServiceVersion: null,
    status: source.status,
  }
}

function hostOf({ connectorAttributes: { url, host } }: Source): string {
  if (typeof url === 'string' && URL.canParse(url)) return new URL(url).hostname
  return typeof host === 'string' ? host : ''
}
