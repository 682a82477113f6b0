// What the benchmark measures with: the yardstick B, memory from /proc, and latencies of reads.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import pg from 'pg'
import { columns } from './generate.mjs'

/** Runs `work` and gives how long it took, in seconds. */
export async function seconds(work) {
  const started = performance.now()
  await work()
  return (performance.now() - started) / 1000
}

/**
 * B: the server itself copies the file into a logged table of text columns with a primary key. What a DBA gets who
 * loads the file and does nothing else. The server must be able to read the path.
 */
export async function measureB(client, path) {
  const definition = columns.map(
    (name, index) => `"${name}" text${index === 0 ? ' primary key' : ''}`,
  )
  await client.query('drop table if exists yardstick')
  await client.query(`create table yardstick (${definition.join(', ')})`)
  await client.query('checkpoint')
  const took = await seconds(() =>
    client.query(`copy yardstick from '${path}' (format csv, header)`),
  )
  await client.query('drop table yardstick')
  return took
}

/** A connection to the embedded database of a data folder. */
export async function connect(dataDir) {
  const client = new pg.Client({ host: `${dataDir}/run`, user: 'muster', database: 'postgres' })
  await client.connect()
  return client
}

/** Peak resident memory of a process since `reset`, in MB. Linux only; null elsewhere. */
export function peakMemory(pid) {
  try {
    const [, kb] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return Math.round(Number(kb) / 1024)
  } catch {
    return null
  }
}

export function resetPeak(pid) {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5')
  } catch {
    // The peak then is that of the whole life of the process.
  }
}

/** Memory of PostgreSQL's processes now, each shared page counted once (PSS), in MB. */
function postgresMemory(postmaster) {
  let kb = 0
  for (const pid of [postmaster, ...children(postmaster)]) {
    try {
      const [, pss] =
        /Pss:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')) ?? []
      kb += Number(pss ?? 0)
    } catch {
      // The process has ended since it was listed.
    }
  }
  return Math.round(kb / 1024)
}

function children(parent) {
  const found = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent)
        found.push(Number(name))
    } catch {
      // Gone.
    }
  }
  return found
}

/** Samples PostgreSQL's memory until `stop`, which gives the peak in MB. */
export function watchPostgres(dataDir) {
  const [line] = readFileSync(`${dataDir}/postgres/postmaster.pid`, 'utf8').split('\n')
  let peak = 0
  const sample = () => {
    peak = Math.max(peak, postgresMemory(Number(line)))
  }
  const timer = setInterval(sample, 250)
  return {
    stop: () => {
      clearInterval(timer)
      sample()
      return peak
    },
  }
}

/** The value below which `share` of the numbers lie. */
export function percentile(numbers, share) {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
}
