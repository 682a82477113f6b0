// YAML of a person as a value, and the line on which each part of it stands.
import { createRequire } from 'node:module'
import { CliError, exitCodes } from './exit-code.ts'

/** Where a part is: keys of mappings and places in lists, from the root. */
export type Place = readonly (string | number)[]

export interface LocatedYaml {
  readonly value: unknown
  /** The line of a part, from 1; of what is not there, that of the nearest thing around it. */
  lineOf(path: Place): number
}

/** The part of the package that is used, loaded on use as in environments.ts. */
interface Yaml {
  parseDocument(text: string, options: object): YamlDocument
  readonly LineCounter: new () => LineCounter
  isMap(node: unknown): node is { readonly items: readonly Pair[] }
  isSeq(node: unknown): node is { readonly items: readonly unknown[] }
  isScalar(node: unknown): node is { readonly value: unknown }
  isNode(node: unknown): node is { readonly range?: readonly number[] | null }
}
interface Pair {
  readonly key: unknown
  readonly value: unknown
}
interface LineCounter {
  linePos(offset: number): { readonly line: number; readonly col: number }
}
interface YamlDocument {
  readonly errors: readonly Problem[]
  readonly warnings: readonly Problem[]
  readonly contents: unknown
  toJS(options: object): unknown
}
interface Problem {
  readonly message: string
  readonly pos: readonly [number, number]
}

const maximumLength = 16 << 20
/** More uses of anchors than this are an attack, or a mistake that looks like one. */
const maximumAliases = 100

/** Parses a document; `name` stands in messages. Throws with line and column for what is no YAML. */
export function parseYaml(text: string, name: string): LocatedYaml {
  if (text.length > maximumLength) {
    throw new CliError(exitCodes.usage, `${name} is longer than ${maximumLength} characters.`)
  }
  const yaml = createRequire(import.meta.url)('yaml') as Yaml
  const lines = new yaml.LineCounter()
  const document = yaml.parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const [problem] = [...document.errors, ...document.warnings]
  if (problem !== undefined) {
    const { line, col } = lines.linePos(problem.pos[0])
    const reason = problem.message.split('\n', 1)[0] ?? ''
    throw new CliError(exitCodes.usage, `${name}, line ${line}, column ${col}: ${reason}`)
  }
  return { value: valueOf(document, name), lineOf: (path) => lineOf(yaml, document, lines, path) }
}

function valueOf(document: YamlDocument, name: string): unknown {
  try {
    return document.toJS({ maxAliasCount: maximumAliases })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CliError(exitCodes.usage, `${name}: ${reason}`)
  }
}

function lineOf(yaml: Yaml, document: YamlDocument, lines: LineCounter, path: Place): number {
  const startOf = (node: unknown): number | undefined =>
    yaml.isNode(node) ? node.range?.[0] : undefined
  let node = document.contents
  let found = startOf(node) ?? 0
  for (const part of path) {
    if (yaml.isMap(node)) {
      const pair = node.items.find(
        ({ key }) => yaml.isScalar(key) && String(key.value) === String(part),
      )
      if (pair === undefined) break
      found = startOf(pair.key) ?? found
      node = pair.value
    } else if (yaml.isSeq(node)) {
      node = node.items[Number(part)]
      found = startOf(node) ?? found
    } else break
  }
  return lines.linePos(found).line
}
