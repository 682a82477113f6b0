// The tables of security and fault cases name every case once, and tests that exist: a renamed test breaks its row.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkout } from '../support/build.ts'

const text = (path: string): string => readFileSync(join(checkout, path), 'utf8')

interface Case {
  readonly number: string
  readonly cells: readonly string[]
  /** The tests that it names; without a title it is the whole file. */
  readonly tests: readonly { readonly file: string; readonly title: string | null }[]
}

/** Rows like `| S1 | the case | what is done | `test/a.test.ts`: a title<br>`test/b.test.ts` |`. */
function readCases(page: string, letter: string): Case[] {
  return text(page)
    .split('\n')
    .filter((line) => new RegExp(`^\\| ${letter}\\d+ \\|`).test(line))
    .map((line) => {
      const [number = '', ...cells] = line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim())
      const tests = (cells.at(-1) ?? '').split('<br>').flatMap((part) => {
        const named = /^`((?:test|conformance)\/[\w./-]+)`(?:: (.+))?$/.exec(part.trim())
        return named === null ? [] : [{ file: named[1] ?? '', title: named[2] ?? null }]
      })
      return { number, cells, tests }
    })
}

/** The titles in a file of tests: texts that stand first after a parenthesis, as they are written. */
function titlesOf(file: string): string[] {
  const found = text(file).matchAll(/\(\s*(['"`])((?:\\.|(?!\1)[^\n])*)\1/g)
  return [...found].map(([, , title = '']) => title.replaceAll(/\\(['"`])/g, '$1'))
}

describe.each([
  ['docs/reference/security-cases.md', 'S', 40],
  ['docs/reference/fault-cases.md', 'F', 36],
] as const)('%s', (page, letter, last) => {
  const cases = readCases(page, letter)

  it('has every case once, in order', () => {
    const wanted = Array.from({ length: last }, (_, index) => `${letter}${index + 1}`)
    expect(cases.map(({ number }) => number)).toEqual(wanted)
    for (const { cells } of cases) expect(cells, cells.join(' | ')).toHaveLength(3)
  })

  it('names tests that exist', () => {
    const missing = cases.flatMap(({ number, tests }) =>
      tests
        .filter(({ file, title }) => {
          if (!existsSync(join(checkout, file))) return true
          return title !== null && !titlesOf(file).some((found) => found.startsWith(title))
        })
        .map(({ file, title }) => `${number}: ${file}: ${title ?? ''}`),
    )
    expect(missing).toEqual([])
  })

  it('says why where a case has no test', () => {
    const silent = cases.filter(({ tests, cells }) => {
      const reason = (cells.at(-1) ?? '').replaceAll(/`[^`]*`/g, '').trim()
      return tests.length === 0 && !/^(?:does not apply|no test of the suite)\b/.test(reason)
    })
    expect(silent.map(({ number }) => number)).toEqual([])
  })
})
