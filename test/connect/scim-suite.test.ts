// The SCIM reader in the suite that every reader passes, by both ways to find the groups of a user.
import { openOutbound } from '../../src/connect/outbound.ts'
import type { Reader, ReadRecord } from '../../src/connect/reader.ts'
import { scimConnector } from '../../src/connect/scim.ts'
import { wanted } from './scim-drain.ts'
import { readerSuite } from './reader-suite.ts'
import { credentials, makeStore, startScimServer } from './scim-server.ts'

const pageSize = 10
const attributes = [
  wanted('id'),
  wanted('userName'),
  wanted('name.familyName'),
  wanted('emails.work.value'),
  wanted('groups', true),
]

for (const groupMembership of ['user', 'group']) {
  readerSuite(`SCIM with groups of the ${groupMembership}`, async () => {
    const store = makeStore(45)
    // Not all at the time of the cursor: a delta repeats those.
    for (const [index, user] of store.users.entries()) {
      user.meta.lastModified = new Date(Date.UTC(2026, 0, 1, 0, index)).toISOString()
      if (groupMembership === 'group') delete user.groups
    }
    const server = await startScimServer({ store, authentication: 'bearer' })
    const { token } = credentials
    const open = (given: object = {}): Promise<Reader> => {
      const outbound = openOutbound({ allowLoopback: true, allowed: [] })
      const settings = { url: server.url, pageSize, groupMembership, token }
      return scimConnector.open(
        { ...settings, authentication: 'bearer', ...given },
        { outbound, log: () => undefined },
      )
    }
    const accounts = store.users.map(({ id }, index): ReadRecord => {
      const mail = `user${index}@example.com`
      const groups = [`g${index % 10}`, 'g-all']
      const disabled = index % 7 === 6
      const values = [id, mail, `Family${index}`, mail, groups]
      return { identity: id, key: id, disabled, values }
    })
    return {
      open: () => open(),
      attributes,
      identityAttribute: 'id',
      accounts,
      pageSize,
      facts: ['pagination', 'filterSupported'],
      faults: [
        {
          name: 'a wrong token',
          open: () => open({ token: 'wrong-token-1' }),
          code: 'credentials_refused',
          secrets: ['wrong-token-1'],
        },
        {
          name: 'a wrong base',
          open: () => open({ url: `${server.url}/other` }),
          code: 'endpoint_missing',
          secrets: [token],
        },
        {
          name: 'no base',
          open: () => open({ url: '' }),
          code: 'bad_setting',
          secrets: [token],
        },
      ],
      delta: 'overlap',
      change: () => {
        const changed = store.users.slice(3, 5)
        for (const user of changed) {
          user.userName = `new-${user.id}@example.com`
          user.meta.lastModified = '2026-02-01T00:00:00.000Z'
        }
        return Promise.resolve({ changed: changed.map(({ id }) => id), removed: [] })
      },
      entitlements: {
        objectType: 'group',
        attributes: [wanted('id'), wanted('displayName')],
        identityAttribute: 'id',
        records: store.groups.map(({ id, displayName }) => {
          return { identity: id, key: id, values: [id, displayName] }
        }),
      },
      missingIdentity: 'nobody',
      recordsSent: () =>
        pageSize * server.requests.filter((path) => path.includes('/Users?')).length,
      close: () => server.close(),
    }
  })
}
