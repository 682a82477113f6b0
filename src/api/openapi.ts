// The OpenAPI document, made from the routes, and its page at /docs.
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify'
import { Type } from 'typebox'
import type { Route, Version } from './route.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the document says of a route that is not made of a `Route`. */
    document?: FastifySchema & Record<string, unknown>
  }
}

const wordmark =
  '<svg xmlns="http://www.w3.org/2000/svg" width="150" height="40" viewBox="0 0 150 40">' +
  '<g fill="#fff"><circle cx="12" cy="12" r="4"/><circle cx="24" cy="12" r="4"/><circle cx="12" cy="28" r="4"/>' +
  '<circle cx="24" cy="28" r="4"/><text x="40" y="28" font-family="sans-serif" font-size="24">Muster</text></g></svg>'

/** What the operation ids of a version end in, so that each is unique; SDKs make their method names of them. */
const suffixes: Readonly<Record<Version, string>> = {
  beta: 'Beta',
  v3: 'V3',
  v2024: 'V2024',
  v2025: 'V2025',
  v2026: 'V2026',
  v1: 'V1',
  muster: '',
}

/** Everything on the page comes from this server; the page may be framed by nobody. */
const pagePolicy =
  "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

const message = Type.Object({
  locale: Type.Union([Type.String(), Type.Null()]),
  localeOrigin: Type.Union([Type.String(), Type.Null()]),
  text: Type.String(),
})
const errorDto = Type.Object(
  {
    detailCode: Type.String(),
    trackingId: Type.String(),
    messages: Type.Array(message),
    causes: Type.Array(message),
  },
  { $id: 'ErrorResponseDto' },
)

/** Registers the document and the page; call it before the routes. */
export async function registerDocs(
  app: FastifyInstance,
  version: string,
  routes: readonly Route[],
): Promise<void> {
  const scopes = [...new Set(routes.flatMap((route) => route.scopes))].toSorted()
  app.addSchema(errorDto)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Muster',
        version,
        description:
          'Account aggregation with the API of SailPoint Identity Security Cloud. Not affiliated with SailPoint.',
      },
      components: {
        securitySchemes: {
          oauth2: {
            type: 'oauth2',
            flows: {
              clientCredentials: {
                tokenUrl: '/oauth/token',
                scopes: Object.fromEntries(scopes.map((scope) => [scope, scope])),
              },
            },
          },
          bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
        },
      },
    },
    hideUntagged: true,
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) =>
        typeof json['$id'] === 'string' ? json['$id'] : `schema${index}`,
    },
    transform: ({ url, route }) => ({ url, schema: documentOf(url, route) }),
  })
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: pagePolicy,
    // The badge would send the address of this server to a site of strangers.
    validatorUrl: false,
    logo: { type: 'image/svg+xml', content: Buffer.from(wordmark), href: '/docs', target: '_self' },
    theme: {
      title: 'Muster API',
      // The policy forbids documents of other servers, so a field for their address would only disappoint.
      css: [
        {
          filename: 'own.css',
          content: '.swagger-ui .topbar .download-url-wrapper { display: none !important }',
        },
      ],
    },
    uiConfig: {
      docExpansion: 'none',
      filter: true,
      validatorUrl: null,
      persistAuthorization: false,
    },
  })
}

function documentOf(url: string, options: RouteOptions): FastifySchema {
  const { served, document } = options.config ?? {}
  if (served !== undefined) return documentRoute(url, served.route, served.version)
  return document ?? { hide: true }
}

function documentRoute(url: string, route: Route, version: Version): FastifySchema {
  const parameters = url.split('/').filter((segment) => segment.startsWith(':'))
  return {
    operationId: `${route.operationId}${suffixes[version]}`,
    summary: route.summary,
    description: describeAccess(route),
    tags: [route.tag],
    security: [{ oauth2: [...route.scopes] }, { bearer: [] }],
    deprecated: route.deprecatedIn?.includes(version) ?? false,
    ...(parameters.length === 0 ? {} : { params: describeParameters(parameters) }),
    ...(route.query === undefined ? {} : { querystring: route.query }),
    ...(route.body === undefined ? {} : { body: route.body }),
    ...(route.consumes === undefined ? {} : { consumes: [...route.consumes] }),
    response: describeResponses(route),
  }
}

function describeAccess(route: Route): string {
  const scopes = route.scopes.length === 0 ? 'none is needed' : route.scopes.join(', ')
  return `Levels: ${route.levels.join(', ')}. Scopes, any one of: ${scopes}.`
}

function describeParameters(parameters: readonly string[]): object {
  return Type.Object(Object.fromEntries(parameters.map((name) => [name.slice(1), Type.String()])))
}

function describeResponses(route: Route): Record<string, unknown> {
  const dto = (description: string) => ({ description, $ref: 'ErrorResponseDto#' })
  return {
    [route.status]: describeSuccess(route),
    400: dto('The request is wrong; the text names what and what to do.'),
    401: {
      description: 'The token is missing or not good.',
      ...Type.Object({ error: Type.String() }),
    },
    403: dto('The level, the scopes or the sources of the caller do not allow this.'),
    404: dto('There is no such thing.'),
    ...(route.body === undefined && route.streams !== true ? {} : describeBodyRefusals(dto)),
    429: { description: 'Too many requests.', ...Type.Object({ message: Type.String() }) },
    500: dto('A fault of this server; the tracking id is in its log.'),
    503: dto('The database is away, or the server is stopping; Retry-After tells how long.'),
  }
}

/** How a body may be refused. */
function describeBodyRefusals(dto: (description: string) => object): Record<string, object> {
  const conflict = Type.Object({
    errorName: Type.String(),
    errorMessage: Type.String(),
    trackingId: Type.String(),
  })
  return {
    409: { description: 'Something else is going on there.', ...conflict },
    413: dto('The body is too large.'),
    415: dto('The media type of the body is not taken here.'),
  }
}

function describeSuccess(route: Route): object {
  if (route.status === 204) return { type: 'null', description: 'Done.' }
  const schema = route.response ?? Type.Object({})
  if (route.produces === undefined) return { description: 'Done.', ...schema }
  return { description: 'Done.', content: { [route.produces]: { schema } } }
}
