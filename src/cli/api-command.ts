// muster api get|post|put|patch|delete: any call, with a token, and an exit code that tells how it ended.
import type { Command } from 'commander'
import { ApiError } from '../client/index.ts'
import type { Client, RawRequest } from '../client/index.ts'
import { bodyOf } from './api-body.ts'
import type { BodyOptions } from './api-body.ts'
import { confirm, requireChanges } from './confirm.ts'
import { connect, withCommonOptions } from './connection.ts'
import type { CommonOptions } from './connection.ts'
import { CliError, exitCodeOf, exitCodes } from './exit-code.ts'
import { isForPrograms, printView } from './output.ts'
import { collect } from './source-settings.ts'
import { note, plain, printJson } from './terminal.ts'

interface ApiOptions extends CommonOptions, BodyOptions {
  readonly header: readonly string[]
  readonly query: readonly string[]
  readonly include?: boolean
  readonly paginate?: boolean
  readonly yes?: boolean
}

const verbs = {
  get: 'read something',
  post: 'create something, or start it',
  put: 'replace something',
  patch: 'change a part of something, by default with a JSON Patch',
  delete: 'delete something',
} as const
type Verb = keyof typeof verbs

const pageSize = 250

/** Adds the commands. */
export function addApiCommands(program: Command): void {
  const api = program.command('api').description('call any path of the API')
  for (const verb of Object.keys(verbs) as Verb[]) addVerb(api, verb)
}

function addVerb(api: Command, verb: Verb): void {
  const command = withCommonOptions(api.command(verb))
    .argument('<path>', 'from the root of the server, with its version: /v2025/sources')
    .description(verbs[verb])
    .option('-H, --header <name:value>', 'a header; may be given often', collect, [])
    .option('-q, --query <key=value>', 'a parameter of the query; may be given often', collect, [])
    .option('-i, --include', 'show status and headers of the answer on standard error')
  if (verb === 'get') command.option('--paginate', 'read a list page after page, to its end')
  else {
    command
      .option('-b, --body <text>', 'the body')
      .option('-f, --body-file <file>', 'a file that holds the body, - for standard input')
      .option(
        '-F, --form <name=value>',
        'a field of a form, name=@file for a file; may be given often',
        collect,
        [],
      )
      .option('-c, --content-type <type>', 'what the body is; default JSON')
  }
  if (verb === 'delete') command.option('--yes', 'do not ask')
  command
    .addHelpText(
      'after',
      `\n${examples[verb]}\n\nExit codes: 0 for 2xx, 3 for 401 and 403, 4 for 404, 1 for everything else.`,
    )
    .action((path: string, options: Partial<ApiOptions>) =>
      call(verb, path, { form: [], header: [], query: [], ...options }),
    )
}

const examples: Record<Verb, string> = {
  get: 'Examples:\n  muster api get /v2025/sources -q limit=1 -q \'filters=name sw "H"\'\n  muster api get /v2025/accounts --paginate -o csv',
  post: 'Examples:\n  muster api post /v2025/sources/$id/load-accounts -F file=@hr.csv\n  muster api post /beta/sources/$id/load-accounts -c application/x-www-form-urlencoded -b disableOptimization=true',
  put: 'Example:\n  muster api put /v2025/sources/$id -f source.json',
  patch:
    'Example:\n  muster api patch /v2025/sources/$id -b \'[{"op":"replace","path":"/description","value":"x"}]\'',
  delete: 'Example:\n  muster api delete /v2025/sources/$id --yes',
}

async function call(verb: Verb, path: string, options: ApiOptions): Promise<void> {
  const client = connect(options)
  const target = fullPath(client, path, options.query)
  const body = await bodyOf(verb, options)
  if (verb === 'delete') {
    requireChanges(client, `DELETE ${target}`)
    await confirm(`DELETE ${plain(target)} on ${plain(client.baseUrl)}?`, options.yes === true)
  }
  const request: RawRequest = {
    method: verb.toUpperCase() as RawRequest['method'],
    path: target,
    headers: { ...body?.headers, ...headersOf(options.header) },
    ...(body !== undefined && { body: body.maker }),
    // A file takes as long as it takes.
    ...(options.requestTimeout === undefined && body?.isFile === true && { timeoutMs: null }),
  }
  if (options.paginate === true) return paginate(client, request, options)
  const response = await client.request(request)
  if (options.include === true) showHead(response)
  await printBody(response, options)
  process.exitCode = response.ok ? exitCodes.ok : exitCodeOf(refusal(request, response.status))
}

function refusal({ method, path }: RawRequest, status: number): ApiError {
  return new ApiError({
    status,
    detailCode: '',
    text: `HTTP status ${status}`,
    trackingId: null,
    request: `${method} ${path.split('?', 1)[0]}`,
  })
}

/** A path of the server; a whole URL only where it is one of this server, since the token goes with it. */
function fullPath(client: Client, path: string, query: readonly string[]): string {
  const own = path.startsWith(`${client.baseUrl}/`) ? path.slice(client.baseUrl.length) : path
  if (/^[a-z][a-z0-9+.-]*:|^\/\//i.test(own)) {
    throw new CliError(
      exitCodes.usage,
      `${path} is not on ${client.baseUrl}, and the token belongs to that.`,
    )
  }
  const [bare = '', given] = own.split(/\?(.*)/s)
  const parameters = new URLSearchParams(given ?? '')
  for (const pair of query) {
    const at = pair.indexOf('=')
    if (at < 1) throw new CliError(exitCodes.usage, `-q takes key=value, not "${pair}".`)
    parameters.append(pair.slice(0, at), pair.slice(at + 1))
  }
  const text = query.length === 0 ? (given ?? '') : parameters.toString()
  return `${bare.startsWith('/') ? '' : '/'}${bare}${text === '' ? '' : `?${text}`}`
}

function headersOf(headers: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    headers.map((header) => {
      const at = header.indexOf(':')
      if (at < 1) throw new CliError(exitCodes.usage, `-H takes name:value, not "${header}".`)
      return [header.slice(0, at).trim().toLowerCase(), header.slice(at + 1).trim()]
    }),
  )
}

function showHead(response: Response): void {
  note(`HTTP ${response.status} ${plain(response.statusText)}`.trimEnd())
  for (const [name, value] of response.headers) note(`${name}: ${plain(value)}`)
  note('')
}

/** The body as it came, where it is a file; JSON is spread out for people and for the other forms. */
async function printBody(response: Response, options: ApiOptions): Promise<void> {
  const isJson = (response.headers.get('content-type') ?? '').includes('json')
  const isSpread = isForPrograms(options) || process.stdout.isTTY
  if (!isJson || !isSpread) {
    const bytes = new Uint8Array(await response.arrayBuffer())
    if (bytes.length === 0) return
    const text = process.stdout.isTTY
      ? new TextDecoder().decode(bytes).split('\n').map(plain).join('\n')
      : bytes
    process.stdout.write(text)
    if (isJson || process.stdout.isTTY) process.stdout.write('\n')
    return
  }
  const text = await response.text()
  if (text === '') return
  const data = parsed(text)
  printView(options, { data, table: () => printJson(data) })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** All items of a list in one list. Throws for an answer that is none. */
async function paginate(client: Client, request: RawRequest, options: ApiOptions): Promise<void> {
  const url = new URL(request.path, client.baseUrl)
  const limit = Number(url.searchParams.get('limit') ?? pageSize)
  const begin = Number(url.searchParams.get('offset') ?? 0)
  const items: unknown[] = []
  for (let offset = begin; ; offset += limit) {
    url.searchParams.set('limit', String(limit))
    url.searchParams.set('offset', String(offset))
    const path = `${request.path.split('?', 1)[0]}${url.search}`
    const response = await client.request({ ...request, path })
    if (options.include === true) showHead(response)
    if (!response.ok) {
      await printBody(response, options)
      process.exitCode = exitCodeOf(refusal(request, response.status))
      return
    }
    const page: unknown = await response.json()
    if (!Array.isArray(page)) {
      throw new CliError(
        exitCodes.usage,
        `${request.path} answers with no list.`,
        'Leave --paginate out.',
      )
    }
    items.push(...(page as unknown[]))
    if (page.length < limit || limit < 1) break
  }
  printView(options, { data: items, table: () => printJson(items) })
}
