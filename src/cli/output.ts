// The form in which a command prints its data: a table for people, JSON, CSV or YAML for programs.
import type { Command } from 'commander'
import { Option } from 'commander'
import { csvLine } from '../core/csv-text.ts'
import { yaml } from './environments.ts'
import { CliError, exitCodes } from './exit-code.ts'
import { plain, print, printJson } from './terminal.ts'

export const outputFormats = ['table', 'json', 'csv', 'yaml'] as const
export type OutputFormat = (typeof outputFormats)[number]

/** The options that every command has that prints data. */
export interface OutputOptions {
  readonly json?: boolean
  readonly output?: OutputFormat
  readonly raw?: boolean
  /** False after `--no-color`; src/cli/colour.ts looks for itself. */
  readonly color?: boolean
}

/** Data and what a person is shown of it. */
export interface View {
  /** What `-o json` and `-o yaml` print; CSV has a line for each item of a list. */
  readonly data: unknown
  /** The columns that CSV has first and always; those that the data has besides come after them. */
  readonly columns?: readonly string[]
  /** Prints it for people. */
  table(): void
}

const group = 'Output:'

/** Adds the options of output. */
export function withOutputOptions(command: Command): Command {
  return command
    .addOption(
      new Option('-o, --output <format>', 'how data is printed; default table')
        .choices([...outputFormats])
        .helpGroup(group),
    )
    .addOption(new Option('--json', 'the same as -o json').helpGroup(group))
    .addOption(
      new Option('--raw', 'with -o csv: leave texts that a spreadsheet would calculate').helpGroup(
        group,
      ),
    )
    .addOption(new Option('--no-color', 'no colours; NO_COLOR does the same').helpGroup(group))
}

/** The form that was asked for. Throws with the code of wrong usage where two were. */
export function formatOf({ json, output }: OutputOptions): OutputFormat {
  if (json !== true) return output ?? 'table'
  if (output === undefined || output === 'json') return 'json'
  throw new CliError(exitCodes.usage, `--json and -o ${output} ask for two forms.`)
}

/** Whether a program reads the output: nothing is drawn for people then. */
export function isForPrograms(options: OutputOptions): boolean {
  return formatOf(options) !== 'table'
}

/** Prints data in the form that was asked for. */
export function printView(options: OutputOptions, view: View): void {
  const format = formatOf(options)
  if (format === 'table') view.table()
  else if (format === 'json') printJson(view.data)
  else if (format === 'yaml') printYaml(view.data)
  else printCsv(view, options.raw === true)
}

function printYaml(value: unknown): void {
  // A round by JSON drops what is undefined, as JSON does, and YAML gets no anchors for what occurs twice.
  const data: unknown = JSON.parse(JSON.stringify(value))
  const text = yaml().stringify(data, { aliasDuplicateObjects: false, lineWidth: 0 })
  process.stdout.write(text.split('\n').map(harmless).join('\n'))
}

function printCsv({ data, columns = [] }: View, raw: boolean): void {
  const rows = (Array.isArray(data) ? data : [data]).map((item: unknown) => flat(item))
  const all = [...new Set([...columns, ...rows.flatMap((row) => [...row.keys()])])]
  // Null where others have an object: the columns of the inside say it.
  const names = all.filter(
    (name) => columns.includes(name) || !all.some((other) => other.startsWith(`${name}.`)),
  )
  if (names.length === 0) return
  print(harmless(csvLine(names, { raw })))
  for (const row of rows) {
    print(
      harmless(
        csvLine(
          names.map((name) => row.get(name) ?? null),
          { raw },
        ),
      ),
    )
  }
}

type Cell = string | number | boolean | null

/** An object as cells: what is inside goes into columns with a dot, lists stay JSON. */
function flat(item: unknown, prefix = ''): Map<string, Cell> {
  const cells = new Map<string, Cell>()
  if (typeof item !== 'object' || item === null) {
    cells.set('value', cellOf(item))
    return cells
  }
  for (const [name, value] of Object.entries(item) as [string, unknown][]) {
    if (value === undefined) continue
    const column = `${prefix}${name}`
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [inner, cell] of flat(value, `${column}.`)) cells.set(inner, cell)
    } else cells.set(column, cellOf(value))
  }
  return cells
}

function cellOf(value: unknown): Cell {
  if (value === null || value === undefined) return null
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
    return value
  }
  return JSON.stringify(value)
}

/** Files get texts as they are; a terminal gets nothing that it would obey. */
function harmless(line: string): string {
  return process.stdout.isTTY ? plain(line) : line
}
