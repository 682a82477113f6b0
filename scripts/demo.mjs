// `npm run demo`: the main job from an empty folder, told on one screen. `-- --keep` leaves the server running afterwards.
import { setTimeout as sleep } from 'node:timers/promises'
import { columns, firstFile, secondFile } from './demo-data.mjs'
import {
  bold,
  count,
  dim,
  green,
  number,
  progressBar,
  red,
  say,
  section,
  table,
  yellow,
} from './demo-screen.mjs'
import { startServer } from './demo-server.mjs'
import { ensure } from './ensure.mjs'

const accounts = 100_000
const keep = process.argv.includes('--keep')

ensure()
// A closed terminal takes the output away; the server still has to be stopped in order.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
const server = await startServer()
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
]) {
  process.once(signal, () => {
    void server.stop().then(() => process.exit(code))
  })
}
try {
  await main()
  if (keep) await stayUntilStopped()
} catch (error) {
  say()
  say(red(`The demo failed: ${error.message}`))
  process.exitCode = 1
} finally {
  await server.stop()
}

async function main() {
  section('Muster', `a server of its own at ${server.url}, data in ${server.dataDir}`)
  const api = await connect()
  const source = await createSource(api)

  const first = firstFile(accounts)
  section('First file', `${count(accounts, 'account')}, ${megabytes(first)}`)
  await aggregate(api, source, first)

  const second = secondFile(accounts)
  section('Second file', `the day after, ${megabytes(second.text)}`)
  const run = await aggregate(api, source, second.text)
  await showChanges(api, run)
  await showRejects(api, run)
  goOn()
}

/** A token by a multipart form and calls with it, the way the official TypeScript SDK does both. */
async function connect() {
  const form = new FormData()
  form.append('grant_type', 'client_credentials')
  form.append('client_id', server.clientId)
  form.append('client_secret', server.clientSecret)
  const answer = await fetch(`${server.url}/oauth/token`, { method: 'POST', body: form })
  const { access_token: token } = await read(answer)
  return async (method, path, body) => {
    const isForm = body instanceof FormData
    const response = await fetch(`${server.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined || isForm ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
    })
    const value = await read(response)
    return { value, total: Number(response.headers.get('x-total-count')) }
  }
}

async function read(response) {
  const text = await response.text()
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}: ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}

async function createSource(api) {
  const { value: source } = await api('POST', '/v2025/sources?provisionAsCsv=true', {
    name: 'HR',
    description: 'The demo of Muster.',
    owner: null,
    connector: 'delimited-file-angularsc',
  })
  const [{ id: schemaId }] = source.schemas
  const path = `/v2025/sources/${source.id}/schemas/${schemaId}`
  const { value: schema } = await api('GET', path)
  await api('PUT', path, {
    ...schema,
    identityAttribute: 'employeeId',
    displayAttribute: 'displayName',
    attributes: columns,
  })
  const typed = columns.filter(({ type }) => type !== 'STRING')
  const names = typed.map(({ name, type }) => `${name} ${type}`).join(', ')
  say(`  Source ${bold('HR')} with ${columns.length} columns, among them ${names}`)
  return source
}

/** Uploads a file as the part `file` of a form, follows the task to its end, and says what came of it. */
async function aggregate(api, source, text) {
  const begin = performance.now()
  const bar = progressBar()
  bar.show(0, 'uploading')
  const form = new FormData()
  form.append('file', new Blob([text], { type: 'text/csv' }), 'hr.csv')
  const { value } = await api('POST', `/v2025/sources/${source.id}/load-accounts`, form)
  const task = await follow(api, value.task.id, bar)
  const seconds = (performance.now() - begin) / 1000
  bar.clear()
  if (task.completionStatus !== 'SUCCESS' && task.completionStatus !== 'WARNING') {
    throw new Error(`${task.completionStatus}: ${task.messages.map(({ key }) => key).join(' ')}`)
  }
  const { total, created, updated, deleted, optimized } = task.attributes
  const colour = task.completionStatus === 'SUCCESS' ? green : yellow
  say(
    `  ${colour(task.completionStatus)} in ${seconds.toFixed(1)} s, ${bold(`${number(total / seconds)} accounts/s`)}` +
      dim(' from the first byte of the upload'),
  )
  say(
    `  ${number(created)} created, ${number(updated)} updated, ${number(deleted)} removed, ${number(optimized)} unchanged`,
  )
  return task
}

async function follow(api, id, bar) {
  for (;;) {
    const { value: task } = await api('GET', `/v2025/task-status/${id}`)
    if (task.completionStatus !== null) return task
    bar.show(task.percentComplete, task.progress ?? 'waiting')
    await sleep(100)
  }
}

async function showChanges(api, run) {
  const kinds = [
    { kind: 'created', word: 'new', colour: green },
    { kind: 'updated', word: 'changed', colour: yellow },
    { kind: 'removed', word: 'gone', colour: red },
  ]
  section('What changed')
  for (const { kind, word, colour } of kinds) {
    const path = `/muster/v1/runs/${run.id}/changes?kind=${kind}&limit=2&count=true`
    const { value: changes, total } = await api('GET', path)
    say(`  ${colour(`${number(total)} ${word}`)}${total > 0 ? ', for example' : ''}`)
    table(changes.map((change) => ['', change.nativeIdentity, describe(change)]))
  }
}

function describe({ before, after }) {
  if (before === null || after === null) {
    const { displayName, department, title } = (after ?? before).attributes ?? after ?? before
    return [displayName, department, title].filter(Boolean).join(', ')
  }
  const [was, is] = [before.attributes ?? before, after.attributes ?? after]
  const differing = Object.keys({ ...was, ...is }).filter((key) => was[key] !== is[key])
  return differing.map((key) => `${key}: ${was[key]} → ${is[key]}`).join(', ')
}

async function showRejects(api, run) {
  const { value: rejects, total } = await api(
    'GET',
    `/muster/v1/runs/${run.id}/rejects?limit=10&count=true`,
  )
  section('Rejected', `${count(total, 'row')}; what is known of these accounts stays as it was`)
  table(
    rejects.map(({ position, nativeIdentity, reason }) => [
      `line ${number(position)}`,
      nativeIdentity ?? '',
      reason,
    ]),
  )
}

function goOn() {
  const url = keep ? server.url : 'http://127.0.0.1:8080'
  section('Go on', keep ? 'this server stays' : 'with the data of this demo')
  const rows = [
    ['API', `${url}/v2025/sources`],
    ['Docs', `${url}/docs`],
    ['Health', `${url}/health/ready`],
    ['Client id', server.clientId],
    ['Client secret', server.clientSecret],
  ]
  table(keep ? rows : [['Serve', `MUSTER_DATA_DIR=${server.dataDir} npm start`], ...rows])
  say()
  say(dim(keep ? '  Press Ctrl-C to stop it.' : '  npm start serves an empty one of your own.'))
}

// npm and its shell die at once on a signal and leave this process an orphan: then it ends too, with its server.
async function stayUntilStopped() {
  const parent = process.ppid
  let serving = true
  void server.ended.then(() => (serving = false))
  while (serving && process.ppid === parent) await sleep(500)
}

function megabytes(text) {
  return `${(Buffer.byteLength(text) / 1_000_000).toFixed(1)} MB`
}
