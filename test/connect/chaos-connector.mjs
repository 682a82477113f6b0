// A connector as a third party would write it, whose settings decide how it behaves: well, or in one of many bad ways.
// MUSTER_CONNECTORS=<path of this file>; sources have `connector: 'chaos'` and in connectorAttributes:
//   records     how many accounts there are (user-1, user-2, …); default 10
//   pageSize    default 100
//   groups      how many groups there are (group-0, …); default 3
//   keyed       true: records have a key that stays when they are renamed
//   renamed     { 'user-1': 'new name' }: identities that are others now
//   changed     ['user-2']: identities of accounts whose title is `changed` now
//   removed     ['user-3']: identities of accounts that are gone
//   version     the state of the system; a delta gives `changed` and `removed` to who read an earlier one.
//               Default 1, and 2 when anything is changed, removed or renamed
//   password    any but `right` (when it is given) is refused
//   behaviour   good, duplicatePages, pageDrift, truncated, wrongExpected, errorAfter, temporaryErrorAfter, slow,
//               endless, hugeRecord, badValues, loops, silent, stateThenError; default good
//   after       after so many records the errors, the loop and the silence begin; default half of the records
//   delayMs     before every page when it is slow; default 100
//   bytes       length of the value of the huge record; default 20 MiB

/** How many reads are under way, and how many records they have given out; for tests in the same thread. */
export const activity = { reads: 0, given: 0 }

const titles = ['clerk', 'engineer', 'manager']

function problem(code, message, hint, temporary) {
  return Object.assign(new Error(message), { code, hint, temporary })
}

function described(name, more = {}) {
  return {
    name,
    description: `The ${name}.`,
    type: 'STRING',
    isMulti: false,
    isEntitlement: false,
    ...more,
  }
}

const schemas = [
  {
    name: 'account',
    nativeObjectType: 'person',
    identityAttribute: 'id',
    displayAttribute: 'name',
    attributes: [
      described('id'),
      described('name'),
      described('title'),
      described('number', { type: 'INT' }),
      described('groups', { isMulti: true, isEntitlement: true }),
    ],
  },
  {
    name: 'group',
    nativeObjectType: 'group',
    identityAttribute: 'id',
    displayAttribute: 'name',
    attributes: [described('id'), described('name')],
  },
]

/** The settings with everything filled in. */
function readSettings(given) {
  const { renamed = {}, changed = [], removed = [] } = given
  const still = Object.keys(renamed).length + changed.length + removed.length === 0
  const records = Number(given.records ?? 10)
  return {
    records,
    pageSize: Number(given.pageSize ?? 100),
    groups: Number(given.groups ?? 3),
    keyed: given.keyed === true || given.keyed === 'true',
    renamed: new Map(Object.entries(renamed)),
    changed: new Set(changed),
    removed: new Set(removed),
    version: Number(given.version ?? (still ? 1 : 2)),
    behaviour: given.behaviour ?? 'good',
    after: Number(given.after ?? Math.floor(records / 2)),
    delayMs: Number(given.delayMs ?? 100),
    bytes: Number(given.bytes ?? 20 << 20),
  }
}

/** The account of a number. */
function account(settings, number, attributes) {
  const first = `user-${number}`
  const identity = settings.renamed.get(first) ?? first
  const all = {
    id: identity,
    name: `User ${number}`,
    title: settings.changed.has(first) ? 'changed' : titles[number % titles.length],
    number: String(number),
    groups: settings.groups === 0 ? [] : [`group-${number % settings.groups}`],
  }
  return record(identity, all, attributes, settings.keyed ? { key: `key-${number}` } : {})
}

function record(identity, all, attributes, more = {}) {
  const values = attributes.map(({ name, nativeName }) => all[nativeName ?? name] ?? null)
  return { identity, ...more, values }
}

function wait(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop)
      resolve()
    }, milliseconds)
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
  })
}

/** What happens before a record is given out. */
async function misbehave(settings, given) {
  if (given !== settings.after) return
  switch (settings.behaviour) {
    case 'errorAfter':
      throw new Error('The chaos connector has a bug.')
    case 'temporaryErrorAfter':
      throw problem('system_away', 'The system of chaos went away.', 'Wait until it is back.', true)
    case 'loops':
      for (;;);
    case 'silent':
      await new Promise(() => {})
      break
    default:
  }
}

/** The numbers of the accounts in their order. */
function* numbers(settings) {
  for (
    let number = 1;
    number <= settings.records || settings.behaviour === 'endless';
    number += 1
  ) {
    if (!settings.removed.has(`user-${number}`)) yield number
  }
}

/** The accounts one by one, as the behaviour wants them. */
async function* accounts(settings, request) {
  let given = 0
  for (const number of numbers(settings)) {
    await misbehave(settings, given)
    // The first account goes away after the first page, all others move up, and the offset points behind one of them.
    const drifted = settings.behaviour === 'pageDrift' && given === settings.pageSize
    if (settings.behaviour === 'truncated' && given === settings.after) return
    given += 1
    if (drifted) continue
    const made = account(settings, number, request.attributes)
    if (settings.behaviour === 'hugeRecord' && given === settings.after + 1) {
      yield { ...made, values: made.values.map(() => 'x'.repeat(settings.bytes)) }
    } else if (settings.behaviour === 'badValues' && given === settings.after + 1) {
      yield { ...made, values: made.values.slice(1) }
    } else {
      yield made
    }
  }
  if (settings.behaviour === 'stateThenError')
    throw new Error('The chaos connector failed at last.')
}

/** Pages of what comes one by one; ends early at the limit of the request. */
async function* paged(settings, request, all) {
  let page = []
  let given = 0
  const send = async function* () {
    if (settings.behaviour === 'slow') await wait(settings.delayMs, request.signal)
    request.signal.throwIfAborted()
    // A system is never so fast that nothing else happens between two pages.
    await new Promise((resolve) => setImmediate(resolve))
    activity.given += page.length
    yield { records: page }
    if (settings.behaviour === 'duplicatePages') yield { records: page }
    page = []
  }
  for await (const one of all) {
    page.push(one)
    given += 1
    if (page.length === settings.pageSize) yield* send()
    if (given === request.limit) break
  }
  if (page.length > 0) yield* send()
  return given
}

async function* readEverything(settings, request) {
  yield* paged(settings, request, accounts(settings, request))
  const count = [...numbers({ ...settings, behaviour: 'good' })].length
  const silent = settings.behaviour === 'duplicatePages'
  return {
    proof: settings.behaviour === 'truncated' ? null : 'chaos said that this was all',
    expected: silent ? null : count + (settings.behaviour === 'wrongExpected' ? 1 : 0),
    mode: 'full',
    cursor: { version: settings.version },
  }
}

async function* changes(settings, request) {
  for (let number = 1; number <= settings.records; number += 1) {
    const identity = `user-${number}`
    const touched = settings.changed.has(identity) || settings.renamed.has(identity)
    const gone = settings.removed.has(identity)
    if (gone) yield { ...account(settings, number, request.attributes), deleted: true }
    else if (touched) yield account(settings, number, request.attributes)
  }
}

async function* readChanges(settings, request) {
  const news = request.cursor.version < settings.version
  yield* paged(settings, request, news ? changes(settings, request) : [])
  return {
    proof: 'chaos said that nothing else has changed',
    expected: null,
    mode: 'delta',
    cursor: { version: settings.version },
  }
}

async function* readGroups(settings, request) {
  const all = Array.from({ length: settings.groups }, (_, number) =>
    record(
      `group-${number}`,
      { id: `group-${number}`, name: `Group ${number}` },
      request.attributes,
    ),
  )
  yield* paged(settings, request, all)
  return { proof: 'there are no other groups', expected: all.length, mode: 'full', cursor: null }
}

/** Counts a read as long as it is under way. */
async function* counted(pages) {
  activity.reads += 1
  try {
    return yield* pages
  } finally {
    activity.reads -= 1
  }
}

export const connector = {
  name: 'chaos',
  displayName: 'Chaos',
  features: ['DISCOVER_SCHEMA'],
  schemas,
  foldsCase: false,
  delta: true,
  open: async (given) => {
    const { password } = given
    if (password !== undefined && password !== 'right') {
      throw problem('login_refused', 'Chaos refused the password.', 'Correct the password.', false)
    }
    // Read anew for everything: who holds the settings changes the system by them.
    const current = () => readSettings(given)
    return {
      check: async (signal) => {
        signal.throwIfAborted()
        const { version, records } = current()
        return { version, records }
      },
      discover: async () => schemas,
      read: (request) =>
        counted(
          request.cursor === null
            ? readEverything(current(), request)
            : readChanges(current(), request),
        ),
      entitlements: (request) => counted(readGroups(current(), request)),
      readOne: async (identity, request) => {
        const settings = { ...current(), behaviour: 'good' }
        for (const number of numbers(settings)) {
          const found = account(settings, number, request.attributes)
          if (found.identity === identity) return found
        }
        return null
      },
      close: async () => {},
    }
  },
}
