// A connector that does what it should: accounts of a made-up directory, by the official SDK. `config` steers it.
const {
  ConnectorError,
  ConnectorErrorType,
  createConnector,
  readConfig,
} = require('@sailpoint/connector-sdk')

const account = (number, config) => {
  const id = `user-${number}`
  const attributes = {
    id,
    name: `User ${number}`,
    badge: 9007199254740990 + number,
    active: number % 2 === 0,
    groups: number % 3 === 0 ? ['staff', 'readers'] : ['staff'],
    ...(config.filler > 0 ? { filler: 'x'.repeat(config.filler) } : {}),
  }
  const state = { disabled: number % 5 === 0, locked: false, finalUpdate: true }
  if (config.keys === 'compound') {
    return { key: { compound: { lookupId: id, uniqueId: `uuid-${number}` } }, ...state, attributes }
  }
  if (config.keys === 'legacy')
    return { identity: id, uuid: `uuid-${number}`, ...state, attributes }
  if (config.keys === 'mixed' && number === 2)
    return { identity: id, uuid: 'uuid-2', ...state, attributes }
  if (config.keys === 'mixed') return { identity: id, ...state, attributes }
  return { key: { simple: { id } }, ...state, attributes }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

exports.connector = async () => {
  const config = await readConfig()
  const count = config.count ?? 5
  return createConnector()
    .stdTestConnection(async (_, __, res) => {
      if (config.token !== 'open-sesame') throw new ConnectorError(`bad token ${config.token}`)
      res.send({})
    })
    .stdAccountList(async (_, input, res) => {
      if (input.stateful === true && input.state !== undefined && config.changes === false) {
        res.saveState(input.state)
        return
      }
      if (input.stateful === true && input.state !== undefined) {
        res.send({
          ...account(1, config),
          attributes: { ...account(1, config).attributes, name: 'User 1b' },
        })
        res.send({ ...account(2, config), deleted: true })
        res.saveState({ since: input.state.since + 1 })
        return
      }
      for (let number = 1; number <= count; number += 1) {
        res.send(account(number, config))
        if (config.pauseEvery > 0 && number % config.pauseEvery === 0)
          await pause(config.pauseMs ?? 5)
        if (config.keepAlive === true) res.keepAlive()
      }
      if (config.patch === true) {
        res.patchConfig([
          { op: 'replace', path: '/token', value: 'fresh' },
          { op: 'remove', path: '/old' },
        ])
      }
      if (input.stateful === true) res.saveState({ since: 1 })
    })
    .stdAccountRead(async (_, input, res) => {
      const number = Number(/^user-(\d+)$/.exec(input.identity)?.[1] ?? 0)
      if (number < 1 || number > count) {
        throw new ConnectorError(`no account ${input.identity}`, ConnectorErrorType.NotFound)
      }
      res.send(account(number, config))
    })
    .stdEntitlementList(async (_, input, res) => {
      for (const id of ['staff', 'readers']) {
        res.send({
          key: { simple: { id } },
          type: input.type,
          attributes: { id, name: `The ${id}` },
        })
      }
    })
}
