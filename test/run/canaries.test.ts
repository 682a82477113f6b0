// Values that must not leak are sent through everything: accepted, rejected, changed, asked for, misspelt. Then they are
// looked for in what Muster logged at its most talkative level, in the log of its database, and on its disk.
import { chmod, mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkout } from '../support/build.ts'
import {
  buildServer,
  clientSecret,
  connectTo,
  removeData,
  startServer,
} from '../support/server-process.ts'
import type { ServerClient, ServerProcess } from '../support/server-process.ts'

/** Values of accounts, each at a place of its own. */
const personal = {
  accepted: 'mail-canary@example.test',
  changed: 'changed-canary-7781',
  identity: 'identity-canary-0042',
  rejected: 'rejected-canary-078-05-1120',
  malformed: 'malformed-canary-219',
  asked: 'asked-canary-554',
  patched: 'patched-canary-318',
  long: 'long-canary-903',
}
/** What opens something. */
const secrets = {
  source: 'source-secret-canary-5f1d',
  wrong: 'wrong-secret-canary-77aa',
  query: 'query-secret-canary-c3c3',
  token: 'eyJ-token-canary.eyJ-token.canary',
}

let build: string
let dataDir: string
let server: ServerProcess
let client: ServerClient
let log = ''

beforeAll(async () => {
  build = await buildServer()
  dataDir = await mkdtemp(join(tmpdir(), 'muster-canaries-'))
  await chmod(dataDir, 0o755)
  server = await startServer({
    build,
    dataDir,
    env: {
      MUSTER_LOG_LEVEL: 'trace',
      MUSTER_CONNECTORS: join(checkout, 'test', 'connect', 'chaos-connector.mjs'),
    },
  })
  client = await connectTo(server.url)
  await sendEverything()
  log = server.log()
  await server.end('SIGTERM')
}, 180_000)
afterAll(async () => {
  await server?.end('SIGTERM')
  await removeData(dataDir)
  await rm(build, { recursive: true, force: true })
})

async function sendEverything(): Promise<void> {
  const source = await client.createSource('Canaries')
  await client.ended(await client.upload(source, file(personal.accepted)))
  await client.ended(await client.upload(source, file(personal.changed)))
  await uploadNamed(source, 'a\u001b[2J\u2028{"level":60,"msg":"forged"}.csv')
  // A file that ends within quotes fails the run; one that is no text has bytes where a value would be.
  await client.ended(await client.upload(source, `id,name\n1,"${personal.malformed}\n`))
  for (const filter of [`name eq "${personal.asked}"`, `nope eq "${personal.asked}"`]) {
    await client.call('GET', `/accounts?filters=${encodeURIComponent(filter)}`)
  }
  await client.call('GET', `/accounts/${personal.accepted}`)
  await fetch(`${server.url}/nowhere/cn=${personal.asked},ou=people`)
  await changed(source, '/description')
  await changed(source, `/${personal.patched}`)
  await client.call('POST', '/sources', { name: personal.patched, broken: personal.patched })
  await askSystem()
  // A name that is taken is refused by the database itself, and PostgreSQL would quote it in its log.
  await client.createSource(personal.patched)
  const taken = await changed(source, '/name')
  expect(taken.status).toBe(400)
  await fetch(`${server.url}/v2025/sources?access_token=${secrets.query}`)
  const login = `grant_type=client_credentials&client_id=x&client_secret=${secrets.query}`
  await fetch(`${server.url}/oauth/token?${login}`, { method: 'POST' })
  await fetch(`${server.url}/v2025/sources`, {
    headers: { authorization: `Bearer ${secrets.token}` },
  })
}

function changed(source: string, path: string): Promise<Response> {
  return fetch(`${server.url}/v2025/sources/${source}`, {
    method: 'PATCH',
    headers: {
      authorization: client.authorization,
      'content-type': 'application/json-patch+json',
    },
    body: JSON.stringify([{ op: 'replace', path, value: personal.patched }]),
  })
}

/** An accepted row, rejects of every kind, and rows that are merged or gone in the next file. */
function file(value: string): string {
  return [
    'id,name,e-mail',
    `${personal.identity},Ann,${value}`,
    `,nobody,${personal.rejected}`,
    `${personal.identity},Ann again,${personal.rejected}`,
    `broken,"quoted" ${personal.malformed},x`,
    `cells,x,y,${personal.rejected}`,
    `${personal.long}${'x'.repeat(5_000)},too long,x`,
    `gone-${value},Bob,${value}`,
    '',
  ].join('\n')
}

async function uploadNamed(source: string, name: string): Promise<void> {
  const form = new FormData()
  form.append('file', new Blob([file(personal.accepted)]), name)
  form.append('disableOptimization', personal.asked)
  await fetch(client.uploadUrl(source), {
    method: 'POST',
    headers: { authorization: client.authorization },
    body: form,
  })
}

/** A system with a secret that it takes, and one that it refuses. */
async function askSystem(): Promise<void> {
  const systems = [
    { records: 3, apiToken: secrets.source },
    { records: 3, password: secrets.wrong },
    { records: 3, apiToken: secrets.source, behaviour: 'errorAfter' },
    { records: 3, apiToken: secrets.source, behaviour: 'badValues' },
  ]
  for (const [index, connectorAttributes] of systems.entries()) {
    const made = await client.call('POST', '/sources', {
      name: `System ${index}`,
      owner: null,
      connector: 'chaos',
      connectorAttributes,
    })
    expect(made.status).toBe(201)
    const text = await made.text()
    expect(text).not.toContain('canary')
    const { id } = JSON.parse(text) as { id: string }
    const check = await client.call('POST', `/sources/${id}/connector/check-connection`)
    expect(await check.text()).not.toContain('canary')
    await client.call('POST', `/sources/${id}/connector/peek-resource-objects`, { maxCount: 1 })
    const sent = await client.call('POST', `/sources/${id}/load-accounts`, {})
    const { task } = (await sent.json()) as { task: { id: string } }
    expect(JSON.stringify(await client.ended(task.id))).not.toContain('canary')
  }
}

const leaked = (text: string): string[] =>
  [...Object.values(personal), ...Object.values(secrets), clientSecret].filter((value) =>
    text.includes(value),
  )

describe('what Muster logs at its most talkative level', () => {
  it('holds no value of an account and no secret', () => {
    expect(log.split('\n').length).toBeGreaterThan(40)
    expect(log).toContain('load-accounts')
    expect(leaked(log)).toEqual([])
  })

  it('is one JSON object a line, whatever names are sent', () => {
    for (const line of log.split('\n').filter((one) => one.startsWith('{'))) {
      expect(() => void JSON.parse(line), line).not.toThrow()
    }
    expect(log).not.toContain('\u001b')
    expect(log).not.toMatch(/"msg":"forged"/)
  })
})

describe('what is on the disk afterwards', () => {
  it('is nothing of these values in the log of the database', async () => {
    const names = (await readdir(dataDir, { recursive: true })).filter((name) =>
      /\.log(\.\d+)?$/.test(name),
    )
    expect(names.some((name) => name.endsWith('postgres.log'))).toBe(true)
    for (const name of names)
      expect(leaked(await readFile(join(dataDir, name), 'utf8'))).toEqual([])
  })

  it('is no secret anywhere in the data folder, where the accounts are found', async () => {
    const files = (await readdir(dataDir, { recursive: true, withFileTypes: true })).filter(
      (entry) => entry.isFile(),
    )
    const found = new Set<string>()
    for (const entry of files) {
      const bytes = await readFile(join(entry.parentPath, entry.name))
      for (const value of [...Object.values(secrets), clientSecret, personal.changed]) {
        if (bytes.includes(value)) found.add(value)
      }
    }
    // The last one tells that this search would find them.
    expect([...found]).toEqual([personal.changed])
  })

  it('is no upload that waits', async () => {
    const spool = await readdir(join(dataDir, 'spool'))
    expect(spool.filter((name) => name.startsWith('upload-'))).toEqual([])
  })
})
