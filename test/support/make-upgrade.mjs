// Makes a database as an older version had it, for test/store/upgrade.test.ts: something in every table, what its API said
// of that, and a run that was killed halfway. Arguments: a checkout of that version with its dist/, and the file to write.
// It is run once for each schema that was released, with the program of today built:
//   git worktree add /tmp/old <commit>, build it there, then: node test/support/make-upgrade.mjs /tmp/old test/store/upgrades/0002
import { execFileSync, fork } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import pg from 'pg'

const [old = '', out = ''] = process.argv.slice(2)
const root = join(import.meta.dirname, '..', '..')
const folder = mkdtempSync(join(tmpdir(), 'muster-upgrade-'))
// The database does not run as root, and has to enter it.
chmodSync(folder, 0o711)
const dataDir = join(folder, 'data')
const key = Buffer.from('upgrade test key, upgrade test k').toString('base64')
const administrator = { id: 'upgrade-test', secret: 'the secret of the upgrade tests' }
const environment = {
  PATH: process.env.PATH,
  MUSTER_PORT: '0',
  MUSTER_DATA_DIR: dataDir,
  MUSTER_KEY: key,
  MUSTER_CLIENT_ID: administrator.id,
  MUSTER_CLIENT_SECRET: administrator.secret,
}

/** The file that the source `HR` was loaded from last, and that a reload has to find unchanged. */
const header = 'id,name,givenName,familyName,e-mail,location,manager,groups,startDate,endDate'
const line = (at, place) =>
  `e${at},Person ${at},Given,Family,p${at}@example.test,${place},e${at % 7},staff,2026-01-01,`
const file = (from, to, place) =>
  `${[header, ...Array.from({ length: to - from }, (_, at) => line(from + at, place(from + at)))].join('\n')}\n`
const first = file(0, 20, () => 'Oslo')
const second = file(4, 24, (at) => (at < 8 ? 'Bergen' : 'Oslo'))
const rejected = `${second},No Identity,,,,,,,,\n`

const server = await start()
const token = await obtainToken()
const hr = await makeSource('HR', { password: 'canary-of-the-upgrade' })
await call('PUT', `/muster/v1/sources/${hr}/settings`, { whenBusy: 'queue' })
const gone = await makeSource('Gone', {})
const busy = await makeSource('Busy', {})
const stopped = await makeSource('Stopped', {})
await load(gone, first)
await load(busy, first)
await load(hr, first)
await load(hr, rejected)
await load(hr, second)
await call('DELETE', `/v2025/sources/${gone}`)
await sleep(1500)
const scanner = await call('POST', '/muster/v1/clients', {
  name: 'Scanner',
  level: 'SOURCE_SUBADMIN',
  sourceIds: [hr],
})
await fillByHand()
const paths = [
  '/v2025/sources?sorters=name',
  `/v2025/sources/${hr}`,
  `/v2025/sources/${hr}/schemas`,
  `/muster/v1/sources/${hr}/settings`,
  `/v2025/accounts?filters=sourceId eq "${hr}"&sorters=name&limit=250&count=true`,
  '/v2025/task-status?sorters=-created&limit=250',
  '/muster/v1/audit?limit=250',
  '/muster/v1/clients',
]
const tasks = await call('GET', '/v2025/task-status?limit=250')
for (const { id } of tasks) {
  paths.push(`/v2025/task-status/${id}`)
  for (const rest of ['', '/changes?limit=250', '/rejects?limit=250'])
    paths.push(`/muster/v1/runs/${id}${rest}`)
}
const answers = {}
for (const path of paths) {
  const answer = await fetch(server.url + path, { headers: { authorization: `Bearer ${token}` } })
  if (answer.ok) answers[path] = await answer.json()
}
server.child.send({ at: { step: 'staged', act: 'kill', count: 1 } })
const open = await upload(stopped, first)
await server.ended
rmSync(`${out}.backup`, { force: true })
execFileSync(process.execPath, [join(root, 'bin', 'muster.js'), 'backup', `${out}.backup`], {
  env: environment,
  stdio: 'inherit',
})
const facts = {
  key,
  administrator,
  scanner: { id: scanner.id, secret: scanner.secret },
  sources: { hr, busy, stopped },
  open,
  reload: second,
  answers,
}
writeFileSync(`${out}.json.gz`, gzipSync(JSON.stringify(facts)))
rmSync(folder, { recursive: true })

async function start() {
  const script = join(root, 'test', 'support', 'kill-server.mjs')
  const child = fork(script, [join(old, 'dist')], { env: environment, silent: true })
  let log = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (log += text))
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const url = await new Promise((resolve, reject) => {
    child.on('message', (message) =>
      message.url ? resolve(message.url) : reject(new Error(message.failed)),
    )
    void ended.then(() => reject(new Error(log)))
  })
  return { child, url, ended }
}

async function obtainToken() {
  const form = {
    grant_type: 'client_credentials',
    client_id: administrator.id,
    client_secret: administrator.secret,
  }
  const answer = await fetch(`${server.url}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams(form),
  })
  return (await answer.json()).access_token
}

async function call(method, path, body) {
  const answer = await fetch(server.url + path, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
  return text === '' ? null : JSON.parse(text)
}

async function makeSource(name, connectorAttributes) {
  const made = await call('POST', '/v2025/sources?provisionAsCsv=true', {
    name,
    owner: null,
    connector: 'delimited-file-angularsc',
    connectorAttributes,
    deleteThreshold: 100,
  })
  return made.id
}

async function upload(source, text) {
  const form = new FormData()
  form.append('file', new Blob([text]), 'accounts.csv')
  const answer = await fetch(`${server.url}/v2025/sources/${source}/load-accounts`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: form,
  })
  return (await answer.json()).task.id
}

async function load(source, text) {
  const id = await upload(source, text)
  for (;;) {
    const task = await call('GET', `/v2025/task-status/${id}`)
    if (task.completed) return
    await sleep(50)
  }
}

/** What the API of that version had no way to make. */
async function fillByHand() {
  const [, , , port, host] = readFileSync(
    join(dataDir, 'postgres', 'postmaster.pid'),
    'utf8',
  ).split('\n')
  const client = new pg.Client({ host, port: Number(port), user: 'muster', database: 'postgres' })
  await client.connect()
  const link = `select id, (select identity_id from client where id = '${administrator.id}'), 'manual', opened_run`
  await client.query(`insert into account_link ${link} from account order by id limit 3`)
  await client.query(
    `insert into account_link_history ${link}, opened_run + 1 from account order by id desc limit 3`,
  )
  const { rows } = await client.query(`select to_regclass('read_state') is not null as found`)
  if (rows[0].found) {
    await client.query(
      `insert into read_state (source_id, cursor, seed, run_number)
       select id, '{"high":42}', '\\x0102', 1 from source where name = 'Busy'`,
    )
  }
  const { rows: tables } = await client.query(
    `select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace and relpersistence = 'p'`,
  )
  for (const { relname } of tables) {
    const { rows: found } = await client.query(`select from "${relname}" limit 1`)
    if (found.length === 0) process.stderr.write(`the table ${relname} is empty\n`)
  }
  await client.end()
}
