// The benchmark: B and Muster side by side, in one run, on one server with the same settings. Prints ratios to B.
// node bench/run.mjs [--rows 100000,1000000] [--readers ldap,postgresql,mariadb,scim,saas] [--reader-rows 1000000] [--huge] [--huge-rows 10000000] [--write]
// `--rows` alone measures files, `--readers` alone readers (`all` of them, or some), neither measures both. --write also
// puts the tables into docs/performance.md. --huge measures nothing but one big file.
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openClient } from './client.mjs'
import { generate } from './generate.mjs'
import { benchmarkHuge } from './huge.mjs'
import { benchmarkReaders } from './readers.mjs'
import { phaseSeconds, startServer } from './start.mjs'
import { connect, measureB, peakMemory, percentile, resetPeak, watchPostgres } from './measure.mjs'

const { values: options } = parseArgs({
  options: {
    rows: { type: 'string' },
    readers: { type: 'string' },
    'reader-rows': { type: 'string', default: '1000000' },
    huge: { type: 'boolean' },
    'huge-rows': { type: 'string', default: '10000000' },
    write: { type: 'boolean' },
  },
})
const both = options.rows === undefined && options.readers === undefined && options.huge !== true
const rowCounts = both ? '100000,1000000' : options.rows
const readers = both ? 'all' : options.readers

const aims = { 'first load': 1.5, 'identical reload': 0.5, '1 % changed': 0.75 }

const folder = await mkdtemp(join(tmpdir(), 'muster-bench-'))
await chmod(folder, 0o755)
try {
  const tables = []
  for (const rows of rowCounts?.split(',').map(Number) ?? []) tables.push(await benchmark(rows))
  const only = readers === 'all' ? [] : (readers?.split(',') ?? [])
  const lines =
    readers === undefined ? [] : await benchmarkReaders(Number(options['reader-rows']), only)
  const huge =
    options.huge === true ? await benchmarkHuge(folder, Number(options['huge-rows'])) : []
  if (options.write) {
    if (tables.length > 0) await writeResults('results', tables.map(tableOf))
    if (lines.length > 0) await writeResults('readers', [tableOfReaders(lines)])
    if (huge.length > 0) await writeResults('huge', [tableOfHuge(huge)])
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}

async function benchmark(rows) {
  const files = join(folder, `files-${rows}`)
  await mkdir(files)
  const paths = {
    first: join(files, 'first.csv'),
    shuffled: join(files, 'shuffled.csv'),
    changed: join(files, 'changed.csv'),
    removed: join(files, 'removed.csv'),
  }
  await generate(paths.first, rows)
  await generate(paths.shuffled, rows, { shuffle: true })
  await generate(paths.changed, rows, { changed: 100 })
  await generate(paths.removed, rows, { removed: 100 })

  const dataDir = join(folder, `data-${rows}`)
  const server = await startServer(dataDir)
  const database = await connect(dataDir)
  try {
    const client = await openClient(server.url, server.clientId, server.clientSecret)
    const lines = []
    const sourceId = await client.createSource('Benchmark')
    const warm = await client.createSource('Warm up')
    const small = join(files, 'small.csv')
    await generate(small, 2000)
    await client.load(warm, small)
    await client.load(warm, small)
    const steps = [
      ['first load', paths.first],
      ['identical reload', paths.shuffled],
      ['1 % changed', paths.changed],
      ['1 % removed', paths.removed],
    ]
    for (const [name, path] of steps) {
      // What the run before left to do (statistics, tables to drop) is not to be measured with the next one.
      await new Promise((resolve) => setTimeout(resolve, 1000))
      const b = await measureB(database, paths.first)
      await database.query('checkpoint')
      resetPeak(server.pid)
      const postgres = watchPostgres(dataDir)
      const load = await client.load(sourceId, path)
      const run = await client.call('GET', `/muster/v1/runs/${load.id}`)
      lines.push({
        name,
        b,
        seconds: load.seconds,
        ratio: load.seconds / b,
        aim: aims[name] ?? null,
        nodeMb: peakMemory(server.pid),
        postgresMb: postgres.stop(),
        phases: [`upload ${load.uploadSeconds.toFixed(2)}`, ...phaseSeconds(run)].join(', '),
      })
      print(lines.at(-1))
    }
    const latencies = await probeDuringLoad(client, sourceId, paths)
    printLatencies(latencies)
    return { rows, lines, latencies }
  } finally {
    await database.end()
    await server.stop()
    await rm(dataDir, { recursive: true, force: true })
    await rm(files, { recursive: true, force: true })
  }
}

/** Reads while another source has its first load, and while this one is reloaded with 1 % changed. */
async function probeDuringLoad(client, sourceId, paths) {
  const filters = encodeURIComponent(`sourceId eq "${sourceId}"`)
  const tasks = await client.call('GET', '/v2025/task-status?limit=1')
  const other = await client.createSource('Second')
  const accounts = client.probe(`/v2025/accounts?limit=50&filters=${filters}`)
  const status = client.probe(`/v2025/task-status/${tasks[0].id}`)
  await client.load(other, paths.first)
  await client.load(sourceId, paths.changed)
  return Object.entries({
    'GET /accounts': await accounts.stop(),
    'GET /task-status': await status.stop(),
  }).map(([name, values]) => ({
    name,
    calls: values.length,
    p50: percentile(values, 0.5),
    p99: percentile(values, 0.99),
  }))
}

function print(line) {
  const aim = line.aim === null ? '' : ` (aim ${line.aim} B)`
  console.log(
    `${line.name.padEnd(17)} B ${line.b.toFixed(2)} s  Muster ${line.seconds.toFixed(2)} s  ${line.ratio.toFixed(2)} B${aim}  ` +
      `node ${line.nodeMb} MB  postgres ${line.postgresMb} MB  [${line.phases}]`,
  )
}

function printLatencies(latencies) {
  for (const { name, calls, p50, p99 } of latencies) {
    console.log(
      `${name.padEnd(17)} p50 ${p50.toFixed(1)} ms  p99 ${p99.toFixed(1)} ms  (${calls} calls while runs applied; aim p99 100 ms)`,
    )
  }
}

/** Puts tables between two marks of docs/performance.md. */
async function writeResults(mark, tables) {
  const path = new URL('../docs/performance.md', import.meta.url)
  const page = await readFile(path, 'utf8')
  const [cpu] = cpus()
  const machine = `${new Date().toISOString().slice(0, 10)} · ${cpus().length} cores (${cpu?.model.trim() ?? 'unknown'}), ${Math.round(totalmem() / 2 ** 30)} GiB · Node ${process.version} · embedded PostgreSQL 18`
  const marked = new RegExp(`<!-- ${mark} -->[\\s\\S]*<!-- end of ${mark} -->`)
  const results = `<!-- ${mark} -->\n\n${machine}\n\n${tables.join('\n\n')}\n\n<!-- end of ${mark} -->`
  await writeFile(
    path,
    page.replace(marked, () => results),
  )
}

function tableOf({ rows, lines, latencies }) {
  const body = lines.map(
    (line) =>
      `| ${line.name} | ${line.b.toFixed(2)} s | ${line.seconds.toFixed(2)} s | **${line.ratio.toFixed(2)} B** | ${line.aim === null ? '–' : `≤ ${line.aim} B`} | ${line.nodeMb} MB | ${line.postgresMb} MB | ${line.phases} |`,
  )
  const reads = latencies.map(
    ({ name, calls, p50, p99 }) =>
      `| ${name} | ${p50.toFixed(1)} ms | ${p99.toFixed(1)} ms | ${calls} |`,
  )
  return [
    `### ${rows.toLocaleString('en')} accounts`,
    '',
    '| step | B | Muster | ratio | aim | Node, peak | PostgreSQL, peak | seconds by phase |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ...body,
    '',
    '| read while runs applied | p50 | p99 | calls |',
    '| --- | --- | --- | --- |',
    ...reads,
  ].join('\n')
}

function tableOfHuge(lines) {
  const body = lines.map(
    (line) =>
      `| ${line.name} | ${line.b.toFixed(1)} s | ${line.seconds.toFixed(1)} s | **${line.ratio.toFixed(2)} B** | ${line.tenths === null ? '–' : `${Math.round(line.tenths * 100)} %`} | ${line.nodeMb} MB | ${line.postgresMb} MB | ${line.disk.peak} MB, ${line.disk.end} MB | ${line.phases} |`,
  )
  return [
    `${lines[0].rows.toLocaleString('en')} accounts`,
    '',
    '| step | B | Muster | ratio | last tenth against first | Node, peak | PostgreSQL, peak | disk: peak, after | seconds by phase |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ...body,
  ].join('\n')
}

function tableOfReaders(lines) {
  const body = lines.map(
    (line) =>
      `| ${line.name} | ${line.rows.toLocaleString('en')} | ${line.reference}: ${line.referenceSeconds.toFixed(2)} s | ${line.seconds.toFixed(2)} s | **${line.ratio.toFixed(2)}** | ${line.aim === null ? '–' : `≤ ${line.aim}`} | ${line.nodeMb} MB | ${line.phases} |`,
  )
  return [
    '| reader | accounts | against | Muster | ratio | aim | Node, peak | seconds by phase |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ...body,
  ].join('\n')
}
