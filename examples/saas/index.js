// A connector made with the official SDK. It needs no system: its accounts stand in this file.
const {
  ConnectorError,
  ConnectorErrorType,
  createConnector,
  readConfig,
} = require('@sailpoint/connector-sdk')

/** `changed` counts up with each change; a deleted account stays here so that a delta can tell. */
const people = [
  { uuid: 'f0c1', login: 'user1001', name: 'User 1001', groups: ['staff'], changed: 1 },
  { uuid: 'f0c2', login: 'user1002', name: 'User 1002', groups: ['staff', 'admins'], changed: 2 },
  {
    uuid: 'f0c3',
    login: 'user1003',
    name: 'User 1003',
    groups: ['staff'],
    changed: 3,
    disabled: true,
  },
  { uuid: 'f0c4', login: 'user1004', name: 'User 1004', groups: [], changed: 4 },
  {
    uuid: 'f0c5',
    login: 'user1005',
    name: 'User 1005',
    groups: ['staff'],
    changed: 5,
    deleted: true,
  },
]

/** What the SDK sends of an account. The uuid is the stable key: with another login it is still the same account. */
const accountOf = ({ uuid, login, name, groups, disabled = false, deleted = false }) => ({
  key: { compound: { lookupId: login, uniqueId: uuid } },
  disabled,
  ...(deleted ? { deleted } : {}),
  attributes: { login, name, email: `${login}@example.com`, badge: Number(login.slice(4)), groups },
})

exports.connector = async () => {
  const { token } = await readConfig()
  const login = () => {
    if (token !== 'example-token') throw new ConnectorError('the token is not accepted')
  }
  return createConnector()
    .stdTestConnection(async (context, input, res) => {
      login()
      res.send({})
    })
    .stdAccountList(async (context, input, res) => {
      login()
      const since = input.state?.changed ?? 0
      for (const person of people) {
        // Only a delta tells what is gone; a full list does not have it.
        if (person.changed > since && (input.state || !person.deleted)) res.send(accountOf(person))
      }
      if (input.stateful)
        res.saveState({ changed: Math.max(...people.map(({ changed }) => changed)) })
    })
    .stdAccountRead(async (context, input, res) => {
      login()
      const person = people.find((one) => one.login === input.identity && !one.deleted)
      if (!person) throw new ConnectorError(`no ${input.identity}`, ConnectorErrorType.NotFound)
      res.send(accountOf(person))
    })
    .stdEntitlementList(async (context, input, res) => {
      login()
      for (const id of ['staff', 'admins']) {
        res.send({
          key: { simple: { id } },
          type: input.type,
          attributes: { id, name: `The ${id}` },
        })
      }
    })
}
