// A SCIM 2.0 server with twenty users on port 3891 of this machine, made with scimmy. Runs until it is stopped, or while a command runs:
// node server.mjs [command …]
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import express from 'express'
import { SCIMMY, SCIMMYRouters } from 'scimmy-routers'

const port = 3891
const token = 'reader-token'

const users = new Map()
const groups = new Map()

function meta(created = new Date()) {
  return { created, lastModified: new Date() }
}

/** What scimmy asks for when a resource (or all of them) is read, written or removed. */
function connect(Resource, items) {
  SCIMMY.Resources.declare(
    Resource.egress((asked) => {
      if (asked.id === undefined) {
        const all = [...items.values()]
        return asked.filter?.match(all) ?? all
      }
      const item = items.get(asked.id)
      if (item === undefined) throw new SCIMMY.Types.Error(404, '', `There is no ${asked.id}`)
      return item
    })
      .ingress((asked, given) => {
        const id = asked.id ?? crypto.randomUUID()
        const before = items.get(id)
        // The groups of a user are not written with the user (RFC 7643, section 4.1.2).
        const item = { ...JSON.parse(JSON.stringify(given)), id, groups: before?.groups }
        item.meta = meta(before?.meta.created)
        items.set(id, item)
        return item
      })
      .degress((asked) => {
        items.delete(asked.id)
      }),
  )
}

function fill() {
  for (const [id, displayName] of Object.entries({ staff: 'Staff', admins: 'Administrators' })) {
    groups.set(id, { id, displayName, members: [], meta: meta() })
  }
  for (let number = 1; number <= 20; number += 1) {
    const id = `user-${number}`
    const held = number % 10 === 0 ? ['staff', 'admins'] : ['staff']
    for (const group of held) groups.get(group).members.push({ value: id, type: 'User' })
    users.set(id, {
      id,
      userName: `user${number}@example.com`,
      displayName: `User ${number}`,
      name: { givenName: 'User', familyName: `Number ${number}` },
      title: 'Clerk',
      active: number !== 7,
      emails: [{ value: `user${number}@example.com`, type: 'work', primary: true }],
      groups: held.map((value) => ({ value, display: groups.get(value).displayName })),
      meta: meta(),
    })
  }
}

fill()
connect(SCIMMY.Resources.User, users)
connect(SCIMMY.Resources.Group, groups)

const app = express()
app.use((request, _response, next) => {
  // Express 5 builds the query anew whenever it is asked for, and scimmy-routers writes numbers into it: without this
  // every page would be the first. Muster finds that out, and ends the run with the error repeated_record.
  const query = { ...request.query }
  for (const name of ['startIndex', 'count']) if (name in query) query[name] = Number(query[name])
  Object.defineProperty(request, 'query', { value: query })
  next()
})
app.use(
  '/scim/v2',
  new SCIMMYRouters({
    type: 'bearer',
    handler: (request) => {
      if (request.headers.authorization === `Bearer ${token}`) return 'reader'
      throw new Error('This token is not known.')
    },
  }),
)
const server = createServer(app).listen(port, '127.0.0.1')
await once(server, 'listening')

const [command, ...parts] = process.argv.slice(2)
if (command === undefined) {
  console.log(`http://127.0.0.1:${port}/scim/v2, token ${token}`)
} else {
  const child = spawn(command, parts, { stdio: 'inherit' })
  const [code] = await once(child, 'exit')
  process.exitCode = code ?? 1
  server.close()
  server.closeAllConnections()
}
