// An example of a connector: accounts from a file with one JSON object in a line, or from a list in the settings.
//
//   path       the file; its last line says how many accounts there are: {"count": 3}
//   people     instead of a file: the accounts as a list of objects
//   pageSize   how many accounts are handed over at a time; default 500
import { createReadStream } from 'node:fs'
import { access, constants } from 'node:fs/promises'
import { createInterface } from 'node:readline'

/** @typedef {import('musterd/connect').ReadRequest} ReadRequest */
/** @typedef {Readonly<Record<string, unknown>>} Person */

/** An error that says what to do. `temporary`: a later attempt may do better, without anybody changing anything. */
function problem(code, message, hint, temporary = false) {
  return Object.assign(new Error(message), { code, hint, temporary })
}

function attribute(name, description, more = {}) {
  return { name, description, type: 'STRING', isMulti: false, isEntitlement: false, ...more }
}

/** What a new source gets. Whatever else is in the lines can be added to the schema of the source. */
const account = {
  name: 'account',
  nativeObjectType: 'person',
  identityAttribute: 'id',
  displayAttribute: 'name',
  attributes: [
    attribute('id', 'What identifies the person.'),
    attribute('name', 'What people call the account.'),
    attribute('mail', 'The address of mail.'),
    attribute('active', 'Whether the account can be used.', { type: 'BOOLEAN' }),
    attribute('groups', 'The groups.', { isMulti: true, isEntitlement: true }),
  ],
}

/** A value of JSON as text: numbers are their digits, booleans `true` or `false`. */
function text(value) {
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

/** One person as a record: the values in the order of the attributes, null for what is not there. */
function record(person, request, position) {
  const identity = person[request.identityAttribute ?? 'id']
  if (identity === undefined || identity === null) {
    throw problem(
      'identity_missing',
      `${position} has no "${request.identityAttribute}".`,
      'Give every line the attribute that identifies its account.',
    )
  }
  const values = request.attributes.map(({ name, nativeName }) => {
    const value = person[nativeName ?? name] ?? null
    if (value === null) return null
    return Array.isArray(value) ? value.map(text) : text(value)
  })
  return { identity: text(identity), disabled: person.active === false, values }
}

function parseLine(line, number) {
  try {
    return JSON.parse(line)
  } catch {
    // The line itself stays out of the message: it may hold personal data.
    throw problem('bad_line', `Line ${number} of the file is no JSON.`, 'Correct the line.')
  }
}

/** The objects of a file, one by one; memory does not grow with it. */
async function* fileObjects(path, signal) {
  const stream = createReadStream(path, { signal })
  const lines = createInterface({ input: stream, crlfDelay: Infinity })
  let number = 0
  try {
    for await (const line of lines) {
      number += 1
      if (line.trim() !== '') yield [parseLine(line, number), `Line ${number}`]
    }
  } finally {
    // Also reached when the consumer stops early: nothing stays open.
    lines.close()
    stream.destroy()
  }
}

function* listObjects(people) {
  for (const [index, person] of people.entries()) yield [person, `Person ${index + 1}`]
}

/**
 * Reads page by page. The return value is the point of a reader: what proves that nothing is missing. A file that was cut
 * off between two lines looks like a shorter file; only its last line can tell.
 */
async function* read(objects, pageSize, isFile, request) {
  let page = []
  let given = 0
  let count = null
  for await (const [object, position] of objects) {
    request.signal.throwIfAborted()
    if (count !== null) {
      throw problem(
        'bad_line',
        `${position} follows the count.`,
        'The count must be the last line.',
      )
    }
    if (isFile && typeof object.count === 'number') {
      count = object.count
      continue
    }
    page.push(record(object, request, position))
    given += 1
    if (given === request.limit) break
    if (page.length === pageSize) {
      yield { records: page }
      page = []
    }
  }
  if (page.length > 0) yield { records: page }
  const proof = isFile ? 'the last line of the file was there' : 'the list came to its end'
  return {
    proof: isFile && count === null ? null : proof,
    expected: isFile ? count : given,
    mode: 'full',
    cursor: null,
  }
}

function readSettings(settings) {
  const { path, people, pageSize = 500 } = settings
  if (typeof path !== 'string' && !Array.isArray(people)) {
    throw problem(
      'bad_setting',
      'The source has neither a path nor a list of people.',
      'Set connectorAttributes.path to the file.',
    )
  }
  return { path, people, pageSize: Number(pageSize) }
}

async function checkFile(path) {
  try {
    await access(path, constants.R_OK)
  } catch (cause) {
    const code = cause instanceof Error ? Reflect.get(cause, 'code') : ''
    throw problem(
      'file_unreadable',
      `The file ${path} cannot be read (${code}).`,
      'Look whether it is there and the server may read it.',
      true,
    )
  }
}

/** @type {import('musterd/connect').Connector} */
export const connector = {
  name: 'json-lines',
  displayName: 'JSON lines',
  features: ['DISCOVER_SCHEMA', 'NO_RANDOM_ACCESS'],
  schemas: [account],
  foldsCase: false,
  delta: false,
  open: async (given) => {
    const { path, people, pageSize } = readSettings(given)
    const isFile = typeof path === 'string'
    return {
      check: async (signal) => {
        signal.throwIfAborted()
        if (!isFile) return { people: people.length }
        await checkFile(path)
        return { path }
      },
      discover: async () => [account],
      read: async function* (request) {
        request.signal.throwIfAborted()
        if (isFile) await checkFile(path)
        const objects = isFile ? fileObjects(path, request.signal) : listObjects(people)
        return yield* read(objects, pageSize, isFile, request)
      },
      close: async () => {},
    }
  },
}
