// The tree stays tidy: lengths, names, words and the places where things may stand. Each rule names the files that break it.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Files of src/ that may be longer than the limit, each with the reason. */
const longFiles: Record<string, string> = {}
const longestFile = 450

const folders = ['bin', 'src', 'sql', 'scripts', 'test', 'conformance', 'bench', 'examples']
const code = folders
  .filter((folder) => existsSync(join(root, folder)))
  .flatMap((folder) => below(folder))
  .filter((file) => /\.(?:[cm]?[jt]s|sql)$/.test(file))
const source = code.filter((file) => file.startsWith('src/') && file.endsWith('.ts'))

function below(folder: string): string[] {
  return (
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      // Packages that a test of other versions installs in a folder of its own are not ours.
      .filter((entry) => entry.isFile() && !entry.parentPath.includes('node_modules'))
      .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
  )
}

const text = (file: string): string => readFileSync(join(root, file), 'utf8')
const withLines = (file: string, pattern: RegExp): string[] =>
  text(file)
    .split('\n')
    .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : []))

describe('the tree', () => {
  it('has source files to look at', () => {
    expect(source.length).toBeGreaterThan(10)
  })

  it(`has no source file of more than ${longestFile} lines`, () => {
    const long = source
      .map((file) => ({ file, lines: text(file).split('\n').length }))
      .filter(({ file, lines }) => lines > longestFile && !(file in longFiles))
    expect(long).toEqual([])
  })

  it('has kebab-case names of one noun or verb, without the words that say nothing', () => {
    const odd = source.filter(
      (file) =>
        !/^[a-z0-9]+(?:-[a-z0-9]+)*\.ts$/.test(basename(file)) ||
        /\b(?:helpers?|utils?|managers?|processors?|handlers?|impl|abstract|base|common|misc|v2)\b/.test(
          basename(file, '.ts'),
        ),
    )
    expect(odd).toEqual([])
  })

  it('has no type that is named a manager, helper, processor, handler or implementation', () => {
    const pattern =
      /\b(?:class|interface|type)\s+(?:\w*(?:Manager|Helper|Util|Processor|Handler|Impl)\b|Abstract[A-Z]|Base[A-Z])/
    expect(source.flatMap((file) => withLines(file, pattern))).toEqual([])
  })

  it('opens every file with a line that tells its job, and tests tell theirs by their names', () => {
    const silent = code.filter((file) => {
      if (file.endsWith('.test.ts')) return false

      const [first = '', second = ''] = text(file).split('\n')
      const line = first.startsWith('#!') ? second : first
      return !/^(?:\/\/|--|\/\*\*?) ?\S+ \S+/.test(line)
    })
    expect(silent).toEqual([])
  })

  it('has flat folders below src', () => {
    expect(source.filter((file) => file.split('/').length > 3)).toEqual([])
  })

  it('has no index file but the public faces', () => {
    const barrels = source.filter((file) => basename(file) === 'index.ts')
    const faces = ['src/client/index.ts', 'src/connect/index.ts', 'src/index.ts']
    expect(barrels.toSorted()).toEqual(faces)
  })

  it('has SQL only under src/store, and in the readers of SQL databases', () => {
    const statement =
      /[`'"]\s*(?:select\s+\S.*\bfrom\b|insert into\b|update\s+\w+\s+set\b|delete from\b|create (?:unlogged )?table\b|drop table\b|alter table\b|truncate\b|copy\s+\w+)/
    const readers = /^src\/connect\/(?:sql|postgresql|mysql)[a-z-]*\.ts$/
    const outside = source.filter((file) => !file.startsWith('src/store/') && !readers.test(file))
    expect(outside.flatMap((file) => withLines(file, statement))).toEqual([])
  })

  it('leaves nothing open in the code', () => {
    const pattern = /\b(?:TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b/
    expect(code.flatMap((file) => withLines(file, pattern))).toEqual([])
  })

  it('has no test that is skipped, postponed or alone', () => {
    const tests = code.filter((file) => file.endsWith('.test.ts'))
    const pattern = /\b(?:it|test|describe)\.(?:skip|tod[o]|only|fails)\b/
    expect(tests.flatMap((file) => withLines(file, pattern))).toEqual([])
  })

  it('silences neither the compiler nor the linter', () => {
    const pattern = /@ts-(?:ignore|expect-error|nocheck)|(?:ox|es)lint-disable/
    expect(
      code
        .filter((file) => file !== 'test/house/tree.test.ts')
        .flatMap((file) => withLines(file, pattern)),
    ).toEqual([])
  })

  it('names no registry in the lock file', () => {
    expect(withLines('package-lock.json', /"resolved"|https?:\/\/registry\./)).toEqual([])
  })
})
