// docs/reference/filters.md lists the fields of each list; the lists themselves say so too, in the hint of a wrong filter.
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { accountRoutes } from '../../src/api/accounts.ts'
import { sourceRoutes } from '../../src/api/sources.ts'
import { taskStatusRoutes } from '../../src/api/task-status.ts'
import { generateMasterKey, parseMasterKey } from '../../src/store/sealed.ts'
import { makeCaller, serveRoutes } from '../support/call-routes.ts'
import type { RouteServer } from '../support/call-routes.ts'
import { testDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'

let database: TestDatabase
let server: RouteServer
let page: string

beforeAll(async () => {
  database = await testDatabase()
  const { db } = database
  const masterKey = parseMasterKey(generateMasterKey())
  server = await serveRoutes(
    [
      ...sourceRoutes({ db, masterKey, descriptions: [], wake: () => undefined }),
      ...accountRoutes({ db }),
      ...taskStatusRoutes({ db }),
    ],
    await makeCaller(db, 'ORG_ADMIN'),
  )
  page = await readFile(new URL('../../docs/reference/filters.md', import.meta.url), 'utf8')
})
afterAll(async () => {
  await server?.close()
  await database?.drop()
})

const byName = (a: string, b: string): number => a.localeCompare(b)
const quoted = (text: string): string[] =>
  [...text.matchAll(/`([\w.]+)`/g)].map((match) => match[1] ?? '')

async function hintOf(query: string): Promise<string[]> {
  const answer = await server.call('GET', query)
  expect(answer.status).toBe(400)
  const text: string = answer.body.messages[0].text
  return (/(?:Filter|Sort) by (.*)\.$/.exec(text)?.[1] ?? '').split(', ')
}

it.each(['/sources', '/accounts', '/task-status'])(
  'the page lists the fields of %s',
  async (path) => {
    const section = page.split('\n## ').find((one) => one.includes(`\`GET ${path}\``)) ?? ''
    const rows = section.split('\n').filter((line) => line.startsWith('| `'))
    const fields = rows.flatMap((line) => quoted(line.split('|')[1] ?? ''))
    expect(fields.toSorted(byName)).toEqual(
      (await hintOf(`/v2025${path}?filters=nope+isnull`)).toSorted(byName),
    )
    const sorters = /Sorters?: ([\s\S]*?)(?:\.\n|;)/.exec(section)?.[1] ?? ''
    expect(quoted(sorters).toSorted(byName)).toEqual(
      (await hintOf(`/v2025${path}?sorters=nope`)).toSorted(byName),
    )
    for (const row of rows) {
      const [, names = '', operators = ''] = row.split('|')
      for (const field of quoted(names)) {
        const answer = await server.call('GET', `/v2025${path}?filters=${field}+zz+1`)
        expect(answer.status).toBe(400)
        for (const op of ['eq', 'ne', 'gt', 'ge', 'lt', 'le', 'co', 'sw', 'in', 'ca', 'isnull']) {
          const value = op === 'isnull' ? '' : op === 'in' || op === 'ca' ? '("x")' : '"x"'
          const filter = encodeURIComponent(`${field} ${op} ${value}`)
          const { text } = await server.call(
            'GET',
            `/v2025${path}?limit=0&count=true&filters=${filter}`,
          )
          const isTaken = !text.includes('does not take the operator')
          expect([field, op, isTaken]).toEqual([field, op, operators.split(/[ ;]+/).includes(op)])
        }
      }
    }
  },
)
