// The connector `saas`: reads accounts through a connector of the official SDK, behind a URL or in a bundle.
import type { DescribedSchema } from '../core/description.ts'
import { RunError } from '../core/errors.ts'
import { saasKind } from '../core/saas-kind.ts'
import type { Settings } from '../core/setting.ts'
import type { Connector, Reader, ReaderTools, ReadRecord, ReadRequest } from './reader.ts'
import { openBundle } from './saas-bundle.ts'
import { recordError } from './saas-errors.ts'
import { readObjects } from './saas-list.ts'
import { objectNames, openMapping } from './saas-mapping.ts'
import {
  describeAccounts,
  describeEntitlements,
  readSpecification,
  type Specification,
} from './saas-schema.ts'
import { readSaasSettings } from './saas-settings.ts'
import type { Command } from './saas-transport.ts'
import { openUrl } from './saas-url.ts'

const attempts = 5
/** A person waits for these. */
const probeAttempts = 2

/** The connector for SaaS connectors. */
export const saasConnector: Connector = { ...saasKind, open }

async function open(given: Settings, tools: ReaderTools): Promise<Reader> {
  const settings = readSaasSettings(given)
  const { place, config } = settings
  const transport =
    place.kind === 'url' ? openUrl(place, settings, tools) : openBundle(place, settings, tools)

  const command = (type: string, input: Command['input']): Command => ({ type, input, config })
  /** The data of all output lines of a short answer. */
  const ask = async (sent: Command, signal: AbortSignal): Promise<readonly unknown[]> => {
    const found: unknown[] = []
    for await (const { lines } of transport.run(sent, probeAttempts, signal)) {
      for (const { type, data } of lines) if (type === 'output') found.push(data)
      if (found.length > 1) throw recordError(`sent more than one answer to ${sent.type}`)
    }
    return found
  }
  let known: Specification | null | undefined
  /** Null: the connector has none. Connectors may be run without their connector-spec.json. */
  const specification = async (signal: AbortSignal): Promise<Specification | null> => {
    if (known !== undefined) return known
    try {
      known = readSpecification((await ask(command('std:spec:read', {}), signal))[0])
    } catch (error) {
      if (!isRefusal(error)) throw error
      known = null
    }
    return known
  }
  const isStateful = async (signal: AbortSignal): Promise<boolean> =>
    settings.stateful && ((await specification(signal))?.stateful ?? false)

  const list = { transport, settings, tools, attempts, isStateful }
  return {
    check: async (signal) => {
      await ask(command('std:test-connection', {}), signal)
      const found = await specification(signal)
      if (found === null) return { specification: false }
      return {
        ...(found.name === null ? {} : { connector: found.name }),
        commands: found.commands.join(' '),
        keyType: found.keyType,
        supportsStatefulCommands: found.stateful,
      }
    },
    discover: async (signal) => {
      const found = await specification(signal)
      const accounts = await discoverAccounts(found, () =>
        ask(command('std:account:discover-schema', {}), signal),
      )
      return [accounts, ...(found === null ? [] : describeEntitlements(found))]
    },
    read: (request) => readObjects(list, command('std:account:list', {}), request),
    entitlements: (request) =>
      readObjects(list, command('std:entitlement:list', { type: request.objectType }), request),
    readOne: async (identity, request) => {
      const keyType = (await specification(request.signal))?.keyType ?? 'simple'
      const input = { identity, key: keyOf(identity, keyType) }
      try {
        const [data] = await ask(command('std:account:read', input), request.signal)
        return data === undefined ? null : oneRecord(data, identity, request, tools)
      } catch (error) {
        if (error instanceof RunError && error.code === 'connector_not_found') return null
        throw error
      }
    },
    close: () => transport.close(),
  }
}

/** Whether the connector itself said no; a way that failed says nothing about the connector. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof RunError &&
    (error.code === 'connector_failed' ||
      error.code === 'connector_unsupported' ||
      error.code === 'connector_not_found')
  )
}

/** The schema that the connector discovers; that of its specification where it discovers none. */
async function discoverAccounts(
  specification: Specification | null,
  ask: () => Promise<readonly unknown[]>,
): Promise<DescribedSchema> {
  const given = specification?.accountSchema ?? null
  // Where the specification lists its commands, it is not asked for one that it does not have.
  const named = specification !== null && specification.commands.length > 0
  if (given !== null && named) {
    if (!specification.commands.includes('std:account:discover-schema')) {
      return describeAccounts(given)
    }
  }
  try {
    return describeAccounts((await ask())[0])
  } catch (error) {
    const unsupported = error instanceof RunError && error.code === 'connector_unsupported'
    if (!unsupported || given === null) throw error
    return describeAccounts(given)
  }
}

/** The key of an account of which only the identity is known. */
function keyOf(identity: string, keyType: 'simple' | 'compound'): unknown {
  return keyType === 'simple'
    ? { simple: { id: identity } }
    : { compound: { lookupId: identity, uniqueId: '' } }
}

/** The answer to `std:account:read`, in which a connector may leave out the names that it was asked with. */
function oneRecord(
  data: unknown,
  identity: string,
  request: ReadRequest,
  tools: ReaderTools,
): ReadRecord {
  const mapping = openMapping(request, (message) => tools.log('info', message))
  const members = Object(data) as Readonly<Record<string, unknown>>
  const named = members['key'] !== undefined || members['identity'] !== undefined
  const record = mapping.record(named ? data : { ...members, identity })
  if (named && objectNames(data).identity !== identity) {
    throw recordError('answered for one account with another')
  }
  return record
}
