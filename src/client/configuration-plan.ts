// What has to change so that a server is configured as it should be: pure, so that it can be shown before anything is sent.
import { connectorKind, describedConnector } from '../core/connector.ts'
import { attributeDefaults } from '../core/source-attributes.ts'
import { isSecretKey, secretMask } from '../core/secret-keys.ts'
import {
  compareTexts,
  type CurrentSource,
  plainAttributes,
  sameJson,
  type SchemaConfiguration,
  type SourceConfiguration,
} from './configuration.ts'
import type { CorrelationAssignment, PatchStep } from './models.ts'

/** One line of a plan: + is added, ~ changed, - removed, ! a remark. */
export interface PlanLine {
  readonly sign: '+' | '~' | '-' | '!'
  readonly text: string
}

/** What happens to one source. */
export interface SourcePlan {
  readonly kind: 'create' | 'update' | 'delete'
  readonly name: string
  /** The source as it is; null where it is to be made. */
  readonly current: CurrentSource | null
  /** The source as it should be; null where it is to go. */
  readonly wanted: SourceConfiguration | null
  readonly lines: readonly PlanLine[]
  readonly patch: readonly PatchStep[]
  readonly changes: {
    readonly settings: boolean
    readonly correlation: boolean
    /** Names of schemas to make, to replace and to remove. */
    readonly schemas: Readonly<Record<'create' | 'replace' | 'delete', readonly string[]>>
  }
}

export interface PlanOptions {
  /** Whether what is not wanted is removed. */
  readonly prune: boolean
  /** Whether secrets that are given replace those that are kept. */
  readonly secrets: boolean
}

/** A configuration that cannot be applied. `path` leads to the value, from the list of sources. */
export class ConfigurationError extends Error {
  readonly path: readonly (string | number)[]
  readonly hint: string

  constructor(path: readonly (string | number)[], message: string, hint: string) {
    super(message)
    this.name = 'ConfigurationError'
    this.path = path
    this.hint = hint
  }
}

/** Plans all sources: those that are wanted in their order, then those that go. Throws a ConfigurationError. */
export function planConfiguration(
  current: readonly CurrentSource[],
  wanted: readonly SourceConfiguration[],
  options: PlanOptions,
): { readonly plans: readonly SourcePlan[]; readonly unlisted: readonly CurrentSource[] } {
  const byName = new Map(current.map((one) => [one.configuration.name, one]))
  const plans: SourcePlan[] = []
  for (const [index, source] of wanted.entries()) {
    const plan = planSource(byName.get(source.name) ?? null, source, options, index)
    byName.delete(source.name)
    if (plan.kind === 'create' || plan.lines.length > 0) plans.push(plan)
  }
  const unlisted = [...byName.values()]
  if (options.prune) plans.push(...unlisted.map(planRemoval))
  return { plans, unlisted }
}

const noChanges: SourcePlan['changes'] = {
  settings: false,
  correlation: false,
  schemas: { create: [], replace: [], delete: [] },
}

function planRemoval(current: CurrentSource): SourcePlan {
  const { name } = current.configuration
  const common = { patch: [], changes: noChanges, lines: [] }
  return { kind: 'delete', name, current, wanted: null, ...common }
}

/** Plans one source; `index` is its place among those that are wanted. */
export function planSource(
  current: CurrentSource | null,
  wanted: SourceConfiguration,
  options: PlanOptions,
  index: number,
): SourcePlan {
  checkSecrets(current, wanted, index)
  const { name } = wanted
  if (current === null) {
    const schemas = (wanted.schemas ?? []).map((schema): PlanLine => ({
      sign: '+',
      text: `schema "${schema.name}" (${schema.attributes.length} attributes)`,
    }))
    const lines = [...connectorRemarks(wanted.connector), ...schemas]
    return { kind: 'create', name, current, wanted, patch: [], changes: noChanges, lines }
  }
  const former = current.configuration
  checkImmutable(former, wanted, index)
  const members = planMembers(former, wanted)
  const attributes = planAttributes(current, wanted, options)
  const settings = planSettings(former, wanted)
  const schemas = planSchemas(former.schemas ?? [], wanted.schemas, options)
  const correlation = !sameJson(former.correlation, wanted.correlation)
  const lines = [...members.lines, ...attributes.lines, ...settings, ...schemas.lines]
  if (correlation) {
    const [before, after] = [former.correlation, wanted.correlation].map((list) =>
      list.length === 0 ? 'none' : list.map(shownAssignment).join(', '),
    )
    lines.push({ sign: '~', text: `correlation: ${before ?? ''} → ${after ?? ''}` })
  }
  return {
    kind: 'update',
    name,
    current,
    wanted,
    lines,
    patch: [...members.patch, ...attributes.patch],
    changes: { settings: settings.length > 0, correlation, schemas: schemas.changes },
  }
}

/** Any connector is taken, so a misspelt one would be noticed only when its source is read. */
function connectorRemarks(connector: string): readonly PlanLine[] {
  const given = { connector, type: null, connectorClass: null, connectorId: null }
  const { connectionType } = connectorKind({ ...given, connectorName: null }, [])
  if (connectionType === 'file' || describedConnector(connector, []) !== null) return []
  const text = `connector "${connector}" is no part of Muster: unless the server has a package for it, the source cannot be read`
  return [{ sign: '!', text }]
}

function shownAssignment(one: CorrelationAssignment): string {
  const { property, value, ignoreCase, complex, matchMode, filterString } = one
  const marks = [
    ignoreCase ? 'any case' : '',
    matchMode === 'ANYWHERE' ? '' : matchMode,
    complex ? 'complex' : '',
    filterString === '' ? '' : JSON.stringify(filterString),
  ].filter((mark) => mark !== '')
  return `${value} = ${property}${marks.length === 0 ? '' : ` (${marks.join(', ')})`}`
}

function checkImmutable(
  former: SourceConfiguration,
  wanted: SourceConfiguration,
  index: number,
): void {
  for (const key of ['connector', 'type', 'authoritative'] as const) {
    if (wanted[key] === null || wanted[key] === former[key]) continue
    throw new ConfigurationError(
      [index, key],
      `${key} of the source "${wanted.name}" is ${JSON.stringify(former[key])} and cannot become ${JSON.stringify(wanted[key])}.`,
      'Delete the source first, or give the new one another name.',
    )
  }
}

/** A mask keeps a secret; where none is kept, it would become the secret. */
function checkSecrets(
  current: CurrentSource | null,
  wanted: SourceConfiguration,
  index: number,
): void {
  const check = (value: unknown, former: unknown, path: readonly (string | number)[]): void => {
    if (value === secretMask && former !== secretMask) {
      throw new ConfigurationError(
        path,
        `${path.slice(1).join('.')} of the source "${wanted.name}" is masked, but the server keeps no secret there.`,
        'Write it as ${NAME} and give the secret in that environment variable.',
      )
    }
    if (typeof value !== 'object' || value === null) return
    for (const [key, item] of Object.entries(value) as [string, unknown][]) {
      const before: unknown =
        typeof former === 'object' && former !== null && Object.hasOwn(former, key)
          ? Reflect.get(former, key)
          : undefined
      check(item, before, [...path, Array.isArray(value) ? Number(key) : key])
    }
  }
  const path = [index, 'connectorAttributes']
  check(wanted.connectorAttributes, current?.configuration.connectorAttributes, path)
}

interface Part {
  readonly lines: readonly PlanLine[]
  readonly patch: readonly PatchStep[]
}

const patchedMembers = [
  'description',
  'deleteThreshold',
  'category',
  'managerCorrelationMapping',
  'features',
] as const

function planMembers(former: SourceConfiguration, wanted: SourceConfiguration): Part {
  const lines: PlanLine[] = []
  const patch: PatchStep[] = []
  for (const key of patchedMembers) {
    const value = wanted[key]
    if (key === 'features' && value === null) continue
    if (sameJson(former[key], value)) continue
    lines.push(changed(key, former[key], value))
    patch.push({ op: 'replace', path: `/${key}`, value })
  }
  return { lines, patch }
}

function planAttributes(
  current: CurrentSource,
  wanted: SourceConfiguration,
  options: PlanOptions,
): Part {
  const former = current.configuration.connectorAttributes
  const given = settledAttributes(current, wanted)
  const defaults = attributeDefaults(current.connectionType, current.configuration.type ?? '')
  const lines: PlanLine[] = []
  const patch: PatchStep[] = []
  const keys = [...new Set([...Object.keys(former), ...Object.keys(given)])].toSorted(compareTexts)
  for (const key of keys) {
    const path = `/connectorAttributes/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
    const name = `connectorAttributes.${key}`
    const [before, after] = [shown(key, former[key]), shown(key, given[key])]
    if (!Object.hasOwn(given, key)) {
      lines.push({ sign: '-', text: `${name}: ${before}` })
      if (Object.hasOwn(defaults, key)) patch.push({ op: 'add', path, value: defaults[key] })
      else patch.push({ op: 'remove', path })
    } else if (!Object.hasOwn(former, key)) {
      lines.push({ sign: '+', text: `${name}: ${after}` })
      patch.push({ op: 'add', path, value: given[key] })
    } else if (!sameSetting(given[key], former[key], options.secrets)) {
      lines.push({ sign: '~', text: `${name}: ${before} → ${after}` })
      patch.push({ op: 'add', path, value: given[key] })
    }
  }
  return { lines, patch }
}

/** The attributes that are given, without an index column that says what the schema of the server says, where the file has none. */
function settledAttributes(
  current: CurrentSource,
  wanted: SourceConfiguration,
): SourceConfiguration['connectorAttributes'] {
  const isAccount = ({ name }: SchemaConfiguration): boolean => name === 'account'
  const { connectorAttributes } = wanted
  if (wanted.schemas?.some(isAccount) === true) return connectorAttributes
  const account = current.configuration.schemas?.find(isAccount)
  return plainAttributes(connectorAttributes, {}, account?.identityAttribute ?? null)
}

/** As sameJson, but what the server masks is the same as any secret, unless secrets are to be written again. */
function sameSetting(wanted: unknown, former: unknown, secrets: boolean): boolean {
  if (former === secretMask && typeof wanted === 'string') return !secrets || wanted === secretMask
  if (typeof wanted !== 'object' || wanted === null) return wanted === former
  if (typeof former !== 'object' || former === null) return false
  if (Array.isArray(wanted) !== Array.isArray(former)) return false
  const keys = Object.keys(wanted)
  return (
    keys.length === Object.keys(former).length &&
    keys.every(
      (key) =>
        Object.hasOwn(former, key) &&
        sameSetting(Reflect.get(wanted, key), Reflect.get(former, key), secrets),
    )
  )
}

function planSettings(former: SourceConfiguration, wanted: SourceConfiguration): PlanLine[] {
  const keys = [...new Set([...Object.keys(former.settings), ...Object.keys(wanted.settings)])]
  return keys
    .filter((key) => !sameJson(former.settings[key], wanted.settings[key]))
    .map((key) => changed(`settings.${key}`, former.settings[key], wanted.settings[key]))
}

function planSchemas(
  former: readonly SchemaConfiguration[],
  wanted: readonly SchemaConfiguration[] | null,
  options: PlanOptions,
): { readonly lines: readonly PlanLine[]; readonly changes: SourcePlan['changes']['schemas'] } {
  const lines: PlanLine[] = []
  const create: string[] = []
  const replace: string[] = []
  for (const schema of wanted ?? []) {
    const before = former.find(({ name }) => name === schema.name)
    if (before === undefined) {
      create.push(schema.name)
      const count = schema.attributes.length
      lines.push({ sign: '+', text: `schema "${schema.name}" (${count} attributes)` })
    } else if (!sameJson(before, schema)) {
      replace.push(schema.name)
      lines.push(...schemaLines(before, schema))
    }
  }
  const gone =
    wanted === null || !options.prune
      ? []
      : former.filter(({ name }) => !wanted.some((schema) => schema.name === name))
  lines.push(...gone.map(({ name }): PlanLine => ({ sign: '-', text: `schema "${name}"` })))
  return { lines, changes: { create, replace, delete: gone.map(({ name }) => name) } }
}

function schemaLines(before: SchemaConfiguration, after: SchemaConfiguration): PlanLine[] {
  const place = `schema "${after.name}"`
  const lines: PlanLine[] = []
  for (const key of Object.keys(after) as (keyof SchemaConfiguration)[]) {
    if (key === 'attributes' || sameJson(before[key], after[key])) continue
    lines.push(changed(`${place}: ${key}`, before[key], after[key]))
  }
  const former = new Map(before.attributes.map((one) => [one.name, one]))
  for (const attribute of after.attributes) {
    const one = former.get(attribute.name)
    former.delete(attribute.name)
    const text = `${place}: attribute "${attribute.name}"`
    if (one === undefined) lines.push({ sign: '+', text })
    else if (!sameJson(one, attribute)) {
      const keys = (Object.keys(attribute) as (keyof typeof attribute)[]).filter(
        (key) => !sameJson(one[key], attribute[key]),
      )
      const details = keys.map((key) => changed(key, one[key], attribute[key]).text)
      lines.push({ sign: '~', text: `${text}: ${details.join(', ')}` })
    }
  }
  for (const name of former.keys()) {
    lines.push({ sign: '-', text: `${place}: attribute "${name}"` })
  }
  if (lines.length === 0) lines.push({ sign: '~', text: `${place}: order of attributes` })
  return lines
}

function changed(name: string, before: unknown, after: unknown): PlanLine {
  return { sign: '~', text: `${name}: ${shown('', before)} → ${shown('', after)}` }
}

/** A value for people: short, and no secret. */
function shown(key: string, value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = JSON.stringify(redacted(key, value))
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}

function redacted(key: string, value: unknown): unknown {
  if (typeof value === 'string') return isSecretKey(key) && value !== '' ? secretMask : value
  if (Array.isArray(value)) return value.map((item: unknown) => redacted(key, item))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, item]: [string, unknown]) => [
      name,
      redacted(isSecretKey(key) ? key : name, item),
    ]),
  )
}
