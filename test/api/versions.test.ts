// One route, every prefix.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { versionedPath } from '../../src/api/versions.ts'
import { startApi } from './api-server.ts'
import type { TestApi } from './api-server.ts'
import { sampleRoutes } from './sample-routes.ts'

let api: TestApi
let authorization: string

beforeAll(async () => {
  api = await startApi({ routes: sampleRoutes })
  authorization = `Bearer ${await api.token()}`
})
afterAll(() => api.close())

it('a version goes before the path, or after the first segment of a service', () => {
  expect(versionedPath('beta', '/sources/:id')).toBe('/beta/sources/:id')
  expect(versionedPath('v1', '/sources/:id/schemas')).toBe('/sources/v1/:id/schemas')
  expect(versionedPath('v1', '/sources')).toBe('/sources/v1')
  expect(versionedPath('muster', '/clients/:id')).toBe('/muster/v1/clients/:id')
})

describe('every prefix', () => {
  it.each([
    ['/beta/sources', 'beta'],
    ['/v3/sources', 'v3'],
    ['/v2024/sources', 'v2024'],
    ['/v2025/sources', 'v2025'],
    ['/v2026/sources', 'v2026'],
    ['/sources/v1', 'v1'],
  ])('%s is served by the same handler, which knows its version', async (path, version) => {
    for (const headers of [{}, { 'X-SailPoint-Experimental': 'true' }]) {
      const response = await fetch(`${api.url}${path}`, { headers: { authorization, ...headers } })
      expect(response.status).toBe(200)
      expect(await response.json()).toMatchObject({ version, nothing: null, query: { limit: 250 } })
    }
  })

  it('that ISC does not have is 404, also without a token', async () => {
    for (const path of [
      '/v3/sources/1/load-accounts',
      '/sources',
      '/v1/sources',
      '/latest/sources',
    ]) {
      const response = await fetch(`${api.url}${path}`, { method: 'POST' })
      expect(response.status, path).toBe(404)
    }
  })
})

it('a deprecated version says so, the others do not', async () => {
  const patch = (prefix: string): Promise<Response> =>
    fetch(`${api.url}${prefix}/sources/1`, {
      method: 'PATCH',
      headers: { authorization, 'content-type': 'application/json-patch+json' },
      body: '[]',
    })
  const beta = await patch('/beta')
  expect(beta.headers.get('x-deprecated')).toBe('true')
  const current = await patch('/v2025')
  expect(current.status).toBe(200)
  expect(current.headers.get('x-deprecated')).toBeNull()
})

interface Operation {
  operationId: string
  deprecated?: boolean
  parameters?: { name: string; in: string }[]
  requestBody?: { content: Record<string, unknown> }
  responses: Record<string, unknown>
}

describe('the document', () => {
  it('lists every version of every route under an operation id of its own', async () => {
    const response = await fetch(`${api.url}/docs/json`)
    const document = (await response.json()) as {
      openapi: string
      paths: Record<string, Record<string, Operation>>
      components: { schemas: Record<string, unknown> }
    }
    expect(document.openapi).toBe('3.1.0')
    const operations = Object.values(document.paths).flatMap((path) => Object.values(path))
    const ids = operations.map((operation) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids).toContain('uploadSampleV1')
    expect(ids).toContain('listClients')
    expect(document.paths['/sources/v1/{id}']?.['patch']).toMatchObject({
      operationId: 'patchSampleV1',
      parameters: [{ name: 'id', in: 'path', required: true }],
      requestBody: { content: { 'application/json-patch+json': {} } },
    })
    expect(document.paths['/beta/sources/{id}']?.['patch']?.deprecated).toBe(true)
    expect(document.paths['/beta/sources']?.['get']?.parameters?.map((one) => one.name)).toEqual([
      'limit',
      'filters',
    ])
    expect(document.paths['/oauth/token']?.['post']).toBeDefined()
    expect(JSON.stringify(document.components.schemas)).toContain('detailCode')
    // No method that is only there to be refused, and no page.
    expect(Object.keys(document.paths['/beta/sources'] ?? {})).toEqual(['get', 'post'])
    expect(document.paths['/docs/json']).toBeUndefined()
  })

  it('is there as YAML and as a page that loads nothing from elsewhere', async () => {
    const yaml = await fetch(`${api.url}/docs/yaml`)
    expect(await yaml.text()).toContain('openapi: 3.1.0')
    const page = await fetch(`${api.url}/docs`)
    expect(page.status).toBe(200)
    expect(page.headers.get('content-security-policy')).toContain("default-src 'self'")
    const html = await page.text()
    const start = await fetch(`${api.url}/docs/static/swagger-initializer.js`)
    expect(start.status).toBe(200)
    for (const text of [html, await start.text()]) {
      expect(text).not.toMatch(/(src|href|url|Url)["']?\s*[=:]\s*["']https?:/)
    }
  })
})
