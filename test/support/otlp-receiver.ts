// A receiver of OpenTelemetry over HTTP, as a collector has one: keeps what came, as JSON.
import { createServer } from 'node:http'

/** A span as it was received. */
export interface ReceivedSpan {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly kind: number
  readonly attributes: Readonly<Record<string, unknown>>
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[]
}

export interface OtlpReceiver {
  readonly url: string
  spans(): readonly ReceivedSpan[]
  /** Names of the metrics that came. */
  metrics(): readonly string[]
  /** What describes the sender of the spans. */
  resource(): Readonly<Record<string, unknown>>
  /** Everything that came, as text. */
  text(): string
  close(): Promise<void>
}

interface RawSpan extends Omit<ReceivedSpan, 'attributes' | 'links'> {
  readonly attributes?: readonly RawAttribute[]
  readonly links?: ReceivedSpan['links']
}
interface RawAttribute {
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
}

/** Listens on a free port of the loopback address. */
export async function startReceiver(): Promise<OtlpReceiver> {
  const bodies: { readonly path: string; readonly text: string }[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      bodies.push({ path: request.url ?? '', text: Buffer.concat(chunks).toString('utf8') })
      response.setHeader('content-type', 'application/json')
      response.end('{}')
    })
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  const parsed = (path: string): ReturnType<typeof JSON.parse>[] =>
    bodies.filter((body) => body.path === path).map((body) => JSON.parse(body.text))
  return {
    url: `http://127.0.0.1:${port}`,
    spans: () =>
      parsed('/v1/traces')
        .flatMap((body) => body.resourceSpans)
        .flatMap((resource) => resource.scopeSpans)
        .flatMap((scope) => scope.spans as RawSpan[])
        .map((span) => ({
          ...span,
          attributes: plain(span.attributes ?? []),
          links: span.links ?? [],
        })),
    metrics: () =>
      parsed('/v1/metrics')
        .flatMap((body) => body.resourceMetrics)
        .flatMap((resource) => resource.scopeMetrics)
        .flatMap((scope) => scope.metrics as { name: string }[])
        .map(({ name }) => name),
    resource: () => plain(parsed('/v1/traces')[0]?.resourceSpans[0]?.resource.attributes ?? []),
    text: () => bodies.map((body) => body.text).join('\n'),
    close: async () => {
      await new Promise((resolve) => {
        server.close(resolve)
        server.closeAllConnections()
      })
    },
  }
}

function plain(attributes: readonly RawAttribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
}
