// The benchmark of one very big file: is memory flat, does the rate hold to the end, is the disk given back?
import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openClient } from './client.mjs'
import { generate } from './generate.mjs'
import { connect, measureB, peakMemory, resetPeak, watchPostgres } from './measure.mjs'
import { phaseSeconds, startServer } from './start.mjs'

const sampleMs = 200
const megabyte = 2 ** 20
/** What always lies in a spool folder. */
const standing = new Set(['muster.lock', 'node-id'])

/**
 * Loads `rows` accounts into an empty source, loads them again in another order, then with every hundredth changed.
 * Gives a line for each load: seconds and ratio to B, the peak of Node and PostgreSQL in MB, the rate of the last tenth
 * of the rows against that of the first (null where too little is copied to tell), and the disk in MB: at the most, when
 * it was over, and what is left of spool and staging.
 */
export async function benchmarkHuge(folder, rows) {
  const files = join(folder, 'huge')
  await mkdir(files)
  const dataDir = join(folder, 'data-huge')
  const path = join(files, 'hr.csv')
  const server = await startServer(dataDir)
  const database = await connect(dataDir)
  const watching = await connect(dataDir)
  try {
    const client = await openClient(server.url, server.clientId, server.clientSecret)
    const sourceId = await client.createSource('Huge')
    const steps = [
      ['first load', {}],
      ['identical reload', { shuffle: true }],
      ['1 % changed', { changed: 100 }],
    ]
    const lines = []
    let b = null
    for (const [name, variant] of steps) {
      await generate(path, rows, variant)
      b ??= await measureB(database, path)
      await database.query('checkpoint')
      resetPeak(server.pid)
      const postgres = watchPostgres(dataDir)
      const copy = watchCopy(watching)
      const disk = watchDisk(dataDir)
      const load = await client.load(sourceId, path)
      const run = await client.call('GET', `/muster/v1/runs/${load.id}`)
      const tenths = await copy.stop(rows)
      const line = {
        name,
        rows,
        b,
        seconds: load.seconds,
        ratio: load.seconds / b,
        nodeMb: peakMemory(server.pid),
        postgresMb: postgres.stop(),
        tenths,
        disk: await disk.stop(),
        left: await leftovers(database, dataDir),
        phases: [`upload ${load.uploadSeconds.toFixed(1)}`, ...phaseSeconds(run)].join(', '),
      }
      lines.push(line)
      print(line)
    }
    return lines
  } finally {
    await watching.end()
    await database.end()
    await server.stop()
    await rm(dataDir, { recursive: true, force: true })
    await rm(files, { recursive: true, force: true })
  }
}

function print(line) {
  const tenths =
    line.tenths === null
      ? 'too few rows copied for a rate'
      : `last tenth at ${(line.tenths * 100).toFixed(0)} % of the rate of the first`
  console.log(
    `${line.rows} rows, ${line.name}: B ${line.b.toFixed(1)} s  Muster ${line.seconds.toFixed(1)} s  ${line.ratio.toFixed(2)} B  ` +
      `node ${line.nodeMb} MB  postgres ${line.postgresMb} MB  ${tenths}  ` +
      `disk ${line.disk.peak} MB at most, ${line.disk.end} MB after, left over: ${line.left}  [${line.phases}]`,
  )
}

/** How PostgreSQL itself counts the rows of the COPY that goes on. */
function watchCopy(database) {
  const samples = []
  let stopped = false
  const loop = async () => {
    while (!stopped) {
      const { rows } = await database.query(
        `select max(tuples_processed)::float8 as rows from pg_stat_progress_copy where command = 'COPY FROM'`,
      )
      samples.push({ at: performance.now(), rows: rows[0].rows ?? 0 })
      await sleep(sampleMs)
    }
  }
  const running = loop()
  return {
    stop: async (total) => {
      stopped = true
      await running
      return rateOfTenths(samples, total)
    },
  }
}

/** The rate of the last tenth divided by that of the first, by the moments at which these counts were passed. */
function rateOfTenths(samples, total) {
  const passed = (count) => {
    const index = samples.findIndex((sample) => sample.rows >= count)
    const [before, after] = [samples[index - 1], samples[index]]
    if (before === undefined || after === undefined) return null
    const share = (count - before.rows) / (after.rows - before.rows)
    return before.at + share * (after.at - before.at)
  }
  // The very first and last rows wait for other things than rows: the file, the flush.
  const moments = [0.01, 0.1, 0.9, 0.99].map((share) => passed(total * share))
  if (moments.includes(null)) return null
  const [from, tenth, nine, to] = moments
  return (tenth - from) / (to - nine)
}

/** The size of the data folder, in MB. */
function watchDisk(dataDir) {
  let peak = 0
  let stopped = false
  const measure = async () => {
    const size = Math.round((await folderBytes(dataDir)) / megabyte)
    peak = Math.max(peak, size)
    return size
  }
  const loop = async () => {
    while (!stopped) {
      await measure()
      await sleep(1000)
    }
  }
  const running = loop()
  return {
    stop: async () => {
      stopped = true
      await running
      return { peak, end: await measure() }
    },
  }
}

async function folderBytes(folder) {
  let bytes = 0
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isDirectory()) bytes += await folderBytes(path)
    else bytes += (await stat(path).catch(() => null))?.size ?? 0
  }
  return bytes
}

/** Files of the spool and tables of runs that are still there some seconds after the end. */
async function leftovers(database, dataDir) {
  let found = ''
  for (let waited = 0; waited < 20; waited += 1) {
    const files = await readdir(join(dataDir, 'spool'))
    const { rows } = await database.query(
      `select relname from pg_class where relkind = 'r' and (relname like 'staging%' or relname like 'plan%')`,
    )
    found = [
      ...files.filter((name) => !standing.has(name)),
      ...rows.map((row) => row.relname),
    ].join(' ')
    if (found === '') return 'nothing'
    await sleep(500)
  }
  return found
}
