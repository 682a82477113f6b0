// The command line as a person has it, against a server of a test: a build, a folder to stand in, and credentials.
import { spawn } from 'node:child_process'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkout } from './build.ts'
import { buildServer, clientId, clientSecret, removeData, startServer } from './server-process.ts'
import type { ServerProcess } from './server-process.ts'

/** How a command ended. */
export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface CommandLine {
  /** Where commands run; files of a test go here. */
  readonly folder: string
  readonly server: ServerProcess
  /** The file that a shell would run. */
  readonly bin: string
  /** Runs a command to its end, without a terminal; `env` goes over what it has, undefined takes away. */
  run(args: readonly string[], input?: string, env?: NodeJS.ProcessEnv): Promise<Outcome>
  /** The same with `--json`: gives what was printed, and throws when the command fails. */
  json(args: readonly string[]): Promise<ReturnType<typeof JSON.parse>>
  close(): Promise<void>
}

/** Builds what is in src/ and starts a server with these variables. */
export async function openCommandLine(env: NodeJS.ProcessEnv): Promise<CommandLine> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-command-'))
  const build = await buildServer()
  await cp(join(checkout, 'bin'), join(build, 'bin'), { recursive: true })
  const dataDir = join(folder, 'data')
  const server = await startServer({ build, dataDir, env })
  const bin = join(build, 'bin', 'muster.js')
  const run: CommandLine['run'] = (args, input = '', over = {}) => {
    const child = spawn(process.execPath, [bin, ...args], {
      env: {
        PATH: process.env['PATH'],
        HOME: folder,
        SAIL_BASE_URL: server.url,
        SAIL_CLIENT_ID: clientId,
        SAIL_CLIENT_SECRET: clientSecret,
        ...over,
      },
      cwd: folder,
      stdio: 'pipe',
    })
    const output = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => (output[name] += text))
    }
    // A command that reads no input may be over before it is sent.
    child.stdin.on('error', () => undefined).end(input)
    return new Promise((resolve) => {
      child.on('close', (code) => resolve({ code, ...output }))
    })
  }
  return {
    folder,
    server,
    bin,
    run,
    json: async (args) => {
      const { code, stdout, stderr } = await run([...args, '--json'])
      if (code !== 0) throw new Error(`muster ${args.join(' ')} ended with ${code}: ${stderr}`)
      return JSON.parse(stdout)
    },
    close: async () => {
      await server.end('SIGTERM')
      await removeData(dataDir)
      await rm(folder, { recursive: true, force: true })
      await rm(build, { recursive: true, force: true })
    },
  }
}
