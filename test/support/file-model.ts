// Random delimited files, and a plain model of what a run makes of them: core/ alone, one record after the other.
import fc from 'fast-check'
import { readAttributes, writeAttributes } from '../../src/core/attributes.ts'
import { type Dialect, readDialect } from '../../src/core/dialect.ts'
import { judge } from '../../src/core/guard.ts'
import { type Layout, planLayout } from '../../src/core/layout.ts'
import { type AccountValues, diff } from '../../src/core/plan.ts'
import { attribute, type AttributeDefinition } from '../../src/core/schema.ts'
import { type LawfulRecord, normalise } from '../../src/core/source-record.ts'
import { isBlank } from '../../src/core/value.ts'

export const modelAttributes: readonly AttributeDefinition[] = [
  attribute('id'),
  attribute('name'),
  attribute('groups', { isMulti: true }),
  attribute('level', { type: 'INT' }),
  attribute('active', { type: 'BOOLEAN' }),
  attribute('since', { type: 'DATE' }),
]
const schema = {
  attributes: modelAttributes,
  identityAttribute: 'id',
  displayAttribute: 'name',
}

/** A record before its columns are chosen. `shape`: whether its cells fit the header and its quotes are right. */
export interface GivenRecord {
  readonly values: Readonly<Record<string, string>>
  readonly quoteAll: boolean
  readonly shape: 'good' | 'short' | 'long' | 'broken'
}

/** One file and the settings it is loaded with. */
export interface GivenFile {
  readonly header: readonly string[]
  readonly lines: readonly (GivenRecord | 'comment' | 'nothing')[]
  readonly newline: '\n' | '\r\n'
  readonly lastNewline: boolean
  readonly mergeRows: boolean
  readonly optimized: boolean
}

interface WrittenRecord {
  readonly position: number
  readonly raw: string
  readonly cells: readonly string[]
  readonly broken: boolean
}

/** The text of a file, and its records as a reader must see them. */
export function writeFile(file: GivenFile): {
  readonly text: string
  readonly records: readonly WrittenRecord[]
  readonly comments: number
} {
  const records: WrittenRecord[] = []
  const lines = [file.header.join(',')]
  let line = 2
  let comments = 0
  for (const given of file.lines) {
    if (given === 'comment') comments += 1
    if (given === 'comment' || given === 'nothing') {
      lines.push(given === 'comment' ? '# a remark, with "quotes' : '')
      line += 1
      continue
    }
    const cells = file.header.map((column) => given.values[column] ?? '')
    if (given.shape === 'short') cells.pop()
    if (given.shape === 'long') cells.push('surplus')
    const written = cells.map((cell) => writeCell(cell, given.quoteAll))
    if (given.shape === 'broken') written[0] = `"${(cells[0] ?? '').replaceAll('"', '""')}"x`
    const raw = written.join(',')
    lines.push(raw)
    records.push({ position: line, raw, cells, broken: given.shape === 'broken' })
    line += 1 + (raw.match(/\n/g)?.length ?? 0)
  }
  return {
    text: lines.join(file.newline) + (file.lastNewline ? file.newline : ''),
    records,
    comments,
  }
}

function writeCell(cell: string, quoteAll: boolean): string {
  return quoteAll || /[",\r\n#]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell
}

interface ModelAccount extends AccountValues {
  readonly name: string
  readonly opened: number
}

export interface ModelVersion extends ModelAccount {
  readonly closed: number
  readonly removed: boolean
}

/** What a source is after some runs. Runs are numbered by their place in the sequence. */
export interface ModelState {
  readonly accounts: ReadonlyMap<string, ModelAccount>
  readonly history: readonly ModelVersion[]
}

export interface ModelReject {
  readonly position: number
  readonly code: string
  readonly raw: string
  readonly nativeIdentity: string | null
  readonly trusted: boolean
}

/** What a run must tell. */
export interface ModelOutcome {
  readonly status: 'SUCCESS' | 'WARNING' | 'ERROR'
  readonly counters: Readonly<Record<string, number>>
  readonly rejects: readonly ModelReject[]
}

export const emptyState: ModelState = { accounts: new Map(), history: [] }

/** Loads a file into the model. */
export function loadModel(
  state: ModelState,
  file: GivenFile,
  run: number,
  deleteThreshold: number,
): { readonly state: ModelState; readonly outcome: ModelOutcome } {
  const dialect = readDialect({ mergeRows: file.mergeRows })
  let layout: Layout
  try {
    layout = planLayout(file.header, schema, dialect)
  } catch {
    return { state, outcome: { status: 'ERROR', counters: {}, rejects: [] } }
  }
  const read = readModel(file, layout, dialect)
  const values = new Map<string, AccountValues & { readonly name: string }>()
  for (const [identity, rows] of read.rows) {
    values.set(identity, keep(mergeModel(identity, rows), state.accounts.get(identity), layout))
  }
  const protectedIds = new Set(read.rejects.map((reject) => reject.nativeIdentity ?? ''))
  const changes = diff(state.accounts, values, protectedIds)
  const kinds = [...changes.values()]
  const counted = (kind: string): number => kinds.filter((one) => one === kind).length
  const known = [...values.keys()].filter((identity) => state.accounts.has(identity)).length
  const counts = {
    before: state.accounts.size,
    created: counted('created'),
    updated: counted('updated'),
    removed: counted('removed'),
    unchanged: known - counted('updated'),
  }
  const verdict = judge({
    counts,
    records: read.records,
    // The model has neither comments nor filters.
    ignored: 0,
    untrustedRejects: read.rejects.filter((reject) => !reject.trusted).length,
    direct: false,
    delta: false,
    deleteThreshold,
    checkDeletedDisabled: false,
  })
  const removals = verdict.outcome === 'go'
  const next = applyModel(state, values, changes, removals, run)
  const warns =
    verdict.findings.length > 0 ||
    read.rejects.length > 0 ||
    read.conflict ||
    layout.undelivered.length > 0 ||
    layout.extra.length > 0
  return {
    state: next,
    outcome: {
      status: warns ? 'WARNING' : 'SUCCESS',
      counters: {
        created: counts.created,
        updated: counts.updated,
        deleted: removals ? counts.removed : 0,
        optimized: file.optimized ? counts.unchanged : 0,
        total: counts.created + counts.updated + counts.unchanged,
        ignored: read.ignored + read.rejects.length,
        rejected: read.rejects.length,
        totalAccountsMarkedForDeletion: counts.removed,
        rowsRead: read.records,
      },
      rejects: read.rejects.toSorted((a, b) => a.position - b.position),
    },
  }
}

function readModel(file: GivenFile, layout: Layout, dialect: Dialect) {
  const written = writeFile(file)
  const rows = new Map<string, LawfulRecord[]>()
  const rejects: ModelReject[] = []
  let ignored = written.comments
  let records = 0
  for (const record of written.records) {
    const { position, raw } = record
    if (!record.broken && dialect.filterEmptyRecords && record.cells.every(isBlank)) {
      ignored += 1
      continue
    }
    records += 1
    const lawful = normalise(record, layout)
    const shown = raw.replaceAll('\0', '\u2400')
    if (record.broken) {
      const identity = record.cells[layout.identityColumn] ?? ''
      const readable = isBlank(identity) || identity.includes('\0') ? null : identity
      const reject = { position, raw: shown, nativeIdentity: readable, trusted: false }
      rejects.push({ ...reject, code: 'quote' })
    } else if ('code' in lawful) {
      const { code, nativeIdentity, trusted } = lawful
      rejects.push({ position, code, raw: shown, nativeIdentity, trusted })
    } else {
      const { nativeIdentity } = lawful
      const former = rows.get(nativeIdentity)
      if (former === undefined) rows.set(nativeIdentity, [lawful])
      else if (dialect.mergeRows) former.push(lawful)
      else {
        rejects.push({ position, code: 'duplicate', raw: shown, nativeIdentity, trusted: true })
      }
    }
  }
  const conflict = [...rows.values()].some((list) => disagree(list))
  return { rows, rejects, ignored, records, conflict }
}

/** Whether rows of one account say different things where only one value can be kept. */
function disagree(rows: readonly LawfulRecord[]): boolean {
  const seen = new Map<string, string>()
  for (const row of rows) {
    for (const [name, value] of readAttributes(row.attributes)) {
      if (value.startsWith('[')) continue
      if ((seen.get(name) ?? value) !== value) return true
      seen.set(name, value)
    }
  }
  return false
}

/** Merges the rows of an account: lists are united, of single values the first one stands. */
function mergeModel(identity: string, rows: readonly LawfulRecord[]) {
  const merged: Record<string, unknown> = {}
  for (const row of rows) {
    const attributes = JSON.parse(row.attributes) as Record<string, unknown>
    for (const [name, value] of Object.entries(attributes)) {
      const former = merged[name]
      if (Array.isArray(value) && Array.isArray(former)) {
        merged[name] = [...new Set([...(former as string[]), ...(value as string[])])].toSorted()
      } else merged[name] ??= value
    }
  }
  const named = rows.find((row) => 'name' in (JSON.parse(row.attributes) as object))
  const sorted = Object.fromEntries(
    Object.keys(merged)
      .toSorted()
      .map((name) => [name, merged[name]]),
  )
  return {
    nativeIdentity: identity,
    name: named?.name ?? identity,
    attributes: JSON.stringify(sorted),
  }
}

/** Gives an account the former values of attributes that the file has no column for. */
function keep(
  values: AccountValues & { readonly name: string },
  former: ModelAccount | undefined,
  layout: Layout,
): AccountValues & { readonly name: string } {
  if (former === undefined) return values
  const stored = readAttributes(former.attributes)
  const attributes = readAttributes(values.attributes)
  for (const name of layout.undelivered) {
    const value = stored.get(name)
    if (value !== undefined) attributes.set(name, value)
  }
  return {
    ...values,
    name: layout.displayColumn < 0 ? former.name : values.name,
    attributes: writeAttributes(attributes),
  }
}

function applyModel(
  state: ModelState,
  values: ReadonlyMap<string, AccountValues & { readonly name: string }>,
  changes: ReturnType<typeof diff>,
  removals: boolean,
  run: number,
): ModelState {
  const accounts = new Map(state.accounts)
  const history = [...state.history]
  for (const [identity, kind] of changes) {
    const former = state.accounts.get(identity)
    if (kind === 'removed') {
      if (!removals || former === undefined) continue
      history.push({ ...former, closed: run, removed: true })
      accounts.delete(identity)
      continue
    }
    if (former !== undefined) history.push({ ...former, closed: run, removed: false })
    const given = values.get(identity)
    if (given !== undefined) accounts.set(identity, { ...given, opened: run })
  }
  return { accounts, history }
}

const rarely = (value: string, arbitrary: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.oneof({ weight: 12, arbitrary }, { weight: 1, arbitrary: fc.constant(value) })

const recordArbitrary: fc.Arbitrary<GivenRecord> = fc.record({
  values: fc.record({
    // Few, so that the same account comes with good, bad and contradicting rows.
    id: rarely('', fc.constantFrom('a', '#b', 'é "e"', 'f, f', '__proto__', 'h\nh')),
    name: rarely('\0', fc.constantFrom('', ' ', 'Ann', 'Bob', 'a', 'line\none')),
    groups: fc.constantFrom('', 'x', 'y', 'z "q"', '😀'),
    level: rarely('high', fc.constantFrom('', '7', '07', '-3', '2147483647')),
    active: rarely('perhaps', fc.constantFrom('', 'true', 'YES', '0')),
    since: rarely('2026-02-30', fc.constantFrom('', '2026-11-22', '22.11.2026')),
    extra: fc.constantFrom('', 'e1', 'e2'),
  }),
  quoteAll: fc.boolean(),
  shape: fc.oneof(
    { weight: 30, arbitrary: fc.constant('good' as const) },
    { weight: 1, arbitrary: fc.constantFrom('short' as const, 'long' as const, 'broken' as const) },
  ),
})

const fullHeader = ['id', 'name', 'groups', 'level', 'active', 'since']
const headers: fc.Arbitrary<readonly string[]> = fc.oneof(
  { weight: 12, arbitrary: fc.constant(fullHeader) },
  { weight: 2, arbitrary: fc.shuffledSubarray([...fullHeader, 'extra'], { minLength: 4 }) },
)

/** Files over one source: their records come from one pool, so that many stand in several files. */
export const sequenceArbitrary: fc.Arbitrary<{
  readonly deleteThreshold: number
  readonly files: readonly GivenFile[]
}> = fc.array(recordArbitrary, { minLength: 1, maxLength: 14 }).chain((pool) => {
  const line = fc.oneof(
    { weight: 20, arbitrary: fc.constantFrom(...pool) },
    { weight: 1, arbitrary: fc.constantFrom('comment' as const, 'nothing' as const) },
  )
  const usually = (value: boolean) =>
    fc.oneof({ weight: 6, arbitrary: fc.constant(value) }, fc.constant(!value))
  return fc.record({
    deleteThreshold: fc.constantFrom(100, 100, 100, 50, 10, 0),
    files: fc.array(
      fc
        .record({
          header: headers,
          lines: fc.array(line, { maxLength: 16 }),
          newline: fc.constantFrom('\n' as const, '\r\n' as const),
          lastNewline: fc.boolean(),
          mergeRows: usually(true),
          optimized: usually(true),
        })
        .map((file) => ({
          ...file,
          [fc.toStringMethod]: () =>
            `${file.mergeRows ? 'merged' : 'not merged'}, ${file.optimized ? 'optimized' : 'not optimized'}:\n${writeFile(file).text}`,
        })),
      { minLength: 3, maxLength: 6 },
    ),
  })
})
