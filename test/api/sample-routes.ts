// Routes that show what the server does around a route.
import { Type } from 'typebox'
import { RequestError } from '../../src/core/errors.ts'
import { everyVersion, allButV3 } from '../../src/api/route.ts'
import type { Route } from '../../src/api/route.ts'

const common = {
  tag: 'Samples',
  summary: 'A sample',
  scopes: ['idn:sources:read', 'idn:sources:manage'],
  levels: ['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN'],
  status: 200,
} as const

/** What the streaming route received; cleared by the tests. */
export const received: number[] = []

export const sampleRoutes: readonly Route[] = [
  {
    ...common,
    method: 'GET',
    path: '/sources',
    versions: everyVersion,
    operationId: 'listSamples',
    query: Type.Object({
      limit: Type.Optional(Type.Integer({ minimum: 0, maximum: 250, default: 250 })),
      filters: Type.Optional(Type.String()),
    }),
    handle: (request, _reply, call) => ({
      version: call.version,
      query: request.query,
      caller: call.caller,
      nothing: null,
    }),
  },
  {
    ...common,
    method: 'POST',
    path: '/sources',
    versions: everyVersion,
    operationId: 'createSample',
    scopes: ['idn:sources:manage'],
    status: 201,
    body: Type.Object({
      name: Type.String(),
      size: Type.Optional(Type.Integer()),
      note: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      kind: Type.Optional(Type.Union([Type.Literal('a'), Type.Literal('b')])),
    }),
    handle: (request) => request.body,
  },
  {
    ...common,
    method: 'PATCH',
    path: '/sources/:id',
    versions: allButV3,
    deprecatedIn: ['beta'],
    operationId: 'patchSample',
    consumes: ['application/json-patch+json'],
    body: Type.Array(Type.Unknown()),
    handle: (request) => ({ id: (request.params as { id: string }).id, body: request.body }),
  },
  {
    ...common,
    method: 'POST',
    path: '/sources/:id/load-accounts',
    versions: allButV3,
    operationId: 'uploadSample',
    streams: true,
    status: 202,
    handle: async (request) => {
      if ((request.params as { id: string }).id === 'refused') {
        throw new RequestError('too_large', 'The file is too large.')
      }
      let bytes = 0
      for await (const chunk of request.raw) bytes += (chunk as Buffer).length
      received.push(bytes)
      return { bytes }
    },
  },
  {
    ...common,
    method: 'GET',
    path: '/faults/:kind',
    versions: ['muster'],
    operationId: 'faultSample',
    handle: (request) => {
      switch ((request.params as { kind: string }).kind) {
        case 'conflict':
          throw new RequestError('conflict', 'Something else is going on.')
        case 'nul':
          throw Object.assign(new Error('invalid byte sequence'), { code: '22021' })
        case 'forbidden':
          throw new RequestError('forbidden', 'This source is not yours.')
        default:
          throw new Error('the secret detail of a fault')
      }
    },
  },
  {
    ...common,
    method: 'GET',
    path: '/slow',
    versions: ['muster'],
    operationId: 'slowSample',
    handle: async () => {
      await new Promise((resolve) => setTimeout(resolve, 500))
      return { done: true }
    },
  },
]
