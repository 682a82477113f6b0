// Which connectors there are: those of Muster, loaded on use, and packages of others that the operator named.
import { RunError } from '../core/errors.ts'
import type { Connector } from './reader.ts'

/** Built-in connectors by the value of `connector` of their sources. Drivers are loaded only where they are used. */
const builtIn: ReadonlyMap<string, () => Promise<Connector>> = new Map([
  ['ldap', async () => (await import('./ldap.ts')).ldapConnector],
  ['active-directory', async () => (await import('./ldap.ts')).activeDirectoryConnector],
  ['postgresql', async () => (await import('./postgresql.ts')).postgresqlConnector],
  ['mysql', async () => (await import('./mysql.ts')).mysqlConnector],
  ['saas', async () => (await import('./saas.ts')).saasConnector],
  ['scim', async () => (await import('./scim.ts')).scimConnector],
])

/** The connector of a source. `packages`: modules of others (MUSTER_CONNECTORS), each exporting `connector`. */
export async function findConnector(name: string, packages: readonly string[]): Promise<Connector> {
  const own = builtIn.get(name)
  if (own !== undefined) return own()
  for (const specifier of packages) {
    const connector = await loadPackage(specifier)
    if (connector.name === name) return connector
  }
  throw new RunError('connector_missing', `The connector "${name}" is not installed.`, {
    hint: 'Install its package and name it in MUSTER_CONNECTORS, or correct the connector of the source.',
  })
}

/** The connector that a module exports. */
export async function loadPackage(specifier: string): Promise<Connector> {
  let loaded: unknown
  try {
    loaded = await import(specifier)
  } catch (cause) {
    throw new RunError(
      'connector_broken',
      `The connector package "${specifier}" cannot be loaded.`,
      {
        hint: 'Install it beside Muster, or give the path of its main file, in MUSTER_CONNECTORS.',
        cause,
      },
    )
  }
  const connector: unknown =
    Object.getOwnPropertyDescriptor(loaded ?? {}, 'connector') &&
    Reflect.get(loaded as object, 'connector')
  if (!isConnector(connector)) {
    throw new RunError('connector_broken', `The module "${specifier}" exports no connector.`, {
      hint: 'It must export `connector`, as docs/guides/connectors.md describes.',
    })
  }
  return connector
}

function isConnector(value: unknown): value is Connector {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof Reflect.get(value, 'name') === 'string' &&
    typeof Reflect.get(value, 'open') === 'function' &&
    Array.isArray(Reflect.get(value, 'schemas'))
  )
}
