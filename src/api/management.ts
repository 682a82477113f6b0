// Serves health and metrics: among the paths of the API, or at a port of their own that listens before the database is there.
import { createServer } from 'node:http'
import type { Server, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { pagePaths, readPage } from './health.ts'
import type { Page, PagePath, PageParts } from './health.ts'
import { refuseOtherMethods } from './versions.ts'

/** Probes and scrapes are few and short; whoever holds more connections than this is neither. */
const mostConnections = 100
const headersTimeoutMs = 5_000

/** Registers the pages on the port of the API. */
export function registerPages(app: FastifyInstance, parts: PageParts): void {
  for (const path of pagePaths) {
    app.get(path, { config: { always: true } }, async (_request, reply) => {
      const page = await readPage(path, parts)
      return reply.code(page.status).headers(page.headers).type(page.type).send(page.text)
    })
  }
  refuseOtherMethods(app, new Map(pagePaths.map((path) => [path, new Set(['GET'])])))
}

/** A management port that listens. */
export interface Management {
  /** Where it listens, without a slash at the end. */
  readonly url: string
  close(): Promise<void>
}

/** Serves the pages and nothing else at an address of their own. Throws what `listen` fails with. */
export async function openManagement(
  parts: PageParts,
  place: { readonly host: string; readonly port: number },
): Promise<Management> {
  const server = createServer(
    { headersTimeout: headersTimeoutMs, requestTimeout: headersTimeoutMs },
    (request, response) => {
      const path = (request.url ?? '').split('?', 1)[0]?.replace(/(?<=.)\/$/, '')
      const known = pagePaths.find((candidate) => candidate === path)
      void answer(response, known, request.method ?? 'GET', parts)
    },
  )
  server.maxConnections = mostConnections
  await listen(server, place)
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : place.port
  const host = place.host.includes(':') ? `[${place.host.replace(/^\[|\]$/g, '')}]` : place.host
  return { url: `http://${host}:${port}`, close: () => close(server) }
}

async function answer(
  response: ServerResponse,
  path: PagePath | undefined,
  method: string,
  parts: PageParts,
): Promise<void> {
  const page = await pageFor(path, method, parts)
  response.writeHead(page.status, {
    ...page.headers,
    'content-type': page.type,
    'content-length': Buffer.byteLength(page.text),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  response.end(method === 'HEAD' ? undefined : page.text)
}

async function pageFor(
  path: PagePath | undefined,
  method: string,
  parts: PageParts,
): Promise<Page> {
  const type = 'text/plain; charset=utf-8'
  if (path === undefined) {
    const text = `There is nothing here but ${pagePaths.join(', ')}.\n`
    return { status: 404, type, headers: {}, text }
  }
  if (method !== 'GET' && method !== 'HEAD') {
    return { status: 405, type, headers: { allow: 'GET, HEAD' }, text: 'Only GET and HEAD.\n' }
  }
  try {
    return await readPage(path, parts)
  } catch {
    return { status: 500, type, headers: {}, text: 'The page could not be made.\n' }
  }
}

async function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: host.replace(/^\[(.*)\]$/, '$1'), port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

async function close(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
