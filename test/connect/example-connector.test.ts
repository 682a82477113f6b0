// The example of a connector, held against the suite of readers as its guide says, and against files that are cut.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { guardedRead } from '../../src/connect/guarded-read.ts'
import { openOutbound } from '../../src/connect/outbound.ts'
import type { Reader, ReadRequest, WantedAttribute } from '../../src/connect/reader.ts'
import { loadPackage } from '../../src/connect/registry.ts'
import { readerSuite } from './reader-suite.ts'

const example = new URL('../../examples/connector/', import.meta.url)
const folder = mkdtempSync(join(tmpdir(), 'muster-example-'))
afterAll(() => rmSync(folder, { recursive: true }))

async function open(settings: Readonly<Record<string, unknown>>): Promise<Reader> {
  const connector = await loadPackage(new URL('json-lines.mjs', example).href)
  const outbound = openOutbound({ allowLoopback: false, allowed: [] })
  return connector.open(settings, { outbound, log: () => {} })
}

function wanted(name: string, isMulti = false): WantedAttribute {
  return { name, nativeName: null, type: 'STRING', isMulti, isEntitlement: false }
}

const attributes = [wanted('id'), wanted('name'), wanted('active'), wanted('groups', true)]
const people = Array.from({ length: 35 }, (_, index) => ({
  id: index,
  name: `user${index}`,
  active: index % 2 === 0,
  groups: [`group${index % 3}`],
}))
const accounts = people.map(({ id, name, active, groups }) => ({
  identity: String(id),
  disabled: !active,
  values: [String(id), name, String(active), groups],
}))

function write(name: string, lines: readonly unknown[]): string {
  const path = join(folder, name)
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  return path
}

const faults = [
  { name: 'no setting', open: () => open({}), code: 'bad_setting', secrets: [] },
  {
    name: 'a file that is not there',
    open: () => open({ path: join(folder, 'nowhere') }),
    code: 'file_unreadable',
    temporary: true,
    secrets: [],
  },
]

readerSuite('the example, from a file', async () => {
  const path = write('people.jsonl', [...people, { count: 35 }])
  return {
    open: () => open({ path, pageSize: 10 }),
    attributes,
    identityAttribute: 'id',
    accounts,
    pageSize: 10,
    facts: ['path'],
    faults,
    close: () => {},
  }
})

readerSuite('the example, from a list', async () => ({
  open: () => open({ people, pageSize: 10 }),
  attributes,
  identityAttribute: 'id',
  accounts,
  pageSize: 10,
  facts: ['people'],
  faults,
  close: () => {},
}))

describe('the example of a connector', () => {
  async function readFrom(path: string): Promise<number> {
    const request: ReadRequest = {
      objectType: 'account',
      attributes,
      identityAttribute: 'id',
      cursor: null,
      limit: null,
      signal: new AbortController().signal,
    }
    let records = 0
    const reader = await open({ path })
    for await (const page of guardedRead(reader.read(request), { request, settings: {} })) {
      records += page.records.length
    }
    return records
  }

  it('reads the file that lies beside it', async () => {
    expect(await readFrom(fileURLToPath(new URL('people.jsonl', example)))).toBe(3)
  })

  it('does not take a file that was cut for a whole one', async () => {
    const text = readFileSync(new URL('people.jsonl', example), 'utf8')
    for (let end = 0; end < text.length - 1; end += 1) {
      const path = join(folder, 'cut.jsonl')
      writeFileSync(path, text.slice(0, end))
      const outcome = readFrom(path)
      // Without the line break at its very end the file is whole.
      if (text.slice(end).trim() === '') expect(await outcome).toBe(3)
      else await expect(outcome).rejects.toHaveProperty('code')
    }
  })

  it('does not take a line behind the count', async () => {
    const path = write('more.jsonl', [people[0], { count: 1 }, people[1]])
    await expect(readFrom(path)).rejects.toHaveProperty('code', 'bad_line')
  })

  it('does not take another number of lines than the last one says', async () => {
    const path = write('less.jsonl', [people[0], { count: 2 }])
    await expect(readFrom(path)).rejects.toHaveProperty('code', 'incomplete_read')
  })
})
