// From options and environment to a client: SAIL_BASE_URL, SAIL_CLIENT_ID, SAIL_CLIENT_SECRET, as the tools around ISC name them.
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { Option } from 'commander'
import { createClient } from '../client/index.ts'
import type { ApiVersion, Client } from '../client/index.ts'
import { CliError, exitCodes } from './exit-code.ts'

/** The options that every command has. */
export interface CommonOptions {
  readonly json?: boolean
  readonly url?: string
  readonly apiVersion?: ApiVersion
}

const defaultUrl = 'http://127.0.0.1:8080'

/** Adds the options that every command has. */
export function withCommonOptions(command: Command): Command {
  return command
    .option('--json', 'print the data as JSON')
    .option('--url <url>', `the server; default SAIL_BASE_URL, else ${defaultUrl}`)
    .addOption(
      new Option('--api-version <version>', 'the version of the API')
        .choices(['beta', 'v2024', 'v2025', 'v2026', 'v1'])
        .default('v2025'),
    )
}

/** Where the server is. */
export function baseUrl(options: CommonOptions): string {
  const url = options.url ?? variable('SAIL_BASE_URL') ?? defaultUrl
  const protocol = URL.canParse(url) ? new URL(url).protocol : ''
  if (protocol === 'http:' || protocol === 'https:') return url.replace(/\/+$/, '')
  throw new CliError(
    exitCodes.usage,
    `"${url}" is no URL of a server.`,
    `Give it as ${defaultUrl}.`,
  )
}

/** A client for the server and the credentials of the environment. Throws with the code of `auth` where they are missing. */
export function connect(options: CommonOptions): Client {
  const common = { baseUrl: baseUrl(options), version: options.apiVersion ?? 'v2025' } as const
  const accessToken = variable('SAIL_ACCESS_TOKEN')
  if (accessToken !== undefined) return createClient({ ...common, accessToken })
  const { clientId, clientSecret } = credentials()
  if (clientId === undefined || clientSecret === undefined) {
    throw new CliError(
      exitCodes.auth,
      `${clientId === undefined ? 'SAIL_CLIENT_ID' : 'SAIL_CLIENT_SECRET'} is not set.`,
      'Set SAIL_CLIENT_ID and SAIL_CLIENT_SECRET to what `muster serve` printed at its first start, or to MUSTER_CLIENT_ID and MUSTER_CLIENT_SECRET.',
    )
  }
  return createClient({ ...common, clientId, clientSecret })
}

/** The credentials of the environment; a secret may stand in a file that SAIL_CLIENT_SECRET_FILE names. */
export function credentials(): {
  readonly clientId: string | undefined
  readonly clientSecret: string | undefined
} {
  const file = variable('SAIL_CLIENT_SECRET_FILE')
  const secret = variable('SAIL_CLIENT_SECRET')
  return {
    clientId: variable('SAIL_CLIENT_ID'),
    clientSecret: secret ?? (file === undefined ? undefined : secretOf(file)),
  }
}

function secretOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CliError(exitCodes.usage, `SAIL_CLIENT_SECRET_FILE cannot be read: ${reason}.`)
  }
}

function variable(name: string): string | undefined {
  const value = process.env[name]?.trim()
  return value === '' ? undefined : value
}
