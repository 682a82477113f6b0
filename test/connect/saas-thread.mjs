// A thread that reads with the compiled connector and the settings that it is given; a test ends it from outside.
import { workerData } from 'node:worker_threads'
import { openOutbound } from '../../dist/connect/outbound.js'
import { saasConnector } from '../../dist/connect/saas.js'

const outbound = openOutbound({ allowLoopback: true, allowed: [] })
const reader = await saasConnector.open(workerData, { outbound, log: () => undefined })
const request = {
  objectType: 'account',
  attributes: [],
  identityAttribute: null,
  cursor: null,
  limit: null,
}
const pages = reader.read({ ...request, signal: new AbortController().signal })
while ((await pages.next()).done !== true);
