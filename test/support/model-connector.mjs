// A connector package whose system is a JSON file that a test writes: { revision, accounts: { id: [location, revision] },
// gone: { id: revision }, patches: what it wants changed in its settings }. It has deltas: the cursor is the revision that was read.
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

const attributes = ['id', 'name', 'location', 'groups']

function record(id, location, request) {
  const values = { id, name: `Name ${id}`, location, groups: ['staff', location ?? ''] }
  return { identity: id, values: request.attributes.map(({ name }) => values[name] ?? null) }
}

async function* read(settings, request) {
  const model = JSON.parse(await readFile(settings.path, 'utf8'))
  const since = request.cursor?.revision ?? -1
  const records = Object.entries(model.accounts)
    .filter(([, [, revision]]) => revision > since)
    .map(([id, [location]]) => record(id, location, request))
  if (request.cursor !== null) {
    for (const [id, revision] of Object.entries(model.gone)) {
      if (revision > since) records.push({ ...record(id, null, request), deleted: true })
    }
  }
  for (let at = 0; at < records.length; at += 500) {
    await sleep(settings.delayMs ?? 0, undefined, { signal: request.signal })
    yield { records: records.slice(at, at + 500) }
  }
  const mode = request.cursor === null ? 'full' : 'delta'
  return {
    proof: 'the file came to its end',
    expected: mode === 'full' ? records.length : null,
    mode,
    cursor: { revision: model.revision },
    patches: model.patches ?? [],
  }
}

/** The connector. Settings: `path` of the file, `delayMs` before each page of 500. */
export const connector = {
  name: 'model',
  displayName: 'Model',
  features: [],
  schemas: [
    {
      name: 'account',
      nativeObjectType: 'User',
      identityAttribute: 'id',
      displayAttribute: 'name',
      attributes: attributes.map((name) => ({
        name,
        type: 'STRING',
        description: null,
        isMulti: name === 'groups',
        isEntitlement: name === 'groups',
      })),
    },
  ],
  foldsCase: false,
  delta: true,
  open: async (settings) => ({
    check: async () => ({ file: settings.path }),
    discover: async () => [],
    read: (request) => read(settings, request),
    close: async () => undefined,
  }),
}
