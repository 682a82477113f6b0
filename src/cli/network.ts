// How requests leave the machine: proxies by HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and authorities that only a company knows.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { rootCertificates } from 'node:tls'
import { CliError, exitCodes } from './exit-code.ts'

// For what is loaded on use, and by its name so that tools see it.
const require = createRequire(import.meta.url)

/** What `fetch` is, in Node and in undici alike. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>

/**
 * The `fetch` for what the environment says; that of Node where it says nothing, because Node 20 knows no proxies.
 * NODE_EXTRA_CA_CERTS is honoured by Node itself, and by both. Throws with the code of wrong usage for a proxy that is no
 * URL and for a file without authorities.
 */
export function openNetwork(caFile: string | undefined): Fetch {
  const ca = caFile === undefined ? null : readAuthorities(caFile)
  const proxies = { httpProxy: proxyOf('HTTP_PROXY'), httpsProxy: proxyOf('HTTPS_PROXY') }
  if (ca === null && proxies.httpProxy === null && proxies.httpsProxy === null) {
    return (url, init) => globalThis.fetch(url, init)
  }
  let opened: Fetch | null = null
  return (url, init) => {
    opened ??= open(ca, proxies)
    return opened(url, init)
  }
}

/** What is used of the package. */
interface Undici {
  readonly EnvHttpProxyAgent: new (options: object) => object
  readonly fetch: Fetch
}

/** The URLs of the proxies; null for none. */
interface Proxies {
  readonly httpProxy: string | null
  readonly httpsProxy: string | null
}

function open(ca: string[] | null, { httpProxy, httpsProxy }: Proxies): Fetch {
  // Loaded on use. Its own fetch goes with its agent: that of Node may be older and not understand it.
  const { EnvHttpProxyAgent, fetch } = require('undici') as Undici
  const tls = ca === null ? {} : { ca }
  const dispatcher = new EnvHttpProxyAgent({
    // An empty one keeps it from reading the variable itself.
    httpProxy: httpProxy ?? '',
    httpsProxy: httpsProxy ?? '',
    // No time limit of its own: uploads take as long as they take, and every call has a limit from outside.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: tls,
    requestTls: tls,
    proxyTls: tls,
  })
  return (url, init) => {
    // No type of Node has this option by this name, and undici's own fetch needs it.
    return fetch(url, Object.assign({}, init, { dispatcher }))
  }
}

/** The URL of the proxy that a variable names, in small letters before capitals; a bare `host:port` is one of HTTP, as for curl. */
function proxyOf(capitals: string): string | null {
  const name = process.env[capitals.toLowerCase()] === undefined ? capitals : capitals.toLowerCase()
  const given = process.env[name]?.trim() ?? ''
  if (given === '') return null
  const url = given.includes('://') ? given : `http://${given}`
  if (URL.canParse(url) && /^(?:https?|socks5?):$/.test(new URL(url).protocol)) return url
  // Without its value, which may hold a password.
  throw new CliError(
    exitCodes.usage,
    `${name} is no URL of a proxy.`,
    'Give it as http://proxy.example:3128, or unset it.',
  )
}

/** The authorities of a file beside those that Node trusts anyway. */
function readAuthorities(path: string): string[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CliError(exitCodes.usage, `--ca-file cannot be read: ${reason}.`)
  }
  if (!text.includes('-----BEGIN CERTIFICATE-----')) {
    throw new CliError(exitCodes.usage, `--ca-file ${path} holds no certificate in PEM.`)
  }
  // A list of authorities stands in place of what Node has from the variable, so that is read too.
  const extra = process.env['NODE_EXTRA_CA_CERTS'] ?? ''
  return [...rootCertificates, text, ...(extra === '' ? [] : [readFileSync(extra, 'utf8')])]
}
