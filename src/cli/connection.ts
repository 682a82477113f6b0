// From options, variables and files to a client: SAIL_BASE_URL, SAIL_CLIENT_ID, SAIL_CLIENT_SECRET and the environments of ~/.sailpoint/config.yaml, as the tools around ISC have them.
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { Option } from 'commander'
import { createClient } from '../client/index.ts'
import type { ApiVersion, Client, Patience } from '../client/index.ts'
import { duration } from './duration.ts'
import { findEnvironment, readEnvironments, sameSpelling, UnclearReadOnly } from './environments.ts'
import type { Environment, Environments } from './environments.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { openNetwork } from './network.ts'
import type { Fetch } from './network.ts'
import { withOutputOptions } from './output.ts'
import type { OutputOptions } from './output.ts'
import { note, plain } from './terminal.ts'

/** The options that every command of a client has. */
export interface CommonOptions extends OutputOptions {
  readonly url?: string
  readonly env?: string
  readonly apiVersion?: ApiVersion
  readonly clientId?: string
  readonly clientSecretFile?: string
  readonly clientSecretStdin?: boolean
  readonly caFile?: string
  readonly requestTimeout?: number
}

/** What a command needs to know of the server before it calls it. */
export interface Connection {
  readonly url: string
  /** The environment that it is, and null where variables or options say it all. */
  readonly environment: string | null
  readonly readOnly: boolean
  readonly accessToken: string | null
  readonly clientId: string | null
  readonly clientSecret: string | null
}

const defaultUrl = 'http://127.0.0.1:8080'
const group = 'Where and as whom:'

/** Adds the options that every command of a client has. */
export function withCommonOptions(command: Command): Command {
  return withOutputOptions(command)
    .addOption(new Option('--env <name>', 'the environment, see `muster env`').helpGroup(group))
    .addOption(
      new Option('--url <url>', `the server; default SAIL_BASE_URL, else ${defaultUrl}`).helpGroup(
        group,
      ),
    )
    .addOption(
      new Option('--api-version <version>', 'the version of the API')
        .choices(['beta', 'v2024', 'v2025', 'v2026', 'v1'])
        .default('v2025')
        .helpGroup(group),
    )
    .addOption(new Option('--client-id <id>', 'in place of SAIL_CLIENT_ID').helpGroup(group))
    .addOption(
      new Option('--client-secret-file <file>', 'a file that holds the secret').helpGroup(group),
    )
    .addOption(
      new Option('--client-secret-stdin', 'read the secret from standard input').helpGroup(group),
    )
    .addOption(new Option('--ca-file <file>', 'authorities to trust too, in PEM').helpGroup(group))
    .addOption(
      new Option('--request-timeout <duration>', 'how long an answer may take; default 60s')
        .argParser(duration)
        .helpGroup(group),
    )
}

/** Where the server is. */
export function baseUrl(options: CommonOptions): string {
  return resolve(options).url
}

/** How requests of a command leave the machine. */
export function networkOf(options: CommonOptions): Fetch {
  return openNetwork(options.caFile)
}

/** A client for the server that options, variables or environment name. Throws with the code of `auth` where credentials are missing. */
export function connect(options: CommonOptions, patience: Partial<Patience> = {}): Client {
  const connection = resolve(options)
  const { url, accessToken, clientId, clientSecret, readOnly } = connection
  const common = {
    baseUrl: url,
    version: options.apiVersion ?? 'v2025',
    readOnly,
    fetch: networkOf(options),
    patience: {
      onWait: sayWait,
      ...(options.requestTimeout !== undefined && { callTimeoutMs: options.requestTimeout }),
      ...patience,
    },
  } as const
  if (accessToken !== null) return createClient({ ...common, accessToken })
  if (clientId !== null && clientSecret !== null) {
    return createClient({ ...common, clientId, clientSecret })
  }
  throw missing(connection)
}

/**
 * Where and as whom. Variables stand before the environment that `--env` or SAIL_ACTIVEENVIRONMENT names, that before
 * `./config.json` and the active environment. Credentials go only to the server that they were found with.
 */
export function resolve(options: CommonOptions): Connection {
  const givenUrl = options.url ?? variable('SAIL_BASE_URL')
  const stated = statedCredentials(options)
  const complete = givenUrl !== undefined && (stated.accessToken ?? stated.clientSecret) !== null
  const name = options.env ?? variable('SAIL_ACTIVEENVIRONMENT')
  const known = readKnown(complete && name === undefined)
  const url = givenUrl === undefined ? null : checkedUrl(givenUrl)
  const isStated = url !== null || stated.clientId !== null || stated.accessToken !== null
  const local = isStated || name !== undefined ? null : readLocal()
  if (local !== null) return local
  const environment = chosen(options, name, known, url)
  const readOnly = environment?.readOnly ?? isReadOnlyServer(known, url)
  const place = {
    url: url ?? (environment === null ? defaultUrl : urlOf(environment)),
    environment: environment?.name ?? null,
    readOnly,
  }
  if (stated.accessToken !== null) return { ...place, ...stated }
  const clientId = stated.clientId ?? environment?.clientId ?? null
  // A secret belongs to its id: that of the environment does not go with another one.
  const own = clientId !== null && clientId === environment?.clientId ? environment : null
  return {
    ...place,
    accessToken: null,
    clientId,
    clientSecret: stated.clientSecret ?? (own === null ? null : secretIn(own)),
  }
}

/** A broken file must not stand in the way of those who do not need it. */
function readKnown(isNeedless: boolean): Environments {
  try {
    return readEnvironments()
  } catch (error) {
    if (isNeedless && !(error instanceof UnclearReadOnly)) return { active: null, all: [] }
    throw error
  }
}

function chosen(
  options: CommonOptions,
  name: string | undefined,
  known: Environments,
  url: string | null,
): Environment | null {
  if (name === undefined) {
    const active = known.all.find((one) => one.name === known.active) ?? null
    return url === null || (active !== null && isAt(active, url)) ? active : null
  }
  const namedBy = options.env === undefined ? 'SAIL_ACTIVEENVIRONMENT' : '--env'
  const named = findEnvironment(known, name, namedBy)
  if (url === null || isAt(named, url)) return named
  const from = options.url === undefined ? 'SAIL_BASE_URL' : '--url'
  throw new CliError(
    exitCodes.usage,
    `${from} is ${url}, but the environment "${named.name}" of ${namedBy} is ${named.baseUrl ?? 'without a URL'}.`,
    options.url === undefined
      ? `Variables stand before environments: unset SAIL_BASE_URL, or leave ${namedBy} out.`
      : `Leave one of them out: --url or ${namedBy}.`,
  )
}

/** Whether the URL is that of the environment, in whatever spelling. */
function isAt({ baseUrl: own }: Environment, url: string): boolean {
  return own !== null && sameSpelling(own) === sameSpelling(url)
}

/** A server that is read-only under every name it has is so for those who name it by its URL, too. */
function isReadOnlyServer({ all }: Environments, url: string | null): boolean {
  const same = all.filter((one) => url !== null && isAt(one, url))
  return same.length > 0 && same.every((one) => one.readOnly)
}

function urlOf({ name, baseUrl: url }: Environment): string {
  if (url !== null) return checkedUrl(url)
  throw new CliError(
    exitCodes.usage,
    `The environment "${name}" has no URL.`,
    `Give it one: muster env set ${name} --url <url>`,
  )
}

function checkedUrl(url: string): string {
  const protocol = URL.canParse(url) ? new URL(url).protocol : ''
  if (protocol === 'http:' || protocol === 'https:') return url.replace(/\/+$/, '')
  throw new CliError(
    exitCodes.usage,
    `"${url}" is no URL of a server.`,
    `Give it as ${defaultUrl}.`,
  )
}

/** What options and variables say; options stand before variables. */
function statedCredentials(
  options: CommonOptions,
): Pick<Connection, 'accessToken' | 'clientId' | 'clientSecret'> {
  const asked =
    options.clientSecretStdin === true
      ? readSecret(0, '--client-secret-stdin')
      : options.clientSecretFile === undefined
        ? null
        : readSecret(options.clientSecretFile, '--client-secret-file')
  const isAsked = asked !== null || options.clientId !== undefined
  const file = variable('SAIL_CLIENT_SECRET_FILE')
  const found = (): string | null =>
    variable('SAIL_CLIENT_SECRET') ??
    (file === undefined ? null : readSecret(file, 'SAIL_CLIENT_SECRET_FILE'))
  return {
    accessToken: isAsked ? null : (variable('SAIL_ACCESS_TOKEN') ?? null),
    clientId: options.clientId ?? variable('SAIL_CLIENT_ID') ?? null,
    clientSecret: asked ?? found(),
  }
}

function secretIn({ clientSecret, clientSecretFile, name }: Environment): string | null {
  if (clientSecret !== null) return clientSecret
  if (clientSecretFile === null) return null
  return readSecret(clientSecretFile, `clientsecretfile of the environment "${name}"`)
}

// Standard input can be read once, and a command may look at its connection twice.
let secretOfInput: string | null = null

/** A secret from a file, or from standard input for 0. Editors and echo end it with a newline that is no part of it. */
export function readSecret(file: string | 0, what: string): string {
  if (file === 0 && secretOfInput !== null) return secretOfInput
  if (file === 0 && process.stdin.isTTY) {
    throw new CliError(
      exitCodes.usage,
      `${what}: standard input is the terminal, which would show the secret.`,
      'Send it: printf %s "$SECRET" | muster …',
    )
  }
  let text: string
  try {
    text = readFileSync(file, 'utf8').trim()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CliError(exitCodes.usage, `${what} cannot be read: ${reason}.`)
  }
  if (text === '') throw new CliError(exitCodes.usage, `${what}: there is nothing in it.`)
  if (file === 0) secretOfInput = text
  return text
}

/** `./config.json` of the SDKs: used whole or not at all, since a folder of somebody else may have one. */
function readLocal(): Connection | null {
  let value: unknown
  try {
    value = JSON.parse(readFileSync('config.json', 'utf8'))
  } catch {
    return null
  }
  const { BaseURL, ClientId, ClientSecret } = (value ?? {}) as Record<string, unknown>
  if (typeof BaseURL !== 'string' || typeof ClientId !== 'string') return null
  if (typeof ClientSecret !== 'string' || BaseURL === '' || ClientSecret === '') return null
  const url = checkedUrl(BaseURL)
  note(`./config.json names the server: ${plain(url)}`)
  return {
    url,
    environment: null,
    readOnly: isReadOnlyServer(readKnown(true), url),
    accessToken: null,
    clientId: ClientId,
    clientSecret: ClientSecret,
  }
}

function missing({ environment, clientId }: Connection): CliError {
  if (environment !== null) {
    const what = clientId === null ? 'client id' : 'client secret'
    return new CliError(
      exitCodes.auth,
      `The environment "${environment}" has no ${what} in its file. Where \`sail\` keeps it in the keyring of the system, muster cannot read it.`,
      `Set SAIL_CLIENT_ID and SAIL_CLIENT_SECRET, or keep them: muster env set ${environment} --client-id <id> --client-secret-file <file>`,
    )
  }
  return new CliError(
    exitCodes.auth,
    `${clientId === null ? 'SAIL_CLIENT_ID' : 'SAIL_CLIENT_SECRET'} is not set.`,
    'Set SAIL_CLIENT_ID and SAIL_CLIENT_SECRET to what `muster serve` printed at its first start, or to MUSTER_CLIENT_ID and MUSTER_CLIENT_SECRET; or keep them: `muster env set`.',
  )
}

function sayWait(waitMs: number, status: number): void {
  if (waitMs < 2_000) return
  note(`The server answered ${status} and is asked again in ${Math.ceil(waitMs / 1000)} s.`)
}

function variable(name: string): string | undefined {
  const value = process.env[name]?.trim()
  return value === '' ? undefined : value
}
