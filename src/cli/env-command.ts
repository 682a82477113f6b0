// muster env list|show|use|set|delete: named environments, shared with the tools around ISC.
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { confirm } from './confirm.ts'
import { readSecret } from './connection.ts'
import {
  changeEnvironments,
  configPath,
  findEnvironment,
  readEnvironments,
  sameSpelling,
} from './environments.ts'
import type { Environment, Environments } from './environments.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { printView, withOutputOptions } from './output.ts'
import type { OutputOptions } from './output.ts'
import { note, plain, printFields, printTable, show } from './terminal.ts'

interface SetOptions extends OutputOptions {
  readonly url?: string
  readonly tenantUrl?: string
  readonly clientId?: string
  readonly clientSecretFile?: string
  readonly clientSecretStdin?: boolean
  readonly readOnly?: boolean
}

/** An environment as it is printed: never with its secret. */
interface Shown {
  readonly name: string
  readonly active: boolean
  readonly url: string | null
  readonly tenantUrl: string | null
  readonly clientId: string | null
  /** Where the secret is. */
  readonly secret: string
  readonly readOnly: boolean
}

/** Adds the commands. */
export function addEnvCommands(program: Command): void {
  const env = program.command('env').description('name servers and switch between them')
  withOutputOptions(env.command('list'))
    .description('list the environments of ~/.sailpoint/config.yaml')
    .addHelpText('after', '\nExample:\n  muster env list')
    .action((options: OutputOptions) => list(options))
  withOutputOptions(env.command('show'))
    .argument('[environment]', 'the name; else the active one')
    .description('show an environment, without its secret')
    .addHelpText('after', '\nExample:\n  muster env show prod')
    .action((name: string | undefined, options: OutputOptions) => showOne(name, options))
  withOutputOptions(env.command('use'))
    .argument('<environment>', 'the name')
    .description('make an environment the active one')
    .addHelpText('after', '\nExample:\n  muster env use prod')
    .action((name: string, options: OutputOptions) => use(name, options))
  addSetCommand(env)
  withOutputOptions(env.command('delete'))
    .argument('<environment>', 'the name')
    .description('forget an environment; the server is not touched')
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  muster env delete old --yes')
    .action((name: string, options: OutputOptions & { readonly yes?: boolean }) =>
      remove(name, options),
    )
}

function addSetCommand(env: Command): void {
  withOutputOptions(env.command('set'))
    .argument('<environment>', 'the name: letters, digits, - and _')
    .description('make or change an environment; the first one becomes the active one')
    .option('--url <url>', 'the server, https://tenant.api.identitynow.com for a tenant of ISC')
    .option('--tenant-url <url>', 'where people log in; only other tools need it')
    .option('--client-id <id>', 'the id of the credentials')
    .option('--client-secret-file <file>', 'a file that holds the secret; its path is kept')
    .option(
      '--client-secret-stdin',
      'read the secret from standard input and keep it in the file, which only you can read then',
    )
    .option('--read-only', 'refuse whatever would change something there')
    .option('--no-read-only', 'allow changes')
    .addHelpText(
      'after',
      '\nExamples:\n  muster env set local --url http://127.0.0.1:8080 --client-id "$ID" --client-secret-file ./secret\n' +
        '  pass show prod | muster env set prod --url https://acme.api.identitynow.com --client-id "$ID" --client-secret-stdin --read-only',
    )
    .action((name: string, options: SetOptions) => set(name, options))
}

function list(options: OutputOptions): void {
  const known = readEnvironments()
  const data = known.all.map((one) => shown(one, known))
  printView(options, {
    data,
    columns: ['name', 'active', 'url', 'tenantUrl', 'clientId', 'secret', 'readOnly'],
    table: () =>
      printTable(
        ['', 'NAME', 'URL', 'CLIENT ID', 'SECRET', ''],
        data.map((one) => [
          one.active ? '*' : '',
          one.name,
          show(one.url),
          show(one.clientId),
          one.secret,
          one.readOnly ? 'read-only' : '',
        ]),
      ),
  })
  if (data.length === 0) note(`There are none in ${configPath()}; \`muster env set\` makes one.`)
}

function showOne(name: string | undefined, options: OutputOptions): void {
  const known = readEnvironments()
  const wanted = name ?? known.active
  if (wanted === null) {
    throw new CliError(
      exitCodes.notFound,
      'No environment is active.',
      '`muster env list` shows them.',
    )
  }
  const data = shown(findEnvironment(known, wanted), known)
  printView(options, {
    data,
    table: () =>
      printFields([
        ['name', data.name],
        ['active', data.active ? 'yes' : 'no'],
        ['url', show(data.url)],
        ['tenant url', show(data.tenantUrl)],
        ['client id', show(data.clientId)],
        ['secret', data.secret],
        ['read-only', data.readOnly ? 'yes' : 'no'],
        ['file', configPath()],
      ]),
  })
}

function use(name: string, options: OutputOptions): void {
  const known = readEnvironments()
  const environment = findEnvironment(known, name)
  changeEnvironments(({ set: put }) => put(['activeenvironment'], environment.name))
  sayVariables(environment)
  print(environment.name, options)
}

function set(given: string, options: SetOptions): void {
  const name = given.toLowerCase()
  if (!/^[a-z0-9][a-z0-9_-]{0,63}$/.test(name)) {
    throw new CliError(
      exitCodes.usage,
      `"${given}" is no name of an environment.`,
      'Letters, digits, - and _, 64 of them at most.',
    )
  }
  const known = readEnvironments()
  const before = known.all.find((one) => one.name === name)
  if (before === undefined && options.url === undefined) {
    throw new CliError(exitCodes.usage, `--url is missing: there is no environment "${name}" yet.`)
  }
  for (const url of [options.url, options.tenantUrl]) requireUrl(url)
  if (options.clientSecretFile !== undefined && options.clientSecretStdin === true) {
    throw new CliError(
      exitCodes.usage,
      'A secret comes from a file or from standard input, not both.',
    )
  }
  const secret =
    options.clientSecretStdin === true ? readSecret(0, '--client-secret-stdin') : undefined
  const file =
    options.clientSecretFile === undefined ? undefined : resolve(options.clientSecretFile)
  if (file !== undefined) readSecret(file, '--client-secret-file')
  changeEnvironments(({ set: put }) => {
    const at = (...keys: string[]): string[] => ['environments', name, ...keys]
    if (options.url !== undefined) put(at('baseurl'), options.url.replace(/\/+$/, ''))
    if (options.tenantUrl !== undefined) put(at('tenanturl'), options.tenantUrl)
    if (options.clientId !== undefined) put(at('pat', 'clientid'), options.clientId)
    if (secret !== undefined) put(at('pat', 'clientsecret'), secret)
    if (file !== undefined) put(at('pat', 'clientsecretfile'), file)
    // One secret stands in one place.
    if (secret !== undefined) put(at('pat', 'clientsecretfile'), null)
    if (file !== undefined) put(at('pat', 'clientsecret'), null)
    if (options.readOnly !== undefined) put(at('readonly'), options.readOnly)
    if (!known.all.some((one) => one.name === known.active)) put(['activeenvironment'], name)
    // The official SDK looks at environments only under this word.
    if (known.all.length === 0 && known.active === null) put(['authtype'], 'pat')
  })
  print(name, options)
}

async function remove(
  name: string,
  options: OutputOptions & { readonly yes?: boolean },
): Promise<void> {
  const known = readEnvironments()
  const environment = findEnvironment(known, name)
  await confirm(`Forget the environment "${plain(environment.name)}"?`, options.yes === true)
  changeEnvironments(({ set: put }) => {
    put(['environments', environment.name], null)
    if (known.active === environment.name) put(['activeenvironment'], null)
  })
  const data = shown(environment, known)
  printView(options, { data, table: () => note(`Forgotten: ${plain(environment.name)}.`) })
  if (data.active) note('It was the active one; `muster env use` chooses another.')
}

function print(name: string, options: OutputOptions): void {
  const known = readEnvironments()
  const data = shown(findEnvironment(known, name), known)
  printView(options, {
    data,
    table: () =>
      note(
        `${data.active ? 'Active' : 'Kept'}: ${plain(data.name)}, ${plain(show(data.url))}${data.readOnly ? ', read-only' : ''}.`,
      ),
  })
}

/** Variables stand before the file, and who switches should know that they are set. */
function sayVariables({ baseUrl }: Environment): void {
  const url = process.env['SAIL_BASE_URL']?.trim() ?? ''
  if (url === '' || (baseUrl !== null && sameSpelling(url) === sameSpelling(baseUrl))) return
  note(`SAIL_BASE_URL is set and stands before it: ${plain(url)}.`)
}

function requireUrl(url: string | undefined): void {
  if (url === undefined) return
  const { protocol } = URL.canParse(url) ? new URL(url) : { protocol: '' }
  if (protocol === 'http:' || protocol === 'https:') return
  throw new CliError(exitCodes.usage, `"${url}" is no URL of a server.`)
}

function shown(environment: Environment, { active }: Environments): Shown {
  const { name, baseUrl, tenantUrl, clientId, clientSecret, clientSecretFile, readOnly } =
    environment
  return {
    name,
    active: name === active,
    url: baseUrl,
    tenantUrl,
    clientId,
    secret: clientSecret !== null ? 'in the file' : (clientSecretFile ?? 'not in the file'),
    readOnly,
  }
}
