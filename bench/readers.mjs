// The readers of direct sources, each against what its system needs by itself, on the same machine in the same minute.
import { mkdtemp, rm, chmod } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openClient } from './client.mjs'
import { columns, generate } from './generate.mjs'
import { connect, peakMemory, resetPeak } from './measure.mjs'
import { phaseSeconds, startServer } from './start.mjs'

/** Turns of each measurement; the quickest counts, for the system and for Muster alike. */
const turns = 2

/**
 * Measures the readers whose names are in `only` (all when it is empty), and gives a line for each. `rows` of SQL sources;
 * the others have fewer.
 */
export async function benchmarkReaders(rows, only = []) {
  const folder = await mkdtemp(join(tmpdir(), 'muster-bench-readers-'))
  await chmod(folder, 0o755)
  const dataDir = join(folder, 'data')
  const started = await startServer(dataDir)
  const database = await connect(dataDir)
  const server = { ...started, settle: () => settle(database) }
  try {
    const client = await openClient(server.url, server.clientId, server.clientSecret)
    const csv = join(folder, 'first.csv')
    await generate(csv, rows)
    const wanted = (name) => only.length === 0 || only.includes(name)
    const lines = []
    for (const [name, measure] of systems(server, client, rows, csv)) {
      if (!wanted(name)) continue
      const line = await measure()
      if (line === null) continue
      lines.push(line)
      print(line)
    }
    return lines
  } finally {
    await database.end()
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * What the run before left to do is not to be measured with the next one. Sources are kept for the same reason: removing a
 * million accounts writes their history, beside whatever runs then.
 */
async function settle(database) {
  await new Promise((resolve) => setTimeout(resolve, 1000))
  await database.query('checkpoint')
}

/** Each with its own programs, which are looked for only when it is measured. */
function systems(server, client, rows, csv) {
  const some = Math.min(rows, 100_000)
  return [
    ['ldap', () => ldap(server, client, some)],
    ['postgresql', () => sql(server, client, 'postgresql', 'preparePostgresql', rows, csv)],
    ['mariadb', () => sql(server, client, 'mysql', 'prepareMariadb', rows, csv)],
    // scimmy is a real server and slow; one that has its answers ready shows what the reader itself needs.
    ['scim', () => http(server, client, 'scim', Math.min(rows, 4_000), { kind: 'scimmy' })],
    [
      'scim ready',
      () => http(server, client, 'scim', Math.min(rows, 40_000), { kind: 'rendered' }),
    ],
    ['saas', () => http(server, client, 'saas', some)],
  ]
}

async function ldap(server, client, rows) {
  const { prepareLdap } = await import('./ldap.mjs')
  const system = await prepareLdap(rows)
  try {
    const reference = await quickest(() => system.ldapsearchMs())
    const { settings, attributes } = system
    const source = { connector: 'ldap', settings, attributes, identityAttribute: 'dn' }
    const read = await loadOften(server, client, source)
    return {
      name: 'ldap',
      rows,
      reference: 'ldapsearch',
      ...compare(read, reference / 1000),
      aim: 2,
    }
  } finally {
    await system.close()
  }
}

async function sql(server, client, connector, prepare, rows, csv) {
  const system = await (await import('./sql.mjs'))[prepare](rows)
  if (system === null) return null
  try {
    let reference = Number.POSITIVE_INFINITY
    for (let turn = 0; turn < turns; turn += 1) {
      const source = await client.createSource(`CSV for ${connector} ${turn}`)
      await server.settle()
      reference = Math.min(reference, (await client.load(source, csv)).seconds)
    }
    const { settings } = system
    const source = { connector, settings, attributes: columns, identityAttribute: columns[0] }
    const read = await loadOften(server, client, source)
    const name = connector === 'mysql' ? 'mariadb' : connector
    return { name, rows, reference: 'the same as CSV', ...compare(read, reference), aim: 1 }
  } finally {
    await system.close()
  }
}

async function http(server, client, connector, rows, options = {}) {
  const { prepareSaas, prepareScim } = await import(`./${connector}.mjs`)
  const system = await (prepareScim ?? prepareSaas)(rows, options)
  try {
    const reference = await quickest(() => system.serveOnlyMs())
    const { settings, attributes } = system
    const read = await loadOften(server, client, { connector, settings, attributes })
    return {
      name: options.kind === undefined ? connector : `${connector} (${options.kind})`,
      rows,
      reference: 'a bare client',
      ...compare(read, reference / 1000),
      aim: null,
    }
  } finally {
    await system.close()
  }
}

/** First loads of sources of their own; the quickest of them. */
async function loadOften(server, client, source) {
  let best = null
  for (let turn = 0; turn < turns; turn += 1) {
    const id = await createDirect(client, `${source.connector} ${turn}`, source)
    await server.settle()
    resetPeak(server.pid)
    const load = await client.loadDirect(id)
    const run = await client.call('GET', `/muster/v1/runs/${load.id}`)
    const nodeMb = peakMemory(server.pid)
    if (best === null || load.seconds < best.seconds) {
      best = { seconds: load.seconds, nodeMb, phases: phaseSeconds(run).join(', ') }
    }
  }
  return best
}

async function createDirect(client, name, { connector, settings, attributes, identityAttribute }) {
  const source = await client.call('POST', '/v2025/sources', {
    name,
    owner: null,
    connector,
    deleteThreshold: 50,
    connectorAttributes: settings,
  })
  if (attributes === undefined) return source.id
  const schemas = await client.call('GET', `/v2025/sources/${source.id}/schemas`)
  const schema = schemas.find((one) => one.name === 'account')
  await client.call('PUT', `/v2025/sources/${source.id}/schemas/${schema.id}`, {
    ...schema,
    identityAttribute: identityAttribute ?? schema.identityAttribute,
    displayAttribute: attributes[1],
    attributes: attributes.map((attribute) => ({ name: attribute, type: 'STRING' })),
  })
  return source.id
}

async function quickest(measureMs) {
  let best = Number.POSITIVE_INFINITY
  for (let turn = 0; turn < turns; turn += 1) best = Math.min(best, await measureMs())
  return best
}

function compare(read, referenceSeconds) {
  return { ...read, referenceSeconds, ratio: read.seconds / referenceSeconds }
}

function print(line) {
  const aim = line.aim === null ? '' : ` (aim ${line.aim})`
  console.log(
    `${line.name.padEnd(11)} ${line.rows.toLocaleString('en').padStart(9)} rows  ${line.reference} ${line.referenceSeconds.toFixed(2)} s  ` +
      `Muster ${line.seconds.toFixed(2)} s  ratio ${line.ratio.toFixed(2)}${aim}  node ${line.nodeMb} MB  [${line.phases}]`,
  )
}
