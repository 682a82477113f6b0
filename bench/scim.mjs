// SCIM sources of the benchmark: a server on a loopback port, in a process of its own, with the people of generate.mjs as users.
// node bench/scim.mjs [--rows 40000] [--page 100]   compares the reader with a client that only fetches the pages.
import { fork } from 'node:child_process'
import { Agent, createServer, get } from 'node:http'
import { parseArgs } from 'node:util'
import { columns, row } from './generate.mjs'

const childWord = '--as-scim-server'

/**
 * A SCIM server with `rows` users: the settings of its source, how long a client takes that fetches all pages and looks
 * at none, and how to end it. `kind` is `scimmy` (a real server) or `rendered` (its answers are ready before it is
 * asked, so that nothing but the reader can be slow).
 */
export async function prepareScim(rows, { kind = 'scimmy', pageSize = 100 } = {}) {
  const child = fork(import.meta.filename, [childWord, kind, String(rows)])
  const port = await new Promise((resolve, reject) => {
    child.once('message', resolve)
    child.once('exit', (code) => reject(new Error(`the SCIM server ended with ${code}`)))
  })
  const url = `http://127.0.0.1:${port}/scim/v2`
  return {
    connector: 'scim',
    settings: { url, pageSize },
    serveOnlyMs: () => fetchAll(url, rows, pageSize),
    close: () =>
      new Promise((resolve) => {
        child.once('exit', resolve)
        child.kill()
      }),
  }
}

async function fetchAll(url, rows, pageSize) {
  const agent = new Agent({ keepAlive: true })
  const began = performance.now()
  for (let start = 1; start <= rows; start += pageSize) {
    await fetchOne(`${url}/Users?startIndex=${start}&count=${pageSize}`, agent)
  }
  const elapsed = performance.now() - began
  agent.destroy()
  return elapsed
}

function fetchOne(url, agent) {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent }, (response) => {
      response.on('data', () => undefined)
      response.once('end', resolve)
      response.once('error', reject)
    })
    request.once('error', reject)
  })
}

/** A person of the other benchmarks as a user. */
function userOf(number) {
  const cells = row(number).trim().split(',')
  const cell = Object.fromEntries(columns.map((name, place) => [name, cells[place]]))
  const lastModified = '2026-01-01T00:00:00.000Z'
  return {
    schemas: [
      'urn:ietf:params:scim:schemas:core:2.0:User',
      'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User',
    ],
    id: `5f0c6f0e-4a53-4000-8000-${String(number).padStart(12, '0')}`,
    externalId: cell.employeeId,
    userName: cell.login,
    displayName: `${cell.firstName} ${cell.lastName}`,
    name: { givenName: cell.firstName, familyName: cell.lastName },
    title: cell.title,
    active: cell.status === 'active',
    emails: [{ value: cell.email, type: 'work', primary: true }],
    groups: [
      { value: cell.location, display: `Everybody in ${cell.location}` },
      { value: cell.costCenter, display: `Cost center ${cell.costCenter}` },
    ],
    'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User': {
      employeeNumber: cell.employeeId,
      department: cell.department,
      manager: { value: cell.managerId },
    },
    meta: { resourceType: 'User', created: lastModified, lastModified },
  }
}

const configuration = {
  schemas: ['urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig'],
  filter: { supported: true, maxResults: 1000 },
}

/** Answers that were written before. */
function renderedServer(rows) {
  const users = Array.from({ length: rows }, (_, number) => JSON.stringify(userOf(number)))
  return createServer((request, response) => {
    const url = new URL(request.url, 'http://localhost')
    response.setHeader('content-type', 'application/scim+json')
    if (!url.pathname.endsWith('/Users')) return response.end(JSON.stringify(configuration))
    const start = Number(url.searchParams.get('startIndex') ?? 1) - 1
    const page = users.slice(start, start + Number(url.searchParams.get('count') ?? 100))
    const head = `{"totalResults":${rows},"startIndex":${start + 1},"itemsPerPage":${page.length}`
    response.end(`${head},"Resources":[${page.join(',')}]}`)
  })
}

async function scimmyServer(rows) {
  const { default: express } = await import('express')
  const { SCIMMY, SCIMMYRouters } = await import('scimmy-routers')
  const users = Array.from({ length: rows }, (_, number) => userOf(number))
  const { User } = SCIMMY.Resources
  SCIMMY.Resources.declare(
    User.extend(SCIMMY.Schemas.EnterpriseUser, false).egress((resource) => {
      const { startIndex = 1, count = 20 } = resource.constraints ?? {}
      // Only the page goes through scimmy's schemas: they take longer than everything else.
      resource.constraints = { startIndex, count, totalResults: rows }
      return users.slice(startIndex - 1, startIndex - 1 + count)
    }),
  )
  const app = express()
  app.use((request, _response, next) => {
    // Express 5 builds the query anew each time, and scimmy-routers 1.3 writes numbers into it.
    const query = { ...request.query }
    for (const name of ['startIndex', 'count']) if (name in query) query[name] = Number(query[name])
    Object.defineProperty(request, 'query', { value: query })
    next()
  })
  app.use('/scim/v2', new SCIMMYRouters({ type: 'bearer', handler: () => 'nobody' }))
  return createServer(app)
}

async function serve(kind, rows) {
  const server = kind === 'rendered' ? renderedServer(rows) : await scimmyServer(rows)
  server.listen(0, '127.0.0.1', () => process.send(server.address().port))
  // The benchmark may be stopped in the middle.
  process.once('disconnect', () => process.exit())
}

/** The reader alone: no spool, no database. */
async function drainMs(source, rows) {
  const { openOutbound } = await import('../dist/connect/outbound.js')
  const { scimConnector } = await import('../dist/connect/scim.js')
  const outbound = openOutbound({ allowLoopback: true, allowed: [] })
  const reader = await scimConnector.open(source.settings, { outbound, log: () => undefined })
  const schema = scimConnector.schemas[0]
  const attributes = schema.attributes.map((attribute) => ({ nativeName: null, ...attribute }))
  const request = { objectType: 'account', attributes, identityAttribute: 'id' }
  const began = performance.now()
  let records = 0
  const { signal } = new AbortController()
  for await (const page of reader.read({ ...request, cursor: null, limit: null, signal })) {
    records += page.records.length
  }
  if (records !== rows) throw new Error(`${records} records instead of ${rows}`)
  const elapsed = performance.now() - began
  await reader.close()
  outbound.close()
  return elapsed
}

async function compare(all, pageSize) {
  // A real server takes many times longer for each user.
  for (const [kind, rows] of [
    ['scimmy', Math.ceil(all / 10)],
    ['rendered', all],
  ]) {
    const source = await prepareScim(rows, { kind, pageSize })
    await source.serveOnlyMs()
    await drainMs(source, rows)
    const pairs = []
    for (let round = 0; round < 3; round += 1) {
      pairs.push({ fetch: await source.serveOnlyMs(), read: await drainMs(source, rows) })
    }
    pairs.sort((a, b) => a.read / a.fetch - b.read / b.fetch)
    const { fetch, read } = pairs[1]
    const figures = `fetched ${fetch.toFixed(0)} ms, read ${read.toFixed(0)} ms`
    console.log(`${kind}, ${rows} users by ${pageSize}: ${figures}, ${(read / fetch).toFixed(2)} ×`)
    await source.close()
  }
}

if (process.argv[2] === childWord) {
  await serve(process.argv[3], Number(process.argv[4]))
} else if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({
    options: {
      rows: { type: 'string', default: '40000' },
      page: { type: 'string', default: '100' },
    },
  })
  await compare(Number(values.rows), Number(values.page))
}
