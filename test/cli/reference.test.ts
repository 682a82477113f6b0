// The reference of the command line names every command and option that there is, and no option that there is not.
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { program } from '../../src/cli/main.ts'

const page = readFileSync(new URL('../../docs/reference/cli.md', import.meta.url), 'utf8')

interface Leaf {
  readonly name: string
  readonly command: Command
}

function leaves(command: Command, names: readonly string[] = []): Leaf[] {
  if (command.commands.length === 0) return [{ name: names.join(' '), command }]
  return command.commands.flatMap((one) => leaves(one, [...names, one.name()]))
}

const all = leaves(program()).filter(({ name }) => !name.startsWith('__'))

describe('the reference of the command line', () => {
  it('names every command', () => {
    expect(all.length).toBeGreaterThan(30)
    const missing = all
      .map(({ name }) => name)
      // The verbs of `muster api` and the shells of completion stand in one line.
      .filter((name) => !page.includes(`muster ${name}`) && !page.includes(`\`${name}\``))
      .filter((name) => !/^api (?:get|post|put|patch|delete)$/.test(name))
    expect(missing).toEqual([])
    expect(page).toContain('muster api get|post|put|patch|delete')
  })

  it('names every option with its value as the command has it', () => {
    const missing = all.flatMap(({ name, command }) =>
      command.options
        .filter(({ hidden }) => !hidden)
        .map(({ flags }) => flags)
        .filter((flags) => !page.includes(flags.split(', ').at(-1) ?? flags))
        .map((flags) => `${name}: ${flags}`),
    )
    expect(missing).toEqual([])
  })

  it('names no option that there is not', () => {
    const known = new Set([
      '--help',
      '--version',
      ...all.flatMap(({ command }) => command.options.map(({ long }) => long)),
    ])
    const named = [...page.matchAll(/(?<=[`\s(])--[a-z][a-z-]+/g)].map(([option]) => option)
    expect(named.length).toBeGreaterThan(50)
    expect([...new Set(named)].filter((option) => !known.has(option))).toEqual([])
  })

  it('names every exit code', () => {
    for (const code of [0, 1, 2, 3, 4, 5, 6, 130]) expect(page).toContain(`\n| ${code} | `)
  })
})
