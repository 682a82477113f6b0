// muster doctor: looks at what is usually wrong, and says what to do about it.
import type { Command } from 'commander'
import { ApiError } from '../client/index.ts'
import { fine } from '../core/finding.ts'
import type { Finding } from '../core/finding.ts'
import { paint, styleOf } from './colour.ts'
import { baseUrl, connect, networkOf, withCommonOptions } from './connection.ts'
import type { CommonOptions } from './connection.ts'
import { CliError, exitCodes } from './exit-code.ts'
import type { Fetch } from './network.ts'
import { printView } from './output.ts'
import { plain, print } from './terminal.ts'

const patienceMs = 5_000

interface DoctorOptions extends CommonOptions {
  readonly server?: boolean
}

/** Adds the command. */
export function addDoctorCommand(program: Command): void {
  withCommonOptions(program.command('doctor'))
    .description('look at what is usually wrong, at the server too, and say what to do')
    .option('--server', 'look at the settings and folders of a server on this machine in any case')
    .addHelpText(
      'after',
      '\nWhere the server is on this machine or its settings are, they are looked at too: folders, disk, key, database,\n' +
        'certificate, ports. Nothing is changed, and no secret is shown. The exit code is 1 when anything fails.\n' +
        '\nExamples:\n  muster doctor\n  DATABASE_URL=postgres://… muster doctor --server -o json',
    )
    .action((options: DoctorOptions) => examine(options))
}

async function examine(options: DoctorOptions): Promise<void> {
  const url = baseUrl(options)
  const server = await checkServer(url, networkOf(options))
  const findings = [
    checkNode(),
    ...server.checks,
    ...(server.reached ? [await checkCredentials(options)] : []),
    ...(await checkServerSide(url, options)),
  ]
  printView(options, {
    data: findings,
    columns: ['name', 'outcome', 'finding', 'advice'],
    table: () => {
      for (const { name, outcome, finding, advice } of findings) {
        const word = paint(process.stdout, styleOf(outcome) ?? 'bold', outcome.padEnd(4))
        print(`${word}  ${name}: ${plain(finding)}`)
        if (advice !== null) print(`      ${plain(advice)}`)
      }
    },
  })
  if (findings.some(({ outcome }) => outcome === 'fail')) process.exitCode = exitCodes.failed
}

/** The code of the server is loaded only where it may have something to look at. */
async function checkServerSide(url: string, options: DoctorOptions): Promise<readonly Finding[]> {
  const isHere = /^(?:localhost|127\.|\[::1\])/.test(new URL(url).hostname)
  const isSet = Object.keys(process.env).some(
    (name) => name.startsWith('MUSTER_') || /^DATABASE_URL(?:_FILE)?$/.test(name),
  )
  if (options.server !== true && !isHere && !isSet) {
    return [fine('server side', 'not looked at: the server is on another machine')]
  }
  return (await import('./serve.ts')).examineHere()
}

function checkNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const finding = `Node ${process.versions.node}`
  if (major > 20 || (major === 20 && minor >= 19)) {
    const old = major < 22
    return {
      name: 'node',
      outcome: old ? 'warn' : 'ok',
      finding,
      advice: old ? 'It works, but Node 20 gets no fixes any more: use Node 24.' : null,
    }
  }
  return { name: 'node', outcome: 'fail', finding, advice: 'Install Node 20.19 or later, best 24.' }
}

async function checkServer(
  url: string,
  network: Fetch,
): Promise<{ reached: boolean; checks: Finding[] }> {
  const asked = Date.now()
  const ready = await ask(`${url}/health/ready`, network)
  if (ready instanceof Error) {
    const advice = 'Start one with `muster serve`, or name another with SAIL_BASE_URL.'
    return {
      reached: false,
      checks: [
        {
          name: 'server',
          outcome: 'fail',
          finding: `${url} does not answer: ${reasonOf(ready)}`,
          advice,
        },
      ],
    }
  }
  return { reached: true, checks: [await readiness(url, ready), clockCheck(ready, asked)] }
}

async function readiness(url: string, ready: Response): Promise<Finding> {
  if (ready.ok) return { name: 'server', outcome: 'ok', finding: `${url} is ready`, advice: null }
  // A tenant of ISC has no page of this name, nor has a Muster whose health is on its management port.
  if (ready.status === 404 || ready.status === 401 || ready.status === 403) {
    return {
      name: 'server',
      outcome: 'ok',
      finding: `${url} answers; its health is not told here, as by ISC or a Muster with a management port`,
      advice: null,
    }
  }
  const body = await ready.text().catch(() => '')
  const down = [...body.matchAll(/"detail":"([^"]*)"/g)].map(([, detail]) => detail).join(' ')
  return {
    name: 'server',
    outcome: 'fail',
    finding: `${url} is not ready (${ready.status}). ${down}`.trim(),
    advice: 'Look into the log of the server; it says what is missing.',
  }
}

function clockCheck(response: Response, askedAt: number): Finding {
  const date = Date.parse(response.headers.get('date') ?? '')
  if (Number.isNaN(date)) {
    return {
      name: 'clock',
      outcome: 'ok',
      finding: 'the server does not tell its time',
      advice: null,
    }
  }
  // The header has whole seconds, and the answer took its time.
  const seconds = Math.max(0, Math.abs(date + 500 - (askedAt + Date.now()) / 2) / 1000 - 1)
  const finding =
    seconds < 2 ? 'the same as the server' : `${Math.round(seconds)} s apart from the server`
  if (seconds <= 30) return { name: 'clock', outcome: 'ok', finding, advice: null }
  return {
    name: 'clock',
    outcome: 'warn',
    finding,
    advice: 'Set both clocks by NTP: tokens are judged by time.',
  }
}

async function checkCredentials(options: CommonOptions): Promise<Finding> {
  const name = 'credentials'
  try {
    await connect(options).sources.list({ limit: 1 })
    return { name, outcome: 'ok', finding: 'accepted, and they may list sources', advice: null }
  } catch (error) {
    if (error instanceof ApiError && error.status === 403) {
      const advice = 'That is fine if this client is for something else.'
      return { name, outcome: 'warn', finding: 'accepted, but they may not list sources', advice }
    }
    // Credentials that are missing are told with what to do about it, here or in an environment.
    const said = error instanceof CliError ? error.hint : null
    const advice = said ?? 'Check id and secret; `muster token create` makes new ones.'
    return { name, outcome: 'fail', finding: reasonOf(error), advice }
  }
}

async function ask(url: string, network: Fetch): Promise<Response | Error> {
  try {
    return await network(url, { signal: AbortSignal.timeout(patienceMs), redirect: 'manual' })
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error && error.cause.message !== ''
    ? error.cause.message
    : error.message
}
