// The reader of SaaS connectors in the suite that every reader passes: under the official runner, and as a bundle.
import { join } from 'node:path'
import type { Reader, ReadRecord, WantedAttribute } from '../../src/connect/reader.ts'
import { saasConnector } from '../../src/connect/saas.ts'
import { readerSuite, type SuiteSystem } from './reader-suite.ts'
import { buildBundles, openTools, removeBundles, runConnector, wish } from './saas-support.ts'

const pageSize = 10
const count = 45
const attributes: readonly WantedAttribute[] = wish(['id', 'name', 'active', 'groups']).attributes
const config = {
  count,
  pauseEvery: pageSize,
  pauseMs: 20,
  token: 'open-sesame',
  changes: false,
  spConnEnableStatefulCommands: true,
}

/** The accounts of test/connect/connectors/directory.js. */
const accounts = Array.from({ length: count }, (_, index): ReadRecord => {
  const number = index + 1
  const identity = `user-${number}`
  const groups = number % 3 === 0 ? ['staff', 'readers'] : ['staff']
  const values = [identity, `User ${number}`, String(number % 2 === 0), groups]
  return { identity, disabled: number % 5 === 0, values }
})

function system(
  place: object,
  close: () => Promise<void>,
  faults: SuiteSystem['faults'],
): SuiteSystem {
  const open = (given: object = {}): Promise<Reader> =>
    saasConnector.open({ ...place, config, ...given }, openTools())
  return {
    open: () => open(),
    attributes,
    identityAttribute: 'id',
    accounts,
    pageSize,
    facts: ['connector', 'keyType'],
    faults: [
      {
        name: 'a wrong token',
        open: () => open({ config: { token: 'wrong-token-1' } }),
        code: 'connector_failed',
        secrets: ['wrong-token-1'],
      },
      ...faults,
    ],
    delta: true,
    entitlements: {
      objectType: 'group',
      attributes: wish(['id', 'name']).attributes,
      identityAttribute: 'id',
      records: [
        { identity: 'staff', values: ['staff', 'The staff'] },
        { identity: 'readers', values: ['readers', 'The readers'] },
      ],
    },
    missingIdentity: 'user-999',
    close,
  }
}

readerSuite('SaaS connectors by URL', async () => {
  const running = await runConnector('directory')
  return system({ url: running.url }, running.stop, [
    {
      name: 'a closed port',
      open: () => saasConnector.open({ url: 'http://127.0.0.1:9', config }, openTools()),
      code: 'connect_failed',
      temporary: true,
      secrets: ['open-sesame'],
    },
  ])
})

readerSuite('SaaS connectors by bundle', async () => {
  const folder = await buildBundles()
  const bundleRoot = join(folder, 'bundles')
  const place = { bundleRoot, bundle: 'directory/index.js' }
  return system(place, () => removeBundles(folder), [
    {
      name: 'a bundle that is not there',
      open: () => saasConnector.open({ bundleRoot, bundle: 'none/index.js' }, openTools()),
      code: 'bad_setting',
      secrets: [],
    },
    {
      name: 'a bundle that is no connector',
      open: () =>
        saasConnector.open({ bundleRoot, bundle: 'faulty/index.js', config }, openTools()),
      code: 'connector_unsupported',
      secrets: ['open-sesame'],
    },
  ])
})
